"""Begin a training with another run's weights, whatever its size: what fits by name is taken, what nearly fits is adapted, the rest stays as it is.

Networks name their parts by resolution (b8, b16 ...), so a run at 64 pixels gives one at 128 all its blocks but the newest. The generator starts from the
averaged weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from agon.errors import UserError
from agon.train import checkpoint


@dataclass
class Transferred:
    """Names of a game's state, by what became of them."""

    loaded: list[str] = field(default_factory=list)
    adapted: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """Not in the other run, or of a form that nothing can be made of: these start fresh."""
    unused: list[str] = field(default_factory=list)
    """In the other run alone."""


def read_weights(folder: Path) -> dict[str, Tensor]:
    """A run's newest weights by the game's names, averaged ones where there are such. Raises UserError for a folder without a whole checkpoint."""
    path, complaints = checkpoint.latest(Path(folder) / "checkpoints")
    if path is None:
        raise UserError("{folder} has no whole checkpoint to start from{why}. Expected a run folder: of 'agon train' or 'agon import'.",
                        folder=folder, why="".join(f" ({complaint})" for complaint in complaints))  # fmt: skip
    tensors, _ = checkpoint.load(path)
    return tensors["game"] | tensors.get("ema", {})


@torch.no_grad()
def transfer(game: nn.Module, weights: dict[str, Tensor]) -> Transferred:
    """Load ``weights`` into ``game`` as far as they go. Raises UserError when nothing does."""
    done = Transferred(unused=sorted(weights))
    for name, mine in game.state_dict().items():
        theirs = weights.get(name)
        if theirs is not None and theirs.shape == mine.shape:
            mine.copy_(theirs)
            done.loaded.append(name)
        elif theirs is not None and theirs.dim() == mine.dim():
            adapt(mine, theirs)
            done.adapted.append(name)
        else:
            done.skipped.append(name)
            continue
        done.unused.remove(name)
    if not any(name.endswith(("weight", "original", "basis", "const")) for name in done.loaded):
        raise UserError("None of the weights fit this game. Expected a run of the same game, or of one with the same networks.")
    return done


def adapt(mine: Tensor, theirs: Tensor) -> None:
    """Copy what two tensors of one rank have in common, in place; what is only in ``mine`` keeps its fresh values. Where one has a single channel and
    the other three, grey becomes colour by repetition, colour grey by the sum (the weights of a picture's channels) or mean."""
    for dim in range(mine.dim()):
        before, after = theirs.shape[dim], mine.shape[dim]
        if (before, after) == (1, 3):
            # as an input each channel now brings the same picture; as an output each shows it
            theirs = theirs.expand(*[3 if i == dim else -1 for i in range(mine.dim())]) / (3 if dim == 1 else 1)
        elif (before, after) == (3, 1):
            theirs = theirs.sum(dim, keepdim=True) if dim == 1 else theirs.mean(dim, keepdim=True)
    common = tuple(slice(0, min(a, b)) for a, b in zip(mine.shape, theirs.shape, strict=True))
    mine[common] = theirs[common].to(mine)
