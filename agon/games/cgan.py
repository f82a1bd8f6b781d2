"""Conditional Generative Adversarial Nets (Mirza & Osindero, 2014), https://arxiv.org/abs/1411.1784.

Both players are told the class, or any vector of features: it is appended to the latent, and to what the discriminator sees (equation 2;
to pictures as constant planes when the networks are convolutional).

Differs from the paper: leaky rectifiers instead of maxout layers and dropout, Adam, the non-saturating objective.
"""

from __future__ import annotations

from dataclasses import dataclass

from agon.config import Preset
from agon.losses.adversarial import cross_entropy_discriminator, non_saturating_generator
from agon.two_player import POINTS, SMALL, TINY, Network, Norm, TwoPlayerConfig, TwoPlayerGame


@dataclass(frozen=True, kw_only=True)
class Config(TwoPlayerConfig):
    network: Network = "mlp"
    generator_norm: Norm = "none"


class CGAN(TwoPlayerGame):
    Config = Config
    condition_mode = "concat"
    needs_condition = True
    smooths_labels = True
    presets = {
        "digits": Preset(max_size=16, fields=SMALL),
        "image": Preset(fields={"images": 6_000_000}, note="labelled MNIST-sized pictures: agon train cgan --data mnist"),
        "toy": Preset(kind="points", fields=POINTS),
        "tiny": Preset(kind="any", auto=False, fields=TINY),
    }

    def discriminator_terms(self, real, fake, batch):
        return {"adversarial": cross_entropy_discriminator(real, fake, self.config.label_smoothing)}

    def generator_terms(self, fake, real, batch):
        return {"adversarial": non_saturating_generator(fake)}
