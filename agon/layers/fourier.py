"""Random Fourier features (Rahimi & Recht 2007; Tancik et al. 2020, https://arxiv.org/abs/2006.10739)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class FourierFeatures(nn.Module):
    """Append sin and cos of fixed random projections to points: (N, D) -> (N, D + 2 num_frequencies).

    Frequencies are drawn from N(0, scale^2) once and kept as a buffer. A network sees fine structure that it would otherwise smooth over.
    """

    def __init__(self, in_features: int, num_frequencies: int, scale: float):
        super().__init__()
        self.out_features = in_features + 2 * num_frequencies
        self.register_buffer("frequencies", torch.randn(in_features, num_frequencies) * scale)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # an angle of many turns has no precision left in 16 bits
            phase = 2 * math.pi * (x.float() @ self.frequencies)
        return torch.cat([x, phase.sin(), phase.cos()], 1)
