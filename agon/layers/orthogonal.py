"""Orthogonal regularisation in BigGAN's modified form (Brock et al., 2019), https://arxiv.org/abs/1809.11096, equation 4.

R(W) = 1/2 |W W^T o (1 - I)|_F^2 for W as (outputs, everything else): rows of one weight are to be at right angles, their lengths are free. The half makes
beta R's gradient 2 beta (W W^T o (1 - I)) W, which is what the authors' code adds to the gradients under the name of strength beta.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agon.layers.init import WEIGHTED


def orthogonality(network: nn.Module) -> Tensor:
    """The sum of R over the weights of ``network`` as the optimizer holds them (before spectral normalisation), in float32.

    Layers marked ``part_of_norm`` or ``free_scale`` (embeddings of classes) are left out.
    """
    total = torch.zeros((), device=next(network.parameters()).device)
    with torch.autocast(total.device.type, enabled=False):
        for module in network.modules():
            if isinstance(module, WEIGHTED) and not (getattr(module, "part_of_norm", False) or getattr(module, "free_scale", False)):
                total = total + _off_diagonal(module.parametrizations.weight.original if hasattr(module, "parametrizations") else module.weight)
    return total


def _off_diagonal(weight: Tensor) -> Tensor:
    matrix = weight.float().flatten(1)
    rows, columns = matrix.shape
    lengths = matrix.square().sum(1)
    if rows > columns:  # |W W^T| = |W^T W|: the first layer's W W^T would take gigabytes
        return 0.5 * ((matrix.T @ matrix).square().sum() - lengths.square().sum())
    gram = matrix @ matrix.T
    return 0.5 * (gram - torch.diag(gram.diagonal())).square().sum()
