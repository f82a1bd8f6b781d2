"""CUT's projection head (Park et al., 2020), https://arxiv.org/abs/2007.15651, section 3.2: feature vectors at random positions, each through a small MLP.

Two linear layers with a ReLU between them for every layer of features, then a division by the length + 1e-7, as in the authors' code (``mlp_sample``).
Differs: every picture has positions of its own, without repetition, where theirs are one draw for the batch, so that a batch may be split.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from agon.game import Draws


class PatchSampler(nn.Module):
    """Feature maps, ``widths[i]`` channels each -> (N, P, width) unit vectors for each map."""

    def __init__(self, widths: Sequence[int], width: int = 256):
        super().__init__()
        self.heads = nn.ModuleList(nn.Sequential(nn.Linear(each, width), nn.ReLU(), nn.Linear(width, width)) for each in widths)

    def forward(self, features: Sequence[Tensor], positions: Sequence[Tensor]) -> list[Tensor]:
        """``positions``: of :meth:`positions`, one tensor a map."""
        return [self._project(head, at(x, where)) for head, x, where in zip(self.heads, features, positions, strict=True)]

    def positions(self, features: Sequence[Tensor], count: int, draws: Draws) -> list[Tensor]:
        """(N, P) positions in each map, row by row: P = min(count, h w) different ones for every picture."""
        scores = [draws.uniform(len(x), x.shape[2] * x.shape[3]).to(x.device) for x in features]
        return [each.argsort(1)[:, :count] for each in scores]

    @staticmethod
    def _project(head: nn.Module, vectors: Tensor) -> Tensor:
        out = head(vectors).float()
        return out / (out.square().sum(-1, keepdim=True).add(1e-24).sqrt() + 1e-7)  # 1e-24: a root has no derivative at 0


def at(x: Tensor, where: Tensor) -> Tensor:
    """(N, C, h, w), (N, P) -> (N, P, C): the vectors at those positions."""
    flat = x.flatten(2).transpose(1, 2)
    return torch.gather(flat, 1, where[:, :, None].expand(-1, -1, flat.shape[2]))
