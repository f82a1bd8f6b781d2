"""Oracles: the distributions' moments and bounds, and W W' = 1."""

import math

import pytest
import torch
from torch import nn

from agon.layers.init import initialise
from agon.layers.spectral import spectral_normalise


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(200, 300), nn.Conv2d(30, 40, 3), nn.ConvTranspose2d(30, 20, 4), nn.BatchNorm2d(500), nn.BatchNorm1d(500, affine=False), nn.Embedding(40, 60),
        nn.Conv2d(3, 4, 1, bias=False),
    )  # fmt: skip


def test_default_changes_nothing():
    net = network()
    before = [p.clone() for p in net.parameters()]
    initialise(net, "default")
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_normal():
    net = network()
    initialise(net, "normal")
    for layer in (net[0], net[1], net[2], net[5]):
        n = layer.weight.numel()
        assert abs(layer.weight.mean()) < 5 * 0.02 / math.sqrt(n)
        assert layer.weight.std().item() == pytest.approx(0.02, rel=5 / math.sqrt(2 * n))
    assert net[3].weight.mean().item() == pytest.approx(1, abs=5 * 0.02 / math.sqrt(500))
    assert net[3].weight.std().item() == pytest.approx(0.02, rel=0.15)
    assert all(not layer.bias.any() for layer in net[:4])


@pytest.mark.parametrize("layer", [nn.Linear(20, 30), nn.Linear(30, 20), nn.Conv2d(5, 8, 3), nn.Conv2d(3, 40, 2)])
def test_orthogonal(layer):
    initialise(layer, "orthogonal")
    matrix = layer.weight.detach().flatten(1)
    product = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    torch.testing.assert_close(product, torch.eye(len(product)), atol=1e-5, rtol=0)
    assert not layer.bias.any()


def test_xavier():
    net = network()
    initialise(net, "xavier")
    for layer, fan_in, fan_out in ((net[0], 200, 300), (net[1], 30 * 9, 40 * 9), (net[2], 20 * 16, 30 * 16)):
        bound = math.sqrt(6 / (fan_in + fan_out))
        assert layer.weight.abs().max() <= bound and layer.weight.abs().max() > 0.99 * bound
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
        assert not layer.bias.any()


def test_under_spectral_normalisation_the_weight_itself_is_drawn():
    layer = nn.Linear(300, 200)
    spectral_normalise(layer)
    initialise(layer, "normal")
    assert layer.parametrizations.weight.original.std().item() == pytest.approx(0.02, rel=0.02)


def test_he_keeps_the_size_of_signals_through_rectifiers():
    torch.manual_seed(0)
    net = nn.Sequential(*[layer for _ in range(8) for layer in (nn.Linear(512, 512), nn.ReLU())])
    initialise(net, "he")
    signal = torch.randn(256, 512)
    assert 0.5 < (net(signal).square().mean() / signal.square().mean()) < 2.0  # one rectifier halves the square, the next layer doubles it
    initialise(net, "xavier")
    assert net(signal).square().mean() / signal.square().mean() < 0.02  # the test sees the difference


@pytest.mark.parametrize("scheme", ["normal", "orthogonal", "xavier", "he"])
def test_a_norms_own_linear_layer_stays(scheme):
    net = network()
    net[0].part_of_norm = True
    before = net[0].weight.clone()
    initialise(net, scheme)
    assert torch.equal(net[0].weight, before) and not net[1].bias.any()


def test_an_unknown_scheme_is_refused():
    with pytest.raises(KeyError):
        initialise(network(), "kaiming")
