"""How far the fakes are from the data, measured with samples that no player has seen, and what a perfect sampler would read.

*Jensen-Shannon divergence* (Goodfellow et al., 2014, https://arxiv.org/abs/1406.2661, theorem 1), in nats, 0 to log 2. A regular grid of cells reads far
above 0 for a perfect sampler, because most of its cells hold a handful of points. Here the cells follow the data: a k-d tree halves the real points until every
leaf holds the same share, and each leaf has two cells, inside and outside the box that its real points span. With K leaves and N fakes a perfect sampler reads
about K / (8 N). *Wasserstein-1* is exact between two samples (:mod:`agon.metrics.transport`), so its floor is well above 0 and stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from agon.data.source import ArraySource
from agon.errors import Unavailable
from agon.metrics.modes import Mixture, histogram, mixture_of, scores
from agon.metrics.transport import js_of_counts, wasserstein

NUM_FAKES = 4_096
"""Fakes for the divergence and the modes."""
NUM_TRANSPORT = 256
"""Points of each side for the Wasserstein distance."""
LEAVES = 128
MARGIN = 0.01
"""How far a leaf's box reaches beyond its points, of the data's extent."""
COVERED = 0.2
"""A mode counts as covered from this fraction of its share on: 'has one good sample' is met by accident."""
FLOOR_DRAWS = 8


class Cells:
    """Cells of equal real mass. ``points``: (N, 2) real ones, N at least the number of ``leaves``, a power of 2."""

    def __init__(self, points: np.ndarray, leaves: int = LEAVES):
        leaves = 1 << int(np.log2(max(2, min(leaves, len(points) // 8))))
        self.depth, self.axes, self.cuts = leaves.bit_length() - 1, np.zeros(leaves, np.int64), np.zeros(leaves)
        boxes = np.zeros((leaves, 2, 2))
        margin = MARGIN * (points.max(0) - points.min(0)).max()
        parts = {1: points}
        for node in range(1, leaves):
            part = parts.pop(node)
            axis = int(np.argmax(part.max(0) - part.min(0)))
            order = part[:, axis].argsort(kind="stable")
            half = len(part) // 2
            self.axes[node], self.cuts[node] = axis, (part[order[half - 1], axis] + part[order[half], axis]) / 2
            parts[2 * node], parts[2 * node + 1] = part[order[:half]], part[order[half:]]
        for node, part in parts.items():
            boxes[node - leaves] = part.min(0) - margin, part.max(0) + margin
        self.low, self.high, self.leaves = boxes[:, 0], boxes[:, 1], leaves
        self.real = self.counts(points)

    def leaf(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) -> (N,) the leaf of each point."""
        node = np.ones(len(points), np.int64)
        for _ in range(self.depth):
            node = 2 * node + (points[np.arange(len(points)), self.axes[node]] >= self.cuts[node])
        return node - self.leaves

    def counts(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) -> (2 * leaves,) points inside each leaf's box, then outside."""
        leaf = self.leaf(points)
        inside = ((points >= self.low[leaf]) & (points <= self.high[leaf])).all(1)
        return np.bincount(leaf + self.leaves * ~inside, minlength=2 * self.leaves)

    def divergence(self, fakes: np.ndarray) -> float:
        """Jensen-Shannon divergence between the real points and (N, 2) fakes, in nats."""
        return js_of_counts(self.real, self.counts(fakes))


@dataclass(frozen=True)
class Reading:
    """``js`` in nats, ``w1`` in the data's units (None where it cannot be had), ``modes`` covered and ``high_quality`` (None without known modes)."""

    js: float
    w1: float | None
    modes: int | None
    high_quality: float | None


class Measures:
    """The measures of one data set. The real points are its second half; the discriminator is trained on all of them, as ever."""

    def __init__(self, source: ArraySource):
        points = source.read(np.arange(len(source))).real.double().numpy()
        self.mixture: Mixture | None = mixture_of(source)
        half = points[len(points) // 2 :] if len(points) >= 2 * NUM_FAKES else points
        self.real, self.cells = half, Cells(half)
        self.some = half[np.random.default_rng(1).permutation(len(half))[:NUM_TRANSPORT]]

    def read(self, fakes: np.ndarray) -> Reading:
        """Of (N, 2) fakes, finite or not: what is not finite counts as far away."""
        fakes = np.nan_to_num(fakes.astype(np.float64), nan=1e9, posinf=1e9, neginf=-1e9).clip(-1e9, 1e9)
        modes = quality = None
        if self.mixture is not None:
            counts = histogram(fakes, self.mixture)
            modes = int((counts[:-1] >= COVERED * len(fakes) * self.mixture.shares).sum())
            quality = float(scores(counts, self.mixture.shares)[1])
        return Reading(self.cells.divergence(fakes), self._transport(fakes), modes, quality)

    @cached_property
    def floor(self) -> Reading:
        """What a perfect sampler reads: the median over fresh draws from the true mixture, or from the data where that is not known."""
        random, found = np.random.default_rng(7), []
        for _ in range(FLOOR_DRAWS):
            found.append(self.read(self.perfect(NUM_FAKES, random)))
        middle = {name: [getattr(each, name) for each in found] for name in ("js", "w1", "modes", "high_quality")}
        js, w1, modes, quality = (None if values[0] is None else float(np.median(values)) for values in middle.values())
        return Reading(js or 0.0, w1, None if modes is None else int(modes), quality)

    def perfect(self, count: int, random: np.random.Generator) -> np.ndarray:
        """(count, 2) points of a perfect sampler."""
        return self.mixture.sample(count, random) if self.mixture is not None else self.real[random.integers(0, len(self.real), count)]

    def _transport(self, fakes: np.ndarray) -> float | None:
        chosen = fakes[: len(self.some)]
        try:
            return wasserstein(self.some[: len(chosen)], chosen)
        except Unavailable:
            return None
