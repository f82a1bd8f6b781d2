"""FID at infinitely many fakes, extrapolated: the fit of FID against 1/N, at 1/N = 0.

Chong and Forsyth, 2020, "Effectively Unbiased FID and Inception Score and where to find them", https://arxiv.org/abs/1911.07023: FID of random
subsets of the fakes at 15 sizes, spaced evenly from a tenth of them to all, against all reals; an ordinary least-squares line in 1/N; its intercept. The
fakes are drawn as the generator draws them, not by a Sobol sequence (theirs can be, which lessens the variance). The reals' own bias, c / M, stays:
numbers against different numbers of reals cannot be compared. Where a tenth of the fakes is no more than the features' dimension, the smallest subset is one
more than that, for the bias is of first order only above it; unless twice as many are there, no line is fitted.
"""

import numpy as np

from agon.metrics.fid import require_rank
from agon.metrics.frechet import Gaussian
from agon.metrics.samples import Samples

METRICS = {"fid_infinity": "FID extrapolated to infinitely many fakes (lower is better; may fall below 0 by chance)"}
KINDS = ("image",)
EXTRACTOR = "inception"
LAYERS = ("features",)

POINTS = 15
SHARE = 10  # the smallest subset is one part in so many


def subset_sizes(count: int, dimension: int, points: int = POINTS) -> np.ndarray:
    """(points,) sizes from max(count / 10, dimension + 1) to ``count``, evenly spaced."""
    return np.linspace(max(count // SHARE, dimension + 1), count, points).astype(int)


def distances(real: np.ndarray, fake: np.ndarray, sizes: np.ndarray, seed: int = 0) -> np.ndarray:
    """(len(sizes),) Fréchet distance of a random subset of the fakes (N, F), of each size, to all reals (M, F)."""
    whole = Gaussian(real)
    random = np.random.default_rng([seed, 3])
    return np.array([whole.distance(Gaussian(fake[np.sort(random.permutation(len(fake))[:size])])) for size in sizes])


def extrapolate(sizes: np.ndarray, values: np.ndarray) -> tuple[float, float, float]:
    """(intercept, its standard error, slope) of the least-squares line of ``values`` against 1 / ``sizes``, at least three."""
    x, y = 1 / np.asarray(sizes, np.float64), np.asarray(values, np.float64)
    centred = x - x.mean()
    slope = centred @ y / (centred @ centred)
    intercept = y.mean() - slope * x.mean()
    variance = ((y - intercept - slope * x) ** 2).sum() / (len(x) - 2)
    return float(intercept), float(np.sqrt(variance * (1 / len(x) + x.mean() ** 2 / (centred @ centred)))), float(slope)


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """The intercept and its standard error."""
    real, fake = samples.features("features")
    dimension = real.shape[1]
    require_rank("fid_infinity", real, real, samples.extractor.name)
    require_rank("fid_infinity", fake, fake, samples.extractor.name, dimension + 2)
    sizes = subset_sizes(len(fake), dimension)
    values = distances(real, fake, sizes)
    intercept, error, slope = extrapolate(sizes, values)
    return [
        samples.result(
            "fid_infinity",
            intercept,
            error,
            num_real=len(real),
            num_fake=len(fake),
            protocol={
                "covariance": "unbiased",
                "dimension": dimension,
                "points": POINTS,
                "smallest": int(sizes[0]),
                "value": "intercept of the line of FID against 1/N, random subsets of the fakes against all reals",
                "error": "standard error of the intercept from the scatter about the line (the reals' own is not in it)",
            },
            details={"sizes": sizes.tolist(), "values": values.tolist(), "slope": slope, "all_against_all": float(values[-1])},
        )
    ]
