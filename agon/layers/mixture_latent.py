"""A latent distribution that is itself a mixture, with learnt centres (DeLiGAN, Gurumurthy et al. 2017, https://arxiv.org/abs/1706.02071)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MixtureLatent(nn.Module):
    """Put a mixture of Gaussians before a generator: (N, Z + 1) -> the generator's samples.

    The last coordinate of what comes in is uniform in [0, 1) and chooses one of ``num_components`` centres (Z numbers each, learnt with the
    generator's weights, from N(0, 1)); the others, standard normal, are scaled by ``width`` around it. Separate modes of the data can then
    be reached without stretching one blob; more components than modes do no harm, so their number need not be known.
    """

    def __init__(self, generator: nn.Module, latent_dim: int, num_components: int, width: float):
        super().__init__()
        self.generator, self.width = generator, width
        self.centres = nn.Parameter(torch.randn(num_components, latent_dim))

    def forward(self, latent: Tensor, condition: Tensor | None = None, *further) -> Tensor:
        """``further``: what else the generator takes (draws)."""
        chosen = (latent[:, -1] * len(self.centres)).long().clamp_(max=len(self.centres) - 1)
        return self.generator(self.centres[chosen] + self.width * latent[:, :-1], condition, *further)
