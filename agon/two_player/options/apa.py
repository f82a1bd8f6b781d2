"""Deceive D: Adaptive Pseudo Augmentation (``apa_target``, published 0.6), Jiang et al. 2021, https://arxiv.org/abs/2111.06849.

With a probability that adapts as ADA's does (every 4 steps, from 0, 1 after ``apa_images``), a real sample is replaced by a generated one that the
discriminator is told is real. Here it is the one of this step under the same condition; the published code takes those of the generator's turn before.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agon.game import Context, Terms
from agon.two_player.option import Option, Turn
from agon.two_player.options.ada import SignRule

EVERY = 4
"""Steps between two adjustments, as published."""


class Apa(Option):
    def __init__(self, target: float, images: int):
        super().__init__()
        self.rule = SignRule(target, images, EVERY)
        self.register_buffer("p", torch.zeros(()))

    def reals(self, real: Tensor, made: Tensor, ctx: Context) -> Tensor:
        pseudo = ctx.uniform(len(real), *[1] * (real.dim() - 1)) < self.p
        return torch.where(pseudo, made.detach().to(real.dtype), real)

    def discriminator_terms(self, turn: Turn) -> Terms:
        self.rule.observe(turn.logits(turn.real_out))
        return {}

    def settle(self, ctx: Context, batch_size: int) -> None:
        ctx.log("apa_sign", self.rule.adjust(self.p, batch_size))
        ctx.log("apa_p", self.p)


def option(config, spec) -> Apa | None:
    return Apa(config.apa_target, config.apa_images) if config.apa_target else None
