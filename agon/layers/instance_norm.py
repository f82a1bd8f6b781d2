"""Instance normalisation (Ulyanov et al., 2016), https://arxiv.org/abs/1607.08022: every channel of every picture gets mean 0 and variance 1, eps 1e-5.

Without gains and shifts, without running statistics, the same while training and after it. torch computes it as batch norm over a reshaped copy, which undoes
channels_last; the same numbers come several times faster from a batch norm of each picture there, and on a CPU in the usual layout from group norm.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-5
ONE_BY_ONE = 8
"""Pictures up to which each gets a batch norm of its own; many small kernels lose to one copy of a large batch."""


class InstanceNorm(nn.Module):
    """(N, C, H, W) -> the same shape, H W > 1. ``channels`` is noted for those who read a network."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and x.is_contiguous():
            return F.group_norm(x, x.shape[1], eps=EPS)
        if x.is_contiguous(memory_format=torch.channels_last) and len(x) <= ONE_BY_ONE:
            done = [F.batch_norm(one, None, None, training=True, eps=EPS) for one in x.split(1)]
            return torch.cat(done) if len(x) > 1 else done[0]
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
