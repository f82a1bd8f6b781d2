"""The objectives that a translator can choose by name, for discriminators of any output shape (each patch counts alike)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from agon.losses import adversarial


@dataclass(frozen=True)
class Objective:
    """``discriminator(real, fake)`` and ``generator(fake)``: logits of any shape -> the loss, a scalar."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


OBJECTIVES = {
    "lsgan": Objective(adversarial.least_squares_discriminator, adversarial.least_squares_generator),
    "bce": Objective(adversarial.cross_entropy_discriminator, adversarial.non_saturating_generator),
    "hinge": Objective(adversarial.hinge_discriminator, adversarial.hinge_generator),
    "wgan": Objective(adversarial.wasserstein_critic, adversarial.wasserstein_generator),
}


def as_translators_weigh(name: str) -> Objective:
    """The objective in the scale of the authors' code of pix2pix, CycleGAN and CUT: squares are not halved, and the discriminator's two means are."""
    plain = OBJECTIVES[name]
    if name == "lsgan":
        return Objective(plain.discriminator, lambda fake: 2 * plain.generator(fake))
    return Objective(lambda real, fake: 0.5 * plain.discriminator(real, fake), plain.generator)
