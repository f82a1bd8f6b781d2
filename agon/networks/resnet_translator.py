"""The residual translator of CycleGAN (Zhu et al., 2017), https://arxiv.org/abs/1703.10593, section 4 and appendix 7.2, after Johnson et al. (2016).

7x7 convolution, ``downs`` 3x3 ones of stride 2 that double the width, ``blocks`` residual blocks, as many transposed convolutions up, 7x7 convolution, tanh.
Reflection padding everywhere but around the strided ones; instance norm. Parameters at width 64, 3 channels to 3: 11,378,179 (9 blocks), 7,837,699 (6).

``antialias``: the variant of Contrastive Learning for Unpaired Image-to-Image Translation (Park et al., 2020), https://arxiv.org/abs/2007.15651: on the way
down convolutions of stride 1 and a [1, 2, 1] low-pass filter that keeps every second pixel (reflection padding); on the way up, before convolutions of
stride 1, a [1, 3, 3, 1] filter of gain 2 (repeated edges), which is bilinear interpolation. The parameter counts are the same.

Layout of the authors' PyTorch code: ``layers`` has the same indices as its Sequential, so that CUT's layer numbers mean what they mean there.
Convolutions before an instance norm have (cancelled) biases and those before a batch norm none, as there; without norms all have one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agon.layers.instance_norm import norm_layer, takes_bias
from agon.networks.unet import check_sides


class ResidualBlock(nn.Module):
    """x + norm(conv(ReLU(norm(conv(x))))), 3x3 with reflection padding."""

    def __init__(self, width: int, norm: str):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(width, width, 3, bias=takes_bias(norm)), norm_layer(norm, width)
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, bias=takes_bias(norm)), norm_layer(norm, width)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(F.pad(x, (1, 1, 1, 1), mode="reflect"))))
        return x + self.norm2(self.conv2(F.pad(y, (1, 1, 1, 1), mode="reflect")))


class BlurDown(nn.Module):
    """Reflection padding, [1, 2, 1] along both axes, every second pixel."""

    def __init__(self, channels: int):
        super().__init__()
        taps = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", (taps[:, None] * taps).expand(channels, 1, 3, 3).clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), self.kernel.to(x.dtype), stride=2, groups=len(self.kernel))


class ResnetTranslator(nn.Module):
    """(N, C_in, H, W) -> (N, C_out, H, W) in [-1, 1]; H and W multiples of 2**downs from 2**(downs + 1) on (and from 4), else UserError.

    ``norm``: batch, instance or none.
    """

    def __init__(self, in_channels: int, out_channels: int, width: int = 64, blocks: int = 9, norm: str = "instance", downs: int = 2, antialias: bool = False):
        super().__init__()
        self.downs, bias = downs, takes_bias(norm)
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(in_channels, width, 7, bias=bias), norm_layer(norm, width), nn.ReLU()]
        for i in range(downs):
            before, after = width * 2**i, width * 2 ** (i + 1)
            layers += [nn.Conv2d(before, after, 3, 1 if antialias else 2, 1, bias=bias), norm_layer(norm, after), nn.ReLU()]
            layers += [BlurDown(after)] if antialias else []
        layers += [ResidualBlock(width * 2**downs, norm) for _ in range(blocks)]
        for i in reversed(range(downs)):
            before, after = width * 2 ** (i + 1), width * 2**i
            if antialias:
                layers += [nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False), nn.Conv2d(before, after, 3, 1, 1, bias=bias)]
            else:
                layers += [nn.ConvTranspose2d(before, after, 3, 2, 1, output_padding=1, bias=bias)]
            layers += [norm_layer(norm, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, out_channels, 7), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        return self.layers(x)

    def features(self, x: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """The outputs of ``self.layers[i]`` for each i of the increasing ``layers``; nothing behind the last one is computed. CUT with ``antialias`` takes
        0, 4, 8, 12, 16: the padded picture, both widening convolutions before their norm, the first and the fifth residual block."""
        self.check(x)
        wanted, outputs = set(layers), []
        assert wanted and max(wanted) < len(self.layers), (layers, len(self.layers))
        for index in range(max(wanted) + 1):
            x = self.layers[index](x)
            if index in wanted:
                outputs.append(x)
        return outputs

    def check(self, x: Tensor) -> None:
        """Reflection needs a side longer than the padding, at the full size (3) and inside the blocks (1)."""
        check_sides(x, 2**self.downs, max(4, 2 ** (self.downs + 1)))
