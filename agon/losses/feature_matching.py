"""Improved Techniques for Training GANs (Salimans et al., 2016), https://arxiv.org/abs/1606.03498, section 3.1, as a pure function."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def feature_matching(real: Tensor, fake: Tensor) -> Tensor:
    """|E f(x) - E f(G(z))|^2 / F of features (N, F) (any further axes count as features), float32.

    Divided by their number, as in the published code, so that the weight does not depend on the width.
    """
    return (real.float().flatten(1).mean(0) - fake.float().flatten(1).mean(0)).square().mean()


def matched_layers(real: Sequence[Sequence[Tensor]], fake: Sequence[Sequence[Tensor]]) -> Tensor:
    """Feature matching of pairs (Wang et al., 2018, https://arxiv.org/abs/1711.11585, equation 4), float32, a scalar.

    ``real``, ``fake``: for each scale the maps of a discriminator's layers, the logits last, for pictures and for made ones of the same scenes. The sum over
    the layers but the logits of mean |f(x) - f(G(s))|, and its mean over the scales. Gradients reach ``fake`` alone.
    """
    terms = [(b.float() - a.detach().float()).abs().mean() for one, other in zip(real, fake, strict=True) for a, b in zip(one[:-1], other[:-1], strict=True)]
    return torch.stack(terms).sum() / len(real)
