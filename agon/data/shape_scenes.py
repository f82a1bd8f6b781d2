"""The scenes of the data set ``shapes``: what is where in each picture, and how it is drawn. Numpy only.

A scene is a list of objects, the front one first; each is a dictionary of factors, (N,) arrays over N pictures. What only the whole picture has (its
background) is that of the front object.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from agon.data.sampler import mix
from agon.errors import UserError

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

Left = dict[str, tuple[int, ...]]  # factor -> the levels of it that may occur


def scene(seed: int, indices: np.ndarray, size: tuple[int, int], *, number: int = 0, left: Left | None = None) -> dict[str, np.ndarray]:
    """The factors of object ``number`` (0 is in front) of pictures, (N,) each: independent uniform draws, a function of (seed, index, number).

    ``left``: the levels that may occur (``levels_left``). See ``ShapesSource.factors`` for the keys.
    """
    def uniform(factor: int) -> np.ndarray:
        return (mix(seed, factor + 8 * number, indices) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    u = _restricted([uniform(factor) for factor in range(7)], left or {})
    # The centre keeps a large shape inside the picture, whatever the scale: position and scale stay independent.
    margin_y, margin_x = (MARGIN * SCALES[1] * min(size) / side for side in size)
    values = {"shape": np.floor(u[0] * len(SHAPES)), "colour": np.floor(u[1] * len(COLOURS)),
              "background": np.floor(u[2] * len(BACKGROUNDS)), "position": np.floor(u[4] * 3) * 3 + np.floor(u[3] * 3),
              "scale_level": np.floor(u[5] * 3), "rotation_level": np.floor(u[6] * 4)}
    return {**{key: value.astype(np.int64) for key, value in values.items()},
            "x": margin_x + u[3] * (1 - 2 * margin_x), "y": margin_y + u[4] * (1 - 2 * margin_y),
            "scale": SCALES[0] + u[5] * (SCALES[1] - SCALES[0]), "rotation": 2 * np.pi * u[6]}


def _restricted(u: list[np.ndarray], left: Left) -> list[np.ndarray]:
    """Draws in [0, 1) squeezed into the levels that may occur, each equally likely; those of whole factors pass through untouched."""
    def squeezed(draw: np.ndarray, levels: tuple[int, ...], total: int) -> np.ndarray:
        cell, inside = _cell(draw, levels)
        # min: cell + inside may round up to the next cell
        return np.minimum((cell + inside) / total, np.nextafter((cell + 1) / total, 0))

    u = list(u)
    for name, place in (("shape", 0), ("colour", 1), ("background", 2), ("scale", 5), ("rotation", 6)):
        if name in left:
            u[place] = squeezed(u[place], left[name], len(LEVELS[name]))
    if "position" in left:
        cell, inside = _cell(u[3], left["position"])
        u[3], u[4] = (np.minimum((part + rest) / 3, np.nextafter((part + 1) / 3, 0)) for part, rest in ((cell % 3, inside), (cell // 3, u[4])))
    return u


def _cell(draw: np.ndarray, levels: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A draw in [0, 1) -> one of the levels, and where in it, in [0, 1)."""
    number = np.floor(draw * len(levels)).astype(np.int64)
    return np.array(levels)[number], draw * len(levels) - number


def levels_left(only: str | None) -> Left:
    """"colour=red,blue;shape=square" -> {"colour": (0, 5), "shape": (1,)}: which levels of a factor may occur, in the order of ``LEVELS``.

    Factors that are not named keep all theirs. Raises UserError for an unknown factor or level.
    """
    left: Left = {}
    for part in filter(None, (piece.strip() for piece in (only or "").split(";"))):
        factor, _, text = (piece.strip() for piece in part.partition("="))
        levels = [level.strip() for level in text.split(",")]
        if factor not in LEVELS or factor in left:
            raise UserError("'shapes' has no factor '{factor}' to choose levels of (only = {only}). Expected each of {known} at most once, as in "
                            "colour=red,blue;shape=square.", factor=factor, only=only, known=", ".join(LEVELS))
        unknown = [level for level in levels if level not in LEVELS[factor]]
        if unknown:
            raise UserError("The factor '{factor}' of 'shapes' has no level '{level}'. Expected some of {known}, joined by commas.",
                            factor=factor, level=unknown[0], known=", ".join(LEVELS[factor]))
        left[factor] = tuple(number for number, level in enumerate(LEVELS[factor]) if level in levels)
    return left


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


def coverage(factors: dict[str, np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """(N, H, W) float32 in [0, 1]: a pixel centre's signed distance to the object's edge in pixels, clipped to half a pixel each way."""
    height, width = size
    radius = (factors["scale"] * min(size)).astype(np.float32)[:, None, None]
    dx = (np.arange(width, dtype=np.float32) + 0.5)[None, None] - (factors["x"] * width).astype(np.float32)[:, None, None]
    dy = (np.arange(height, dtype=np.float32) + 0.5)[None, :, None] - (factors["y"] * height).astype(np.float32)[:, None, None]
    cos, sin = (part(factors["rotation"]).astype(np.float32)[:, None, None] for part in (np.cos, np.sin))
    x, y = (cos * dx + sin * dy) / radius, (cos * dy - sin * dx) / radius
    covered = np.empty(x.shape, np.float32)
    for level, distance in enumerate(SHAPES.values()):
        chosen = factors["shape"] == level
        if chosen.any():
            covered[chosen] = np.clip(0.5 - distance(x[chosen], y[chosen]) * radius[chosen], 0.0, 1.0)
    return covered


def draw(factors: dict[str, np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """(N, 3, H, W) uint8: pictures of one object each."""
    return draw_scene([factors], size)


def draw_scene(objects: list[dict[str, np.ndarray]], size: tuple[int, int]) -> np.ndarray:
    """(N, 3, H, W) uint8: the objects (front one first) laid over the background, from the back to the front."""
    colours, backgrounds = (np.array(list(table.values()), np.float32) for table in (COLOURS, BACKGROUNDS))
    picture = backgrounds[objects[0]["background"]][:, :, None, None]
    for factors in reversed(objects):
        picture = picture + coverage(factors, size)[:, None] * (colours[factors["colour"]][:, :, None, None] - picture)
    return np.rint(picture).astype(np.uint8)


def front_objects(objects: list[dict[str, np.ndarray]], size: tuple[int, int]) -> np.ndarray:
    """(N, H, W) uint8: which object a pixel shows, 1 for the front one, 2 for the one behind it, ...; 0 for the background.

    An object owns the pixels of which it covers more than half, save those that one before it owns.
    """
    owner = np.zeros((len(objects[0]["x"]), *size), np.uint8)
    for number in reversed(range(len(objects))):
        owner[coverage(objects[number], size) > 0.5] = number + 1
    return owner
