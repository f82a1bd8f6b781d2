"""Real-ESRGAN's small generator: a stack of convolutions that stays at the input's resolution until the last layer. BasicSR's ``SRVGGNetCompact``.

Layout, names (``body.0`` ...) as there, https://github.com/XPixelGroup/BasicSR: 3x3 convolutions of 64 maps with one PReLU slope a map, then pixel-shuffle;
the output is added to the nearest enlargement. Parameters, x4: 16 convolutions 621,424; 32 convolutions 1,213,296. Pictures in [0, 1], output not bounded.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from agon.errors import UserError
from agon.networks.rrdb import check_base, enlarge


class SRVGGNetCompact(nn.Module):
    """(N, C, H, W) of any size -> (N, out_channels, H * scale, W * scale), any whole scale.

    ``activation``: prelu, relu or leakyrelu (slope 0.1). ``base``: what the output is added to, "nearest" as published.
    """

    def __init__(self, channels: int = 3, out_channels: int = 3, scale: int = 4, width: int = 64, convs: int = 16, activation: str = "prelu",
                 base: str = "nearest"):
        super().__init__()
        if scale < 1 or activation not in ("prelu", "relu", "leakyrelu"):
            raise UserError("SRVGGNetCompact cannot be built with scale {scale} and activation {activation}. Expected a whole scale from 1 on, and prelu, "
                            "relu or leakyrelu.", scale=scale, activation=activation)  # fmt: skip
        check_base(base)
        self.scale, self.base = scale, base
        layers: list[nn.Module] = []
        for i in range(convs + 1):
            layers.append(nn.Conv2d(width if i else channels, width, 3, 1, 1))
            layers.append({"prelu": lambda: nn.PReLU(width), "relu": nn.ReLU, "leakyrelu": lambda: nn.LeakyReLU(0.1)}[activation]())
        self.body = nn.Sequential(*layers, nn.Conv2d(width, out_channels * scale**2, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = F.pixel_shuffle(self.body(x), self.scale)
        return y if self.base == "none" else y + enlarge(x, self.scale, self.base)
