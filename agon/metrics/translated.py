"""A translator under comparison: its fakes, what they were made from, and the baselines that cost nothing.

Where inputs and targets belong together, fake i is the translation of the input of real i, so that metrics of pairs have their pairs; where they are two
sets, every input and every target is taken once. Baselines are pictures made without any network, of the same inputs and measured by the same metric:
what a translator does not beat, it has not learned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from agon.data.cache import digest_of
from agon.data.source import Batch, DataSpec, Source
from agon.errors import UserError
from agon.metrics.features import weights
from agon.metrics.sides import Draw, Listed, Side, as_stored, checked, choose, piece_size, seed_of

BACKWARD = "backward"
PIXELS = 1 << 19  # of the fakes that are made at a time
HELD_BYTES = 256 << 20  # of fakes that are kept: every metric of pairs reads them again
HOW = {
    "identity": "the input itself",
    "bicubic": "the input enlarged by cubic convolution, a = -0.5, to 8 bits",
    "mean_colour": "one colour everywhere, the mean over all real samples compared; of a picture with a hole what is known is kept",
}

Inputs = Callable[[Batch], Tensor]


class Reversed(Source):
    """Pairs the other way round: what was the input is the target."""

    def __init__(self, pairs: Source):
        spec = pairs.spec
        self.pairs, self.name, self.fingerprint = pairs, pairs.name, digest_of([pairs.fingerprint, BACKWARD])
        self.spec = DataSpec("image", spec.source_shape, source_shape=spec.shape, source_kind="picture", paired=spec.paired)

    def __len__(self) -> int:
        return len(self.pairs)

    def read(self, indices: np.ndarray, *, seed: int = 0, epoch: int = 0) -> Batch:
        batch = self.pairs.read(indices, seed=seed, epoch=epoch)
        return Batch(batch.source, source=batch.real)


class Alone(Source):
    """One of two sets that do not belong together, the middle of each picture where it is larger than ``shape``."""

    def __init__(self, whole: Source, shape: tuple[int, ...]):
        self.whole, self.name, self.spec = whole, whole.name, replace(whole.spec, shape=tuple(shape))
        self.fingerprint = whole.fingerprint if tuple(shape) == tuple(whole.spec.shape) else digest_of([whole.fingerprint, list(shape)])
        for known in ("files", "labels"):
            if hasattr(whole, known):
                setattr(self, known, getattr(whole, known))

    def __len__(self) -> int:
        return len(self.whole)

    def read(self, indices: np.ndarray, *, seed: int = 0, epoch: int = 0) -> Batch:
        batch = self.whole.read(indices, seed=seed, epoch=epoch)
        height, width = self.spec.shape[1:]
        top, left = ((have - want) // 2 for have, want in zip(batch.real.shape[2:], (height, width), strict=True))
        return replace(batch, real=batch.real[:, :, top : top + height, left : left + width])


def ends(source: Source, direction: str | None) -> tuple[Source, Source]:
    """(targets, starts): where the reals and where the inputs come from. Sample i of both belong together where ``source`` is paired.

    Raises UserError for a way back from pictures to what is none.
    """
    spec, back = source.spec, direction == BACKWARD
    if back and spec.source_kind != "picture":
        raise UserError("There is no way back from the pictures of '{data}' to its inputs ({kind}): they are no pictures. Leave out --direction.",
                        data=source.name, kind=spec.source_kind or "none")  # fmt: skip
    given = getattr(source, "given", None)
    if spec.paired or given is None:
        both = Reversed(source) if back else source
        return both, both
    sets = Alone(source.target, spec.shape), Alone(given, spec.source_shape)
    return sets[::-1] if back else sets


class InputSide(Listed):
    """What a translator starts from, as the data give it: ``inputs`` of the batches ``indices`` of ``source``. ``form``: the spec that says what it is."""

    kind = "input"

    def __init__(self, source: Source, inputs: Inputs, indices: np.ndarray):
        self.source, self.take, self.indices, self.form = source, inputs, indices, source.spec
        self.name, self.count = source.name, len(indices)
        self.piece_size = piece_size(source.spec.source_shape or source.spec.shape)

    def batch(self, rows: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """(inputs, the conditions that are wanted of their translations or None) of some rows."""
        batch = self.source.read(self.indices[rows])
        return self.take(batch), batch.condition if batch.wanted is None else batch.wanted

    def piece(self, index: int) -> tuple[np.ndarray, Tensor]:
        rows = self.rows(index)
        return rows, self.batch(rows)[0]


class TranslatedSide(Listed):
    """A translation of every input. ``aligned``: the reals, where fake i shows what real i shows. Seeds derive from ``seed`` and the place."""

    def __init__(self, draw: Draw, inputs: InputSide, spec: DataSpec, *, seed: int = 0, direction: str | None = None, label: np.ndarray | None = None,
                 aligned: Side | None = None, name: str = "translations"):  # fmt: skip
        self.draw, self.inputs, self.spec, self.seed, self.label, self.aligned, self.name = draw, inputs, spec, seed, label, aligned, name
        self.count, self.piece_size, self.direction = inputs.count, piece_size(spec.shape), direction
        self.files = None if aligned is None else aligned.files
        self._kept: dict[int, tuple[np.ndarray, Tensor]] = {}

    def pieces(self, indices: Sequence[int] | None = None) -> Iterator[tuple[np.ndarray, Any]]:
        """In this thread, as every generator's."""
        yield from map(self.piece, range(self.num_pieces) if indices is None else indices)

    def piece(self, index: int) -> tuple[np.ndarray, Tensor]:
        if index not in self._kept:
            rows, most = self.rows(index), max(1, PIXELS // int(np.prod(self.spec.shape[1:])))
            made = rows, torch.cat([self._made(rows[start : start + most]) for start in range(0, len(rows), most)])
            if sum(kept.numel() for _, kept in self._kept.values()) + made[1].numel() > HELD_BYTES:
                return made
            self._kept[index] = made
        return self._kept[index]

    def _made(self, rows: np.ndarray) -> Tensor:
        source, condition = self.inputs.batch(rows)
        wanted = {"label": torch.from_numpy(self.label[rows])} if self.label is not None else {"condition": condition}
        wanted |= {"direction": self.direction} if self.direction else {}
        return as_stored(checked(self.draw(len(rows), seed=seed_of(self.seed, int(rows[0])), source=source, **wanted), len(rows), self.spec), self.kind)

    @cached_property
    def baselines(self) -> dict[str, BaselineSide]:
        """Those that the inputs allow, where they have targets."""
        return {} if self.aligned is None else {name: BaselineSide(self, make, name) for name, make in makers(self).items()}


class BaselineSide(Listed):
    """``make`` of every input: pictures float32 in [-1, 1]."""

    def __init__(self, translated: TranslatedSide, make: Callable[[Tensor], Tensor], name: str):
        self.inputs, self.aligned, self.files, self.make, self.name = translated.inputs, translated.aligned, translated.files, make, name
        self.spec, self.count, self.piece_size = translated.spec, translated.count, translated.piece_size

    def piece(self, index: int) -> tuple[np.ndarray, Tensor]:
        rows = self.rows(index)
        return rows, as_stored(self.make(self.inputs.batch(rows)[0]), self.kind)


def makers(side: TranslatedSide) -> dict[str, Callable[[Tensor], Tensor]]:
    """Baseline -> what makes a picture of an input."""
    form, (channels, height, width) = side.inputs.form, side.spec.shape
    colour = mean_colour(side.aligned).view(1, -1, 1, 1)
    if form.source_kind == "hole":
        return {"mean_colour": lambda holed: torch.where(holed[:, -1:] > 0.5, colour, holed[:, :-1])}
    found: dict[str, Callable[[Tensor], Tensor]] = {}
    depth, *size = form.source_shape or form.shape
    if form.source_kind != "map" and depth in (1, channels):
        if tuple(size) == (height, width):
            found["identity"] = lambda given: given.expand(-1, channels, -1, -1)
        elif size[0] < height and size[1] < width:
            found["bicubic"] = lambda given: enlarged(given, (height, width)).expand(-1, channels, -1, -1)
    return found | {"mean_colour": lambda given: colour.expand(len(given), -1, height, width)}


def enlarged(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, C, h, w) -> (N, C, H, W), cubic convolution with a = -0.5, the kernel with which recipes reduce."""
    return F.interpolate(pictures, size, mode="bicubic", align_corners=False, antialias=True).clamp(-1, 1)  # without antialias, torch's a is -0.75


def mean_colour(side: Side) -> Tensor:
    """(C,) mean over all pixels of a side's pictures, in [-1, 1]."""
    total, count = torch.zeros(side.channels, dtype=torch.float64), 0
    for _, pictures in side.chunks():
        total += pictures.double().sum((0, 2, 3))
        count += pictures.numel() // pictures.shape[1]
    return (total / max(1, count) / 127.5 - 1).float()


def translations(draw: Draw, real: Side, starts: Source, inputs: Inputs, count: int, *, seed: int, direction: str | None,
                 label: np.ndarray | None) -> TranslatedSide:  # fmt: skip
    """The fakes: of the inputs of all of ``real`` where pairs are, else of ``count`` inputs, each once before any comes twice."""
    paired = bool(starts.spec.paired)
    indices = real.indices if paired else np.resize(choose(len(starts), count), count)
    return TranslatedSide(draw, InputSide(starts, inputs, indices), real.spec, seed=seed, direction=direction, label=label, aligned=real if paired else None)


def default_pairs(samples: Any) -> list[str]:
    """The metrics of pairs that fit a translator's samples, where none is named."""
    from agon.metrics import lpips, segmentation
    from agon.metrics.ssim import scales_for

    names = ["psnr"] + (["ssim"] if scales_for(*samples.spec.shape[1:]) else [])
    needed = {"vgg": lpips.TRUNKS["vgg"][1], "lpips": lpips.HEADS["vgg"]}
    if all(samples.weights.get(name) or weights.at_hand(file) for name, file in needed.items()):
        names.append("lpips")
    judged = samples.fake.inputs.form.source_kind == "map" and segmentation.chosen(samples) is not None
    return names + (["miou", "pixel_accuracy"] if judged else [])
