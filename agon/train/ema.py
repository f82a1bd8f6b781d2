"""Exponential moving averages of a game's modules: parameters are averaged, buffers are copied."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class Ema:
    """Averages of the submodules ``names`` of ``game``. Half-life in images with ramp-up (Karras et al. 2020)."""

    def __init__(self, game: nn.Module, names: tuple[str, ...], half_life_images: int, rampup: float):
        self.game, self.half_life_images, self.rampup = game, half_life_images, rampup
        self.modules = nn.ModuleDict({name: copy.deepcopy(getattr(game, name)).requires_grad_(False) for name in names})

    @torch.no_grad()
    def update(self, num_images: int, elapsed_images: int) -> None:
        """Move towards the present weights, ``elapsed_images`` after the last call."""
        half_life = min(self.half_life_images, self.rampup * num_images) if self.rampup else self.half_life_images
        weight = 1 - 0.5 ** (elapsed_images / max(half_life, 1e-8))
        for name, average in self.modules.items():
            live = getattr(self.game, name)
            for mean, now in zip(average.parameters(), live.parameters(), strict=True):
                mean.lerp_(now, weight)
        self.copy_buffers()

    @torch.no_grad()
    def copy_buffers(self) -> None:
        """Take over what is no weight (power-iteration vectors, counters, running statistics, how far a network has grown): its average means nothing."""
        for name, average in self.modules.items():
            for mean, now in zip(average.buffers(), getattr(self.game, name).buffers(), strict=True):
                mean.copy_(now)

    @contextmanager
    def applied(self) -> Iterator[nn.Module]:
        """The game with the averaged modules in place of the live ones."""
        self.copy_buffers()  # the weights are averaged every few steps only
        live = {name: getattr(self.game, name) for name in self.modules}
        try:
            for name, average in self.modules.items():
                setattr(self.game, name, average)
            yield self.game
        finally:
            for name, module in live.items():
                setattr(self.game, name, module)


@contextmanager
def buffers_kept(game: nn.Module) -> Iterator[nn.Module]:
    """The live game, whose batch statistics and power-iteration vectors are put back: looking at samples must not change the training."""
    before = [buffer.clone() for buffer in game.buffers()]
    try:
        yield game
    finally:
        with torch.no_grad():
            for buffer, value in zip(game.buffers(), before, strict=True):
                buffer.copy_(value)
