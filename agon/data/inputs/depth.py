"""How near each pixel is, as the data set itself knows it: one channel in [-1, 1], 1 nearest, -1 the background (``ShapesSource.depth``).

With ``--data.objects 2`` to 4 the shapes lie one before the other at equal steps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from agon.data.inputs import Recipe
from agon.data.inputs.segmentation import refuse_without_maps
from agon.data.source import Source
from agon.errors import UserError


def open_recipe(parameter: str, base: Source) -> Recipe:
    """Raises UserError for a parameter, and for data without depth."""
    refuse_without_maps("depth", base)
    if parameter:
        raise UserError("The input '{name}' takes no parameter ('{parameter}' was given). Expected {name} alone.", name="depth", parameter=parameter)

    def make(pictures: Tensor, indices: np.ndarray, generator: Callable[[int], torch.Generator]) -> Tensor:
        return torch.from_numpy(base.depth(indices))  # type: ignore[attr-defined]

    return Recipe("picture", (1, *base.spec.shape[1:]), make)
