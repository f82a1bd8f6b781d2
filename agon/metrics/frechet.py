"""Fréchet distance between Gaussians fitted to real and fake features.

|mu1 - mu2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)): Dowson and Landau, 1982, "The Fréchet distance between multivariate
normal distributions", https://doi.org/10.1016/0047-259X(82)90077-X, equation 4; as a measure of generators: Heusel et
al., 2017, https://arxiv.org/abs/1706.08500. Covariances are unbiased (divided by n - 1), as in the TTUR authors' code.
Unlike theirs the trace of the root is found from the symmetric S1^(1/2) S2 S1^(1/2) by ``eigvalsh``: always real,
defined for any rank, and much faster than ``sqrtm``.

The number is biased upwards by a term ~ 1/n. It is therefore measured on random halves (half of the fakes against half
of the reals), and beside it stands the distance between the two halves of the reals at the same counts: what a perfect
sampler would score.
"""

import numpy as np

from agon.errors import UserError
from agon.metrics.bootstrap import perfect, splits, subsample_error
from agon.metrics.samples import Samples

NAME = "frechet"
SPLITS = 100  # the halves' distance has a long tail: the mean of 20 splits still moves by 5 %


class Gaussian:
    """Streaming mean and covariance of features in float64 (Chan, Golub and LeVeque's pairwise update: no
    cancellation).
    """

    def __init__(self, features: np.ndarray | None = None) -> None:
        self.count = 0
        self.mean = np.zeros(0)
        self.scatter = np.zeros((0, 0))
        if features is not None:
            self.update(features)

    def update(self, features: np.ndarray) -> None:
        """Add (N, F) features. Raises UserError for values that are not finite."""
        features = np.asarray(features, np.float64)
        if not np.isfinite(features).all():
            raise UserError(
                "Features contain values that are not finite (NaN or infinity). Expected finite numbers: check the "
                "samples and the extractor."
            )
        if not len(features):
            return
        mean = features.mean(axis=0)
        centred = features - mean
        self._add(len(features), mean, centred.T @ centred)

    def merge(self, other: "Gaussian") -> None:
        """Add the statistics of another stream, for instance of another rank."""
        if other.count:
            self._add(other.count, other.mean, other.scatter)

    def _add(self, count: int, mean: np.ndarray, scatter: np.ndarray) -> None:
        if not self.count:
            self.count, self.mean, self.scatter = count, mean, scatter
            return
        total = self.count + count
        step = mean - self.mean
        self.scatter = self.scatter + scatter + np.outer(step, step) * (self.count * count / total)
        self.mean = self.mean + step * (count / total)
        self.count = total

    @property
    def covariance(self) -> np.ndarray:
        """(F, F), divided by n - 1. Raises UserError for fewer than two samples."""
        if self.count < 2:
            raise UserError("A covariance needs at least 2 samples, there are {count}. Draw more.", count=self.count)
        return self.scatter / (self.count - 1)


def frechet_distance(mu1: np.ndarray, s1: np.ndarray, mu2: np.ndarray, s2: np.ndarray) -> float:
    """Squared Fréchet (2-Wasserstein) distance between N(mu1, s1) and N(mu2, s2): (F,), (F, F) each. Never complex,
    never negative.
    """
    mu1, s1, mu2, s2 = (np.asarray(part, np.float64) for part in (mu1, s1, mu2, s2))
    if mu1.shape != mu2.shape or s1.shape != s2.shape or s1.shape != (*mu1.shape, *mu1.shape):
        raise UserError(
            "The statistics do not fit together: means {mean1} and {mean2}, covariances {covariance1} and "
            "{covariance2}. Expected (F,) and (F, F), of one extractor.",
            mean1=mu1.shape,
            mean2=mu2.shape,
            covariance1=s1.shape,
            covariance2=s2.shape,
        )
    values, vectors = np.linalg.eigh((s1 + s1.T) / 2)
    # s1 = V W V^T, so s1^(1/2) s2 s1^(1/2) has the eigenvalues of W^(1/2) V^T s2 V W^(1/2): one product less.
    root = vectors * np.sqrt(values.clip(min=0))
    middle = root.T @ ((s2 + s2.T) / 2) @ root
    trace_root = np.sqrt(np.linalg.eigvalsh((middle + middle.T) / 2).clip(min=0)).sum()
    difference = mu1 - mu2
    return max(0.0, float(difference @ difference + np.trace(s1) + np.trace(s2) - 2 * trace_root))


def frechet(real: np.ndarray, fake: np.ndarray) -> float:
    """The distance between (M, F) and (N, F) features."""
    one, two = Gaussian(real), Gaussian(fake)
    return frechet_distance(one.mean, one.covariance, two.mean, two.covariance)


def rank_warning(count: int, dimension: int) -> tuple[str, ...]:
    """A sentence where there are too few samples for a covariance of full rank, else nothing."""
    if count > dimension:
        return ()
    return (
        f"{count} samples give a covariance of rank {count - 1} in {dimension} dimensions: "
        f"the distance is defined but strongly biased; draw more than {dimension}.",
    )


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """Fréchet distance at half counts: mean over random splits; its error by the delete-half jackknife."""
    samples.require_extractor(NAME)
    real, fake = samples.features
    values, floor = [], []
    for split in splits(len(real), len(fake), count=SPLITS):
        values.append(frechet(real[split.real], fake[split.fake]))
        floor.append(frechet(real[split.real], real[split.other]))
    half = min(len(real), len(fake)) // 2
    return [
        samples.result(
            NAME,
            np.mean(values),
            subsample_error(np.array(values), 1, 2),
            num_real=len(real),
            num_fake=len(fake),
            protocol={
                "covariance": "unbiased",
                "splits": SPLITS,
                "compared_real": half,
                "compared_fake": half,
                "value": "mean over random splits of the distance between half of the reals and half of the fakes",
                "error": "standard deviation over the splits (delete-half jackknife)",
            },
            reference={"perfect_sampler": perfect(floor, "the two halves of the real samples, same splits and counts")},
            details={"all_against_all": frechet(real, fake)},
            warnings=rank_warning(half, real.shape[1]),
        )
    ]
