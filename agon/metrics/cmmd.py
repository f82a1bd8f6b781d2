"""CMMD: squared maximum mean discrepancy between CLIP embeddings under a wide Gaussian kernel.

Jayasumana et al., 2024, "Rethinking FID: Towards a Better Evaluation Metric for Image Generation", https://arxiv.org/abs/2401.09603. As in the authors' code
(google-research/cmmd): embeddings of CLIP ViT-L/14 at 336 pixels, normalised to length 1; kernel exp(-|x - y|^2 / (2 * 10^2)); the biased estimator (Gretton
et al., 2012, equation 5: the diagonals are in); times 1000. Theirs runs in float32; here the sums are in float64 and of kernel - 1, since values differ from
1 by 0.02 at most.

Unlike FID it assumes no Gaussian and needs few samples, but being biased it is above 0 for a perfect sampler, by (1 - mean kernel) (1/M + 1/N) exactly: that
stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agon.errors import Unavailable
from agon.metrics.bootstrap import NUM_SPLITS, perfect, splits, subsample_error
from agon.metrics.samples import Samples

METRICS = {"cmmd": "Kernel distance (MMD, wide Gaussian kernel) between CLIP embeddings, times 1000 (lower is better)"}
KINDS = ("image",)
EXTRACTOR = "clip-l14-336-cmmd"
LAYERS = ("features",)

SIGMA, SCALE = 10.0, 1000.0
BLOCK_VALUES = 1 << 22  # kernel values at a time: 32 MB
FEW = 8


@dataclass(frozen=True)
class Sums:
    """Sums of (kernel - 1) for each of K pairs of subsets: within x (diagonal included), within y, between; and the subsets' sizes. All (K,)."""

    within_x: np.ndarray
    within_y: np.ndarray
    between: np.ndarray
    m: np.ndarray
    n: np.ndarray

    def biased(self) -> np.ndarray:
        """Gretton's equation 5. The ones taken out of the kernel cancel: 1 + 1 - 2."""
        return self.within_x / self.m**2 + self.within_y / self.n**2 - 2 * self.between / (self.m * self.n)

    def unbiased(self) -> np.ndarray:
        """Gretton's equation 3: without the diagonals, on which kernel - 1 is 0."""
        return self.within_x / (self.m * (self.m - 1)) + self.within_y / (self.n * (self.n - 1)) - 2 * self.between / (self.m * self.n)


def cmmd(real: np.ndarray, fake: np.ndarray, *, sigma: float = SIGMA, scale: float = SCALE) -> float:
    """The published number from (M, D) and (N, D) embeddings of any length (they are normalised here). M, N >= 1."""
    real, fake = unit(real), unit(fake)
    ones = np.ones((len(real), 1)), np.ones((len(fake), 1))
    return float(scale * sums(real, fake, *ones, sigma=sigma).biased()[0])


def sums(x: np.ndarray, y: np.ndarray, chosen_x: np.ndarray, chosen_y: np.ndarray, *, sigma: float = SIGMA) -> Sums:
    """The kernel's sums for K pairs of subsets in one pass: ``chosen_x`` (M, K) and ``chosen_y`` (N, K) hold 1 where a sample belongs to the k-th subset,
    else 0."""
    within = [_sum(part, part, chosen, chosen, sigma) for part, chosen in ((x, chosen_x), (y, chosen_y))]
    return Sums(*within, _sum(x, y, chosen_x, chosen_y, sigma), chosen_x.sum(0), chosen_y.sum(0))


def unit(vectors: np.ndarray) -> np.ndarray:
    """(N, D) -> float64 rows of length 1; a row of zeros stays."""
    vectors = np.array(vectors, np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float64).tiny)


def _sum(x: np.ndarray, y: np.ndarray, chosen_x: np.ndarray, chosen_y: np.ndarray, sigma: float) -> np.ndarray:
    """(K,): sum over the k-th subsets' pairs of kernel - 1. Blocks of rows, so that memory is bounded; half of them where x is y."""
    total = np.zeros(chosen_x.shape[1])
    lengths = np.einsum("nd,nd->n", y, y)
    rows = max(1, BLOCK_VALUES // len(y))
    same = x is y and chosen_x is chosen_y
    for start in range(0, len(x), rows):
        part, first = x[start : start + rows], start if same else 0
        block = part @ y[first:].T
        block *= -2
        block += lengths[first:]
        block += np.einsum("nd,nd->n", part, part)[:, None]
        np.maximum(block, 0, out=block)  # rounding can make a distance negative
        block /= -2 * sigma**2
        np.expm1(block, out=block)
        if same:  # the blocks left of the diagonal are the mirror of those above it
            block[:, len(part) :] *= 2
            np.fill_diagonal(block, 0)
        total += (chosen_x[start : start + rows] * (block @ chosen_y[first:])).sum(0)
    return total


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """CMMD of all reals and fakes; its error from random halves; what a perfect sampler scores at these counts."""
    real, fake = samples.features("features")
    if min(len(real), len(fake)) < FEW:
        raise Unavailable("CMMD has no standard error with {num_real} real and {num_fake} fake samples. Expected at least {few} of each: draw more "
                          "(--samples 1000).", num_real=len(real), num_fake=len(fake), few=FEW)
    real, fake = unit(real), unit(fake)
    m, n = len(real), len(fake)
    found, floor = halves(real, fake)
    offset = -found.within_x[0] / (m * (m - 1)) * (1 / m + 1 / n)
    half = int(found.m[1])
    return [samples.result(
        "cmmd", SCALE * found.biased()[0], float(SCALE * subsample_error(found.unbiased()[1:], half, min(m, n))), num_real=m, num_fake=n,
        protocol={"kernel": f"gaussian, sigma {SIGMA:g}", "scale": SCALE, "estimator": "biased (V-statistic)", "normalised": True, "splits": NUM_SPLITS,
                  "error": "standard deviation over random halves (delete-half jackknife)"},
        reference={"perfect_sampler": perfect(SCALE * (floor + offset), "the reals' two halves, unbiased, plus the estimator's bias at these counts")},
        details={"unbiased": float(SCALE * found.unbiased()[0]), "bias": float(SCALE * offset)},
    )]  # fmt: skip


def _marks(indices: list[np.ndarray], count: int) -> np.ndarray:
    """K index arrays -> (count, K) of 0 and 1."""
    marks = np.zeros((count, len(indices)))
    for column, chosen in enumerate(indices):
        marks[chosen, column] = 1
    return marks


def halves(real: np.ndarray, fake: np.ndarray) -> tuple[Sums, np.ndarray]:
    """(sums, floor) for rows of length 1: the sums of all against all and then of each split's halves (1 + K); between the reals' two halves, the unbiased
    value (K,)."""
    drawn = list(splits(len(real), len(fake)))
    one, other = (_marks([getattr(split, side) for split in drawn], len(real)) for side in ("real", "other"))
    fakes = np.concatenate([np.ones((len(fake), 1)), _marks([split.fake for split in drawn], len(fake))], axis=1)
    reals = np.concatenate([np.ones((len(real), 1)), one], axis=1)
    every = np.concatenate([reals, other, one + other], axis=1)
    within, within_one, within_other, within_both = np.split(_sum(real, real, every, every, SIGMA), [1, 1 + len(drawn), 1 + 2 * len(drawn)])
    found = Sums(np.concatenate([within, within_one]), _sum(fake, fake, fakes, fakes, SIGMA), _sum(real, fake, reals, fakes, SIGMA), reals.sum(0), fakes.sum(0))
    size = one.sum(0)
    between = (within_both - within_one - within_other) / 2
    return found, Sums(within_one, within_other, between, size, size).unbiased()
