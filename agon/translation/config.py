"""The configuration that all games from picture to picture share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agon.config import OptimizerConfig, TrainConfig, require

Norm = Literal["batch", "instance", "none"]
Adversarial = Literal["lsgan", "bce", "hinge", "wgan"]
Init = Literal["default", "normal", "orthogonal", "xavier", "he"]

TINY = {
    "images": 240, "batch_size": 8, "width": 4, "discriminator_width": 4, "log_every": 10, "ema_half_life_images": 100, "sample_every_images": 120,
    "checkpoint_every_images": 80,
}  # fmt: skip
"""Fields of every translator's preset ``tiny``: a second or so, to see that everything works."""


@dataclass(frozen=True, kw_only=True)
class TranslationConfig(TrainConfig):
    images: int = 200_000
    """Length of the run in real images drawn (schedules reach their end here). On the command line also --steps, or 200k, 25M."""
    batch_size: int = 1
    """Samples in one optimizer step, over all ranks and micro-batches together (most published translators: 1)."""
    ema_half_life_images: int = 0
    """Half-life of the generator's moving average, in images. 0: no averaging (as most published translators)."""
    width: int = 64
    """Channels of the generator's first layer."""
    discriminator_width: int = 0
    """Channels of the discriminator's first layer. 0: as the generator."""
    adversarial: Adversarial = "lsgan"
    """Objective between the players: least squares, cross-entropy, hinge or Wasserstein."""
    init: Init = "normal"
    """Weights at the start: as the layers choose, N(0, 0.02), orthogonal, Glorot uniform, or He normal."""
    optimizer: OptimizerConfig = OptimizerConfig()
    discriminator_lr: float | None = None
    """Learning rate of the discriminator where it differs."""

    def __post_init__(self):
        super().__post_init__()
        require(self.width >= 1, "width", self.width, "a number above 0")
        require(self.discriminator_width >= 0, "discriminator_width", self.discriminator_width, "0 or a number of channels")
        require(self.discriminator_lr is None or self.discriminator_lr > 0, "discriminator_lr", self.discriminator_lr, "a number above 0")
