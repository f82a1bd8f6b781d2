"""Improved Techniques for Training GANs (Salimans et al., 2016), https://arxiv.org/abs/1606.03498, section 3.1, as a pure function."""

from __future__ import annotations

from torch import Tensor


def feature_matching(real: Tensor, fake: Tensor) -> Tensor:
    """|E f(x) - E f(G(z))|^2 / F of features (N, F) (any further axes count as features), float32.

    Divided by their number, as in the published code, so that the weight does not depend on the width.
    """
    return (real.float().flatten(1).mean(0) - fake.float().flatten(1).mean(0)).square().mean()
