"""R3GAN's networks (Huang et al., 2024), https://arxiv.org/abs/2501.05441, section 4 and appendix (config E).

ResNeXt-ified residual blocks, 1x1, grouped 3x3, 1x1, with two biased leaky ReLUs and no normalisation; the last convolution of a block
starts at 0, the others by fix-up scaling (Zhang et al. 2019). Resampling is bilinear ([1, 2, 1] with [1, 1]); the first resolution is a
learned basis weighted by the latent. CIFAR-10 (four stages of 768, two blocks, 96 groups, latent 64): 20,732,160 and 20,683,776
parameters, with ten classes 20,781,952 and 21,280,512. No output activation. Stages may have widths, numbers of blocks and of groups of their own
(:func:`plan`), as the published networks for larger pictures have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agon.data.source import DataSpec
from agon.errors import UserError
from agon.layers.rectifier import rectify
from agon.networks.discriminator import with_condition, with_planes
from agon.networks.sizes import doublings

SLOPE = 0.2
GAIN = math.sqrt(2 / (1 + SLOPE**2))


def scaled(layer: nn.Module, gain: float) -> nn.Module:
    """Draw the weight from N(0, (gain / sqrt(fan_in))^2)."""
    fan_in = layer.weight[0].numel()
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(fan_in))
    return layer


def conv(before: int, after: int, kernel: int, gain: float = 1.0, groups: int = 1) -> nn.Conv2d:
    return scaled(nn.Conv2d(before, after, kernel, padding=kernel // 2, groups=groups, bias=False), gain)


class BiasedLeakyReLU(nn.Module):
    """leaky_relu(x + b)."""

    def __init__(self, channels: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return rectify(x + self.bias.to(x.dtype)[:, None, None], SLOPE)


class Block(nn.Module):
    """x + 1x1 (act (grouped 3x3 (act (1x1 x))))."""

    def __init__(self, channels: int, *, cardinality: int, expansion: int, num_blocks: int):
        super().__init__()
        wide = channels * expansion
        # three linear layers a branch: each of the first two takes num_blocks^(-1 / (2 * 3 - 2)) of the usual gain
        gain = GAIN * num_blocks ** (-1 / 4)
        self.conv1 = conv(channels, wide, 1, gain)
        self.conv2 = conv(wide, wide, 3, gain, groups=cardinality)
        self.conv3 = conv(wide, channels, 1, 0.0)
        self.act1, self.act2 = BiasedLeakyReLU(wide), BiasedLeakyReLU(wide)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv3(self.act2(self.conv2(self.act1(self.conv1(x)))))


class Resample(nn.Module):
    """Bilinear doubling or halving, a filter of [1, 3, 3, 1] / 8 a side, zeros outside; a 1x1 convolution where the width changes."""

    def __init__(self, before: int, after: int, *, up: bool):
        super().__init__()
        self.up = up
        self.conv = conv(before, after, 1) if before != after else None
        row = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("kernel", torch.outer(row, row)[None, None] * (4 if up else 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.up:
            x = x if self.conv is None else self.conv(x)
            kernel = self.kernel.to(x.dtype).expand(x.shape[1], -1, -1, -1)
            return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])
        kernel = self.kernel.to(x.dtype).expand(x.shape[1], -1, -1, -1)
        x = F.conv2d(x, kernel, stride=2, padding=1, groups=x.shape[1])
        return x if self.conv is None else self.conv(x)


@dataclass(frozen=True)
class StagePlan:
    """One resolution: its width, its residual blocks and the groups of their 3x3 convolutions."""

    width: int
    blocks: int
    groups: int

    def build(self, expansion: int, num_blocks: int) -> list[nn.Module]:
        """``num_blocks``: of the whole network, for the fix-up scaling."""
        return [Block(self.width, cardinality=self.groups, expansion=expansion, num_blocks=num_blocks) for _ in range(self.blocks)]


def plan(config, num_stages: int, width: int) -> list[StagePlan]:
    """The stages from the lowest resolution up: those of ``config.widths``, ``stage_blocks`` and ``cardinalities`` where they are given, else all alike.

    Raises UserError where their number does not fit that of the resolutions.
    """
    given = {name: tuple(getattr(config, name, ())) for name in ("widths", "stage_blocks", "cardinalities")}
    for name, values in given.items():
        if values and len(values) != num_stages:
            raise UserError(
                "'{field}' has {found} numbers and these pictures have {expected} resolutions. Expected one number for each, from the lowest up: "
                "change it, base_size or --data.size.",
                field=name, found=len(values), expected=num_stages,
            )  # fmt: skip
    widths = given["widths"] or (width,) * num_stages
    blocks = given["stage_blocks"] or (config.blocks,) * num_stages
    groups = given["cardinalities"] or tuple(max(1, each // config.group_width) for each in widths)
    return [StagePlan(*each) for each in zip(widths, blocks, groups, strict=True)]


class R3GANGenerator(nn.Module):
    """(N, Z) -> (N, C, H, W), not bounded."""

    def __init__(self, config, spec: DataSpec, condition_dim: int):
        super().__init__()
        times, base = doublings(spec, config.base_size)
        stages = plan(config, times + 1, config.width)
        width = stages[0].width
        self.embedding = scaled(nn.Linear(condition_dim, config.embedding_dim, bias=False), 1.0) if condition_dim else None
        latent_dim = config.latent_dim + (config.embedding_dim if condition_dim else 0)
        self.basis = nn.Parameter(torch.randn(width, *base))
        self.project = scaled(nn.Linear(latent_dim, width, bias=False), 1.0)
        num_blocks = sum(stage.blocks for stage in stages)
        layers = stages[0].build(config.expansion, num_blocks)
        for before, after in pairwise(stages):
            layers += [Resample(before.width, after.width, up=True), *after.build(config.expansion, num_blocks)]
        self.layers = nn.Sequential(*layers)
        self.to_picture = conv(stages[-1].width, spec.shape[0], 1)

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        latent = with_condition(latent, None if self.embedding is None else self.embedding(condition))
        x = self.basis.to(latent.dtype) * self.project(latent)[:, :, None, None]
        return self.to_picture(self.layers(x))


class R3GANBackbone(nn.Module):
    """(N, C, H, W) -> (N, width) features: at the last resolution one learned filter for each channel."""

    head_bias = False

    def __init__(self, config, spec: DataSpec, in_channels: int):
        super().__init__()
        times, base = doublings(spec, config.base_size)
        stages = plan(config, times + 1, config.discriminator_width or config.width)[::-1]
        width = stages[-1].width
        self.from_picture = conv(in_channels, stages[0].width, 1)
        num_blocks = sum(stage.blocks for stage in stages)
        layers: list[nn.Module] = []
        for before, after in pairwise(stages):
            layers += [*before.build(config.expansion, num_blocks), Resample(before.width, after.width, up=False)]
        self.layers = nn.Sequential(*layers, *stages[-1].build(config.expansion, num_blocks))
        self.basis = scaled(nn.Conv2d(width, width, base, groups=width, bias=False), 1.0)
        self.out_features = self.embedding_dim = width  # a bilinear head's embedding is as long as the features, however long

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.basis(self.layers(self.from_picture(with_planes(x, condition)))).flatten(1)


def generator(config, spec: DataSpec, condition_dim: int) -> R3GANGenerator:
    return R3GANGenerator(config, spec, condition_dim)


def backbone(config, spec: DataSpec, condition_dim: int) -> R3GANBackbone:
    return R3GANBackbone(config, spec, spec.shape[0] + condition_dim)
