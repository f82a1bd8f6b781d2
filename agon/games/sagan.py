"""Self-Attention Generative Adversarial Networks (Zhang et al., 2019), https://arxiv.org/abs/1805.08318.

At one resolution both networks attend to all positions (equations 1 to 3), so that distant parts of a picture can agree; spectral norm stands in the
generator too, and the discriminator has the higher learning rate (section 4) in place of several steps a turn. Hinge objective (equation 4), projection,
conditional batch norm with a gain and shift for each class.

Differs from the paper: the blocks, widths and Glorot initialisation are those of the SAGAN script beside BigGAN's PyTorch code, whose first layer, latent and
widths follow BigGAN's tables. A moving average of the generator is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agon.config import OptimizerConfig, Preset
from agon.losses.adversarial import hinge_discriminator, hinge_generator
from agon.two_player import SMALL, TINY, Init, TwoPlayerGame
from agon.two_player.large_scale import AttentionConfig


@dataclass(frozen=True, kw_only=True)
class Config(AttentionConfig):
    network: Literal["biggan"] = "biggan"
    """Architecture of both players."""
    latent_dim: int = 128
    width: int = 64
    hierarchical: bool = False
    """Every block's norms see a part of the latent of their own (BigGAN)."""
    shared_embedding: bool = False
    """One embedding of the classes for all norms (BigGAN); false: a gain and shift for each class in every norm."""
    init: Init = "xavier"
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-4, beta1=0.0, beta2=0.9)


DIGITS = SMALL | {"images": 200_000, "width": 12, "discriminator_width": 12, "latent_dim": 24, "attention": (4,), "discriminator_lr": 1e-3}
SHAPES = DIGITS | {"images": 60_000, "base_size": 4, "width": 16, "discriminator_width": 12, "latent_dim": 64, "attention": (16,)}


class SAGAN(TwoPlayerGame):
    Config = Config
    condition_mode = "projection"
    presets = {
        "digits": Preset(max_size=16, fields=DIGITS, note="agon train sagan --data digits"),
        "shapes": Preset(max_size=32, fields=SHAPES, note="agon train sagan --data shapes"),
        "image": Preset(fields={"images": 20_000_000, "batch_size": 256, "micro_batch_size": 64}, note="a GPU: agon train sagan --data my_pictures/"),
        "imagenet128": Preset(
            auto=False, note="as in the script beside BigGAN's code: four GPUs",
            fields={"images": 256_000_000, "batch_size": 256, "micro_batch_size": 128, "ema_half_life_images": 1_770_000},
        ),
        "tiny": Preset(auto=False, fields=TINY | {"width": 2, "discriminator_width": 2, "attention": (4,), "discriminator_lr": 2e-3}),
    }  # fmt: skip

    def discriminator_terms(self, real, fake, batch):
        return {"adversarial": hinge_discriminator(real, fake)}

    def generator_terms(self, fake, real, batch):
        return {"adversarial": hinge_generator(fake)}
