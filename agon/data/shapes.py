"""Coloured shapes on backgrounds at any size, every factor known: a picture set whose truth can be asked for.

Picture number i of seed s is a function of (s, i) alone. The six factors are independent and uniform: shape, colour and background
(discrete), position, scale and rotation (continuous; as labels they are cut into cells). Shapes are drawn from signed distances, so
edges are anti-aliased and the same picture at another size is the same scene (agon/data/shape_scenes.py). Maps of the same scenes can be
asked for: which shape, which object and how near. Written for this project; in the spirit of dSprites (Matthey et al., 2017) and
3D Shapes (Burgess and Kim, 2018), with none of their data.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch

from agon.data.shape_scenes import (
    BACKGROUNDS,
    COLOURS,
    CONDITION_DIM,
    LEVELS,
    SHAPES,
    Left,
    condition_vector,
    draw,
    draw_scene,
    front_objects,
    level_columns,
    levels_left,
    scene,
)
from agon.data.source import Batch, DataSpec, Source, to_float
from agon.errors import UserError

__all__ = ["BACKGROUNDS", "COLOURS", "LEVELS", "MAP_CLASSES", "MAP_COLOURS", "SHAPES", "ShapesSource", "draw", "open_source"]

KEEP_BYTES = 1 << 30
VERSION = 1  # part of the fingerprint: raise it when any pixel changes
MOST_OBJECTS = 4
MAP_CLASSES = ("background", *SHAPES)
MAP_COLOURS = ("#000000", "#1f77b4", "#d62728", "#2ca02c", "#ffd92f", "#9467bd", "#17becf")


class ShapesSource(Source):
    """Pictures are drawn when first read and kept as uint8 up to 1 GiB in all (above that they are drawn each time)."""

    map_classes, map_colours = MAP_CLASSES, MAP_COLOURS

    def __init__(self, name: str, spec: DataSpec, length: int, seed: int, label: tuple[str, ...], objects: int = 1, left: Left | None = None):
        self.name, self.spec, self.seed, self.events, self._label = name, spec, seed, [], label
        self.objects, self._left = objects, left or {}
        content = f"agon shapes {VERSION} {spec.shape} {length} {seed} {'+'.join(label)} {spec.condition_dim}"
        if objects > 1 or left:
            content += f" {objects} {sorted(self._left.items())}"
        self.fingerprint = hashlib.sha256(content.encode()).hexdigest()
        keep = length * int(np.prod(spec.shape)) <= KEEP_BYTES
        # The system gives this memory page by page as pictures are drawn.
        self._pixels = torch.empty((length, *spec.shape), dtype=torch.uint8) if keep else None
        self._drawn = np.zeros(length, bool)
        self.labels = self._labels(np.arange(length)) if label else None

    def __len__(self) -> int:
        return len(self._drawn)

    def factors(self, index: int | np.ndarray) -> dict[str, np.ndarray]:
        """Every factor of picture(s) ``index``; of several objects, those of the front one (``scene`` has all).

        "shape", "colour", "background": integer levels, named in ``LEVELS``. "x", "y": the centre in [0, 1] of width and height;
        "scale": radius as a fraction of the shorter side; "rotation": radians clockwise in [0, 2 pi). "position": the cell of a 3x3
        grid over the range of centres; "scale_level" and "rotation_level": thirds and quarters of the two ranges.
        """
        index = np.asarray(index)
        return {key: value.reshape(index.shape) for key, value in self._object(np.atleast_1d(index), 0).items()}

    def scene(self, indices: np.ndarray) -> list[dict[str, np.ndarray]]:
        """The factors of every object, the front one first; the background is the first one's."""
        return [self._object(np.asarray(indices), number) for number in range(self.objects)]

    def segmentation(self, indices: np.ndarray) -> np.ndarray:
        """(N, 1, H, W) uint8: 0 is background, 1 to 6 the shapes in the order of ``MAP_CLASSES``. A pixel belongs to the front object that covers
        more than half of it."""
        objects, owner = self._owned(indices)
        kinds = np.stack([np.zeros(len(owner), np.int64), *(factors["shape"] + 1 for factors in objects)], axis=1)
        return np.take_along_axis(kinds.astype(np.uint8), owner.reshape(len(owner), -1), axis=1).reshape(owner.shape)[:, None]

    def instances(self, indices: np.ndarray) -> np.ndarray:
        """(N, 1, H, W) uint8: 0 is background, 1 the front object, 2 the one behind it, ...; an object may be hidden altogether."""
        return self._owned(indices)[1][:, None]

    def depth(self, indices: np.ndarray) -> np.ndarray:
        """(N, 1, H, W) float32: 1 is the front object, -1 the background, objects between them at equal steps."""
        values = np.array([-1.0, *(1 - 2 * number / self.objects for number in range(self.objects))], np.float32)
        return values[self._owned(indices)[1]][:, None]

    def _owned(self, indices: np.ndarray) -> tuple[list[dict[str, np.ndarray]], np.ndarray]:
        objects = self.scene(indices)
        return objects, front_objects(objects, self.spec.shape[1:])

    def _object(self, indices: np.ndarray, number: int) -> dict[str, np.ndarray]:
        if indices.size and (indices.min() < 0 or indices.max() >= len(self)):
            raise IndexError(f"picture {indices} of {len(self)}")
        return scene(self.seed, indices, self.spec.shape[1:], number=number, left=self._left)

    def read(self, indices: np.ndarray, *, seed: int = 0, epoch: int = 0) -> Batch:
        indices = np.array(indices, dtype=np.int64)
        real = to_float(self._drawings(indices))
        label = None if self.labels is None else torch.from_numpy(self.labels[indices])
        condition = torch.from_numpy(condition_vector(self.factors(indices))) if self.spec.condition_dim else None
        return Batch(real, label, condition)

    def _drawings(self, indices: np.ndarray) -> torch.Tensor:
        """(N, C, H, W) uint8, drawn now where they have not been."""
        if self._pixels is None:
            return torch.from_numpy(self._draw(indices))
        missing = np.unique(indices[~self._drawn[indices]])
        for start in range(0, len(missing), 256):
            block = missing[start:start + 256]
            self._pixels[torch.from_numpy(block)] = torch.from_numpy(self._draw(block))
            self._drawn[block] = True
        return self._pixels.index_select(0, torch.from_numpy(indices))

    def _draw(self, indices: np.ndarray) -> np.ndarray:
        return self._in_channels(draw_scene(self.scene(indices), self.spec.shape[1:]))

    def _labels(self, indices: np.ndarray) -> np.ndarray:
        levels = level_columns(self.factors(indices))
        left = [self._left.get(key) or tuple(range(len(LEVELS[key]))) for key in self._label]
        columns = [np.searchsorted(some, levels[key]) for key, some in zip(self._label, left, strict=True)]
        return np.ravel_multi_index(columns, [len(some) for some in left]).astype(np.int64)

    def _in_channels(self, colour: np.ndarray) -> np.ndarray:
        """(N, 3, H, W) -> the spec's channels: luma (ITU-R 601-2) for 1, an opaque alpha added for 4."""
        channels = self.spec.shape[0]
        if channels == 1:
            return np.rint(np.tensordot(colour, np.array([0.299, 0.587, 0.114]), axes=(1, 0)))[:, None].astype(np.uint8)
        return colour if channels == 3 else np.concatenate([colour, np.full_like(colour[:, :1], 255)], axis=1)


def open_source(name: str, *, size: tuple[int, int] | None = None, channels: int | None = None, cache_dir: Path | None = None,
                length: int = 50_000, label: str | None = "shape", condition: bool = False, seed: int = 0, objects: int = 1,
                only: str | None = None) -> ShapesSource:
    """``size``: 32 x 32 by default. ``label``: a factor ("shape"), a product ("shape+colour") or None for no labels. ``objects``: how many
    shapes a picture has, 1 to 4, one before the other, each with factors of its own; labels and conditions are those of the front one.
    ``only``: the levels of factors that may occur, such as "colour=red,blue;shape=square", equally often; labels count over those left.

    ``condition=True`` adds a vector of 17 numbers to each picture: shape (one-hot), colour and background (RGB in [-1, 1]),
    x and y in [-1, 1], scale in [-1, 1], cosine and sine of the rotation.
    """
    if not isinstance(length, int) or length < 1:
        raise UserError("'shapes' cannot have length {length}. Expected a whole number of pictures, at least 1.", length=length)
    keys = tuple(part.strip() for part in label.split("+")) if label and label != "none" else ()
    for key in keys:
        if key not in LEVELS or keys.count(key) > 1:
            raise UserError("'shapes' cannot be labelled by '{label}'. Expected one or several of {known}, joined by +, each once.",
                            label=label, known=", ".join(LEVELS))
    if not 1 <= objects <= MOST_OBJECTS:
        raise UserError("'shapes' cannot draw {objects} objects in a picture. Expected a whole number from 1 to {most}.", objects=objects, most=MOST_OBJECTS)
    left = levels_left(only)
    classes: tuple[str, ...] = ("",) if keys else ()
    for key in keys:
        levels = [LEVELS[key][number] for number in left.get(key, range(len(LEVELS[key])))]
        classes = tuple(f"{before} {level}".strip() for before in classes for level in levels)
    shape = (channels or 3, *(size or (32, 32)))
    spec = DataSpec("image", shape, len(classes), classes, CONDITION_DIM if condition else 0)
    return ShapesSource(name, spec, length, seed, keys, objects, left)
