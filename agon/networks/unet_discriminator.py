"""Real-ESRGAN's discriminator: a U-Net with spectral norm that judges every pixel (Wang et al., 2021), https://arxiv.org/abs/2107.10833, section 3.4.

Layout and names: ``UNetDiscriminatorSN`` of https://github.com/xinntao/Real-ESRGAN: three halvings by 4x4 convolutions, three bilinear doublings, each
before its 3x3 convolution, skips that are added, three more convolutions; 4,376,897 parameters. All but the first and the last are spectrally
normalised; the power iteration follows the optimizer step (agon/layers/spectral.py: call ``iterate``), where the original takes one in every pass.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from agon.errors import UserError
from agon.layers.spectral import spectral_normalise

SLOPE = 0.2


class UNetDiscriminatorSN(nn.Module):
    """(N, C, H, W), any size from 8 pixels a side on -> (N, 1, H, W) logits. ``skips``: whether the maps on the way down are added on the way up.

    Where a side is no multiple of 8, a doubling goes to the size of the map that it meets. Raises UserError for what is smaller.
    """

    def __init__(self, channels: int = 3, width: int = 64, skips: bool = True):
        super().__init__()
        self.skips = skips
        self.conv0 = nn.Conv2d(channels, width, 3, 1, 1)
        for i in range(3):
            self.add_module(f"conv{i + 1}", nn.Conv2d(width * 2**i, width * 2 ** (i + 1), 4, 2, 1, bias=False))
            self.add_module(f"conv{i + 4}", nn.Conv2d(width * 2 ** (3 - i), width * 2 ** (2 - i), 3, 1, 1, bias=False))
        self.conv7, self.conv8 = (nn.Conv2d(width, width, 3, 1, 1, bias=False) for _ in range(2))
        self.conv9 = nn.Conv2d(width, 1, 3, 1, 1)
        for i in range(1, 9):
            spectral_normalise(self.get_submodule(f"conv{i}"))

    def forward(self, x: Tensor) -> Tensor:
        if min(x.shape[2:]) < 8:
            raise UserError("The U-Net discriminator cannot judge pictures of {size}. Expected at least 8 pixels a side: larger crops.",
                            size="x".join(map(str, x.shape[2:])))  # fmt: skip
        down = [F.leaky_relu(self.conv0(x), SLOPE)]
        for conv in (self.conv1, self.conv2, self.conv3):
            down.append(F.leaky_relu(conv(down[-1]), SLOPE))
        y = down.pop()
        for conv in (self.conv4, self.conv5, self.conv6):
            skip = down.pop()
            y = F.leaky_relu(conv(F.interpolate(y, skip.shape[2:], mode="bilinear", align_corners=False)), SLOPE)
            y = y + skip if self.skips else y
        for conv in (self.conv7, self.conv8):
            y = F.leaky_relu(conv(y), SLOPE)
        return self.conv9(y)
