"""Near-copies: the fraction of fakes that lie nearer to a training sample than real samples lie to each other.

The threshold is the 1 % quantile of the distances from each training sample to its nearest other one (Euclidean, in
pixels or data units). A perfect sampler's new samples lie below it about 1 % of the time, by construction; a generator
that repeats its training set, always. The alternative of Alaa et al., 2022, https://arxiv.org/abs/2102.08921 (compare
with the neighbour's own neighbour) gives a perfect sampler about 50 % and so cannot be read without its reference. What
this number cannot see: copies that are shifted, mirrored or recoloured, and that a smooth sample without the data's
noise is nearer to everything (a little above 1 % is not yet copying).
"""

import numpy as np

from agon.metrics.bootstrap import bootstrap, perfect, share_error, splits
from agon.metrics.neighbours import distance_matrix, kth_nearest, nearest
from agon.metrics.samples import Samples
from agon.metrics.sides import choose

METRICS = {"near_copies": "Fraction of fakes nearer to a training sample than 99 % of the reals are (1 % is a perfect sampler's)"}
KINDS = ("image", "points")
EXTRACTOR = "thumbnail"
LAYERS = ("features",)
QUANTILE = 0.01
MEMORISER = 0.5  # how far from its original a copy of the memoriser beside lies, in thresholds
ROWS = 4_000  # training samples whose nearest neighbour sets the threshold, where there are more
HELD_OUT = 3_000  # real samples split in halves for the perfect sampler's value


def copy_threshold(train: np.ndarray, quantile: float = QUANTILE) -> float:
    """The distance below which a sample counts as a copy: (M, D) training samples -> data units."""
    return float(np.quantile(kth_nearest(train, 1), quantile))


def near_copies(train: np.ndarray, fake: np.ndarray, quantile: float = QUANTILE) -> float:
    """Fraction of ``fake`` (N, D) within ``copy_threshold(train)`` of a sample of ``train`` (M, D)."""
    return float((nearest(fake, train) <= copy_threshold(train, quantile)).mean())


def held_out_rate(train: np.ndarray, quantile: float = QUANTILE) -> list[float]:
    """What a perfect sampler scores: one half of the real samples against the other half, for several splits."""
    distance = distance_matrix(train)
    np.fill_diagonal(distance, np.inf)
    rates = []
    for split in splits(len(train), len(train)):
        among = distance[np.ix_(split.real, split.real)].min(axis=1)
        towards = distance[np.ix_(split.other, split.real)].min(axis=1)
        rates.append(float((towards <= np.quantile(among, quantile)).mean()))
    return rates


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """All fakes against the whole training set; error by bootstrap over fakes and over the distances behind the
    threshold.
    """
    train, fake = samples.training_features(), samples.features()[1]
    rows = choose(len(train), ROWS)
    among, towards = kth_nearest(train, 1, rows), nearest(fake, train)
    threshold = np.quantile(among, QUANTILE)
    value = float((towards <= threshold).mean())
    error = bootstrap(lambda real, new: float((new <= np.quantile(real, QUANTILE)).mean()), among, towards)
    noise = np.random.default_rng(3).standard_normal((len(rows), train.shape[1]))
    noise *= MEMORISER * threshold / np.linalg.norm(noise, axis=1, keepdims=True)
    copies = train[rows] + noise.astype(train.dtype)
    few = train[choose(len(train), HELD_OUT)]
    return [
        samples.result(
            "near_copies",
            value,
            max(error, share_error(value, len(fake))),
            num_real=len(train),
            num_fake=len(fake),
            protocol={
                "distance": "Euclidean",
                "dimension": train.shape[1],
                "threshold": float(threshold),
                "quantile": QUANTILE,
                "threshold_from": len(rows),
                "error": "bootstrap over fakes and over the real distances that set the threshold",
            },
            reference={
                "perfect_sampler": perfect(held_out_rate(few), "one half of the real samples against the other half"),
                "memoriser": {
                    "value": float((nearest(copies, train) <= threshold).mean()),
                    "how": f"training samples moved by {MEMORISER} of the threshold in a random direction",
                },
            },
            details={
                "median_distance_to_nearest_real": float(np.median(towards)),
                "median_distance_among_reals": float(np.median(among)),
            },
            warnings=duplicates_warning(among, threshold),
        )
    ]


def duplicates_warning(among: np.ndarray, threshold: float) -> tuple[str, ...]:
    """A sentence where the training set's own duplicates set the threshold, else nothing."""
    if threshold > 1e-3 * np.median(among):
        return ()
    return ("1 % or more of the training samples are duplicates of others, so only exact copies are counted.",)
