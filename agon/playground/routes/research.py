"""Research: the runs of a folder, their logs, pictures and numbers, and trainings that are started, stopped and resumed."""

from __future__ import annotations

import hashlib
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json
from starlette.responses import JSONResponse

from agon import catalog
from agon.locale import language, translate
from agon.playground.desk import Desk
from agon.playground.library import Entry
from agon.playground.research import files, forms, status
from agon.playground.research.forms import Wish
from agon.playground.research.trainings import Trainings, listed
from agon.playground.routes.shell import PROBLEMS

LIST_SECONDS = 0.4
"""How long a list may go on reading logs it has not read yet: it is asked for again at once."""
RunId = Annotated[str, Path(min_length=1, max_length=128)]
GameName = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
Images = Annotated[int, Field(ge=1, le=10**12)]
Minutes = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=200)]
Plain = bool | Annotated[int, Field(ge=-(1 << 62), le=1 << 62)] | Annotated[float, Field(allow_inf_nan=False)] | Text | None
Value = Plain | Annotated[list[Plain], Field(max_length=64)]


class Order(BaseModel):
    """A training that is wished for. ``data``: an id of ``GET /api/research/games``. ``fields``: dotted names of the game's form, values or texts."""

    model_config = ConfigDict(extra="forbid")
    game: Annotated[str, Field(min_length=1, max_length=64)]
    data: Annotated[str, Field(min_length=1, max_length=128)]
    preset: Annotated[str, Field(max_length=64)] | None = None
    fields: Annotated[dict[Annotated[str, Field(max_length=80)], Value], Field(max_length=200)] = {}
    steps: Images | None = None
    images: Images | None = None
    minutes: Minutes | None = None
    name: Annotated[str, Field(max_length=80)] | None = None

    def wish(self) -> Wish:
        return Wish(**self.model_dump() | {"preset": self.preset or None, "name": self.name or None})


class Further(BaseModel):
    """How far a run is resumed: to so many images in all (None: to its own end), at most so many minutes."""

    model_config = ConfigDict(extra="forbid")
    images: Images | None = None
    minutes: Minutes | None = None


class Sketch(BaseModel):
    player: str
    values: list[float | None]


class Health(BaseModel):
    state: str
    tone: Literal["quiet", "good", "warn", "bad"]
    sentence: str
    advice: str


class Row(BaseModel):
    """A run in the list. ``changed``: seconds since 1970. ``reading``: its log is still being read. ``ours``: this server trains it, and can stop it."""

    id: str
    name: str
    state: status.State
    why: str
    game: str
    data: str
    preset: str
    seed: int
    images: int
    steps: int
    seconds: float
    speed: float
    total: int
    changed: float
    health: Health | None
    sketch: list[Sketch]
    reading: bool
    problems: list[str]
    stopping: bool
    ours: bool


class Rows(BaseModel):
    """``most``: trainings at once."""

    runs: list[Row]
    most: int


class Span(BaseModel):
    images: int
    state: str
    tone: str


class Result(BaseModel):
    """A measurement. ``perfect``: what a perfect sampler reaches under the same protocol."""

    metric: str
    value: float
    standard_error: float | None
    perfect: float | None
    perfect_deviation: float | None
    better: Literal["lower", "higher", ""]
    num_real: int
    num_fake: int
    num_images: int
    protocol: dict[str, Any]


class Measured(BaseModel):
    num_images: int
    results: list[Result]


class Detail(Row):
    """All of a run but curves and pictures. ``flat``: the configuration by dotted names. ``grids``: the images at which sample grids were drawn."""

    folder: str
    config: dict[str, Any]
    flat: dict[str, Any]
    command: str
    events: list[dict[str, Any]]
    metrics: list[Result]
    history: list[Measured]
    spans: list[Span]
    grids: list[int]


class Columns(BaseModel):
    """The same length each; null where there is no finite number."""

    num_images: list[float | None]
    step: list[float | None]
    seconds: list[float | None]
    images_per_second: list[float | None]
    memory_mb: list[float | None]
    terms: dict[str, list[float | None]]
    stats: dict[str, list[float | None]]


class LogPart(BaseModel):
    """``at`` and ``stamp``: what to send as ``after`` and ``known`` next time. ``rewound``: what was sent before is no longer so, this is all. ``count``:
    records in all."""

    at: int
    stamp: str
    rewound: bool
    count: int
    columns: Columns


class Grids(BaseModel):
    images: list[int]


class FieldForm(BaseModel):
    name: str
    group: str
    input: Literal["number", "whole", "switch", "text", "choice", "list"]
    choices: list[str]
    optional: bool
    default: str
    help: str
    type: str


class PresetForm(BaseModel):
    name: str
    kind: str
    auto: bool
    max_size: int
    note: str
    values: dict[str, str]


class GameForm(BaseModel):
    name: str
    title: str
    paper: str
    url: str
    text: str
    needs_input: bool
    presets: list[PresetForm]
    fields: list[FieldForm]


class GameLine(BaseModel):
    name: str
    title: str
    summary: str
    year: int


class DataLine(BaseModel):
    id: str
    label: str
    kind: str
    size: int
    note: str


class Offer(BaseModel):
    """What a training can be started with."""

    games: list[GameLine]
    data: list[DataLine]
    most: int


class Checked(BaseModel):
    """``fields``: what is wrong, by field ("" for what belongs to none)."""

    fields: dict[str, str]


class Wrong(BaseModel):
    error: str
    fields: dict[str, str] = {}


class Begun(BaseModel):
    id: str


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(prefix="/api/research", tags=["research"], responses=PROBLEMS)
    folders, trainings = status.Folders(), Trainings(desk.root, desk.most_trainings, desk.device)
    _reading(routes, desk, folders, trainings)
    _forms(routes, desk)
    _acting(routes, desk, folders, trainings)
    return routes


def _reading(routes: APIRouter, desk: Desk, folders: status.Folders, trainings: Trainings) -> None:
    def standing(entry: Entry) -> tuple[status.Small, status.State, status.Started | None]:
        small = folders.small(entry.folder, language())
        launch = trainings.of(entry.id)
        started = launch.state() if launch else None
        return small, status.state_of(entry.folder, small, started), started

    @routes.get("/runs", responses={200: {"model": Rows}}, response_model=None)
    def runs(request: Request) -> Response:
        """Every run of the folder, those being started first."""
        rows, logs = [listed(launch) for launch in trainings.waiting()], [(entry, folders.logs.of(entry.folder)) for entry in desk.library.entries()]
        status.catch_up([log for _, log in logs], time.monotonic() + LIST_SECONDS)
        for entry, log in logs:
            small, state, started = standing(entry)
            rows.append(status.row(entry, small, log, state, started))
        return _conditional(request, {"runs": rows, "most": trainings.most})

    @routes.get("/runs/{name}", responses={200: {"model": Detail}}, response_model=None)
    def run(request: Request, name: RunId) -> Response:
        """A run's configuration, events, measurements and health."""
        entry = desk.library.entry(name)
        small, state, started = standing(entry)
        return _conditional(request, status.detail(entry, small, folders.logs.of(entry.folder), state, started))

    @routes.get("/runs/{name}/log", responses={200: {"model": LogPart}}, response_model=None)
    def log(name: RunId, after: Annotated[int, Query(ge=0, le=1 << 50)] = 0, most: Annotated[int, Query(ge=10, le=20_000)] = 1000,
            known: Annotated[str, Query(max_length=64)] = "") -> Response:  # fmt: skip
        """What was logged after byte ``after`` of log.jsonl, at most ``most`` values a column: the extremes of every stretch, where there are more."""
        found = folders.logs.of(desk.library.entry(name).folder)
        found.read()
        return Response(to_json(found.part(after, most, known)), media_type="application/json", headers={"Cache-Control": "no-store"})

    @routes.get("/runs/{name}/samples")
    def samples(name: RunId) -> Grids:
        """The images at which sample grids were drawn."""
        return Grids(images=status.grids(desk.library.entry(name).folder))

    @routes.get("/runs/{name}/samples/{images}.png", response_class=Response, responses={200: {"content": {"image/png": {}}}})
    def sample(request: Request, name: RunId, images: Annotated[int, Path(ge=0, lt=10**12)]) -> Response:
        """A sample grid: the same latents in every one."""
        folder = desk.library.entry(name).folder
        path = folder / status.PICTURES / f"{images:012d}.png"
        headers = {"ETag": f'"{"-".join(map(str, files.stamp(path)))}"', "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        content = files.picture(path, folder)
        if content is None:
            raise HTTPException(404, translate("There is no such picture."))
        return Response(content, media_type="image/png", headers=headers)


def _forms(routes: APIRouter, desk: Desk) -> None:
    @routes.get("/games")
    def games() -> Offer:
        """The games of the catalog, and the data they can be trained on."""
        lines = [GameLine(name=name, title=entry.title, summary=entry.summary, year=entry.year) for name, entry in catalog.games().items()]
        return Offer(games=lines, data=[DataLine(**one) for one in forms.datasets(desk.data)], most=desk.most_trainings)

    @routes.get("/games/{name}")
    def game(name: GameName) -> GameForm:
        """A game's presets and every field that can be set."""
        return GameForm(**forms.describe(name))

    @routes.post("/check")
    def check(order: Order) -> Checked:
        """What is wrong with a training that is wished for. Nothing is started."""
        return Checked(fields=forms.check(order.wish(), desk.data))


def _acting(routes: APIRouter, desk: Desk, folders: status.Folders, trainings: Trainings) -> None:
    @routes.post("/trainings", status_code=201, response_model=Begun, responses={400: {"model": Wrong}})
    def start(order: Order) -> Any:
        """Start a training, in a new folder that the server names."""
        wish = order.wish()
        if wrong := forms.check(wish, desk.data):
            return JSONResponse({"error": next(iter(wrong.values())), "fields": wrong}, 400)
        return Begun(id=trainings.start(wish, desk.data, desk.library.entries()).id)

    @routes.post("/runs/{name}/stop")
    def stop(name: RunId) -> Begun:
        """Ask a training to save and leave. Only one that this server started."""
        launch = trainings.of(name)
        return Begun(id=trainings.stop(launch.entry if launch else desk.library.entry(name)).entry.id)

    @routes.post("/runs/{name}/resume")
    def resume(name: RunId, further: Further) -> Begun:
        """Go on with a run that was stopped or killed, or train a finished one further."""
        entry = desk.library.entry(name)
        config = folders.small(entry.folder, language()).config
        return Begun(id=trainings.resume(entry, config, desk.library.entries(), images=further.images, minutes=further.minutes).id)


def _conditional(request: Request, answer: dict[str, Any]) -> Response:
    """JSON that is sent only if it is not what the client has."""
    content = to_json(answer, inf_nan_mode="null")
    headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()[:24]}"', "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="application/json", headers=headers)
