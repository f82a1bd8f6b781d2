"""FastGAN's generator (Liu et al., 2021), https://arxiv.org/abs/2101.04775, as Projected GANs use it (Sauer et al., 2021), https://arxiv.org/abs/2111.01007.

A latent on the sphere becomes the lowest resolution by one transposed convolution; every doubling is nearest upsampling and one (``lite``) or two 3x3
convolutions with batch norm and a gated linear unit, two with noise of a learned strength (from 0) before each norm. Resolutions from 64 to 512 are
multiplied channel by channel with what a small net makes of the resolution a sixteenth as large ("skip-layer excitation"). No output activation.
Parameters at 256 pixels with width 128: 105,684,175 (lite 79,354,307); at 1024 with width 64: 30,672,171. All weights are meant to be spectrally normalised
(field ``spectral_norm``).

Sizes: what the papers do at 4, 8, 16 ... pixels is done at the base size and its doublings, whatever the base is. Noise comes from the draws that are handed
in; without them it is absent.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agon.data.source import DataSpec
from agon.game import Draws
from agon.networks.dcgan import norm_layer
from agon.networks.sizes import doublings

MULTIPLES = {4: 16, 8: 8, 16: 4, 32: 2, 64: 2, 128: 1, 256: 0.5, 512: 0.25, 1024: 0.125}
"""Channels in multiples of the width, by resolution."""
EXCITED = range(64, 513)


class Noise(nn.Module):
    """x + strength * N(0, 1), the same for all channels."""

    def __init__(self):
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, draws: Draws | None) -> Tensor:
        if draws is None:
            return x
        return x + (self.strength * draws.normal(len(x), 1, *x.shape[2:])).to(x.dtype)


class Gated(nn.Module):
    """3x3 convolution, noise, norm, then half of the channels times the sigmoid of the others."""

    def __init__(self, before: int, after: int, norm: str, noisy: bool):
        super().__init__()
        self.conv = nn.Conv2d(before, 2 * after, 3, 1, 1, bias=False)
        self.noise = Noise() if noisy else None
        self.norm = nn.Sequential(*norm_layer(norm, 2 * after))

    def forward(self, x: Tensor, draws: Draws | None) -> Tensor:
        x = self.conv(x)
        x = x if self.noise is None else self.noise(x, draws)
        return F.glu(self.norm(x), 1)


class Doubling(nn.Module):
    """Nearest upsampling and one or two gated convolutions."""

    def __init__(self, before: int, after: int, norm: str, lite: bool):
        super().__init__()
        layers = [Gated(before, after, norm, not lite)] + ([] if lite else [Gated(after, after, norm, True)])
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, draws: Draws | None) -> Tensor:
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        for layer in self.layers:
            x = layer(x, draws)
        return x


class Excitation(nn.Module):
    """(N, C, H, W) times a factor in (0, 1) for each channel, made of a low resolution."""

    def __init__(self, low: int, high: int):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(low, high, 4, bias=False), nn.Conv2d(high, high, 1, bias=False)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        return high * self.conv2(F.silu(self.conv1(F.adaptive_avg_pool2d(low, 4)))).sigmoid()


class FastGANGenerator(nn.Module):
    """(N, Z) -> (N, C, H, W), not bounded."""

    def __init__(self, config, spec: DataSpec):
        super().__init__()
        times, base = doublings(spec, config.base_size)
        resolutions = [4 * 2**i for i in range(times + 1)]  # as if the base were 4 pixels
        widths = {r: max(1, int(config.width * MULTIPLES.get(r, MULTIPLES[1024]))) for r in resolutions}
        self.resolutions = resolutions
        self.base = nn.ConvTranspose2d(config.latent_dim, 2 * widths[4], base, bias=False)
        self.base_norm = nn.Sequential(*norm_layer(config.generator_norm, 2 * widths[4]))
        self.doublings, self.excitations = nn.ModuleDict(), nn.ModuleDict()
        for r in resolutions[1:]:
            self.doublings[f"b{r}"] = Doubling(widths[r // 2], widths[r], config.generator_norm, config.lite)
            if r in EXCITED:
                self.excitations[f"b{r}"] = Excitation(widths[r // 16], widths[r])
        self.to_picture = nn.Conv2d(widths[resolutions[-1]], spec.shape[0], 3, 1, 1)

    def forward(self, latent: Tensor, condition: Tensor | None = None, draws: Draws | None = None) -> Tensor:
        latent = latent * torch.rsqrt(latent.square().mean(1, keepdim=True) + 1e-8)
        x = F.glu(self.base_norm(self.base(latent[:, :, None, None])), 1)
        maps = {4: x}
        for r in self.resolutions[1:]:
            x = self.doublings[f"b{r}"](x, draws)
            if r in EXCITED:
                x = self.excitations[f"b{r}"](maps[r // 16], x)
            maps[r] = x
        return self.to_picture(x)


def generator(config, spec: DataSpec, condition_dim: int) -> FastGANGenerator:
    return FastGANGenerator(config, spec)
