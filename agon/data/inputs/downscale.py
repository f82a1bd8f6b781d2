"""The picture reduced by a whole factor: what super-resolution starts from. ``downscale:4`` (the default), ``downscale:2``, ``downscale:3`` ...

Reduction is Pillow's ``Image.resize(..., BICUBIC)`` on 8-bit pixels to the last bit: cubic convolution with a = -0.5 (Keys, 1981,
https://doi.org/10.1109/TASSP.1981.1163711) stretched by the factor, so that nothing aliases; columns first, then rows, each rounded to 8 bits; weights outside
the picture are left out and the rest is divided by its sum (Pillow's src/libImaging/Resample.c; from version 13 on it begins with the rows where a picture
is more than twice as high as wide, a difference of one level). MATLAB's ``imresize``, with which published tables were
made, has the same kernel but mirrors at the border and rounds once: inside, the two differ by one level at most.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch import Tensor

from agon.data.inputs import Recipe
from agon.data.source import Source, to_float
from agon.errors import UserError

A = -0.5
BITS = 22  # of the fractions that Pillow counts weights in


def open_recipe(parameter: str, base: Source) -> Recipe:
    """``parameter``: the factor, a whole number from 1 on that divides both sides."""
    factor = factor_of("downscale", parameter, base)
    channels, height, width = base.spec.shape
    return Recipe("picture", (channels, height // factor, width // factor), lambda real, indices, draws: reduced(real, factor))


def factor_of(name: str, parameter: str, base: Source) -> int:
    """The factor that a recipe's parameter means (4 if it is empty). Raises UserError where it is none or does not divide the pictures' sides."""
    if not (parameter or "4").isdigit() or int(parameter or 4) < 1:
        raise UserError("The input '{name}:{parameter}' is not known. Expected a whole factor, such as {name}:4.", name=name, parameter=parameter)
    factor = int(parameter or 4)
    if any(side % factor for side in base.spec.shape[1:]):
        raise UserError("Pictures of {height}x{width} cannot be reduced by {factor}. Expected sides that are multiples of it: set --data.crop or --data.size.",
                        height=base.spec.shape[1], width=base.spec.shape[2], factor=factor)
    return factor


def reduced(pictures: Tensor, factor: int) -> Tensor:
    """(N, C, H, W) in [-1, 1] -> (N, C, H / factor, W / factor) in [-1, 1], through 8 bits."""
    levels = to_levels(pictures).double()
    rows, columns = (kernel(side, side // factor) for side in pictures.shape[2:])
    return to_float(fixed(rows @ fixed(levels @ columns.T)).to(torch.uint8))


def to_levels(pictures: Tensor) -> Tensor:
    """[-1, 1] -> the nearest of 0 ... 255, float32."""
    return ((pictures + 1) * 127.5).round().clamp(0, 255)


def fixed(sums: Tensor) -> Tensor:
    """Sums of levels times weights in units of 2^-22 -> levels. Exact: such sums are whole numbers far below 2^53."""
    return ((sums + 2 ** (BITS - 1)) / 2**BITS).floor().clamp(0, 255)


@functools.lru_cache(maxsize=16)
def kernel(before: int, after: int) -> Tensor:
    """(after, before) float64: the weight of each old pixel in each new one, whole numbers in units of 2^-22."""
    factor = before / after
    weights = np.zeros((after, before))
    for i in range(after):
        centre = (i + 0.5) * factor
        first, last = max(0, int(centre - 2 * factor + 0.5)), min(before, int(centre + 2 * factor + 0.5))
        taps = np.array([cubic((j + 0.5 - centre) / factor) for j in range(first, last)])
        scaled = taps / taps.sum() * 2**BITS
        weights[i, first:last] = [math.floor(abs(tap) + 0.5) * math.copysign(1, tap) for tap in scaled]
    return torch.from_numpy(weights)


def cubic(x: float) -> float:
    """Keys' cubic convolution kernel."""
    x = abs(x)
    if x < 1:
        return ((A + 2) * x - (A + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * A if x < 2 else 0.0
