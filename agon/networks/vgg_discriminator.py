"""ESRGAN's discriminator in the manner of VGG (Wang et al., 2018), https://arxiv.org/abs/1809.00219. Layout and names: BasicSR's ``VGGStyleDiscriminator``.

Pairs of a 3x3 convolution and a 4x4 one of stride 2, batch norm behind all but the first, leaky ReLU 0.2, then 100 units and a logit. Widths double from 64
to 512. Parameters, RGB: 14,499,401 for 128x128 (five pairs), 21,055,049 for 256x256 (six), https://github.com/XPixelGroup/BasicSR. Any other size
gets as many pairs as leave at least 4 pixels on the shorter side.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from agon.errors import UserError

SLOPE = 0.2
NORMS = {"batch": nn.BatchNorm2d, "instance": lambda n: nn.InstanceNorm2d(n, affine=True)}
HIDDEN = 100
LEAST = 4  # pixels of the last map's shorter side


class VGGStyleDiscriminator(nn.Module):
    """(N, C, H, W) of the size it was made for, any from 8 pixels a side on -> (N,) logits. ``norm``: batch, instance or none."""

    def __init__(self, size: tuple[int, int], channels: int = 3, width: int = 64, norm: str = "batch"):
        super().__init__()
        if min(size) < 2 * LEAST:
            raise UserError("The VGG-style discriminator cannot judge pictures of {size}. Expected at least 8 pixels a side: larger crops.",
                            size="x".join(map(str, size)))  # fmt: skip
        self.pairs, before, (height, breadth) = 0, channels, size
        while min(height, breadth) >= 2 * LEAST:
            after = width * 2 ** min(self.pairs, 3)
            self._pair(self.pairs, before, after, norm)
            before, height, breadth, self.pairs = after, height // 2, breadth // 2, self.pairs + 1
        self.linear1, self.linear2 = nn.Linear(before * height * breadth, HIDDEN), nn.Linear(HIDDEN, 1)

    def _pair(self, i: int, before: int, after: int, norm: str) -> None:
        for j, (kernel, stride, channels) in enumerate(((3, 1, before), (4, 2, after))):
            bare = norm == "none" or i + j == 0
            self.add_module(f"conv{i}_{j}", nn.Conv2d(channels, after, kernel, stride, 1, bias=bare))
            if not bare:
                self.add_module(f"bn{i}_{j}", NORMS[norm](after))

    def forward(self, x: Tensor) -> Tensor:
        for i in range(self.pairs):
            for j in range(2):
                x = self.get_submodule(f"conv{i}_{j}")(x)
                norm = getattr(self, f"bn{i}_{j}", None)
                x = F.leaky_relu(x if norm is None else norm(x), SLOPE)
        return self.linear2(F.leaky_relu(self.linear1(x.flatten(1)), SLOPE)).flatten()
