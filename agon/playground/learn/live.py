"""A live game: a thread that plays an arena at the learner's pace and tells what there is to see, as often as the page can draw it."""

from __future__ import annotations

import contextlib
import contextvars
import json
import queue
import struct
import threading
import time
import traceback
from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from agon.errors import UserError
from agon.locale import translate
from agon.playground.learn.arena import MOST_STEPS, Arena
from agon.playground.learn.choices import MOST_STAGES, Shared, StageChoice
from agon.playground.learn.measures import Reading
from agon.playground.learn.narrator import narrate

FRAME_SECONDS, MEASURE_SECONDS, UNDER_WAY = 1 / 30, 0.25, 2
SLICE_SECONDS = 0.02
"""How long the thread steps, at most, before it looks for orders again."""
IDLE_SECONDS = 1800.0
MOST_ORDERS = 256
LAYERS = ("heat", "manifold", "gradients")
Send = Callable[[str | bytes], None]


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Open(Order):
    """``course``: to be played from the beginning, as (who, times)."""

    do: Literal["open"]
    shared: Shared = Shared()
    stages: Annotated[list[StageChoice], Field(min_length=1, max_length=MOST_STAGES)]
    course: Annotated[list[tuple[Literal["d", "g", "b"], Annotated[int, Field(ge=1, le=MOST_STEPS)]]], Field(max_length=500)] = []


class Play(Order):
    """``speed``: steps a second, 0 for as fast as it goes."""

    do: Literal["play"]
    speed: float = Field(0, ge=0, le=1000, allow_inf_nan=False)


class Step(Order):
    do: Literal["step"]
    who: Literal["d", "g", "b"]
    times: int = Field(1, ge=1, le=1000)


class Seek(Order):
    do: Literal["seek"]
    step: int = Field(ge=0, le=MOST_STEPS)


class Layers(Order):
    do: Literal["layers"]
    names: Annotated[list[Literal["heat", "manifold", "gradients"]], Field(max_length=3)]


class Ack(Order):
    do: Literal["ack"]
    frame: int = Field(ge=0)


class Plain(Order):
    do: Literal["pause", "hash"]


ORDERS: TypeAdapter = TypeAdapter(Annotated[Open | Play | Step | Seek | Layers | Ack | Plain, Field(discriminator="do")])


def order_of(text: str | bytes) -> Order:
    """A message of the page. Raises UserError for one that is none."""
    try:
        return ORDERS.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "-"
        raise UserError("The order does not fit: {field}: {why}. Expected one of the protocol's.", field=place, why=first["msg"].rstrip(".")) from None


class Live:
    """One learner's game. ``send`` gets texts and binary frames, from the game's thread; ``end`` is called once when the thread leaves."""

    def __init__(self, send: Send, end: Callable[[], None]):
        self.send, self.end = send, end
        self.orders: queue.Queue[Order | None] = queue.Queue(MOST_ORDERS)
        self.arena: Arena | None = None
        self.layers: set[str] = {"heat"}
        self.playing, self.speed, self.owed, self.pace = False, 0.0, 0.0, 0.0
        self.frame = self.drawn = 0
        self.left = threading.Event()
        context = contextvars.copy_context()  # the language of whoever plays
        self.thread = threading.Thread(target=lambda: context.run(self._run), name="agon-live", daemon=True)

    def leave(self) -> None:
        """End the thread, in the middle of whatever it does."""
        self.left.set()
        self.order(None)

    def order(self, order: Order | None) -> bool:
        """Hand over an order (None: leave). False where the page gives more of them than can be carried out."""
        try:
            self.orders.put_nowait(order)
        except queue.Full:
            return False
        return True

    # --- the thread -------------------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        torch.set_num_threads(1)  # of this thread's operations, which are small
        self.heard = time.perf_counter()
        try:
            while True:
                self._obey()
                if self.playing:
                    self._play()
                if self.dirty and self.arena is not None and self.frame - self.drawn < UNDER_WAY and time.perf_counter() - self.shown >= FRAME_SECONDS:
                    self._show()
        except _Leave:
            pass
        except Exception as error:  # a fault of ours: the page is told, the terminal says more
            traceback.print_exc()
            why = translate("Something broke here ({kind}). The terminal that agon play was started in says more.").format(kind=type(error).__name__)
            self._say({"type": "closed", "error": why})
        finally:  # whatever happened here, the page must not wait for ever
            self.end()

    dirty, hurried, shown, measured = False, False, 0.0, 0.0

    def _obey(self) -> None:
        """Carry out what was ordered; wait for it where there is nothing else to do. Of several seeks in a row only the last counts."""
        wait = 0.0 if self.playing and self.frame - self.drawn < UNDER_WAY else FRAME_SECONDS if self.dirty or self.playing else 1.0
        waiting: list[Order | None] = []
        with contextlib.suppress(queue.Empty):
            waiting.append(self.orders.get(timeout=wait) if wait else self.orders.get_nowait())
            while True:
                waiting.append(self.orders.get_nowait())
        for index, order in enumerate(waiting):
            self.heard = time.perf_counter()
            if order is None or self.left.is_set():
                raise _Leave
            if isinstance(order, Seek) and _next_is(Seek, waiting[index + 1 :]):
                continue
            self.hurried = _next_is(Step, waiting[index + 1 :])
            try:
                self._do(order)
            except UserError as error:
                self._say({"type": "error", "error": str(error)})
        if time.perf_counter() - self.heard > IDLE_SECONDS and not self.playing:
            self._say({"type": "closed", "error": ""})
            raise _Leave

    def _do(self, order: Order) -> None:
        if isinstance(order, Ack):
            self.drawn = max(self.drawn, min(order.frame, self.frame))
        elif isinstance(order, Layers):
            self.layers, self.dirty = set(order.names), True
        elif isinstance(order, Open):
            self._open(order)
        elif self.arena is None:
            raise UserError("There is no game yet. Open one first.")
        elif isinstance(order, Play):
            self.playing, self.speed, self.owed, self.since, self.dirty = True, order.speed, 0.0, time.perf_counter(), True
            self.counted, self.counted_at = self.arena.step, self.since
        elif isinstance(order, Step):
            self.playing = False
            self._go(order.who, order.times)
            if not self.hurried:  # a key that is held orders more steps than can be measured
                self._look(order.who)
        elif isinstance(order, Seek):
            self.playing = False
            self._seek(order.step)
        elif order.do == "pause":
            self.playing, self.dirty = False, True
            self._look("b")
        else:
            self._say({"type": "hash", "step": self.arena.step, "stages": [stage.hashes() for stage in self.arena.stages]})

    def _open(self, order: Open) -> None:
        self.playing = False
        if sum(times for _, times in order.course) > MOST_STEPS:
            raise UserError("The course is longer than {most} steps, which is as long as a game is remembered. Expected a shorter one.", most=MOST_STEPS)
        arena = Arena(order.shared, order.stages)
        self.arena, self.first = arena, True
        self.curves: list[list[list]] = [[] for _ in arena.stages]  # step, d_loss, g_loss, gradient, js, w1, modes
        self.told: list[int] = [0 for _ in arena.stages]
        self.numbers: list[dict[str, float]] = [{} for _ in arena.stages]
        self.readings: list[Reading | None] = [None for _ in arena.stages]
        self.sentences: list[dict] = [{} for _ in arena.stages]
        floor = arena.floor()
        hashes = [stage.hashes() for stage in arena.stages]
        modes = getattr(arena.source, "centers", None)
        self._say({
            "type": "opened", "bounds": arena.bounds, "modes": None if modes is None else modes.tolist(), "floors": vars(floor),
            "stages": [{"objective": s.objective.id, "game": s.objective.game, "hash": h} for s, h in zip(arena.stages, hashes, strict=True)],
        })  # fmt: skip
        self._look("b")
        for who, times in order.course:
            self._go(who, times)
            self._look(who)

    def _go(self, who: str, times: int) -> None:
        """Steps that were ordered, measured now and then on the way, as long as somebody is there."""
        for _ in range(times):
            if self.left.is_set():
                raise _Leave
            self.arena.move(who)
            if time.perf_counter() - self.measured > MEASURE_SECONDS:
                self._look(who)

    def _play(self) -> None:
        """Some steps: as many as the pace owes, for at most a slice of time."""
        now = time.perf_counter()
        if self.speed:
            self.owed = min(self.owed + (now - self.since) * self.speed, max(1.0, self.speed / 4))
        self.since = now
        moved, until = False, min(now + SLICE_SECONDS, max(now, self.shown + FRAME_SECONDS))
        while (not self.speed or self.owed >= 1) and (not moved or time.perf_counter() < until):
            try:
                self.arena.move("b")
            except UserError as error:
                self.playing = False
                self._say({"type": "error", "error": str(error)})
                break
            self.owed -= 1
            moved = True
        if not moved and self.speed:
            time.sleep(min(FRAME_SECONDS, max(0.0, (1 - self.owed) / self.speed)))
            return
        self.dirty = True
        if time.perf_counter() - self.counted_at > 0.5:
            self.pace = (self.arena.step - self.counted) / (time.perf_counter() - self.counted_at)
            self.counted, self.counted_at = self.arena.step, time.perf_counter()
        if time.perf_counter() - self.measured > MEASURE_SECONDS:
            self._look("b")

    def _seek(self, step: int) -> None:
        self.arena.seek(step)
        self.numbers = [{} for _ in self.numbers]
        self._look("b", remember=False)

    def _look(self, who: str, remember: bool = True) -> None:
        """Measure and narrate this moment; ``remember`` it in the curves, of which whatever lies later is dropped."""
        arena = self.arena
        for index, stage in enumerate(arena.stages):
            now, reading = stage.numbers(), stage.measure()
            self.sentences[index] = vars(narrate(
                arena.step, who, stage.objective, self.numbers[index], now, self.readings[index], reading, arena.floor(),
                0 if arena.measures.mixture is None else len(arena.measures.mixture.centers), stage.failure,
            ))  # fmt: skip
            self.numbers[index], self.readings[index] = now, reading
            if remember:
                curve = self.curves[index]
                while curve and curve[-1][0] >= arena.step:
                    curve.pop()
                self.told[index] = min(self.told[index], len(curve))
                curve.append([arena.step, now["d_loss"], now["g_loss"], now["gradient"], reading.js, reading.w1, reading.modes])
        self.measured, self.dirty = time.perf_counter(), True

    def _show(self) -> None:
        """A frame."""
        arena, payload, offset = self.arena, [], 0
        self.first, first, self.dirty, self.shown = False, self.first, False, time.perf_counter()

        def placed(arrays: dict[str, Any]) -> dict:
            nonlocal offset
            places = {}
            for name, array in arrays.items():
                places[name] = {"at": offset, "shape": list(array.shape)}
                payload.append(array.tobytes())
                offset += array.nbytes
            return places

        stages = []
        for index, stage in enumerate(arena.stages):
            numbers = stage.numbers() if self.playing else self.numbers[index]
            new = self.curves[index][self.told[index] :]
            stages.append({
                "arrays": placed(stage.arrays(self.layers, arena.heat_points)), "numbers": numbers, "measures": vars(self.readings[index]),
                "curve": [row[:4] for row in new], "measured": [[row[0], *row[4:]] for row in new], "curve_from": self.told[index],
                "narration": self.sentences[index], "failure": stage.failure,
            })  # fmt: skip
            self.told[index] = len(self.curves[index])
        self.frame += 1
        header = {
            "type": "frame", "frame": self.frame, "step": arena.step, "newest": arena.newest, "playing": self.playing,
            "speed_now": round(self.pace, 1) if self.playing else 0.0, "course": arena.course, "stages": stages,
            "shared": {"arrays": placed({"real": arena.stages[0].real.numpy()})} if first else {},
        }  # fmt: skip
        self.send(packed(header, payload))

    def _say(self, message: dict) -> None:
        self.send(json.dumps(plain(message), ensure_ascii=False))


def _next_is(kind: type[Order], later: list[Order | None]) -> bool:
    """Whether the next of these orders that does anything to the game is of a kind."""
    return isinstance(next((order for order in later if not isinstance(order, Ack | Layers)), None), kind)


class _Leave(Exception):
    pass


def packed(header: dict, payload: list[bytes]) -> bytes:
    """A binary frame: the header's length, the header as JSON padded to 4 bytes, the arrays."""
    text = json.dumps(plain(header), ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<I", len(text)) + text + b"".join(payload)


def plain(value: Any) -> Any:
    """JSON has no number that is not finite: null stands for it, which a curve shows as a gap."""
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value
