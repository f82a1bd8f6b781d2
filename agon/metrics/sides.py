"""The two sides of a comparison, real and fake, as streams: pictures pass by in pieces and are never all in memory.

Pictures are compared as a PNG would hold them, 8 bits a channel, wherever they come from: a run's samples and the same samples saved to a folder give the
same numbers.
"""

from __future__ import annotations

import bisect
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agon.data.cache import digest_of
from agon.data.files import classes_of, listing_of, refuse_empty
from agon.data.folder import nothing_readable
from agon.data.pictures import RULES, BadPicture, decode
from agon.data.scan import plan_channels, scan
from agon.data.source import DataSpec, Source
from agon.errors import UserError
from agon.metrics.ahead import ahead
from agon.metrics.features.base import as_rgb

READ = 1_000  # samples in a piece, at most
PIECE_VALUES = 1 << 23  # numbers in a piece, at most (one sample always fits)
PIECE_PICTURES = 64  # files decoded at a time
SAID = 5  # files that are left out are named up to here

Draw = Callable[..., Tensor]


class Side(ABC):
    """A stream of samples of one kind.

    ``count``: how many; ``label``: (count,) int64 or None; ``spec``: their form, None where pictures differ in size; ``fingerprint``: SHA-256 of the
    content, "" where there is none to know beforehand (a generator's samples); ``files``: a name for each, or None; ``classes``: what the labels are
    called, () where they have no names; ``cut``: these are some of more; ``left_out``: files that could not be read, and why; ``aligned``: the side whose
    sample i belongs to sample i of this one, by construction; ``inputs``: what the samples were translated from.
    """

    name: str
    kind: str = "image"
    count: int
    spec: DataSpec | None = None
    label: np.ndarray | None = None
    fingerprint: str = ""
    files: list[str] | None = None
    classes: tuple[str, ...] = ()
    cut: bool = False
    left_out: Sequence[str] = ()
    aligned: Side | None = None
    inputs: Any = None

    @property
    def channels(self) -> int:
        """Of pictures: 1, 3 or 4; 3 where they differ in size and nothing else is known."""
        return self.spec.shape[0] if self.kind == "image" and self.spec is not None else 3

    @property
    @abstractmethod
    def num_pieces(self) -> int:
        """How many pieces the stream has."""

    @abstractmethod
    def piece(self, index: int) -> tuple[np.ndarray, Any]:
        """(rows, samples) of one piece: uint8 (n, C, H, W) for pictures, else float32 (n, *shape) or a list. Rows are positions in 0..count - 1; a file that
        turns out to be damaged has none."""

    @abstractmethod
    def piece_of(self, position: int) -> int:
        """The piece that holds a sample."""

    def piece_once(self, index: int) -> tuple[np.ndarray, Any]:
        """``piece``, not read again while the same one is asked for."""
        if getattr(self, "_held", (None,))[0] != index:
            self._held = (index, self.piece(index))
        return self._held[1]

    def one(self, position: int) -> Any:
        """A single sample, None for a file that turns out to be damaged."""
        rows, samples = self.piece_once(self.piece_of(position))
        where = np.flatnonzero(rows == position)
        return samples[int(where[0])] if len(where) else None

    def pieces(self, indices: Sequence[int] | None = None) -> Iterator[tuple[np.ndarray, Any]]:
        """Pieces in order; while one is worked on, the next is read in another thread."""
        return ahead(self.piece, range(self.num_pieces) if indices is None else indices)

    def chunks(self) -> Iterator[tuple[int, Any]]:
        """(start, samples): the stream in order, ``start`` counts what came before."""
        start = 0
        for rows, samples in self.pieces():
            if len(rows):
                yield start, samples
            start += len(rows)


class Listed(Side):
    """Samples at hand by index, in pieces of bounded size. Final classes say how to read some."""

    piece_size: int

    @property
    def num_pieces(self) -> int:
        return -(-self.count // self.piece_size)

    def piece_of(self, position: int) -> int:
        return position // self.piece_size

    def rows(self, index: int) -> np.ndarray:
        return np.arange(index * self.piece_size, min(self.count, (index + 1) * self.piece_size))


class Cut(Side):
    """Samples in pieces of uneven size: piece i is ``starts[i]`` to ``starts[i + 1] - 1``. Final classes say how to read one."""

    starts: list[int]

    @property
    def num_pieces(self) -> int:
        return len(self.starts) - 1

    def piece_of(self, position: int) -> int:
        return bisect.bisect_right(self.starts, position) - 1


class SourceSide(Listed):
    """``indices`` of a data set (default: all)."""

    def __init__(self, source: Source, indices: np.ndarray | None = None):
        self.source, self.name, self.kind, self.spec = source, source.name, source.spec.kind, source.spec
        self.indices = np.arange(len(source)) if indices is None else indices
        self.count, self.piece_size = len(self.indices), piece_size(source.spec.shape)
        self.cut = not np.array_equal(self.indices, np.arange(len(source)))
        content = digest_of([source.fingerprint, "mirrored"]) if getattr(source, "mirror", False) else source.fingerprint  # it turns what it hands out
        self.fingerprint = digest_of([content, np.asarray(self.indices).tolist()]) if self.cut else content
        self.classes = tuple(source.spec.class_names)
        names = getattr(source, "files", None)
        self.files = None if names is None else [names[index] for index in self.indices]
        self.label = self._labels() if source.spec.num_classes else None

    def piece(self, index: int) -> tuple[np.ndarray, Tensor]:
        rows = self.rows(index)
        return rows, as_stored(self.source.read(self.indices[rows]).real, self.kind)

    def _labels(self) -> np.ndarray | None:
        known = getattr(self.source, "labels", None)
        if known is not None:
            return np.asarray(known)[self.indices]
        parts = [self.source.read(self.indices[start : start + self.piece_size]).label for start in range(0, self.count, self.piece_size)]
        return None if not parts or parts[0] is None else torch.cat(parts).numpy()


class DrawSide(Listed):
    """``count`` samples of ``draw(n, seed=, label=)``, drawn in pieces whose seeds derive from ``seed``: each piece alone can be drawn again, on any
    process."""

    def __init__(self, draw: Draw, spec: DataSpec, count: int, *, seed: int = 0, label: np.ndarray | None = None, name: str = "samples"):
        self.draw, self.spec, self.kind, self.count, self.seed, self.label, self.name = draw, spec, spec.kind, count, seed, label, name
        self.piece_size = piece_size(spec.shape)

    def pieces(self, indices: Sequence[int] | None = None) -> Iterator[tuple[np.ndarray, Any]]:
        """In this thread: a generator has no use for a second one, and may not stand it."""
        yield from map(self.piece, range(self.num_pieces) if indices is None else indices)

    def piece(self, index: int) -> tuple[np.ndarray, Tensor]:
        rows = self.rows(index)
        label = None if self.label is None else torch.from_numpy(self.label[rows])
        return rows, as_stored(checked(self.draw(len(rows), seed=seed_of(self.seed, index), label=label), len(rows), self.spec), self.kind)


class ArraySide(Listed):
    """Samples that lie in memory: uint8 (N, C, H, W) pictures, float32 (N, *shape), or a list."""

    def __init__(self, samples: Any, kind: str = "image", label: np.ndarray | None = None, name: str = "array"):
        self.samples, self.kind, self.name, self.count = samples, kind, name, len(samples)
        self.label = None if label is None else np.asarray(label, np.int64)
        if not isinstance(samples, list):
            self.samples = torch.as_tensor(samples)
            classes = 0 if label is None else int(np.max(label)) + 1
            self.spec = DataSpec(kind, tuple(self.samples.shape[1:]), classes) if kind in ("image", "points") else None
        self.piece_size = READ if isinstance(samples, list) else piece_size(self.samples.shape[1:])

    def piece(self, index: int) -> tuple[np.ndarray, Any]:
        rows = self.rows(index)
        return rows, self.samples[rows[0] : rows[-1] + 1] if len(rows) else self.samples[:0]


class PictureFolder(Cut):
    """A folder or .zip of pictures, each at its own size: what an extractor's resize does to a picture must not depend on the others.

    Files are taken by size, then by content, so that names and order change nothing. ``most``: no more than so many, drawn with a fixed seed.
    """

    def __init__(self, path: Path, *, most: int | None = None):
        self.name, self.path = str(path), path
        self._stack = listing_of(path)
        listing = self._stack.__enter__()  # a ZIP stays open as long as this side is in use
        refuse_empty(listing)
        found = scan(listing)
        if not found.headers:
            raise nothing_readable(path, found.bad)
        self.left_out = [f"{name} {why}" for name, why in found.bad]
        for said in self.left_out[:SAID]:
            warnings.warn(f"{said} and is left out of {path}", stacklevel=1)
        if len(self.left_out) > SAID:
            warnings.warn(f"{len(self.left_out) - SAID} more files of {path} are left out", stacklevel=1)
        self.depth = plan_channels(found)
        items = [item for item in listing.items if item.name in found.headers]
        items.sort(key=lambda item: (found.headers[item.name].height, found.headers[item.name].width, found.hashes[item.name], item.name))
        self.cut = most is not None and len(items) > most
        if self.cut:
            items = [items[index] for index in choose(len(items), most)]
        self.items, self.count, self.files = items, len(items), [item.name for item in items]
        sizes = [(found.headers[item.name].height, found.headers[item.name].width) for item in items]
        self.classes, labels, _ = classes_of(self.files)
        self.label = None if labels is None else np.array(labels, np.int64)
        if len(set(sizes)) == 1:
            self.spec = DataSpec("image", (self.depth, *sizes[0]), len(self.classes), self.classes)
        self.fingerprint = digest_of([RULES, self.depth, [found.hashes[item.name] for item in items]])
        self.starts = self._starts(sizes)

    @property
    def channels(self) -> int:
        return self.depth

    def _starts(self, sizes: list[tuple[int, int]]) -> list[int]:
        """Where a piece begins: pictures of one size together, at most so many, at most so large."""
        starts, held = [], 0
        for index, size in enumerate(sizes):
            held += self.depth * size[0] * size[1]
            if not starts or size != sizes[index - 1] or index - starts[-1] >= PIECE_PICTURES or held > 8 * PIECE_VALUES:
                starts.append(index)
                held = self.depth * size[0] * size[1]
        return [*starts, len(sizes)]

    def one(self, position: int) -> Tensor | None:
        """Decoded alone: pairs ask for pictures in the order of the other side's."""
        picture = self._decode(position)
        return None if picture is None else torch.from_numpy(picture.copy())  # decoded pixels may be read-only, which torch will not have

    def piece(self, index: int) -> tuple[np.ndarray, Tensor]:
        rows = np.arange(self.starts[index], self.starts[index + 1])
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            made = list(pool.map(self._decode, rows))
        good = np.array([picture is not None for picture in made])
        return rows[good], torch.from_numpy(np.stack([picture for picture in made if picture is not None]) if good.any() else np.empty((0, 1, 1, 1), np.uint8))

    def _decode(self, row: int) -> np.ndarray | None:
        item = self.items[row]
        try:
            return decode(item.read(), self.depth)
        except (BadPicture, OSError) as error:
            if f"{item.name} {error}" not in self.left_out:  # a second pass meets it again
                self.left_out.append(f"{item.name} {error}")
                warnings.warn(f"{item.name} in {self.path} {error} and is left out", stacklevel=1)
            return None


class InColour(Side):
    """The pictures of another side as RGB: grey repeated, alpha laid over white."""

    def __init__(self, side: Side):
        self.side = side
        self.name, self.count, self.label, self.classes, self.files, self.cut = side.name, side.count, side.label, side.classes, side.files, side.cut
        self.left_out = side.left_out
        self.spec = None if side.spec is None else replace(side.spec, shape=(3, *side.spec.shape[1:]))
        self.fingerprint = digest_of([side.fingerprint, "RGB"]) if side.fingerprint and side.channels != 3 else side.fingerprint

    @property
    def num_pieces(self) -> int:
        return self.side.num_pieces

    def piece_of(self, position: int) -> int:
        return self.side.piece_of(position)

    def one(self, position: int) -> Tensor | None:
        picture = self.side.one(position)
        return None if picture is None else as_rgb(picture[None])[0]

    def piece(self, index: int) -> tuple[np.ndarray, Any]:
        rows, pictures = self.side.piece(index)
        return rows, as_rgb(pictures) if len(rows) else pictures


class Chosen(Side):
    """At most ``most`` samples of another side, drawn with a fixed seed."""

    cut = True

    def __init__(self, side: Side, most: int):
        self.side, self.chosen = side, choose(side.count, most)
        self.name, self.kind, self.spec, self.count = side.name, side.kind, side.spec, len(self.chosen)
        self.label, self.classes = None if side.label is None else side.label[self.chosen], side.classes
        self.files = None if side.files is None else [side.files[index] for index in self.chosen]
        self.fingerprint = digest_of([side.fingerprint, self.chosen.tolist()]) if side.fingerprint else ""
        self.used = sorted({side.piece_of(int(index)) for index in self.chosen})  # pieces without any of them are not read

    @property
    def num_pieces(self) -> int:
        return len(self.used)

    def piece_of(self, position: int) -> int:
        return self.used.index(self.side.piece_of(int(self.chosen[position])))

    def one(self, position: int) -> Any:
        return self.side.one(int(self.chosen[position]))

    def piece(self, index: int) -> tuple[np.ndarray, Any]:
        rows, samples = self.side.piece(self.used[index])
        inside = np.flatnonzero(np.isin(rows, self.chosen))
        ours = np.searchsorted(self.chosen, rows[inside])
        return ours, [samples[at] for at in inside] if isinstance(samples, list) else samples[torch.from_numpy(inside)]


def seed_of(seed: int, place: int) -> int:
    """The seed of a piece."""
    return int(np.random.SeedSequence([seed, place]).generate_state(1)[0]) % 2**31


def checked(drawn: Tensor, count: int, spec: DataSpec) -> Tensor:
    """A generator's samples on the CPU. Raises UserError where there is something wrong with them."""
    drawn = drawn.detach().to("cpu", torch.float32)
    expected = (count, *spec.shape)
    if tuple(drawn.shape) != expected:
        raise UserError(
            "The generator's samples have shape {found}, expected {expected}. Evaluate against the data set it was trained on.",
            found=tuple(drawn.shape), expected=expected,
        )  # fmt: skip
    finite = torch.isfinite(drawn).flatten(1).all(1)
    if not bool(finite.all()):
        raise UserError(
            "The generator's samples contain values that are not finite: {count} of {total} samples. Expected finite numbers: "
            "evaluate an earlier checkpoint.",
            count=int((~finite).sum()), total=count,
        )  # fmt: skip
    return drawn


def as_stored(samples: Tensor, kind: str) -> Tensor:
    """Pictures float32 in [-1, 1] -> uint8 (clamped, rounded to 8 bits); anything else as it is."""
    if kind != "image" or samples.dtype == torch.uint8:
        return samples
    return samples.clamp(-1, 1).add(1).mul_(127.5).round_().to(torch.uint8)


def piece_size(shape: Sequence[int]) -> int:
    """Samples of a shape that are held at a time."""
    return max(1, min(READ, PIECE_VALUES // max(1, int(np.prod(shape)))))


def choose(length: int, most: int) -> np.ndarray:
    """All indices, or ``most`` of them drawn with a fixed seed (the reals must not depend on the evaluation's seed)."""
    return np.arange(length) if length <= most else np.sort(np.random.default_rng(0).choice(length, most, replace=False))
