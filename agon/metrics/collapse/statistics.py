"""What the collapse report counts: neighbours, modes, shares, repeats. Pure functions of arrays; the page is made in agon/metrics/collapse.py.

Everything is a function of its arguments (fixed seeds), distances of neighbours are exact (float64 on the few candidates that float32 products leave), and
memory is bounded by blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

BLOCK_X, BLOCK_Y = 2048, 8192  # rows compared at a time: 64 MB of float32 distances
SPARE = 4  # candidates beyond k, among which float32 may have mixed up the order
QUANTILE, PART = 0.01, 0.5  # two samples are twins when nearer than this part of this quantile of the distances from reals to their nearest other real
REPEATS = 0.05  # more repeats or copies than this are an alarm ...
TWICE = 2.0  # ... if they are also this many times as many as among the reals,
SIGMAS = 3.0  # and by so many standard errors
MISSING, RARE = 0.1, 0.5  # fakes' share of a class or mode over the reals' share
LEVEL = 0.01  # chance that a perfect sampler has any class or mode that is called missing or rare (Bonferroni)
NDB_LEVEL = 0.05  # Richardson and Weiss's level for one bin
PER_MODE = 15  # samples a mode, at least on average
MAX_MODES = 50
K = 5


def nearest(x: np.ndarray, y: np.ndarray, k: int = 1, *, same: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """(distances (N, k) float64, indices (N, k)) of the k nearest of ``y`` (M, D) to each of ``x`` (N, D), nearest first, ties by index.

    ``same``: x and y are the same samples, and none is its own neighbour. k is cut to what there is.
    """
    k = min(k, len(y) - same)
    wide = min(k + SPARE, len(y) - same)
    centre = np.asarray(y[: 1 << 16]).mean(axis=0, dtype=np.float64).astype(np.float32)
    left = torch.from_numpy(np.asarray(x, np.float32) - centre)
    best = torch.full((len(x), wide), math.inf)
    index = torch.zeros((len(x), wide), dtype=torch.int64)
    for at in range(0, len(y), BLOCK_Y):
        right = torch.from_numpy(np.asarray(y[at : at + BLOCK_Y], np.float32) - centre)
        norm = right.square().sum(1)
        for start in range(0, len(x), BLOCK_X):
            rows = slice(start, start + BLOCK_X)
            square = norm - 2 * (left[rows] @ right.T)  # short of |x|^2, which changes no order
            if same:
                own = torch.arange(start, start + len(square)) - at
                inside = (own >= 0) & (own < len(right))
                square[torch.nonzero(inside).flatten(), own[inside]] = math.inf
            near = square.topk(min(wide, len(right)), largest=False)
            joined, numbers = torch.cat([best[rows], near.values], 1), torch.cat([index[rows], near.indices + at], 1)
            best[rows], order = joined.topk(wide, largest=False)
            index[rows] = numbers.gather(1, order)
    return _exact(x, y, index.numpy(), k)


def _exact(x: np.ndarray, y: np.ndarray, index: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of the candidates ``index`` (N, wide), by float64 differences."""
    distance = np.empty(index.shape)
    rows = max(1, (1 << 22) // (index.shape[1] * max(1, x.shape[1])))
    for start in range(0, len(x), rows):
        block = slice(start, start + rows)
        gap = np.asarray(x[block], np.float64)[:, None] - np.asarray(y[index[block].ravel()], np.float64).reshape(*index[block].shape, -1)
        distance[block] = np.sqrt(np.square(gap).sum(-1))
    order = np.lexsort((index, distance), axis=1)[:, :k]
    return np.take_along_axis(distance, order, 1), np.take_along_axis(index, order, 1)


def inside(real: np.ndarray, radius: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """(N,) bool: which of ``fake`` (N, D) lie within ``radius`` (M,) of a sample of ``real`` (M, D): the set behind precision (Kynkaanniemi et al., 2019)."""
    centre = real.mean(axis=0, dtype=np.float64).astype(np.float32)
    found = torch.zeros(len(fake), dtype=torch.bool)
    for at in range(0, len(real), BLOCK_Y):
        right = torch.from_numpy(np.asarray(real[at : at + BLOCK_Y], np.float32) - centre)
        limit = torch.from_numpy(np.square(radius[at : at + BLOCK_Y]).astype(np.float32)) - right.square().sum(1)
        for start in range(0, len(fake), BLOCK_X):
            left = torch.from_numpy(np.asarray(fake[start : start + BLOCK_X], np.float32) - centre)
            found[start : start + BLOCK_X] |= (left.square().sum(1, keepdim=True) - 2 * (left @ right.T) < limit).any(1)
    return found.numpy()


def principal(real: np.ndarray, fake: np.ndarray, most: int = 50) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(real, fake, shares): both sides on the first principal axes of all samples together, and each axis's share of the variance. Signs are fixed."""
    number = len(real) + len(fake)
    mean = (real.sum(0, dtype=np.float64) + fake.sum(0, dtype=np.float64)) / number
    scatter = np.zeros((real.shape[1],) * 2)
    for part in (real, fake):
        for start in range(0, len(part), BLOCK_X):
            block = part[start : start + BLOCK_X] - mean
            scatter += block.T @ block
    values, axes = np.linalg.eigh(scatter)
    count = max(1, min(most, real.shape[1], number - 1))
    values, axes = np.maximum(values[::-1], 0), axes[:, ::-1][:, :count]
    axes = axes * np.where(np.take_along_axis(axes, np.abs(axes).argmax(0)[None], 0) < 0, -1, 1)
    return _project(real, mean, axes), _project(fake, mean, axes), values[:count] / max(values.sum(), 1e-300)


def _project(samples: np.ndarray, mean: np.ndarray, axes: np.ndarray) -> np.ndarray:
    return np.concatenate([(samples[start : start + BLOCK_X] - mean) @ axes for start in range(0, len(samples), BLOCK_X)])


def kmeans(samples: np.ndarray, count: int, *, rounds: int = 40) -> np.ndarray:
    """(count, D) centres: Lloyd's algorithm from k-means++ seeds (Arthur and Vassilvitskii, 2007), fixed seed. A centre that loses all samples stays."""
    random = np.random.default_rng(0)
    centres = samples[random.integers(len(samples))][None].astype(np.float64)
    gap = np.square(samples - centres[0]).sum(1)
    while len(centres) < count:
        share = gap / gap.sum() if gap.sum() > 0 else np.full(len(samples), 1 / len(samples))
        centres = np.concatenate([centres, samples[random.choice(len(samples), p=share)][None]])
        gap = np.minimum(gap, np.square(samples - centres[-1]).sum(1))
    for _ in range(rounds):
        mode, before = assign(samples, centres), centres.copy()
        for each in np.unique(mode):
            centres[each] = samples[mode == each].mean(0)
        if np.array_equal(before, centres):
            break
    return centres


def assign(samples: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(N,) the nearest centre of each sample."""
    norm = np.square(centres).sum(1)
    return np.concatenate([(norm - 2 * (samples[start : start + BLOCK_X] @ centres.T)).argmin(1) for start in range(0, len(samples), BLOCK_X)])


def num_modes(num_real: int, num_fake: int) -> int:
    """How many modes can be told apart: about PER_MODE samples each on the smaller side (half of the reals make the modes, the other half are counted)."""
    return int(np.clip(min(num_real // 2, num_fake) // PER_MODE, 2, MAX_MODES))


@dataclass(frozen=True)
class Shares:
    """Counts by class or mode on both sides and which of them differ: arrays of one length."""

    real: np.ndarray
    fake: np.ndarray
    totals: tuple[int, int]
    p: np.ndarray

    @property
    def real_share(self) -> np.ndarray:
        return self.real / max(1, self.totals[0])

    @property
    def fake_share(self) -> np.ndarray:
        return self.fake / max(1, self.totals[1])

    @property
    def ratio(self) -> np.ndarray:
        """Fakes' share over the reals' share; 1 where neither has any."""
        return np.divide(self.fake_share, self.real_share, out=np.ones(len(self.real)), where=self.real > 0)

    @property
    def missing(self) -> np.ndarray:
        """Less than a tenth of the reals' share, and not by chance."""
        return (self.ratio < MISSING) & (self.p < LEVEL / len(self.p))

    @property
    def rare(self) -> np.ndarray:
        """Less than half of the reals' share, not by chance, and not missing."""
        return (self.ratio < RARE) & (self.p < LEVEL / len(self.p)) & ~self.missing

    @property
    def different(self) -> np.ndarray:
        """Statistically different bins at the 5 % level (Richardson and Weiss, 2018, https://arxiv.org/abs/1805.12462, section 3)."""
        return self.p < NDB_LEVEL


def compare_shares(real: np.ndarray, fake: np.ndarray, totals: tuple[int, int] | None = None) -> Shares:
    """(K,) counts of both sides -> their two-proportion z-tests (pooled variance, two-sided). ``totals``: samples on each side, where some are in no bin."""
    real, fake = np.asarray(real), np.asarray(fake)
    m, n = totals or (int(real.sum()), int(fake.sum()))
    pooled = (real + fake) / max(1, m + n)
    error = np.sqrt(pooled * (1 - pooled) * (1 / max(1, m) + 1 / max(1, n)))
    z = np.divide(real / max(1, m) - fake / max(1, n), error, out=np.zeros(len(real)), where=error > 0)
    return Shares(real, fake, (m, n), np.array([math.erfc(abs(value) / math.sqrt(2)) for value in z]))


@dataclass(frozen=True)
class Twins:
    """How many samples have a twin: ``share`` of the fakes, ``base`` of the reals, at the same ``threshold`` of distance; ``count`` fakes were looked at."""

    share: float
    base: float
    threshold: float
    count: int

    @property
    def alarming(self) -> bool:
        return self.share >= max(REPEATS, TWICE * self.base) and exceeds(self.share, self.base, self.count)


def twins(fake: np.ndarray, real: np.ndarray, scale: float = 1.0) -> Twins:
    """From the distances of fakes and of reals to their nearest neighbour: the threshold is half of the reals' 1 % quantile.

    ``scale``: how much smaller the fakes' spread is, where fakes are compared with fakes: blurred pictures are nearer to each other without being the same.
    """
    threshold = PART * float(np.quantile(real, QUANTILE))
    return Twins(float((fake <= threshold * min(1.0, scale)).mean()), float((real <= threshold).mean()), threshold, len(fake))


def spread(samples: np.ndarray) -> float:
    """Root mean square distance of (N, D) from their mean."""
    mean = samples.mean(0, dtype=np.float64)
    return float(np.sqrt(sum(np.square(samples[start : start + BLOCK_X] - mean).sum() for start in range(0, len(samples), BLOCK_X)) / len(samples)))


def exceeds(share: float, base: float, count: int) -> bool:
    """Is a share of ``count`` samples above ``base`` by more than SIGMAS standard errors of a base-rate sample?"""
    return share - base > SIGMAS * math.sqrt(max(base * (1 - base), 1 / count**2) / count)


def separate_pairs(partner: np.ndarray, distance: np.ndarray, most: int) -> list[tuple[int, int]]:
    """The ``most`` nearest pairs (i, partner[i]), nearest first, no sample in two of them."""
    used: set[int] = set()
    pairs = []
    for first in np.lexsort((np.arange(len(distance)), distance)):
        pair = int(first), int(partner[first])
        if not used & set(pair):
            used |= set(pair)
            pairs.append(pair)
        if len(pairs) == most:
            break
    return pairs
