"""ESRGAN's generator, residual blocks within residual blocks (Wang et al., 2018), https://arxiv.org/abs/1809.00219, section 3.1 and figure 4.

Layout, names and initialisation are BasicSR's ``RRDBNet`` (https://github.com/XPixelGroup/BasicSR): 64 maps, 32 more with every dense layer, 23 blocks (or
6); residuals are scaled by 0.2 in the dense blocks and again around three of them. Two nearest doublings, each with a convolution behind it, enlarge by 4.
x2 and x1 are the same network on a picture folded by 2 or 4 (pixel-unshuffle). x3 is one tripling, as in the first ESRGAN code. Parameters, RGB: x4
16,697,987; x2 16,703,171; x4 with 6 blocks 4,467,779. Pictures are in [0, 1] there and here; the output is not bounded.

The same mathematics with less work: a nearest doubling and the 3x3 convolution behind it are one transposed 4x4 convolution of stride 2.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agon.errors import UserError
from agon.layers.resample import double_then_conv

SLOPE, RESIDUAL = 0.2, 0.2
BASES = {"bicubic": True, "bilinear": False, "nearest": None}
"""Ways of enlarging without learning -> the ``antialias`` of torch that gives the usual kernel: bicubic with a = -0.5, as Pillow and MATLAB have it."""


@torch.no_grad()
def scaled_kaiming(layers: Iterable[nn.Module], scale: float = 0.1) -> None:
    """He's normal weights times ``scale``, biases 0: residual branches start small (Wang et al. 2018, section 3.1)."""
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight).mul_(scale)
        nn.init.zeros_(layer.bias)


def enlarge(x: Tensor, scale: int, how: str) -> Tensor:
    """(N, C, H, W) -> (N, C, H * scale, W * scale) by ``how``, one of BASES."""
    if BASES[how] is None:
        return F.interpolate(x, scale_factor=float(scale), mode=how)
    return F.interpolate(x, scale_factor=float(scale), mode=how, align_corners=False, antialias=BASES[how])


def check_base(base: str) -> None:
    """Raises UserError for what is neither "none" nor one of BASES."""
    if base != "none" and base not in BASES:
        raise UserError("No way of enlarging is called '{base}'. Expected none, bicubic, bilinear or nearest: set base.", base=base)


class DenseBlock(nn.Module):
    """Five 3x3 convolutions, each of which sees all that came before; x + 0.2 * the last."""

    def __init__(self, width: int, growth: int):
        super().__init__()
        widths = [growth] * 4 + [width]
        for i, after in enumerate(widths):
            self.add_module(f"conv{i + 1}", nn.Conv2d(width + i * growth, after, 3, 1, 1))
        scaled_kaiming(self.children())

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen.append(F.leaky_relu(conv(torch.cat(seen, 1)), SLOPE))
        return x + RESIDUAL * self.conv5(torch.cat(seen, 1))


class Block(nn.Module):
    """Three dense blocks; x + 0.2 * what they make of it."""

    def __init__(self, width: int, growth: int):
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (DenseBlock(width, growth) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return x + RESIDUAL * self.rdb3(self.rdb2(self.rdb1(x)))


class RRDBNet(nn.Module):
    """(N, C, H, W) -> (N, out_channels, H * scale, W * scale). Any size; a multiple of 2 for x2 and of 4 for x1.

    ``base``: what the output is added to: "none" as published, or the picture enlarged by one of BASES, so that little training goes far.
    Raises UserError for another scale or base.
    """

    def __init__(self, channels: int = 3, out_channels: int = 3, scale: int = 4, width: int = 64, blocks: int = 23, growth: int = 32, base: str = "none"):
        super().__init__()
        if scale not in (1, 2, 3, 4):
            raise UserError("RRDBNet cannot enlarge by {scale}. Expected 1, 2, 3 or 4.", scale=scale)
        check_base(base)
        self.scale, self.base, self.fold = scale, base, {1: 4, 2: 2}.get(scale, 1)
        self.conv_first = nn.Conv2d(channels * self.fold**2, width, 3, 1, 1)
        self.body = nn.Sequential(*(Block(width, growth) for _ in range(blocks)))
        self.conv_body = nn.Conv2d(width, width, 3, 1, 1)
        self.conv_up1 = nn.Conv2d(width, width, 3, 1, 1)
        self.conv_up2 = nn.Conv2d(width, width, 3, 1, 1) if scale != 3 else None
        self.conv_hr = nn.Conv2d(width, width, 3, 1, 1)
        self.conv_last = nn.Conv2d(width, out_channels, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_first(F.pixel_unshuffle(x, self.fold) if self.fold > 1 else x)
        y = y + self.conv_body(self.body(y))
        if self.conv_up2 is None:
            y = F.leaky_relu(self.conv_up1(F.interpolate(y, scale_factor=3.0, mode="nearest")), SLOPE)
        else:
            for conv in (self.conv_up1, self.conv_up2):
                y = F.leaky_relu(double_then_conv(y, conv.weight, conv.bias), SLOPE)
        y = self.conv_last(F.leaky_relu(self.conv_hr(y), SLOPE))
        return y if self.base == "none" else y + enlarge(x, self.scale, self.base)
