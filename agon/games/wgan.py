"""Wasserstein GAN (Arjovsky et al., 2017), https://arxiv.org/abs/1701.07875.

The critic estimates how far the fakes are from the data (the Wasserstein-1 distance, equation 3) instead of classifying; its weights are
clipped to keep it smooth (algorithm 1: five critic steps, clip 0.01, RMSProp at 5e-5).

Differs from the paper: nothing in the algorithm; networks at any size that can be halved.
"""

from __future__ import annotations

from dataclasses import dataclass

from agon.config import OptimizerConfig, Preset
from agon.losses.adversarial import wasserstein_critic, wasserstein_generator
from agon.two_player import POINTS, SMALL, TINY, Init, TwoPlayerConfig, TwoPlayerGame


@dataclass(frozen=True, kw_only=True)
class Config(TwoPlayerConfig):
    init: Init = "normal"
    optimizer: OptimizerConfig = OptimizerConfig(name="rmsprop", lr=5e-5, beta2=0.99)
    num_critic: int = 5
    weight_clip: float = 0.01


class WGAN(TwoPlayerGame):
    Config = Config
    presets = {
        "digits": Preset(max_size=16, fields=SMALL | {"images": 600_000, "width": 32, "num_critic": 2, "weight_clip": 0.05}),
        "image": Preset(fields={"images": 30_000_000}, note="agon train wgan --data my_pictures/"),
        "toy": Preset(kind="points", fields=POINTS | {"images": 2_560_000, "optimizer.schedule": "constant", "optimizer.lr": 5e-4, "weight_clip": 0.1}),
        "tiny": Preset(kind="any", auto=False, fields=TINY),
    }

    def discriminator_terms(self, real, fake, batch):
        return {"wasserstein": wasserstein_critic(real, fake)}

    def generator_terms(self, fake, real, batch):
        return {"wasserstein": wasserstein_generator(fake)}
