"""Regularizing Generative Adversarial Networks under Limited Data (Tseng et al., 2021), https://arxiv.org/abs/2104.03310, as a pure function."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def lecam(real: Tensor, fake: Tensor, real_anchor: Tensor | float, fake_anchor: Tensor | float) -> Tensor:
    """E max(0, D(x) - a_F)^2 + E max(0, a_R - D(G(z)))^2: logits of real (fake) samples are kept close to the running mean ``fake_anchor``
    (``real_anchor``) of the others'. float32, without a weight.

    Equation 5 has no max; the published code has, and its results were obtained with it. The two are the same for a discriminator that rates its
    real samples above the mean fake one and its fakes below the mean real one; the others are left alone.
    """
    return F.relu(real.float() - fake_anchor).square().mean() + F.relu(real_anchor - fake.float()).square().mean()
