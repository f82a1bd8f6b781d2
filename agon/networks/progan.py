"""ProGAN's networks (Karras et al., 2018), https://arxiv.org/abs/1710.10196, section 4, appendix A.1, table 2.

Two convolutions at each resolution, twice as high and wide as the one before; equalised learning rate with the rectifier's sqrt(2) in the scale (the first
dense layer sqrt(2) / 4, the last ones and the layers to pictures 1); the generator normalises every pixel's feature vector, the discriminator ends with
the minibatch standard deviation. Upsampling is nearest, downsampling the mean of 2x2. Layers to and from pictures exist at every resolution and stay, so
a network can be cut at any ``lod`` (agon/layers/progressive.py). Labels: appended to the latent; the discriminator has class logits beside its score.

A resolution of s pixels has min(channel_base / s, channel_max) channels; 16384 here is the authors' fmap_base 8192. 1024 px, RGB: 23,079,115 and
23,087,249 parameters. As in the authors' code (fused_scale) a convolution before downsampling is followed by bias and rectifier after it; the paper's
table and most ports rectify before.

The same mathematics with less work: nearest upsampling and a 3x3 convolution are one transposed 4x4 convolution of stride 2, a 3x3 convolution and the
mean of 2x2 one 4x4 convolution of stride 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from agon.data.source import DataSpec
from agon.layers.equalized import EqualizedConv2d, EqualizedLinear
from agon.layers.minibatch_std import MinibatchStd
from agon.layers.progressive import Progressive, doubled, halved
from agon.layers.rectifier import rectify
from agon.layers.resample import conv_then_halve, double_then_conv, filter2d
from agon.networks.discriminator import with_condition
from agon.networks.sizes import doublings

SLOPE, GAIN = 0.2, math.sqrt(2)


def channels_at(side: float, config) -> int:
    """Channels of the resolution whose shorter side has so many pixels."""
    return max(1, min(int(config.channel_base / side), config.channel_max))


def pixel_norm(x: Tensor) -> Tensor:
    """x / sqrt(mean of x^2 over dimension 1 + 1e-8), the root in float32 at least."""
    wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    return (wide * (wide.square().mean(1, keepdim=True) + 1e-8).rsqrt()).to(x.dtype)


class FirstBlock(nn.Module):
    """(N, Z) -> (N, C, h, w): pixel norm, dense with one bias for each channel, 3x3."""

    def __init__(self, latent_dim: int, channels: int, size: tuple[int, int], colours: int, *, element_bias: bool = False, norm: bool = True):
        super().__init__()
        self.size, self.norm = size, norm
        self.dense = EqualizedLinear(latent_dim, channels * size[0] * size[1], bias=False, gain=GAIN / 4)
        self.bias = nn.Parameter(torch.zeros((channels, *size) if element_bias else channels))
        self.conv = EqualizedConv2d(channels, channels, 3, gain=GAIN)
        self.torgb = EqualizedConv2d(channels, colours, 1)

    def forward(self, latent: Tensor) -> Tensor:
        x = self.dense(pixel_norm(latent)).unflatten(1, (-1, *self.size))
        x = rectify(x + self.bias.to(x.dtype).view(len(self.bias), *self.bias.shape[1:] or (1, 1)), SLOPE)
        x = pixel_norm(x) if self.norm else x
        return pixel_norm(rectify(self.conv(x), SLOPE))


class UpBlock(nn.Module):
    """(N, C, h, w) -> (N, C', 2h, 2w): doubled, 3x3, 3x3."""

    def __init__(self, before: int, after: int, colours: int):
        super().__init__()
        self.conv0 = EqualizedConv2d(before, after, 3, gain=GAIN)
        self.conv1 = EqualizedConv2d(after, after, 3, gain=GAIN)
        self.torgb = EqualizedConv2d(after, colours, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = double_then_conv(x, self.conv0.weight * self.conv0.scale, self.conv0.bias)
        x = pixel_norm(rectify(x, SLOPE))
        return pixel_norm(rectify(self.conv1(x), SLOPE))


class ProGANGenerator(Progressive):
    """(latent (N, Z), condition (N, K) or None) -> (N, C, H, W), not bounded. Blocks ``b4``, ``b8`` ... by their shorter side."""

    def __init__(self, config, spec: DataSpec, condition_dim: int):
        times, base = doublings(spec, config.base_size)
        super().__init__(times)
        colours, side = spec.shape[0], min(base)
        self.names = [f"b{side << k}" for k in range(times + 1)]
        widths = [channels_at(side << k, config) for k in range(times + 1)]
        first = {"element_bias": config.first_bias == "element", "norm": config.first_norm}
        self.add_module(self.names[0], FirstBlock(config.latent_dim + condition_dim, widths[0], base, colours, **first))
        for k in range(1, times + 1):
            self.add_module(self.names[k], UpBlock(widths[k - 1], widths[k], colours))

    def forward(self, latent: Tensor, condition: Tensor | None = None, native: bool = False) -> Tensor:
        """``native``: at the present resolution; else enlarged to the full one."""
        index, mix = self.position()
        blocks = [getattr(self, name) for name in self.names[: index + 1]]
        return grow(blocks, [block.torgb for block in blocks], with_condition(latent, condition), mix, self.times - index, native)


def grow(steps: Sequence[Callable], torgb: Sequence[Callable], x: Tensor, mix: float, missing: int, native: bool) -> Tensor:
    """All ``steps`` in turn, and the last one's picture with ``mix`` of the doubled picture of the one below, doubled ``missing`` times if not ``native``."""
    before = x
    for step in steps:
        before, x = x, step(x)
    picture = torgb[-1](x)
    if mix:
        picture = torch.lerp(picture, doubled(torgb[-2](before)), mix)
    return picture if native else doubled(picture, missing)


class DownBlock(nn.Module):
    """(N, C, h, w) -> (N, C', h / 2, w / 2): 3x3, (blur,) 3x3 and the mean of 2x2; ``fused``: bias and rectifier come after that mean."""

    def __init__(self, before: int, after: int, colours: int, fused: bool, blur: Tensor | None):
        super().__init__()
        self.fused = fused
        self.fromrgb = EqualizedConv2d(colours, before, 1, gain=GAIN)
        self.conv0 = EqualizedConv2d(before, before, 3, gain=GAIN)
        self.conv1 = EqualizedConv2d(before, after, 3, gain=GAIN)
        self.register_buffer("blur", blur, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = rectify(self.conv0(x), SLOPE)
        x = x if self.blur is None else filter2d(x, self.blur)
        if self.fused:
            return rectify(conv_then_halve(x, self.conv1.weight * self.conv1.scale, self.conv1.bias), SLOPE)
        return halved(rectify(self.conv1(x), SLOPE))


class LastBlock(nn.Module):
    """(N, C, h, w) -> features (N, F); ``out`` is the layer behind them."""

    def __init__(self, channels: int, features: int, size: tuple[int, int], colours: int, outputs: int, group: int):
        super().__init__()
        self.fromrgb = EqualizedConv2d(colours, channels, 1, gain=GAIN)
        self.spread = MinibatchStd(group) if group > 1 else None
        self.conv = EqualizedConv2d(channels + (group > 1), channels, 3, gain=GAIN)
        self.fc = EqualizedLinear(channels * size[0] * size[1], features, gain=GAIN)
        self.out = EqualizedLinear(features, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.spread is None else self.spread(x)
        return rectify(self.fc(rectify(self.conv(x), SLOPE).flatten(1)), SLOPE)


class ProGANDiscriminator(Progressive):
    """(samples, condition) -> (N,), or (N, 1 + K) with class logits behind. Pictures come at any resolution from the present one upwards."""

    def __init__(self, config, spec: DataSpec, outputs: int = 1, *, fused: bool = True, blur: Tensor | None = None):
        times, base = doublings(spec, config.base_size)
        super().__init__(times)
        colours, side = spec.shape[0], min(base)
        self.height = base[0]
        self.names = [f"b{side << k}" for k in range(times + 1)]
        widths = [channels_at(side << k, config) for k in range(times + 1)]
        for k in range(times, 0, -1):
            self.add_module(self.names[k], DownBlock(widths[k], widths[k - 1], colours, fused, blur))
        self.add_module(self.names[0], LastBlock(widths[0], channels_at(side / 2, config), base, colours, outputs, config.minibatch_std))

    def features(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """(N, F): what the last layer sees."""
        present, mix = self.position()
        index = (x.shape[2] // self.height).bit_length() - 1
        if index > present:
            x, index = halved(x, index - present), present
        blocks = [getattr(self, name) for name in self.names[: index + 1]]
        picture, x = x, rectify(blocks[index].fromrgb(x), SLOPE)
        if index and mix and index == present:
            below = rectify(blocks[index - 1].fromrgb(halved(picture)), SLOPE)
            x, index = torch.lerp(blocks[index](x), below, mix), index - 1
        for block in reversed(blocks[: index + 1]):
            x = block(x)
        return x

    def outputs(self, x: Tensor) -> Tensor:
        """All outputs, float32 at least."""
        out = getattr(self, self.names[0]).out(self.features(x))
        return out.to(torch.promote_types(out.dtype, torch.float32))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        out = self.outputs(x)
        return out if out.shape[1] > 1 else out.squeeze(1)


def generator(config, spec: DataSpec, condition_dim: int) -> ProGANGenerator:
    return ProGANGenerator(config, spec, condition_dim)


def discriminator(config, spec: DataSpec, condition_dim: int) -> ProGANDiscriminator:
    return ProGANDiscriminator(config, spec, 1 + condition_dim, fused=config.fused_scale)


# --- the authors' names -----------------------------------------------------------------------------------------------------------------

Names = dict[str, tuple[str, Callable[[Tensor], Tensor]]]


def same(value: Tensor) -> Tensor:
    return value


def dense(value: Tensor) -> Tensor:
    """(in, out) -> (out, in)."""
    return value.T


def conv(value: Tensor) -> Tensor:
    """(k, k, in, out) -> (out, in, k, k)."""
    return value.permute(3, 2, 0, 1)


def transposed_conv(value: Tensor) -> Tensor:
    """(k, k, out, in), of a transposed convolution -> (out, in, k, k) of a convolution."""
    return value.permute(2, 3, 0, 1).flip(2, 3)


def layer(ours: str, theirs: str, weight: Callable[[Tensor], Tensor]) -> Names:
    """Weight and bias of one layer."""
    return {f"{ours}.weight": (f"{theirs}/weight", weight), f"{ours}.bias": (f"{theirs}/bias", same)}


def sides(resolution: int) -> list[int]:
    """[4, 8 ... resolution]."""
    return [4 << k for k in range(resolution.bit_length() - 2)]


def official_generator_names(resolution: int, fused_scale: bool = True) -> Names:
    """Our state -> (variable of the authors' TensorFlow network ``G_paper``, how to turn it into ours). Without ``fused_scale`` the networks have
    plain convolutions after upsampling (those that the authors converted from Theano)."""
    names: Names = {
        "lod": ("lod", same), "b4.dense.weight": ("4x4/Dense/weight", dense), "b4.bias": ("4x4/Dense/bias", same), **layer("b4.conv", "4x4/Conv", conv),
    }  # fmt: skip
    for k, side in enumerate(sides(resolution)):
        names |= layer(f"b{side}.torgb", f"ToRGB_lod{len(sides(resolution)) - 1 - k}", conv)
        if k:
            place = f"{side}x{side}"
            names |= layer(f"b{side}.conv0", f"{place}/Conv0_up", transposed_conv) if fused_scale else layer(f"b{side}.conv0", f"{place}/Conv0", conv)
            names |= layer(f"b{side}.conv1", f"{place}/Conv1", conv)
    return names


def official_discriminator_names(resolution: int, down: str = "Conv1_down") -> Names:
    """The same for ``D_paper`` and StyleGAN's ``D_basic``. ``down``: ``Conv1`` in a ``D_paper`` without ``fused_scale``, for which the field
    ``fused_scale`` is to be false too: its second convolutions rectify before they halve."""
    names: Names = {"lod": ("lod", same), **layer("b4.conv", "4x4/Conv", conv), **layer("b4.fc", "4x4/Dense0", dense), **layer("b4.out", "4x4/Dense1", dense)}
    for k, side in enumerate(sides(resolution)):
        names |= layer(f"b{side}.fromrgb", f"FromRGB_lod{len(sides(resolution)) - 1 - k}", conv)
        if k:
            names |= layer(f"b{side}.conv0", f"{side}x{side}/Conv0", conv) | layer(f"b{side}.conv1", f"{side}x{side}/{down}", conv)
    return names
