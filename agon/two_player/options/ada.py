"""Adaptive discriminator augmentation (``ada``: a set of agon/augment/ada.py, such as ``bgc``), https://arxiv.org/abs/2006.06676.

Real and fake pictures are augmented in both turns. Every ``ada_every`` steps the probability moves by the share of ``ada_images`` seen since, up where
the mean sign of D(real) is above ``ada_target`` (the discriminator knows its pictures by heart) and down where it is below, never below 0; as in
the published code it may pass 1, which for all but the rotations means no more than 1. ``ada_target`` 0: it stays at ``ada_p``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agon.augment.ada import AdaptiveAugment, check_channels, check_set
from agon.errors import UserError
from agon.game import Context, Draws, Terms
from agon.layers.running_mean import RunningMean
from agon.two_player.option import Option, Turn


class SignRule(nn.Module):
    """Moves a probability by the mean sign of the logits of real samples, over ``every`` steps at a time."""

    def __init__(self, target: float, images: int, every: int):
        super().__init__()
        self.target, self.images, self.every = target, images, every
        self.signs = RunningMean(decay=0.0)  # of one step, over all parts and ranks
        self.register_buffer("total", torch.zeros(()))
        self.register_buffer("steps", torch.zeros(()))

    def observe(self, logits: Tensor) -> None:
        """Logits of real samples, any shape."""
        self.signs.observe(logits.detach().float().sign().flatten())

    @torch.no_grad()
    def adjust(self, p: Tensor, batch_size: int) -> Tensor:
        """Once a step, after ``signs`` has settled: moves ``p`` in place if it is time. Returns the mean sign since the last time."""
        self.total += self.signs.value
        self.steps += 1
        mean = self.total / self.steps
        due = self.steps >= self.every
        moved = p + (mean - self.target).sign() * (batch_size * self.every / self.images)
        p.copy_(torch.where(due, moved.clamp_min(0), p))
        self.total.mul_(~due)
        self.steps.mul_(~due)
        return mean


class Ada(Option):
    def __init__(self, transforms: str, p: float, rule: SignRule | None):
        super().__init__()
        self.augment, self.rule = AdaptiveAugment(transforms, p), rule

    def see(self, samples: Tensor, draws: Draws) -> Tensor:
        return self.augment(samples, draws)

    def discriminator_terms(self, turn: Turn) -> Terms:
        if self.rule is not None:
            self.rule.observe(turn.logits(turn.real_out))
        return {}

    def settle(self, ctx: Context, batch_size: int) -> None:
        if self.rule is not None:
            ctx.log("ada_sign", self.rule.adjust(self.augment.p, batch_size))
        ctx.log("ada_p", self.augment.p)


def option(config, spec) -> Ada | None:
    groups = check_set(config.ada)
    if not groups:
        return None
    if spec.kind != "image":
        raise UserError("Adaptive augmentation (ada) changes pictures, and these data are of kind '{kind}'. Leave ada empty.", kind=spec.kind)
    check_channels(groups, spec.shape[0])
    rule = SignRule(config.ada_target, config.ada_images, config.ada_every) if config.ada_target else None
    return Ada(config.ada, config.ada_p, rule)
