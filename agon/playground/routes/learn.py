"""Learn: what there is to choose, the lessons, the code of a game, and the live game over a WebSocket (agon/playground/learn/live.py)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import agon
from agon.errors import UserError
from agon.locale import translate
from agon.playground.desk import Desk
from agon.playground.learn import choices
from agon.playground.learn.choices import BY_NAME, MOST_STAGES, OBJECTIVES, ObjectiveName, Shared, StageChoice
from agon.playground.learn.data import GIVEN, KINDS, MOST_POINTS
from agon.playground.learn.lessons import LESSONS
from agon.playground.learn.live import LAYERS, Live, Order, order_of
from agon.playground.routes.shell import PROBLEMS

MOST_LEARNERS = 8
MOST_UNSENT = 32
PATIENCE_SECONDS = 5.0
"""How long a page's orders wait for a game that does something long; then they are dropped, so that it is noticed when the page leaves."""


class Code(BaseModel):
    """The files that an objective consists of, as they are installed."""

    game: str
    files: list[dict[str, str]]


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(prefix="/api/learn", tags=["learn"], responses=PROBLEMS)
    learners: set[Live] = set()

    @routes.get("/options")
    def options() -> dict[str, Any]:
        """What can be chosen, with ranges and defaults."""
        return {
            "data": [{"id": kind.id, "label": kind.label, "modes": kind.modes, "given": kind.id in GIVEN} for kind in KINDS],
            "objectives": [_objective(objective) for objective in OBJECTIVES],
            "shared": _described(Shared), "stage": _described(StageChoice), "layers": list(LAYERS),
            "limits": {"stages": MOST_STAGES, "points": MOST_POINTS},
        }  # fmt: skip

    @routes.get("/lessons")
    def lessons() -> list[dict[str, Any]]:
        """The lessons, in their order."""
        return [lesson.as_json() for lesson in LESSONS]

    @routes.get("/code")
    def code(objective: ObjectiveName) -> Code:
        """The very file of the game, and the file its losses are in."""
        game = BY_NAME[objective].game
        names = [f"games/{game}.py", "losses/adversarial.py", "losses/penalties.py"]
        package = Path(agon.__file__).parent
        return Code(game=game, files=[{"name": f"agon/{name}", "text": (package / name).read_text(encoding="utf-8")} for name in names])

    @routes.websocket("/play")
    async def play(socket: WebSocket) -> None:
        await socket.accept()
        learners.difference_update([each for each in learners if each.left.is_set() and not each.thread.is_alive()])
        if len(learners) >= MOST_LEARNERS:
            await socket.send_json({"type": "closed", "error": translate("Too many games are being played here. Close another page first.")})
            return await socket.close(1013)
        loop, unsent = asyncio.get_running_loop(), asyncio.Queue(MOST_UNSENT)

        def put(message: str | bytes | None) -> None:
            if unsent.full():  # a page that takes nothing any more: it acknowledges frames, so this is no slow one
                with contextlib.suppress(asyncio.QueueEmpty):
                    unsent.get_nowait()
            unsent.put_nowait(message)

        def hand(message: str | bytes | None) -> None:
            with contextlib.suppress(RuntimeError):  # the server has stopped
                loop.call_soon_threadsafe(put, message)

        live = Live(hand, lambda: hand(None))
        learners.add(live)
        live.thread.start()
        try:
            await _converse(socket, live, unsent)
        finally:
            live.leave()

    return routes


async def _converse(socket: WebSocket, live: Live, unsent: asyncio.Queue) -> None:
    """Orders in, frames out, until either side leaves."""

    async def send() -> None:
        while (message := await unsent.get()) is not None:
            await (socket.send_bytes(message) if isinstance(message, bytes) else socket.send_text(message))

    sender = asyncio.create_task(send())
    receiver = asyncio.create_task(_listen(socket, live))
    done, left = await asyncio.wait((sender, receiver), return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    for task in (*done, *left):
        with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
            await task
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        await socket.close()


async def _listen(socket: WebSocket, live: Live) -> None:
    keeping_up = True
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        try:
            order = order_of(message.get("text") or message.get("bytes") or b"")
        except UserError as error:
            await socket.send_json({"type": "error", "error": str(error)})
            continue
        keeping_up = await _hand(live, order, PATIENCE_SECONDS if keeping_up else 0)
        if not keeping_up:
            await socket.send_json({"type": "error", "error": translate("More was ordered than can be carried out, and the last order was dropped.")})


async def _hand(live: Live, order: Order, seconds: float) -> bool:
    """Whether the game has taken an order. Meanwhile the page's next ones wait on its side of the connection."""
    until = time.monotonic() + seconds
    while not live.order(order):
        if time.monotonic() >= until:
            return False
        await asyncio.sleep(0.02)
    return True


def _objective(objective: choices.Objective) -> dict[str, Any]:
    settled = StageChoice(objective=objective.id).settled()
    return {
        "id": objective.id, "label": objective.label, "game": objective.game, "note": objective.note, "critic": objective.scale == "score",
        "scale": objective.scale, "smoothing": objective.smoothing, "penalty": settled["penalty"] != "none", "clip": settled["weight_clip"] > 0,
        "defaults": {name: settled[name] for name in ("critic_steps", "penalty", "penalty_weight", "weight_clip")},
    }  # fmt: skip


def _described(model: type[BaseModel]) -> dict[str, dict[str, Any]]:
    """Field -> label, default and range (of numbers) or choices."""
    schema = model.model_json_schema()["properties"]
    return {name: _field(info, schema[name]) for name, info in model.model_fields.items()}


def _field(info: FieldInfo, schema: dict[str, Any]) -> dict[str, Any]:
    parts = [schema, *schema.get("anyOf", [])]

    def first(key: str) -> Any:
        return next((part[key] for part in parts if key in part), None)

    found = {"label": info.title, "default": None if info.default is PydanticUndefined else info.default, "min": first("minimum"), "max": first("maximum"),
             "choices": first("enum"), "whole": any(part.get("type") == "integer" for part in parts)}  # fmt: skip
    return found
