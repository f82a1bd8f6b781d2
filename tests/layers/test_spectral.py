"""Oracle: LAPACK's singular values of the weight that the layer really uses."""

import pytest
import torch
from torch import nn

from agon.errors import UserError
from agon.layers.spectral import iterate, spectral_normalise


def largest(matrix):
    return torch.linalg.svdvals(matrix.detach().double()).max().item()


def as_matrix(layer):
    weight = layer.weight
    return (weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight).flatten(1)


@pytest.mark.parametrize(
    "layer", [nn.Linear(12, 7), nn.Conv2d(4, 6, 3), nn.ConvTranspose2d(4, 6, 4, 2), nn.Conv2d(8, 8, 3, groups=4)], ids=lambda layer: type(layer).__name__
)
def test_after_enough_iterations_the_largest_singular_value_is_one(layer):
    torch.manual_seed(0)
    layer.weight.data *= 7
    plain = as_matrix(layer).detach().clone()
    spectral_normalise(layer)
    for _ in range(200):
        iterate(layer)
    assert largest(as_matrix(layer)) == pytest.approx(1, rel=1e-4)
    torch.testing.assert_close(as_matrix(layer).detach() * largest(plain), plain, rtol=1e-3, atol=1e-5)


def test_one_iteration_is_algorithm_1():
    layer = nn.Linear(12, 7)
    spectral_normalise(layer)
    _, right = (b.clone().double() for b in layer.buffers())
    layer.parametrizations.weight.original.data.add_(0.1 * torch.randn(7, 12))
    weight = layer.parametrizations.weight.original.detach().double()
    iterate(layer)
    left = weight @ right
    right = weight.T @ (left / left.norm())
    for mine, theirs in zip(layer.buffers(), (left, right), strict=True):
        torch.testing.assert_close(mine, (theirs / theirs.norm()).float())
    torch.testing.assert_close(layer.weight * right.norm().float(), weight.float())


def test_a_pass_changes_nothing_whatever_the_mode():
    layer = nn.Linear(12, 7)
    spectral_normalise(layer)
    first, vectors = layer.weight.detach().clone(), [b.clone() for b in layer.buffers()]
    layer.train()(torch.randn(2, 12))
    assert torch.equal(layer.weight, first)
    assert vectors and all(torch.equal(a, b) for a, b in zip(vectors, layer.buffers(), strict=True))


def test_every_weight_of_a_network_is_divided_and_norms_are_not():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Sequential(nn.ReLU(), nn.Conv2d(8, 8, 3)), nn.Flatten(), nn.Linear(8 * 16, 5))
    net.append(nn.Linear(5, 5, bias=False))
    net[5].part_of_norm = True
    kept = net[5].weight.detach().clone()
    spectral_normalise(net)
    for _ in range(200):
        iterate(net)
    for layer in (net[0], net[2][1], net[4]):
        assert largest(as_matrix(layer)) == pytest.approx(1, rel=1e-3)
    assert torch.equal(net[5].weight, kept) and not hasattr(net[1], "parametrizations")


def test_the_singular_value_takes_part_in_the_gradient():
    """W / sigma(W) does not change when W is scaled: the gradient is at right angles to W."""
    layer = nn.Linear(6, 4, bias=False)
    spectral_normalise(layer)
    for _ in range(200):
        iterate(layer)
    layer(torch.randn(9, 6)).square().sum().backward()
    weight = layer.parametrizations.weight.original
    assert weight.grad.norm() > 0.1
    assert (weight.grad * weight).sum().abs() < 1e-4 * weight.grad.norm() * weight.norm()


def test_a_layer_of_zeros_is_refused_and_not_made_nan():
    layer = nn.Linear(3, 3)
    nn.init.zeros_(layer.weight)
    with pytest.raises(UserError, match="init"):
        spectral_normalise(nn.Sequential(layer))
