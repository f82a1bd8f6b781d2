"""BigGAN's residual networks (Brock et al., 2019), https://arxiv.org/abs/1809.11096, appendix B, tables 4 to 6, and SAGAN's, in their PyTorch form.

Generator: pre-activation blocks, nearest upsampling, self-attention; batch norm's gain 1 + A u and shift B u come from u = [shared embedding of the class,
a part of the latent of its own for every block] ("hierarchical"), or from a table of the classes in every norm (``shared_embedding`` false, as in SAGAN).
Without classes u is the part of the latent alone, and without that gains and shifts are plain parameters. Discriminator: no norm, first block not
pre-activated, sum over positions; head and projection are :class:`agon.networks.discriminator.Discriminator`'s. Widths are those of the first author's
code for 32, 64, 128, 256 and 512 pixels from 4x4; other numbers of doublings take the nearest. The same work-saving identities as in
:mod:`agon.networks.resnet`.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agon.data.source import DataSpec
from agon.errors import UserError
from agon.layers.attention import SelfAttention
from agon.layers.rectifier import rectify
from agon.networks.discriminator import with_condition, with_planes
from agon.networks.resnet import conv_then_pool, up_then_conv
from agon.networks.sizes import doublings

GENERATOR = {3: (4, 4, 4, 4), 4: (16, 16, 8, 4, 2), 5: (16, 16, 8, 4, 2, 1), 6: (16, 16, 8, 8, 4, 2, 1), 7: (16, 16, 8, 8, 4, 2, 1, 1)}
"""Doublings -> channels at each resolution from the first, in multiples of ``width``."""
DISCRIMINATOR = {3: (4, 4, 4, 4), 4: (1, 2, 4, 8, 16), 5: (1, 2, 4, 8, 16, 16), 6: (1, 2, 4, 8, 8, 16, 16), 7: (1, 1, 2, 4, 8, 8, 16, 16)}
"""Doublings -> channels behind each block from the picture on, in multiples of ``discriminator_width``."""
LOWEST, HIGHEST = min(GENERATOR), max(GENERATOR)


def generator_widths(config, times: int) -> list[int]:
    """Channels at each of the ``times`` + 1 resolutions."""
    known = GENERATOR[min(max(times, LOWEST), HIGHEST)]
    multiples = config.multiples or (known[: times + 1] + (1,) * (times - HIGHEST))
    if len(multiples) != times + 1:
        raise UserError("{given} multiples of the width are given for {count} resolutions. Expected {count}, or none.", given=len(multiples), count=times + 1)
    return [config.width * multiple for multiple in multiples]


def discriminator_stages(config, spec: DataSpec) -> tuple[list[int], list[bool], list[bool]]:
    """(widths behind each block, which blocks halve the picture, which are followed by attention)."""
    times, _ = doublings(spec, config.base_size)
    width = config.discriminator_width or config.width
    widths = [width * m for m in (1,) * (times - HIGHEST) + DISCRIMINATOR[min(max(times, LOWEST), HIGHEST)]]
    downs = [True, times > 2, False, False] if times <= LOWEST else [True] * times + [False]
    sides = [min(spec.shape[1:]) >> sum(downs[: i + 1]) for i in range(len(downs))]
    if config.discriminator_attention:
        return widths, downs, [i + 1 in config.discriminator_attention for i in range(len(downs))]
    return widths, downs, [side in config.attention for side in sides]


def truncated(latent: Tensor, threshold: float | None, count: int | None = None) -> Tensor:
    """Standard normal numbers -> numbers with the distribution of normals drawn anew until they lie in [-threshold, threshold] (the truncation trick).

    x = F^-1(F(z)) for the two distribution functions: each z has its own x, smoothly in both z and the threshold. None: z as it is. ``threshold`` > 0.
    ``count``: the first so many numbers of each sample alone (what follows is a mixture's choice of component).
    """
    if threshold is None:
        return latent
    if not threshold > 0:
        raise UserError("The truncation threshold {value} is out of range. Expected a number above 0, such as 0.5, or none.", value=threshold)
    latent, rest = latent[..., :count], latent[..., latent.shape[-1] if count is None else count :]
    tail = torch.special.ndtr(torch.tensor(-float(threshold), device=latent.device))
    lower = tail + torch.special.ndtr(-latent.abs()) * (1 - 2 * tail)  # the lower half: float32 is exact next to 0, not next to 1
    return torch.cat([latent.sign() * torch.special.ndtri(lower).abs().clamp(max=threshold), rest], -1)


class ConditionalNorm(nn.Module):
    """norm(x) (1 + A u) + B u; without u (``condition_dim`` 0) with a plain gain and shift. ``norm``: batch or none.

    ``table``: u is one-hot and A, B hold a row for each class: spectral normalisation leaves their scale.
    """

    def __init__(self, channels: int, condition_dim: int, *, norm: str, eps: float, table: bool = False):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, eps=eps, affine=condition_dim == 0) if norm == "batch" else nn.Identity()
        self.gain = self.shift = None
        if condition_dim:
            self.gain, self.shift = (nn.Linear(condition_dim, channels, bias=False) for _ in range(2))
            self.gain.free_scale = self.shift.free_scale = table

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        x = self.norm(x)
        if self.gain is None:
            return x
        gain, shift = self.gain(condition), self.shift(condition)
        gain = 1 + gain.to(torch.promote_types(gain.dtype, torch.float32))
        return torch.addcmul(shift.to(x.dtype)[:, :, None, None], x, gain.to(x.dtype)[:, :, None, None])


class GeneratorBlock(nn.Module):
    """norm, ReLU, up, conv, norm, ReLU, conv; shortcut up, 1x1."""

    def __init__(self, before: int, after: int, condition_dim: int, **norm):
        super().__init__()
        self.norm1, self.norm2 = ConditionalNorm(before, condition_dim, **norm), ConditionalNorm(after, condition_dim, **norm)
        self.conv1, self.conv2 = nn.Conv2d(before, after, 3, 1, 1), nn.Conv2d(after, after, 3, 1, 1)
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        y = up_then_conv(F.relu(self.norm1(x, condition)), self.conv1)
        y = self.conv2(F.relu(self.norm2(y, condition)))
        return y + F.interpolate(self.shortcut(x), scale_factor=2, mode="nearest")


class ToPicture(nn.Module):
    """norm, ReLU, conv, tanh."""

    def __init__(self, width: int, channels: int, **norm):
        super().__init__()
        self.norm, self.conv = ConditionalNorm(width, 0, **norm), nn.Conv2d(width, channels, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.relu(self.norm(x))).tanh()


class BigGANGenerator(nn.Module):
    """(N, Z) -> (N, C, H, W) in [-1, 1]. A hierarchical latent is cut into Z // (blocks + 1) numbers for the first layer and each block; a rest is not used."""

    def __init__(self, config, spec: DataSpec, condition_dim: int):
        super().__init__()
        times, self.base = doublings(spec, config.base_size)
        widths = generator_widths(config, times)
        self.part = config.latent_dim // (times + 1) if config.hierarchical else 0
        if config.hierarchical and not self.part:
            raise UserError("A latent of {given} numbers has none for some of {count} parts. Expected latent_dim of {count} or more, or hierarchical false.",
                            given=config.latent_dim, count=times + 1)  # fmt: skip
        self.shared = shared_embedding(config, condition_dim)
        seen = (config.embedding_dim if self.shared else condition_dim) + self.part
        norm = {"norm": config.generator_norm, "eps": config.norm_eps}
        self.project = nn.Linear(self.part or config.latent_dim, widths[0] * math.prod(self.base))
        self.blocks = nn.ModuleDict()
        for i, (before, after) in enumerate(zip(widths, widths[1:], strict=False)):
            side = min(self.base) << (i + 1)
            self.blocks[f"b{side}"] = GeneratorBlock(before, after, seen, **norm, table=not (self.shared or self.part))
            if side in config.attention:
                self.blocks[f"b{side}_attention"] = SelfAttention(after)
        self.to_picture = ToPicture(widths[-1], spec.shape[0], **norm)

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        condition = condition if self.shared is None else self.shared(condition)
        first, conditions = self._split(latent, condition)
        x = self.project(first).unflatten(1, (-1, *self.base))
        for layer in self.blocks.values():
            x = layer(x) if isinstance(layer, SelfAttention) else layer(x, next(conditions))
        return self.to_picture(x)

    def _split(self, latent: Tensor, condition: Tensor | None) -> tuple[Tensor, Iterator[Tensor | None]]:
        """What the first layer gets, and what each block's norms get."""
        blocks = sum(not isinstance(layer, SelfAttention) for layer in self.blocks.values())
        if not self.part:
            return latent, iter([condition] * blocks)
        first, *parts = latent[:, : self.part * (blocks + 1)].split(self.part, 1)
        return first, iter(parts if condition is None else [with_condition(condition, part) for part in parts])


def shared_embedding(config, condition_dim: int) -> nn.Linear | None:
    """The classes' one embedding, never spectral-normalised."""
    if not (condition_dim and config.shared_embedding):
        return None
    embedding = nn.Linear(condition_dim, config.embedding_dim, bias=False)
    embedding.free_scale = True
    return embedding


class DiscriminatorBlock(nn.Module):
    """(ReLU,) conv, ReLU, conv(, pool); shortcut 1x1(, pool) where the shape changes."""

    def __init__(self, before: int, after: int, *, down: bool, first: bool):
        super().__init__()
        self.down, self.first = down, first
        self.conv1, self.conv2 = nn.Conv2d(before, after, 3, 1, 1), nn.Conv2d(after, after, 3, 1, 1)
        self.shortcut = nn.Conv2d(before, after, 1) if down or before != after else None

    def forward(self, x: Tensor) -> Tensor:
        y = rectify(self.conv1(x if self.first else rectify(x)))
        y = conv_then_pool(y, self.conv2) if self.down else self.conv2(y)
        x = F.avg_pool2d(x, 2) if self.down else x
        return y + (x if self.shortcut is None else self.shortcut(x))


class BigGANBackbone(nn.Module):
    """(N, C, H, W) -> (N, F) features, summed over positions. Blocks are named by the shorter side they are given."""

    def __init__(self, config, spec: DataSpec, in_channels: int):
        super().__init__()
        widths, downs, attended = discriminator_stages(config, spec)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        side = min(spec.shape[1:])
        for i, (before, after, down) in enumerate(zip([in_channels, *widths], widths, downs, strict=False)):
            name = free_name(layers, side)
            layers[name] = DiscriminatorBlock(before, after, down=down, first=i == 0)
            if attended[i]:
                layers[f"{name}_attention"] = SelfAttention(after)
            side = side // 2 if down else side
        self.blocks = nn.Sequential(layers)
        self.out_features = widths[-1]

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return summed(rectify(self.blocks(with_planes(x, condition))))


def summed(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C), in single precision or better."""
    return x.sum((2, 3), dtype=torch.promote_types(x.dtype, torch.float32))


def free_name(taken, side: int) -> str:
    """b8, and b8_1, b8_2 ... for the further blocks of one resolution."""
    names = (f"b{side}" if i == 0 else f"b{side}_{i}" for i in range(len(taken) + 1))
    return next(name for name in names if name not in taken)


def generator(config, spec: DataSpec, condition_dim: int) -> BigGANGenerator:
    return BigGANGenerator(config, spec, condition_dim)


def backbone(config, spec: DataSpec, condition_dim: int) -> BigGANBackbone:
    return BigGANBackbone(config, spec, spec.shape[0] + condition_dim)
