"""The GAN is dead; long live the GAN! A Modern GAN Baseline (Huang et al., 2024), https://arxiv.org/abs/2501.05441.

Real and fake samples are judged in pairs (relativistic objective, equation 3), gradients are penalised on both (R1 + R2), and that is all: no
tricks, no batch norm, networks of plain residual blocks. Learning rate and beta2 (0.9 to 0.99) follow a cosine, the penalty weight falls by equal
factors.

Differs from the paper: the authors' code lets every schedule end before the run does; here they end with it (the presets cifar10 to imagenet64 end where the
authors' schedules do; their runs go on with the last values). There the average's half-life rises along a line instead of a cosine and
colours change with the full probability of augmentation instead of half. Networks of other families may be chosen, without batch norm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from agon.config import OptimizerConfig, Preset, require
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
    penalty_schedule: Literal["geometric", "cosine"] = "geometric"
    """How gamma falls to its last value: by equal factors, or along a cosine as in the authors' code."""
    ada_schedule: Literal["constant", "cosine"] = "constant"
    """With ada_target 0: ada's probability stays at ada_p, or rises from 0 to it along a cosine as in the authors' code."""
    widths: tuple[int, ...] = ()
    """Channels of both players at each resolution, from the lowest up. Empty: width (discriminator_width) at all."""
    stage_blocks: tuple[int, ...] = ()
    """Residual blocks at each resolution, from the lowest up. Empty: blocks at all."""
    cardinalities: tuple[int, ...] = ()
    """Convolution groups at each resolution, from the lowest up. Empty: one for every group_width channels."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("widths", "stage_blocks", "cardinalities"):
            require(all(value >= 1 for value in getattr(self, name)), name, getattr(self, name), "numbers above 0, one for each resolution, or none")
        require(self.ada_schedule == "constant" or not self.ada_target, "ada_schedule", self.ada_schedule, "constant, or ada_target 0")


def cosine(first: float, last: float, progress: float) -> float:
    """From ``first`` to ``last`` along half a cosine."""
    return last + (first - last) * (1 + math.cos(math.pi * min(1.0, progress))) / 2


def published(widths: tuple[int, ...], *, groups: int = 8, images: int, batch_size: int, gamma: float, ema: int, p: float) -> dict:
    """A configuration of the authors' train.py: schedules over ``images``, gamma falling to a tenth, average and augmentation growing to ``ema`` and ``p``;
    ``groups``: channels of a width for each convolution group."""
    return {
        "images": images, "batch_size": batch_size, "widths": widths, "stage_blocks": (2,) * len(widths), "cardinalities": tuple(w // groups for w in widths),
        "optimizer.lr": 2e-4, "optimizer.lr_final": 5e-5, "optimizer.schedule": "cosine", "optimizer.beta2": 0.9, "optimizer.beta2_final": 0.99,
        "penalty_weight": gamma, "penalty_weight_final": gamma / 10, "penalty_schedule": "cosine", "ema_half_life_images": ema, "ema_rampup": ema / images,
        "ada": "blit,geom,color,cutout", "ada_target": 0.0, "ada_p": p, "ada_schedule": "cosine", "conditional": False,
    }  # fmt: skip


CIFAR10 = published((768,) * 4, images=20_000_000, batch_size=512, gamma=0.05, ema=5_000_000, p=0.55)
FFHQ = {"images": 20_000_000, "batch_size": 256, "ema": 500_000, "p": 0.3}
IMAGENET = {"images": 200_000_000, "batch_size": 4096, "ema": 50_000_000, "groups": 16}
CLASSES = {"conditional": True}


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
        "cifar10": Preset(auto=False, fields=CIFAR10, note="several GPUs: agon train r3gan --data cifar10 --data.mirror true --preset cifar10"),
        "cifar10_conditional": Preset(auto=False, fields=CIFAR10 | CLASSES, note="the same with --preset cifar10_conditional"),
        "ffhq64": Preset(auto=False, fields=published((768,) * 4 + (384,), gamma=2.0, **FFHQ), note="64x64, mirrored"),
        "ffhq256": Preset(auto=False, fields=published((768,) * 4 + (384, 192, 96), gamma=150.0, **FFHQ), note="256x256, mirrored"),
        "imagenet32": Preset(auto=False, fields=published((1536,) * 4, gamma=0.5, p=0.5, **IMAGENET) | CLASSES, note="32x32 with classes, mirrored"),
        "imagenet64": Preset(auto=False, fields=published((1536,) * 5, gamma=1.0, p=0.4, **IMAGENET) | CLASSES, note="64x64 with classes, mirrored"),
        "tiny": Preset(kind="any", auto=False, fields=TINY),
    }

    def prepare(self, ctx):
        if self.config.ada_schedule == "cosine" and "ada" in self.options:
            self.options["ada"].augment.p.fill_(cosine(0.0, self.config.ada_p, ctx.progress))

    def penalty_weight(self, ctx):
        first, last = self.config.penalty_weight, self.config.penalty_weight_final
        if self.config.penalty_schedule == "cosine" and last is not None:
            return cosine(first, last, ctx.progress)
        return super().penalty_weight(ctx)

    def discriminator_terms(self, real, fake, batch):
        return {"adversarial": relativistic_discriminator(real, fake)}

    def generator_terms(self, fake, real, batch):
        return {"adversarial": relativistic_generator(real, fake)}
