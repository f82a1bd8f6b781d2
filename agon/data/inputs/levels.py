"""Bands of brightness as a label map: any picture becomes a map of K classes, so that synthesis from maps can be tried without labels.

``levels:K`` (``levels`` alone is 4): band k holds the luma from k/K to (k+1)/K of the range from black to white. A band's colour is the grey in its middle.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from agon.data.inputs import Recipe
from agon.data.inputs.grey import luma
from agon.data.source import Source
from agon.errors import UserError

MOST = 64


def open_recipe(parameter: str, base: Source) -> Recipe:
    """``parameter``: K, from 2 to 64. Raises UserError for another."""
    text = parameter or "4"
    if not text.isdecimal() or not 2 <= int(text) <= MOST:
        raise UserError("The input 'levels' cannot make '{parameter}' bands of brightness. Expected a whole number from 2 to {most}, as in levels:4.",
                        parameter=parameter, most=MOST)
    count = int(text)

    def make(pictures: Tensor, indices: np.ndarray, generator: Callable[[int], torch.Generator]) -> Tensor:
        return ((luma(pictures) + 1) * (count / 2)).floor().clamp(0, count - 1).to(torch.uint8)

    greys = [round((band + 0.5) / count * 255) for band in range(count)]
    return Recipe("map", (1, *base.spec.shape[1:]), make, tuple(f"brightness {band + 1}/{count}" for band in range(count)),
                  tuple(f"#{grey:02x}{grey:02x}{grey:02x}" for grey in greys))
