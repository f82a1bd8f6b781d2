"""Samplers whose quality is known, on the real digits."""

import numpy as np
import pytest
import torch

from agon.data import open_dataset
from agon.metrics.features.digits import shipped


@pytest.fixture(scope="session")
def digits():
    return open_dataset("digits")


@pytest.fixture(scope="session")
def everything(digits):
    """The whole data set as one batch."""
    return digits.read(np.arange(len(digits)))


@pytest.fixture(scope="session")
def digit_features(everything):
    """(1797, 64) float64 features of the real digits."""
    return shipped().run(everything.real)["features"].double().numpy()


@pytest.fixture(scope="session")
def memoriser(everything):
    """A generator that repeats its training set, of the class asked for."""

    def draw(n, *, seed, label=None):
        generator = torch.Generator().manual_seed(seed)
        if label is None:
            return everything.real[torch.randint(0, len(everything), (n,), generator=generator)]
        pools = [torch.nonzero(everything.label == one).flatten() for one in range(10)]
        return torch.stack(
            [
                everything.real[pools[one][torch.randint(0, len(pools[one]), (1,), generator=generator)[0]]]
                for one in label.tolist()
            ]
        )

    return draw
