"""Sets of point clouds: minimum matching distance, coverage and the nearest neighbours' accuracy, by the Chamfer and the earth mover's distance.

MMD, COV: Achlioptas et al., 2018, "Learning Representations and Generative Models for 3D Point Clouds", https://arxiv.org/abs/1707.02392, section 4. 1-NNA:
Lopez-Paz and Oquab, 2017, https://arxiv.org/abs/1610.06545, for clouds Yang et al., 2019 (PointFlow), https://arxiv.org/abs/1906.12320, section 5.1.
Distances depend on the number of points and on the clouds' scale: normalise both sides alike.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from agon.errors import Unavailable, UserError
from agon.metrics.halves import compare
from agon.metrics.samples import Samples
from agon.metrics.sides import Side

METRICS = {
    "mmd_cd": "Minimum matching distance of point clouds, Chamfer: mean over the reals of the distance to the nearest fake (lower is better)",
    "mmd_emd": "Minimum matching distance of point clouds, earth mover's (lower is better)",
    "cov_cd": "Coverage of point clouds, Chamfer: fraction of reals that are some fake's nearest (higher is better)",
    "cov_emd": "Coverage of point clouds, earth mover's (higher is better)",
    "nna_cd": "Leave-one-out accuracy of telling real from fake clouds by the nearest neighbour, Chamfer: 0.5 is ideal, 1 is the worst",
    "nna_emd": "Leave-one-out accuracy of telling real from fake clouds by the nearest neighbour, earth mover's: 0.5 is ideal, 1 is the worst",
}
KINDS = ("cloud",)
EXTRACTOR = ""
PAIRED = False
LABELLED = False
# An exact matching of 2,048 points takes a second, and all pairs of clouds are compared: `mmd`, `coverage`, `nearest_accuracy` take any matrix.
CLOUDS = {"cd": 150, "emd": 60}
POINTS = {"cd": 512, "emd": 256}


def chamfer(x: Tensor, y: Tensor) -> Tensor:
    """Chamfer distance of (..., P, 3) and (..., Q, 3) clouds: mean squared distance to the nearest point, both ways, summed (PointFlow's form)."""
    apart = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")  # by differences: no cancellation, float32 will do
    return sum(apart.amin(axis).double().square().mean(-1) for axis in (-1, -2))


def emd(x: np.ndarray, y: np.ndarray) -> float:
    """Earth mover's distance of two (P, 3) clouds: the least mean distance over all one-to-one matchings, exact (Hungarian method, cubic in P).

    Raises UserError for different counts, Unavailable without scipy.
    """
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        raise Unavailable("The earth mover's distance needs scipy. Install it: pip install scipy") from None
    if len(x) != len(y):
        raise UserError("The earth mover's distance matches as many points as there are, these are {first} and {second}. Take as many of each.", first=len(x),
                        second=len(y))
    cost = torch.cdist(torch.as_tensor(x).double(), torch.as_tensor(y).double(), compute_mode="donot_use_mm_for_euclid_dist").numpy()
    return float(cost[linear_sum_assignment(cost)].mean())


def distances(x: Tensor, y: Tensor, kind: str) -> np.ndarray:
    """(M, N) of clouds (M, P, 3), (N, P, 3). ``kind``: "cd" or "emd". Where ``x is y`` half of the work is done."""
    made = np.zeros((len(x), len(y)))
    for row, cloud in enumerate(x):
        first = row + 1 if x is y else 0
        if kind == "emd":
            made[row, first:] = [emd(cloud, other) for other in y[first:]]
        elif first < len(y):
            made[row, first:] = torch.cat([chamfer(cloud, part) for part in y[first:].split(8)])
    return made + made.T if x is y else made


def mmd(between: np.ndarray) -> float:
    """Minimum matching distance from (M reals, N fakes) distances: mean over the reals of the nearest fake's."""
    return float(between.min(1).mean())


def coverage(between: np.ndarray) -> float:
    """Fraction of the reals that are the nearest real of at least one fake, from (M, N) distances."""
    return len(np.unique(between.argmin(0))) / len(between)


def nearest_accuracy(real: np.ndarray, between: np.ndarray, fake: np.ndarray) -> float:
    """Leave-one-out accuracy of the nearest-neighbour classifier from (M, M), (M, N) and (N, N) distances. Of equally near ones a real one counts."""
    real, fake = real + np.diag(np.full(len(real), np.inf)), fake + np.diag(np.full(len(fake), np.inf))
    right = (real.min(1) <= between.min(1)).sum() + (fake.min(1) < between.min(0)).sum()
    return float(right / (len(real) + len(fake)))


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """At most CLOUDS clouds a side and POINTS points a cloud, drawn with a fixed seed."""
    results = []
    for kind in CLOUDS:
        asked = [name for name in names if name.endswith(f"_{kind}")]
        if asked:
            results += _measure(samples, asked, kind)
    return results


def _measure(samples: Samples, names: list[str], kind: str) -> list[dict]:
    sides = [gather(side, CLOUDS[kind]) for side in (samples.real, samples.fake)]
    points = min([POINTS[kind], *(len(cloud) for side in sides for cloud in side)])
    real, fake = (torch.stack([thin(cloud, points) for cloud in side]) for side in sides)
    rr, rf = distances(real, real, kind), distances(real, fake, kind)
    ff = distances(fake, fake, kind) if f"nna_{kind}" in names else np.zeros((len(fake), len(fake)))

    def score(rows: np.ndarray, others: np.ndarray, against_fake: bool) -> dict[str, float]:
        between, own = (rf, ff) if against_fake else (rr, rr)
        between = between[np.ix_(rows, others)]
        nna = nearest_accuracy(rr[np.ix_(rows, rows)], between, own[np.ix_(others, others)]) if f"nna_{kind}" in names else 0.0
        return {f"mmd_{kind}": mmd(between), f"cov_{kind}": coverage(between), f"nna_{kind}": nna}

    distance = "mean squared distance to the nearest point, both ways, summed" if kind == "cd" else "mean distance under the best matching, exact"
    return compare(samples, names, len(real), len(fake), score, protocol={"distance": distance, "points": points, "most_clouds": CLOUDS[kind]})


def gather(side: Side, most: int) -> list[Tensor]:
    """All clouds of a side, or ``most`` of them drawn with a fixed seed, as a list of (P, 3)."""
    kept = set(range(side.count) if side.count <= most else np.random.default_rng(0).choice(side.count, most, replace=False).tolist())
    return [cloud for start, chunk in side.chunks() for index, cloud in enumerate(chunk, start) if index in kept]


def thin(cloud: Tensor, points: int) -> Tensor:
    """``points`` of a cloud's (P, 3), drawn with a fixed seed."""
    return cloud if len(cloud) == points else cloud[np.sort(np.random.default_rng(1).choice(len(cloud), points, replace=False))]
