"""FID by the published protocol: the Fréchet distance between all real and all fake features; ``fd``: the same in other features.

Heusel et al., 2017, "GANs Trained by a Two Time-Scale Update Rule ...", https://arxiv.org/abs/1706.08500: means and unbiased covariances of
Inception's last pooled features, |mu1 - mu2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) (frechet.py has the distance and how it is computed). In DINOv2 features:
Stein et al., 2023, "Exposing flaws of generative model evaluation metrics", https://arxiv.org/abs/2306.04675.

It is biased upwards by about c (1/M + 1/N): only numbers at equal counts can be compared, and published ones mostly have N = 50,000. With no more samples
than features the covariances are singular and the number says little but that; it is refused then.
"""

import numpy as np

from agon.errors import Unavailable
from agon.metrics.bootstrap import NUM_GROUPS, groups, jackknife_error, perfect, splits
from agon.metrics.frechet import LARGE, Gaussian
from agon.metrics.samples import Samples

METRICS = {
    "fid": "Fréchet Inception distance as published: all fakes against all reals (lower is better)",
    "fd": "The same distance in other features, DINOv2's unless another extractor is named (lower is better)",
}
KINDS = ("image",)
EXTRACTOR = {"fid": "inception", "fd": "dinov2"}
LAYERS = ("features",)

USUAL = 10_000  # samples below which numbers are not usually published


def fid(real: np.ndarray, fake: np.ndarray) -> tuple[float, float]:
    """(distance, standard error) of (M, F) and (N, F) features; M and N at least 2 * NUM_GROUPS. See ``distance_and_error``."""
    return distance_and_error(real, fake)


def distance_and_error(real: np.ndarray, fake: np.ndarray, number: int = NUM_GROUPS) -> tuple[float, float]:
    """The Fréchet distance of all to all, and its standard error by the jackknife: the g-th random tenth of both sides left out at once.

    Two passes over the features and four covariances in memory, however many groups there are.
    """
    whole = Gaussian(real), Gaussian(fake)
    value = whole[0].distance(whole[1])
    left_out = []
    for of_real, of_fake in zip(groups(len(real), number), groups(len(fake), number), strict=True):
        one = whole[0].without(Gaussian(real[of_real]))
        left_out.append(one.distance(whole[1].without(Gaussian(fake[of_fake]))))
    return value, float(jackknife_error(np.array(left_out)))


def perfect_sampler(real: np.ndarray, num_fake: int, count: int | None = None) -> dict:
    """What samples of the real distribution score against (M, F) reals: the distance between random halves, brought to the counts M and ``num_fake``; {}
    where a half has no more samples than features (the bias is then not of first order).

    By c (1/M + 1/N): the bias is so to first order (Chong and Forsyth, 2020), and a perfect sampler's distance is nothing but bias.
    """
    half = len(real) // 2
    if half <= real.shape[1]:
        return {}
    scale = (1 / len(real) + 1 / num_fake) / (2 / half)
    count = count or (20 if real.shape[1] <= LARGE else 3)
    values = [Gaussian(real[split.real]).distance(Gaussian(real[split.other])) * scale for split in splits(len(real), len(real), count=count)]
    return {"perfect_sampler": perfect(values, f"two halves of the real samples, times {scale:.4g} for the bias at these counts, which falls like 1/n")}


def require_rank(metric: str, real: np.ndarray, fake: np.ndarray, extractor: str, more: int = 1) -> None:
    """Raises Unavailable unless both sides have at least ``more`` samples more than there are features."""
    least = real.shape[1] + more
    if min(len(real), len(fake)) < least:
        raise Unavailable(
            "{metric} with {dimension} features is not defined well for {num_real} real and {num_fake} fake samples: the covariances are singular. "
            "Expected at least {least} of each: take more (-n {least}), or use --metrics kid_{extractor}, which fits any number.",
            metric=metric, dimension=real.shape[1], num_real=len(real), num_fake=len(fake), least=least, extractor=extractor,
        )  # fmt: skip


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """The distance of all fakes to all reals, under each of the asked names (they differ in their extractor alone)."""
    real, fake = samples.features("features")
    require_rank(names[0], real, fake, samples.extractor.name)
    return all_against_all(samples, names, *distance_and_error(real, fake), noun="samples", usual=USUAL, compared="all fakes against all reals")


def all_against_all(samples: Samples, names: list[str], value: float, error: float, *, noun: str, usual: int, compared: str) -> list[dict]:
    """The distance's entry under each name, with a warning below the ``usual`` number of ``noun``; a video's (agon/metrics/fvd.py) is one too."""
    real, fake = samples.features("features")
    reference = perfect_sampler(real, len(fake))
    few = min(len(real), len(fake))
    warnings = (f"{few} {noun}: the bias, about c (1/M + 1/N), is not small. Compare with numbers at the same counts only.",) if few < usual else ()
    protocol = {
        "covariance": "unbiased", "dimension": real.shape[1], "value": compared, "error": f"jackknife over {NUM_GROUPS} random groups of both sides",
    }  # fmt: skip
    return [
        samples.result(name, value, error, num_real=len(real), num_fake=len(fake), protocol=protocol, reference=reference, warnings=warnings)
        for name in names
    ]
