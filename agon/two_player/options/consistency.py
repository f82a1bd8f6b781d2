"""Consistency regularisation: CR (``cr_weight``, published 10; Zhang et al. 2020, https://arxiv.org/abs/1910.12027), bCR (``bcr_real_weight``,
``bcr_fake_weight``, 10 each) and zCR (``zcr_discriminator_weight`` 5, ``zcr_generator_weight`` 0.5, ``zcr_sigma``; Zhao et al. 2021,
https://arxiv.org/abs/2002.04724).

The discriminator is to rate a sample and the same sample changed a little alike: real ones (CR), fake ones too (bCR); pictures are mirrored with
probability 1/2 and shifted by up to an eighth of each side, points take a step of 0.05 standard deviations. zCR: it is to rate samples of
neighbouring latents alike, and the generator is to make them differ.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agon.game import Draws, Terms
from agon.losses.consistency import consistency, latent_indifference
from agon.two_player.option import Option, Turn

POINT_STEP = 0.05
"""Standard deviation of a point's change, in those of the data."""


class Consistency(Option):
    def __init__(self, real: float, fake: float, discriminator: float, generator: float, sigma: float):
        super().__init__()
        self.real, self.fake, self.discriminator, self.generator, self.sigma = real, fake, discriminator, generator, sigma

    def discriminator_terms(self, turn: Turn) -> Terms:
        terms = {}
        for name, weight, seen, outputs in (("real", self.real, turn.real_seen, turn.real_out), ("fake", self.fake, turn.fake_seen, turn.fake_out)):
            if weight:
                changed = turn.judge(change(seen.detach(), turn.ctx))
                terms[f"consistency_{name}"] = weight * consistency(turn.logits(outputs), turn.logits(changed))
        if self.discriminator:
            with torch.no_grad():
                near = self._near(turn)
            outputs = turn.judge(turn.game.seen(near, turn.ctx))
            terms["consistency_latent"] = self.discriminator * consistency(turn.logits(turn.fake_out), turn.logits(outputs))
        return terms

    def generator_terms(self, turn: Turn) -> Terms:
        if not self.generator:
            return {}
        return {"latent_indifference": self.generator * latent_indifference(turn.made, self._near(turn))}

    def _near(self, turn: Turn) -> Tensor:
        """Samples of latents nearby; a mixture's choice of component (a last column) stays."""
        latent, width = turn.latent, turn.game.config.latent_dim
        step = self.sigma * turn.ctx.normal(len(latent), width).to(latent.dtype)
        moved = torch.cat([latent[:, :width] + step, latent[:, width:]], 1)
        return turn.game.make(moved, turn.condition, turn.ctx)


def change(samples: Tensor, draws: Draws) -> Tensor:
    """Pictures (N, C, H, W) mirrored or not and shifted, with their mirror image moving in; points (N, D) with a little noise."""
    if samples.dim() == 2:
        return samples + POINT_STEP * draws.normal(*samples.shape).to(samples.dtype)
    n, _, height, width = samples.shape
    u = draws.uniform(n, 3)
    rows, columns = (_shifted(u[:, i], size) for i, size in enumerate((height, width)))
    columns = torch.where(u[:, 2:] < 0.5, width - 1 - columns, columns)
    batch = torch.arange(n, device=samples.device)[:, None, None]
    return samples.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _shifted(u: Tensor, size: int) -> Tensor:
    """(N, size): where each position comes from, reflected at the ends."""
    reach = max(1, size // 8)
    shift = (u * (2 * reach + 1)).long() - reach
    position = (torch.arange(size, device=u.device) + shift[:, None]).abs()
    return size - 1 - (size - 1 - position).abs()


def option(config, spec) -> Consistency | None:
    weights = (config.cr_weight + config.bcr_real_weight, config.bcr_fake_weight, config.zcr_discriminator_weight, config.zcr_generator_weight)
    return Consistency(*weights, config.zcr_sigma) if any(weights) else None
