"""A picture with a hole in it, and the mask of the hole: what inpainting starts from.

* ``hole:box``: one to three rectangles anywhere, each a quarter to a half of the picture's height high and of its width wide.
* ``hole:centre``: the middle half of the height and of the width (Pathak et al., 2016, https://arxiv.org/abs/1604.07379).
* ``hole:free``: one to three strokes of a brush, as in DeepFill v2 (Yu et al., 2019, https://arxiv.org/abs/1806.03589, section 3.3, with the numbers of the
  authors' released masks): 4 to 11 bends, absolute directions near 2 pi / 5 whose sign alternates, lengths normal about an eighth of the diagonal, widths 12
  to 40 pixels of 256, the whole mirrored at random. Drawn here as capsules by the distance of a pixel's centre to the stroke, so the numbers scale with any
  size; the authors draw with Pillow at 256 pixels.
* ``hole:mixed``: boxes, strokes or both, a third each.

The input has C + 1 channels: the picture with 0 where it is missing, then the mask (1 missing, 0 known).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from agon.data.inputs import Recipe
from agon.data.source import Source
from agon.errors import UserError

LEAST = 8
BOX_SIDES = (0.25, 0.5)
ANGLE, ANGLE_RANGE = 2 * math.pi / 5, 2 * math.pi / 15
WIDTHS = (12 / 256, 40 / 256)  # of the shorter side


def open_recipe(parameter: str, base: Source) -> Recipe:
    """``parameter``: box, centre, free or mixed ("" is mixed). Any number of channels; at least 8 pixels a side."""
    parameter = parameter or "mixed"
    if parameter not in MASKS:
        raise UserError("There is no hole '{parameter}'. Expected one of: {known}, for example --data.input hole:free.",
                        parameter=parameter, known=", ".join(MASKS))
    channels, height, width = base.spec.shape
    if min(height, width) < LEAST:
        raise UserError("Holes need pictures of at least {least} pixels a side, those of '{data}' have {height} x {width}. Give a larger size.",
                        least=LEAST, data=base.name, height=height, width=width)
    draw = MASKS[parameter]

    def make(pictures: Tensor, indices: np.ndarray, generator_of: Callable[[int], torch.Generator]) -> Tensor:
        masks = torch.stack([draw(height, width, generator_of(index)) for index in range(len(pictures))]).unsqueeze(1).to(pictures.dtype)
        return torch.cat([pictures * (1 - masks), masks], 1)

    return Recipe("hole", (channels + 1, height, width), make)


def box(height: int, width: int, generator: torch.Generator) -> Tensor:
    """(H, W) bool: one to three rectangles."""
    mask = torch.zeros(height, width, dtype=torch.bool)
    draws = torch.rand(3, 4, generator=generator, dtype=torch.float64)
    for across, along, y, x in draws[:whole(generator, 1, 3)].tolist():
        tall, wide = (round(side * (BOX_SIDES[0] + u * (BOX_SIDES[1] - BOX_SIDES[0]))) for side, u in ((height, across), (width, along)))
        top, left = int(y * (height - tall + 1)), int(x * (width - wide + 1))
        mask[top:top + tall, left:left + wide] = True
    return mask


def centre(height: int, width: int, generator: torch.Generator) -> Tensor:
    """(H, W) bool: the middle half."""
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[height // 4:height // 4 + height // 2, width // 4:width // 4 + width // 2] = True
    return mask


def free(height: int, width: int, generator: torch.Generator) -> Tensor:
    """(H, W) bool: one to three brush strokes."""
    mask = torch.zeros(height, width, dtype=torch.bool)
    for _ in range(whole(generator, 1, 3)):
        mask |= stroke(height, width, generator)
    for axis in (0, 1):
        if whole(generator, 0, 1):
            mask = mask.flip(axis)
    return mask


def mixed(height: int, width: int, generator: torch.Generator) -> Tensor:
    """(H, W) bool: boxes, strokes or both."""
    kind = whole(generator, 0, 2)
    mask = torch.zeros(height, width, dtype=torch.bool)
    if kind != 1:
        mask |= box(height, width, generator)
    if kind != 0:
        mask |= free(height, width, generator)
    return mask


MASKS: dict[str, Callable[[int, int, torch.Generator], Tensor]] = {"box": box, "centre": centre, "free": free, "mixed": mixed}


def stroke(height: int, width: int, generator: torch.Generator) -> Tensor:
    """One stroke: a chain of straight pieces of one width with round ends and bends, its vertices inside the picture."""
    count, radius = whole(generator, 4, 11), math.hypot(height, width) / 8
    low, high, thick, x, y = torch.rand(5, generator=generator, dtype=torch.float64).tolist()
    low, high = ANGLE - low * ANGLE_RANGE, ANGLE + high * ANGLE_RANGE
    angles = low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)
    lengths = (radius * (1 + 0.5 * torch.randn(count, generator=generator, dtype=torch.float64))).clamp(0, 2 * radius)
    points = [(x * width, y * height)]
    for index, (angle, length) in enumerate(zip(angles.tolist(), lengths.tolist(), strict=True)):
        signed = angle if index % 2 else -angle
        x, y = points[-1][0] + length * math.cos(signed), points[-1][1] + length * math.sin(signed)
        points.append((min(max(x, 0.0), float(width)), min(max(y, 0.0), float(height))))
    brush = min(height, width) * (WIDTHS[0] + thick * (WIDTHS[1] - WIDTHS[0]))
    return near_chain(torch.tensor(points, dtype=torch.float32), height, width, max(brush / 2, 1.0))


def near_chain(points: Tensor, height: int, width: int, reach: float) -> Tensor:
    """(H, W) bool: pixels whose centre is at most ``reach`` from the chain of segments through ``points`` (K, 2) as x, y."""
    grid = torch.stack(torch.meshgrid(torch.arange(width) + 0.5, torch.arange(height) + 0.5, indexing="xy"), -1)
    start, piece = points[:-1, None, None], (points[1:] - points[:-1])[:, None, None]
    offset = grid - start
    along = ((offset * piece).sum(-1, keepdim=True) / piece.square().sum(-1, keepdim=True).clamp(min=1e-12)).clamp(0, 1)
    return ((offset - along * piece).square().sum(-1) <= reach * reach).any(0)


def whole(generator: torch.Generator, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))
