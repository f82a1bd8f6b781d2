"""Differentiable augmentation (``diffaugment``: some of ``color,translation,cutout``): agon/augment/diffaug.py before the discriminator, always on."""

from __future__ import annotations

from torch import Tensor

from agon.augment.diffaug import augment, check_policy
from agon.game import Draws
from agon.two_player.option import Option


class DiffAugment(Option):
    def __init__(self, policy: tuple[str, ...]):
        super().__init__()
        self.policy = policy

    def see(self, samples: Tensor, draws: Draws) -> Tensor:
        return augment(samples, self.policy, draws.uniform)


def option(config, spec) -> DiffAugment | None:
    policy = check_policy(config.diffaugment)
    return DiffAugment(policy) if policy and spec.kind == "image" else None
