"""Large Scale GAN Training for High Fidelity Natural Image Synthesis (Brock et al., 2019), https://arxiv.org/abs/1809.11096.

BigGAN-deep, the paper's second architecture (appendix B): four times as many layers in narrow bottleneck blocks, with fewer parameters; shortcuts drop or keep
channels instead of projecting them, and every norm sees the class embedding and the whole latent.

Differs from the paper as BigGAN does (agon/games/biggan.py): learning rates of the first author's PyTorch code, orthogonal regularisation as a term of the
loss, truncated latents from the inverse of the distribution function.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agon.config import Preset
from agon.losses.adversarial import hinge_discriminator, hinge_generator
from agon.two_player import SMALL, TINY
from agon.two_player.large_scale import LargeScaleConfig, LargeScaleGame


@dataclass(frozen=True, kw_only=True)
class Config(LargeScaleConfig):
    network: Literal["biggan_deep"] = "biggan_deep"
    """Architecture of both players."""
    latent_dim: int = 128
    width: int = 128
    blocks: int = 2
    """Residual blocks at each resolution."""
    shared_embedding: bool = True
    """The norms see an embedding of the classes; false: the classes as they are."""


DIGITS = SMALL | {
    "images": 200_000, "width": 24, "discriminator_width": 24, "blocks": 1, "latent_dim": 24, "embedding_dim": 16, "attention": (), "num_critic": 1,
    "discriminator_lr": 1e-3,
}  # fmt: skip
SHAPES = DIGITS | {
    "images": 44_000, "base_size": 4, "width": 24, "discriminator_width": 24, "blocks": 2, "latent_dim": 64, "embedding_dim": 32, "attention": (16,),
}  # fmt: skip
IMAGE = {"images": 20_000_000, "width": 64, "batch_size": 256, "micro_batch_size": 64}


class BigGANDeep(LargeScaleGame):
    Config = Config
    presets = {
        "digits": Preset(max_size=16, fields=DIGITS, note="agon train biggan_deep --data digits"),
        "shapes": Preset(max_size=32, fields=SHAPES, note="agon train biggan_deep --data shapes"),
        "image": Preset(fields=IMAGE, note="a GPU: agon train biggan_deep --data my_pictures/"),
        "imagenet128": Preset(
            auto=False, note="as in the authors' script for 128 pixels: eight GPUs",
            fields={
                "images": 300_000_000, "batch_size": 2048, "micro_batch_size": 256, "num_critic": 1, "orthogonal_regularisation": 0.0,
                "ema_half_life_images": 14_200_000, "ema_rampup": 0.35,
            },
        ),
        "tiny": Preset(
            auto=False,
            fields=TINY | {"width": 4, "discriminator_width": 4, "latent_dim": 9, "attention": (4,), "num_critic": 1, "discriminator_lr": 2e-3},
        ),
    }  # fmt: skip

    def discriminator_terms(self, real, fake, batch):
        return {"adversarial": hinge_discriminator(real, fake)}

    def generator_terms(self, fake, real, batch):
        return {"adversarial": hinge_generator(fake)} | self.orthogonal()
