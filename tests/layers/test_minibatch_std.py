"""Oracle: numpy, one group after the other."""

import numpy as np
import pytest
import torch

from agon.layers.minibatch_std import MinibatchStd


def expected(x, group, features):
    n, channels = x.shape[:2]
    group = max(size for size in range(1, min(group, n) + 1) if n % size == 0)
    planes = np.empty((n, features, *x.shape[2:]))
    for first in range(n // group):
        members = [first + i * (n // group) for i in range(group)]
        deviation = np.sqrt(x[members].var(0) + 1e-8)
        for j, part in enumerate(np.split(deviation, features)):
            planes[members, j] = part.mean()
    return np.concatenate([x, planes], 1)


@pytest.mark.parametrize(("n", "group", "features"), [(8, 4, 1), (6, 4, 2), (5, 4, 1), (3, 8, 4), (1, 4, 1), (8, 1, 1)])
def test_equals_numpy(n, group, features):
    torch.manual_seed(0)
    layer, x = MinibatchStd(group, features).double(), torch.randn(n, 4, 2, 3).double()
    np.testing.assert_allclose(layer(x).numpy(), expected(x.numpy(), group, features), atol=1e-12)


def test_couples_the_batch_and_is_twice_differentiable():
    layer, x = MinibatchStd(2), torch.randn(4, 2, 2, 1, dtype=torch.float64, requires_grad=True)
    assert layer.couples_batch and torch.autograd.gradgradcheck(lambda t: layer(t)[:, 2:], x)


def test_small_deviations_survive_half_precision():
    torch.manual_seed(1)
    x = (3e-4 * torch.randn(4, 2, 4, 4)).half()  # their squares are below float16's smallest number
    found = MinibatchStd(4)(x)
    assert found.dtype == torch.float16
    np.testing.assert_allclose(found[:, 2].float().numpy(), expected(x.double().numpy(), 4, 1)[:, 2], rtol=2**-9)
