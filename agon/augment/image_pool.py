"""A pool of earlier fakes (Shrivastava et al., 2017), https://arxiv.org/abs/1612.07828, section 2.3, as CycleGAN uses it (Zhu et al., 2017), section 4.

The discriminator is shown, with probability 1/2, a fake of the past instead of today's, which then takes its place in the pool; before the pool is full
every fake is shown and stored. Batch size 1: exactly the ImagePool of the authors' PyTorch code.

With larger batches every sample is answered from the pool as it stood when the step began, and what is to be stored is stored once, after the step, in the
order of the whole batch (the last of several for one place wins): a batch in micro-batches or over several ranks gives what the whole batch gives.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class ImagePool(nn.Module):
    """``size`` pictures of ``shape``; 0: every fake is shown as it is. The pool is part of a checkpoint."""

    def __init__(self, size: int, shape: tuple[int, ...]):
        super().__init__()
        self.size = size
        self.register_buffer("pictures", torch.zeros(size, *shape))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self._noted: list[tuple[int, Tensor, Tensor, Tensor]] = []
        self._total = 0

    @torch.no_grad()
    def query(self, fakes: Tensor, draws: Tensor, place: tuple[int, int]) -> Tensor:
        """What the discriminator is shown for ``fakes`` (N, *shape), and a note of what is to be stored by :meth:`settle`.

        ``draws``: (N, 2) uniform in [0, 1): above 1/2 in the first column means to swap, the second one says with which picture. ``place``: number of
        the first sample and size of the whole batch (``Context.place``).
        """
        if not self.size:
            return fakes
        first, self._total = place
        number = self.count + first + torch.arange(len(fakes), device=fakes.device)
        room = number < self.size
        slot = torch.where(room, number, (draws[:, 1] * self.size).long())
        stored = room | (draws[:, 0] > 0.5)
        old = stored & (slot < self.count)  # a place that this very batch fills has no picture yet
        self._noted.append((first, fakes.detach().to(self.pictures.dtype), slot, stored))
        return torch.where(old.view(-1, *[1] * (fakes.dim() - 1)), self.pictures[slot].to(fakes.dtype), fakes)

    @torch.no_grad()
    def settle(self, mean_over_ranks: Callable[[Tensor], Tensor]) -> None:
        """Store what the step's queries noted."""
        if not self._noted:
            return
        fakes, slot, stored = self._gathered(mean_over_ranks)
        order = torch.arange(1, len(fakes) + 1, device=fakes.device)
        same = (slot[:, None] == slot) & stored  # row: whose place; column: who stores there
        last = (same * order).amax(1)
        value = torch.where((last > 0).view(-1, *[1] * (fakes.dim() - 1)), fakes[(last - 1).clamp_min(0)], self.pictures[slot])
        self.pictures[slot] = value  # equal places get equal pictures: their order does not matter
        self.count += len(fakes)
        self.count.clamp_(max=self.size)
        self._noted.clear()

    def _gathered(self, mean_over_ranks: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """(fakes, slots, whether they are stored) of the whole batch: each row is filled by one rank (twice, if a step ended before it was settled)."""
        fakes, slot, stored = (torch.cat([note[i] for note in self._noted]) for i in (1, 2, 3))
        if len(fakes) == self._total:
            return fakes, slot, stored
        mine = torch.cat([first + torch.arange(len(part), device=part.device) for first, part, _, _ in self._noted])
        share = torch.zeros(self._total, device=fakes.device)
        share[mine] = 1
        share = mean_over_ranks(share)
        columns = []
        for part in (fakes.flatten(1), slot[:, None].float(), stored[:, None].float()):
            whole = torch.zeros(self._total, part.shape[1], device=part.device)
            whole[mine] = part
            columns.append(mean_over_ranks(whole) / share[:, None])
        return columns[0].view(-1, *fakes.shape[1:]), columns[1][:, 0].round().long(), columns[2][:, 0] > 0.5
