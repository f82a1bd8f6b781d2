"""One way for metrics that compare two sets: the value of all against all, its error and a perfect sampler's value from random halves."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from agon.errors import Unavailable
from agon.metrics.bootstrap import NUM_SPLITS, perfect, splits, subsample_error
from agon.metrics.samples import Samples

ERROR = "standard deviation over random halves (delete-half jackknife)"
FLOOR = "two halves of the reals, {} each; compare with details.halves, of the same counts"
FEWEST = 4  # halves of fewer are single samples

Score = Callable[[np.ndarray, np.ndarray, bool], Mapping[str, float]]


def compare(
    samples: Samples, names: list[str], num_real: int, num_fake: int, score: Score, *, protocol: Mapping[str, object],
    details: Mapping[str, dict] | None = None, count: int = NUM_SPLITS,
) -> list[dict]:  # fmt: skip
    """A result for each of ``names``.

    ``score(real, other, fake)``: values by name for rows ``real`` of the reals against rows ``other`` of the fakes (``fake`` true) or of the reals (false).
    The value is that of all reals against all fakes, as published; the error is the spread over ``count`` random halves (delete-half jackknife); the perfect
    sampler's value is that of one half of the reals against the other and belongs beside ``details.halves``, of the same counts.
    Raises Unavailable for fewer than 4 samples a side.
    """
    half = min(num_real, num_fake) // 2
    if min(num_real, num_fake) < FEWEST:
        raise Unavailable("{metric} needs {least} samples or more on each side, there are {real} real and {fake} fake. Give more.", metric=names[0],
                          least=FEWEST, real=num_real, fake=num_fake)
    whole = score(np.arange(num_real), np.arange(num_fake), True)
    halves, floor = [], []
    for split in splits(num_real, num_fake, count=count):
        halves.append(score(split.real, split.fake, True))
        floor.append(score(split.real, split.other, False))
    made = []
    for name in names:
        values = np.array([one[name] for one in halves])
        made.append(
            samples.result(
                name, whole[name], float(subsample_error(values, 1, 2)), num_real=num_real, num_fake=num_fake,
                protocol={**protocol, "value": "all reals against all fakes", "splits": count, "error": ERROR},
                reference={"perfect_sampler": perfect([one[name] for one in floor], FLOOR.format(half))},
                details={"halves": float(values.mean()), "compared_halves": half, **((details or {}).get(name, {}))},
            )
        )  # fmt: skip
    return made
