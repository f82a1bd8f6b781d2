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

from agon.config import OptimizerConfig, Preset, require
from agon.losses.adversarial import hinge_discriminator, hinge_generator
from agon.two_player import SMALL, TINY, Init, Layers, TwoPlayerConfig, TwoPlayerGame


@dataclass(frozen=True, kw_only=True)
class Config(TwoPlayerConfig):
    network: Literal["biggan"] = "biggan"
    """Architecture of both players."""
    latent_dim: int = 128
    width: int = 64
    """The unit of all widths: 32 pixels have 4 of it everywhere, 128 pixels 16 at first and 1 at last."""
    multiples: tuple[int, ...] = ()
    """The generator's channels at each resolution in units of width. Empty: as published for the number of doublings."""
    hierarchical: bool = False
    """Every block's norms see a part of the latent of their own (BigGAN)."""
    shared_embedding: bool = False
    """One embedding of the classes for all norms (BigGAN); false: a gain and shift for each class in every norm."""
    embedding_dim: int = 128
    """Length of that embedding."""
    attention: tuple[int, ...] = (64,)
    """Shorter sides in pixels at which both networks attend to other positions."""
    discriminator_attention: tuple[int, ...] = ()
    """Numbers of the discriminator's blocks, from 1, that attention follows instead (0: none). Empty: those that end at one of those sides."""
    generator_norm: Literal["batch", "none"] = "batch"
    """Normalisation in the generator; gains and shifts stay without."""
    norm_eps: float = 1e-5
    """Added to batch norm's variances."""
    init: Init = "xavier"
    spectral_norm: Layers = "both"
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-4, beta1=0.0, beta2=0.9)
    discriminator_lr: float | None = 4e-4

    def __post_init__(self):
        super().__post_init__()
        require(all(m >= 1 for m in self.multiples), "multiples", self.multiples, "multiples of width, 1 or more")
        require(self.norm_eps > 0, "norm_eps", self.norm_eps, "a number above 0")


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
