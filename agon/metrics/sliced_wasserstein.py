"""Sliced Wasserstein distance: the Wasserstein-1 distance of one-dimensional projections, averaged over random
directions.

Rabin et al., 2012, https://doi.org/10.1007/978-3-642-24785-9_37; with exponent 1, as Karras et al., 2018 (ProGAN) use
it. On points the unit is the data's; on pixels (``pixel_sliced_wasserstein``) it is a fallback where no feature
extractor fits: it sees colours and layout, hardly sharpness. The directions are fixed, so numbers can be compared; the
distance between two real halves at the same counts stands beside.
"""

import numpy as np

from agon.errors import UserError
from agon.metrics.bootstrap import NUM_SPLITS, perfect, splits, subsample_error
from agon.metrics.samples import Samples

NAME = "sliced_wasserstein"
NAMES = ("sliced_wasserstein", "pixel_sliced_wasserstein")
DIRECTIONS = 128


def directions(dimension: int, count: int = DIRECTIONS) -> np.ndarray:
    """(dimension, count) unit vectors, uniform on the sphere, always the same."""
    normal = np.random.default_rng(20_180_207).standard_normal((dimension, count))
    return normal / np.linalg.norm(normal, axis=0)


def sliced_wasserstein(x: np.ndarray, y: np.ndarray, along: np.ndarray | None = None) -> float:
    """Distance between two samples (N, D) of one size, over the columns of ``along`` (D, S), unit vectors."""
    if x.shape != y.shape:
        raise UserError(
            "The sliced Wasserstein distance compares samples of one size, these are {first} and {second}. Take as "
            "many of each.",
            first=x.shape,
            second=y.shape,
        )
    along = directions(x.shape[1]) if along is None else along
    return float(np.abs(np.sort(x @ along, axis=0) - np.sort(y @ along, axis=0)).mean())


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """Distance at half counts: mean over random splits; error by the delete-half jackknife."""
    own = NAMES[samples.source.spec.kind == "image"]
    if names != [own]:
        raise UserError(
            "The metric '{metric}' is not for the data set '{data}'. Use '{own}'.",
            metric=next(name for name in names if name != own),
            data=samples.source.name,
            own=own,
        )
    along = directions(samples.vectors[0].shape[1])
    # Sorting needs no more than the projections, and a half's projections are half of the projections.
    real, fake = (part.astype(np.float64) @ along for part in samples.vectors)
    values, floor = [], []
    for split in splits(len(real), len(fake)):
        sorted_real = np.sort(real[split.real], axis=0)
        values.append(np.abs(sorted_real - np.sort(fake[split.fake], axis=0)).mean())
        floor.append(np.abs(sorted_real - np.sort(real[split.other], axis=0)).mean())
    half = min(len(real), len(fake)) // 2
    return [
        samples.result(
            own,
            np.mean(values),
            subsample_error(np.array(values), 1, 2),
            num_real=len(real),
            num_fake=len(fake),
            protocol={
                "directions": DIRECTIONS,
                "exponent": 1,
                "dimension": len(along),
                "splits": NUM_SPLITS,
                "compared_real": half,
                "compared_fake": half,
                "value": "mean over random splits of the distance between half of the reals and half of the fakes",
                "error": "standard deviation over the splits (delete-half jackknife)",
            },
            reference={"perfect_sampler": perfect(floor, "two disjoint halves of the real samples, same counts")},
        )
    ]
