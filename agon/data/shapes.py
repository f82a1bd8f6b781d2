"""Coloured shapes on backgrounds at any size, every factor known: a picture set whose truth can be asked for.

Picture number i of seed s is a function of (s, i) alone. The six factors are independent and uniform: shape, colour and background
(discrete), position, scale and rotation (continuous; as labels they are cut into cells). Shapes are drawn from signed distances, so
edges are anti-aliased and the same picture at another size is the same scene. Written for this project; in the spirit of dSprites
(Matthey et al., 2017) and 3D Shapes (Burgess and Kim, 2018), with none of their data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from agon.data.sampler import mix
from agon.data.source import Batch, DataSpec, Source, to_float
from agon.errors import UserError

KEEP_BYTES = 1 << 30
VERSION = 1  # part of the fingerprint: raise it when any pixel changes

COLOURS = {"red": (214, 39, 40), "orange": (255, 150, 20), "yellow": (240, 225, 60), "green": (44, 160, 44),
           "cyan": (40, 200, 210), "blue": (40, 70, 220), "purple": (150, 60, 200), "pink": (245, 130, 190)}
BACKGROUNDS = {"black": (16, 16, 20), "grey": (112, 112, 112), "white": (245, 245, 240), "sand": (205, 185, 150),
               "slate": (60, 78, 95), "moss": (80, 95, 65)}


def _box(x: np.ndarray, y: np.ndarray, half_width: float, half_height: float) -> np.ndarray:
    """Signed distance to a rectangle round the origin."""
    dx, dy = np.abs(x) - half_width, np.abs(y) - half_height
    return np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) + np.minimum(np.maximum(dx, dy), 0)


def _polygon(x: np.ndarray, y: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Signed distance to a simple polygon (any number of corners, concave too): nearest edge, sign by crossing number."""
    distance, inside = np.full(x.shape, np.inf, x.dtype), np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        ex, ey = bx - ax, by - ay
        along = np.clip(((x - ax) * ex + (y - ay) * ey) / (ex * ex + ey * ey), 0, 1)
        distance = np.minimum(distance, np.hypot(x - ax - along * ex, y - ay - along * ey))
        if ay != by:
            inside ^= ((ay > y) != (by > y)) & (x < ex * (y - ay) / ey + ax)
    return np.where(inside, -distance, distance)


def _ring_of_corners(radii: list[float], count: int) -> np.ndarray:
    angle = -np.pi / 2 + 2 * np.pi * np.arange(count) / count
    radius = np.resize(radii, count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32)


_TRIANGLE, _STAR = _ring_of_corners([1.1], 3), _ring_of_corners([1.15, 0.48], 10)

# name -> signed distance in units of the shape's radius, at rotation 0; all lie within radius 1.15 of the origin
SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": lambda x, y: np.hypot(x, y) - np.float32(0.9),
    "square": lambda x, y: _box(x, y, 0.78, 0.78),
    "triangle": lambda x, y: _polygon(x, y, _TRIANGLE),
    "star": lambda x, y: _polygon(x, y, _STAR),
    "cross": lambda x, y: np.minimum(_box(x, y, 1.0, 0.32), _box(x, y, 0.32, 1.0)),
    "ring": lambda x, y: np.abs(np.hypot(x, y) - np.float32(0.75)) - np.float32(0.22),
}
MARGIN = 1.15
POSITIONS = tuple(f"{row} {column}" for row in ("top", "middle", "bottom") for column in ("left", "centre", "right"))
LEVELS: dict[str, tuple[str, ...]] = {
    "shape": tuple(SHAPES), "colour": tuple(COLOURS), "background": tuple(BACKGROUNDS), "position": POSITIONS,
    "scale": ("small", "medium", "large"), "rotation": ("0-90", "90-180", "180-270", "270-360"),
}
SCALES = (0.14, 0.30)  # radius as a fraction of the shorter side
CONDITION_DIM = len(SHAPES) + 3 + 3 + 2 + 1 + 2


class ShapesSource(Source):
    """Pictures are drawn when first read and kept as uint8 up to 1 GiB in all (above that they are drawn each time)."""

    def __init__(self, name: str, spec: DataSpec, length: int, seed: int, label: tuple[str, ...]):
        self.name, self.spec, self.seed, self.events, self._label = name, spec, seed, [], label
        content = f"agon shapes {VERSION} {spec.shape} {length} {seed} {'+'.join(label)} {spec.condition_dim}"
        self.fingerprint = hashlib.sha256(content.encode()).hexdigest()
        keep = length * int(np.prod(spec.shape)) <= KEEP_BYTES
        # The system gives this memory page by page as pictures are drawn.
        self._pixels = torch.empty((length, *spec.shape), dtype=torch.uint8) if keep else None
        self._drawn = np.zeros(length, bool)
        self.labels = self._labels(np.arange(length)) if label else None

    def __len__(self) -> int:
        return len(self._drawn)

    def factors(self, index: int | np.ndarray) -> dict[str, np.ndarray]:
        """Every factor of picture(s) ``index``.

        "shape", "colour", "background": integer levels, named in ``LEVELS``. "x", "y": the centre in [0, 1] of width and height;
        "scale": radius as a fraction of the shorter side; "rotation": radians clockwise in [0, 2 pi). "position": the cell of a 3x3
        grid over the range of centres; "scale_level" and "rotation_level": thirds and quarters of the two ranges.
        """
        index = np.asarray(index)
        if index.size and (index.min() < 0 or index.max() >= len(self)):
            raise IndexError(f"picture {index} of {len(self)}")
        values = scene(self.seed, np.atleast_1d(index), self.spec.shape[1:])
        return {key: value.reshape(index.shape) for key, value in values.items()}

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
        return self._in_channels(draw(self.factors(indices), self.spec.shape[1:]))

    def _labels(self, indices: np.ndarray) -> np.ndarray:
        levels = level_columns(self.factors(indices))
        return np.ravel_multi_index([levels[key] for key in self._label], [len(LEVELS[key]) for key in self._label]).astype(np.int64)

    def _in_channels(self, colour: np.ndarray) -> np.ndarray:
        """(N, 3, H, W) -> the spec's channels: luma (ITU-R 601-2) for 1, an opaque alpha added for 4."""
        channels = self.spec.shape[0]
        if channels == 1:
            return np.rint(np.tensordot(colour, np.array([0.299, 0.587, 0.114]), axes=(1, 0)))[:, None].astype(np.uint8)
        return colour if channels == 3 else np.concatenate([colour, np.full_like(colour[:, :1], 255)], axis=1)


def open_source(name: str, *, size: tuple[int, int] | None = None, channels: int | None = None, cache_dir: Path | None = None,
                length: int = 50_000, label: str | None = "shape", condition: bool = False, seed: int = 0) -> ShapesSource:
    """``size``: 32 x 32 by default. ``label``: a factor ("shape"), a product ("shape+colour") or None for no labels.

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
    classes: tuple[str, ...] = ("",) if keys else ()
    for key in keys:
        classes = tuple(f"{before} {level}".strip() for before in classes for level in LEVELS[key])
    shape = (channels or 3, *(size or (32, 32)))
    return ShapesSource(name, DataSpec("image", shape, len(classes), classes, CONDITION_DIM if condition else 0), length, seed, keys)


def scene(seed: int, indices: np.ndarray, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """The factors of pictures, (N,) each: independent uniform draws, a function of (seed, index). See ``ShapesSource.factors``."""
    def uniform(factor: int) -> np.ndarray:
        return (mix(seed, factor, indices) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    u = [uniform(factor) for factor in range(7)]
    # The centre keeps a large shape inside the picture, whatever the scale: position and scale stay independent.
    margin_y, margin_x = (MARGIN * SCALES[1] * min(size) / side for side in size)
    values = {"shape": np.floor(u[0] * len(SHAPES)), "colour": np.floor(u[1] * len(COLOURS)),
              "background": np.floor(u[2] * len(BACKGROUNDS)), "position": np.floor(u[4] * 3) * 3 + np.floor(u[3] * 3),
              "scale_level": np.floor(u[5] * 3), "rotation_level": np.floor(u[6] * 4)}
    return {**{key: value.astype(np.int64) for key, value in values.items()},
            "x": margin_x + u[3] * (1 - 2 * margin_x), "y": margin_y + u[4] * (1 - 2 * margin_y),
            "scale": SCALES[0] + u[5] * (SCALES[1] - SCALES[0]), "rotation": 2 * np.pi * u[6]}


def level_columns(factors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Factor name (a key of LEVELS) -> (N,) integer level."""
    return {"scale": factors["scale_level"], "rotation": factors["rotation_level"],
            **{key: factors[key] for key in ("shape", "colour", "background", "position")}}


def condition_vector(factors: dict[str, np.ndarray]) -> np.ndarray:
    """(N, 17) float32, see ``open_source``."""
    one_hot = np.eye(len(SHAPES))[factors["shape"]]
    colours, backgrounds = (np.array(list(table.values())) / 127.5 - 1.0 for table in (COLOURS, BACKGROUNDS))
    place = [2 * factors["x"] - 1, 2 * factors["y"] - 1, (factors["scale"] - SCALES[0]) / (SCALES[1] - SCALES[0]) * 2 - 1,
             np.cos(factors["rotation"]), np.sin(factors["rotation"])]
    columns = [one_hot, colours[factors["colour"]], backgrounds[factors["background"]], np.stack(place, axis=1)]
    return np.concatenate(columns, axis=1).astype(np.float32)


def draw(factors: dict[str, np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """(N, 3, H, W) uint8. A pixel's coverage is its centre's signed distance to the edge in pixels, clipped to half a pixel each way."""
    height, width = size
    colours, backgrounds = (np.array(list(table.values()), np.float32) for table in (COLOURS, BACKGROUNDS))
    radius = (factors["scale"] * min(size)).astype(np.float32)[:, None, None]
    dx = (np.arange(width, dtype=np.float32) + 0.5)[None, None] - (factors["x"] * width).astype(np.float32)[:, None, None]
    dy = (np.arange(height, dtype=np.float32) + 0.5)[None, :, None] - (factors["y"] * height).astype(np.float32)[:, None, None]
    cos, sin = (part(factors["rotation"]).astype(np.float32)[:, None, None] for part in (np.cos, np.sin))
    x, y = (cos * dx + sin * dy) / radius, (cos * dy - sin * dx) / radius
    coverage = np.empty(x.shape, np.float32)
    for level, distance in enumerate(SHAPES.values()):
        chosen = factors["shape"] == level
        if chosen.any():
            coverage[chosen] = np.clip(0.5 - distance(x[chosen], y[chosen]) * radius[chosen], 0.0, 1.0)
    back = backgrounds[factors["background"]][:, :, None, None]
    front = colours[factors["colour"]][:, :, None, None]
    return np.rint(back + coverage[:, None] * (front - back)).astype(np.uint8)
