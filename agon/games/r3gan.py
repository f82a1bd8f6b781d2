"""The GAN is dead; long live the GAN! A Modern GAN Baseline (Huang et al., 2024), https://arxiv.org/abs/2501.05441.

Real and fake samples are judged in pairs (relativistic objective, equation 3), gradients are penalised on both (R1 + R2), and that is all: no
tricks, no batch norm, networks of plain residual blocks. Learning rate and beta2 (0.9 to 0.99) follow a cosine, the penalty weight falls by equal
factors.

Differs from the paper: the authors' code lets every schedule end before the run does; here they end with it. Networks of other families may
be chosen, without batch norm.
"""

from __future__ import annotations

from dataclasses import dataclass

from agon.config import OptimizerConfig, Preset
from agon.losses.adversarial import relativistic_discriminator, relativistic_generator
from agon.two_player import POINTS, SMALL, TINY, Network, Norm, Penalty, TwoPlayerConfig, TwoPlayerGame


@dataclass(frozen=True, kw_only=True)
class Config(TwoPlayerConfig):
    network: Network = "r3gan"
    latent_dim: int = 64
    width: int = 256
    generator_norm: Norm = "none"
    discriminator_norm: Norm = "none"
    optimizer: OptimizerConfig = OptimizerConfig(lr=2e-4, beta1=0.0, beta2=0.9, beta2_final=0.99, schedule="cosine", lr_final=5e-5)
    penalty: Penalty = "r1_r2"
    penalty_weight: float = 1.0
    """gamma: the objective adds gamma / 2 |grad D|^2 on real and on fake samples."""
    penalty_weight_final: float | None = 0.1


DIGITS = SMALL | {
    "images": 220_000, "network": "dcgan", "latent_dim": 16, "optimizer.lr": 2e-3, "optimizer.lr_final": 1e-4, "optimizer.schedule": "cosine",
    "penalty_weight_final": 0.03, "log_every": 20,
}  # fmt: skip
"""Tiny pictures and few of them: DCGAN's strided convolutions without norm cost a fifteenth of the residual blocks at this size and suffice."""

LAPTOP = {
    "images": 300_000, "network": "dcgan", "generator_norm": "batch", "width": 48, "optimizer.lr": 1e-3, "optimizer.lr_final": 1e-4,
    "ema_half_life_images": 20_000,
}  # fmt: skip
"""Pictures of 32 or 64 pixels on a CPU within hours: the same objective with DCGAN's convolutions, and its norm in the generator."""

MIXTURES = {
    "images": 1_536_000, "latent_dim": 4, "latent_components": 256, "fourier_features": 64, "fourier_scale": 1.0, "ema_half_life_images": 17_600,
    "optimizer.lr": 1.5e-3, "discriminator_lr": 4e-3, "optimizer.lr_final": 2e-4, "optimizer.schedule": "geometric", "optimizer.decay_start": 0.0,
    "optimizer.beta1": 0.5, "clip_grad_norm": 0.2, "penalty_weight": 3.0, "penalty_weight_final": 1e-3,
}  # fmt: skip
"""Separate modes of points: a latent that is a mixture itself, and Fourier features so that the discriminator sees narrow modes. The slower generator
and the clipped gradients are against sudden swings, in which a balanced generator loses a mode within 50 steps (docs/log.md)."""


class R3GAN(TwoPlayerGame):
    Config = Config
    condition_mode = "bilinear"
    paired = True
    presets = {
        "digits": Preset(max_size=16, fields=DIGITS, note="agon train r3gan --data digits"),
        "image": Preset(fields={"images": 20_000_000, "width": 128, "micro_batch_size": 16}, note="a GPU: agon train r3gan --data my_pictures/"),
        "laptop": Preset(auto=False, fields=LAPTOP, note="a CPU: agon train r3gan --data my_pictures/ --data.size 32 --preset laptop"),
        "toy": Preset(kind="points", fields=POINTS | MIXTURES),
        "tiny": Preset(kind="any", auto=False, fields=TINY),
    }

    def discriminator_terms(self, real, fake, batch):
        return {"adversarial": relativistic_discriminator(real, fake)}

    def generator_terms(self, fake, real, batch):
        return {"adversarial": relativistic_generator(real, fake)}
