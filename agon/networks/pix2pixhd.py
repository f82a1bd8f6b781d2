"""High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs (Wang et al., 2018; pix2pixHD),
https://arxiv.org/abs/1711.11585, sections 3.1 to 3.3.

The global network is the residual translator (agon/networks/resnet_translator.py) with four halvings and nine blocks. A local enhancer works at twice the
resolution with half the width: it halves its input, adds the last features of the network inside (which sees the input halved by averaging), and goes on with
residual blocks and one doubling. Coarse to fine: train the global network, then start the local one from it (:func:`from_global`; the last 7x7 convolution
stays behind). Discriminator: agon/networks/multiscale.py, three scales. Parameters at 36 channels in, 3 out: global (width 64) 182,546,755, local (width 32)
182,857,059, discriminator (39 channels) 8,404,803, or 5,603,202 with two scales.

Layout of the authors' code: the order of the parameters is theirs, but for the discriminator's scales (theirs begin with the smallest). Convolutions before
a batch norm have a bias there (instance norm, the default: here too), which it cancels, and none here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agon.errors import UserError
from agon.layers.init import initialise
from agon.layers.instance_norm import norm_layer, takes_bias
from agon.networks.multiscale import MultiscaleDiscriminator, halve
from agon.networks.resnet_translator import ResidualBlock, ResnetTranslator
from agon.networks.unet import check_sides


class Enhancer(nn.Module):
    """One local enhancer: (N, in, H, W) and features (N, 2 width, H / 2, W / 2) -> (N, width, H, W)."""

    def __init__(self, in_channels: int, width: int, *, blocks: int, norm: str):
        super().__init__()
        bias = takes_bias(norm)
        self.down = nn.Sequential(
            nn.ReflectionPad2d(3), nn.Conv2d(in_channels, width, 7, bias=bias), norm_layer(norm, width), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, 2, 1, bias=bias), norm_layer(norm, 2 * width), nn.ReLU(),
        )  # fmt: skip
        self.up = nn.Sequential(
            *(ResidualBlock(2 * width, norm) for _ in range(blocks)),
            nn.ConvTranspose2d(2 * width, width, 3, 2, 1, output_padding=1, bias=bias), norm_layer(norm, width), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: Tensor, inner: Tensor) -> Tensor:
        return self.up(self.down(x) + inner)


class LocalEnhancer(nn.Module):
    """(N, in, H, W) -> (N, out, H, W) in [-1, 1]: a global network of ``width`` 2^enhancers inside ``enhancers`` local ones, the last of ``width``.

    Sides are multiples of 2^(downs + enhancers), from 4 * 2^enhancers (for the reflection at the borders) and 2^(downs + enhancers + 1) on.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, width: int = 32, downs: int = 4, blocks: int = 9, enhancers: int = 1, local_blocks: int = 3,
        norm: str = "instance",
    ):  # fmt: skip
        super().__init__()
        self.halvings = downs + enhancers
        self.least = max(4 << enhancers, 2 << self.halvings)
        inner = ResnetTranslator(in_channels, out_channels, width << enhancers, blocks, norm, downs)
        self.inner = inner.layers[:-3]  # without the last reflection, convolution and tanh
        self.enhancers = nn.ModuleList(Enhancer(in_channels, width << i, blocks=local_blocks, norm=norm) for i in reversed(range(enhancers)))
        self.to_picture = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(width, out_channels, 7), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        check_sides(x, 2**self.halvings, self.least)
        sizes = [x]
        for _ in self.enhancers:
            sizes.append(halve(sizes[-1]))
        features = self.inner(sizes.pop())
        for enhancer in self.enhancers:
            features = enhancer(sizes.pop(), features)
        return self.to_picture(features)


class InstanceEncoder(nn.Module):
    """Features of each instance (section 3.4): pictures (N, C, H, W) and instance numbers (N, 1, H, W), whole numbers -> (N, out, H, W), at every place
    the mean over its instance. The same number in two pictures of a batch names two instances.
    """

    def __init__(self, in_channels: int = 3, out_channels: int = 3, *, width: int = 16, downs: int = 4, norm: str = "instance"):
        super().__init__()
        self.body = ResnetTranslator(in_channels, out_channels, width, 0, norm, downs)

    def forward(self, picture: Tensor, instances: Tensor) -> Tensor:
        x = self.body(picture)
        values = x.flatten(2).transpose(1, 2).flatten(0, 1).float()
        numbers = instances.flatten(1).long()
        pictures = torch.arange(len(x), device=x.device)[:, None].expand_as(numbers)
        found, where = torch.stack([pictures, numbers], -1).flatten(0, 1).unique(dim=0, return_inverse=True)
        sums = values.new_zeros(len(found), values.shape[1]).index_add(0, where, values)
        means = sums / where.bincount(minlength=len(found))[:, None]
        return means[where].unflatten(0, numbers.shape).transpose(1, 2).reshape(x.shape).to(x.dtype)


def generator(
    in_channels: int, out_channels: int, *, network: str = "global", width: int = 64, downs: int = 4, blocks: int = 9, enhancers: int = 1,
    local_blocks: int = 3, norm: str = "instance", init: str = "normal",
) -> nn.Module:  # fmt: skip
    """The network by name, ``global`` or ``local``, with its first weights; ``width`` is that at the full resolution (published: 64, local 32).

    Raises UserError for another name.
    """
    if network not in ("global", "local"):
        raise UserError("pix2pixHD has no network '{name}'. Expected global or local. Change it.", name=network)
    if network == "local":
        options = {"width": width, "downs": downs, "blocks": blocks, "enhancers": enhancers, "local_blocks": local_blocks, "norm": norm}
        made = LocalEnhancer(in_channels, out_channels, **options)
    else:
        made = ResnetTranslator(in_channels, out_channels, width, blocks, norm, downs)
    initialise(made, init)
    return made


def discriminator(in_channels: int, *, width: int = 64, layers: int = 3, scales: int = 3, norm: str = "instance", init: str = "normal"):
    """A :class:`MultiscaleDiscriminator` of (input, picture) by channels with its first weights."""
    made = MultiscaleDiscriminator(in_channels, width=width, layers=layers, scales=scales, norm=norm)
    initialise(made, init)
    return made


def from_global(local: LocalEnhancer, coarse: ResnetTranslator) -> None:
    """Copy a trained global network's weights into the enhancer around it, in place. Raises RuntimeError where the two do not fit."""
    local.inner.load_state_dict(coarse.layers[:-3].state_dict())
