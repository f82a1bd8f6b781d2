"""StarGAN's networks (Choi et al., 2018), https://arxiv.org/abs/1711.09020, appendix 7.2, tables 4 and 5.

Layout and numbers of parameters are those of the authors' code (yunjey/stargan, model.py): 8,430,528 in a generator of five domains; 44,762,048 in its
discriminator at 128x128, 44,884,928 at 256x256. No convolution of the generator has a bias, nor have the discriminator's two heads.

Instance norm: the authors' keeps running statistics, and their test passes leave the network in training mode, where every picture is normalised by its own.
That is what happens here too (``instance``). ``running`` keeps the averages and uses them in evaluation mode (an earlier test pass of theirs did so). ``none``
leaves the norms out (normalising takes a flat picture's colours away), and its ReLUs leak.

Differs: any number of channels; any rectangle; the generator's halvings, and the discriminator's stages, are arguments, and small pictures get fewer stages.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from agon.layers.rectifier import Rectifier
from agon.networks.discriminator import with_planes

SLOPE = 0.01


class StarGANGenerator(nn.Module):
    """(pictures (N, C, H, W), domain vectors (N, K)) -> (N, C, H, W) in [-1, 1]. Sides: multiples of 2**downsamplings.

    The official ``main``: 0 ``first``; 3 and 6 ``down``; then ``blocks``; then ``up``; the last convolution ``last``. ``residual``: what the
    last convolution gives, 0 at first, is added to the picture, as 2 tanh(./2): values lie in [-3, 3]. What stays need then not be drawn anew.
    """

    def __init__(self, channels: int, domains: int, *, width: int = 64, blocks: int = 6, downsamplings: int = 2, norm: str = "instance",
                 residual: bool = False):  # fmt: skip
        super().__init__()
        widths = [width * 2**i for i in range(downsamplings + 1)]

        def normed(layer: nn.Module, out: int) -> nn.Sequential:
            return nn.Sequential(layer, norm_layer(norm, out), activation(norm))

        self.first = normed(nn.Conv2d(channels + domains, width, 7, 1, 3, bias=False), width)
        self.down = nn.Sequential(*(normed(nn.Conv2d(a, b, 4, 2, 1, bias=False), b) for a, b in pairwise(widths)))
        self.blocks = nn.Sequential(*(Residual(widths[-1], norm) for _ in range(blocks)))
        self.up = nn.Sequential(*(normed(nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), b) for a, b in pairwise(widths[::-1])))
        self.last = nn.Conv2d(width, channels, 7, 1, 3, bias=False)
        self.residual = residual
        if residual:
            nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor, domain: Tensor) -> Tensor:
        h = self.up(self.blocks(self.down(self.first(with_planes(x, domain)))))
        return x + 2 * torch.tanh(self.last(h) / 2) if self.residual else torch.tanh(self.last(h))


class Residual(nn.Module):
    """x + norm(conv(ReLU(norm(conv(x)))))."""

    def __init__(self, width: int, norm: str):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(width, width, 3, 1, 1, bias=False), norm_layer(norm, width)
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), norm_layer(norm, width)
        self.between = activation(norm)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm2(self.conv2(self.between(self.norm1(self.conv1(x)))))


class StarGANDiscriminator(nn.Module):
    """Pictures (N, C, H, W) -> (source map (N, h, w), class logits (N, K)), float32; h and w are the sides halved ``stages`` times, rounded down.

    ``size``: (height, width). Stages beyond those that leave both sides at least 2 pixels are left out (but one). The class head sees the whole last map:
    pictures of another size are refused.
    """

    def __init__(self, channels: int, domains: int, size: tuple[int, int], *, width: int = 64, stages: int = 6):
        super().__init__()
        stages = max(1, min(stages, *(side.bit_length() - 2 for side in size)))
        widths = [channels, *(width * 2**i for i in range(stages))]
        self.stages = nn.Sequential(*(nn.Sequential(nn.Conv2d(a, b, 4, 2, 1), Rectifier(SLOPE)) for a, b in pairwise(widths)))
        self.source = nn.Conv2d(widths[-1], 1, 3, 1, 1, bias=False)
        self.classes = nn.Conv2d(widths[-1], domains, tuple(side >> stages for side in size), bias=False)
        self.size = tuple(size)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        assert tuple(x.shape[2:]) == self.size, (x.shape, self.size)
        h = self.stages(x)
        return self.source(h).squeeze(1).float(), self.classes(h).flatten(1).float()


def activation(norm: str) -> nn.Module:
    """ReLU; without norms a leaky one (0.2), since a whole layer of ReLUs may die there."""
    return nn.LeakyReLU(0.2) if norm == "none" else nn.ReLU()


def norm_layer(name: str, width: int) -> nn.Module:
    """``instance``, ``running`` or ``none``."""
    return nn.Identity() if name == "none" else nn.InstanceNorm2d(width, affine=True, track_running_stats=name == "running")
