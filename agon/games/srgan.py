"""Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network (Ledig et al., 2017), https://arxiv.org/abs/1609.04802.

Enlarges pictures by 2, 3 or 4: trained on pixels first, then against a discriminator too, so that textures are sharp. The generator's loss (equations 3 to
6) is

    |G(x) - y| * pixel_weight + distance of a frozen network's maps * perceptual_weight - log D(G(x)) * adversarial_weight

and the discriminator's the cross-entropy. Differences from the paper: the generator is BasicSR's (https://github.com/XPixelGroup/BasicSR), without norms
(``network=srresnet`` is the paper's); the maps are those of random convolutions, the declared substitute, unless ``vgg_weights`` names VGG-19's file
(preset ``published``: squared difference of relu5_4, weight 0.006, and no pixel term); the paper's pre-training is the first stage of the same run.
"""

from __future__ import annotations

from dataclasses import dataclass

from agon.config import Preset
from agon.networks.srresnet import SRGANDiscriminator
from agon.translation import TINY
from agon.translation.config import Norm
from agon.translation.super_resolution import SuperResolutionConfig, SuperResolutionGame


@dataclass(frozen=True, kw_only=True)
class Config(SuperResolutionConfig):
    discriminator_norm: Norm = "batch"
    """Norm of the discriminator, as published: batch."""
    hidden: int = 1024
    """Units of the discriminator's last layer but one."""


class SRGAN(SuperResolutionGame):
    Config = Config
    data_options = {"input": "downscale:4", "crop": 96, "mirror": True}
    presets = {
        "small": Preset(
            note="agon train srgan --data photos (6 minutes of one core)",
            fields={"images": 32_000, "pretrain": 0.625, "pretrain_lr": 1e-3, "pretrain_decay": 0.2, "width": 32, "blocks": 4, "base": "bicubic",
                    "init": "xavier", "discriminator_width": 16, "hidden": 100, "optimizer.lr": 2e-4, "pixel_weight": 1.0, "adversarial_weight": 5e-3,
                    "perceptual_weight": 0.1, "ema_half_life_images": 500},
        ),
        "published": Preset(
            auto=False,
            note="agon train srgan --data PHOTOS --preset published --vgg_weights vgg19-dcbb9e9d.pth (1.2 million steps of 16: for a GPU)",
            fields={"images": 19_200_000, "pretrain": 0.83, "network": "srresnet", "pretrain_lr": 1e-4, "pixel": "l2", "pixel_weight": 0.0,
                    "perceptual": "vgg", "perceptual_distance": "l2", "perceptual_weight": 0.006, "vgg_layers": "relu5_4:1", "optimizer.beta2": 0.999},
        ),
        "tiny": Preset(auto=False, fields=TINY | {"blocks": 1, "hidden": 8, "perceptual_width": 2, "pretrain": 0.2}),
    }  # fmt: skip

    def __init__(self, config: Config, spec):
        super().__init__(config, spec)
        width = config.discriminator_width or config.width
        self.discriminator = SRGANDiscriminator(spec.shape[1:], spec.shape[0], width, config.hidden, config.discriminator_norm)
        self.start(self.generator, self.discriminator)
