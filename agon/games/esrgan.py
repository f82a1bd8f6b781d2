"""ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks (Wang et al., 2018), https://arxiv.org/abs/1809.00219, equations 1 to 3.

Enlarges pictures by 2, 3 or 4 with residual dense blocks and a discriminator that compares: is this more real than the average of the other side? The
generator's loss is

    perceptual_weight * distance of a frozen network's maps before the ReLU + 5e-3 * relativistic average + 1e-2 * |G(x) - y|

after a first stage on pixels alone. As in BasicSR (https://github.com/XPixelGroup/BasicSR) both halves of the relativistic loss count 1/2 and the averages are
held fixed in the discriminator's turn. Differences: the maps are those of random convolutions, the declared substitute, unless ``vgg_weights`` names VGG-19's
file (preset ``published``: conv5_4); the stage on pixels is part of the same run, and the two stages' weights are
not interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from agon.config import Preset
from agon.losses.relativistic_average import relativistic_average_discriminator, relativistic_average_generator
from agon.networks.vgg_discriminator import VGGStyleDiscriminator
from agon.translation import TINY
from agon.translation.config import Norm
from agon.translation.super_resolution import SuperResolutionConfig, SuperResolutionGame


@dataclass(frozen=True, kw_only=True)
class Config(SuperResolutionConfig):
    network: Literal["msrresnet", "srresnet", "rrdb", "srvgg"] = "rrdb"
    """Generator: ESRGAN's residual dense blocks, SRResNet without norms (BasicSR's), SRGAN's own with batch norm, or Real-ESRGAN's small one."""
    blocks: int = 23
    """Blocks of the generator (srvgg: convolutions)."""
    adversarial_weight: float = 5e-3
    """Weight of the adversarial term."""
    relativistic: Literal["average", "none"] = "average"
    """Whether a picture is judged against the average of the other side (samples of a batch see each other), or by itself with ``adversarial``."""
    discriminator_norm: Norm = "batch"
    """Norm of the discriminator, as published: batch."""


class ESRGAN(SuperResolutionGame):
    Config = Config
    data_options = {"input": "downscale:4", "crop": 128, "mirror": True}
    presets = {
        "small": Preset(
            note="agon train esrgan --data photos (10 minutes of one core)",
            fields={"images": 12_800, "batch_size": 8, "pretrain": 0.625, "pretrain_lr": 1e-3, "pretrain_decay": 0.2, "width": 32, "growth": 16, "blocks": 3,
                    "base": "bicubic", "discriminator_width": 16, "optimizer.lr": 2e-4, "pixel_weight": 1.0, "perceptual_weight": 0.1,
                    "ema_half_life_images": 500},
        ),
        "published": Preset(
            auto=False,
            note="agon train esrgan --data PHOTOS --preset published --vgg_weights vgg19-dcbb9e9d.pth (1.4 million steps of 16: for a GPU)",
            fields={"images": 22_400_000, "pretrain": 0.714, "pretrain_decay": 0.03, "perceptual": "vgg", "optimizer.schedule": "geometric",
                    "optimizer.decay_start": 0.714, "optimizer.lr_final": 6.25e-6},
        ),
        "tiny": Preset(auto=False, fields=TINY | {"blocks": 1, "growth": 2, "perceptual_width": 2, "pretrain": 0.2}),
    }  # fmt: skip

    def __init__(self, config: Config, spec):
        super().__init__(config, spec)
        width = config.discriminator_width or config.width
        self.discriminator = VGGStyleDiscriminator(spec.shape[1:], spec.shape[0], width, config.discriminator_norm)
        self.start(self.generator, self.discriminator)

    def batch_coupled(self):
        return super().batch_coupled() + (["relativistic"] if self.config.relativistic == "average" else [])

    def discriminator_terms(self, real: Tensor, fake: Tensor):
        if self.config.relativistic == "none":
            return super().discriminator_terms(real, fake)
        return {"adversarial": relativistic_average_discriminator(real, fake)}

    def adversarial_term(self, real: Tensor, fake: Tensor) -> Tensor:
        if self.config.relativistic == "none":
            return super().adversarial_term(real, fake)
        fake_out = self.discriminator(fake)
        with torch.no_grad():  # behind the pass with gradients
            real_out = self.discriminator(real)
        return relativistic_average_generator(real_out, fake_out)
