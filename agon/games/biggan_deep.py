"""Large Scale GAN Training for High Fidelity Natural Image Synthesis (Brock et al., 2019), https://arxiv.org/abs/1809.11096.

BigGAN-deep, the paper's second architecture (appendix B): four times as many layers in narrow bottleneck blocks, with fewer parameters; shortcuts drop or keep
channels instead of projecting them, and every norm sees the class embedding and the whole latent.

Differs from the paper as BigGAN does (agon/games/biggan.py): learning rates of the first author's PyTorch code, orthogonal regularisation as a term of the
loss, truncated latents from the inverse of the distribution function.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agon.config import OptimizerConfig, Preset, require
from agon.layers.orthogonal import orthogonality
from agon.losses.adversarial import hinge_discriminator, hinge_generator
from agon.networks.biggan import truncated
from agon.two_player import SMALL, TINY, Init, Layers, TwoPlayerConfig, TwoPlayerGame


@dataclass(frozen=True, kw_only=True)
class Config(TwoPlayerConfig):
    network: Literal["biggan_deep"] = "biggan_deep"
    """Architecture of both players."""
    latent_dim: int = 128
    width: int = 128
    """The unit of all widths (ch in the authors' code): 32 pixels have 4 of it everywhere, 128 pixels 16 at first and 1 at last."""
    multiples: tuple[int, ...] = ()
    """The generator's channels at each resolution in units of width. Empty: as published for the number of doublings."""
    blocks: int = 2
    """Residual blocks at each resolution."""
    shared_embedding: bool = True
    """The norms see an embedding of the classes; false: the classes as they are."""
    embedding_dim: int = 128
    """Length of that embedding."""
    attention: tuple[int, ...] = (64,)
    """Shorter sides in pixels at which both networks attend to other positions."""
    discriminator_attention: tuple[int, ...] = ()
    """Numbers of the discriminator's blocks, from 1, that attention follows instead (0: none). Empty: those that end at one of those sides."""
    generator_norm: Literal["batch", "none"] = "batch"
    """Normalisation in the generator; gains and shifts stay without."""
    norm_eps: float = 1e-5
    """Added to batch norm's variances (1e-4 in the authors' released TensorFlow weights and in StudioGAN)."""
    init: Init = "orthogonal"
    spectral_norm: Layers = "both"
    orthogonal_regularisation: float = 1e-4
    """Weight of orthogonal regularisation of the generator. 0: off."""
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-4, beta1=0.0, beta2=0.999, eps=1e-6)
    discriminator_lr: float | None = 4e-4
    num_critic: int = 2

    def __post_init__(self):
        super().__post_init__()
        require(all(m >= 1 for m in self.multiples), "multiples", self.multiples, "multiples of width, 1 or more")
        require(self.norm_eps > 0, "norm_eps", self.norm_eps, "a number above 0")
        require(self.orthogonal_regularisation >= 0, "orthogonal_regularisation", self.orthogonal_regularisation, "0 or more")


DIGITS = SMALL | {
    "images": 200_000, "width": 24, "discriminator_width": 24, "blocks": 1, "latent_dim": 24, "embedding_dim": 16, "attention": (), "num_critic": 1,
    "discriminator_lr": 1e-3,
}  # fmt: skip
SHAPES = DIGITS | {
    "images": 44_000, "base_size": 4, "width": 24, "discriminator_width": 24, "blocks": 2, "latent_dim": 64, "embedding_dim": 32, "attention": (16,),
}  # fmt: skip
IMAGE = {"images": 20_000_000, "width": 64, "batch_size": 256, "micro_batch_size": 64}


class BigGANDeep(TwoPlayerGame):
    Config = Config
    condition_mode = "projection"
    controls = ("truncation",)
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

    def render(self, latent, condition, draws, truncation=None):
        """``truncation``: latents lie in [-truncation, truncation]; None: they are not truncated."""
        return self.generator(truncated(latent, truncation, self.config.latent_dim), condition)

    def discriminator_terms(self, real, fake, batch):
        return {"adversarial": hinge_discriminator(real, fake)}

    def generator_terms(self, fake, real, batch):
        terms = {"adversarial": hinge_generator(fake)}
        if self.config.orthogonal_regularisation:
            terms["orthogonal"] = self.config.orthogonal_regularisation * orthogonality(self.generator)
        return terms
