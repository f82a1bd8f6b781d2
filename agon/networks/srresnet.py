"""SRGAN's networks (Ledig et al., 2017), https://arxiv.org/abs/1609.04802, section 2.1 and figure 4, and the residual network without norms that followed them.

``SRResNet``: 9x9 convolution, 16 residual blocks with batch norm and PReLU, a 3x3 convolution with norm and a long skip, pixel-shuffle steps, 9x9
convolution; 1,547,350 parameters for x4 (a bias that a norm cancels is left out: 2,112 fewer than with them). ``SRGANDiscriminator``: eight 3x3
convolutions with widths doubling from 64 to 512, every second of stride 2, then 1024 units and a logit. ``MSRResNet``: layout, names and
initialisation of BasicSR (https://github.com/XPixelGroup/BasicSR), no norm, leaky ReLU 0.1, the output added to the bilinearly enlarged picture;
1,517,571 parameters for x4. Generators take and give pictures in [0, 1]; the output is not bounded.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from agon.errors import UserError
from agon.layers.strided import strided
from agon.networks.rrdb import check_base, enlarge, scaled_kaiming

MSR_SLOPE, DISCRIMINATOR_SLOPE = 0.1, 0.2
STEPS = {1: (), 2: (2,), 3: (3,), 4: (2, 2)}
"""The pixel-shuffle steps that a scale is made of."""


def steps_of(scale: int, name: str) -> tuple[int, ...]:
    """STEPS, or UserError for another scale."""
    if scale not in STEPS:
        raise UserError("{name} cannot enlarge by {scale}. Expected 1, 2, 3 or 4.", name=name, scale=scale)
    return STEPS[scale]


class PlainBlock(nn.Module):
    """conv, ReLU, conv; plus what came in."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(width, width, 3, 1, 1), nn.Conv2d(width, width, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x)))


class MSRResNet(nn.Module):
    """(N, C, H, W) of any size -> (N, out_channels, H * scale, W * scale). ``base``: what the output is added to, "bilinear" as published."""

    def __init__(self, channels: int = 3, out_channels: int = 3, scale: int = 4, width: int = 64, blocks: int = 16, base: str = "bilinear"):
        super().__init__()
        check_base(base)
        self.scale, self.base, self.steps = scale, base, steps_of(scale, "MSRResNet")
        self.conv_first = nn.Conv2d(channels, width, 3, 1, 1)
        self.body = nn.Sequential(*(PlainBlock(width) for _ in range(blocks)))
        for i, step in enumerate(self.steps):
            self.add_module(f"upconv{i + 1}", nn.Conv2d(width, width * step**2, 3, 1, 1))
        self.conv_hr = nn.Conv2d(width, width, 3, 1, 1)
        self.conv_last = nn.Conv2d(width, out_channels, 3, 1, 1)
        scaled_kaiming(module for module in self.modules() if isinstance(module, nn.Conv2d))

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(F.leaky_relu(self.conv_first(x), MSR_SLOPE))
        for i, step in enumerate(self.steps):
            y = F.leaky_relu(F.pixel_shuffle(self.get_submodule(f"upconv{i + 1}")(y), step), MSR_SLOPE)
        y = self.conv_last(F.leaky_relu(self.conv_hr(y), MSR_SLOPE))
        return y if self.base == "none" else y + enlarge(x, self.scale, self.base)


def normed(before: int, after: int, stride: int, norm: str) -> tuple[nn.Conv2d, nn.Module]:
    """A 3x3 convolution and the norm behind it ("batch", "instance", or "none": then the convolution has a bias)."""
    layer = {"batch": nn.BatchNorm2d, "instance": lambda n: nn.InstanceNorm2d(n, affine=True), "none": nn.Identity}[norm](after)
    return nn.Conv2d(before, after, 3, stride, 1, bias=norm == "none"), layer


class NormBlock(nn.Module):
    """conv, norm, PReLU, conv, norm; plus what came in."""

    def __init__(self, width: int, norm: str):
        super().__init__()
        self.conv1, self.norm1 = normed(width, width, 1, norm)
        self.conv2, self.norm2 = normed(width, width, 1, norm)
        self.activation = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm2(self.conv2(self.activation(self.norm1(self.conv1(x)))))


class SRResNet(nn.Module):
    """(N, C, H, W) of any size -> (N, out_channels, H * scale, W * scale). ``base``: what the output is added to, "none" as published; ``norm``: batch,
    instance or none."""

    def __init__(self, channels: int = 3, out_channels: int = 3, scale: int = 4, width: int = 64, blocks: int = 16, base: str = "none", norm: str = "batch"):
        super().__init__()
        check_base(base)
        self.scale, self.base = scale, base
        self.conv_first, self.activation = nn.Conv2d(channels, width, 9, 1, 4), nn.PReLU()
        self.body = nn.Sequential(*(NormBlock(width, norm) for _ in range(blocks)))
        self.conv_body, self.norm_body = normed(width, width, 1, norm)
        ups = [layer for step in steps_of(scale, "SRResNet")
               for layer in (nn.Conv2d(width, width * step**2, 3, 1, 1), nn.PixelShuffle(step), nn.PReLU())]
        self.ups = nn.Sequential(*ups)
        self.conv_last = nn.Conv2d(width, out_channels, 9, 1, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.conv_first(x))
        y = self.conv_last(self.ups(y + self.norm_body(self.conv_body(self.body(y)))))
        return y if self.base == "none" else y + enlarge(x, self.scale, self.base)


class SRGANDiscriminator(nn.Module):
    """(N, C, H, W) of the size it was made for -> (N,) logits. ``norm``: batch, instance or none."""

    def __init__(self, size: tuple[int, int], channels: int = 3, width: int = 64, hidden: int = 1024, norm: str = "batch"):
        super().__init__()
        before, pairs = channels, []
        for i in range(8):
            after = width * 2 ** (i // 2)
            pairs.append(normed(before, after, 1 + i % 2, norm if i else "none"))
            before = after
        self.convs, self.norms = (nn.ModuleList(part) for part in zip(*pairs, strict=True))
        self.linear1 = nn.Linear(before * math.prod(math.ceil(side / 16) for side in size), hidden)
        self.linear2 = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.leaky_relu(norm(strided(conv, x)), DISCRIMINATOR_SLOPE)
        return self.linear2(F.leaky_relu(self.linear1(x.flatten(1)), DISCRIMINATOR_SLOPE)).flatten()
