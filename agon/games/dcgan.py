"""Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks (Radford et al., 2016), https://arxiv.org/abs/1511.06434.

The convolutional recipe that made GANs train: strided convolutions, batch norm, Adam with beta1 0.5 and learning rate 2e-4, weights from
N(0, 0.02), the non-saturating objective.

Differs from the paper: any size that can be halved; the generator ends in as many channels as the data have.
"""

from __future__ import annotations

from dataclasses import dataclass

from agon.config import Preset
from agon.losses.adversarial import cross_entropy_discriminator, non_saturating_generator
from agon.two_player import POINTS, SMALL, TINY, Init, TwoPlayerConfig, TwoPlayerGame


@dataclass(frozen=True, kw_only=True)
class Config(TwoPlayerConfig):
    init: Init = "normal"


class DCGAN(TwoPlayerGame):
    Config = Config
    smooths_labels = True
    presets = {
        "digits": Preset(max_size=16, fields=SMALL),
        "image": Preset(fields={"images": 5_000_000, "batch_size": 128}, note="agon train dcgan --data my_pictures/"),
        "toy": Preset(kind="points", fields=POINTS),
        "tiny": Preset(kind="any", auto=False, fields=TINY),
    }

    def discriminator_terms(self, real, fake, batch):
        return {"adversarial": cross_entropy_discriminator(real, fake, self.config.label_smoothing)}

    def generator_terms(self, fake, real, batch):
        return {"adversarial": non_saturating_generator(fake)}
