"""Create: what trained runs make, for the page and for programs. Results are those of ``agon sample`` and ``agon translate``, byte for byte."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

import torch
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from agon.errors import UserError
from agon.media import encoded, png
from agon.playground import decode
from agon.playground.create import draw, keepsake
from agon.playground.create.describe import CONTROLS, described, listed
from agon.playground.desk import Desk
from agon.playground.jobs import Job, Made
from agon.playground.routes.shell import PROBLEMS, JobState, state_of
from agon.run import Run
from agon.translation.files import as_file
from agon.translation.translator import Translator, Wishes
from agon.translation.view import visible

MOST_PIXELS = 1 << 24
"""Of all the pictures of one answer together."""
MOST_UPLOAD = 32 << 20
MAX_SIDE = 1024
"""Larger pictures are reduced before they are translated: whoever plays does not want to wait."""
EXAMPLES = 16

RunId = Annotated[str, Field(min_length=1, max_length=80)]
Seed = Annotated[int, Field(ge=0, lt=1 << 31)]
Label = Annotated[int, Field(ge=0, lt=1 << 20)] | None
State = Annotated[str, Field(max_length=8000)]
Number = Annotated[float, Field(ge=-1000, le=1000, allow_inf_nan=False)]


class Ask(BaseModel):
    model_config = ConfigDict(extra="forbid")

    run: RunId
    controls: Annotated[dict[Annotated[str, Field(max_length=40)], Annotated[int, Field(ge=-1000, le=1000)] | Number | Literal["const", "random", "none"]],
                        Field(max_length=8)] = {}  # fmt: skip


class CellAsk(BaseModel):
    """A cell of a sheet: its own seed and class (None: drawn by the seed)."""

    model_config = ConfigDict(extra="forbid")

    seed: Seed
    label: Label = None


class CellsAsk(Ask):
    cells: Annotated[list[CellAsk], Field(min_length=1, max_length=64)]


class SheetAsk(CellsAsk):
    columns: int = Field(0, ge=0, le=64)
    state: State = ""


class BetweenAsk(Ask):
    start: CellAsk = Field(alias="from")
    end: CellAsk = Field(alias="to")
    steps: int = Field(8, ge=2, le=32)


class WalkAsk(Ask):
    seeds: Annotated[list[CellAsk], Field(min_length=2, max_length=12)]
    frames: int = Field(60, ge=2, le=240)
    loop: bool = True
    form: Literal["gif", "mp4"] = "gif"
    scale: int = Field(1, ge=1, le=8)
    state: State = ""


class SampleAsk(Ask):
    n: int = Field(64, ge=1, le=256)
    seed: Seed = 0
    label: Label = None
    form: Literal["png", "npz", "csv"] = "png"
    plain: bool = True
    state: State = ""


PICTURE: dict[int | str, dict] = {200: {"content": {"image/png": {}}}}
SAMPLES: dict[int | str, dict] = {200: {"content": {"image/png": {}, "application/octet-stream": {}, "text/csv": {}}}}
TYPES = {"png": "image/png", "npz": "application/octet-stream", "csv": "text/csv; charset=utf-8", "gif": "image/gif", "mp4": "video/mp4"}


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(prefix="/api", tags=["create"], responses=PROBLEMS)
    _add_looks(routes, desk)
    _add_sheets(routes, desk)
    _add_translations(routes, desk)
    return routes


def _add_looks(routes: APIRouter, desk: Desk) -> None:
    @routes.get("/create/runs")
    def runs() -> dict[str, list[dict[str, Any]]]:
        """All runs, by what their config.json says."""
        return {"runs": [listed(entry) for entry in desk.library.entries()]}

    @routes.get("/create/runs/{run}")
    async def one(request: Request, run: Annotated[str, Path(min_length=1, max_length=80)]) -> dict[str, Any]:
        """A run with everything that it can be asked for; opens it."""
        entry = desk.library.entry(run)
        found: dict[str, Any] = {}

        def work(job: Job) -> Made:
            found.update(described(entry, desk.library.run(run)))
            return Made(b"", "text/plain")

        await desk.answer(request, "open", work)
        return found

    @routes.post("/create/restore")
    async def restore(request: Request) -> dict[str, Any]:
        """The state that an exported file (the body) carries; without one ``state`` is null and ``why`` says so."""
        content = await desk.body(request, MOST_UPLOAD)
        try:
            kept = keepsake.read(content)
        except UserError as error:
            return {"state": None, "run": None, "name": "", "why": str(error)}
        known = {entry.id for entry in desk.library.entries()}
        run = kept.get("run")
        return {"state": kept["state"], "run": run if run in known else None, "name": str(kept.get("name", ""))[:200], "why": ""}


def _add_sheets(routes: APIRouter, desk: Desk) -> None:
    @routes.post("/sample", response_class=Response, responses=SAMPLES)
    async def sample(request: Request, ask: SampleAsk) -> Response:
        """The file that ``agon sample`` writes; with ``plain`` false it also says how it was made."""
        return await desk.answer(request, "sample", partial(_sample, desk, ask))

    @routes.post("/create/cells", response_class=Response, responses=PICTURE)
    async def cells(request: Request, ask: CellsAsk) -> Response:
        """The pictures of cells, below each other in one PNG; X-Agon-Cell has the size of each."""
        return await desk.answer(request, "cells", partial(_strip, desk, ask))

    @routes.post("/create/sheet", response_class=Response, responses=PICTURE)
    async def sheet(request: Request, ask: SheetAsk) -> Response:
        """A sheet of cells as a file to keep, which says how it was made."""
        return await desk.answer(request, "sheet", partial(_sheet, desk, ask))

    @routes.post("/create/between", response_class=Response, responses=PICTURE)
    async def between(request: Request, ask: BetweenAsk) -> Response:
        """Pictures on the way from one cell to another, below each other in one PNG."""
        return await desk.answer(request, "between", partial(_between, desk, ask))

    @routes.post("/create/walk", status_code=202)
    def walk(ask: WalkAsk) -> JobState:
        """A film along several cells, as a job (/api/jobs)."""
        desk.library.entry(ask.run)
        return state_of(desk, desk.submit("walk", partial(_walk, desk, ask)))


def _sample(desk: Desk, ask: SampleAsk, job: Job) -> Made:
    run = opened(desk, ask, ask.n)
    if ask.form == "csv" and run.spec.kind != "points":
        raise UserError("Pictures are not written as CSV. Expected png or npz.")
    label = {} if ask.label is None else {"label": ask.label}  # its place, not its name: classes may be called "1", "2", "3"
    content = encoded(run.sample(ask.n, seed=ask.seed, **label, **ask.controls), f".{ask.form}")
    return Made(content if ask.plain else keepsake.WRITERS[ask.form](content, _note(desk, ask.run, ask.state, run)), TYPES[ask.form], _about(run))


def _strip(desk: Desk, ask: CellsAsk, job: Job) -> Made:
    run = opened(desk, ask, len(ask.cells))
    return _below(run, draw.pictures(run, _cells(ask.cells), ask.controls))


def _sheet(desk: Desk, ask: SheetAsk, job: Job) -> Made:
    run = opened(desk, ask, len(ask.cells))
    content = draw.sheet(draw.pictures(run, _cells(ask.cells), ask.controls), ask.columns)
    return Made(keepsake.in_png(content, _note(desk, ask.run, ask.state, run)), TYPES["png"], _about(run))


def _between(desk: Desk, ask: BetweenAsk, job: Job) -> Made:
    run = opened(desk, ask, ask.steps)
    at = [number / (ask.steps - 1) for number in range(ask.steps)]
    return _below(run, draw.between(run, *_cells([ask.start, ask.end]), at, ask.controls))


def _walk(desk: Desk, ask: WalkAsk, job: Job) -> Made:
    run = opened(desk, ask, ask.frames * ask.scale * ask.scale)

    def counted():
        for number, frame in enumerate(draw.walk(run, _cells(ask.seeds), ask.frames, ask.loop, ask.controls)):
            job.check()
            job.progress = number / ask.frames
            yield frame

    return Made(draw.film(counted(), ask.form, ask.scale, _note(desk, ask.run, ask.state, run)), TYPES[ask.form], _about(run))


def _below(run: Run, made: torch.Tensor) -> Made:
    return Made(draw.strip(made), TYPES["png"], _about(run) | {"X-Agon-Cell": f"{made.shape[3]}x{made.shape[2]}"})


def _add_translations(routes: APIRouter, desk: Desk) -> None:
    body = {"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}

    @routes.post("/translate", response_class=Response, responses=PICTURE, openapi_extra=body)
    async def translated(
        request: Request, run: Annotated[str, Query(min_length=1, max_length=80)], seed: Annotated[int, Query(ge=0, lt=1 << 31)] = 0,
        label: Annotated[str | None, Query(max_length=200)] = None, direction: Annotated[str | None, Query(max_length=40)] = None, derive: bool = False,
        state: Annotated[str, Query(max_length=8000)] = "",
    ) -> Response:  # fmt: skip
        """A picture file (the body) through a translator: what ``agon translate --max-side 1024`` writes for it as PNG; with a ``state`` it also
        says how it was made."""
        desk.library.entry(run)
        given = await desk.body(request, MOST_UPLOAD)
        plain = await decode.picture(given)

        def work(job: Job) -> Made:
            at_work = desk.library.run(run)
            translator = Translator(at_work, Wishes(seed, direction, label, derive, max_side=MAX_SIDE))
            # a label map's numbers are in its palette: it is read as it came, once the child has found it to be a picture of bearable size
            taken = translator.open(given if translator.kind == "map" and not derive else plain)
            job.check()
            content = as_file(translator.finish(translator(taken.source)[0], taken), ".png")
            return Made(keepsake.in_png(content, _note(desk, run, state, at_work)) if state else content, TYPES["png"], _about(at_work))

        return await desk.answer(request, "translate", work)

    @routes.get("/create/inputs", response_class=Response, responses=PICTURE)
    async def inputs(
        request: Request, run: Annotated[str, Query(min_length=1, max_length=80)], index: Annotated[int, Query(ge=0, lt=EXAMPLES)] = 0
    ) -> Response:  # fmt: skip
        """An input out of the run's own data, as a picture file that can be translated."""
        desk.library.entry(run)

        def work(job: Job) -> Made:
            at_work = desk.library.run(run)
            if not at_work.game.needs_input:
                raise UserError("{run} translates nothing: its game, {game}, starts from noise. Draw samples: agon sample {run}.", run=at_work.folder.name,
                                game=at_work.config["game"])  # fmt: skip
            return Made(png(_as_file_shows(at_work, at_work.inputs(EXAMPLES, seed=0)[index : index + 1])), TYPES["png"])

        return await desk.answer(request, "inputs", work)


def opened(desk: Desk, ask: Ask, count: int) -> Run:
    """The run, if it can be asked for so much and in this way. Raises HTTPException 404 and UserError."""
    run = desk.library.run(ask.run)
    game = run.game  # opened now, so that the images its weights have seen are known to whoever notes them
    height, width = run.spec.shape[1:] if run.spec.kind == "image" else (draw.SCATTER, draw.SCATTER)
    if count * height * width > MOST_PIXELS:
        most = max(1, MOST_PIXELS // (height * width))
        raise UserError("{count} pictures of {width}x{height} pixels are too many at once. Expected at most {most}: ask for fewer, or smaller ones.",
                        count=count, width=width, height=height, most=most)  # fmt: skip
    for name, value in ask.controls.items():
        if name not in game.controls or name not in CONTROLS:
            raise UserError("This run cannot be asked for '{name}'. Expected some of: {known}.", name=name,
                            known=", ".join(each for each in game.controls if each in CONTROLS) or "-")  # fmt: skip
        if isinstance(value, str) != ("choices" in CONTROLS[name]):
            raise UserError("'{name}' cannot be {value}. Expected {what}.", name=name, value=value, what=", ".join(CONTROLS[name].get("choices", ["0.5"])))
    return run


def _cells(asked: list[CellAsk]) -> list[draw.Cell]:
    return [draw.Cell(each.seed, each.label) for each in asked]


def _note(desk: Desk, name: str, state: str, run: Run) -> str:
    if not state.startswith("#create"):
        raise UserError("The state to keep in the file is missing. Expected the page's address from its '#create' on.")
    return keepsake.note(state=state, run=name, name=desk.library.entry(name).name, images=run._loaded)


def _about(run: Run) -> dict[str, str]:
    return {"X-Agon-Images": str(run._loaded)}


def _as_file_shows(run: Run, source: torch.Tensor) -> torch.Tensor:
    """(1, C', H, W) of the data -> a picture (C, H, W) from which a file's reader makes the same input: what is missing is transparent."""
    if run.spec.source_kind != "hole":
        return visible(source, run.spec)[0]
    picture, mask = source[0, :-1], source[0, -1:]
    colour = picture.repeat(3, 1, 1) if len(picture) == 1 else picture[:3]
    return torch.cat([colour, 1 - 2 * mask])


