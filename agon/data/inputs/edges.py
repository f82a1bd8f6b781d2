"""Outlines, dark on white, as a pencil would draw them: one channel in [-1, 1], 1 = paper, -1 = a full line. For sketch to picture.

Slopes are Sobel's (3x3, borders repeated) in the channel where they are steepest, because luma is blind to edges between colours of one brightness (green on
grey). A line is one pixel wide: a slope m stays where it exceeds both slopes m' one pixel ahead and behind along its direction (Canny, 1986, interpolated as
there), softly, by min(1, max(0, m / max m' - 1/2)): an edge between two pixels is drawn half in each, so that lines are anti-aliased and move smoothly.
``edges:T`` (``edges`` alone is 0.25): the step, as a fraction of black to white, from which on a line is drawn full; fainter ones fade in proportion.
Alpha is laid over white first. Any size from 2x2 on.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from agon.data.inputs import Recipe
from agon.data.inputs.grey import over_white
from agon.data.source import Source
from agon.errors import UserError


def open_recipe(parameter: str, base: Source) -> Recipe:
    """``parameter``: T, above 0 and at most 1. Raises UserError for another."""
    try:
        full = float(parameter or 0.25)
    except ValueError:
        full = 0.0
    if not 0 < full <= 1:
        raise UserError("The input 'edges' cannot take '{parameter}' for the step from which a line is drawn full. Expected a number above "
                        "0 and at most 1, the fraction of black to white, as in edges:0.25.", parameter=parameter)

    def make(pictures: Tensor, indices: np.ndarray, generator: Callable[[int], torch.Generator]) -> Tensor:
        return outlines(pictures, full)

    return Recipe("picture", (1, *base.spec.shape[1:]), make)


def outlines(pictures: Tensor, full: float = 0.25) -> Tensor:
    """(N, C, H, W) in [-1, 1] -> (N, 1, H, W) in [-1, 1]."""
    down, across = slopes(over_white(pictures))
    steep = torch.hypot(down, across)
    ahead, behind = (_along(steep, sign * down, sign * across) for sign in (1, -1))
    keep = (steep / torch.maximum(ahead, behind).clamp_min(1e-6) - 0.5).clamp(0, 1)
    # A clean step of c is a slope of c / 2 on either side of it.
    return 1 - 2 * keep * (2 * steep / full).clamp(max=1)


def slopes(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """(N, C, H, W) in [-1, 1] -> change per pixel down and across, (N, 1, H, W) each, in fractions of the range, of the steepest channel."""
    smooth, change = pictures.new_tensor([1.0, 2.0, 1.0]) / 4, pictures.new_tensor([-1.0, 0.0, 1.0]) / 4  # / 4: half the distance, half the range
    kernels = torch.stack([torch.outer(change, smooth), torch.outer(smooth, change)])[:, None]
    planes = F.pad(pictures, (1, 1, 1, 1), mode="replicate").flatten(0, 1)[:, None]
    found = F.conv2d(planes, kernels).unflatten(0, pictures.shape[:2])
    chosen = found.square().sum(2).argmax(1, keepdim=True)
    best = found.gather(1, chosen[:, :, None].expand(-1, -1, 2, -1, -1))[:, 0]
    return best[:, :1], best[:, 1:]


def _along(steep: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """``steep`` one pixel further in the direction (down, across): (N, 1, H, W), bilinear, borders repeated."""
    height, width = steep.shape[2:]
    length = torch.hypot(down, across).clamp_min(1e-12)
    rows, columns = (torch.arange(side, dtype=steep.dtype) for side in (height, width))
    y, x = rows[:, None] + (down / length)[:, 0], columns + (across / length)[:, 0]
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
    return F.grid_sample(steep, grid, mode="bilinear", padding_mode="border", align_corners=False)
