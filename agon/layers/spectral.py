"""Spectral normalisation (Miyato et al., 2018), https://arxiv.org/abs/1802.05957, algorithm 1, on whole networks."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from agon.errors import UserError
from agon.layers.init import WEIGHTED


def spectral_normalise(network: nn.Module) -> None:
    """Divide the weight of every linear and convolution layer of ``network`` by its largest singular value, one power iteration a pass.

    A linear layer marked ``part_of_norm`` keeps its scale. Raises UserError for a layer of zeros, whose largest singular value is 0.
    """
    for module in list(network.modules()):
        if isinstance(module, WEIGHTED) and not getattr(module, "part_of_norm", False):
            if not module.weight.is_meta and not module.weight.any():
                raise UserError(
                    "Weights that start at 0 cannot be divided by their largest singular value. Set init to "
                    "orthogonal, xavier or normal, or spectral_norm to none."
                )  # fmt: skip
            spectral_norm(module, dim=1 if isinstance(module, nn.modules.conv._ConvTransposeNd) else 0)
