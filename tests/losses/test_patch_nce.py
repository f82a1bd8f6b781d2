"""Oracle: equation 3 of Park et al. 2020 written out patch by patch."""

import math

import torch
import torch.nn.functional as F

from agon.losses.patch_nce import patch_nce


def test_patch_nce_is_the_papers_sum_over_the_patches_of_one_picture():
    torch.manual_seed(0)
    q, k, t, expected = F.normalize(torch.randn(2, 5, 3), dim=2), F.normalize(torch.randn(2, 5, 3), dim=2), 0.3, 0.0
    for n in range(2):
        for s in range(5):
            own = math.exp(float(q[n, s] @ k[n, s]) / t)
            others = sum(math.exp(float(q[n, s] @ k[n, r]) / t) for r in range(5) if r != s)
            expected -= math.log(own / (own + others)) / 10
    assert math.isclose(float(patch_nce(q, k, t)), expected, rel_tol=1e-5)


def test_only_the_query_learns_and_alike_patches_cost_nothing():
    q, k = torch.eye(4)[None].requires_grad_(), torch.eye(4)[None].requires_grad_()
    loss = patch_nce(q, k)
    assert float(loss.detach()) < 1e-5
    assert torch.autograd.grad(patch_nce(q.roll(1, 1), k), (q, k), allow_unused=True)[1] is None
