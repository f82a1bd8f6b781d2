"""What an option of any two-player game is: a technique that adds terms to the turns, or changes what the discriminator gets to see.

Options are modules of the game (``game.options``), so what they remember lies in buffers and checkpoints. Each stands in a file of its own in
:mod:`agon.two_player.options` and says there which field switches it on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from agon.data.source import Batch
from agon.game import Context, Draws, Game, Terms


@dataclass
class Turn:
    """One player's turn, as an option sees it. ``real`` and ``made`` are samples before ``game.seen`` has changed them, ``real_seen`` and ``fake_seen``
    after; ``real_out`` and ``fake_out`` are the discriminator's outputs. In the generator's turn what belongs to real samples may be None."""

    game: Game
    batch: Batch
    condition: Tensor | None
    ctx: Context
    latent: Tensor | None
    real: Tensor | None
    made: Tensor
    real_seen: Tensor | None
    fake_seen: Tensor
    real_out: Tensor | None
    fake_out: Tensor

    def judge(self, samples: Tensor) -> Tensor:
        """The discriminator's outputs on other samples under the turn's condition."""
        return self.game.discriminator(samples, self.condition)

    def logits(self, outputs: Tensor) -> Tensor:
        """(N,) that say real or fake."""
        return self.game.logits(outputs)


class Option(nn.Module):
    """Does nothing; an option overrides what it needs."""

    def see(self, samples: Tensor, draws: Draws) -> Tensor:
        """Real or fake samples (N, ...) as the discriminator gets to see them (differentiable twice)."""
        return samples

    def reals(self, real: Tensor, made: Tensor, ctx: Context) -> Tensor:
        """The samples that the discriminator is told are real, from those that are and those that are made (detached)."""
        return real

    def latent(self, latent: Tensor, generate: Callable[[Tensor], Tensor], game: Game, condition: Tensor | None) -> Tensor:
        """Another latent in place of a drawn one."""
        return latent

    def discriminator_terms(self, turn: Turn) -> Terms:
        return {}

    def generator_terms(self, turn: Turn) -> Terms:
        return {}

    def settle(self, ctx: Context, batch_size: int) -> None:
        """After the discriminator's update of a step (running means inside the option are settled before it)."""
