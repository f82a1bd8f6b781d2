"""Radial power spectra: how much of a picture's variance lies at each spatial frequency, whatever the direction. No weights.

After Durall et al., 2020, "Watch your up-convolution", https://arxiv.org/abs/2003.01826, section 3.1 (azimuthal integration of the squared Fourier
magnitudes). Differences: the mean over the angle instead of its integral, so that white noise is flat; a Hann window, without which a picture's edges leak
as a cross over all frequencies; rings up to the corners of the spectrum, where checkerboards show. Unit: squared grey levels (of 255) per Fourier
coefficient; white noise of variance v has power v everywhere.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from agon.errors import UserError
from agon.metrics.features.base import Extractor, as_rgb

NAMES = {"spectrum": "radial log-power spectrum of the grey picture, in dB (no weights)"}
ROUNDING = 1 / 12  # power of rounding to 8 bits: below it a picture file holds no signal, and a black picture stays finite
SMALLEST = 4


class Spectrum(Extractor):
    """One number a ring, in dB over one squared grey level. ``layers["features"]`` is 0 until the first pictures were seen."""

    name = "spectrum"

    def __init__(self) -> None:
        self.layers = {"features": 0}
        self.size: tuple[int, ...] | None = None
        self.protocol = {"resize": "none", "precision": "fp64", "grey": "mean of the channels", "window": "Hann", "floor": "1/12 squared grey level"}

    def run(self, samples: Tensor, layers: Sequence[str] = ("features",)) -> dict[str, Tensor]:
        """uint8 (N, C, H, W) -> float32 (N, K). Raises UserError where pictures differ in size from those seen before."""
        size = tuple(samples.shape[2:])
        if self.size not in (None, size):
            raise UserError(
                "Spectra of pictures of {found} and {known} pixels have different rings. Expected pictures of one size: resize one side.",
                found=size, known=self.size,
            )  # fmt: skip
        grey = as_rgb(samples).double().mean(1) if samples.shape[1] > 1 else samples[:, 0].double()
        spectrum = 10 * torch.log10(radial_power(grey) + ROUNDING)
        self.size, self.layers["features"] = size, spectrum.shape[1]
        return {layer: spectrum.float() for layer in layers}


def open_extractor(name: str = "spectrum", *, weights: Path | None = None, device: str = "cpu", precision: str = "fp32") -> Spectrum:
    """Always float64 on the CPU."""
    return Spectrum()


def radial_power(grey: Tensor) -> Tensor:
    """(N, H, W) grey pictures -> (N, K) mean squared Fourier magnitude of each ring of ``rings(H, W)``, in squared units of ``grey``.

    The window's mean is taken off first, so that brightness leaks nowhere. In float64.
    """
    grey = grey.double()
    height, width = grey.shape[1:]
    if min(height, width) < SMALLEST:
        raise UserError(
            "Pictures of {height}x{width} pixels have no spectrum to speak of. Expected at least {least} a side: leave the metric out.",
            height=height, width=width, least=SMALLEST,
        )  # fmt: skip
    window = torch.outer(*(torch.hann_window(side, periodic=True, dtype=torch.float64) for side in (height, width)))
    mean = (grey * window).sum((1, 2), keepdim=True) / window.sum()
    power = torch.fft.fft2((grey - mean) * window).abs().square_() / window.square().sum()
    ring, frequencies = rings(height, width)
    total = power.new_zeros(len(grey), len(frequencies) + 1).index_add_(1, ring, power.flatten(1))
    return total[:, :-1] / torch.bincount(ring, minlength=len(frequencies) + 1)[:-1]


def rings(height: int, width: int) -> tuple[Tensor, Tensor]:
    """(H * W,) the ring of each Fourier coefficient (the last number: none, the mean), and (K,) each ring's mean frequency in cycles a pixel.

    Rings are one over the shorter side wide, centred on its multiples, and go to the corners, 0.71 cycles a pixel.
    """
    rows, columns = (torch.fft.fftfreq(side, dtype=torch.float64) for side in (height, width))
    frequency = torch.sqrt(rows[:, None] ** 2 + columns[None] ** 2).flatten()
    number = torch.round(frequency * min(height, width)).long()
    present = torch.unique(number[number > 0])  # a ring of an oblong picture's spectrum may be empty
    ring = torch.where(number > 0, torch.searchsorted(present, number), len(present))
    count = torch.bincount(ring, minlength=len(present) + 1)
    sums = frequency.new_zeros(len(present) + 1).index_add_(0, ring, frequency)
    return ring, (sums / count.clamp(min=1))[:-1]
