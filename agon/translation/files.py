"""Files through a translator: a picture, a folder, a .zip, a film or a stream, each to its like.

Decoding and encoding run in threads beside the network, at most a few files ahead. A file is written under a temporary name and renamed, so that an
interruption leaves only whole files; a damaged one is named and left out.
"""

from __future__ import annotations

import io
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from agon.data.files import Item, listing_of, refuse_empty
from agon.data.pictures import EXTENSIONS, BadPicture, decode
from agon.errors import UserError
from agon.media import save_image, write_atomically
from agon.translation import films
from agon.translation.translator import Input, Translator
from agon.translation.view import contact_sheet, visible

FORMATS = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "jpe": "JPEG", "jfif": "JPEG", "webp": "WEBP", "tif": "TIFF", "tiff": "TIFF", "bmp": "BMP"}
CLEAR = ("PNG", "WEBP", "TIFF")
"""Formats that hold transparency."""
AHEAD_BYTES = 64 << 20
SHEET_ROWS, SHEET_SIDE = 16, 256
SENTENCE = "has no partner of that name in {folder}"


@dataclass
class Result:
    """What became of one file: ``out`` and sizes (height, width), or ``error``."""

    file: str
    out: str = ""
    size: tuple[int, int] = (0, 0)
    made: tuple[int, int] = (0, 0)
    tiles: int = 1
    frames: int = 0
    seconds: float = 0.0
    error: str = ""

    def as_json(self) -> dict[str, Any]:
        if self.error:
            return {"file": self.file, "error": self.error}
        found = {"file": self.file, "out": self.out, "input_size": list(self.size), "output_size": list(self.made), "tiles": self.tiles}
        return found | ({"frames": self.frames} if self.frames else {}) | {"seconds": round(self.seconds, 3)}


@dataclass
class Sheet:
    """The first few inputs and results, small, for a contact sheet. ``target``: a folder or file with what they should have become."""

    target: Path | None = None
    rows: list[tuple[Tensor, Tensor, str]] = field(default_factory=list)

    def add(self, name: str, shown: Tensor, made: Tensor) -> None:
        """(1, C, H, W) in [-1, 1] and (C, h, w) uint8."""
        if len(self.rows) < SHEET_ROWS:
            cell = self._cell(*made.shape[1:])
            self.rows.append((_small(shown, cell), _small(made[None].float() / 127.5 - 1, cell), name))

    def _cell(self, height: int, width: int) -> tuple[int, int]:
        if self.rows:
            return tuple(self.rows[0][1].shape[2:])
        by = min(1.0, SHEET_SIDE / max(height, width))
        return max(1, round(height * by)), max(1, round(width * by))

    def write(self, path: Path, overwrite: bool) -> list[str]:
        """The sheet as a PNG; names that have no target."""
        if not self.rows:
            return []
        deep = max(max(shown.shape[1], made.shape[1]) for shown, made, _ in self.rows)
        columns = [torch.cat([_deeper(row[side], deep) for row in self.rows]) for side in (0, 1)]
        missing: list[str] = []
        if self.target is not None:
            with partners(self.target) as partner_of:
                found = [partner_of(name) for _, _, name in self.rows]
            missing = [row[2] for row, data in zip(self.rows, found, strict=True) if data is None]
            cell, blank = tuple(columns[1].shape[2:]), torch.zeros(1, deep, *columns[1].shape[2:])
            columns.append(torch.cat([blank if data is None else torch.from_numpy(decode(data, max(deep, 1) if deep != 2 else 3, cell))[None] / 127.5 - 1
                                      for data in found]))
        save_image(contact_sheet(columns), path, overwrite=overwrite)
        return missing


def _small(picture: Tensor, cell: tuple[int, int]) -> Tensor:
    """(1, C, H, W) scaled to cover the cell, the middle cut out: averaged where it shrinks, in visible pixels where it grows."""
    by = max(cell[0] / picture.shape[2], cell[1] / picture.shape[3])
    size = [max(want, round(side * by)) for side, want in zip(picture.shape[2:], cell, strict=True)]
    how: dict[str, Any] = {"mode": "nearest"} if by >= 1 else {"mode": "bilinear", "antialias": True}
    scaled = torch.nn.functional.interpolate(picture.float(), size, **how)
    top, left = ((side - want) // 2 for side, want in zip(size, cell, strict=True))
    return scaled[:, :, top : top + cell[0], left : left + cell[1]]


def _deeper(picture: Tensor, channels: int) -> Tensor:
    """Grey repeated, opaque where there is an alpha."""
    if picture.shape[1] == channels:
        return picture
    colour = picture.repeat(1, 3, 1, 1) if picture.shape[1] == 1 else picture
    return torch.cat([colour, torch.ones_like(colour[:, :1])], 1)[:, :channels]


@contextmanager
def partners(path: Path | None) -> Iterator[Callable[[str], bytes | None]]:
    """A function from a file's name to the bytes of the picture of the same path and name, whatever its ending, in a folder or .zip; a single file is
    everybody's partner."""
    if path is None:
        yield lambda name: None
    elif path.is_file() and path.suffix.lower() != ".zip":
        data = path.read_bytes()
        yield lambda name: data
    else:
        if not path.exists():
            raise UserError("There is no file or folder {path}. Expected a picture, or a folder of pictures with the names of the inputs.", path=path)
        with listing_of(path) as listing:
            refuse_empty(listing)
            found = {_stem(item.name): item for item in listing.items}
            yield lambda name: found[_stem(name)].read() if _stem(name) in found else None


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


class Job:
    """Pictures through ``translator`` into files. ``mask``: a picture or a folder of them (for maps: of instances); ``report``: called with each
    :class:`Result` as soon as it is there."""

    def __init__(self, translator: Translator, *, mask: Path | None = None, overwrite: bool = False, sheet: Sheet | None = None, workers: int | None = None,
                 report: Callable[[Result], None] = lambda result: None):
        self.translator, self.mask, self.overwrite, self.sheet, self.report = translator, mask, overwrite, sheet, report
        self.workers = workers or min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)

    # --- pictures ---------------------------------------------------------------------------------------------------------------------

    def pictures(self, items: list[Item], places: dict[str, Path]) -> None:
        """Each of ``items`` to its place."""
        free(places.values(), self.overwrite)
        waiting: deque[tuple[Result, Future]] = deque()
        with partners(self.mask) as mask_of, ThreadPoolExecutor(self.workers, "read") as readers, ThreadPoolExecutor(self.workers, "write") as writers:
            try:
                for group in self._groups(self._opened(items, mask_of, readers)):
                    for result, save in self._through(group, places):
                        waiting.append((result, writers.submit(save)))
                        while len(waiting) > 2 * self.workers:
                            self._settle(*waiting.popleft())
                while waiting:
                    self._settle(*waiting.popleft())
            except BaseException:
                readers.shutdown(cancel_futures=True)
                writers.shutdown(cancel_futures=True)
                raise

    def _opened(self, items: list[Item], mask_of: Callable[[str], bytes | None], pool: ThreadPoolExecutor) -> Iterator[tuple[Item, Input]]:
        """Inputs in order, read ahead in threads; what cannot be read is reported and left out."""
        ahead: deque[tuple[Item, Future]] = deque()
        left = deque(enumerate(items))
        while left or ahead:
            while left and len(ahead) < 2 * self.workers and (not ahead or sum(item.stamp[0] for item, _ in ahead) < AHEAD_BYTES):
                number, item = left.popleft()
                ahead.append((item, pool.submit(self._open, item, mask_of, number)))
            item, future = ahead.popleft()
            try:
                yield item, future.result()
            except (BadPicture, UserError, OSError, MemoryError) as error:
                self.report(Result(item.name, error=" ".join(str(error).split()) or type(error).__name__))

    def _open(self, item: Item, mask_of: Callable[[str], bytes | None], number: int) -> Input:
        mask = mask_of(item.name)
        if self.mask is not None and mask is None:
            raise BadPicture(SENTENCE.format(folder=self.mask))
        return self.translator.open(item.read(), mask=mask, number=number)

    def _groups(self, opened: Iterable[tuple[Item, Input]]) -> Iterator[list[tuple[Item, Input]]]:
        """Neighbours of one size together, where that changes nothing and memory allows."""
        for shape, same in groupby(opened, key=lambda pair: tuple(pair[1].source.shape)):
            most, group = self.translator.batch_of(torch.empty(shape, device="meta")), []
            for pair in same:
                group.append(pair)
                if len(group) == 2 and not self.translator.fits_together(group[0][1].source, group[1][1].source):
                    most = 1
                    yield [group.pop(0)]
                if len(group) >= most:
                    yield group
                    group = []
            if group:
                yield group

    def _through(self, group: list[tuple[Item, Input]], places: dict[str, Path]) -> Iterator[tuple[Result, Callable[[], None]]]:
        """The network on one group; for each file what is known of it and how it is to be written."""
        started = time.perf_counter()
        try:
            made = self.translator(torch.cat([given.source for _, given in group]))
        except (BadPicture, UserError) as error:
            for item, _ in group:
                self.report(Result(item.name, error=" ".join(str(error).split())))
            return
        seconds = (time.perf_counter() - started) / len(group)
        for (item, given), picture in zip(group, made, strict=True):
            size = tuple(given.source.shape[2:])
            if self.sheet is not None:
                self.sheet.add(item.name, self.shown(given.source), picture)
            result = Result(item.name, str(places[item.name]), size, tuple(picture.shape[1:]), self.translator.layout(*size).count, 0, seconds)
            yield result, partial(self._save, places[item.name], picture, given)

    def shown(self, source: Tensor) -> Tensor:
        """An input as one looks at it."""
        return visible(source, self.translator.spec) if self.translator.forward else source

    def _save(self, path: Path, picture: Tensor, given: Input) -> None:
        write_atomically(path, as_file(self.translator.finish(picture, given), path.suffix))

    def _settle(self, result: Result, written: Future) -> None:
        written.result()
        self.report(result)

    # --- films and streams ------------------------------------------------------------------------------------------------------------

    def film(self, path: Path, out: Path, progress: Callable[[int], None] = lambda total: None) -> None:
        """A film or animation, frame by frame. ``progress``: called with the number of frames before each."""
        free([out], self.overwrite)
        started, result = time.perf_counter(), Result(path.name, str(out))
        with partners(self.mask) as mask_of, films.opened(path) as film, ThreadPoolExecutor(1, "read") as pool:
            def made() -> Iterator[tuple[np.ndarray, float]]:
                for rgba, at in _ahead(film.frames, pool):
                    progress(film.count)
                    given = self.translator.from_rgba(rgba, mask=mask_of(path.name))
                    picture = self.translator(given.source)[0]
                    result.size, result.made = tuple(given.source.shape[2:]), tuple(picture.shape[1:])
                    if self.sheet is not None:
                        self.sheet.add(path.name, self.shown(given.source), picture)
                    yield self.translator.finish(picture, given), at

            try:
                result.frames = films.write(out, made(), film, sound=path)
            except BadPicture as error:
                self.report(Result(path.name, error=str(error)))
                return
        result.tiles, result.seconds = self.translator.layout(*result.size).count, time.perf_counter() - started
        self.report(result)

    def stream(self, source: BinaryIO, target: BinaryIO, size: tuple[int, int] | None = None, progress: Callable[[int], None] = lambda total: None) -> None:
        """Frames from one stream to another, each handed on at once, in the form in which it came. ``size``: (height, width) of bare rgb24 frames. A frame that
        cannot be decoded is reported and left out; the stream goes on."""
        frames: Iterator[Any] = films.raw_frames(source, size) if size is not None else films.picture_files(source)
        with partners(self.mask) as mask_of:
            for number in range(1 << 62):
                try:
                    frame = next(frames, None)
                except BadPicture as error:
                    self.report(Result(f"frame {number}", error=str(error)))
                    return
                if frame is None:
                    return
                progress(0)
                self._frame(frame, number, target, mask_of)

    def _frame(self, frame: np.ndarray | bytes, number: int, target: BinaryIO, mask_of: Callable[[str], bytes | None]) -> None:
        started, translator, mask = time.perf_counter(), self.translator, mask_of("frame")
        try:
            given = translator.open(frame, mask=mask) if isinstance(frame, bytes) else translator.from_rgba(frame, mask=mask)
            picture = translator(given.source)[0]
        except (BadPicture, UserError) as error:
            self.report(Result(f"frame {number}", error=" ".join(str(error).split())))
            return
        form = "raw" if not isinstance(frame, bytes) else "png" if frame.startswith(films.PNG_HEAD) else "jpeg"
        target.write(films.encoded(translator.finish(picture, given), form))
        target.flush()
        self.report(Result(f"frame {number}", "-", tuple(given.source.shape[2:]), tuple(picture.shape[1:]), seconds=time.perf_counter() - started))


def _ahead(frames: Iterator[Any], pool: ThreadPoolExecutor) -> Iterator[Any]:
    """``frames`` with the next one decoded in a thread while the last is worked on."""
    waiting = pool.submit(next, frames, None)
    while (frame := waiting.result()) is not None:
        waiting = pool.submit(next, frames, None)
        yield frame


def as_file(pixels: np.ndarray, suffix: str) -> bytes:
    """(h, w) or (h, w, 2, 3 or 4) uint8 as a picture file of the format that ``suffix`` names: JPEG and WebP of quality 95; over white where the format holds
    no transparency."""
    from PIL import Image

    form = FORMATS[suffix.lower().lstrip(".")]
    clear = pixels.ndim == 3 and pixels.shape[2] in (2, 4)
    picture = Image.fromarray(films.over_white(pixels) if clear and form not in CLEAR else pixels)
    buffer = io.BytesIO()
    how: dict[str, Any] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"quality": 95, "exact": True}, "PNG": {"compress_level": 4}}.get(form, {})
    picture.save(buffer, format=form, **how)
    return buffer.getvalue()


def free(places: Iterable[Path], overwrite: bool) -> None:
    """Raise UserError where something would be replaced and that is not wished."""
    for path in places:
        if path.is_dir():
            raise UserError("{path} is a folder. Expected the name of a file. Add a file name, or choose another --out.", path=path)
        if path.exists() and not overwrite:
            raise UserError("{path} exists already and is not replaced. Choose another --out, remove it, or add --overwrite.", path=path)


def place_of(name: str) -> str:
    """The name of a result: that of its file, where pictures can be written so, else with .png behind it."""
    return name if PurePosixPath(name).suffix.lower().lstrip(".") in FORMATS else f"{name}.png"


def places_in(out: Path, items: list[Item], source: Path) -> dict[str, Path]:
    """Name -> the file below ``out``. Raises UserError where ``out`` is a file, or is or lies in the folder that is read."""
    if out.exists() and not out.is_dir():
        raise UserError("{path} is a file, and {source} holds several. Expected a folder: choose another --out.", path=out, source=source)
    here, there = source.resolve(), out.resolve()
    if source.is_dir() and (there == here or there.is_relative_to(here)):
        raise UserError("{out} lies in {source}, so that results would be read as inputs the next time. Expected a folder beside it: choose another --out.",
                        out=out, source=source)
    return {item.name: out / place_of(item.name) for item in items}


def single(path: Path, out: Path) -> tuple[list[Item], dict[str, Path]]:
    """One picture file as a list of items, and its place: ``out``, or in it where that is a folder."""
    suffix = path.suffix.lower().lstrip(".")
    if suffix not in EXTENSIONS:
        raise UserError("{path} is no picture, film, folder or .zip that can be read. Expected for example .png, .jpg, .webp, .mp4 or a folder of pictures.",
                        path=path)
    place = out / place_of(path.name) if out.is_dir() else out
    if place.suffix.lower().lstrip(".") not in FORMATS:
        raise UserError("A picture cannot be written as {path}. Expected one of: {known}.", path=place, known=", ".join(f".{each}" for each in FORMATS))
    if place.resolve() == path.resolve():
        raise UserError("{path} is input and output at once. Choose another --out.", path=place)
    return [Item(path.name, (path.stat().st_size,), path.read_bytes)], {path.name: place}
