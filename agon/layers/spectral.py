"""Spectral normalisation (Miyato et al., 2018), https://arxiv.org/abs/1802.05957, algorithm 1, on whole networks."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from agon.layers.init import WEIGHTED


def spectral_normalise(network: nn.Module) -> None:
    """Divide the weight of every linear and convolution layer of ``network`` by its largest singular value, one power iteration a pass."""
    for module in list(network.modules()):
        if isinstance(module, WEIGHTED):
            spectral_norm(module, dim=1 if isinstance(module, nn.modules.conv._ConvTransposeNd) else 0)
