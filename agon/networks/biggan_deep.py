"""BigGAN-deep's networks (Brock et al., 2019), https://arxiv.org/abs/1809.11096, appendix B, tables 7 to 9, as in the first author's PyTorch code.

Bottleneck blocks of 1x1, 3x3, 3x3, 1x1 convolutions at a quarter of the width, ``blocks`` of them at each resolution; shortcuts without weights where they can
be: the generator drops channels, the discriminator keeps its channels and appends new ones. Every norm and the first layer get the whole [class embedding,
latent]. Widths are BigGAN's; the discriminator begins with a convolution and has no block that leaves the last resolution as it is.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agon.data.source import DataSpec
from agon.layers.attention import SelfAttention
from agon.layers.rectifier import rectify
from agon.networks.biggan import ConditionalNorm, ToPicture, discriminator_stages, free_name, generator_widths, shared_embedding, summed
from agon.networks.discriminator import with_condition, with_planes
from agon.networks.resnet import up_then_conv
from agon.networks.sizes import doublings

RATIO = 4
"""A block is so many times narrower inside."""


def bottleneck(before: int, inside: int, after: int) -> list[nn.Conv2d]:
    return [nn.Conv2d(before, inside, 1), nn.Conv2d(inside, inside, 3, 1, 1), nn.Conv2d(inside, inside, 3, 1, 1), nn.Conv2d(inside, after, 1)]


class DeepGeneratorBlock(nn.Module):
    """Four times norm, ReLU, convolution, with the upsampling before the second; shortcut: the first ``after`` channels, up."""

    def __init__(self, before: int, after: int, condition_dim: int, *, up: bool, **norm):
        super().__init__()
        inside = max(1, before // RATIO)
        self.after, self.up = after, up
        self.conv1, self.conv2, self.conv3, self.conv4 = bottleneck(before, inside, after)
        self.norm1 = ConditionalNorm(before, condition_dim, **norm)
        self.norm2, self.norm3, self.norm4 = (ConditionalNorm(inside, condition_dim, **norm) for _ in range(3))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.norm1(x, condition)))
        y = F.relu(self.norm2(y, condition))
        y = up_then_conv(y, self.conv2) if self.up else self.conv2(y)
        y = self.conv3(F.relu(self.norm3(y, condition)))
        y = self.conv4(F.relu(self.norm4(y, condition)))
        x = x[:, : self.after]
        return y + (F.interpolate(x, scale_factor=2, mode="nearest") if self.up else x)


class DeepGenerator(nn.Module):
    """(N, Z) -> (N, C, H, W) in [-1, 1]."""

    def __init__(self, config, spec: DataSpec, condition_dim: int):
        super().__init__()
        times, self.base = doublings(spec, config.base_size)
        widths = generator_widths(config, times)
        self.shared = shared_embedding(config, condition_dim)
        seen = config.latent_dim + (config.embedding_dim if self.shared else condition_dim)
        norm = {"norm": config.generator_norm, "eps": config.norm_eps}
        self.project = nn.Linear(seen, widths[0] * math.prod(self.base))
        self.blocks = nn.ModuleDict()
        for i, (before, after) in enumerate(zip(widths, widths[1:], strict=False)):
            side = min(self.base) << (i + 1)
            for k in range(config.blocks):
                last = k == config.blocks - 1
                self.blocks[free_name(self.blocks, side)] = DeepGeneratorBlock(before, after if last else before, seen, up=last, **norm)
            if side in config.attention:
                self.blocks[f"b{side}_attention"] = SelfAttention(after)
        self.to_picture = ToPicture(widths[-1], spec.shape[0], **norm)

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        condition = condition if self.shared is None else self.shared(condition)
        seen = latent if condition is None else with_condition(condition, latent)
        x = self.project(seen).unflatten(1, (-1, *self.base))
        for layer in self.blocks.values():
            x = layer(x, seen)
        return self.to_picture(x)


class DeepDiscriminatorBlock(nn.Module):
    """ReLU, 1x1, ReLU, 3x3, ReLU, 3x3, ReLU(, pool), 1x1; shortcut: (pool,) and new channels from a 1x1 convolution behind the old ones."""

    def __init__(self, before: int, after: int, *, down: bool):
        super().__init__()
        self.down = down
        self.conv1, self.conv2, self.conv3, self.conv4 = bottleneck(before, max(1, after // RATIO), after)
        self.shortcut = nn.Conv2d(before, after - before, 1) if after > before else None

    def forward(self, x: Tensor) -> Tensor:
        y = rectify(self.conv2(rectify(self.conv1(rectify(x)))))
        y = rectify(self.conv3(y))
        if self.down:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        return self.conv4(y) + (x if self.shortcut is None else torch.cat([x, self.shortcut(x)], 1))


class DeepBackbone(nn.Module):
    """(N, C, H, W) -> (N, F) features, summed over positions. Blocks are named by the shorter side they are given."""

    def __init__(self, config, spec: DataSpec, in_channels: int):
        super().__init__()
        widths, downs, attended = discriminator_stages(config, spec)
        layers: OrderedDict[str, nn.Module] = OrderedDict(from_picture=nn.Conv2d(in_channels, widths[0], 3, 1, 1))
        side = min(spec.shape[1:])
        for before, after, down, attends in zip(widths, widths[1:], downs, attended, strict=False):
            for k in range(config.blocks):
                name = free_name(layers, side)
                layers[name] = DeepDiscriminatorBlock(after if k else before, after, down=down and k == 0)
                side = side // 2 if down and k == 0 else side
            if attends:
                layers[f"{name}_attention"] = SelfAttention(after)
        self.blocks = nn.Sequential(layers)
        self.out_features = widths[-1]

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return summed(rectify(self.blocks(with_planes(x, condition))))


def generator(config, spec: DataSpec, condition_dim: int) -> DeepGenerator:
    return DeepGenerator(config, spec, condition_dim)


def backbone(config, spec: DataSpec, condition_dim: int) -> DeepBackbone:
    return DeepBackbone(config, spec, spec.shape[0] + condition_dim)
