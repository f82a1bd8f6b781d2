"""Modes of a known mixture: how many are covered, how many samples are of high quality, how evenly they are shared
(reverse KL).

Definitions of PacGAN (Lin et al., 2018, https://arxiv.org/abs/1712.04086, section 4.1) as in its authors' code: a
sample belongs to its nearest mode and is of high quality if it lies within 3 sigma of it (Euclidean); a mode is covered
if it has a high-quality sample; reverse KL is KL(shares of the high-quality samples || true shares of the modes),
natural logarithm. Without any high-quality sample it is put at its largest value, -log of the smallest true share. A
perfect sampler's values at the same number of samples stand beside: high quality 1 - exp(-9/2) = 98.9 % in the plane,
and a reverse KL of about (modes - 1) / (2 n).
"""

from dataclasses import dataclass

import numpy as np

from agon.errors import UserError
from agon.metrics.bootstrap import perfect, share_error
from agon.metrics.samples import Samples

METRICS = {
    "modes": "Modes of a known mixture that the samples reach (higher is better)",
    "high_quality": "Fraction of samples within 3 sigma of a mode (98.9 % is a perfect sampler's in the plane)",
    "reverse_kl": "Reverse KL divergence between the samples' shares of the modes and the true ones, in nats (lower is better)",
}
KINDS = ("points",)
EXTRACTOR = ""
LAYERS = ()
SIGMAS = 3.0
PERFECT_DRAWS = 200
RESAMPLES = 1_000


@dataclass(frozen=True)
class Mixture:
    """Isotropic Gaussians: ``centers`` (K, D), one ``sigma``, ``shares`` (K,) that sum to 1."""

    centers: np.ndarray
    sigma: float
    shares: np.ndarray

    def sample(self, count: int, random: np.random.Generator) -> np.ndarray:
        """(count, D): the perfect sampler."""
        mode = random.choice(len(self.centers), count, p=self.shares)
        return self.centers[mode] + self.sigma * random.standard_normal((count, self.centers.shape[1]))


def histogram(points: np.ndarray, mixture: Mixture) -> np.ndarray:
    """(N, D) points -> (K + 1,) counts: high-quality samples by mode, then all others."""
    distance = np.stack([((points - center) ** 2).sum(axis=1) for center in mixture.centers], axis=1)
    mode = distance.argmin(axis=1)
    good = distance.min(axis=1) < (SIGMAS * mixture.sigma) ** 2
    return np.bincount(np.where(good, mode, len(mixture.centers)), minlength=len(mixture.centers) + 1)


def scores(counts: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """(..., K + 1) counts -> (..., 3): modes covered, high-quality fraction, reverse KL in nats."""
    good, total = counts[..., :-1].astype(np.float64), counts.sum(axis=-1)
    number = good.sum(axis=-1, keepdims=True)
    p = np.divide(good, number, out=np.zeros_like(good), where=number > 0)
    terms = np.where(p > 0, p * (np.log(np.where(p > 0, p, 1)) - np.log(shares)), 0.0)
    divergence = np.where(number[..., 0] > 0, terms.sum(axis=-1), -np.log(shares.min()))
    return np.stack(
        [(good > 0).sum(axis=-1).astype(np.float64), number[..., 0] / total, np.maximum(divergence, 0)], axis=-1
    )


def mixture_of(source: object) -> Mixture | None:
    """The mixture a data set declares by ``centers`` (K, D) and ``sigma`` (equal shares unless it has ``shares``), or
    None.
    """
    centers, sigma = getattr(source, "centers", None), getattr(source, "sigma", None)
    if centers is None or sigma is None:
        return None
    centers = np.asarray(centers, np.float64)
    shares = getattr(source, "shares", None)
    shares = np.full(len(centers), 1 / len(centers)) if shares is None else np.asarray(shares, np.float64)
    return Mixture(centers, float(sigma), shares)


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """The asked ones of the three; errors by bootstrap, that is, by multinomial draws of the histogram."""
    mixture = mixture_of(samples.source)
    if mixture is None:
        raise UserError(
            "The metric '{metric}' needs data with known modes, and '{data}' has none. Use it with toy:ring8 or "
            "toy:grid25.",
            metric=names[0],
            data=samples.name,
        )
    random = np.random.default_rng(4)
    counts = sum(histogram(points.double().numpy(), mixture) for _, points in samples.fake.chunks())
    count = int(counts.sum())
    values = scores(counts, mixture.shares)
    errors = scores(random.multinomial(count, counts / count, size=RESAMPLES), mixture.shares).std(axis=0, ddof=1)
    errors[1] = share_error(values[1], count)
    floor = np.array(
        [scores(histogram(mixture.sample(count, random), mixture), mixture.shares) for _ in range(PERFECT_DRAWS)]
    )
    how = f"{PERFECT_DRAWS} draws of as many samples from the true mixture"
    return [
        samples.result(
            name,
            values[column],
            errors[column],
            num_real=0,
            num_fake=count,
            protocol={
                "num_modes": len(mixture.centers),
                "sigma": mixture.sigma,
                "within_sigmas": SIGMAS,
                "logarithm": "natural",
                "real": "the true mixture, not samples of it",
                "error": "binomial" if name == "high_quality" else f"bootstrap over the samples, {RESAMPLES} resamples",
            },
            reference={"perfect_sampler": perfect(floor[:, column], how)},
            details={"samples_by_mode": counts[:-1].tolist(), "outside": int(counts[-1])},
        )
        for column, name in enumerate(METRICS)
        if name in names
    ]
