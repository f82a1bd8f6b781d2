"""Oracle: the paper's sums, written as loops."""

import math

import pytest
import torch

from agon.layers.minibatch import MinibatchDiscrimination


def test_equals_the_loops():
    torch.manual_seed(0)
    layer = MinibatchDiscrimination(6, 4, kernel_dim=3)
    layer.project.weight.data *= 5
    x = torch.randn(5, 6)
    found = layer(x)
    assert found.shape == (5, 10) and layer.out_features == 10 and torch.equal(found[:, :6], x)
    weight = layer.project.weight.detach().view(4, 3, 6)
    for i in range(5):
        for b in range(4):
            expected = 0.0
            for j in range(5):
                if j != i:
                    expected += math.exp(-sum(abs(float(weight[b, c] @ (x[i] - x[j]))) for c in range(3)))
            assert found[i, 6 + b].item() == pytest.approx(expected, abs=1e-5)


def test_equal_samples_are_as_close_as_can_be_and_a_lone_one_has_no_company():
    layer = MinibatchDiscrimination(3, 2)
    assert torch.equal(layer(torch.ones(7, 3))[:, 3:], torch.full((7, 2), 6.0))
    assert torch.equal(layer(torch.ones(1, 3))[:, 3:], torch.zeros(1, 2))


def test_the_order_of_the_batch_does_not_matter():
    layer, x, order = MinibatchDiscrimination(3, 2), torch.randn(6, 3), torch.randperm(6)
    torch.testing.assert_close(layer(x)[order], layer(x[order]))


def test_gradients_reach_the_samples_and_the_layer_says_that_it_couples_them():
    layer, x = MinibatchDiscrimination(3, 2).double(), torch.randn(4, 3, dtype=torch.float64)
    layer.project.weight.data.mul_(10)
    assert layer.couples_batch
    x.requires_grad_()
    layer(x)[0, 3:].sum().backward()
    assert x.grad.abs().sum(1).min() > 0  # the first sample's features depend on every sample
