"""Exponential means of what a network sees, moved once a step and the same whatever the number of ranks and micro-batches.

A forward pass only adds up what it saw (:meth:`RunningMean.observe`); :func:`settle`, after an optimizer step, moves the mean. So a batch in parts gives
the mean of the whole batch, and looking at samples changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class RunningMean(nn.Module):
    """``value``: (*shape) float32, moved to decay * value + (1 - decay) * batch mean by every step that observed something."""

    def __init__(self, *shape: int, decay: float = 0.995, start: float = 0.0):
        super().__init__()
        self.decay = decay
        self.register_buffer("value", torch.full(shape, start))
        self.register_buffer("total", torch.zeros(shape), persistent=False)
        self.register_buffer("count", torch.zeros(()), persistent=False)

    @torch.no_grad()
    def observe(self, values: Tensor) -> None:
        """Add a batch (N, *shape) to what this step saw."""
        self.total += values.detach().float().sum(0)
        self.count += len(values)

    @torch.no_grad()
    def settle(self, mean_over_ranks: Callable[[Tensor], Tensor], decay: float | None = None) -> None:
        """Move towards the mean of what was seen since the last call; no step if that was nothing. ``decay``: of this step alone."""
        total, count = mean_over_ranks(self.total), mean_over_ranks(self.count)
        moved = torch.lerp(total / count.clamp_min(1e-12), self.value, self.decay if decay is None else decay)
        self.value.copy_(torch.where(count > 0, moved, self.value))
        self.forget()

    def forget(self) -> None:
        """Leave out what was seen since the last settlement."""
        self.total.zero_()
        self.count.zero_()


def settle(module: nn.Module, mean_over_ranks: Callable[[Tensor], Tensor]) -> None:
    """Settle every running mean inside ``module``."""
    for part in module.modules():
        if isinstance(part, RunningMean):
            part.settle(mean_over_ranks)


def forget(module: nn.Module) -> None:
    """Leave out what every running mean inside ``module`` has seen since it was settled."""
    for part in module.modules():
        if isinstance(part, RunningMean):
            part.forget()
