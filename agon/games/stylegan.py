"""A Style-Based Generator Architecture for Generative Adversarial Networks (Karras et al., 2019), https://arxiv.org/abs/1812.04948.

The latent goes through a mapping network into styles that set mean and deviation of every channel at every layer (AdaIN); noise at each layer makes what
is accidental (section 2). Two latents are mixed in nine of ten training pictures (section 3.1), samples can be drawn nearer to the mean style
(truncation, appendix B). Non-saturating loss with R1, gamma 10, Adam 1e-3 with betas 0 and 0.99; grows from 8x8 like ProGAN (appendix C).

Differs from the authors' code: one batch size and learning rate for all resolutions (they raise it to 0.003 from 512 px on); a coin and a crossover of its
own for each sample when mixing, not one for the batch; no truncation unless asked for (theirs: 0.7 in the first 8 layers); the lengths of the laptop
presets' phases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agon.config import OptimizerConfig, Preset, require
from agon.losses.adversarial import cross_entropy_discriminator, non_saturating_generator
from agon.two_player import TINY, Penalty
from agon.two_player.growing import GrowingConfig, GrowingGame
from agon.two_player.style import StyleGame


@dataclass(frozen=True, kw_only=True)
class Config(GrowingConfig):
    network: Literal["stylegan"] = "stylegan"
    latent_dim: int = 512
    w_dim: int = 512
    """Length of a style and width of the mapping network."""
    mapping_layers: int = 8
    """Layers of the mapping network; they learn at 0.01 of the rate."""
    w_avg_decay: float = 0.995
    """Decay of the mean style that truncation moves towards, in a step."""
    style_mixing: float = 0.9
    """Fraction of the training pictures whose styles come from two latents."""
    start_size: int = 8
    penalty: Penalty = "r1"
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-3, beta1=0.0, beta2=0.99)

    def __post_init__(self):
        super().__post_init__()
        for name in ("w_dim", "mapping_layers"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "a number above 0")
        require(0 <= self.w_avg_decay < 1, "w_avg_decay", self.w_avg_decay, "a number in [0, 1)")
        require(0 <= self.style_mixing <= 1, "style_mixing", self.style_mixing, "a probability in [0, 1]")


LAPTOP = {
    "batch_size": 32, "latent_dim": 64, "w_dim": 64, "mapping_layers": 4, "channel_max": 64, "stable_images": 10_000, "fade_images": 10_000,
    "penalty_weight": 1.0, "optimizer.lr": 2e-3, "optimizer.schedule": "linear", "ema_half_life_images": 5_000,
}  # fmt: skip
"""Fields that the presets for small pictures share."""


class StyleGAN(GrowingGame, StyleGame):
    Config = Config
    smooths_labels = True
    presets = {
        "digits": Preset(max_size=16, fields=LAPTOP | {"images": 150_000, "channel_base": 256, "start_size": 4}),
        "shapes": Preset(max_size=32, fields=LAPTOP | {"images": 130_000, "channel_base": 512}),
        "image": Preset(fields={"images": 25_000_000, "batch_size": 32, "ema_rampup": 0.0}, note="agon train stylegan --data my_pictures/"),
        "ffhq1024": Preset(
            auto=False,
            fields={"images": 25_000_000, "batch_size": 32, "ema_rampup": 0.0, "ema_every": 1},
            note="FFHQ as published: agon train stylegan --preset ffhq1024 --data ffhq/ --data.size 1024",
        ),
        "tiny": Preset(
            auto=False,
            fields=TINY
            | {
                "base_size": 4, "channel_base": 64, "channel_max": 8, "w_dim": 8, "mapping_layers": 2, "start_size": 4, "stable_images": 24,
                "fade_images": 24,
            },
        ),
    }  # fmt: skip

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.mixing = config.style_mixing

    def make(self, latent, condition, draws):
        return self.generator(latent, condition, draws, mixing=self.mixing, native=not self.config.enlarge)

    def discriminator_terms(self, real, fake, batch):
        return {"adversarial": cross_entropy_discriminator(real, fake, self.config.label_smoothing)}

    def generator_terms(self, fake, real, batch):
        return {"adversarial": non_saturating_generator(fake)}
