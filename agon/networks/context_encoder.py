"""The context encoder (Pathak et al., 2016), https://arxiv.org/abs/1604.07379: an encoder, a narrow middle and a decoder, which fill a hole of any form.

Layout of the authors' released code (https://github.com/pathak22/context-encoder, the network for random regions): 4x4 convolutions of stride 2, batch norm
behind all but the first, leaky ReLU 0.2, down to a map of about 4x4; one convolution over the whole of it makes a vector of ``bottleneck`` numbers (4,000;
the paper's channel-wise fully connected layer is that of its AlexNet encoder), and transposed convolutions lead back, batch norm and ReLU behind all but
the last. Widths at 128x128: 64, 64, 128, 256, 512. Differs: the mask is an input too, and sizes may be any whose sides can be halved down to 4.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agon.errors import UserError

SLOPE = 0.2
LEAST = 4  # pixels of the last map's shorter side
NORMS = {"batch": nn.BatchNorm2d, "instance": lambda n: nn.InstanceNorm2d(n, affine=True), "none": lambda n: nn.Identity()}


def halvings(size: tuple[int, int]) -> int:
    """How often ``size`` = (height, width) is halved. Raises UserError where a side becomes odd before that."""
    count, (height, width) = 0, size
    while min(height, width) >= 2 * LEAST:
        if height % 2 or width % 2:
            raise UserError("A context encoder cannot be made for pictures of {height} x {width}: their sides cannot be halved down to 4. Expected, for "
                            "example, 64 x 64 or 128 x 192; or choose --network gated.", height=size[0], width=size[1])
        count, height, width = count + 1, height // 2, width // 2
    return count


class ContextEncoder(nn.Module):
    """(N, C + 1, H, W) of the one ``size`` it was made for: a picture with 0 in its hole, and the mask -> (N, C, H, W) in [-1, 1]."""

    def __init__(self, size: tuple[int, int], channels: int = 3, width: int = 64, bottleneck: int = 4000, norm: str = "batch"):
        super().__init__()
        count = halvings(size)
        widths = [width * min(2 ** max(0, index - 1), 8) for index in range(count)]
        last, bias = [side // 2**count for side in size], norm == "none"
        down: list[nn.Module] = []
        for index, (before, after) in enumerate(zip([channels + 1, *widths], widths, strict=False)):
            down += [nn.Conv2d(before, after, 4, 2, 1, bias=bias or not index), *([NORMS[norm](after)] if index else []), nn.LeakyReLU(SLOPE)]
        before = widths[-1] if widths else channels + 1
        self.encoder = nn.Sequential(*down)
        # No norm on the single value of a channel: it would have no variance where one picture comes alone.
        self.middle = nn.Conv2d(before, bottleneck, tuple(last))
        self.spread = nn.ConvTranspose2d(bottleneck, before, tuple(last), bias=bias)
        self.spread_norm = NORMS[norm](before)
        up: list[nn.Module] = []
        for before, after in zip(widths[::-1], widths[-2::-1], strict=False):
            up += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=bias), NORMS[norm](after), nn.ReLU()]
        self.decoder = nn.Sequential(*up, nn.ConvTranspose2d(widths[0], channels, 4, 2, 1))

    def forward(self, source: Tensor) -> Tensor:
        vector = F.leaky_relu(self.middle(self.encoder(source)), SLOPE)
        return torch.tanh(self.decoder(F.relu(self.spread_norm(self.spread(vector)))))
