"""Kernel distance (KID): unbiased squared MMD between features under the cubic kernel (x.y / d + 1)^3.

Binkowski et al., 2018, "Demystifying MMD GANs", https://arxiv.org/abs/1801.01401, section 4; the estimator is that of
Gretton et al., 2012, "A kernel two-sample test", lemma 6. Their protocol averages it over subsets of 1,000 to save
time; the mean over subsets estimates the statistic of all samples, which is computed here directly. It is unbiased, so
it may be negative, and a perfect sampler's is 0 on average. Whether it differs from 0 is decided by permuting who is
real and who is fake (Gretton et al., section 5), not by looking at it.
"""

import numpy as np

from agon.metrics.bootstrap import perfect, splits, subsample_error
from agon.metrics.samples import Samples

NAME = "kid"
PERMUTATIONS = 200
SUBSETS = 100
MOST = 2_000  # samples a side: the pooled kernel matrix takes (2 * 2000)^2 * 8 bytes = 128 MB
LEVEL = 0.05


def cubic_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(M, F), (N, F) -> (M, N): (x.y / F + 1)^3."""
    base = x @ y.T
    base /= x.shape[1]
    base += 1
    return base * base * base


def kid(x: np.ndarray, y: np.ndarray, *, block: int = 2048) -> float:
    """Unbiased squared MMD of (M, F) and (N, F) features, blockwise: memory stays at block^2 however many samples there
    are.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    m, n = len(x), len(y)
    within_x = (_kernel_sum(x, x, block) - _diagonal(x).sum()) / (m * (m - 1))
    within_y = (_kernel_sum(y, y, block) - _diagonal(y).sum()) / (n * (n - 1))
    return float(within_x + within_y - 2 * _kernel_sum(x, y, block) / (m * n))


def kid_test(x: np.ndarray, y: np.ndarray, *, permutations: int = PERMUTATIONS, seed: int = 0) -> tuple[float, float]:
    """(p, sd): one-sided p value of "the two come from one distribution", and KID's standard deviation if they do."""
    kernel = cubic_kernel(*[np.concatenate([x, y])] * 2)
    random = np.random.default_rng([seed, 1])
    order = np.array([np.arange(len(kernel))] + [random.permutation(len(kernel)) for _ in range(permutations)])
    values = _masked(kernel, *_masks(order[:, : len(x)], order[:, len(x) :], len(kernel)))
    null = values[1:]
    p = (1 + np.count_nonzero(null >= values[0])) / (1 + permutations)
    # Under the permutation the mean is 0 by construction (the estimator is unbiased), so it is not estimated.
    return float(p), float(np.sqrt(np.mean(null**2)))


def kid_subsets(x: np.ndarray, y: np.ndarray, *, count: int = SUBSETS, seed: int = 0) -> np.ndarray:
    """KID on ``count`` random halves of both: (count,), for the standard error."""
    kernel = cubic_kernel(*[np.concatenate([x, y])] * 2)
    random = np.random.default_rng([seed, 2])
    chosen_x = np.array([random.permutation(len(x))[: len(x) // 2] for _ in range(count)])
    chosen_y = np.array([random.permutation(len(y))[: len(y) // 2] + len(x) for _ in range(count)])
    return _masked(kernel, *_masks(chosen_x, chosen_y, len(kernel)))


def _kernel_sum(x: np.ndarray, y: np.ndarray, block: int) -> float:
    return sum(
        float(cubic_kernel(x[i : i + block], y[j : j + block]).sum())
        for i in range(0, len(x), block)
        for j in range(0, len(y), block)
    )


def _diagonal(x: np.ndarray) -> np.ndarray:
    return ((x * x).sum(1) / x.shape[1] + 1) ** 3


def _masks(first: np.ndarray, second: np.ndarray, total: int) -> tuple[np.ndarray, np.ndarray]:
    """Index arrays (P, m), (P, n) -> two 0/1 matrices (total, P): column p marks what is taken as x (as y) the p-th
    time.
    """
    masks = np.zeros((2, total, len(first)))
    columns = np.arange(len(first))[:, None]
    masks[0][first, columns] = 1
    masks[1][second, columns] = 1
    return masks[0], masks[1]


def _masked(kernel: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """KID of every column's x and y from one kernel matrix: the resamples are a matrix product."""
    m, n = a[:, 0].sum(), b[:, 0].sum()
    diagonal = np.diag(kernel)
    ka, kb = kernel @ a, kernel @ b
    within_a = ((a * ka).sum(0) - diagonal @ a) / (m * (m - 1))
    within_b = ((b * kb).sum(0) - diagonal @ b) / (n * (n - 1))
    return within_a + within_b - 2 * (b * ka).sum(0) / (m * n)


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """KID of all fakes against all reals (at most MOST each), its error over random halves, the permutation test."""
    samples.require_extractor(NAME)
    real, fake = (
        part[:MOST] if len(part) <= MOST else part[np.random.default_rng(0).permutation(len(part))[:MOST]]
        for part in samples.features
    )
    value = kid(real, fake)
    p, null = kid_test(real, fake)
    error = subsample_error(kid_subsets(real, fake), 1, 2)
    floor = [kid(real[split.real], real[split.other]) for split in splits(len(real), len(real))]
    return [
        samples.result(
            NAME,
            value,
            error,
            num_real=len(real),
            num_fake=len(fake),
            protocol={
                "kernel": "(x.y / d + 1)^3",
                "estimator": "unbiased, all pairs",
                "error": f"standard deviation over {SUBSETS} random halves without replacement (delete-half jackknife)",
                "test": f"{PERMUTATIONS} permutations of real and fake, one-sided, level {LEVEL}",
            },
            reference={"perfect_sampler": perfect(floor, "the two halves of the real samples (expected value 0)")},
            details={
                "p": p,
                "z": value / null if null > 0 else 0.0,
                "null_standard_deviation": null,
                "distinguishable_from_zero": bool(p < LEVEL),
            },
        )
    ]
