"""Standard errors over resamples, and the halves by which fakes and reals are compared at equal counts.

Distances between samples (Fréchet, sliced Wasserstein, precision ...) are biased upwards, the more the fewer the
samples; drawing with replacement makes them worse (each resample has 37 % fewer distinct points), so the plain
bootstrap would centre on a wrong value. They are resampled *without* replacement: the delete-half jackknife (Shao and
Wu, 1989, "A general theory for jackknife variance estimation", https://doi.org/10.1214/aos/1176347263): the spread of a
statistic over random halves of n samples estimates the standard error of the statistic of all n. Means and shares of
independent samples are bootstrapped in the usual way (Efron, 1979).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

NUM_SPLITS = 20
NUM_GROUPS = 10


@dataclass(frozen=True)
class Split:
    """Index arrays of one length m: ``fake`` into the fakes, ``real`` and ``other`` into the reals, disjoint.

    A generator is compared by (real, fake), a perfect sampler by (real, other): the same counts, hence the same bias.
    """

    real: np.ndarray
    other: np.ndarray
    fake: np.ndarray


def splits(num_real: int, num_fake: int, *, count: int = NUM_SPLITS) -> Iterator[Split]:
    """``count`` random splits with m = min(num_real, num_fake) // 2. Always the same ones: the evaluation's
    seed draws the fakes, and the perfect sampler's values must not move with it."""
    half = min(num_real, num_fake) // 2
    for index in range(count):
        random = np.random.default_rng([0, index])
        real = random.permutation(num_real)
        yield Split(real[:half], real[half : 2 * half], random.permutation(num_fake)[:half])


def subsample_error(values: np.ndarray, size: int, total: int) -> np.ndarray:
    """Standard error of a statistic of ``total`` samples from its ``values`` (first axis) on random subsets of ``size``
    of them.

    The delete-d jackknife: sd(values) * sqrt(size / (total - size)); for halves the factor is 1. Raises no error for
    one value: nan.
    """
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan)
    return values.std(axis=0, ddof=1) * np.sqrt(size / (total - size))


def groups(count: int, number: int = NUM_GROUPS) -> list[np.ndarray]:
    """``number`` random groups of the indices 0 .. count - 1, as equal as can be, each sorted; always the same ones.

    Random, not consecutive: a folder is often in the order of its classes, and groups of one class each would overstate the error.
    """
    return [np.sort(part) for part in np.array_split(np.random.default_rng([2, count]).permutation(count), number)]


def jackknife_error(values: np.ndarray) -> np.ndarray:
    """Standard error of a statistic from its values (G, ...) with one of G equal groups left out each time: sqrt((G - 1) / G * sum (v - mean)^2).

    Where several independent samples each leave out their g-th group at once, the sum of their contributions is estimated. Shao and Tu, 1995, "The Jackknife
    and Bootstrap". With G groups it is itself known to about 1 part in sqrt(2 (G - 1)): 24 % for 10.
    """
    values = np.asarray(values, np.float64)
    number = len(values)
    return np.sqrt((number - 1) / number * ((values - values.mean(axis=0)) ** 2).sum(axis=0))


def share_error(share: float, total: int) -> float:
    """Standard error of the share of ``total`` independent samples: the bootstrap's limit in closed form, sqrt(p (1 -
    p) / n).

    p is Jeffreys' (k + 1/2) / (n + 1), so that 0 of n and n of n do not claim to be exact.
    """
    p = (share * total + 0.5) / (total + 1)
    return float(np.sqrt(p * (1 - p) / total))


def bootstrap(statistic: Callable[..., float], *samples: np.ndarray, resamples: int = 200) -> float:
    """Standard deviation of ``statistic(*resampled)`` over resamples with replacement of each of ``samples``."""
    values = []
    for index in range(resamples):
        random = np.random.default_rng([1, index])
        values.append(statistic(*(sample[random.integers(0, len(sample), len(sample))] for sample in samples)))
    return float(np.std(values, ddof=1))


def perfect(values: list[float] | np.ndarray, how: str) -> dict:
    """The entry ``reference["perfect_sampler"]``: mean and standard deviation of what a perfect sampler scores, and how
    it was found.
    """
    values = np.asarray(values, np.float64)
    return {"value": float(values.mean()), "standard_deviation": float(values.std(ddof=1)), "how": how}
