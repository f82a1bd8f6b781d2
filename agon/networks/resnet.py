"""SNGAN's residual networks (Miyato et al., 2018), https://arxiv.org/abs/1802.05957, appendix B.4, tables 3 and 4.

Generator: pre-activation blocks with batch norm (conditional, one gain and shift per class, when there is a condition: Miyato & Koyama 2018)
and nearest upsampling. Discriminator: no norm, first block not pre-activated, sum over positions at the end. Up to three
doublings all blocks have the same width; above, widths halve with every doubling. 32x32, widths 256 and 128: 4,276,739 and 1,053,825
parameters (10 classes: 4,304,387 and 1,055,105); 64x64, 1024: 12,220,675 and 10,141,441.

The same mathematics with less work: a 1x1 convolution commutes with nearest upsampling and with average pooling, so the shortcut's stands on
the small side; nearest upsampling and a 3x3 convolution are one transposed 4x4 convolution of stride 2, a 3x3 convolution and average
pooling one 4x4 convolution of stride 2.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from agon.data.source import DataSpec
from agon.layers.rectifier import rectify
from agon.layers.resample import conv_then_halve, double_then_conv, spread
from agon.networks.discriminator import with_planes
from agon.networks.sizes import doublings

__all__ = ["backbone", "conv_then_pool", "generator", "spread", "up_then_conv"]


def conv_then_pool(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """avg_pool2d(conv(x), 2)."""
    return conv_then_halve(x, conv.weight, conv.bias)


def up_then_conv(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """conv(nearest upsampling of x by 2)."""
    return double_then_conv(x, conv.weight, conv.bias)


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose gain and shift come from the condition: embed(y) = [gain, shift], starting at [1, 0]."""

    def __init__(self, channels: int, condition_dim: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=condition_dim == 0)
        self.embed = nn.Linear(condition_dim, 2 * channels, bias=False) if condition_dim else None
        if self.embed is not None:
            self.embed.part_of_norm = True  # no scheme of initialisation draws it anew, spectral normalisation leaves its scale
            nn.init.zeros_(self.embed.weight)
            nn.init.ones_(self.embed.weight[:channels])

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        x = self.norm(x)
        if self.embed is None:
            return x
        gain, shift = self.embed(condition).to(x.dtype)[:, :, None, None].chunk(2, 1)
        return x * gain + shift


class GeneratorBlock(nn.Module):
    """norm, ReLU, up, conv, norm, ReLU, conv; shortcut up, 1x1."""

    def __init__(self, before: int, after: int, condition_dim: int):
        super().__init__()
        self.norm1, self.norm2 = ConditionalBatchNorm(before, condition_dim), ConditionalBatchNorm(after, condition_dim)
        self.conv1, self.conv2 = nn.Conv2d(before, after, 3, 1, 1), nn.Conv2d(after, after, 3, 1, 1)
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        y = up_then_conv(F.relu(self.norm1(x, condition)), self.conv1)
        y = self.conv2(F.relu(self.norm2(y, condition)))
        return y + F.interpolate(self.shortcut(x), scale_factor=2, mode="nearest")


class ResNetGenerator(nn.Module):
    """(N, Z) -> (N, C, H, W) in [-1, 1]."""

    def __init__(self, latent_dim: int, width: int, spec: DataSpec, condition_dim: int, base_size: int):
        super().__init__()
        times, self.base = doublings(spec, base_size)
        widths = [width] * (times + 1) if times <= 3 else [max(1, width // 2**i) for i in range(times + 1)]
        self.project = nn.Linear(latent_dim, widths[0] * math.prod(self.base))
        self.blocks = nn.ModuleList(GeneratorBlock(a, b, condition_dim) for a, b in zip(widths, widths[1:], strict=False))
        self.norm, self.to_picture = nn.BatchNorm2d(widths[-1]), nn.Conv2d(widths[-1], spec.shape[0], 3, 1, 1)

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        x = self.project(latent).view(len(latent), -1, *self.base)
        for block in self.blocks:
            x = block(x, condition)
        return self.to_picture(F.relu(self.norm(x))).tanh()


class DiscriminatorBlock(nn.Module):
    """(ReLU,) conv, ReLU, conv(, pool); shortcut 1x1 and pool where the shape changes."""

    def __init__(self, before: int, after: int, *, down: bool, first: bool = False):
        super().__init__()
        self.down, self.first = down, first
        hidden = after if first else before
        self.conv1, self.conv2 = nn.Conv2d(before, hidden, 3, 1, 1), nn.Conv2d(hidden, after, 3, 1, 1)
        self.shortcut = nn.Conv2d(before, after, 1) if down or before != after else None

    def forward(self, x: Tensor) -> Tensor:
        y = rectify(self.conv1(x if self.first else rectify(x)))
        y = conv_then_pool(y, self.conv2) if self.down else self.conv2(y)
        x = F.avg_pool2d(x, 2) if self.down else x
        return y + (x if self.shortcut is None else self.shortcut(x))


class ResNetBackbone(nn.Module):
    """(N, C, H, W) -> (N, width) features, summed over positions."""

    def __init__(self, in_channels: int, width: int, spec: DataSpec, base_size: int):
        super().__init__()
        times, _ = doublings(spec, base_size)
        if times <= 3:  # two halvings, then two blocks at the same size
            blocks = [DiscriminatorBlock(in_channels, width, down=True, first=True)]
            blocks += [DiscriminatorBlock(width, width, down=i < times - 2) for i in range(3)]
        else:
            widths = [max(1, width // 2**i) for i in reversed(range(times + 1))]
            blocks = [DiscriminatorBlock(in_channels, widths[0], down=True, first=True)]
            blocks += [DiscriminatorBlock(a, b, down=True) for a, b in zip(widths, widths[1:], strict=False)]
        self.blocks = nn.Sequential(*blocks)
        self.out_features = width

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return rectify(self.blocks(with_planes(x, condition))).sum((2, 3))


def generator(config, spec: DataSpec, condition_dim: int) -> ResNetGenerator:
    return ResNetGenerator(config.latent_dim, config.width, spec, condition_dim, config.base_size)


def backbone(config, spec: DataSpec, condition_dim: int) -> ResNetBackbone:
    return ResNetBackbone(spec.shape[0] + condition_dim, config.discriminator_width or config.width, spec, config.base_size)
