"""Precision, recall, density and coverage: k-nearest-neighbour manifolds in features.

Precision and recall: Kynkaanniemi et al., 2019, https://arxiv.org/abs/1904.06991. Density and coverage: Naeem et al., 2020, https://arxiv.org/abs/2002.09797,
equations 2 and 3. k = 5 for all four, a sample is not its own neighbour, and "inside" is strict (``<``), as in the prdc authors' code. For a perfect sampler
with as many fakes as reals density is 1 and coverage 1 - 1/2^k = 0.969 on average (their lemma 2); precision and recall have no closed form: the real halves'
values stand beside them. All depend on the counts.

Distances are those of float64. Theirs, for float32 features, are rounded to float32 before they are compared; the two can differ on pairs that lie within
1e-7 of a radius.
"""

import numpy as np

from agon.errors import UserError
from agon.metrics.bootstrap import NUM_SPLITS, perfect, splits, subsample_error
from agon.metrics.neighbours import clouds, distance_blocks, kth_nearest, tiles
from agon.metrics.samples import Samples

METRICS = {
    "precision": "Fraction of fakes that lie among the real samples (higher is better)",
    "recall": "Fraction of reals that lie among the fakes (higher is better)",
    "density": "How densely the reals surround the fakes (1 is a perfect sampler's; more means the fakes crowd)",
    "coverage": "Fraction of reals that have a fake as near as their own neighbours (higher is better)",
}
KINDS = ("*",)
EXTRACTOR = "data"
LAYERS = ("features",)

NAMES = ("precision", "recall", "density", "coverage")
K = 5
TIE = 1 - 1e-9  # squared distances within rounding of a radius count as on it, hence outside, whatever the block's shape
SMALL = 1 << 31  # products of numbers up to which all is done in float64
LARGE = 1 << 35  # products of numbers above which a split takes seconds ...
LARGE_SPLITS = 4  # ... and so many have to do


def prdc(real: np.ndarray, fake: np.ndarray, k: int = K) -> dict[str, float]:
    """The four numbers from (M, F) and (N, F) features. Raises UserError unless both have more than k samples."""
    if not 1 <= k < min(len(real), len(fake)):
        raise UserError(
            "k = {k} neighbours cannot be found among {num_real} real and {num_fake} fake samples. Expected 1 <= k < both counts: draw more samples.",
            k=k, num_real=len(real), num_fake=len(fake),
        )  # fmt: skip
    inside = _inside_plain if len(real) * len(fake) * real.shape[1] <= SMALL else _inside_tiled
    inside_real, covered, recalled = inside(real, fake, k)
    return {
        "precision": float((inside_real > 0).mean()),
        "recall": float(recalled.mean()),
        "density": float(inside_real.mean() / k),
        "coverage": float(covered.mean()),
    }


Inside = tuple[np.ndarray, np.ndarray, np.ndarray]


def _inside_plain(real: np.ndarray, fake: np.ndarray, k: int) -> Inside:
    """In how many reals' balls each fake lies (N,), whether each real has a fake in its own (M,), whether each real lies in a fake's (M,)."""
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    radius_real, radius_fake = (_radius(kth_nearest(part, k) ** 2, part) for part in (real, fake))
    inside_real = np.zeros(len(fake))
    recalled, covered = [], []
    for start, block in distance_blocks(real, fake):
        inside = block < radius_real[start : start + len(block), None]
        inside_real += inside.sum(axis=0)
        covered.append(inside.any(axis=1))
        recalled.append((block < radius_fake).any(axis=1))
    return inside_real, np.concatenate(covered), np.concatenate(recalled)


def _inside_tiled(real: np.ndarray, fake: np.ndarray, k: int) -> Inside:
    """The same for large sets: float32 tiles, undecided pairs in float64 (neighbours.py)."""
    real, fake = clouds(real, fake)
    radius_real, radius_fake = (_radius(cloud.kth_squared(k), cloud.points) for cloud in (real, fake))
    inside_real, covered, recalled = np.zeros(len(fake)), np.zeros(len(real), bool), np.zeros(len(real), bool)
    for mine in tiles(len(real)):
        for theirs in tiles(len(fake)):
            tile = real.bound(mine, fake, theirs)
            rows, columns = real.within(mine, fake, theirs, tile, radius_real, of_rows=True)
            inside_real += np.bincount(columns, minlength=len(fake))
            covered[rows] = True
            recalled[real.within(mine, fake, theirs, tile, radius_fake, of_rows=False)[0]] = True
    return inside_real, covered, recalled


def _radius(squared: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Squared radii below which a squared distance is inside. Those of samples that k others equal are 0, not the rounding noise of a product: nothing is
    inside."""
    centre = points.mean(axis=0, dtype=np.float64)
    spread = sum(((points[start : start + 2048] - centre) ** 2).sum() for start in range(0, len(points), 2048)) / len(points)
    return np.where(squared > 1e-13 * spread + 1e-28 * (centre @ centre), squared * TIE, 0)


def expected_coverage(num_real: int, num_fake: int, k: int = K) -> float:
    """Coverage of a perfect sampler: 1 - prod_{i<k} (M - 1 - i) / (M + N - 1 - i), M reals and N fakes, whatever the
    distribution.

    A real stays uncovered when its k nearest among the other M - 1 reals and N fakes are all real (ties aside).
    """
    i = np.arange(k)
    return float(1 - np.prod((num_real - 1 - i) / (num_real + num_fake - 1 - i)))


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """The asked ones of the four at half counts, mean over random splits, with the real halves' beside."""
    real, fake = samples.features("features")
    half = min(len(real), len(fake)) // 2
    count = LARGE_SPLITS if half**2 * real.shape[1] > LARGE else NUM_SPLITS
    values, floor = [], []
    for split in splits(len(real), len(fake), count=count):
        first = real[split.real]
        values.append(list(prdc(first, fake[split.fake]).values()))
        floor.append(list(prdc(first, real[split.other]).values()))
    mean, error, floor_array = np.mean(values, 0), subsample_error(np.array(values), 1, 2), np.array(floor)
    whole = prdc(real, fake)
    results = []
    for column, name in enumerate(NAMES):
        if name in names:
            reference = {
                "perfect_sampler": perfect(
                    floor_array[:, column], "the two halves of the real samples, same splits and counts"
                )
            }
            if name == "coverage":
                reference["perfect_sampler"]["closed_form"] = expected_coverage(half, half)
            results.append(
                samples.result(
                    name,
                    mean[column],
                    error[column],
                    num_real=len(real),
                    num_fake=len(fake),
                    reference=reference,
                    protocol={
                        "k": K,
                        "inside": "<",
                        "splits": count,
                        "compared_real": half,
                        "compared_fake": half,
                        "value": "mean over random splits of half of the reals and half of the fakes",
                        "error": "standard deviation over the splits (delete-half jackknife)",
                    },
                    details={"all_against_all": whole[name]},
                )
            )
    return results
