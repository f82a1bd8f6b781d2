"""Oracles: numpy in float64, and the kernel that random features stand for (Rahimi & Recht 2007, theorem 1)."""

import numpy as np
import pytest
import torch

from agon.layers.fourier import FourierFeatures


def test_equals_numpy():
    torch.manual_seed(0)
    layer, x = FourierFeatures(3, 5, 2.0), torch.randn(7, 3)
    phase = 2 * np.pi * x.double().numpy() @ layer.frequencies.double().numpy()
    expected = np.concatenate([x.numpy(), np.sin(phase), np.cos(phase)], 1)
    found = layer(x)
    assert found.shape == (7, 13) and layer.out_features == 13
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-5)


def test_products_of_features_approach_the_gaussian_kernel():
    """E cos(2 pi w.(x - y)) = exp(-2 pi^2 scale^2 |x - y|^2) for w ~ N(0, scale^2)."""
    torch.manual_seed(1)
    scale, many = 0.3, 40_000
    layer, x, y = FourierFeatures(2, many, scale), torch.randn(10, 2) / 2, torch.randn(10, 2) / 2
    found = (layer(x)[:, 2:] * layer(y)[:, 2:]).sum(1) / many
    expected = torch.exp(-2 * np.pi**2 * scale**2 * (x - y).square().sum(1))
    assert expected.min() < 0.5 < expected.max()
    torch.testing.assert_close(found, expected, atol=5 / many**0.5, rtol=0)


def test_frequencies_are_fixed_and_travel_with_the_weights():
    layer = FourierFeatures(2, 4, 1.0)
    other = FourierFeatures(2, 4, 1.0)
    assert not list(layer.parameters()) and not torch.equal(layer.frequencies, other.frequencies)
    other.load_state_dict(layer.state_dict())
    x = torch.randn(3, 2)
    assert torch.equal(layer(x), other(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_angles_keep_their_precision_under_autocast(dtype):
    torch.manual_seed(2)
    layer, x = FourierFeatures(2, 16, 4.0), 4 * torch.randn(20, 2)
    with torch.autocast("cpu", dtype=dtype):
        assert torch.equal(layer(x), layer.forward(x))
        inside = layer(x)
    assert torch.equal(inside, layer(x))
