"""Discriminators of patches at several scales: High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs (Wang et al., 2018; pix2pixHD),
https://arxiv.org/abs/1711.11585, section 3.2, and Semantic Image Synthesis with Spatially-Adaptive Normalization (Park et al., 2019; SPADE),
https://arxiv.org/abs/1903.07291, appendix A, figure 15.

The same network (with weights of its own) judges the picture, the picture halved, and so on. Halving is an average over 3x3 of stride 2 that does not count
what lies outside. A judge: 4x4 convolutions padded by 2, the first ``layers`` of stride 2, then two of stride 1; leaky ReLU 0.2; widths double up to 512 (or
``width``, if that is more); normalised but for the first and the last. pix2pixHD: three scales, instance norm, biases everywhere. SPADE: two scales, and in the
normalised convolutions a spectral norm and no biases (instance norm takes them away).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from agon.layers.instance_norm import norm_layer

SLOPE = 0.2


class PatchJudge(nn.Module):
    """(N, C, H, W) -> [features after each convolution but the last, logits (N, 1, about H / 2^layers, ...)]; any size of 2 pixels or more.

    ``bias``: whether the convolutions between the first and the last have one.
    """

    def __init__(self, in_channels: int, *, width: int = 64, layers: int = 3, norm: str = "instance", bias: bool = True):
        super().__init__()
        widths = [min(width * 2**i, max(512, width)) for i in range(layers + 1)]
        self.convs = nn.ModuleList([nn.Conv2d(in_channels, width, 4, 2, 2)])
        self.norms = nn.ModuleList([nn.Identity()])
        for i in range(1, layers + 1):
            conv = nn.Conv2d(widths[i - 1], widths[i], 4, 2 if i < layers else 1, 2, bias=bias)
            self.convs.append(conv)
            self.norms.append(norm_layer(norm, widths[i]))
        self.head = nn.Conv2d(widths[-1], 1, 4, 1, 2)

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.leaky_relu(norm(conv(x)), SLOPE)
            found.append(x)
        return [*found, self.head(x)]


class MultiscaleDiscriminator(nn.Module):
    """(N, C, H, W) -> for each scale, the whole picture first, what :class:`PatchJudge` finds; sides of 2^scales pixels or more.

    Official layouts: SPADE's ``discriminator_0`` is the judge of the whole picture, pix2pixHD's ``scale0`` that of the smallest.
    """

    def __init__(self, in_channels: int, *, width: int = 64, layers: int = 3, scales: int = 3, norm: str = "instance", bias: bool = True):
        super().__init__()
        self.judges = nn.ModuleList(PatchJudge(in_channels, width=width, layers=layers, norm=norm, bias=bias) for _ in range(scales))

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        found = []
        for i, judge in enumerate(self.judges):
            x = halve(x) if i else x
            found.append(judge(x))
        return found


def halve(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, ceil(H / 2), ceil(W / 2)): averages over 3x3, without what lies outside."""
    return F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
