"""Large Scale GAN Training for High Fidelity Natural Image Synthesis (Brock et al., 2019), https://arxiv.org/abs/1809.11096.

A class-conditional residual GAN made large: spectral norm and self-attention in both networks, one embedding of the classes for all norms, latents that
enter every block, hinge objective (equations 1 and 2), orthogonal regularisation (equation 4), an averaged generator with standing statistics, and
latents truncated when sampling.

Differs from the paper: two discriminator steps a turn as there, with the learning rates of the first author's PyTorch code (1e-4 and 4e-4, for batches of
256 and more); orthogonal regularisation is a term of the loss with the gradient that the code adds. Truncated latents come from the inverse of the
distribution function instead of drawing anew: the same distribution, and each seed keeps its picture as the threshold moves. Without labels the norms
see the latent's parts alone.
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
    network: Literal["biggan"] = "biggan"
    """Architecture of both players."""
    latent_dim: int = 120
    """Length of the latent vector, drawn from N(0, 1). A hierarchical one is cut into equal parts for the first layer and each block; a rest is not used."""
    hierarchical: bool = True
    """Every block's norms see a part of the latent of their own."""


DIGITS = SMALL | {
    "images": 200_000, "width": 12, "discriminator_width": 12, "latent_dim": 24, "embedding_dim": 16, "attention": (), "num_critic": 1,
    "discriminator_lr": 1e-3,
}  # fmt: skip
SHAPES = DIGITS | {"images": 60_000, "base_size": 4, "width": 16, "discriminator_width": 12, "latent_dim": 64, "embedding_dim": 32, "attention": (16,)}
IMAGENET = {
    "images": 300_000_000, "batch_size": 2048, "micro_batch_size": 256, "num_critic": 1, "orthogonal_regularisation": 0.0,
    "ema_half_life_images": 14_200_000, "ema_rampup": 0.35,  # theirs begins at step 20,000
}  # fmt: skip
IMAGE = {"images": 20_000_000, "width": 64, "batch_size": 256, "micro_batch_size": 64}


class BigGAN(LargeScaleGame):
    Config = Config
    presets = {
        "digits": Preset(max_size=16, fields=DIGITS, note="agon train biggan --data digits"),
        "shapes": Preset(max_size=32, fields=SHAPES, note="agon train biggan --data shapes"),
        "image": Preset(fields=IMAGE, note="a GPU: agon train biggan --data my_pictures/"),
        "cifar10": Preset(
            auto=False, note="as in the authors' script for CIFAR-10: a GPU, agon train biggan --data cifar10 --preset cifar10",
            fields={
                "images": 25_000_000, "batch_size": 50, "width": 64, "latent_dim": 128, "hierarchical": False, "shared_embedding": False, "attention": (),
                "init": "normal", "orthogonal_regularisation": 0.0, "optimizer.lr": 2e-4, "discriminator_lr": 2e-4, "optimizer.eps": 1e-8,
                "num_critic": 4, "ema_half_life_images": 1_390_000, "ema_rampup": 0.35,
            },
        ),
        "imagenet128": Preset(auto=False, fields=IMAGENET, note="as in the authors' script for 128 pixels: eight GPUs"),
        "imagenet256": Preset(auto=False, fields=IMAGENET | {"latent_dim": 140}, note="the same for 256 pixels"),
        "tiny": Preset(
            auto=False, fields=TINY | {"width": 2, "discriminator_width": 2, "latent_dim": 9, "attention": (4,), "num_critic": 1, "discriminator_lr": 2e-3}
        ),
    }  # fmt: skip

    def discriminator_terms(self, real, fake, batch):
        return {"adversarial": hinge_discriminator(real, fake)}

    def generator_terms(self, fake, real, batch):
        return {"adversarial": hinge_generator(fake)} | self.orthogonal()
