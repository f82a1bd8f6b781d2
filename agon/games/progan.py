"""Progressive Growing of GANs for Improved Quality, Stability, and Variation (Karras et al., 2018), https://arxiv.org/abs/1710.10196.

Both networks begin at 4x4 pixels and grow: a stable phase, then the next resolution is faded in, up to the full size (section 2, appendix A.1).
Equalised learning rate, pixel norm and minibatch standard deviation (sections 3 and 4); WGAN-GP with one critic step and a small term that keeps D(x)
near 0 (appendix A.1, epsilon_drift 0.001); Adam 1e-3 with betas 0 and 0.99, forgotten at every phase. With labels the discriminator also names the
class, of real and fake samples alike, as in the authors' code (AC-GAN).

Differs from the authors' code: one batch size for all resolutions; the lengths of the laptop presets' phases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F

from agon.config import OptimizerConfig, Preset, require
from agon.losses.adversarial import wasserstein_critic, wasserstein_generator
from agon.two_player import TINY, Penalty
from agon.two_player.growing import GrowingConfig, GrowingGame


@dataclass(frozen=True, kw_only=True)
class Config(GrowingConfig):
    network: Literal["progan"] = "progan"
    latent_dim: int = 512
    fused_scale: bool = True
    """The discriminator's bias and rectifier come after downsampling (the authors' TensorFlow code); false: before it (the paper's table 2)."""
    first_bias: Literal["channel", "element"] = "channel"
    """The first dense layer's biases (pytorch_GAN_zoo has one for each element)."""
    first_norm: bool = True
    """Whether pixels are normalised between the generator's first two layers (pro_gan_pytorch does not)."""
    penalty: Penalty = "wgan_gp"
    drift: float = 0.001
    """Weight of the mean of D(x)^2 (epsilon_drift)."""
    class_weight: float = 1.0
    """Weight of the classification terms in both turns."""
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-3, beta1=0.0, beta2=0.99)

    def __post_init__(self):
        super().__post_init__()
        for name in ("drift", "class_weight"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")


LAPTOP = {
    "batch_size": 32, "latent_dim": 64, "channel_max": 64, "stable_images": 10_000, "fade_images": 10_000, "optimizer.lr": 1e-3, "optimizer.schedule": "linear",
    "ema_half_life_images": 5_000, "enlarge": False,
}  # fmt: skip
"""Fields that the presets for small pictures share."""


class ProGAN(GrowingGame):
    """Outputs of the discriminator: (N,), with labels (N, 1 + num_classes), real-or-fake first."""

    Config = Config
    condition_mode = "auxiliary"
    presets = {
        "digits": Preset(max_size=16, fields=LAPTOP | {"images": 250_000, "channel_base": 256}),
        "shapes": Preset(max_size=32, fields=LAPTOP | {"images": 130_000, "channel_base": 512, "start_size": 8}),
        "image": Preset(fields={"images": 12_000_000, "batch_size": 32}, note="agon train progan --data my_pictures/"),
        "celebahq1024": Preset(
            auto=False,
            fields={
                "images": 19_000_000, "batch_size": 16, "minibatch_std": 16, "stable_images": 800_000, "fade_images": 800_000,
                "ema_half_life_images": 11_085, "ema_rampup": 0.0, "ema_every": 1,
            },
            note="CelebA-HQ as published: agon train progan --preset celebahq1024 --data celeba_hq/ --data.size 1024",
        ),
        "tiny": Preset(
            auto=False,
            fields=TINY | {"base_size": 4, "channel_base": 64, "channel_max": 8, "stable_images": 24, "fade_images": 24},
        ),
    }  # fmt: skip

    def make(self, latent, condition, draws):
        return self.generator(latent, condition, native=not self.config.enlarge)

    def logits(self, outputs):
        return outputs[:, 0] if self.condition_dim else outputs

    def discriminator_terms(self, real, fake, batch):
        scores = self.logits(real)
        terms = {"wasserstein": wasserstein_critic(scores, self.logits(fake)), "drift": self.config.drift * scores.square().mean()}
        if self.condition_dim:
            terms["classes"] = self.config.class_weight * (F.cross_entropy(real[:, 1:], batch.label) + F.cross_entropy(fake[:, 1:], batch.label))
        return terms

    def generator_terms(self, fake, real, batch):
        terms = {"wasserstein": wasserstein_generator(self.logits(fake))}
        if self.condition_dim:
            terms["classes"] = self.config.class_weight * F.cross_entropy(fake[:, 1:], batch.label)
        return terms
