"""Divergences of samples as they are: Jensen-Shannon on a grid, Wasserstein-1 and -2 exactly.

The quantities of GAN theory (Goodfellow et al., 2014, https://arxiv.org/abs/1406.2661, theorem 1; Arjovsky et al., 2017, https://arxiv.org/abs/1701.07875;
for transport Peyré and Cuturi, 2019, https://arxiv.org/abs/1803.00567). All three are far above 0 for two samples of one distribution: the histogram's
noise, and n^(-1/dimension) for transport. So they are measured at equal counts and the real samples' own number stands beside: only what exceeds it is the
generator's.

One-dimensional transport is sorting. Otherwise the linear programme is solved by POT (``ot.emd2``, network simplex), an optional library.
"""

from dataclasses import dataclass

import numpy as np

from agon.errors import Unavailable, UserError
from agon.metrics.bootstrap import perfect, splits, subsample_error
from agon.metrics.samples import Samples

METRICS = {
    "js_divergence": "Jensen-Shannon divergence of points in 1 to 3 dimensions on a grid, in nats, at most 0.693 (lower is better)",
    "wasserstein1": "Exact Wasserstein-1 distance between samples, in the data's units or thumbnail pixels (lower is better)",
    "wasserstein2": "Exact Wasserstein-2 distance between samples, in the data's units or thumbnail pixels (lower is better)",
}
KINDS = ("points", "image")
EXTRACTOR = "thumbnail"
LAYERS = ("features",)
MOST = 2_000  # of each side together for transport: halves of it are compared
BINS = {1: 100, 2: 40, 3: 16}  # by dimension, along each axis
NUM_SPLITS = {"js_divergence": 20, "wasserstein1": 10, "wasserstein2": 10}
ITERATIONS = 10_000_000  # of the simplex, a hundred times POT's default: where they run out its number is wrong


@dataclass(frozen=True)
class Grid:
    """Equal cells between ``low`` and ``high`` (D,), and one more layer of cells around for what lies outside."""

    low: np.ndarray
    high: np.ndarray
    bins: int

    @classmethod
    def around(cls, points: np.ndarray) -> "Grid":
        """The grid that the real points span. Raises UserError beyond three dimensions."""
        if points.shape[1] not in BINS:
            raise UserError(
                "The Jensen-Shannon divergence counts points in a grid's cells, and {dimension} dimensions have too many. Expected 1 to 3: take wasserstein1.",
                dimension=points.shape[1],
            )  # fmt: skip
        low, high = points.min(0).astype(np.float64), points.max(0).astype(np.float64)
        return cls(low, np.where(high > low, high, low + 1), BINS[points.shape[1]])

    def cells(self, points: np.ndarray) -> np.ndarray:
        """(N, D) -> (N,) the cell of each point."""
        place = (points - self.low) / (self.high - self.low)
        inside = np.minimum(np.floor(np.clip(place, 0, 1) * self.bins), self.bins - 1).astype(np.int64) + 1
        index = np.where(place < 0, 0, np.where(place > 1, self.bins + 1, inside))
        return np.ravel_multi_index(tuple(index.T), (self.bins + 2,) * points.shape[1])

    @property
    def num_cells(self) -> int:
        return (self.bins + 2) ** len(self.low)


def js_divergence(real: np.ndarray, fake: np.ndarray, grid: Grid | None = None) -> float:
    """Jensen-Shannon divergence of two samples (M, D) and (N, D), D <= 3, in nats: 0 to log 2. ``grid``: the reals' unless given."""
    grid = Grid.around(real) if grid is None else grid
    return js_of_counts(*(np.bincount(grid.cells(points), minlength=grid.num_cells) for points in (real, fake)))


def js_of_counts(first: np.ndarray, second: np.ndarray) -> float:
    """Jensen-Shannon divergence of two histograms over the same cells, in nats."""
    p, q = first / first.sum(), second / second.sum()
    middle = (p + q) / 2
    return float(max(0.0, sum((part[part > 0] * np.log(part[part > 0] / middle[part > 0])).sum() for part in (p, q)) / 2))


def wasserstein(first: np.ndarray, second: np.ndarray, exponent: int = 1) -> float:
    """Wasserstein distance (min over couplings of the mean of |x - y|^p, to the power 1/p) of (M, D) and (N, D), Euclidean, each sample with equal weight.

    Holds M x N costs in float64. Raises Unavailable above one dimension where POT is missing.
    """
    if first.shape[1] != second.shape[1]:
        raise UserError("Samples of {first} and {second} dimensions have no distance. Expected as many.", first=first.shape[1], second=second.shape[1])
    first, second = first.astype(np.float64), second.astype(np.float64)
    if first.shape[1] == 1:
        return line_distance(first[:, 0], second[:, 0], exponent)
    ot = transport_library()
    centre = first.mean(0)  # moving both changes no distance and keeps the cancellation in the squares small
    cost = ot.dist(first - centre, second - centre, metric="sqeuclidean")
    np.maximum(cost, 0, out=cost)
    total, log = ot.emd2([], [], cost if exponent == 2 else np.sqrt(cost), numItermax=ITERATIONS, log=True)
    assert log["warning"] is None, log["warning"]
    return max(float(total), 0.0) ** (1 / exponent)


def line_distance(first: np.ndarray, second: np.ndarray, exponent: int = 1) -> float:
    """Wasserstein distance of numbers, (M,) and (N,): the difference of their quantile functions, which are steps."""
    first, second = np.sort(first), np.sort(second)
    if len(first) == len(second):
        return float((np.abs(first - second) ** exponent).mean() ** (1 / exponent))
    steps = np.sort(np.concatenate([np.arange(1, len(first) + 1) / len(first), np.arange(1, len(second)) / len(second)]))
    middles = steps - np.diff(steps, prepend=0) / 2
    quantiles = [part[np.minimum((middles * len(part)).astype(np.int64), len(part) - 1)] for part in (first, second)]
    return float((np.abs(quantiles[0] - quantiles[1]) ** exponent @ np.diff(steps, prepend=0)) ** (1 / exponent))


def transport_library():
    """POT's module ``ot``."""
    try:
        import ot
    except ImportError:
        raise Unavailable("Exact transport beyond one dimension needs the library POT, which is missing. Run: pip install 'agon-gan[metrics]'") from None
    return ot


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """Each at half counts (for transport of at most MOST samples): mean over random splits; error by the delete-d jackknife."""
    return [(measure_js if name == "js_divergence" else measure_wasserstein)(samples, name) for name in names]


def measure_js(samples: Samples, name: str) -> dict:
    real, fake = samples.features()
    grid = Grid.around(real)
    cells = grid.cells(real), grid.cells(fake)

    def between(ours: np.ndarray, theirs: np.ndarray) -> float:
        return js_of_counts(*(np.bincount(part, minlength=grid.num_cells) for part in (ours, theirs)))

    half = min(len(real), len(fake)) // 2
    value, error, floor = over_splits(name, *cells, half, between)
    protocol = {
        "logarithm": "natural", "bins_per_axis": grid.bins, "grid_low": grid.low.tolist(), "grid_high": grid.high.tolist(),
        "outside": "one cell a side around the grid", **common(name, half),
    }  # fmt: skip
    details = {"bits": value / np.log(2), "all_against_all": between(*cells), "outside": float((~inside(fake, grid)).mean())}
    return samples.result(name, value, error, num_real=len(real), num_fake=len(fake), protocol=protocol, reference=floor, details=details)


def measure_wasserstein(samples: Samples, name: str) -> dict:
    real, fake = samples.features()
    exponent, line = int(name[-1]), real.shape[1] == 1
    half = min(len(real), len(fake)) // 2
    half = half if line else min(half, MOST // 2)
    value, error, floor = over_splits(name, real, fake, half, lambda ours, theirs: wasserstein(ours, theirs, exponent))
    solver = "sorting" if line else "network simplex (POT)"
    protocol = {"exponent": exponent, "cost": "Euclidean", "dimension": real.shape[1], "solver": solver, **common(name, half)}
    details = {"excess_over_perfect_sampler": value - floor["perfect_sampler"]["value"]}
    return samples.result(name, value, error, num_real=len(real), num_fake=len(fake), protocol=protocol, reference=floor, details=details)


def over_splits(name, real, fake, size, between) -> tuple[float, float, dict]:
    """(value, standard error, reference) of ``between(first, second)`` over splits of ``size`` samples a side."""
    values, floor = [], []
    for split in splits(len(real), len(fake), count=NUM_SPLITS[name]):
        ours = real[split.real[:size]]
        values.append(between(ours, fake[split.fake[:size]]))
        floor.append(between(ours, real[split.other[:size]]))
    error = float(subsample_error(np.array(values), size, min(len(real), len(fake))))
    return float(np.mean(values)), error, {"perfect_sampler": perfect(floor, "disjoint sets of the real samples, same counts")}


def common(name: str, size: int) -> dict:
    return {
        "splits": NUM_SPLITS[name], "compared_real": size, "compared_fake": size, "value": "mean over random splits",
        "error": "standard deviation over the splits, scaled to all samples (delete-d jackknife)",
    }  # fmt: skip


def inside(points: np.ndarray, grid: Grid) -> np.ndarray:
    """(N,) is a point on the grid?"""
    return ((points >= grid.low) & (points <= grid.high)).all(1)
