"""Generative Adversarial Networks (Goodfellow et al., 2014), https://arxiv.org/abs/1406.2661.

The game it began with: the discriminator learns to tell real from fake, the generator to be taken for real. Algorithm 1 with
either of the paper's generator objectives: non-saturating (section 3, the default) or minimax (equation 1), which vanishes while the
discriminator is sure. Networks: MLPs, generator 100-256-512-1024-picture.

Differs from the paper: leaky rectifiers instead of maxout and sigmoid layers, Adam instead of momentum, one discriminator step (k = 1,
as in the paper's experiments).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agon.config import Preset
from agon.losses.adversarial import cross_entropy_discriminator, minimax_generator, non_saturating_generator
from agon.two_player import POINTS, TINY, Network, Norm, TwoPlayerConfig, TwoPlayerGame


@dataclass(frozen=True, kw_only=True)
class Config(TwoPlayerConfig):
    network: Network = "mlp"
    generator_norm: Norm = "none"
    objective: Literal["non_saturating", "minimax"] = "non_saturating"
    """What the generator minimises: -log D(G(z)), or log(1 - D(G(z)))."""


class GAN(TwoPlayerGame):
    Config = Config
    smooths_labels = True
    presets = {
        "digits": Preset(max_size=16, fields={"images": 400_000}),
        "image": Preset(fields={"images": 6_000_000}, note="MNIST-sized pictures: agon train gan --data mnist"),
        "toy": Preset(kind="points", fields=POINTS),
        "tiny": Preset(kind="any", auto=False, fields=TINY),
    }

    def discriminator_terms(self, real, fake, batch):
        return {"adversarial": cross_entropy_discriminator(real, fake, self.config.label_smoothing)}

    def generator_terms(self, fake, real, batch):
        objective = minimax_generator if self.config.objective == "minimax" else non_saturating_generator
        return {"adversarial": objective(fake)}
