"""A strided convolution of one pixel: the same output and, in bf16 on a CPU too, the right gradient (float32's)."""

import pytest
import torch
from torch import nn

from agon.layers.strided import strided


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("side", [1, 2, 5])
def test_output_is_the_convolutions(kernel, side):
    conv, x = nn.Conv2d(4, 6, kernel, 2, kernel // 2), torch.randn(3, 4, side, side)
    torch.testing.assert_close(strided(conv, x), conv(x))


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("kernel", [3, 5])
def test_gradient_in_bf16_is_that_of_float32(kernel, layout):
    torch.manual_seed(0)
    conv = nn.Conv2d(32, 32, kernel, 2, kernel // 2).to(memory_format=layout)
    for _ in range(10):
        waste = [torch.full((size,), float("nan")) for size in (500, 9216, 25600, 80000)]  # what the next blocks of memory hold
        del waste
        x = torch.rand(8, 32, 1, 1)
        conv.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            strided(conv, x).float().square().sum().backward()
        found = conv.weight.grad.clone()
        conv.zero_grad()
        conv(x).square().sum().backward()
        assert (found - conv.weight.grad).abs().max() <= 0.05 * conv.weight.grad.abs().max()
