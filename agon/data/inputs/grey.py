"""The picture without its colours, for colourisation: one channel of luma (ITU-R 601-2: 0.299 R + 0.587 G + 0.114 B) in [-1, 1].

Grey pictures stay as they are; alpha is laid over white first. Luma is linear, so it is the same in [-1, 1] as in 0..255.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from agon.data.inputs import Recipe
from agon.data.source import Source
from agon.errors import UserError


def open_recipe(parameter: str, base: Source) -> Recipe:
    """Raises UserError for a parameter."""
    if parameter:
        raise UserError("The input '{name}' takes no parameter ('{parameter}' was given). Expected {name} alone.", name="grey", parameter=parameter)

    def make(pictures: Tensor, indices: np.ndarray, generator: Callable[[int], torch.Generator]) -> Tensor:
        return luma(pictures)

    return Recipe("picture", (1, *base.spec.shape[1:]), make)


def luma(pictures: Tensor) -> Tensor:
    """(N, C, H, W) in [-1, 1] -> (N, 1, H, W) in [-1, 1]; of other than 1, 3 or 4 channels, which are no colours, the mean."""
    pictures = over_white(pictures)
    if pictures.shape[1] != 3:
        return pictures.mean(1, keepdim=True)
    return (pictures * pictures.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)


def over_white(pictures: Tensor) -> Tensor:
    """(N, 4, H, W) in [-1, 1] -> (N, 3, H, W): the colours laid over white where they are transparent; others pass through."""
    if pictures.shape[1] != 4:
        return pictures
    alpha = (pictures[:, 3:] + 1) / 2
    return pictures[:, :3] * alpha + (1 - alpha)
