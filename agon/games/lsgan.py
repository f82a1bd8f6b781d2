"""Least Squares Generative Adversarial Networks (Mao et al., 2017), https://arxiv.org/abs/1611.04076.

The discriminator regresses 1 on real and 0 on fake samples, so that fakes on the right side but far from the data still teach the
generator (equation 9: a = 0, b = c = 1).

Differs from the paper: DCGAN's networks at any size instead of the paper's 112x112 LSUN networks.
"""

from __future__ import annotations

from dataclasses import dataclass

from agon.config import Preset
from agon.losses.adversarial import least_squares_discriminator, least_squares_generator
from agon.two_player import POINTS, SMALL, TINY, Init, TwoPlayerConfig, TwoPlayerGame


@dataclass(frozen=True, kw_only=True)
class Config(TwoPlayerConfig):
    init: Init = "normal"


class LSGAN(TwoPlayerGame):
    Config = Config
    smooths_labels = True
    presets = {
        "digits": Preset(max_size=16, fields=SMALL),
        "image": Preset(fields={"images": 5_000_000}, note="agon train lsgan --data my_pictures/"),
        "toy": Preset(kind="points", fields=POINTS),
        "tiny": Preset(kind="any", auto=False, fields=TINY),
    }

    def discriminator_terms(self, real, fake, batch):
        return {"adversarial": least_squares_discriminator(real, fake, self.config.label_smoothing)}

    def generator_terms(self, fake, real, batch):
        return {"adversarial": least_squares_generator(fake)}
