"""Self-attention over the positions of a picture (SAGAN: Zhang et al., 2019), https://arxiv.org/abs/1805.08318, section 3, as in the authors' released code.

Keys and values are max-pooled 2x2, four times fewer positions than queries (the paper's equations leave that out); no 1x1 convolution has a bias; queries
and keys have an eighth of the channels, values half.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """(N, C, H, W) -> the same: x + gain * out(values attended to), with ``gain`` starting at 0. Sides of 2 pixels or more."""

    def __init__(self, channels: int):
        super().__init__()
        few, half = max(1, channels // 8), max(1, channels // 2)
        self.query, self.key = nn.Conv2d(channels, few, 1, bias=False), nn.Conv2d(channels, few, 1, bias=False)
        self.value, self.out = nn.Conv2d(channels, half, 1, bias=False), nn.Conv2d(half, channels, 1, bias=False)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        query = self.query(x).flatten(2)
        key, value = F.max_pool2d(self.key(x), 2).flatten(2), F.max_pool2d(self.value(x), 2).flatten(2)
        full = torch.promote_types(query.dtype, torch.float32)  # scores are not scaled down: bf16 would be wrong by tenths where they are large
        with torch.autocast(x.device.type, enabled=False):
            weights = torch.softmax(query.to(full).transpose(1, 2) @ key.to(full), 2)
        attended = value @ weights.to(value.dtype).transpose(1, 2)
        return x + self.gain.to(x.dtype) * self.out(attended.unflatten(2, x.shape[2:]))
