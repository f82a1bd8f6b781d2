"""Data in the plane for the live game: small enough to be learnt in seconds, with their true distribution at hand wherever there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agon.data.source import ArraySource, DataSpec
from agon.data.toy import ToySource, mixture, mixture_samples, swissroll
from agon.errors import UserError

LENGTH = 40_000
"""Points of a data set that is made here; half of them are the measures' own, which no discriminator has seen."""
LEAST_POINTS, MOST_POINTS = 8, 5_000
"""Of what is drawn or read from a file."""
SEED = 20180605


@dataclass(frozen=True)
class Kind:
    """A data set to choose. ``modes``: how many separate parts it has by construction, 0 for none."""

    id: str
    label: str
    modes: int = 0


KINDS = (
    Kind("ring", "Ring of 8", 8), Kind("grid", "Grid of 25", 25), Kind("line", "Line"), Kind("swissroll", "Swiss roll"), Kind("moons", "Two moons"),
    Kind("drawn", "Draw your own"), Kind("csv", "A CSV file"),
)  # fmt: skip
GIVEN = ("drawn", "csv")


def open_points(kind: str, points: Sequence[Sequence[float]] = ()) -> ArraySource:
    """The data set of a kind. ``points``: of those that the user gives, (N, 2). Raises UserError for points that cannot be played."""
    if kind in GIVEN:
        return _given(kind, points)
    if kind in ("ring", "grid"):
        centers, _ = mixture("toy:ring8" if kind == "ring" else "toy:grid25")
        sigma = 0.06 if kind == "ring" else 0.12  # wider than PacGAN's, whose modes no eye can see and no small network finds in seconds
        samples, modes = mixture_samples(centers, sigma, LENGTH)
        return ToySource(kind, DataSpec("points", (2,)), samples, modes, centers, sigma)
    return ArraySource(kind, DataSpec("points", (2,)), {"line": line, "swissroll": swissroll, "moons": moons}[kind](LENGTH))


def line(length: int, seed: int = SEED) -> np.ndarray:
    """``length`` points along a slanted line of length 4, noise 0.05: (N, 2) float32."""
    random = np.random.RandomState(seed)
    along = random.uniform(-2, 2, size=length)
    across = 0.05 * random.standard_normal((length, 2))
    return (along[:, None] * np.array([0.9, 0.43589]) + across).astype(np.float32)


def moons(length: int, seed: int = SEED) -> np.ndarray:
    """``length`` points of two half circles of radius 1 that reach into each other, noise 0.06: (N, 2) float32 (scikit-learn's two moons)."""
    random = np.random.RandomState(seed)
    angle, lower = random.uniform(0, np.pi, size=length), random.randint(0, 2, size=length)
    points = np.stack([np.where(lower, 1 - np.cos(angle), np.cos(angle)) - 0.5, np.where(lower, 0.5 - np.sin(angle), np.sin(angle)) - 0.25], 1)
    return (points + 0.06 * random.standard_normal((length, 2))).astype(np.float32)


def _given(kind: str, points: Sequence[Sequence[float]]) -> ArraySource:
    array = np.asarray(points, np.float32).reshape(-1, 2) if len(points) else np.empty((0, 2), np.float32)
    if not LEAST_POINTS <= len(array) <= MOST_POINTS:
        raise UserError("There are {count} points. Expected {least} to {most}: draw some, or choose another file.", count=len(array), least=LEAST_POINTS,
                        most=MOST_POINTS)  # fmt: skip
    if not np.isfinite(array).all() or np.abs(array).max() > 1e6:
        raise UserError("A point is not a pair of usual numbers. Expected two numbers for each, between -1000000 and 1000000.")
    if array.std(0).max() < 1e-6 * max(1.0, float(np.abs(array).max())):
        raise UserError("All points are in one place. Expected some that differ.")
    return ArraySource(kind, DataSpec("points", (2,)), array)
