"""The rectifier is torch's leaky ReLU in value, gradient and penalty, but hands no zeros back from its second derivative."""

import pytest
import torch
import torch.nn.functional as F

from agon.layers.rectifier import Rectifier, rectify


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_values_and_gradients_are_those_of_leaky_relu(slope):
    x = torch.cat([torch.randn(500, generator=torch.Generator().manual_seed(0)), torch.tensor([0.0, -0.0, 1e-30, -1e-30])])
    results = []
    for function in (rectify, F.leaky_relu):
        leaf = x.clone().requires_grad_()
        y = function(leaf, slope)
        results.append((y.detach(), torch.autograd.grad((y * torch.arange(len(x))).sum(), leaf)[0]))
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])
    half = x.bfloat16()
    assert torch.equal(rectify(half, slope), F.leaky_relu(half, slope))


def test_a_penalty_has_the_same_gradient_and_no_way_back_through_the_activations():
    torch.manual_seed(0)
    layers = [torch.nn.Linear(3, 8), torch.nn.Linear(8, 1)]
    found = {}
    for name, function in (("ours", Rectifier(0.2)), ("torch", torch.nn.LeakyReLU(0.2))):
        x = torch.randn(5, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
        y = layers[1](function(layers[0](x)))
        (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        weights = [layer.weight for layer in layers]
        found[name] = torch.autograd.grad(slope.square().sum(), [*weights, layers[0].bias], allow_unused=True)
    for ours, theirs in zip(found["ours"][:2], found["torch"][:2], strict=True):
        torch.testing.assert_close(ours, theirs)
    # the first bias moves the slope only through the second derivative: torch computes zeros for it, here there is no path
    assert found["ours"][2] is None and not found["torch"][2].any()
