"""Geometric GAN (Lim & Ye, 2017), https://arxiv.org/abs/1705.02894.

A game from outside the package, whole: it must pass the same contract as the games inside.
"""

from dataclasses import dataclass

from agon.config import Preset
from agon.losses.adversarial import hinge_discriminator, hinge_generator
from agon.two_player import POINTS, TINY, Network, TwoPlayerConfig, TwoPlayerGame


@dataclass(frozen=True, kw_only=True)
class Config(TwoPlayerConfig):
    network: Network = "mlp"
    margin: float = 1.0
    """Distance from the hyperplane that is enough."""


class GeometricGAN(TwoPlayerGame):
    Config = Config
    presets = {"image": Preset(fields={}), "toy": Preset(kind="points", fields=POINTS), "tiny": Preset(kind="any", auto=False, fields=TINY)}

    def discriminator_terms(self, real, fake, batch):
        return {"adversarial": hinge_discriminator(real / self.config.margin, fake / self.config.margin)}

    def generator_terms(self, fake, real, batch):
        return {"adversarial": hinge_generator(fake)}
