"""Linear and convolution layers with an equalised learning rate (Karras et al., 2018), https://arxiv.org/abs/1710.10196, section 4.1.

Weights are drawn from N(0, 1) and scaled by gain / sqrt(fan-in) when used, so that Adam, whose steps do not depend on the size of a gradient, moves all
layers at the same relative speed. ProGAN and StyleGAN put the rectifier's sqrt(2) into ``gain``; StyleGAN2 and 3 have gain 1 and a scaled
rectifier (:func:`agon.layers.style.bias_act`).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class EqualizedLinear(nn.Module):
    """x W' lr_multiplier gain / sqrt(in) + lr_multiplier b: (..., in) -> (..., out). The weight is drawn from N(0, 1 / lr_multiplier^2)."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True, bias_init: float = 0.0, lr_multiplier: float = 1.0, gain: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), float(bias_init))) if bias else None
        self.scale, self.lr_multiplier = lr_multiplier * gain / math.sqrt(in_features), lr_multiplier

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """``gain``: multiplies the whole output, at the cost of a product with the weight."""
        bias = None if self.bias is None else self.bias * (self.lr_multiplier * gain)
        return F.linear(x, self.weight * (self.scale * gain), bias)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}, bias={self.bias is not None}, lr_multiplier={self.lr_multiplier}"


class EqualizedConv2d(nn.Module):
    """Convolution with weight gain / sqrt(in kernel^2) and padding kernel // 2: (N, in, H, W) -> (N, out, H, W) for odd kernels."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, bias: bool = True, gain: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.scale = gain / math.sqrt(in_channels * kernel**2)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.weight.shape[2] // 2)

    def extra_repr(self) -> str:
        out, into, kernel, _ = self.weight.shape
        return f"{into}, {out}, {kernel}, bias={self.bias is not None}"
