"""Authenticity: the fraction of fakes that are no copies, by the rule of Alaa et al., in features.

Alaa et al., 2022, "How Faithful is your Synthetic Data?", https://arxiv.org/abs/2102.08921, and the authors' code: a fake is authentic if its
nearest training sample lies nearer to another training sample than to the fake. A generator that repeats its training set scores 0, a perfect sampler by no
means 1: a fake is a "copy" wherever it and a training sample are each other's nearest, which for independent samples of one density happens with probability
2/3 on a line, 0.62 in the plane and towards 1/2 in many dimensions (Clark and Evans, 1955, Science 121, p. 397), less often among features of
varying density. So it is read against the perfect sampler's value beside. Fakes far from all data are authentic too: it says nothing of quality.
``near_copies`` asks the same of pixels with a fixed threshold.
"""

import numpy as np

from agon.metrics.bootstrap import bootstrap, perfect, share_error, splits
from agon.metrics.neighbours import distance_matrix, kth_nearest, nearest_index
from agon.metrics.samples import Samples

METRICS = {"authenticity": "Fraction of fakes farther from their nearest training sample than it is from its own (read it beside a perfect sampler's)"}
KINDS = ("*",)
EXTRACTOR = "data"
LAYERS = ("features",)

MOST = 4_000  # reals split in halves for the perfect sampler's value: their distances are held at once, 128 MB


def authentic(train: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """(N,) bool: which of the fakes (N, F) are farther from their nearest of ``train`` (M, F) than that is from its own nearest other. M at least 2.

    A fake at exactly that distance counts as a copy.
    """
    train, fake = np.asarray(train, np.float64), np.asarray(fake, np.float64)
    index, distance = nearest_index(fake, train)
    return distance > kth_nearest(train, 1)[index]


def perfect_rates(train: np.ndarray) -> list[float]:
    """What new real samples score: one half of ``train`` (M, F) as fakes against the other, for several splits."""
    distance = distance_matrix(np.asarray(train, np.float64))
    np.fill_diagonal(distance, np.inf)
    rates = []
    for split in splits(len(train), len(train)):
        among = distance[np.ix_(split.real, split.real)].min(axis=1)
        towards = distance[np.ix_(split.other, split.real)]
        nearest = towards.argmin(axis=1)
        rates.append(float((towards[np.arange(len(nearest)), nearest] > among[nearest]).mean()))
    return rates


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """All fakes against the whole training set; its error by the bootstrap over fakes."""
    train, (_, fake) = samples.training_features("features"), samples.features("features")
    found = authentic(train, fake).astype(np.float64)
    value = float(found.mean())
    few = train if len(train) <= MOST else train[np.sort(np.random.default_rng(0).permutation(len(train))[:MOST])]
    return [
        samples.result(
            "authenticity",
            value,
            max(bootstrap(lambda part: float(part.mean()), found), share_error(value, len(fake))),
            num_real=len(train),
            num_fake=len(fake),
            protocol={"distance": "Euclidean", "dimension": train.shape[1], "error": "bootstrap over fakes (the training set is taken as given)"},
            reference={"perfect_sampler": perfect(perfect_rates(few), f"one half of {len(few)} training samples against the other")},
            details={"copies": int(len(fake) - found.sum())},
        )
    ]
