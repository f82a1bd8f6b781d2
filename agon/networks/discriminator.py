"""A discriminator: any backbone and one of the published ways to use a condition."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from agon.layers.minibatch import MinibatchDiscrimination

MODES = ("none", "concat", "projection", "bilinear", "auxiliary")


class Discriminator(nn.Module):
    """(samples (N, ...), condition (N, K) or None) -> logits (N,), or (N, 1 + K) with the class logits behind in mode ``auxiliary``.

    ``mode``: ``none``; ``concat``: the backbone saw the condition as an input (Mirza & Osindero 2014); ``projection``: w.f + e(y).f
    (Miyato & Koyama 2018, equation 6); ``bilinear``: (W f).e(y) / sqrt(dim) (R3GAN's, after StyleGAN2-ADA); ``auxiliary``: class logits
    beside (Odena et al. 2017).
    """

    def __init__(self, backbone: nn.Module, mode: str, condition_dim: int, *, bias: bool = True, minibatch_kernels: int = 0, embedding_dim: int = 64):
        super().__init__()
        self.backbone, self.mode = backbone, mode
        self.minibatch = MinibatchDiscrimination(backbone.out_features, minibatch_kernels) if minibatch_kernels else None
        features = self.minibatch.out_features if self.minibatch else backbone.out_features
        outputs = {"auxiliary": 1 + condition_dim, "bilinear": embedding_dim}.get(mode, 1)
        self.head = nn.Linear(features, outputs, bias=bias)
        if mode in ("projection", "bilinear"):
            self.embedding = nn.Linear(condition_dim, features if mode == "projection" else embedding_dim, bias=False)
        if mode == "bilinear":
            nn.init.normal_(self.embedding.weight, 0.0, 1.0)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        features = self.features(x, condition)
        out = self.head(features)
        if self.mode == "auxiliary":
            return out.float()
        if self.mode == "bilinear":
            return (out.float() * self.embedding(condition).float()).sum(1) / math.sqrt(out.shape[1])
        out = out.float().squeeze(1)
        if self.mode == "projection":
            out = out + (self.embedding(condition).float() * features.float()).sum(1)
        return out

    def features(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """(N, F): what the head sees."""
        features = self.backbone(x, condition if self.mode == "concat" else None)
        return features if self.minibatch is None else self.minibatch(features)


def with_planes(x: Tensor, condition: Tensor | None) -> Tensor:
    """Append the condition to pictures as constant planes: (N, C, H, W), (N, K) -> (N, C + K, H, W)."""
    if condition is None:
        return x
    planes = condition.to(x.dtype)[:, :, None, None].expand(-1, -1, *x.shape[2:])
    return torch.cat([x, planes], 1)


def with_condition(x: Tensor, condition: Tensor | None) -> Tensor:
    """Append the condition to vectors: (N, F), (N, K) -> (N, F + K)."""
    return x if condition is None else torch.cat([x, condition.to(x.dtype)], 1)
