"""Measuring a run: afterwards (``agon evaluate``) and while it trains (``--metrics fid_digits --every 20k``)."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from agon.config import TrainConfig
from agon.data import DATASETS, open_dataset
from agon.data.pictures import EXTENSIONS
from agon.data.source import Batch, Source
from agon.errors import UserError, writing
from agon.media import write_atomically
from agon.metrics import catalog
from agon.metrics.evaluate import between, evaluate, measure
from agon.metrics.protocol import differences
from agon.metrics.samples import MAX_REAL, Samples
from agon.metrics.sides import Chosen, PictureFolder, Side, SourceSide, choose
from agon.train.devices import pick_device
from agon.train.distributed import join

RESULTS, HISTORY, BEST = "metrics.json", "metrics.jsonl", "best"


def read_results(path: Path) -> list[dict]:
    """The results that a metrics.json holds, [] where there is none. Raises UserError for one that was damaged: it would be replaced otherwise."""
    if not path.exists():
        return []
    try:
        results = json.loads(path.read_text())["results"]
        if all("metric" in result for result in results):
            return results
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise UserError("{path} cannot be read. Expected the file that 'agon evaluate' wrote; restore or remove it.", path=path)


def keep_results(path: Path, results: list[dict]) -> None:
    """Write results into a metrics.json; newer values replace older ones of the same name on the same data, what could not be measured is left out."""
    measured = [result for result in results if "value" in result]
    new = [measured_on(result) for result in measured]
    write_results(path, [result for result in read_results(path) if measured_on(result) not in new] + measured)


def measured_on(result: dict) -> list:
    """The metric's name, the data with their options, and the direction of a translation."""
    protocol = result.get("protocol") or {}
    return [result["metric"], *(protocol.get(name) for name in ("data", "data_options", "direction"))]


def write_results(path: Path, results: list[dict]) -> None:
    """Write a metrics.json of these results, what could not be measured left out."""
    with writing(path):
        write_atomically(path, json.dumps({"results": [result for result in results if "value" in result]}, indent=1).encode())


def about_data(config: dict[str, Any]) -> dict[str, Any]:
    """What a run's protocol says of its data beyond name and fingerprint: the options they were opened with (split, size ...)."""
    return {"data_options": config["data"]["options"]}


def measure_folders(
    real: str | Path | Side, fake: str | Path | Side, metrics: list[str] | None = None, *, kind: str | None = None, num_real: int | None = MAX_REAL,
    num_fake: int | None = None, seed: int = 0, device: str | None = None, captions: str | Path | list[str] | None = None,
    segmenter: Any = None, frames: int = 16, tokens: str = "words", cached: bool = True, **how: Any,
) -> tuple[Samples, list[dict]]:  # fmt: skip
    """Measure any two sets of samples: folders, files, names of data sets. Returns the samples, for a report, and the results of
    :func:`agon.metrics.evaluate.measure`.

    ``kind``: what the files hold where their endings do not say it. ``num_real``, ``num_fake``: at most so many, always the same ones; None takes
    all. ``captions``: a text a fake, or a file of lines, in the order of the files' names (of a side without names, of its samples). ``segmenter``: pictures
    -> label maps, or a file that holds one (it is executed). ``frames``: of each video the first so many. ``tokens``: "words" or "characters", of
    text.
    """
    if metrics is not None:
        catalog.asked(metrics)  # before anything is read
    join()
    sides = open_side(real, kind, num_real, frames=frames), open_side(fake, kind, num_fake, frames=frames)
    if captions is not None:
        from agon.metrics.clip_score import read_captions

        captions = in_rows(read_captions(Path(captions)) if isinstance(captions, str | Path) else captions, sides[1])
    samples = between(*sides, metrics, seed=seed, captions=captions, segmenter=segmenter, cached=cached)
    if samples.kind == "text":
        samples.about["tokens"] = tokens
    return samples, measure(samples, None if metrics is None else catalog.asked(metrics), device=str(pick_device(device)), **how)


def open_side(data: str | Path | Side, kind: str | None = None, most: int | None = None, *, frames: int = 16) -> Side:
    """A data set's name, a folder or ZIP of pictures, or files of another kind -> a stream of at most ``most`` samples."""
    if isinstance(data, Side):
        return data
    if str(data) in DATASETS:
        source = open_dataset(data)
        return SourceSide(source, choose(len(source), len(source) if most is None else most))
    path = Path(data).expanduser()
    if kind is None and path.is_dir() and (path / "config.json").exists() and (path / "checkpoints").is_dir():
        raise UserError(
            "{path} is a run and no folder of samples. Expected: agon evaluate {path}; or draw samples first: agon sample {path} --out FOLDER", path=path
        )
    if kind == "image" or kind is None and holds_pictures(path):
        return PictureFolder(path, most=most)
    from agon.metrics.files import open_files

    side = open_files(path, kind, frames=frames)
    return side if most is None or side.count <= most else Chosen(side, most)


def holds_pictures(path: Path) -> bool:
    """A .zip, or a folder of which most files are pictures (films, animations and all else belong to agon/metrics/files.py)."""
    if not path.exists():
        raise UserError("There is no folder, file or data set '{name}'. Check the path, or choose a name from 'agon list datasets'.", name=path)
    if path.is_file():
        return path.suffix.lower() == ".zip"
    if not any(file.is_file() for file in path.rglob("*")):
        raise UserError("{path} is empty. Expected a folder of samples.", path=path)
    endings = [file.suffix.lower().removeprefix(".") for file in path.rglob("*") if file.is_file()]
    return 2 * sum(ending in EXTENSIONS - {"gif", "apng"} for ending in endings) > len(endings)


def in_rows(captions: list[str], side: Side) -> list[str]:
    """Captions in the order of the files' names -> in the order in which the side hands the files out."""
    if side.files is None or len(side.files) != len(captions):
        return captions  # clip_score says what is wrong with the count
    by_name = dict(zip(sorted(side.files), captions, strict=True))
    return [by_name[name] for name in side.files]


class Measuring:
    """Measures a training run every so many images and keeps the best checkpoint. Whatever goes wrong here is an event, never the end of the run."""

    def __init__(self, folder: Path, config: TrainConfig, source: Source, about: dict[str, Any]):
        self.folder, self.config, self.source, self.about = folder, config, source, about
        self.every = config.metrics_every_images or max(1, config.images // 10)
        self.best_of = config.best_metric or next((each.name for each in catalog.asked(config.metrics) if each.metric.better), "") if config.metrics else ""
        if self.best_of and not catalog.parse(self.best_of).metric.better:
            raise UserError(
                "The best checkpoint cannot be chosen by '{metric}': neither lower nor higher is better. Name another --best_metric.", metric=self.best_of
            )

    def measure(self, draw: Callable[..., Tensor], conditional: bool, device: str, inputs: Callable[[Batch], Tensor] | None = None) -> list[dict]:
        """The configured metrics of a generator, in evaluation mode. ``inputs``: of a translator, what it starts from."""
        return evaluate(
            draw, self.source, self.config.metrics, num_samples=self.config.metrics_samples or None, conditional=conditional, inputs=inputs, about=self.about,
            device=device,
        )  # fmt: skip

    def begin(self, num_images: int) -> None:
        """Forget what was measured after the checkpoint from which the run goes on: it will be measured again."""
        path = self.folder / HISTORY
        if path.exists():
            lines = [json.dumps(line) for line in self.history() if line["num_images"] <= num_images]
            write_atomically(path, "".join(f"{line}\n" for line in lines).encode())

    def record(self, num_images: int, results: list[dict]) -> bool:
        """Write down a measurement; True if it is the best so far by ``best_metric``, of those made in the same way (a resumed run may change it)."""
        measured = [{**result, "num_images": num_images} for result in results if "value" in result]
        earlier = [found for line in self.history() if (found := self._decisive(line["results"])) is not None]
        with open(self.folder / HISTORY, "a", encoding="utf-8") as file:
            file.write(json.dumps({"num_images": num_images, "results": measured}) + "\n")
        latest, sign = self._decisive(measured), -1 if self.best_of and catalog.parse(self.best_of).metric.better == "higher" else 1
        comparable = [other["value"] for other in earlier if latest is not None and not differences(latest, other)]
        return latest is not None and all(sign * latest["value"] < sign * other for other in comparable)

    def history(self) -> list[dict]:
        """The measurements so far; a torn last line is left out."""
        try:
            lines = (self.folder / HISTORY).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        found = []
        for line in lines:
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def keep_best(self, checkpoint: Path) -> None:
        """Copy a whole checkpoint into best/ and remove the one that was there."""
        folder = self.folder / BEST
        folder.mkdir(exist_ok=True)
        pending = folder / f".writing-{checkpoint.name}"
        shutil.rmtree(pending, ignore_errors=True)
        shutil.copytree(checkpoint, pending, copy_function=_link_or_copy)
        others = [path for path in folder.iterdir() if path != pending]
        if (folder / checkpoint.name) in others:
            shutil.rmtree(folder / checkpoint.name)
        pending.rename(folder / checkpoint.name)
        for path in others:
            shutil.rmtree(path, ignore_errors=True)

    def _decisive(self, results: list[dict]) -> dict | None:
        """The result that decides."""
        return next((result for result in results if result["metric"] == self.best_of), None)


def _link_or_copy(source: str, target: str) -> None:
    """A checkpoint's files are never written to again, so a second name costs no space; not every file system has them."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
