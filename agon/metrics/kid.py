"""Kernel distance (KID): unbiased squared MMD between features under the cubic kernel (x.y / d + 1)^3.

Binkowski et al., 2018, "Demystifying MMD GANs", https://arxiv.org/abs/1801.01401, section 4; the estimator is that of
Gretton et al., 2012, "A kernel two-sample test", lemma 6. Their protocol averages it over subsets of 1,000 to save
time; the mean over subsets estimates the statistic of all samples, which is computed here directly. It is unbiased, so
it may be negative, and a perfect sampler's is 0 on average. Whether it differs from 0 is decided by permuting who is
real and who is fake (Gretton et al., section 5), not by looking at it.

``kid_subsets`` is the number as it is published: mean and standard deviation over 100 subsets of 1,000, drawn as torch-fidelity draws them, so that equal
features give its number.
"""

import numpy as np

from agon.metrics.bootstrap import perfect, splits, subsample_error
from agon.metrics.samples import Samples

METRICS = {
    "kid": "Kernel distance: unbiased cubic-kernel MMD in features, with a test of whether it differs from 0 (lower is better)",
    "kid_subsets": "The same as published: mean over 100 subsets of 1,000 (lower is better)",
}
KINDS = ("*",)
EXTRACTOR = "data"
LAYERS = ("features",)

PERMUTATIONS = 200
SUBSETS = 100
MOST = 2_000  # samples a side: the pooled kernel matrix takes (2 * 2000)^2 * 8 bytes = 128 MB
LEVEL = 0.05
PUBLISHED_SIZE = 1_000
PUBLISHED_SEED = 2020
ROWS = 2048  # samples compared at a time


def cubic_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(M, F), (N, F) -> (M, N): (x.y / F + 1)^3."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    base = x @ y.T
    base /= x.shape[1]
    base += 1
    return base * base * base


def kid(x: np.ndarray, y: np.ndarray, *, block: int = ROWS) -> float:
    """Unbiased squared MMD of (M, F) and (N, F) features, blockwise: memory stays at block^2 however many samples there
    are.
    """
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


def published(x: np.ndarray, y: np.ndarray, *, subsets: int = SUBSETS, size: int = PUBLISHED_SIZE, seed: int = PUBLISHED_SEED) -> np.ndarray:
    """(subsets,) KID of random subsets of (M, F) and (N, F), ``size`` of each (all, where there are fewer), drawn with torch-fidelity's generator and default
    seed."""
    size = min(size, len(x), len(y))
    random = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        chosen = random.choice(len(x), size, replace=False), random.choice(len(y), size, replace=False)
        values.append(kid(x[chosen[0]], y[chosen[1]]))
    return np.array(values)


def _kernel_sum(x: np.ndarray, y: np.ndarray, block: int) -> float:
    total = 0.0
    for i in range(0, len(x), block):
        part = np.asarray(x[i : i + block], np.float64)
        for j in range(i if x is y else 0, len(y), block):
            # Within one set the blocks below the diagonal mirror those above, and numpy multiplies a matrix by its own transpose in half of the time.
            same = x is y and i == j
            total += float(cubic_kernel(part, part if same else y[j : j + block]).sum()) * (2 if x is y and not same else 1)
    return total


def _diagonal(x: np.ndarray) -> np.ndarray:
    return np.concatenate([((part.astype(np.float64) ** 2).sum(1) / x.shape[1] + 1) ** 3 for part in np.array_split(x, -(-len(x) // ROWS))])


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
    """The asked ones of the two."""
    real, fake = samples.features("features")
    made = {"kid": measure_all, "kid_subsets": measure_subsets}
    return [made[name](samples, real, fake) for name in names]


def measure_all(samples: Samples, real: np.ndarray, fake: np.ndarray) -> dict:
    """KID of all fakes against all reals (at most MOST each), its error over random halves, the permutation test."""
    real, fake = (
        (part if len(part) <= MOST else part[np.random.default_rng(0).permutation(len(part))[:MOST]]).astype(np.float64) for part in (real, fake)
    )
    value = kid(real, fake)
    p, null = kid_test(real, fake)
    error = subsample_error(kid_subsets(real, fake), 1, 2)
    floor = [kid(real[split.real], real[split.other]) for split in splits(len(real), len(real))]
    return samples.result(
        "kid",
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


def measure_subsets(samples: Samples, real: np.ndarray, fake: np.ndarray) -> dict:
    """The published protocol. Its error is that of all samples' KID, of which the subsets' spread is the delete-d jackknife."""
    size, few = min(PUBLISHED_SIZE, len(real), len(fake)), min(len(real), len(fake))
    values = published(real, fake, size=size)
    warnings = () if few >= PUBLISHED_SIZE else (f"{few} samples: the subsets are smaller than the published {PUBLISHED_SIZE}.",)
    if few < 2 * size:
        warnings += (f"Subsets of {size} of {few} samples overlap too much to give a standard error: draw {2 * size} or more, or use kid.",)
    return samples.result(
        "kid_subsets",
        values.mean(),
        float(subsample_error(values, size, few)) if few >= 2 * size else None,
        num_real=len(real),
        num_fake=len(fake),
        protocol={
            "kernel": "(x.y / d + 1)^3",
            "estimator": "unbiased",
            "subsets": SUBSETS,
            "size": size,
            "subset_seed": PUBLISHED_SEED,
            "value": "mean over the subsets",
            "error": "standard deviation over the subsets, times sqrt(size / (count - size)) (delete-d jackknife)",
        },
        reference={"perfect_sampler": {"value": 0.0, "standard_deviation": 0.0, "how": "unbiased: 0 on average whatever the counts"}},
        details={"standard_deviation_over_subsets": float(values.std())},
        warnings=warnings,
    )
