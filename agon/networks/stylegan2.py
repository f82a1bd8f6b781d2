"""StyleGAN2's networks (Karras et al., 2020), https://arxiv.org/abs/1912.04958, section 2, figure 2, and the authors' PyTorch version of ADA.

A mapping network turns latent and condition into a style w per layer; the synthesis network starts from a learned constant, modulates each convolution by
its style, adds noise and sums up pictures of all resolutions ("skip"), or adds a residual branch ("resnet"), or neither ("orig"). The discriminator has
two convolutions per resolution, residual by default, and the minibatch's deviation at the end; conditional: projection on a mapped condition.
Names of the weights are the authors'. 256x256, channel_base 16384: 24,767,458 and 24,001,089 parameters, with 1000 classes 25,542,114 and 26,876,992.

Any rectangle whose sides halve: resolutions are named by their shorter side, and widths counted from the smallest one (min(channel_base / 4,
channel_max) there, halved cap with every doubling), so that squares that start from 4 have the authors' widths. Random numbers come per sample from the draws
that are passed in; style mixing has its crossover per sample. Scales (of the equalised learning rate, the rectifier, the demodulation) are folded into
weights or into each other where that saves a pass over the activations.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agon.data.source import DataSpec
from agon.game import Draws
from agon.layers.equalized import EqualizedConv2d, EqualizedLinear
from agon.layers.minibatch_std import MinibatchStd
from agon.layers.resample import conv_down, conv_up, downsample2d, fir, upsample2d
from agon.layers.style import GAIN, MappingNetwork, bias_act, mixed, modulated_conv2d
from agon.networks.sizes import doublings

TAPS = (1, 3, 3, 1)


def resolutions(spec: DataSpec, config) -> list[tuple[tuple[int, int], int]]:
    """((height, width), channels) from the smallest resolution to the largest."""
    times, (height, width) = doublings(spec, config.base_size)
    return [((height << i, width << i), max(1, min(config.channel_base // (4 << i), config.channel_max))) for i in range(times + 1)]


class StyledConv(nn.Module):
    """Modulated 3x3 convolution (after doubling, if ``up``), noise, bias, scaled leaky rectifier, clamp.

    (N, in, h, w) and w (N, w_dim) -> (N, out, *size).
    """

    def __init__(self, before: int, after: int, *, w_dim: int, size: tuple[int, int], up: bool = False, noise: bool = True, clamp: float = 0.0):
        super().__init__()
        self.size, self.clamp = size, clamp
        self.affine = EqualizedLinear(w_dim, before, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(after, before, 3, 3))
        self.bias = nn.Parameter(torch.zeros(after))
        self.noise_strength = nn.Parameter(torch.zeros(())) if noise else None
        self.register_buffer("noise_const", torch.randn(*size) if noise else None)
        self.register_buffer("kernel", fir(TAPS) if up else None, persistent=False)

    def forward(self, x: Tensor, w: Tensor, draws: Draws | None, noise: str = "const", gain: float = 1.0) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            style = self.affine(w)
        x = modulated_conv2d(x, self.weight, style, up_kernel=self.kernel, gain=GAIN * gain)
        if noise != "none" and self.noise_strength is not None:
            planes = self.noise_const if noise == "const" else draws.normal(len(x), 1, *self.size)
            x = x + (planes * (self.noise_strength * (GAIN * gain))).to(x.dtype)
        return bias_act(x, self.bias, gain, self.clamp, scaled=True)


class ToPicture(nn.Module):
    """Modulated 1x1 convolution without demodulation, bias, clamp: (N, in, H, W) -> (N, colours, H, W) in float32."""

    def __init__(self, before: int, colours: int, w_dim: int, clamp: float = 0.0):
        super().__init__()
        self.clamp, self.scale = clamp, 1 / math.sqrt(before)
        self.affine = EqualizedLinear(w_dim, before, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(colours, before, 1, 1))
        self.bias = nn.Parameter(torch.zeros(colours))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            # few colours: here the weight of each sample is smaller than its activations
            weight = self.affine(w, self.scale)[:, None] * self.weight[:, :, 0, 0]
        x = torch.matmul(weight.to(x.dtype), x.flatten(2)).unflatten(2, x.shape[2:])
        x = x.to(self.bias.dtype) + self.bias[:, None, None]
        return x.clamp(-self.clamp, self.clamp) if self.clamp else x


class SynthesisBlock(nn.Module):
    """The layers of one resolution."""

    def __init__(self, before: int, after: int, size: tuple[int, int], *, colours: int, last: bool, config):
        super().__init__()
        self.architecture, self.clamp = config.generator_architecture, config.clamp
        self.register_buffer("kernel", fir(TAPS), persistent=False)
        common = {"w_dim": config.w_dim, "size": size, "noise": config.noise, "clamp": config.clamp}
        self.const = None if before else nn.Parameter(torch.randn(after, *size))
        self.conv0 = StyledConv(before, after, up=True, **common) if before else None
        self.conv1 = StyledConv(after, after, **common)
        self.torgb = ToPicture(after, colours, config.w_dim, config.clamp) if last or self.architecture == "skip" else None
        self.skip = EqualizedConv2d(before, after, 1, bias=False) if before and self.architecture == "resnet" else None
        self.num_convs = 2 if before else 1

    def forward(self, x: Tensor | None, picture: Tensor | None, w: Tensor, draws: Draws | None, noise: str) -> tuple[Tensor, Tensor | None]:
        """``w`` (N, num_convs + 1, w_dim): the last one is the picture's."""
        if self.const is not None:
            x = self.conv1(self.const.expand(len(w), -1, -1, -1), w[:, 0], draws, noise)
        elif self.skip is not None:
            short = conv_up(x, self.skip.weight * (self.skip.scale * math.sqrt(0.5)), self.kernel)
            x = self.conv1(self.conv0(x, w[:, 0], draws, noise), w[:, 1], draws, noise, math.sqrt(0.5))
            x = short + x
        else:
            x = self.conv1(self.conv0(x, w[:, 0], draws, noise), w[:, 1], draws, noise)
        if picture is not None:
            with torch.autocast(x.device.type, enabled=False):
                picture = upsample2d(picture, self.kernel)
        if self.torgb is not None:
            own = self.torgb(x, w[:, self.num_convs])
            picture = own if picture is None else picture + own
        return x, picture


class Synthesis(nn.Module):
    """w (N, num_ws, w_dim) -> pictures (N, C, H, W), float32, not bounded. A block's style for its picture is the next block's first one."""

    def __init__(self, config, spec: DataSpec):
        super().__init__()
        self.blocks, self.num_ws, before = [], 1, 0
        levels = resolutions(spec, config)
        for i, (size, channels) in enumerate(levels):
            self.blocks.append(f"b{min(size)}")
            block = SynthesisBlock(before, channels, size, colours=spec.shape[0], last=i == len(levels) - 1, config=config)
            self.add_module(self.blocks[-1], block)
            self.num_ws, before = self.num_ws + block.num_convs, channels

    def forward(self, w: Tensor, draws: Draws | None = None, noise: str | None = None) -> Tensor:
        """``noise``: "random" (the default where there are draws), "const" (the layers' own, the default without) or "none"."""
        noise = noise or ("const" if draws is None else "random")
        x = picture = None
        at = 0
        for name in self.blocks:
            block = getattr(self, name)
            x, picture = block(x, picture, w[:, at : at + block.num_convs + 1], draws, noise)
            at += block.num_convs
        return picture


class StyleGAN2Generator(nn.Module):
    """(N, Z) -> (N, C, H, W)."""

    def __init__(self, config, spec: DataSpec, condition_dim: int):
        super().__init__()
        self.synthesis = Synthesis(config, spec)
        self.num_ws, self.w_dim, self.latent_dim = self.synthesis.num_ws, config.w_dim, config.latent_dim
        self.mapping = MappingNetwork(config.latent_dim, condition_dim, config.w_dim, self.num_ws, config.mapping_layers, config.mapping_lr)

    def forward(
        self, latent: Tensor, condition: Tensor | None = None, draws: Draws | None = None, mixing: float = 0.0, noise: str | None = None,
        truncation: float = 1.0, truncation_layers: int | None = None,
    ) -> Tensor:  # fmt: skip
        """``mixing``: the probability that a sample takes its styles from a second latent from a random layer on."""
        return self.synthesis(self.styles(latent, condition, draws, mixing, truncation, truncation_layers), draws, noise)

    def styles(
        self, latent: Tensor, condition: Tensor | None = None, draws: Draws | None = None, mixing: float = 0.0,
        truncation: float = 1.0, truncation_layers: int | None = None,
    ) -> Tensor:  # fmt: skip
        """(N, num_ws, w_dim), mixed and truncated."""
        w = self.mapping(latent, condition, truncation, truncation_layers)
        if mixing == 0 or draws is None:
            return w
        n = len(latent)
        other = self.mapping(draws.normal(n, self.latent_dim), condition, truncation, truncation_layers, observe=False)
        return mixed(w, other, draws.uniform(n, 2), mixing, self.num_ws)


class DiscriminatorConv(nn.Module):
    """Convolution, (halving with a filter,) bias, scaled leaky rectifier, clamp."""

    def __init__(self, before: int, after: int, kernel: int, *, clamp: float, down: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(after))
        self.scale, self.clamp = 1 / math.sqrt(before * kernel**2), clamp
        self.register_buffer("kernel", fir(TAPS) if down else None, persistent=False)

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        weight = self.weight * (self.scale * GAIN * gain)
        x = F.conv2d(x, weight, padding=weight.shape[2] // 2) if self.kernel is None else conv_down(x, weight, self.kernel)
        return bias_act(x, self.bias, gain, self.clamp, scaled=True)


class DiscriminatorBlock(nn.Module):
    """The layers of one resolution, but the smallest."""

    def __init__(self, before: int, after: int, *, colours: int, first: bool, config):
        super().__init__()
        self.architecture = config.discriminator_architecture
        self.register_buffer("kernel", fir(TAPS), persistent=False)
        self.fromrgb = DiscriminatorConv(colours, before, 1, clamp=config.clamp) if first or self.architecture == "skip" else None
        self.conv0 = DiscriminatorConv(before, before, 3, clamp=config.clamp)
        self.conv1 = DiscriminatorConv(before, after, 3, clamp=config.clamp, down=True)
        self.skip = EqualizedConv2d(before, after, 1, bias=False) if self.architecture == "resnet" else None

    def forward(self, x: Tensor | None, picture: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if self.fromrgb is not None:
            own = self.fromrgb(picture)
            x = own if x is None else x + own
            picture = downsample2d(picture, self.kernel) if self.architecture == "skip" else None
        if self.skip is None:
            return self.conv1(self.conv0(x)), picture
        short = conv_down(x, self.skip.weight * (self.skip.scale * math.sqrt(0.5)), self.kernel)
        return short + self.conv1(self.conv0(x), math.sqrt(0.5)), picture


class Epilogue(nn.Module):
    """The smallest resolution: features (N, F), then logits (N,)."""

    def __init__(self, channels: int, size: tuple[int, int], *, colours: int, map_dim: int, config):
        super().__init__()
        planes = config.minibatch_std_channels if config.minibatch_std else 0
        self.fromrgb = DiscriminatorConv(colours, channels, 1, clamp=0.0) if config.discriminator_architecture == "skip" else None  # no clamp: the authors'
        self.mbstd = MinibatchStd(config.minibatch_std, planes) if planes else None
        self.conv = DiscriminatorConv(channels + planes, channels, 3, clamp=config.clamp)
        self.fc = EqualizedLinear(channels * math.prod(size), channels)
        self.out = EqualizedLinear(channels, map_dim or 1)

    def features(self, x: Tensor, picture: Tensor | None) -> Tensor:
        if self.fromrgb is not None:
            x = x + self.fromrgb(picture)
        x = self.conv(x if self.mbstd is None else self.mbstd(x))
        return bias_act(self.fc(x.flatten(1), GAIN), scaled=True)

    def forward(self, features: Tensor, mapped: Tensor | None) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            out = self.out(features.to(self.out.weight.dtype))
            return out[:, 0] if mapped is None else (out * mapped).sum(1) / math.sqrt(mapped.shape[1])


class StyleGAN2Discriminator(nn.Module):
    """(N, C, H, W) and the condition (N, K) or None -> logits (N,), float32."""

    def __init__(self, config, spec: DataSpec, condition_dim: int):
        super().__init__()
        levels = resolutions(spec, config)[::-1]
        self.blocks = [f"b{min(size)}" for size, _ in levels]
        for i, ((_, before), (_, after)) in enumerate(zip(levels, levels[1:], strict=False)):
            self.add_module(self.blocks[i], DiscriminatorBlock(before, after, colours=spec.shape[0], first=i == 0, config=config))
        size, channels = levels[-1]
        if condition_dim:
            self.mapping = MappingNetwork(0, condition_dim, channels, 0, config.discriminator_mapping_layers, config.mapping_lr)
        else:
            self.mapping = None
        self.add_module(self.blocks[-1], Epilogue(channels, size, colours=spec.shape[0], map_dim=channels if condition_dim else 0, config=config))
        self.out_features = channels

    def features(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """(N, F): what the last linear layer sees."""
        picture, x = x, None
        for name in self.blocks[:-1]:
            x, picture = getattr(self, name)(x, picture)
        return getattr(self, self.blocks[-1]).features(x, picture)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        mapped = None if self.mapping is None else self.mapping(None, condition)
        return getattr(self, self.blocks[-1])(self.features(x), mapped)


def generator(config, spec: DataSpec, condition_dim: int) -> StyleGAN2Generator:
    return StyleGAN2Generator(config, spec, condition_dim)


def discriminator(config, spec: DataSpec, condition_dim: int) -> StyleGAN2Discriminator:
    return StyleGAN2Discriminator(config, spec, condition_dim)
