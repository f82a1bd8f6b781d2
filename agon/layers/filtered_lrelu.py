"""Filtered leaky ReLU: a nonlinearity that adds next to nothing above a given frequency (Karras et al., 2021), https://arxiv.org/abs/2106.12423.

Section 3.2 and appendix C: bias, interpolate to a higher sampling rate with a low-pass filter, rectify there, filter what the rectifier put above the
new limit away, keep every so-many-th sample. Filters are Kaiser-windowed sinc (separable), or for rotation equivariance Kaiser-windowed jinc (radial,
not separable).

The same numbers in two ways. Convolutions along one axis and the other (:func:`agon.layers.resample.upfirdn2d`), in float32 on a CPU, whose 16-bit
depthwise convolutions are slow in the backward pass. In 16 bits, where filters are separable and sides short, products with dense banded matrices instead: on
one core with 64 channels 0.76 of that time at 38 pixels and 0.82 at 54, as long at 86, 1.5 times at 150. On CUDA, where nothing was measured, matrices up
to longer sides, for tensor cores. All of it is differentiable as often as one likes.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agon.layers.resample import upfirdn2d

LONGEST_MATRIX = {"cpu": 64, "cuda": 600}
"""Up to this many pixels a side 16-bit filters are matrices: their cost for a pixel grows with the side, that of convolutions does not."""


def lowpass(taps: int, cutoff: float, width: float, rate: float, radial: bool = False) -> np.ndarray:
    """A filter of sum 1, (taps,) float64, or (taps, taps) where ``radial``. All but ``taps`` in the same unit of frequency.

    ``cutoff``: where it passes half; ``width`` of the transition band; ``rate``: samples per unit. The window's beta is Kaiser's (1974) for the attenuation
    that so many taps give over such a transition.
    """
    window = np.kaiser(taps, kaiser_beta(taps, width / (rate / 2)))
    place = (np.arange(taps) - (taps - 1) / 2) / rate
    if not radial:
        kernel = np.sinc(2 * cutoff * place) * window
        return kernel / kernel.sum()
    phase = 2 * math.pi * cutoff * np.hypot(place[:, None], place[None])
    jinc = np.divide(bessel_j1(phase), phase, out=np.full_like(phase, 0.5), where=phase > 0)
    kernel = jinc * np.outer(window, window)
    return kernel / kernel.sum()


def bessel_j1(x: np.ndarray) -> np.ndarray:
    """J1 to rounding for arguments below 100: the mean of cos(t - x sin t) over a period, which equal steps give exactly."""
    t = 2 * math.pi * np.arange(256) / 256
    return np.cos(t - np.multiply.outer(x, np.sin(t))).mean(-1)


def kaiser_beta(taps: int, width: float) -> float:
    """Shape of the Kaiser window; ``width`` of the transition as a fraction of half the sampling rate."""
    attenuation = 2.285 * (taps - 1) * math.pi * width + 7.95  # decibels
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    return 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21) if attenuation > 21 else 0.0


def filtered_lrelu(
    x: Tensor, up_filter: Tensor, down_filter: Tensor, bias: Tensor | None = None, *, up: int = 1, down: int = 1,
    padding: tuple[int, int, int, int] = (0, 0, 0, 0), gain: float = math.sqrt(2), slope: float = 0.2, clamp: float = 0.0,
) -> Tensor:  # fmt: skip
    """(N, C, H, W) -> (N, C, H', W'): + bias, ``up``, pad (left, right, top, bottom, in pixels after ``up``), ``up_filter``, leaky ReLU * gain, clamp to
    +-``clamp`` (0: not), ``down_filter``, every ``down``-th pixel. Filters (k,) are separable, (k, k) not."""
    if bias is not None:
        x = x + bias.to(x.dtype)[:, None, None]
    separable = up_filter.ndim == down_filter.ndim == 1
    half = x.dtype in (torch.bfloat16, torch.float16)
    resample, dtype = upfirdn2d, x.dtype
    if half and separable and max(x.shape[2:]) <= LONGEST_MATRIX.get(x.device.type, 0):
        resample = _by_matrices
    elif half and x.device.type == "cpu":
        x = x.float()
    with torch.autocast(x.device.type, enabled=False):
        x = resample(x, up_filter, up, 1, padding, up**2 * gain)  # the rectifier commutes with positive factors
        x = F.leaky_relu(x, slope)
        x = F.hardtanh(x, -clamp, clamp) if clamp else x  # clamp, with a backward pass of one kernel
        return resample(x, down_filter, 1, down, (0, 0, 0, 0), 1.0).to(dtype)


def _by_matrices(x: Tensor, kernel: Tensor, up: int, down: int, padding: tuple[int, int, int, int], gain: float) -> Tensor:
    along_x = response(x.shape[3], kernel, up, down, padding[:2], math.sqrt(gain)).to(x.dtype)
    along_y = response(x.shape[2], kernel, up, down, padding[2:], math.sqrt(gain)).to(x.dtype)
    if up > 1:  # what comes out is transposed in memory, and filtering it down begins where that needs no copy
        return ((x @ along_x).mT @ along_y).mT
    return (x.mT @ along_y).mT @ along_x


def response(size: int, kernel: Tensor, up: int, down: int, padding: tuple[int, int], gain: float) -> Tensor:
    """(size, size') matrix of what resampling along an axis does: row i is the answer to an impulse at pixel i."""
    impulses = torch.eye(size, dtype=kernel.dtype, device=kernel.device)[None, None]
    return upfirdn2d(impulses, kernel[None] * gain, up, 1, (*padding, 0, 0))[0, 0, ::up, ::down]


class FilteredLeakyReLU(nn.Module):
    """:func:`filtered_lrelu` between two sampling rates, with its filters and the padding that keeps the picture's centre where it was.

    ``in_size`` and ``out_size`` (height, width) in pixels; ``in_rate``, ``out_rate`` samples per unit, ``in_cutoff`` and ``in_half_width`` (of the transition)
    the low-pass filter in cycles per unit; the rectifier works at ``oversampling`` times the higher rate. Filters have ``taps`` taps for each sample
    of the lower rate.
    """

    def __init__(
        self, in_size: tuple[int, int], out_size: tuple[int, int], *, in_rate: float, out_rate: float, in_cutoff: float, out_cutoff: float,
        in_half_width: float, out_half_width: float, radial: bool = False, oversampling: int = 2, taps: int = 6, clamp: float = 256.0,
    ):  # fmt: skip
        super().__init__()
        rate = max(in_rate, out_rate) * oversampling
        self.up, self.down, self.clamp = round(rate / in_rate), round(rate / out_rate), clamp
        assert in_rate * self.up == rate == out_rate * self.down, "sampling rates are each other's multiples"
        up = lowpass(taps * self.up, in_cutoff, 2 * in_half_width, rate)
        down = lowpass(taps * self.down, out_cutoff, 2 * out_half_width, rate, radial)
        # functions of the sizes, not of training: a checkpoint has no need of them
        self.register_buffer("up_filter", torch.tensor(up.tolist()), persistent=False)
        self.register_buffer("down_filter", torch.tensor(down.tolist()), persistent=False)
        pads = [self._pad(*sides) for sides in zip(in_size, out_size, strict=True)]
        self.padding = (*pads[1], *pads[0])

    def _pad(self, before: int, after: int) -> tuple[int, int]:
        """Zeros before and after an axis (negative: crop), in oversampled pixels: appendix C.3's symmetric placement."""
        total = (after - 1) * self.down + 1 - before * self.up + len(self.up_filter) + len(self.down_filter) - 2
        first = (total + self.up) // 2
        return first, total - first

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """(N, C, *in_size), (C,) -> (N, C, *out_size)."""
        filters = (kernel.to(x.dtype) if x.dtype == torch.float64 else kernel for kernel in (self.up_filter, self.down_filter))
        return filtered_lrelu(x, *filters, bias, up=self.up, down=self.down, padding=self.padding, clamp=self.clamp)
