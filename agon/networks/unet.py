"""The U-Net of Image-to-Image Translation with Conditional Adversarial Networks (Isola et al., 2017), https://arxiv.org/abs/1611.07004, 3.2.1 and 6.1.1.

``depth`` 4x4 convolutions of stride 2 down, as many transposed ones up, each of which also sees the map of its size on the way down. Leaky ReLU (0.2)
down, ReLU up, tanh at the end; no norm at the first, the innermost and the last convolution. Dropout in the depth - 5 blocks on the way up between the
innermost and the first that narrows. Parameters at width 64 with batch norm, 3 channels to 3: 54,413,955 (depth 8, pictures from 256 pixels on),
41,828,995 (depth 7).

Layout of the authors' PyTorch code, whose in-place activations rectify the maps that skip twice; once is the same. The paper draws the dropout also when it
tests, as its only noise; here it comes from ``draws``, per sample, and without draws there is none. Depths below 5 are an extension.
Convolutions before an instance norm have biases and those before a batch norm none, as there, at the norm-free ends too; without norms all have one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agon.errors import UserError
from agon.game import Draws
from agon.layers.instance_norm import norm_layer, takes_bias


def check_sides(x: Tensor, multiple: int, least: int = 1) -> None:
    """Raises UserError unless both sides of (N, C, H, W) are multiples of ``multiple`` and have ``least`` pixels."""
    if any(side % multiple or side < least for side in x.shape[2:]):
        raise UserError(
            "This translator cannot take {height}x{width} pictures. Expected sides that are multiples of {multiple}, {least} pixels or more: add --data.size "
            "{near} to resize.", height=x.shape[2], width=x.shape[3], multiple=multiple, least=max(least, multiple),
            near="x".join(str(max(side // multiple, -(-least // multiple), 1) * multiple) for side in x.shape[2:]),
        )  # fmt: skip


def fitting_depth(sides: tuple[int, ...], most: int) -> int:
    """How often all ``sides`` can be halved, at most ``most`` and at least 2 times (which the network then refuses with a size that can)."""
    depth = 2
    while depth < most and all(side % 2 ** (depth + 1) == 0 for side in sides):
        depth += 1
    return depth


class UNet(nn.Module):
    """(N, C_in, H, W) -> (N, C_out, H, W) in [-1, 1]; H and W multiples of 2**depth, else UserError. ``norm``: batch, instance or none."""

    def __init__(self, in_channels: int, out_channels: int, width: int = 64, depth: int = 8, norm: str = "batch", dropout: float = 0.5):
        super().__init__()
        assert depth >= 2, depth
        self.depth, self.dropout, bias = depth, dropout, takes_bias(norm)
        widths = [width * min(2**i, 8) for i in range(depth)]
        inner = [norm_layer(norm, w) for w in widths[1:-1]]
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1, bias=bias) for a, b in zip([in_channels, *widths], widths, strict=False))
        self.down_norm = nn.ModuleList([nn.Identity(), *inner, nn.Identity()])
        ups = [nn.ConvTranspose2d(widths[-1], widths[-2], 4, 2, 1, bias=bias)]
        ups += [nn.ConvTranspose2d(2 * widths[i], widths[i - 1], 4, 2, 1, bias=bias) for i in range(depth - 2, 0, -1)]
        self.up = nn.ModuleList([*ups, nn.ConvTranspose2d(2 * widths[0], out_channels, 4, 2, 1)])
        self.up_norm = nn.ModuleList(norm_layer(norm, w) for w in widths[-2::-1])

    def forward(self, x: Tensor, draws: Draws | None = None) -> Tensor:
        """``draws``: where the dropout masks come from; None: no dropout."""
        check_sides(x, 2**self.depth)
        maps = []
        for level, (conv, norm) in enumerate(zip(self.down, self.down_norm, strict=True)):
            x = norm(conv(F.leaky_relu(x, 0.2) if level else x))
            maps.append(x)
        for level, (conv, norm) in enumerate(zip(self.up[:-1], self.up_norm, strict=True)):
            joined = maps[-1] if level == 0 else torch.cat([maps[-1 - level], x], 1)
            x = norm(conv(F.relu(joined)))
            if draws is not None and self.dropout and 1 <= level <= self.depth - 5:
                x = self.drop(x, draws)
        return self.up[-1](F.relu(torch.cat([maps[0], x], 1))).tanh()

    def drop(self, x: Tensor, draws: Draws) -> Tensor:
        """Each number of each sample to 0 with probability ``dropout``, the others divided by what is left."""
        kept = draws.uniform(len(x), *x.shape[1:]) >= self.dropout
        return x * (kept.to(x.dtype) / (1 - self.dropout))
