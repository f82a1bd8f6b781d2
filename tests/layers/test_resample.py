"""Oracles: zero stuffing, scipy's two-dimensional convolution and slicing, plane by plane; gradients by finite differences."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.signal import convolve2d

from agon.layers.resample import conv_down, conv_up, downsample2d, filter2d, fir, upfirdn2d, upsample2d

CLOSE = {"atol": 1e-10, "rtol": 0}
ODD = (1.0, -2.0, 5.0)  # not symmetric


def upfirdn(x, kernel, up, down, padding, flip=False):
    """(H, W) by the definition."""
    height, width = x.shape
    stuffed = np.zeros((height * up, width * up))
    stuffed[::up, ::up] = x
    left, right, top, bottom = padding
    stuffed = np.pad(stuffed, ((max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0))))
    stuffed = stuffed[max(-top, 0) : stuffed.shape[0] - max(-bottom, 0), max(-left, 0) : stuffed.shape[1] - max(-right, 0)]
    return convolve2d(stuffed, kernel[::-1, ::-1] if flip else kernel, mode="valid")[::down, ::down]


def planes(x, *args):
    return torch.from_numpy(np.stack([[upfirdn(plane, *args) for plane in sample] for sample in x.detach().numpy()]))


def pictures(channels=2, height=5, width=6):
    torch.manual_seed(0)
    return torch.randn(2, channels, height, width, dtype=torch.float64, requires_grad=True)


def test_fir_has_sum_1():
    assert fir((1, 3, 3, 1)).tolist() == [0.125, 0.375, 0.375, 0.125] and fir([[1, 1], [2, 4]]).sum() == 1


@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2), (2, 2), (3, 2), (4, 1)])
@pytest.mark.parametrize("padding", [(0, 0, 0, 0), (2, 2, 1, 1), (2, 1, 0, 3), (-1, 2, 3, -2)])
@pytest.mark.parametrize("taps", [ODD, (1.0, 3.0, 3.0, 1.0), [[1.0, 2.0], [4.0, -5.0], [0.5, 3.0]]])
@pytest.mark.parametrize("flip", [False, True])
def test_upfirdn_equals_its_definition(up, down, padding, taps, flip):
    x, kernel = pictures(), fir(taps).double()
    whole = torch.outer(kernel, kernel) if kernel.ndim == 1 else kernel
    expected = 3.0 * planes(x, whole.numpy(), up, down, padding, flip)
    for given in (x, x.detach(), x.repeat(1, 4, 1, 1)):  # with and without a graph, in both layouts
        torch.testing.assert_close(upfirdn2d(given, kernel, up, down, padding, 3.0, flip)[:, :2].detach(), expected, **CLOSE)


@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2), (2, 3)])
def test_upfirdn_is_linear_and_its_derivatives_are_right(up, down):
    x, kernel = pictures(2, 3, 4), fir([[1.0, 2.0], [4.0, -5.0]]).double()

    def squared(t):
        return upfirdn2d(t, kernel, up, down, (2, 0, -1, 1)).square()

    assert torch.autograd.gradcheck(squared, x) and torch.autograd.gradgradcheck(squared, x)


@pytest.mark.parametrize("taps", [(1.0, 3.0, 3.0, 1.0), ODD, (1.0, 1.0), (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)])
def test_conventional_padding(taps):
    x, kernel, k = pictures(2, 6, 4), fir(taps).double(), len(taps)
    whole = torch.outer(kernel, kernel).numpy()
    up, down, same = ((k + 1) // 2, (k - 2) // 2) * 2, ((k - 1) // 2, (k - 2) // 2) * 2, (k // 2, (k - 1) // 2) * 2
    torch.testing.assert_close(upsample2d(x, kernel).detach(), 4 * planes(x, whole, 2, 1, up), **CLOSE)
    torch.testing.assert_close(downsample2d(x, kernel).detach(), planes(x, whole, 1, 2, down), **CLOSE)
    torch.testing.assert_close(filter2d(x, kernel).detach(), planes(x, whole, 1, 1, same), **CLOSE)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("taps", [(1.0, 3.0, 3.0, 1.0), (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)])
def test_convolutions_with_resampling_are_the_two_steps_one_after_the_other(size, taps):
    """Up: zeros, filter, convolve (not correlate). Down: filter, correlate, every second pixel. The padding of both is added once, before."""
    x, kernel, k, own = pictures(3, 6, 4), fir(taps).double(), len(taps), size // 2
    weight = torch.randn(4, 3, size, size, dtype=torch.float64)
    whole = torch.outer(kernel, kernel).numpy()
    up = 4 * planes(x, whole, 2, 1, ((k + 1) // 2 + own, (k - 2) // 2 + own) * 2)
    torch.testing.assert_close(conv_up(x, weight, kernel).detach(), F.conv2d(up, weight.flip(2, 3)), **CLOSE)
    down = planes(x, whole, 1, 1, ((k - 1) // 2 + own, (k - 2) // 2 + own) * 2)
    torch.testing.assert_close(conv_down(x, weight, kernel).detach(), F.conv2d(down, weight)[:, :, ::2, ::2], **CLOSE)


@pytest.mark.parametrize("resampled", [conv_up, conv_down])
def test_their_second_derivatives_are_right(resampled):
    x, kernel = pictures(1, 2, 2), fir((1, 3, 3, 1)).double()
    weight = torch.randn(1, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda a, b: resampled(a, b, kernel).square(), (x, weight))


def test_filters_keep_float32_under_autocast():
    x, kernel = torch.randn(1, 2, 6, 6), fir((0.3, 0.61, 0.2, 0.17))
    with torch.autocast("cpu", torch.bfloat16):
        found = upsample2d(x, kernel)
    assert found.dtype == torch.float32 and torch.equal(found, upsample2d(x, kernel))
