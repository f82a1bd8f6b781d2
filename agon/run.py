"""A run: a folder that explains itself and holds no code. Train into one, resume it, sample and evaluate it."""

from __future__ import annotations

import dataclasses
import json
import math
import platform
import re
import sys
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import agon
from agon import catalog
from agon.config import TrainConfig, build, flatten, nearest, require, to_dict
from agon.data import DATASETS, open_dataset, with_defaults
from agon.data.sampler import permutation
from agon.data.source import DataSpec, Source
from agon.errors import UserError, writing
from agon.game import Game
from agon.locale import translate
from agon.measuring import BEST, RESULTS, Measuring, about_data, keep_results, read_results
from agon.media import grid, save_image, scatter, write_atomically
from agon.metrics.catalog import asked
from agon.metrics.evaluate import check_kind, measure, sides
from agon.metrics.samples import Samples
from agon.metrics.together import agree
from agon.report import write_report
from agon.train import checkpoint
from agon.train.devices import pick_device, resolve_precision
from agon.train.distributed import Ranks, join
from agon.train.health import Health
from agon.train.lock import LOCK, alone_in
from agon.train.logger import Logger, Total
from agon.train.randomness import mix
from agon.train.trainer import Observer, Trainer, images_per_step
from agon.transfer import Transferred, read_weights, transfer
from agon.translation.view import SHEET_PIXELS, contact_sheet, visible

FREE = {
    "images", "log_every", "sample_every_images", "checkpoint_every_images", "keep_checkpoints", "rollbacks",
    "metrics", "metrics_every_images", "metrics_samples", "best_metric",
}  # fmt: skip
"""Fields that may change when a run is resumed: they say how long and what is written, not what is learned."""
PATHS = {"input", "palette", "instances", "attributes"}  # options of data that may name files
SHEET = 16  # inputs in a translator's grid, at most
SIDES, MEASURE = {"num_samples", "num_real", "seed", "cache_dir", "cached", "direction", "segmenter"}, {"device", "precision", "weights"}
"""Options of what Run.measure calls."""
TRAINED_WITH = ("mirror", "jitter")  # options of data that a training has use for and held-out data have not
GRID_COLUMNS, GRID_CLASSES = 10, 16
HEAVY = 20  # million parameters, above which a CPU is no place to train
CHUNK, PIXELS = 1000, 1 << 22
"""Most samples, and most pixels of all samples together, that are drawn at once: a picture of 1024 pixels a side takes half a gigabyte on its way."""


class Run:
    """A run folder opened for sampling and evaluation. ``stopped_by`` is the signal that ended the training just done, or 0."""

    def __init__(self, folder: str | Path, device: str | None = None, *, game: str | type[Game] | None = None, best: bool = False):
        """``game``: needed for a run of a game from outside Agon, since its file would be executed: a run folder alone never is. ``best``: the checkpoint that
        scored best while training (``metrics``), not the newest."""
        self.given, self.best = game, best
        self.folder, self.device, self.stopped_by = Path(folder), pick_device(device), 0
        self.config = read_config(self.folder)
        self.spec = spec_from(self.config["data"]["spec"])
        self._game: Game | None = None
        self._loaded = 0  # images that the weights of ``_game`` have seen: a training that goes on may write newer checkpoints meanwhile
        self._source: Source | None = None

    @property
    def game(self) -> Game:
        """The game with the averaged weights of the newest whole checkpoint, in evaluation mode."""
        if self._game is None:
            self._game = self._load_game()
        return self._game

    @property
    def source(self) -> Source:
        """The data of the run, opened again and checked to be the same."""
        if self._source is None:
            data = self.config["data"]
            if not data["fingerprint"]:
                raise UserError("{run} was imported, without its data. Sample it, and compare with: agon evaluate --real DATA --fake SAMPLES.", run=self.folder)
            if not data.get("path") and data["name"] not in DATASETS:
                raise UserError(
                    "{run} was trained on data from Python ('{name}'), which a folder cannot open again. "
                    "Evaluate the run that agon.train returned.",
                    run=self.folder, name=data["name"],
                )  # fmt: skip
            self._source = open_dataset(data.get("path") or data["name"], **data["options"])
            if self._source.fingerprint != data["fingerprint"]:
                raise UserError(
                    "The data of {run} have changed since it was trained. Expected the content "
                    "it began with; restore it, or train anew.",
                    run=self.folder,
                )  # fmt: skip
        return self._source

    @property
    def num_images(self) -> int:
        """Images seen at the newest whole checkpoint."""
        return int(self._checkpoint().name)

    def sample(self, n: int, *, seed: int = 0, **conditions: Any) -> Tensor:
        """(n, *spec.shape) samples on the CPU, in [-1, 1] for pictures; ``label``: one class for all, its number or its name, or (n,) numbers; other
        ``conditions``: what the game's ``controls`` name (truncation ...)."""
        require(n >= 0, "n", n, "0 or more")
        if self.game.needs_input and conditions.get("source") is None:
            conditions["source"] = self.inputs(n, seed=seed)
        return draw(self.game, n, seed=seed, **self._numbered(conditions))

    def inputs(self, n: int, *, seed: int = 0) -> Tensor:
        """(n, *source_shape) inputs out of the run's data that a translator can start from, some of them again where n is more than there are."""
        return self.game.inputs(self.source.read(np.resize(permutation(seed, 0, len(self.source)), n)))

    def translate(self, source: Tensor, *, seed: int = 0, **controls: Any) -> Tensor:
        """(N, C, H, W) on the CPU in [-1, 1] from inputs (N, C', h, w) of any size, as the data of the run are; ``label``: the wanted class, its number or
        name, ``direction`` and other ``controls`` of the game. Raises UserError for a game that makes pictures from nothing."""
        if not self.game.needs_input:
            raise UserError("{run} translates nothing: its game, {game}, starts from noise. Draw samples: agon sample {run}.", run=self.folder,
                            game=self.config["game"])  # fmt: skip
        controls = self._numbered(controls)
        if isinstance(controls.get("label"), int):
            controls["label"] = torch.full((len(source),), controls["label"])
        return self.game.translate(source, seed=seed, **controls).cpu()

    def styles(self, n: int, *, seed: int = 0, **conditions: Any) -> Tensor:
        """(n, num_ws, w_dim) styles of the latents that ``sample`` draws with this seed. Raises UserError for a game without styles."""
        if not hasattr(self.game, "styles"):
            raise UserError("{run} has no styles: its game, {game}, has no mapping network.", run=self.folder, game=self.config["game"])
        return draw(self.game, n, seed=seed, by="styles", **self._numbered(conditions))

    def _numbered(self, conditions: dict[str, Any]) -> dict[str, Any]:
        label = conditions.get("label")
        return conditions | {"label": class_number(label, self.spec)} if isinstance(label, str) else conditions

    def evaluate(self, metrics: list[str] | None = None, *, num_samples: int | None = None, seed: int = 0, **how: Any) -> list[dict]:
        """Measure the run; results with their protocol are returned and kept in metrics.json (newer values replace older ones).

        ``how``: see :func:`agon.metrics.evaluate.evaluate` (num_real, precision, weights, cached ...); ``data``, ``data_options``: other data than the
        run's (:meth:`other`). A metric that cannot be had has ``unavailable`` for a value.
        """
        return self.measure(metrics, num_samples=num_samples, seed=seed, **how)[1]

    def other(self, data: Any = None, options: dict[str, Any] | None = None) -> tuple[Source, dict[str, Any]]:
        """(data, all their options): other data for this run, held-out ones for instance. ``data``: as for training, None for the run's own; they are opened
        with the run's options (without turns and jitter) as far as these data know them, and with ``options`` instead. Raises UserError where the run cannot
        take them."""
        stored = self.config["data"]
        kept = {name: value for name, value in stored["options"].items() if name not in TRAINED_WITH}
        data = (stored.get("path") or stored["name"]) if data is None else data
        opened = with_defaults(data, kept, options or {})
        source = open_dataset(data, **opened)
        theirs, ours = (form_of(spec, self.game) for spec in (source.spec, self.spec))
        for name in ours:
            if theirs[name] != ours[name]:
                raise UserError("{data} cannot be given to {run}: {name} is {found}, expected {expected}. Choose other data, or open them otherwise: "
                                "--data.OPTION.", data=source.name, run=self.folder, name=name.replace("_", " "), found=theirs[name], expected=ours[name])
        return source, {name: _absolute(name, value) for name, value in opened.items() if name != "cache_dir"}

    def measure(
        self, metrics: list[str] | None = None, *, data: Any = None, data_options: dict[str, Any] | None = None, **how: Any
    ) -> tuple[Samples, list[dict]]:
        """``evaluate``, and with its results the samples they were measured on, for a report."""
        unknown = set(how) - SIDES - MEASURE
        if unknown:
            raise TypeError(f"unknown options {', '.join(sorted(unknown))}: expected some of {', '.join(sorted(SIDES | MEASURE))}")
        ranks = join()
        path = self.folder / RESULTS
        read_results(path)  # a damaged file is found before the work
        own = data is None and not data_options
        source, options = (self.source, self.config["data"]["options"]) if own else self.other(data, data_options)
        samples = sides(
            self.sample, source, metrics, conditional=self.game.takes_labels, generator=self.game, about={"data_options": options},
            inputs=self.game.inputs if self.game.needs_input else None, **{name: value for name, value in how.items() if name in SIDES},
        )  # fmt: skip
        rest = {name: value for name, value in how.items() if name in MEASURE}
        results = measure(samples, None if metrics is None else asked(metrics), **{"device": str(self.device), **rest})
        results = [{**result, "num_images": self._loaded} for result in results]
        if ranks.first:
            keep_results(path, results)
            write_report(self.folder)
        ranks.barrier()
        return samples, results

    def _checkpoint(self) -> Path:
        path, complaints = checkpoint.latest(self.folder / (BEST if self.best else "checkpoints"))
        if path is None and self.best:
            raise UserError("{run} has no best checkpoint: nothing was measured while it was trained. Expected a run trained with --metrics.", run=self.folder)
        if path is None:
            raise UserError("{run} has no whole checkpoint yet{why}. Train it first: agon train.", run=self.folder, why="".join(f" ({c})" for c in complaints))
        return path

    def _game_class(self) -> type[Game]:
        if isinstance(self.given, type):
            return self.given
        name = self.given or self.config["game"]
        if self.given is None and name not in catalog.games():
            raise UserError(
                "{run} was trained by a game from outside Agon, {game}: opening it executes that file. If you trust it, add --game {game}.",
                run=self.folder, game=name,
            )  # fmt: skip
        return catalog.load(name)

    def _load_game(self) -> Game:
        tensors, state = checkpoint.load(self._checkpoint())
        self._loaded = state["num_images"]
        cls = self._game_class()
        game = cls(build(cls.Config, self.config["fields"]), self.spec)
        game.load_state_dict(tensors["game"])
        averaged = tensors.get("ema", {})
        for name in game.ema if averaged else ():
            getattr(game, name).load_state_dict({k.removeprefix(f"{name}."): v for k, v in averaged.items() if k.startswith(f"{name}.")})
        game.to(self.device).eval()
        game.prepare_to_sample()
        return game


def load(folder: str | Path, device: str | None = None, *, game: str | type[Game] | None = None, best: bool = False) -> Run:
    """Open a run folder. ``game``: the file or class of a game from outside Agon, which is executed only when named here. ``best``: see :class:`Run`."""
    return Run(folder, device, game=game, best=best)


def evaluate(run: str | Path, metrics: list[str] | None = None, **options: Any) -> list[dict]:
    """Measure a run folder (see :meth:`Run.evaluate`)."""
    return load(run).evaluate(metrics, **options)


def train(
    game: str | type[Game], data: Any = "digits", *, preset: str | None = None, out: str | Path | None = None, steps: int | None = None,
    minutes: float | None = None, device: str | None = None, console: bool = False, tensorboard: bool = False,
    data_options: dict[str, Any] | None = None, command: str | None = None, start: str | Path | None = None, **fields: Any,
) -> Run:  # fmt: skip
    """Train ``game`` on ``data`` into the folder ``out`` (default runs/<game>-<data>) and return the run; the same call again resumes.

    ``data``: anything :func:`agon.open_dataset` takes, with ``data_options``. ``preset``: by default the first that fits the data.
    ``start``: a run folder whose weights a new run begins with, as far as they fit (transfer.json says which; :mod:`agon.transfer`).
    ``steps`` bounds the run and its schedules, as the field ``images`` does; ``minutes`` only ends it early. ``fields``: the game's configuration
    (nested ones as dictionaries, or dotted names in a dictionary unpacked with ``**``). Raises UserError for anything that cannot be.
    """
    ranks = join()
    cls = catalog.load(game) if isinstance(game, str) else game
    name = game if isinstance(game, str) else _name_of(cls)
    data_options = with_defaults(data, cls.data_options, data_options or {})
    source = open_dataset(data, **data_options)
    preset = preset or cls.preset_for(source.spec)
    if preset not in cls.presets:
        raise UserError("{game} has no preset '{preset}'. Did you mean '{near}'?", game=name, preset=preset, near=nearest(preset, list(cls.presets)))
    if steps is not None and "images" in fields or minutes is not None and not minutes > 0:  # not: NaN is no length either
        raise UserError("The length of the run is not clear. Expected steps or images, not both, and minutes above 0.")
    require(steps is None or isinstance(steps, int) and steps > 0, "steps", steps, "a whole number above 0")
    config = build(cls.Config, _suited(cls.presets[preset].fields, device), fields)
    ranks.share(config.batch_size)
    for each in asked(config.metrics) if config.metrics else ():  # an unknown name or another kind's metric is found before anything is trained
        check_kind(each, source.name, source.spec.kind, source.spec)
    torch.manual_seed(mix(config.seed))
    built = cls(config, source.spec)
    if steps is not None:
        built.config = dataclasses.replace(config, images=steps * images_per_step(built.stages(), config.batch_size))
    folder = Path(out) if out else Path("runs") / slug(f"{name}-{source.name}")
    stored = {"path": _path_of(data), "options": {k: _absolute(k, v) for k, v in data_options.items() if k != "cache_dir"}}
    description = _describe(name, preset, source, stored, built.config, device, ranks, command) | {"start": str(start) if start else None}
    description = json.loads(json.dumps(description))
    _check_free(folder, description)
    transferred = _start_from(built, start, folder) if start else None
    ranks.barrier()  # before the first rank writes what the others look at
    with alone_in(folder) if ranks.first else nullcontext():
        if ranks.first:
            write_atomically(folder / "config.json", json.dumps(description, indent=1, ensure_ascii=False).encode())
            if console:
                _tell(built, pick_device(device), transferred, start)
            if transferred is not None:
                write_atomically(folder / "transfer.json", json.dumps(dataclasses.asdict(transferred), indent=1).encode())
        measuring = Measuring(folder, built.config, source, about_data(description))
        run = _train(built, source, folder, device, ranks, minutes, console, tensorboard, measuring)
    run._source = source
    return run


def _suited(preset: dict[str, Any], device: str | None) -> dict[str, Any]:
    """A preset's fields where it runs: its fp16 is meant for GPUs. A CPU takes forty times as long for it as for float32, and gets the default."""
    return {k: v for k, v in preset.items() if (k, v) != ("precision", "fp16")} if pick_device(device).type == "cpu" else preset


def _start_from(game: Game, start: str | Path, folder: Path) -> Transferred | None:
    """Give a new run the weights of another; a run that has checkpoints of its own goes on from those."""
    return None if (folder / "checkpoints").exists() else transfer(game, read_weights(Path(start)))


def _tell(game: Game, device: torch.device, done: Transferred | None, start: str | Path | None) -> None:
    """What a user at a terminal should know before a training begins."""
    millions = sum(parameter.numel() for parameter in game.parameters()) / 1e6
    if device.type == "cpu" and millions > HEAVY:
        text = "These networks have {millions} million parameters: on a CPU a step may take minutes. For small pictures see the presets of agon show GAME."
        print(translate(text).format(millions=round(millions)), file=sys.stderr)
    if done is not None:
        print(translate("From {start}: {loaded} tensors loaded, {adapted} adapted, {skipped} new here, {unused} unused (transfer.json).").format(
            start=start, loaded=len(done.loaded), adapted=len(done.adapted), skipped=len(done.skipped), unused=len(done.unused)), file=sys.stderr)  # fmt: skip


def _train(
    game: Game, source: Source, folder: Path, device: str | None, ranks: Ranks, minutes: float | None, console: bool, tensorboard: bool, measuring: Measuring
) -> Run:  # fmt: skip
    found, complaints = checkpoint.latest(folder / "checkpoints")
    if found is None and complaints:
        raise UserError(
            "No checkpoint of {run} is whole: {why}. Expected at least one; "
            "remove the folder to start anew.",
            run=folder, why="; ".join(complaints),
        )  # fmt: skip
    # the records count the training time since the run began; the bound is that of this launch
    seconds = json.loads((found / checkpoint.STATE).read_bytes())["seconds"] if found else 0.0
    total = Total(images=game.config.images, seconds=seconds + minutes * 60 if minutes else None)
    logger = None
    if ranks.first:
        logger = Logger(folder, console=console, total=total, resume_at=int(found.name) if found else 0, tensorboard=tensorboard)
    observer = RunObserver(folder, logger, measuring)
    trainer = Trainer(game, source, device=device, ranks=ranks, observer=observer)
    try:
        observer.begin(trainer, found, complaints)
        deadline = time.monotonic() + minutes * 60 if minutes else None
        stopped_by = trainer.fit(deadline=deadline)
        observer.end(trainer, stopped_by)
    finally:
        if logger:
            logger.close()
    ranks.barrier()
    run = Run(folder, device, game=type(game))
    run.stopped_by = stopped_by
    return run


class RunObserver(Observer):
    """Writes a run folder. On ranks other than the first ``logger`` is None and only checkpoints are joined."""

    def __init__(self, folder: Path, logger: Logger | None, measuring: Measuring):
        self.folder, self.logger, self.measuring, self.health = folder, logger, measuring, Health()
        self.saved = -1
        self.complained: set[str] = set()

    def begin(self, trainer: Trainer, found: Path | None, complaints: list[str]) -> None:
        if found:
            self._load(trainer, found)
        if self.logger:
            self.measuring.begin(trainer.num_images)
            for complaint in complaints:
                self.event("damaged", trainer.num_images, message=complaint)
            if trainer.num_images == 0:
                for happened in trainer.source.events:
                    self.event(happened.get("event", "data"), 0, **{k: v for k, v in happened.items() if k != "event"})
            self.event("resumed" if found else "started", trainer.num_images, device=str(trainer.device), precision=trainer.precision)
            if trainer.precision != trainer.config.precision:
                message = f"{trainer.config.precision} is not native on {trainer.device}: {trainer.precision} is used"
                self.event("precision", trainer.num_images, message=message)
            if not found:
                self.snapshot(trainer)

    def after_step(self, trainer: Trainer, record: dict | None) -> None:
        config = trainer.config
        if self.logger:
            self.logger.tick(step=trainer.step, num_images=trainer.num_images, seconds=trainer.seconds)
            if record:
                self.logger.log(record, self.health.update(record))
            if _crossed(trainer, config.sample_every_images or max(1, config.images // 20)):
                self.snapshot(trainer)
        if _crossed(trainer, config.checkpoint_every_images or max(1, config.images // 10)):
            self.save(trainer)
        if config.metrics and _crossed(trainer, self.measuring.every):
            self.measure(trainer)

    def measure(self, trainer: Trainer) -> None:
        """Measure the averaged weights, on all ranks together, and keep the best checkpoint. Never fatal: what fails is an event. Only a checkpoint that
        cannot be written is, as at any other time."""
        try:
            best = agree(lambda: self._measure(trainer))
        except Exception as error:
            self.not_measured(trainer, f"{type(error).__name__}: {error}")
            return
        if not trainer.ranks.any(best, trainer.device):
            return
        self.save(trainer)
        if self.logger:
            try:
                self.measuring.keep_best(self.folder / "checkpoints" / f"{trainer.num_images:012d}")
                self.event("best", trainer.num_images, metric=self.measuring.best_of)
            except OSError as error:
                self.event("best not kept", trainer.num_images, message=str(error))

    def _measure(self, trainer: Trainer) -> bool:
        """Whether it is the best so far; the first rank knows."""
        with trainer.averaged() as game:
            results = self.measuring.measure(partial(draw, game), game.takes_labels, str(trainer.device), game.inputs if game.needs_input else None)
        for result in results:
            if "value" in result:
                self.event("measured", trainer.num_images, metric=result["metric"], value=result["value"])
            else:
                self.not_measured(trainer, f"{result['metric']}: {result['unavailable']}")
        if self.logger and any("value" in result for result in results):
            values = ", ".join(f"{result['metric']} {result['value']:.4g}" for result in results if "value" in result)
            self.logger.say(translate("{images} images: {values}").format(images=f"{trainer.num_images:,}", values=values))
        return self.logger is not None and self.measuring.record(trainer.num_images, results)

    def not_measured(self, trainer: Trainer, why: str) -> None:
        """An event each time, a line on the terminal the first time."""
        self.event("not measured", trainer.num_images, message=why)
        if self.logger and why not in self.complained:
            self.complained.add(why)
            self.logger.say(translate("Not measured, the training goes on: {why}").format(why=" ".join(why.split())))

    def end(self, trainer: Trainer, stopped_by: int) -> None:
        self.save(trainer)
        if self.logger:
            self.snapshot(trainer)
            finished = trainer.num_images >= trainer.config.images
            self.event("finished" if finished else "stopped", trainer.num_images, **({"signal": stopped_by} if stopped_by else {}))
            write_report(self.folder)

    def event(self, kind: str, num_images: int, **fields: Any) -> None:
        if self.logger:
            self.logger.event(kind, num_images=num_images, **fields)

    def save(self, trainer: Trainer) -> None:
        if trainer.num_images == self.saved:
            return
        self.saved = trainer.num_images
        trainer.save(self.folder / "checkpoints", {"health": self.health.state_dict()})
        self.event("saved", trainer.num_images)

    def restore(self, trainer: Trainer) -> bool:
        found, _ = checkpoint.latest(self.folder / "checkpoints")
        if found is None:
            return False
        self._load(trainer, found)
        if self.logger:
            self.logger.rewind(trainer.num_images)
        self.event("rolled back", trainer.num_images)
        return True

    def snapshot(self, trainer: Trainer) -> None:
        """The sample grid of this moment: the same latents every time."""
        with trainer.averaged() as game:
            picture = snapshot(game, trainer.source)
        save_image(picture, self.folder / "samples" / f"{trainer.num_images:012d}.png", overwrite=True)

    def _load(self, trainer: Trainer, path: Path) -> None:
        extra = trainer.load(path)
        if "health" in extra:
            self.health.load_state_dict(extra["health"])


def snapshot(game: Game, source: Source) -> Tensor:
    """A picture (C, H, W) uint8 of what the game makes: a row for each class, a square of samples, or a scatter plot over the data."""
    if game.spec.kind == "points":
        real = source.read(np.arange(min(2000, len(source)))).real
        return scatter(draw(game, 2000, seed=0), real)
    if game.needs_input:
        return translated(game, source)
    classes = min(game.spec.num_classes, GRID_CLASSES) if game.takes_labels else 0
    if not classes:
        return grid(draw(game, 64, seed=0), columns=8)
    return grid(draw(game, classes * GRID_COLUMNS, seed=0, label=torch.arange(classes).repeat_interleave(GRID_COLUMNS)), columns=GRID_COLUMNS)


def translated(game: Game, source: Source) -> Tensor:
    """A contact sheet: inputs of the data, what the game makes of them (in every direction, or for every class), and the targets where they belong together."""
    spec = game.spec
    batch = source.read(np.resize(permutation(0, 0, len(source)), min(SHEET, max(2, SHEET_PIXELS // math.prod(spec.shape[1:])))))
    inputs = game.inputs(batch)
    columns = [visible(inputs, spec)]
    if game.takes_labels:
        columns += [draw(game, len(inputs), source=inputs, label=label) for label in range(min(spec.num_classes, GRID_COLUMNS))]
    elif spec.condition_dim:
        columns.append(draw(game, len(inputs), source=inputs, condition=batch.wanted if batch.wanted is not None else batch.condition))
    else:
        columns.append(draw(game, len(inputs), source=inputs))
    for direction in game.directions[1:]:
        columns += [batch.real, draw(game, len(inputs), source=batch.real, direction=direction)]
    if spec.paired:
        columns.append(batch.real)
    return contact_sheet(columns, groups=1 if len(columns) > 4 else 2)


@torch.no_grad()
def draw(game: Game, n: int, *, seed: int = 0, label: Any = None, by: str = "sample", **conditions: Any) -> Tensor:
    """(n, *spec.shape) samples on the CPU, made in parts so that memory stays bounded. ``conditions``: tensors (n, ...) and what holds for all samples;
    ``by``: the game's method."""
    if not -(1 << 63) <= seed < 1 << 63:
        raise UserError("The seed {seed} cannot be used. Expected a whole number of at most 63 bits.", seed=seed)
    if label is not None:
        label = torch.as_tensor(label).expand(n) if torch.as_tensor(label).dim() == 0 else torch.as_tensor(label)
        if len(label) != n:
            raise UserError("{count} labels were given for {n} samples. Expected one for each, or a single one for all.", count=len(label), n=n)
    parts, most = [], max(1, min(CHUNK, PIXELS // math.prod(game.spec.shape[1:])))
    for start in range(0, n, most):
        count = min(most, n - start)
        each = {k: v[start : start + count] if isinstance(v, Tensor) else v for k, v in {"label": label, **conditions}.items() if v is not None}
        seeds = {k: v if start == 0 else mix(v, start) for k, v in {"seed": seed, "mix_seed": each.pop("mix_seed", None)}.items() if v is not None}
        parts.append(getattr(game, by)(count, **seeds, **each).cpu())
    return torch.cat(parts) if parts else torch.empty(0, *game.spec.shape)


def read_config(folder: Path) -> dict[str, Any]:
    """A run's config.json. Raises UserError when there is none."""
    try:
        config = json.loads((folder / "config.json").read_text())
        if {"game", "data", "fields"} <= config.keys() and {"name", "options", "fingerprint"} <= config["data"].keys():
            spec_from(config["data"]["spec"])
            return config
    except (FileNotFoundError, NotADirectoryError):
        raise UserError("{folder} is no run folder: it has no config.json. Expected a folder that 'agon train' wrote.", folder=folder) from None
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
        pass
    raise UserError("{folder}/config.json cannot be read. Expected the file that 'agon train' wrote; restore it.", folder=folder)


def form_of(spec: DataSpec, game: Game) -> dict[str, Any]:
    """What of its data a trained game depends on."""
    if not game.needs_input:
        return {"kind": spec.kind, "shape": list(spec.shape), "classes": list(spec.class_names) or spec.num_classes if game.takes_labels else []}
    form = {"kind": spec.kind, "channels": spec.shape[0], "input": spec.source_kind, "input_channels": spec.source_shape[0] if spec.source_shape else 0,
            "input_classes": list(spec.source_classes), "conditions": spec.condition_dim}  # fmt: skip
    form |= {"classes": list(spec.class_names) or spec.num_classes} if game.takes_labels else {}
    return form | ({"shape": list(spec.shape)} if getattr(game, "fixed_size", False) else {})


def class_number(text: str, spec: DataSpec) -> int:
    """A class by number or name. Raises UserError for one that is not there."""
    if text in spec.class_names:
        return spec.class_names.index(text)
    if text.isdecimal() and int(text) < spec.num_classes:
        return int(text)
    names = ", ".join(spec.class_names[:20]) or f"0 to {spec.num_classes - 1}"
    known = names if spec.num_classes else "none (the data have no classes)"
    raise UserError("There is no class '{label}'. Expected one of: {names}.", label=text, names=known)


def spec_from(stored: dict[str, Any]) -> DataSpec:
    """The DataSpec that config.json holds as plain JSON."""
    return DataSpec(**{name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()})


def _name_of(cls: type[Game]) -> str:
    """The name by which the catalog finds a class, so that the run can be opened again; where there is none, what the class is called."""
    module = cls.__module__
    file = getattr(sys.modules[module], "__file__", "") if module.startswith("agon_external_") else ""  # made by the catalog from a file
    for name in filter(None, (module.removeprefix("agon.games."), file)):
        try:
            if catalog.load(name) is cls:
                return name
        except (UserError, ImportError):
            continue
    return f"{module}.{cls.__qualname__}"


def _path_of(data: Any) -> str | None:
    """Where a folder or ZIP lies, so that a run can be evaluated from any working directory; None for names and Python objects."""
    return str(Path(data).expanduser().resolve()) if isinstance(data, str | Path) and str(data) not in DATASETS else None


def _absolute(option: str, value: Any) -> Any:
    """An option that names a file or folder, as that can be found from any working directory."""
    return str(Path(value).expanduser().resolve()) if option in PATHS and isinstance(value, str | Path) and Path(value).expanduser().exists() else value


def _describe(
    name: str, preset: str, source: Source, stored: dict, config: TrainConfig, device: str | None, ranks: Ranks, command: str | None
) -> dict:  # fmt: skip
    where = pick_device(device)
    return {
        "game": name, "preset": preset, "seed": config.seed,
        "data": {
            "name": source.name, **stored, "num_samples": len(source), "fingerprint": source.fingerprint, "spec": dataclasses.asdict(source.spec),
        },
        "fields": to_dict(config),
        "device": where.type, "precision": resolve_precision(config.precision, where), "ranks": ranks.world,
        "versions": {
            "agon": agon.__version__, "torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version(), "platform": sys.platform,
        },
        "command": command,
    }  # fmt: skip


def _check_free(folder: Path, description: dict) -> None:
    """Find the folder new, or this run's already. Nothing is written."""
    with writing(folder):
        if (folder / "config.json").exists():
            _check_same(folder, read_config(folder), description)
        elif folder.exists() and not folder.is_dir():
            raise UserError("{folder} is a file. Expected a new folder or a run to resume: choose another --out.", folder=folder)
        elif folder.exists() and any(path.name != LOCK for path in folder.iterdir()):
            raise UserError("{folder} holds other files. Expected a new folder or a run to resume: choose another --out.", folder=folder)


def _check_same(folder: Path, old: dict, new: dict) -> None:
    other_data = old["data"]["fingerprint"] != new["data"]["fingerprint"]
    before, now = (
        {"game": run["game"], "data": run["data"]["name"] if other_data else "", "data.options": run["data"]["options"], **flatten(run["fields"])}
        for run in (old, new)
    )  # fmt: skip
    for name in now:
        if name not in FREE and before.get(name, now[name]) != now[name]:
            raise UserError(
                "{folder} holds a run with other settings: {field} was {before}, now {now}. Use the same settings to resume it, or choose another --out.",
                folder=folder, field=name, before=before.get(name), now=now[name],
            )  # fmt: skip
    if other_data:
        raise UserError("The data of {run} have changed since it was trained. Expected the content it began with; restore it, or train anew.", run=folder)


def _crossed(trainer: Trainer, every: int) -> bool:
    return trainer.num_images // every > trainer.images_before // every


def slug(text: str) -> str:
    """A folder's name from any text."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or "run"
