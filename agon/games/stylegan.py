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
from agon.game import Stage
from agon.layers.progressive import Growth, faded, set_lod
from agon.losses.adversarial import cross_entropy_discriminator, non_saturating_generator
from agon.networks.sizes import doublings
from agon.two_player import TINY, Penalty, TwoPlayerConfig
from agon.two_player.style import StyleGame


@dataclass(frozen=True, kw_only=True)
class Config(TwoPlayerConfig):
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
    channel_base: int = 16384
    """A resolution of s pixels has this / s channels (the authors' fmap_base is half of it)."""
    channel_max: int = 512
    """The most channels of any layer."""
    minibatch_std: int = 4
    """Samples in a group of the minibatch standard deviation; 0: off."""
    start_size: int = 8
    """Smallest side, in pixels, of the pictures that the run begins with."""
    stable_images: int = 600_000
    """Real images at a resolution before the next one is faded in."""
    fade_images: int = 600_000
    """Real images while the next resolution is faded in."""
    enlarge: bool = True
    """While growing, pictures are enlarged to the full size before the discriminator sees them (the authors' code; the smaller the pictures, the weaker
    R1). false: it sees them as they are, as in most ports."""
    penalty: Penalty = "r1"
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-3, beta1=0.0, beta2=0.99)

    def __post_init__(self):
        super().__post_init__()
        for name in ("w_dim", "mapping_layers", "channel_base", "channel_max", "start_size"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "a number above 0")
        for name in ("minibatch_std", "stable_images", "fade_images"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        require(0 <= self.w_avg_decay < 1, "w_avg_decay", self.w_avg_decay, "a number in [0, 1)")
        require(0 <= self.style_mixing <= 1, "style_mixing", self.style_mixing, "a probability in [0, 1]")
        require(not self.latent_components, "latent_components", self.latent_components, "0 in a game that grows")


LAPTOP = {
    "batch_size": 32, "latent_dim": 64, "w_dim": 64, "mapping_layers": 4, "channel_max": 64, "stable_images": 10_000, "fade_images": 10_000,
    "penalty_weight": 1.0, "optimizer.lr": 2e-3, "optimizer.schedule": "linear", "ema_half_life_images": 5_000,
}  # fmt: skip
"""Fields that the presets for small pictures share."""


class StyleGAN(StyleGame):
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
        times, base = doublings(spec, config.base_size)
        self.growth = Growth(times, min(base), config.start_size, config.stable_images, config.fade_images)

    # --- growing ----------------------------------------------------------------------------------------------------------------------

    def stages(self):
        (stage,) = super().stages()
        return [Stage(name, stage.updates, length, fresh_optimizers=True) for name, length in self.growth.phases()]

    def prepare(self, ctx):
        set_lod(self, self.growth.lod(ctx.num_images))
        ctx.log("lod", self.generator.synthesis.lod)

    def make(self, latent, condition, draws):
        return self.generator(latent, condition, draws, mixing=self.mixing, native=not self.config.enlarge)

    def real(self, batch):
        return faded(batch.real, self.generator.synthesis.level_of_detail(), enlarge=self.config.enlarge)

    # --- the objective ----------------------------------------------------------------------------------------------------------------

    def discriminator_terms(self, real, fake, batch):
        return {"adversarial": cross_entropy_discriminator(real, fake, self.config.label_smoothing)}

    def generator_terms(self, fake, real, batch):
        return {"adversarial": non_saturating_generator(fake)}
