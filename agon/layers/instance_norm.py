"""Instance normalisation (Ulyanov et al., 2016), https://arxiv.org/abs/1607.08022: every channel of every picture gets mean 0 and variance 1, eps 1e-5.

Without gains and shifts, without running statistics, the same while training and after it. torch computes it as batch norm over a reshaped copy, which undoes
channels_last; the same numbers come several times faster from batch norm itself where the batch is one picture, and on a CPU from group norm.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-5


class InstanceNorm(nn.Module):
    """(N, C, H, W) -> the same shape, H W > 1. ``channels`` is noted for those who read a network."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and x.is_contiguous():
            return F.group_norm(x, x.shape[1], eps=EPS)
        if len(x) == 1 and x.is_contiguous(memory_format=torch.channels_last):
            return F.batch_norm(x, None, None, training=True, eps=EPS)
        return F.instance_norm(x, eps=EPS)

    def extra_repr(self) -> str:
        return str(self.channels)


def norm_layer(name: str, channels: int) -> nn.Module:
    """``batch`` (with gain and shift), ``instance`` (without) or ``none``."""
    return {"batch": nn.BatchNorm2d, "instance": InstanceNorm, "none": lambda _: nn.Identity()}[name](channels)


def takes_bias(norm: str) -> bool:
    """Whether the published translation networks give a convolution before this norm a bias: with instance norm they do (it is cancelled there), with
    batch norm not. Without a norm it needs one."""
    return norm != "batch"
