"""Spectral Normalization for Generative Adversarial Networks (Miyato et al., 2018), https://arxiv.org/abs/1802.05957.

Every weight of the discriminator is divided by its largest singular value, which bounds how fast it can change; hinge objective
(equation 17), residual networks, five discriminator steps, Adam 2e-4 with betas 0 and 0.9. With labels: projection discriminator and
conditional batch norm (Miyato & Koyama 2018, https://arxiv.org/abs/1802.05637).

Differs from the paper: batch 64 in both turns by default. The preset for tiny pictures has strided convolutions (the paper has both kinds of
network) and one step a turn, with which the generator learns five times as often.
"""

from __future__ import annotations

from dataclasses import dataclass

from agon.config import OptimizerConfig, Preset
from agon.losses.adversarial import hinge_discriminator, hinge_generator
from agon.two_player import POINTS, SMALL, TINY, Init, Layers, Network, TwoPlayerConfig, TwoPlayerGame


@dataclass(frozen=True, kw_only=True)
class Config(TwoPlayerConfig):
    network: Network = "resnet"
    latent_dim: int = 128
    width: int = 256
    discriminator_width: int = 128
    init: Init = "xavier"
    spectral_norm: Layers = "discriminator"
    optimizer: OptimizerConfig = OptimizerConfig(lr=2e-4, beta1=0.0, beta2=0.9)
    num_critic: int = 5


class SNGAN(TwoPlayerGame):
    Config = Config
    condition_mode = "projection"
    presets = {
        "digits": Preset(max_size=16, fields=SMALL | {"network": "dcgan", "discriminator_width": 48, "discriminator_norm": "none", "num_critic": 1}),
        "image": Preset(fields={"images": 32_000_000, "optimizer.schedule": "linear"}, note="CIFAR-10 as published: agon train sngan --data cifar10"),
        "toy": Preset(kind="points", fields=POINTS | {"images": 2_560_000}),
        "tiny": Preset(kind="any", auto=False, fields=TINY),
    }

    def discriminator_terms(self, real, fake, batch):
        return {"adversarial": hinge_discriminator(real, fake)}

    def generator_terms(self, fake, real, batch):
        return {"adversarial": hinge_generator(fake)}
