"""The silhouette of what stands before the background, as the data set itself knows it: a map of two classes, background (black) and object (white)."""

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
    """Raises UserError for a parameter, and for data without maps."""
    refuse_without_maps("mask", base)
    if parameter:
        raise UserError("The input '{name}' takes no parameter ('{parameter}' was given). Expected {name} alone.", name="mask", parameter=parameter)

    def make(pictures: Tensor, indices: np.ndarray, generator: Callable[[int], torch.Generator]) -> Tensor:
        return torch.from_numpy((base.segmentation(indices) > 0).astype(np.uint8))  # type: ignore[attr-defined]

    return Recipe("map", (1, *base.spec.shape[1:]), make, ("background", "object"), ("#000000", "#ffffff"))
