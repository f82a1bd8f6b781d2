"""Oracles: scipy's filter design, the definition in float64 (zeros between pixels, a two-dimensional convolution), finite differences, and a wave moved by a
fraction of a pixel."""

import math

import numpy as np
import pytest
import scipy.signal
import scipy.special
import torch
import torch.nn.functional as F

from agon.layers import filtered_lrelu as module
from agon.layers.filtered_lrelu import FilteredLeakyReLU, filtered_lrelu, lowpass, response

DESIGNS = [(12, 2.0, 12.0, 32.0), (24, 5.3, 4.2, 64.0), (12, 16.0, 7.4, 64.0), (13, 3.0, 1.0, 32.0), (48, 7.0, 3.0, 128.0)]


@pytest.mark.parametrize("taps, cutoff, width, rate", DESIGNS)
def test_filters_are_scipys(taps, cutoff, width, rate):
    np.testing.assert_allclose(lowpass(taps, cutoff, width, rate), scipy.signal.firwin(taps, cutoff, width=width, fs=rate), rtol=1e-10, atol=1e-14)
    radial = lowpass(taps, cutoff, width, rate, radial=True)
    x = (np.arange(taps) - (taps - 1) / 2) / rate
    r = np.maximum(np.hypot(x[:, None], x), 1e-9)
    window = np.kaiser(taps, scipy.signal.kaiser_beta(scipy.signal.kaiser_atten(taps, width / (rate / 2))))
    expected = scipy.special.j1(2 * np.pi * cutoff * r) / r * np.outer(window, window)
    np.testing.assert_allclose(radial, expected / expected.sum(), rtol=1e-7, atol=1e-14)


def plain(x, up_filter, down_filter, bias, up, down, padding, gain, slope, clamp):
    """Steps 1 to 7 of the definition, one by one."""
    n, c, h, w = x.shape
    up_filter, down_filter = (torch.outer(k, k) if k.ndim == 1 else k for k in (up_filter, down_filter))
    wide = x.new_zeros(n, c, h * up, w * up)
    wide[:, :, ::up, ::up] = x + bias[:, None, None]
    wide = F.pad(wide, padding)

    def convolve(x, kernel):
        return F.conv2d(x, kernel.flip(0, 1).expand(c, 1, -1, -1), groups=c)

    y = convolve(wide, up_filter) * up**2
    y = torch.where(y > 0, y, slope * y) * gain
    y = y.clamp(-clamp, clamp) if clamp else y
    return convolve(y, down_filter)[:, :, ::down, ::down]


CASES = {
    "same rate": (12, (12,), 2, 2, (9, 8, 9, 8), 0.0),
    "doubled": (24, (12,), 4, 2, (3, 6, 5, 2), 0.7),
    "radial": (12, (12, 12), 2, 2, (1, 9, 7, 0), 0.7),
    "cropped": (12, (12,), 2, 2, (-1, 8, 9, -3), 0.0),
    "odd": (7, (5,), 3, 3, (4, 4, 3, 3), 0.0),
}


def case(name, dtype=torch.float64, size=(10, 12)):
    torch.manual_seed(0)
    taps, down_shape, up, down, padding, clamp = CASES[name]
    given = [torch.randn(2, 3, *size), torch.rand(taps) - 0.2, torch.rand(down_shape) - 0.2, torch.randn(3)]
    return [t.to(dtype) for t in given], {"up": up, "down": down, "padding": padding, "gain": 1.3, "slope": 0.3, "clamp": clamp}


@pytest.mark.parametrize("name", CASES)
def test_the_definition(name):
    given, how = case(name)
    expected = plain(*given, **how)
    torch.testing.assert_close(filtered_lrelu(*given, **how), expected)
    assert expected.numel() and (not how["clamp"] or not torch.equal(expected, plain(*given, **how | {"clamp": 0.0})))


@pytest.mark.parametrize("name", ["same rate", "radial"])
def test_first_and_second_gradients(name):
    (x, up_filter, down_filter, bias), how = case(name, size=(9, 8))
    how |= {"clamp": 3.0}

    def layer(x, bias):
        return filtered_lrelu(x, up_filter, down_filter, bias, **how)

    inputs = (x[:1, :1].clone().requires_grad_(), bias[:1].clone().requires_grad_())
    assert torch.autograd.gradcheck(layer, inputs)
    assert torch.autograd.gradgradcheck(layer, inputs)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("longest", [64, 0])
def test_sixteen_bits(name, longest, monkeypatch):
    """Products with banded matrices, and float32 where they would be too large, against the definition at bfloat16's precision, with gradients."""
    monkeypatch.setitem(module.LONGEST_MATRIX, "cpu", longest)
    given, how = case(name)
    given = [t.bfloat16().double() for t in given]
    low = [t.bfloat16() for t in given]
    with torch.no_grad():
        expected, found = plain(*given, **how), filtered_lrelu(low[0], low[1].float(), low[2].float(), low[3], **how)
    assert found.dtype == torch.bfloat16
    assert (found - expected).norm() < 0.01 * expected.norm()
    given[0].requires_grad_(), low[0].requires_grad_()
    how |= {"slope": 1.0, "clamp": 0.0}  # linear: a rounding at a kink would change a gradient altogether
    probe = torch.randn_like(expected)
    left = torch.autograd.grad((filtered_lrelu(low[0], low[1].float(), low[2].float(), low[3], **how) * probe).sum(), low[0])[0]
    right = torch.autograd.grad((plain(*given, **how) * probe).sum(), given[0])[0]
    assert (left - right).norm() < 0.02 * right.norm()


def test_response_is_the_resampling():
    kernel, row = torch.rand(7, dtype=torch.float64), torch.rand(1, 1, 1, 9, dtype=torch.float64)
    for up, down, pads in ((3, 1, (2, 5)), (1, 2, (0, 0)), (2, 1, (-1, 4))):
        wide = row.new_zeros(1, 1, 1, 9 * up)
        wide[..., ::up] = row
        expected = F.conv2d(F.pad(wide, (*pads, 0, 0)), kernel.flip(0)[None, None, None])[..., ::down]
        torch.testing.assert_close(row @ response(9, kernel, up, down, pads, 1.0), expected)


def test_a_wave_moved_by_part_of_a_pixel_stays_that_wave():
    """What comes of a wave is a function on the plane: sampled elsewhere, it is the same function. A plain leaky ReLU's result is not."""
    bands = {"in_rate": 32.0, "out_rate": 32.0, "in_cutoff": 8.0, "out_cutoff": 8.0, "in_half_width": 8.0, "out_half_width": 8.0}
    layer = FilteredLeakyReLU((64, 64), (64, 64), **bands, clamp=0.0).double()
    place = (torch.arange(64, dtype=torch.float64) + 0.5) / 32

    def spectrum(activate, shift):
        """Amplitudes of the frequencies 0 to 7 of the middle 32 pixels, which hold 5 whole waves, the shift undone."""
        wave = torch.sin(2 * math.pi * 5 * (place - shift))[None, :].expand(1, 1, 64, 64)
        row = activate(wave)[0, 0, 32, 16:48]
        found = torch.fft.fft(row)
        return found * torch.exp(2j * math.pi * torch.fft.fftfreq(32, 1 / 32) * shift)

    def change(activate):
        still = spectrum(activate, 0.0)
        return ((spectrum(activate, 0.4 / 32) - still).norm() / still.norm()).item()

    assert change(layer) < 0.01 < 0.05 < change(lambda x: F.leaky_relu(x, 0.2))


def test_the_layer_keeps_the_middle_in_the_middle():
    """A picture symmetric about its middle stays so, whatever the sizes and rates."""
    for in_size, out_size, rates in (((13, 10), (9, 12), (16.0, 16.0)), ((9, 8), (24, 31), (16.0, 32.0))):
        layer = FilteredLeakyReLU(in_size, out_size, in_rate=rates[0], out_rate=rates[1], in_cutoff=4.0, out_cutoff=5.0, in_half_width=5.0, out_half_width=6.0)
        x = torch.randn(1, 2, *in_size)
        y = layer(x + x.flip(2, 3), torch.ones(2))
        assert y.shape == (1, 2, *out_size)
        torch.testing.assert_close(y, y.flip(2, 3), rtol=1e-4, atol=1e-5)
