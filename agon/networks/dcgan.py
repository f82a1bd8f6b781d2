"""DCGAN's networks (Radford et al., 2016), https://arxiv.org/abs/1511.06434, section 3, for any size that can be halved.

Strided 4x4 convolutions without pooling, batch norm everywhere but at the pictures' end, ReLU in the generator, leaky ReLU (0.2) in the
discriminator. Widths double with every halving up to 8 times ``width``. At 64x64 and width 64 the parameters are those of the usual
PyTorch version: 3,576,704 (latent 100) and 2,765,568.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from agon.data.source import DataSpec
from agon.layers.rectifier import Rectifier
from agon.networks.discriminator import with_condition, with_planes
from agon.networks.sizes import doublings


def norm_layer(name: str, channels: int) -> list[nn.Module]:
    """``batch``, ``instance`` or ``none``."""
    if name == "none":
        return []
    return [nn.BatchNorm2d(channels) if name == "batch" else nn.InstanceNorm2d(channels, affine=True)]


class DCGANGenerator(nn.Module):
    """(N, Z) -> (N, C, H, W) in [-1, 1]."""

    def __init__(self, latent_dim: int, width: int, spec: DataSpec, norm: str, base_size: int):
        super().__init__()
        times, base = doublings(spec, base_size)
        widths = [width * min(2**i, 8) for i in reversed(range(times))]
        bias = norm == "none"
        # the usual 1x1 -> 4x4 transposed convolution is a matrix product; written with channels last it needs no other layout after it
        self.base = (*base, widths[0])
        self.project = nn.Linear(latent_dim, math.prod(self.base), bias=bias)
        layers: list[nn.Module] = [*norm_layer(norm, widths[0]), nn.ReLU()]
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=bias), *norm_layer(norm, after), nn.ReLU()]
        layers += [nn.ConvTranspose2d(widths[-1], spec.shape[0], 4, 2, 1, bias=bias), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        x = self.project(with_condition(latent, condition)).view(-1, *self.base).permute(0, 3, 1, 2)
        return self.layers(x)


class DCGANBackbone(nn.Module):
    """(N, C, H, W) -> (N, 8 width x base height x base width) features; the head above is the usual last convolution."""

    head_bias = False

    def __init__(self, in_channels: int, width: int, spec: DataSpec, norm: str, base_size: int):
        super().__init__()
        times, base = doublings(spec, base_size)
        widths = [width * min(2**i, 8) for i in range(times)]
        layers: list[nn.Module] = [nn.Conv2d(in_channels, widths[0], 4, 2, 1, bias=norm == "none"), Rectifier(0.2)]
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [nn.Conv2d(before, after, 4, 2, 1, bias=norm == "none"), *norm_layer(norm, after), Rectifier(0.2)]
        self.layers = nn.Sequential(*layers)
        self.out_features = widths[-1] * math.prod(base)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.layers(with_planes(x, condition)).permute(0, 2, 3, 1).flatten(1)


def generator(config, spec: DataSpec, condition_dim: int) -> DCGANGenerator:
    return DCGANGenerator(config.latent_dim + condition_dim, config.width, spec, config.generator_norm, config.base_size)


def backbone(config, spec: DataSpec, condition_dim: int) -> DCGANBackbone:
    width = config.discriminator_width or config.width
    return DCGANBackbone(spec.shape[0] + condition_dim, width, spec, config.discriminator_norm, config.base_size)
