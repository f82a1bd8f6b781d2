"""StyleGAN3's generator (Karras et al., 2021), https://arxiv.org/abs/2106.12423, section 3 and appendix C to F; the discriminator is StyleGAN2's.

The picture is a function on the plane that is only sampled: it starts as Fourier features, which a style rotates and translates, and every layer keeps
below its own limit of frequency, so that details move with what they belong to. Configuration T (3x3 kernels) is equivariant to translation, R (1x1
kernels, radial filters, twice the channels) to rotation too. With 14 layers, ``channel_base`` 32768 and w of 512, T has 28,472,133, 24,873,519 and
22,313,167 parameters at 256, 512 and 1024 pixels, R 18,816,387, 16,665,594 and 15,093,151.

As the authors' code, where it differs from the paper: weights and styles are divided by their root mean squares, which demodulation undoes, against
overflow in 16 bits. Differs from that code: a sample's style is divided by its own, not the batch's; the mean square of a layer's input moves after a
step, for all that the step saw, and not before the batch is used; sides need be neither equal nor powers of two: rates are the shorter side divided by powers
of two, and each axis has the extent it needs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agon.data.source import DataSpec
from agon.errors import UserError
from agon.game import Draws
from agon.layers.equalized import EqualizedLinear
from agon.layers.filtered_lrelu import FilteredLeakyReLU
from agon.layers.resample import filter2d, fir
from agon.layers.running_mean import RunningMean
from agon.layers.style import MappingNetwork, modulated_conv2d
from agon.networks.sizes import doublings
from agon.networks.stylegan2 import discriminator

__all__ = ["blur", "discriminator", "generator", "motion"]

FIRST_CUTOFF, FIRST_STOPBAND = 2.0, 2.0**2.1  # cycles per picture
LAST_STOPBAND = 2.0**0.3  # times the last cutoff


class Band:
    """What frequencies a layer's output may have: ``cutoff`` and ``half_width`` of the transition in cycles per shorter side, ``rate`` in samples per
    shorter side, ``size`` (height, width) in pixels with the margin, ``channels``."""

    def __init__(self, cutoff: float, stopband: float, rate: float, size: tuple[int, int], channels: int):
        self.cutoff, self.half_width, self.rate, self.size, self.channels = cutoff, max(stopband, rate / 2) - cutoff, rate, size, channels


def schedule(config, spec: DataSpec) -> list[Band]:
    """The outputs of the layers, ``num_layers`` and the picture (section 3.2: cutoff and stopband grow by equal factors, up to the critical layers)."""
    colours, *sides = spec.shape
    shorter = min(sides)
    last_cutoff = shorter / 2
    bands = []
    for i in range(config.num_layers + 1):
        reached = min(i / (config.num_layers - config.num_critical), 1.0)
        cutoff = FIRST_CUTOFF * (last_cutoff / FIRST_CUTOFF) ** reached
        stopband = FIRST_STOPBAND * (last_cutoff * LAST_STOPBAND / FIRST_STOPBAND) ** reached
        rate = shorter * 2.0 ** math.ceil(math.log2(min(2 * stopband / shorter, 1.0)))
        margin = 0 if i >= config.num_layers - 1 else config.margin
        size = tuple(math.ceil(rate * side / shorter) + 2 * margin for side in sides)
        widest = config.channel_max * config.generator_channels
        channels = round(min(config.channel_base * config.generator_channels / 2 / cutoff, widest))
        bands.append(Band(cutoff, stopband, rate, size, colours if i == config.num_layers else max(1, channels)))
    return bands


class SynthesisInput(nn.Module):
    """w (N, w_dim) -> Fourier features (N, C, H, W), moved as the style says and then as ``transform`` says.

    ``transform``: buffer (3, 3), the inverse of the picture's motion (:func:`motion`), the identity in training. Frequencies that it lifts out of the band
    fade.
    """

    def __init__(self, w_dim: int, band: Band):
        super().__init__()
        self.rate, self.bandwidth, self.size = band.rate, band.cutoff, band.size
        direction = torch.randn(band.channels, 2)
        radius = direction.norm(dim=1, keepdim=True)
        # uniform in the disc: exp(-r^2 / 2), the square of the new length, is uniform in [0, 1] for a normal vector of length r
        self.register_buffer("freqs", direction / (radius * (radius.square() / 4).exp()) * self.bandwidth)
        self.register_buffer("phases", torch.rand(band.channels) - 0.5)
        self.register_buffer("transform", torch.eye(3))
        self.weight = nn.Parameter(torch.randn(band.channels, band.channels))
        self.affine = EqualizedLinear(w_dim, 4)  # rotation as (cos, sin) of any length, translation (x, y)
        with torch.no_grad():
            self.affine.weight.zero_()
            self.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))

    @contextmanager
    def moved(self, transform: Tensor) -> Iterator[None]:
        """With another transform, and afterwards with the old one."""
        kept = self.transform.clone()
        self.transform.copy_(transform)
        try:
            yield
        finally:
            self.transform.copy_(kept)

    def forward(self, w: Tensor) -> Tensor:
        with torch.autocast(w.device.type, enabled=False):  # positions need all the digits
            moved = self.motion(w) @ self.transform.to(w)
            phases = self.phases + (self.freqs @ moved[:, :2, 2:]).squeeze(2)
            freqs = self.freqs @ moved[:, :2, :2]  # (N, C, 2)
            transition = max(self.rate / 2 - self.bandwidth, 1e-6)  # none at 4 pixels
            amplitude = (1 - (freqs.norm(dim=2) - self.bandwidth) / transition).clamp(0, 1)
            y, x = ((torch.arange(side, device=w.device, dtype=w.dtype) + (1 - side) / 2) / self.rate for side in self.size)
            turns = (freqs[:, :, 1:] * y + phases[:, :, None])[:, :, :, None] + (freqs[:, :, :1] * x)[:, :, None]
            waves = torch.sin(2 * math.pi * turns) * amplitude[:, :, None, None]
            return F.conv2d(waves, (self.weight / math.sqrt(len(self.weight)))[:, :, None, None])

    def motion(self, w: Tensor) -> Tensor:
        """(N, 3, 3): the rotation and then the translation that the style asks for, inverted (appendix F)."""
        t = self.affine(w)
        t = t / t[:, :2].norm(dim=1, keepdim=True)
        cos, sin, x, y = t.unbind(1)
        zero, one = torch.zeros_like(cos), torch.ones_like(cos)
        rows = (cos, -sin, -cos * x + sin * y, sin, cos, -sin * x - cos * y, zero, zero, one)
        return torch.stack(rows, 1).view(-1, 3, 3)


class SynthesisLayer(nn.Module):
    """Modulated convolution, bias and filtered leaky ReLU (N, I, *before.size) -> (N, O, *after.size); the last layer has no nonlinearity."""

    def __init__(self, before: Band, after: Band, *, kernel: int, radial: bool, last: bool, config):
        super().__init__()
        self.last, self.clamp, kernel = last, config.clamp, 1 if last else kernel
        self.affine = EqualizedLinear(config.w_dim, before.channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(after.channels, before.channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(after.channels))
        self.magnitude_ema = RunningMean(decay=0.5 ** (config.batch_size / config.magnitude_images), start=1.0)
        self.activation = None if last else FilteredLeakyReLU(
            tuple(side + kernel - 1 for side in before.size), after.size, in_rate=before.rate, out_rate=after.rate, in_cutoff=before.cutoff,
            out_cutoff=after.cutoff, in_half_width=before.half_width, out_half_width=after.half_width, radial=radial, clamp=config.clamp,
        )  # fmt: skip

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        if self.training:
            self.magnitude_ema.observe(x.detach().float().square().mean((1, 2, 3)))
        with torch.autocast(x.device.type, enabled=False):
            style, weight = self.affine(w), self.weight
            if self.last:
                style = style / math.sqrt(weight.shape[1])
            else:
                style = style * style.square().mean(1, keepdim=True).rsqrt()
                weight = weight * weight.square().mean((1, 2, 3), keepdim=True).rsqrt()
            gain = self.magnitude_ema.value.rsqrt()
        x = modulated_conv2d(x, weight, style, demodulate=not self.last, padding=weight.shape[2] - 1, input_gain=gain)
        if self.activation is not None:
            return self.activation(x, self.bias)
        x = x + self.bias.to(x.dtype)[:, None, None]
        return x.clamp(-self.clamp, self.clamp) if self.clamp else x


class Synthesis(nn.Module):
    """w (N, num_ws, w_dim) -> pictures (N, C, H, W), not bounded."""

    def __init__(self, config, spec: DataSpec):
        super().__init__()
        bands = schedule(config, spec)
        self.num_ws, self.output_scale = config.num_layers + 2, config.output_scale
        self.input = SynthesisInput(config.w_dim, bands[0])
        self.layer_names = []
        for i, after in enumerate(bands):
            critical, last = i >= config.num_layers - config.num_critical, i == config.num_layers
            layer = SynthesisLayer(bands[max(i - 1, 0)], after, kernel=config.kernel, radial=config.radial and not critical, last=last, config=config)
            self.layer_names.append(f"L{i}_{min(after.size)}_{after.channels}")
            self.add_module(self.layer_names[-1], layer)

    def forward(self, w: Tensor, draws: Draws | None = None, noise: str | None = None) -> Tensor:
        """``draws`` and ``noise`` are StyleGAN2's and have no part in it: there is no noise."""
        first, *others = w.unbind(1)
        x = self.input(first)
        for name, style in zip(self.layer_names, others, strict=True):
            x = getattr(self, name)(x, style)
        return x.to(w.dtype) * self.output_scale


class StyleGAN3Generator(nn.Module):
    """(N, Z) -> (N, C, H, W)."""

    def __init__(self, config, spec: DataSpec, condition_dim: int):
        super().__init__()
        doublings(spec, config.base_size)  # pictures that the discriminator can halve
        self.synthesis = Synthesis(config, spec)
        self.num_ws, self.w_dim, self.latent_dim = self.synthesis.num_ws, config.w_dim, config.latent_dim
        self.mapping = MappingNetwork(
            config.latent_dim, condition_dim, config.w_dim, self.num_ws, config.mapping_layers, config.mapping_lr, decay=config.w_decay
        )

    def forward(
        self, latent: Tensor, condition: Tensor | None = None, draws: Draws | None = None, mixing: float = 0.0, noise: str | None = None,
        truncation: float = 1.0, truncation_layers: int | None = None,
    ) -> Tensor:  # fmt: skip
        """``draws``, ``mixing`` and ``noise`` are StyleGAN2's: this generator neither mixes styles nor adds noise."""
        return self.synthesis(self.mapping(latent, condition, truncation, truncation_layers))


def motion(rotation: float = 0.0, translation: tuple[float, float] = (0.0, 0.0)) -> Tensor:
    """The ``transform`` that turns pictures counter-clockwise by ``rotation`` turns and then moves them right and down by ``translation`` shorter sides."""
    numbers = (rotation, *(translation if isinstance(translation, tuple | list) else (translation,)))
    if len(numbers) != 3 or not all(isinstance(number, int | float) for number in numbers):
        raise UserError("A picture cannot be turned by '{rotation}' and moved by '{translation}'. Expected a number of turns such as 0.1, and two numbers, "
                        "right and down, such as 0.1,0.", rotation=rotation, translation=translation)  # fmt: skip
    cos, sin = math.cos(2 * math.pi * rotation), math.sin(2 * math.pi * rotation)
    x, y = translation
    return torch.tensor([[cos, -sin, sin * y - cos * x], [sin, cos, -sin * x - cos * y], [0.0, 0.0, 1.0]])


def blur(pictures: Tensor, sigma: float) -> Tensor:
    """(N, C, H, W) weighted by 2^-(distance / sigma)^2 up to 3 sigma, with zeros outside the picture, of the same size."""
    reach = math.floor(3 * sigma)
    if reach < 1:
        return pictures
    distance = torch.arange(-reach, reach + 1, device=pictures.device, dtype=torch.float32)
    with torch.autocast(pictures.device.type, enabled=False):
        return filter2d(pictures, fir(torch.exp2(-((distance / sigma) ** 2))))


def generator(config, spec: DataSpec, condition_dim: int) -> StyleGAN3Generator:
    return StyleGAN3Generator(config, spec, condition_dim)
