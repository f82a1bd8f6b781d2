"""Fréchet distance between Gaussians fitted to real and fake features.

|mu1 - mu2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)): Dowson and Landau, 1982, "The Fréchet distance between multivariate normal distributions",
https://doi.org/10.1016/0047-259X(82)90077-X, equation 4; as a measure of generators: Heusel et al., 2017, https://arxiv.org/abs/1706.08500. Covariances are
unbiased (divided by n - 1), as in the TTUR authors' code. Unlike theirs the trace of the root is found without a root: with S1 = L L^T the eigenvalues of S1
S2 are those of the symmetric L^T S2 L (one Cholesky factor, one ``eigvalsh``, no eigenvectors); where neither is positive definite, with S1's symmetric root
in place of L; with fewer samples than features, from the samples' own inner products. Always real, defined for any rank.

The number is biased upwards by a term ~ 1/n. ``frechet`` is therefore measured on random halves (half of the fakes against half of the reals), and beside it
stands the distance between the two halves of the reals at the same counts: what a perfect sampler would score. ``fid`` (fid.py) is the same distance by the
published protocol.
"""

import numpy as np

from agon.errors import UserError
from agon.metrics.bootstrap import perfect, splits, subsample_error
from agon.metrics.samples import Samples

METRICS = {"frechet": "Fréchet distance between Gaussians fitted to real and fake features, at half counts (lower is better)"}
KINDS = ("*",)
EXTRACTOR = "data"
LAYERS = ("features",)

SPLITS = 100  # the halves' distance has a long tail: the mean of 20 splits still moves by 5 %
LARGE = 256  # features, above which a split costs seconds ...
LARGE_SPLITS = 10  # ... and so many have to do
ROWS = 4096  # samples converted to float64 at a time


class Gaussian:
    """Streaming mean and covariance of features in float64 (Chan, Golub and LeVeque's pairwise update: no cancellation)."""

    def __init__(self, features: np.ndarray | None = None) -> None:
        self.count = 0
        self.mean = np.zeros(0)
        self.scatter = np.zeros((0, 0))
        if features is not None:
            self.update(features)

    def update(self, features: np.ndarray) -> None:
        """Add (N, F) features, ROWS at a time. Raises UserError for values that are not finite."""
        for start in range(0, len(features), ROWS):
            block = np.asarray(features[start : start + ROWS], np.float64)
            if not np.isfinite(block).all():
                raise UserError(
                    "Features contain values that are not finite (NaN or infinity). Expected finite numbers: check the samples and the extractor."
                )
            mean = block.mean(axis=0)
            centred = block - mean
            self._add(len(block), mean, centred.T @ centred)

    def merge(self, other: "Gaussian") -> None:
        """Add the statistics of another stream, for instance of another rank."""
        if other.count:
            self._add(other.count, other.mean, other.scatter)

    def without(self, part: "Gaussian") -> "Gaussian":
        """The statistics of all samples but those of ``part``, which must have been added before."""
        rest = Gaussian()
        rest.count = self.count - part.count
        rest.mean = (self.mean * self.count - part.mean * part.count) / rest.count
        step = part.mean - rest.mean
        rest.scatter = self.scatter - part.scatter - np.outer(step, step) * (rest.count * part.count / self.count)
        return rest

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

    def distance(self, other: "Gaussian") -> float:
        """``frechet_distance`` to another's statistics."""
        return frechet_distance(self.mean, self.covariance, other.mean, other.covariance)


def frechet_distance(mu1: np.ndarray, s1: np.ndarray, mu2: np.ndarray, s2: np.ndarray) -> float:
    """Squared Fréchet (2-Wasserstein) distance between N(mu1, s1) and N(mu2, s2): (F,), (F, F) each, symmetric up to rounding. Never complex, never
    negative."""
    mu1, s1, mu2, s2 = (np.asarray(part, np.float64) for part in (mu1, s1, mu2, s2))
    if mu1.shape != mu2.shape or s1.shape != s2.shape or s1.shape != (*mu1.shape, *mu1.shape):
        raise UserError(
            "The statistics do not fit together: means {mean1} and {mean2}, covariances {covariance1} and {covariance2}. "
            "Expected (F,) and (F, F), of one extractor.",
            mean1=mu1.shape, mean2=mu2.shape, covariance1=s1.shape, covariance2=s2.shape,
        )  # fmt: skip
    if not all(np.isfinite(part.sum()) for part in (mu1, s1, mu2, s2)):
        raise UserError("The statistics contain values that are not finite (NaN or infinity). Expected finite numbers: compute them again from the samples.")
    difference = mu1 - mu2
    return max(0.0, float(difference @ difference + np.trace(s1) + np.trace(s2) - 2 * trace_root(s1, s2)))


def trace_root(s1: np.ndarray, s2: np.ndarray) -> float:
    """tr (s1 s2)^(1/2) of two covariances (F, F), of any rank: the sum of the roots of the eigenvalues of s1 s2, which are >= 0 (rounding below 0 is cut
    off)."""
    if not len(s1):
        return 0.0
    values = _definite(s1, s2)
    if values is None:
        values = _definite(s2, s1)
    if values is None:
        size, vectors = np.linalg.eigh((s1 + s1.T) / 2)
        # s1 = V W V^T, so s1^(1/2) s2 s1^(1/2) has the eigenvalues of W^(1/2) V^T s2 V W^(1/2): one product less.
        root = vectors * np.sqrt(size.clip(min=0))
        middle = root.T @ ((s2 + s2.T) / 2) @ root
        values = np.linalg.eigvalsh((middle + middle.T) / 2)
    return float(np.sqrt(values.clip(min=0)).sum())


def _definite(s1: np.ndarray, s2: np.ndarray) -> np.ndarray | None:
    """Eigenvalues of s1 s2 through s1's Cholesky factor, None where s1 is not positive definite. One triangle of each counts.

    numpy does it in two full products and has a slow factorisation; where SciPy is installed, LAPACK's own routines for it take half of the time.
    """
    try:
        from scipy.linalg import lapack
    except ImportError:
        try:
            factor = np.linalg.cholesky(s1)
        except np.linalg.LinAlgError:
            return None
        return np.linalg.eigvalsh(factor.T @ (s2 @ factor), UPLO="L")
    # Transposed, rows are columns, as LAPACK stores them, and nothing is copied on the way in.
    factor, failed = lapack.dpotrf(s1.T, lower=1, clean=0)
    if failed:
        return None
    middle, _ = lapack.dsygst(s2.T, factor, itype=2, lower=1)
    _, diagonal, beside, _, failed = lapack.dsytrd(middle, lower=1, lwork=64 * len(s1), overwrite_a=1)
    values, failed_too = lapack.dsterf(diagonal, beside) if len(s1) > 1 else (diagonal, 0)
    return None if failed or failed_too else values


def frechet(real: np.ndarray, fake: np.ndarray) -> float:
    """The distance between (M, F) and (N, F) features. With no more samples than features the inner products of the fewer samples replace F x F roots:
    faster, and without the rounding noise of the eigenvalues that are 0."""
    one, two = Gaussian(real), Gaussian(fake)
    few, rest = (real, two) if one.count <= two.count else (fake, one)
    if not 2 <= len(few) <= real.shape[1]:
        return one.distance(two)
    centred = np.asarray(few, np.float64) - (one if rest is two else two).mean
    inner = centred @ rest.covariance @ centred.T / (len(few) - 1)
    root = np.sqrt(np.linalg.eigvalsh((inner + inner.T) / 2).clip(min=0)).sum()
    difference = one.mean - two.mean
    return max(0.0, float(difference @ difference + np.trace(one.covariance) + np.trace(two.covariance) - 2 * root))


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
    real, fake = samples.features("features")
    count = SPLITS if real.shape[1] <= LARGE else LARGE_SPLITS
    values, floor = [], []
    for split in splits(len(real), len(fake), count=count):
        first = real[split.real]
        values.append(frechet(first, fake[split.fake]))
        floor.append(frechet(first, real[split.other]))
    half = min(len(real), len(fake)) // 2
    return [
        samples.result(
            "frechet",
            np.mean(values),
            subsample_error(np.array(values), 1, 2),
            num_real=len(real),
            num_fake=len(fake),
            protocol={
                "covariance": "unbiased",
                "splits": count,
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
