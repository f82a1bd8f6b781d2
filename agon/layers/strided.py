"""Strided convolution of a map of one pixel, which needs no stride.

torch 2.13 on a CPU computes the weight gradient of a 3x3 or 5x5 convolution of stride 2 on a 1x1 map in bf16 from memory that nobody wrote: the taps that
meet only padding get what lay there, at times NaN. Without the stride the output is the same and the gradient is right.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def strided(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """``conv(x)``, for an odd kernel padded by half of it."""
    if x.shape[2:] == (1, 1):
        return F.conv2d(x, conv.weight, conv.bias, 1, conv.padding)
    return conv(x)
