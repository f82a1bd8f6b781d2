"""Spectral normalisation (Miyato et al., 2018), https://arxiv.org/abs/1802.05957, algorithm 1, on whole networks.

The power iteration is a step of its own (:func:`iterate`), taken once after each optimizer step, and no side effect of a forward pass: so a batch
in micro-batches, or a network judged twice in a step, sees the same weights as one whole pass.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from agon.errors import UserError
from agon.layers.init import WEIGHTED

FIRST_ITERATIONS = 15


class SpectralNorm(nn.Module):
    """The parametrisation W -> W / sigma(W), where sigma = u^T W v with running estimates u, v of the largest singular value's vectors."""

    left: Tensor
    right: Tensor

    def __init__(self, weight: Tensor, dim: int):
        super().__init__()
        self.dim = dim
        matrix = self._matrix(weight.detach())
        self.register_buffer("left", F.normalize(torch.randn_like(matrix[:, 0]), dim=0))
        self.register_buffer("right", F.normalize(torch.randn_like(matrix[0]), dim=0))
        for _ in range(0 if weight.is_meta else FIRST_ITERATIONS):
            self.iterate(weight)

    def forward(self, weight: Tensor) -> Tensor:
        kind = "cpu" if weight.is_meta else weight.device.type
        with torch.autocast(kind, enabled=False):  # in full precision whatever the passes are in
            return weight / torch.dot(self.left, self._matrix(weight) @ self.right)

    @torch.no_grad()
    def iterate(self, weight: Tensor) -> None:
        """One power iteration."""
        matrix = self._matrix(weight)
        self.left.copy_(F.normalize(matrix @ self.right, dim=0))
        self.right.copy_(F.normalize(self.left @ matrix, dim=0))

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight.movedim(self.dim, 0).flatten(1)


def spectral_normalise(network: nn.Module) -> None:
    """Divide the weight of every linear and convolution layer of ``network`` by its largest singular value.

    A layer marked ``part_of_norm`` (a norm's gains and shifts) or ``free_scale`` (an embedding of classes) keeps its scale. Raises UserError for a
    layer of zeros, whose largest singular value is 0.
    """
    for module in list(network.modules()):
        if isinstance(module, WEIGHTED) and not (getattr(module, "part_of_norm", False) or getattr(module, "free_scale", False)):
            if not module.weight.is_meta and not module.weight.any():
                raise UserError(
                    "Weights that start at 0 cannot be divided by their largest singular value. Set init to "
                    "orthogonal, xavier or normal, or spectral_norm to none."
                )  # fmt: skip
            dim = 1 if isinstance(module, nn.modules.conv._ConvTransposeNd) else 0
            parametrize.register_parametrization(module, "weight", SpectralNorm(module.weight, dim))


def iterate(network: nn.Module) -> None:
    """One power iteration for every normalised weight of ``network``, to follow an optimizer step."""
    for module in network.modules():
        if parametrize.is_parametrized(module, "weight"):
            for parametrisation in module.parametrizations.weight:
                if isinstance(parametrisation, SpectralNorm):
                    parametrisation.iterate(module.parametrizations.weight.original)
