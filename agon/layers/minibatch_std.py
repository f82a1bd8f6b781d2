"""Minibatch standard deviation (Karras et al., 2018), https://arxiv.org/abs/1710.10196, section 3.

The batch is cut into groups; the standard deviation over a group, averaged over channels and positions, is appended to each of its samples as a constant
plane. The group is the largest divisor of the batch that is not above ``group`` (the authors' code fails on other batches), and its
members stand N / group apart, as theirs do. A batch of one gives sqrt(1e-8), not NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MinibatchStd(nn.Module):
    """(N, C, H, W) -> (N, C + features, H, W); with more than one feature, each is the mean over C / features channels."""

    couples_batch = True

    def __init__(self, group: int, features: int = 1):
        super().__init__()
        self.group, self.features = group, features

    def forward(self, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        group = next(size for size in range(min(self.group, n), 0, -1) if n % size == 0)
        exact = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        parts = exact.reshape(group, n // group, self.features, channels // self.features, height, width)
        deviation = (parts.var(0, correction=0) + 1e-8).sqrt().mean((2, 3, 4))
        planes = deviation.repeat(group, 1)[:, :, None, None].expand(n, self.features, height, width)
        return torch.cat([x, planes.to(x.dtype)], 1)

    def extra_repr(self) -> str:
        return f"group={self.group}, features={self.features}"
