"""StyleGAN's networks (Karras et al., 2019), https://arxiv.org/abs/1812.04948, section 2, figure 1b, and the authors' code.

A mapping network turns the latent into w; every layer of the synthesis network, which starts from a learnt constant, adds noise (one plane a sample, one
strength a channel), bias and leaky ReLU, and then takes mean and standard deviation of each channel out and those that an affine map of w gives in (AdaIN,
equation 1). Upsampling is nearest, a 3x3 convolution, and a [1, 2, 1] blur, zeros outside; the discriminator is ProGAN's with the same blur before its
down-convolutions. It grows like ProGAN; the layers to and from pictures of every resolution stay. A label is embedded, joined to the latent and
normalised with it; the discriminator has one output for each class, of which the sample's is taken (Mescheder et al. 2018).

A resolution of s pixels has min(channel_base / s, channel_max) channels; 16384 here is the authors' fmap_base 8192. 1024 px, RGB: 26,219,627
parameters (mapping 2,101,248) and 23,087,249.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agon.data.source import DataSpec
from agon.game import Draws
from agon.layers.equalized import EqualizedConv2d, EqualizedLinear
from agon.layers.progressive import Progressive
from agon.layers.rectifier import rectify
from agon.layers.resample import double_then_conv, filter2d, fir
from agon.layers.style import MappingNetwork, mixed, normalise_second_moment
from agon.networks.progan import Names, ProGANDiscriminator, channels_at, conv, dense, grow, layer, official_discriminator_names, same, sides
from agon.networks.sizes import doublings

SLOPE, GAIN = 0.2, math.sqrt(2)
FUSED_FROM = 128
"""The authors' code fuses doubling and convolution from this size on: its kernels are then those of a transposed convolution."""


def blur_filter() -> Tensor:
    """(3, 3): the outer product of [1, 2, 1] / 4."""
    taps = torch.tensor([1.0, 2.0, 1.0])
    return fir(torch.outer(taps, taps))


class Mapping(MappingNetwork):
    """(latent (N, Z), condition (N, K) or None) -> w (N, num_ws, w_dim). Unlike StyleGAN2's, the label is embedded in Z numbers without a bias, the
    joined vector is normalised, and sqrt(2) multiplies weights but not biases."""

    def __init__(self, latent_dim: int, condition_dim: int, w_dim: int, num_ws: int, layers: int = 8, lr_multiplier: float = 0.01, decay: float = 0.995):
        super().__init__(latent_dim, 0, w_dim, num_ws, 0, decay=decay)
        self.condition_dim, self.layers = condition_dim, layers
        if condition_dim:
            self.embed = nn.Linear(condition_dim, latent_dim, bias=False)
            nn.init.normal_(self.embed.weight)
        before = 2 * latent_dim if condition_dim else latent_dim
        for i in range(layers):
            setattr(self, f"fc{i}", EqualizedLinear(before if i == 0 else w_dim, w_dim, lr_multiplier=lr_multiplier, gain=GAIN))

    def _map(self, latent: Tensor, condition: Tensor | None) -> Tensor:
        dtype = self.fc0.weight.dtype
        with torch.autocast(latent.device.type, enabled=False):
            x = latent.to(dtype)
            if self.embed is not None:
                x = torch.cat([x, self.embed(condition.to(dtype))], 1)
            x = normalise_second_moment(x)
            for i in range(self.layers):
                x = rectify(getattr(self, f"fc{i}")(x), SLOPE)
        return x


def adaptive_instance_norm(x: Tensor, style: Tensor) -> Tensor:
    """Equation 1: each channel of (N, C, H, W) at mean 0 and variance 1 over its pixels (+ 1e-8), times 1 + scale, plus shift; ``style``: (N, 2C)."""
    wide = x.to(style.dtype)
    scale, shift = style[:, :, None, None].chunk(2, 1)
    variance, mean = torch.var_mean(wide, (2, 3), correction=0, keepdim=True)
    return torch.addcmul(shift, wide - mean, (variance + 1e-8).rsqrt() * (scale + 1)).to(x.dtype)


class StyledLayer(nn.Module):
    """(Doubling, 3x3, blur, or 3x3, or nothing,) noise, bias, leaky ReLU, AdaIN: (N, C, h, w) -> (N, C', h', w').

    What follows the constant (kind "none") is float64 where the device has it: its planes begin constant, so that AdaIN divides them by 1e-4, and the
    gradient of a bias that AdaIN all but cancels would be rounding alone.
    """

    def __init__(self, before: int, after: int, w_dim: int, size: tuple[int, int], kind: str):
        super().__init__()
        self.size, self.kind = size, kind
        self.weight = None if kind == "none" else nn.Parameter(torch.randn(after, before, 3, 3))
        self.scale = GAIN / math.sqrt(9 * before)
        self.bias = nn.Parameter(torch.zeros(after))
        self.noise_strength = nn.Parameter(torch.zeros(after))
        self.register_buffer("noise_const", torch.randn(*size))
        self.affine = EqualizedLinear(w_dim, 2 * after)
        self.register_buffer("blur", blur_filter() if kind == "up" else None, persistent=False)

    def forward(self, x: Tensor, w: Tensor, draws: Draws | None, noise: str) -> Tensor:
        kept = x.dtype
        if self.kind == "up":
            x = filter2d(double_then_conv(x, self.weight * self.scale), self.blur)
        elif self.kind == "conv":
            x = F.conv2d(x, self.weight * self.scale, padding=1)
        elif x.device.type != "mps":
            x = x.double()
        wide = torch.promote_types(x.dtype, self.bias.dtype)
        bias, strength = self.bias.to(wide)[:, None, None], self.noise_strength.to(wide)[:, None, None]
        if noise != "none":
            bias = bias + strength * (self.noise_const if noise == "const" else draws.normal(w.shape[0], 1, *self.size))
        x = rectify(x + bias.to(x.dtype), SLOPE)
        with torch.autocast(x.device.type, enabled=False):
            x = adaptive_instance_norm(x, self.affine(w.to(self.affine.weight.dtype)).to(wide))
        return x.to(kept) if self.kind == "none" else x


class SynthesisBlock(nn.Module):
    """(N, C, h, w) -> (N, C', 2h, 2w), the first (N, ...) -> (N, C, h, w) from its constant; ``w``: (N, num_ws, w_dim), of which it takes its two."""

    def __init__(self, before: int, after: int, index: int, size: tuple[int, int], colours: int, w_dim: int):
        super().__init__()
        self.index = index
        self.const = None if index else nn.Parameter(torch.ones(1, after, *size))
        self.conv0 = StyledLayer(before, after, w_dim, size, "up" if index else "none")
        self.conv1 = StyledLayer(after, after, w_dim, size, "conv")
        self.torgb = EqualizedConv2d(after, colours, 1)

    def forward(self, x: Tensor, w: Tensor, draws: Draws | None, noise: str) -> Tensor:
        if self.const is not None:
            x = self.const.expand(w.shape[0], -1, -1, -1)
        x = self.conv0(x, w[:, 2 * self.index], draws, noise)
        return self.conv1(x, w[:, 2 * self.index + 1], draws, noise)


class Synthesis(Progressive):
    """w (N, num_ws, w_dim) -> pictures (N, C, H, W), not bounded."""

    def __init__(self, config, spec: DataSpec):
        times, base = doublings(spec, config.base_size)
        super().__init__(times)
        side = min(base)
        self.names = [f"b{side << k}" for k in range(times + 1)]
        widths = [channels_at(side << k, config) for k in range(times + 1)]
        for k, name in enumerate(self.names):
            size = (base[0] << k, base[1] << k)
            self.add_module(name, SynthesisBlock(widths[max(0, k - 1)], widths[k], k, size, spec.shape[0], config.w_dim))

    def forward(self, w: Tensor, draws: Draws | None = None, noise: str | None = None, native: bool = False) -> Tensor:
        """``noise``: "random" (the default where there are draws), "const" (the layers' own, the default without) or "none". ``native``: at the present
        resolution; else enlarged to the full one."""
        noise = noise or ("const" if draws is None else "random")
        index, mix = self.position()

        def step(block: SynthesisBlock):
            return lambda x: block(x, w, draws, noise)

        blocks = [getattr(self, name) for name in self.names[: index + 1]]
        return grow([step(block) for block in blocks], [block.torgb for block in blocks], w, mix, self.times - index, native)


class StyleGANGenerator(nn.Module):
    """(latent (N, Z), condition (N, K) or None) -> (N, C, H, W)."""

    def __init__(self, config, spec: DataSpec, condition_dim: int):
        super().__init__()
        self.synthesis = Synthesis(config, spec)
        self.num_ws, self.w_dim = 2 * len(self.synthesis.names), config.w_dim
        self.mapping = Mapping(config.latent_dim, condition_dim, config.w_dim, self.num_ws, config.mapping_layers, decay=config.w_avg_decay)

    def forward(
        self, latent: Tensor, condition: Tensor | None = None, draws: Draws | None = None, mixing: float = 0.0, noise: str | None = None,
        truncation: float = 1.0, truncation_layers: int | None = None, native: bool = False,
    ) -> Tensor:  # fmt: skip
        """``mixing``: the probability with which a sample's layers from a random one on take the styles of a second latent (needs ``draws``)."""
        w = self.mapping(latent, condition, truncation, truncation_layers)
        if mixing:
            w = self.mixed(w, condition, draws, mixing)
        return self.synthesis(w, draws, noise, native)

    def mixed(self, w: Tensor, condition: Tensor | None, draws: Draws, mixing: float) -> Tensor:
        """Crossovers lie among the layers of the present resolution."""
        n, present = len(w), 2 * self.synthesis.position()[0] + 2
        other = self.mapping(draws.normal(n, self.mapping.latent_dim), condition, observe=False)
        return mixed(w, other, draws.uniform(n, 2), mixing, present)


class StyleGANDiscriminator(ProGANDiscriminator):
    """(samples, condition or None) -> (N,): with labels the output that belongs to the sample's."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        out = self.outputs(x)
        return out.squeeze(1) if condition is None else (out * condition).sum(1)


def generator(config, spec: DataSpec, condition_dim: int) -> StyleGANGenerator:
    return StyleGANGenerator(config, spec, condition_dim)


def discriminator(config, spec: DataSpec, condition_dim: int) -> StyleGANDiscriminator:
    return StyleGANDiscriminator(config, spec, max(1, condition_dim), blur=blur_filter())


__all__ = ["discriminator", "generator", "official_discriminator_names", "official_generator_names"]

# --- the authors' names -----------------------------------------------------------------------------------------------------------------


def plane(value: Tensor) -> Tensor:
    """(1, 1, H, W) -> (H, W)."""
    return value[0, 0]


def epilogue(ours: str, theirs: str) -> Names:
    """What follows a convolution: noise, bias, style."""
    return {
        f"{ours}.bias": (f"{theirs}/bias", same), f"{ours}.noise_strength": (f"{theirs}/Noise/weight", same),
        f"{ours}.affine.weight": (f"{theirs}/StyleMod/weight", dense), f"{ours}.affine.bias": (f"{theirs}/StyleMod/bias", same),
    }  # fmt: skip


def official_generator_names(resolution: int, mapping_layers: int = 8, labels: bool = False, fused_scale: bool | None = None) -> Names:
    """Our state -> (variable of the authors' TensorFlow network ``G_style`` with its parts ``G_mapping`` and ``G_synthesis``, how to turn it into ours).

    ``fused_scale``: None is their "auto". A fused up-convolution's kernel has the same shape as a plain one's, and is the other way round.
    """
    names: Names = {"mapping.w_avg.value": ("dlatent_avg", same), "synthesis.lod": ("G_synthesis/lod", same)}
    for i in range(mapping_layers):
        names |= layer(f"mapping.fc{i}", f"G_mapping/Dense{i}", dense)
    if labels:
        names["mapping.embed.weight"] = ("G_mapping/LabelConcat/weight", dense)
    for k, side in enumerate(sides(resolution)):
        ours, place = f"synthesis.b{side}", f"G_synthesis/{side}x{side}"
        theirs = ("Conv0_up", "Conv1") if k else ("Const", "Conv")
        for i in (0, 1):
            names |= epilogue(f"{ours}.conv{i}", f"{place}/{theirs[i]}")
            names[f"{ours}.conv{i}.noise_const"] = (f"G_synthesis/noise{2 * k + i}", plane)
        fused = side >= FUSED_FROM if fused_scale is None else fused_scale
        if k:
            # theirs is stored (k, k, in, out) and turned round for the transposed convolution
            names[f"{ours}.conv0.weight"] = (f"{place}/Conv0_up/weight", turned_conv if fused else conv)
        else:
            names[f"{ours}.const"] = (f"{place}/Const/const", same)
        names[f"{ours}.conv1.weight"] = (f"{place}/{theirs[1]}/weight", conv)
        names |= layer(f"{ours}.torgb", f"G_synthesis/ToRGB_lod{len(sides(resolution)) - 1 - k}", conv)
    return names


def turned_conv(value: Tensor) -> Tensor:
    """(k, k, in, out), applied by a transposed convolution -> (out, in, k, k) of a convolution."""
    return conv(value).flip(2, 3)
