"""Perceptual losses: pictures compared through a frozen network's maps (Johnson et al., 2016), https://arxiv.org/abs/1603.08155, as a pure function.

With VGG-19's conv5_4 before the ReLU, the absolute difference and weight 1 it is ESRGAN's (Wang et al. 2018, section 3.3), with the squared one SRGAN's
(Ledig et al. 2017, equation 5). The network is whatever function the caller hands in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Features = Callable[[Tensor], Sequence[Tensor]]


def perceptual(features: Features, fake: Tensor, real: Tensor, weights: Sequence[float] | None = None, distance: str = "l1") -> Tensor:
    """sum over maps of weight * mean |f(fake) - f(real)| ("l1") or mean (f(fake) - f(real))^2 ("l2"), float32, a scalar.

    ``features``: (N, C, H, W) -> maps (N, c, h, w); ``weights``: one for each map, 1 by default. The gradient goes through ``fake`` alone.
    """
    made = features(fake)
    with torch.no_grad():  # behind the pass with gradients: autocast keeps the first cast of a weight
        wanted = features(real)
    return map_distance(made, wanted, weights, distance)


def map_distance(made: Sequence[Tensor], wanted: Sequence[Tensor], weights: Sequence[float] | None = None, distance: str = "l1") -> Tensor:
    """The same of maps that are there already; those of ``wanted`` get no gradient. Raises ValueError for another distance or number of weights."""
    if distance not in ("l1", "l2"):
        raise ValueError(f"no distance {distance!r}: expected 'l1' or 'l2'")
    total = None
    for a, b, weight in zip(made, wanted, weights or [1.0] * len(made), strict=True):
        difference = a.float() - b.detach().float()
        term = weight * (difference.abs() if distance == "l1" else difference.square()).mean()
        total = term if total is None else total + term
    assert total is not None, "no maps to compare"
    return total
