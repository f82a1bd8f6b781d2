"""Minibatch discrimination (Salimans et al. 2016, section 3.2, https://arxiv.org/abs/1606.03498)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MinibatchDiscrimination(nn.Module):
    """Append to each sample's features how close it is to the others of the batch: (N, F) -> (N, F + num_kernels).

    o(x_i)_b = sum over j != i of exp(-|M_ib - M_jb|_1), M = f(x) T with T of shape F x num_kernels x kernel_dim. (The paper's sum includes
    j = i, a constant 1.) Real and fake batches must pass apart: the layer couples the samples of a batch.
    """

    couples_batch = True

    def __init__(self, in_features: int, num_kernels: int, kernel_dim: int = 5):
        super().__init__()
        self.num_kernels, self.kernel_dim = num_kernels, kernel_dim
        self.out_features = in_features + num_kernels
        self.project = nn.Linear(in_features, num_kernels * kernel_dim, bias=False)
        nn.init.normal_(self.project.weight, 0.0, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        m = self.project(x).float().view(len(x), self.num_kernels, self.kernel_dim)
        closeness = torch.exp(-(m[:, None] - m[None]).abs().sum(3)).sum(1) - 1
        return torch.cat([x, closeness.to(x.dtype)], 1)
