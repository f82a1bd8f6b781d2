"""PatchGAN discriminators of Image-to-Image Translation with Conditional Adversarial Networks (Isola et al., 2017), https://arxiv.org/abs/1611.07004, 3.2.2.

Fully convolutional: each logit judges the patch it sees, in pixels a side: 1, 16, 34, 70, 142, 286, 574 for ``layers`` 0 to 6. 4x4 convolutions, the first
``layers`` of stride 2, two more of stride 1; widths double up to 8 times ``width``; leaky ReLU (0.2); no norm at the first and the last. ``layers`` 0 is the
authors' pixel discriminator, three 1x1 convolutions. Width 64, 3 layers: 2,768,705 parameters (6 channels, batch norm), 2,764,737 (3 channels, instance norm).

Layout of the authors' PyTorch code, convolution by convolution: biases in the first and the last one, in between where the norm is none that cancels by
habit (:func:`agon.layers.instance_norm.takes_bias`); the pixel discriminator's last convolution follows the same rule there, and here.
"""

from __future__ import annotations

from torch import Tensor, nn

from agon.errors import UserError
from agon.layers.instance_norm import norm_layer, takes_bias


def smallest_side(layers: int) -> int:
    """Pixels that a picture's side needs for one logit (and for the statistics of an instance norm)."""
    return 3 * 2**layers if layers else 2


class PatchDiscriminator(nn.Module):
    """(N, C, H, W) -> logits (N, 1, h, w). Any sides from :func:`smallest_side` on; smaller ones raise UserError. ``norm``: batch, instance or none."""

    def __init__(self, in_channels: int, width: int = 64, layers: int = 3, norm: str = "batch"):
        super().__init__()
        self.num_layers, bias = layers, takes_bias(norm)
        last_bias = bias or layers > 0
        kernel, pad, strides = (4, 1, [2] * layers + [1]) if layers else (1, 0, [1, 1])
        widths = [width * min(2**i, 8) for i in range(len(strides))]
        stages = [nn.Sequential(nn.Conv2d(in_channels, widths[0], kernel, strides[0], pad), nn.LeakyReLU(0.2))]
        for before, after, stride in zip(widths, widths[1:], strides[1:], strict=False):
            conv = nn.Conv2d(before, after, kernel, stride, pad, bias=bias)
            stages.append(nn.Sequential(conv, norm_layer(norm, after), nn.LeakyReLU(0.2)))
        stages.append(nn.Sequential(nn.Conv2d(widths[-1], 1, kernel, 1, pad, bias=last_bias)))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x)[-1]

    def features(self, x: Tensor) -> list[Tensor]:
        """The output of every stage after its activation, (N, C_i, h_i, w_i); the last one is the logits."""
        least = smallest_side(self.num_layers)
        if min(x.shape[2:]) < least:
            raise UserError(
                "A patch discriminator with {layers} layers cannot judge {height}x{width} pictures. Expected sides of {least} pixels or more: "
                "choose larger pictures or fewer layers.", layers=self.num_layers, height=x.shape[2], width=x.shape[3], least=least,
            )  # fmt: skip
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs
