"""lucidrains' StyleGAN2: https://github.com/lucidrains/stylegan2-pytorch (model_*.pt: a dict of ``GAN`` and ``version``). Recognised, and refused.

It is another network than StyleGAN2's: bilinear upsampling before an ordinary convolution, a convolution after the constant, rectifiers without their gain,
noise with a weight and a bias for each channel (one image for all layers, transposed), no bias in the layers to colours, a [1, 2, 1] blur with reflected
borders behind the upsampled picture, a discriminator of strided convolutions. None of that can be said in the weights of StyleGAN2's network.
"""

from __future__ import annotations

from typing import Any

from agon.formats.imported import Unfit

ORIGIN = "stylegan2-pytorch (lucidrains)"


def recognise(names: set[str], meta: dict) -> bool:
    return any(name.endswith("blocks.0.to_noise1.weight") for name in names) and any(name.endswith("initial_conv.weight") for name in names)


def convert(tree: Any) -> dict[str, Any]:
    raise Unfit("its layers are not StyleGAN2's (bilinear upsampling before the convolution, a convolution after the constant, rectifiers without gain, "
                "noise with weight and bias for each channel, pictures without bias), so that no weights of StyleGAN2's networks make the same pictures")
