"""Oracles: the definition with an explicit weight, the statistics of the initial weights."""

import math

import pytest
import torch
import torch.nn.functional as F

from agon.layers.equalized import EqualizedConv2d, EqualizedLinear


def test_linear_is_the_weight_times_its_scale():
    torch.manual_seed(0)
    layer = EqualizedLinear(6, 5, bias_init=1.5, lr_multiplier=0.01, gain=math.sqrt(2)).double()
    x = torch.randn(3, 2, 6).double()
    expected = x @ (layer.weight * (0.01 * math.sqrt(2) / math.sqrt(6))).T + 0.01 * 1.5
    torch.testing.assert_close(layer(x), expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(layer(x, 3.0), 3 * expected, atol=1e-12, rtol=0)


def test_linear_without_bias():
    layer = EqualizedLinear(4, 4, bias=False)
    assert [name for name, _ in layer.named_parameters()] == ["weight"] and not layer(torch.zeros(1, 4)).any()


@pytest.mark.parametrize("kernel", [1, 3])
def test_convolution_is_the_weight_times_its_scale(kernel):
    torch.manual_seed(1)
    layer = EqualizedConv2d(4, 5, kernel, gain=2.0).double()
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 4, 6, 7).double()
    expected = F.conv2d(x, layer.weight * (2 / math.sqrt(4 * kernel**2)), layer.bias, padding=kernel // 2)
    torch.testing.assert_close(layer(x), expected, atol=1e-12, rtol=0)


def test_outputs_have_unit_variance_at_the_start_and_weights_the_multiplier():
    torch.manual_seed(2)
    linear, conv = EqualizedLinear(300, 400, lr_multiplier=0.01), EqualizedConv2d(30, 40, 3)
    assert linear.weight.std().item() == pytest.approx(100, rel=0.02) and conv.weight.std().item() == pytest.approx(1, rel=0.03)
    assert linear(torch.randn(200, 300)).std().item() == pytest.approx(1, rel=0.03)
    assert conv(torch.randn(8, 30, 12, 12))[:, :, 1:-1, 1:-1].std().item() == pytest.approx(1, rel=0.05)
