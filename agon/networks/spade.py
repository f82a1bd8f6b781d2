"""Semantic Image Synthesis with Spatially-Adaptive Normalization (Park et al., 2019), https://arxiv.org/abs/1903.07291, section 3 and appendix A.

SPADE normalises without gains and shifts and takes both from the map: norm(x) (1 + gamma(m)) + beta(m), where m is the map at x's size by nearest
neighbours and gamma, beta are two 3x3 convolutions after one of 128 channels with a ReLU (equation 1). A block: shortcut +
conv(lrelu(SPADE(conv(lrelu(SPADE(x)))))), 3x3 and leaky by 0.2; where the width changes the shortcut is a 1x1 convolution without bias after a SPADE of
its own and no activation. Spectral norm divides the blocks' convolutions (the shortcut's too), nothing else. The generator starts from the map itself,
made small, or from a latent; the encoder (of a picture to a distribution of latents) has spectral norm, instance norm and no biases but in its two heads.

Official layout: ``fc``, ``head_0``, ``G_middle_0``, ``G_middle_1``, ``up_0`` ..., ``conv_img``; here gamma and beta are one convolution (gamma first).
Parameters: 97,480,899 (184 channels in, five doublings), 96,492,483 (151), 93,048,003 (36, six doublings, the authors' ``more``); with a latent of 256 for
256x256 and 184 channels 112,626,883 and the encoder 10,463,424. Weights are drawn by Glorot's normal rule with gain 0.02, biases start at 0.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agon.errors import UserError
from agon.layers.instance_norm import InstanceNorm, norm_layer
from agon.layers.spectral import spectral_normalise
from agon.networks.multiscale import MultiscaleDiscriminator

SLOPE = 0.2
FULL = 5
MAX_DOUBLINGS = 7
NORMS = ("batch", "instance", "none")


def draw(network: nn.Module) -> nn.Module:
    """Glorot's normal rule with gain 0.02 for every weight, 0 for every bias. To be called before spectral norms are put on."""
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_normal_(layer.weight, gain=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


def spectral_conv(before: int, after: int, kernel: int, stride: int = 1, *, bias: bool = True) -> nn.Conv2d:
    conv = draw(nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=bias))
    spectral_normalise(conv)
    return conv


class SPADE(nn.Module):
    """(N, C, H, W), map (N, M, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int, map_channels: int, *, norm: str, hidden: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False) if norm == "batch" else norm_layer(norm, channels)
        self.shared = nn.Conv2d(map_channels, hidden, 3, padding=1)
        self.modulation = nn.Conv2d(hidden, 2 * channels, 3, padding=1)  # gamma, then beta
        draw(self)
        with torch.no_grad():
            for half in self.modulation.weight.chunk(2):  # by their own fans, as two layers would be drawn
                nn.init.xavier_normal_(half, gain=0.02)

    def forward(self, x: Tensor, semantic: Tensor) -> Tensor:
        gamma, beta = self.modulation(F.relu(self.shared(semantic))).chunk(2, 1)
        return self.norm(x) * (1 + gamma) + beta


class SPADEBlock(nn.Module):
    """(N, before, H, W), map (N, M, any, any) -> (N, after, H, W)."""

    def __init__(self, before: int, after: int, map_channels: int, *, norm: str, hidden: int):
        super().__init__()
        middle = min(before, after)
        self.norm1 = SPADE(before, map_channels, norm=norm, hidden=hidden)
        self.conv1 = spectral_conv(before, middle, 3)
        self.norm2 = SPADE(middle, map_channels, norm=norm, hidden=hidden)
        self.conv2 = spectral_conv(middle, after, 3)
        learned = before != after
        self.norm_shortcut = SPADE(before, map_channels, norm=norm, hidden=hidden) if learned else None
        self.shortcut = spectral_conv(before, after, 1, bias=False) if learned else None

    def forward(self, x: Tensor, semantic: Tensor) -> Tensor:
        semantic = F.interpolate(semantic, size=x.shape[2:], mode="nearest")
        y = self.conv1(F.leaky_relu(self.norm1(x, semantic), SLOPE))
        y = self.conv2(F.leaky_relu(self.norm2(y, semantic), SLOPE))
        return y + (x if self.shortcut is None else self.shortcut(self.norm_shortcut(x, semantic)))


class SPADEGenerator(nn.Module):
    """Map (N, M, H, W) and, where ``latent_dim`` is not 0, latents (N, Z) -> (N, C, H, W) in [-1, 1]; sides are multiples of 2^doublings.

    ``doublings``: 5, 6, 7 are the authors' ``normal``, ``more`` and ``most``; fewer, for small pictures, leave out the widest blocks. ``size``: (H, W) of
    the pictures; it binds only a generator that starts from latents. ``norm``: ``batch``, ``instance`` or ``none``. Batch norm over one sample
    needs 2 pixels or more at the smallest size.
    """

    def __init__(
        self, map_channels: int, out_channels: int = 3, *, size: tuple[int, int], width: int = 64, doublings: int = FULL, norm: str = "batch",
        hidden: int = 128, latent_dim: int = 0,
    ):  # fmt: skip
        super().__init__()
        check_size(size, doublings)
        if norm not in NORMS:
            raise UserError("There is no norm '{name}' here. Expected one of {known}. Change it.", name=norm, known=", ".join(NORMS))
        self.doublings, self.latent_dim = doublings, latent_dim
        self.base = (size[0] >> doublings, size[1] >> doublings)
        top = width * 2 ** (min(doublings, FULL) - 1)
        self.start = draw(nn.Linear(latent_dim, top * self.base[0] * self.base[1]) if latent_dim else nn.Conv2d(map_channels, top, 3, padding=1))
        options = {"norm": norm, "hidden": hidden}
        self.head = SPADEBlock(top, top, map_channels, **options)
        self.middle = nn.ModuleList(SPADEBlock(top, top, map_channels, **options) for _ in range(2))
        widths = [top >> i for i in range(max(doublings - (doublings > FULL), 1))]
        self.ups = nn.ModuleList(SPADEBlock(a, b, map_channels, **options) for a, b in zip(widths, widths[1:], strict=False))
        self.to_picture = draw(nn.Conv2d(widths[-1], out_channels, 3, padding=1))

    def forward(self, semantic: Tensor, latent: Tensor | None = None) -> Tensor:
        if self.latent_dim:
            x = self.start(latent).unflatten(1, (-1, *self.base))
        else:
            check_size(semantic.shape[2:], self.doublings)
            x = self.start(F.interpolate(semantic, size=[side >> self.doublings for side in semantic.shape[2:]], mode="nearest"))
        x = self.head(x, semantic)
        x = self.middle[0](double(x), semantic)
        x = self.middle[1](double(x) if self.doublings > FULL else x, semantic)
        for block in self.ups:
            x = block(double(x), semantic)
        return self.to_picture(F.leaky_relu(x, SLOPE)).tanh()


def double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def check_size(size, doublings: int) -> None:
    """Raises UserError unless both sides are multiples of 2^doublings."""
    height, width = size
    factor = 2**doublings
    if not 1 <= doublings <= MAX_DOUBLINGS or height % factor or width % factor or min(height, width) < factor:
        raise UserError(
            "SPADE with {doublings} doublings cannot draw {height}x{width} pictures. Expected 1 to 7 doublings and sides that are multiples of {factor}: "
            "set --doublings lower, or resize with --data.size.",
            doublings=doublings, height=height, width=width, factor=factor,
        )  # fmt: skip


class SPADEEncoder(nn.Module):
    """Pictures (N, C, any, any) -> mean and log variance (N, latent_dim) of a normal distribution of latents.

    ``side``: the power of two, 8 or more, to which pictures are resized first, both sides alike; 256 in the paper. Halved down to 4 pixels.
    """

    def __init__(self, in_channels: int = 3, *, width: int = 64, latent_dim: int = 256, side: int = 256):
        super().__init__()
        if side < 8 or side & (side - 1):
            raise UserError("The encoder cannot work at {side} pixels. Expected a power of two of 8 or more: change encoder_side.", side=side)
        self.side = side
        widths = [in_channels, *(width * min(2**i, 8) for i in range(side.bit_length() - 3))]
        self.convs = nn.ModuleList(spectral_conv(a, b, 3, 2, bias=False) for a, b in zip(widths, widths[1:], strict=False))
        self.norms = nn.ModuleList(InstanceNorm(channels) for channels in widths[1:])
        self.mean = draw(nn.Linear(widths[-1] * 16, latent_dim))
        self.log_variance = draw(nn.Linear(widths[-1] * 16, latent_dim))

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        x = picture
        if tuple(x.shape[2:]) != (self.side, self.side):
            x = F.interpolate(x, size=(self.side, self.side), mode="bilinear", align_corners=False)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.leaky_relu(norm(conv(x)), SLOPE)
        x = x.flatten(1)
        return self.mean(x), self.log_variance(x)


def discriminator(in_channels: int, *, width: int = 64, layers: int = 3, scales: int = 2) -> MultiscaleDiscriminator:
    """Judges of (map, picture) by channels at two scales; 5,904,514 parameters for 187 channels in."""
    made = MultiscaleDiscriminator(in_channels, width=width, layers=layers, scales=scales, norm="instance", bias=False)
    draw(made)
    for judge in made.judges:
        for conv in judge.convs[1:]:
            spectral_normalise(conv)
    return made
