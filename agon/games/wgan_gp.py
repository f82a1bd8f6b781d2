"""Improved Training of Wasserstein GANs (Gulrajani et al., 2017), https://arxiv.org/abs/1704.00028.

Wasserstein GAN whose critic is kept smooth by a penalty on its gradient's norm between real and fake samples instead of by clipping
(algorithm 1: lambda 10, five critic steps, Adam 1e-4, betas 0 and 0.9).

Differs from the paper: DCGAN's networks, batch norm in the generator only; any size that can be halved.
"""

from __future__ import annotations

from dataclasses import dataclass

from agon.config import OptimizerConfig, Preset
from agon.losses.adversarial import wasserstein_critic, wasserstein_generator
from agon.two_player import POINTS, SMALL, TINY, Norm, Penalty, TwoPlayerConfig, TwoPlayerGame


@dataclass(frozen=True, kw_only=True)
class Config(TwoPlayerConfig):
    discriminator_norm: Norm = "none"
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-4, beta1=0.0, beta2=0.9)
    num_critic: int = 5
    penalty: Penalty = "wgan_gp"


class WGANGP(TwoPlayerGame):
    Config = Config
    presets = {
        "digits": Preset(max_size=16, fields=SMALL | {"num_critic": 2}),
        "image": Preset(fields={"images": 30_000_000}, note="agon train wgan_gp --data my_pictures/"),
        "toy": Preset(kind="points", fields=POINTS | {"images": 2_560_000, "penalty_weight": 0.1}),
        "tiny": Preset(kind="any", auto=False, fields=TINY),
    }

    def discriminator_terms(self, real, fake, batch):
        return {"wasserstein": wasserstein_critic(real, fake)}

    def generator_terms(self, fake, real, batch):
        return {"wasserstein": wasserstein_generator(fake)}
