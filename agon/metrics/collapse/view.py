"""What the collapse report looks at: a fixed choice of each side as thumbnails, features, labels, spectra, in one pass; single pictures are fetched again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from agon.metrics.features.base import Extractor, as_rgb
from agon.metrics.features.spectrum import ROUNDING, SMALLEST, radial_power, rings
from agon.metrics.features.thumbnail import MAX_SIDE
from agon.metrics.samples import MAX_TRAINING, Samples
from agon.metrics.sides import Side, SourceSide, choose

MAX_LOOKED_AT = 10_000  # of reals and of fakes, always the same ones
SHOWN_SIDE = 96  # px: pictures are shown no larger, the page has to travel
MAX_SPECTRUM = 2_000  # pictures a side: a mean does not get better by more


@dataclass
class View:
    """``rows``: the positions that are looked at. ``pixels``: (N, D) uint8 thumbnails. ``features``: (N, F) or None. ``label``: (N,) in the reals' numbering,
    -1 for a class that they do not have, or None. ``spectrum``: (cycles a pixel, mean dB), None where pictures differ in size.
    """

    side: Side
    rows: np.ndarray
    pixels: np.ndarray
    features: np.ndarray | None
    label: np.ndarray | None
    spectrum: tuple[np.ndarray, np.ndarray] | None = None

    def name(self, index: int) -> str:
        """The file's name, or the sample's number."""
        position = int(self.rows[index])
        if self.side.files is not None:
            return self.side.files[position]
        return f"#{self.side.indices[position]}" if isinstance(self.side, SourceSide) else f"#{position}"

    def pictures(self, indices: Iterable[int]) -> dict[int, Tensor]:
        """index -> uint8 (3, H, W) of at most SHOWN_SIDE pixels a side: each piece is read once and not kept."""
        wanted = sorted({int(index) for index in indices}, key=lambda index: int(self.rows[index]))
        found = {}
        for index in wanted:
            position = int(self.rows[index])
            rows, samples = self.side.piece_once(self.side.piece_of(position))
            found[index] = shown(samples[int(np.searchsorted(rows, position))])
        return found

    @property
    def space(self) -> np.ndarray:
        """Features where there are any, else thumbnails."""
        return self.pixels if self.features is None else self.features


@dataclass
class Looked:
    """Both sides, and the training set in which copies are sought (the reals themselves, where they are all there is)."""

    samples: Samples
    extractor: Extractor | None
    real: View
    fake: View
    training: View
    classes: tuple[str, ...]


def look(samples: Samples, extractor: Extractor | None) -> Looked:
    """Everything the page needs of pictures, in one pass a side besides the features'."""
    side = samples.training_side()
    samples = replace(samples, extractor=extractor, training=side)
    size = thumbnail_size(samples.real, samples.fake)
    real = view(samples.real, MAX_LOOKED_AT, size, features_of(samples, samples.real))
    fake = view(samples.fake, MAX_LOOKED_AT, size, features_of(samples, samples.fake))
    training = real if side is samples.real and len(real.rows) == side.count else view(side, MAX_TRAINING, size, features_of(samples, side), spectra=False)
    classes = samples.real.classes
    if fake.label is not None and classes and samples.fake.classes:
        number = {name: index for index, name in enumerate(classes)}
        renumbered = np.array([number.get(name, -1) for name in samples.fake.classes])
        fake.label = renumbered[fake.label]
    return Looked(samples, extractor, real, fake, training, classes)


def features_of(samples: Samples, side: Side) -> np.ndarray | None:
    """(readable samples, F), None without an extractor."""
    return None if samples.extractor is None else samples.store.get(side, samples.extractor, "features")


def thumbnail_size(real: Side, fake: Side) -> tuple[int, int]:
    """Height and width of the thumbnails: no more than the smaller side's pictures have."""
    shapes = [side.spec.shape for side in (real, fake) if side.spec is not None]
    return tuple(min([MAX_SIDE, *(shape[axis] for shape in shapes)]) for axis in (1, 2))


def view(side: Side, most: int, size: tuple[int, int], features: np.ndarray | None, *, spectra: bool = True) -> View:
    """One pass over a side; ``features`` holds a row for each sample that could be read."""
    wanted, seen, kept, thumbnails = choose(side.count, most), [], [], []
    regular = spectra and side.spec is not None and min(side.spec.shape[1:]) >= SMALLEST
    measured = choose(side.count, MAX_SPECTRUM) if regular else np.array([], np.int64)
    total, number = 0.0, 0
    for rows, pictures in side.pieces():
        seen.append(rows)
        chosen = np.isin(rows, wanted)
        if chosen.any():
            kept.append(rows[chosen])
            thumbnails.append(thumbnail(pictures[torch.from_numpy(chosen)], size))
        for part in pictures[torch.from_numpy(np.isin(rows, measured))].split(16) if len(measured) else ():
            grey = rgb(part).double().mean(1)
            total, number = total + (10 * torch.log10(radial_power(grey) + ROUNDING)).sum(0), number + len(part)
    rows, everything = np.concatenate(kept), np.concatenate(seen)
    if features is not None and len(rows) < len(features):
        features = features[np.searchsorted(everything, rows)]
    spectrum = (rings(*side.spec.shape[1:])[1].numpy(), (total / number).numpy()) if number else None
    label = None if side.label is None else np.asarray(side.label)[rows]
    return View(side, rows, np.concatenate(thumbnails), features, label, spectrum)


def thumbnail(pictures: Tensor, size: tuple[int, int]) -> np.ndarray:
    """uint8 (N, C, H, W) -> (N, 3 h w) uint8, averaged down; of greys, (N, h w)."""
    colours = pictures if pictures.shape[1] == 1 else rgb(pictures)
    return F.adaptive_avg_pool2d(colours.float(), size).round_().to(torch.uint8).expand(-1, 3, -1, -1).flatten(1).numpy()


def rgb(pictures: Tensor) -> Tensor:
    """uint8 (N, any, H, W) -> (N, 3, H, W): beyond grey, colour and alpha, the first three channels, missing ones black (as media.png does)."""
    channels = pictures.shape[1]
    if channels in (1, 3, 4):
        return as_rgb(pictures)
    return F.pad(pictures[:, :3], (0, 0, 0, 0, 0, max(0, 3 - channels)))


def shown(picture: Tensor) -> Tensor:
    """uint8 (C, H, W) -> (3, h, w), averaged down to at most SHOWN_SIDE a side."""
    colours = rgb(picture[None])
    height, width = colours.shape[2:]
    factor = SHOWN_SIDE / max(height, width)
    if factor < 1:
        colours = F.interpolate(colours.float(), (max(1, round(height * factor)), max(1, round(width * factor))), mode="area").round_().to(torch.uint8)
    return colours[0].contiguous()
