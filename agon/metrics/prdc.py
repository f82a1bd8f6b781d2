"""Precision, recall, density and coverage: k-nearest-neighbour manifolds in features.

Precision and recall: Kynkaanniemi et al., 2019, https://arxiv.org/abs/1904.06991. Density and coverage: Naeem et al.,
2020, https://arxiv.org/abs/2002.09797, equations 2 and 3. k = 5 for all four, a sample is not its own neighbour, and
"inside" is strict (``<``), as in the prdc authors' code. For a perfect sampler with as many fakes as reals density is 1
and coverage 1 - 1/2^k = 0.969 on average (their lemma 2); precision and recall have no closed form: the real halves'
values stand beside them. All depend on the counts.
"""

import numpy as np

from agon.errors import UserError
from agon.metrics.bootstrap import NUM_SPLITS, perfect, splits, subsample_error
from agon.metrics.neighbours import distance_blocks, kth_nearest
from agon.metrics.samples import Samples

NAME = "prdc"
NAMES = ("precision", "recall", "density", "coverage")
K = 5
TIE = (
    1 - 1e-9
)  # squared distances within rounding of a radius count as on it, hence outside, whatever the block's shape


def prdc(real: np.ndarray, fake: np.ndarray, k: int = K) -> dict[str, float]:
    """The four numbers from (M, F) and (N, F) features. Raises UserError unless both have more than k samples."""
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    if not 1 <= k < min(len(real), len(fake)):
        raise UserError(
            "k = {k} neighbours cannot be found among {num_real} real and {num_fake} fake samples. Expected 1 <= k < "
            "both counts: draw more samples.",
            k=k,
            num_real=len(real),
            num_fake=len(fake),
        )
    radius_real, radius_fake = (kth_nearest(part, k) ** 2 * TIE for part in (real, fake))
    inside_real = np.zeros(len(fake))
    recalled, covered = [], []
    for start, block in distance_blocks(real, fake):
        own = radius_real[start : start + len(block), None]
        inside = block < own
        inside_real += inside.sum(axis=0)
        covered.append(inside.any(axis=1))
        recalled.append((block < radius_fake).any(axis=1))
    return {
        "precision": float((inside_real > 0).mean()),
        "recall": float(np.concatenate(recalled).mean()),
        "density": float(inside_real.mean() / k),
        "coverage": float(np.concatenate(covered).mean()),
    }


def expected_coverage(num_real: int, num_fake: int, k: int = K) -> float:
    """Coverage of a perfect sampler: 1 - prod_{i<k} (M - 1 - i) / (M + N - 1 - i), M reals and N fakes, whatever the
    distribution.

    A real stays uncovered when its k nearest among the other M - 1 reals and N fakes are all real (ties aside).
    """
    i = np.arange(k)
    return float(1 - np.prod((num_real - 1 - i) / (num_real + num_fake - 1 - i)))


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """The asked ones of the four at half counts, mean over random splits, with the real halves' beside."""
    samples.require_extractor(NAME)
    real, fake = samples.features
    values, floor = [], []
    for split in splits(len(real), len(fake)):
        values.append([prdc(real[split.real], fake[split.fake])[name] for name in NAMES])
        floor.append([prdc(real[split.real], real[split.other])[name] for name in NAMES])
    half = min(len(real), len(fake)) // 2
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
                        "splits": NUM_SPLITS,
                        "compared_real": half,
                        "compared_fake": half,
                        "value": "mean over random splits of half of the reals and half of the fakes",
                        "error": "standard deviation over the splits (delete-half jackknife)",
                    },
                    details={"all_against_all": whole[name]},
                )
            )
    return results
