"""Inputs, outputs and targets side by side, as pictures one can look at."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from agon.data.source import DataSpec
from agon.media import grid

MISSING = (1.0, -0.2, 0.6)
"""The colour of a hole (RGB in [-1, 1]): one that photographs hardly have."""
EDGES = -1.0
SHEET_PIXELS = 4_000_000


def visible(source: Tensor, spec: DataSpec) -> Tensor:
    """Inputs (N, C', H, W) as the data give them -> (N, 1, 3 or 4, H, W) float32 in [-1, 1]: a map in its classes' colours with black edges between instances,
    a picture with a hole in a colour of its own, a picture as it is."""
    if spec.source_kind == "map":
        palette = torch.tensor([_rgb(colour) for colour in spec.source_colours or _spread(len(spec.source_classes))], device=source.device)
        shown = palette[source[:, 0].long().clamp_max(len(palette) - 1)].movedim(3, 1)
        return torch.where(source[:, 1:] > 0, EDGES, shown) if source.shape[1] > 1 else shown
    if spec.source_kind == "hole":
        picture, mask = source[:, :-1], source[:, -1:]
        if picture.shape[1] == 1:
            picture = picture.repeat(1, 3, 1, 1)
        colour = torch.tensor([*MISSING, 1.0, *[-1.0] * picture.shape[1]][: picture.shape[1]], device=source.device).view(1, -1, 1, 1)
        return torch.where(mask > 0.5, colour, picture)
    return source


def contact_sheet(columns: Sequence[Tensor], *, groups: int = 1) -> Tensor:
    """Pictures (N, C, H, W) in [-1, 1], one tensor a column (input, output, target ...) -> one picture (C, H, W) uint8: a sample's pictures side by side, and
    ``groups`` samples in a row. Smaller ones are enlarged without interpolation, grey ones beside colour ones repeated."""
    height, width = (max(column.shape[axis] for column in columns) for axis in (2, 3))
    channels = max(column.shape[1] for column in columns)
    same = [_fitted(column.detach().to("cpu", torch.float32), channels, height, width) for column in columns]
    together = torch.stack(same, 1).flatten(0, 1)
    return grid(together, columns=len(columns) * groups)


def _fitted(pictures: Tensor, channels: int, height: int, width: int) -> Tensor:
    if pictures.shape[1] < channels:
        colour = pictures if pictures.shape[1] == 3 else pictures[:, :1].repeat(1, min(channels, 3), 1, 1)
        pictures = torch.cat([colour, torch.ones_like(colour[:, :1]).repeat(1, channels - colour.shape[1], 1, 1)], 1)
    return pictures if pictures.shape[2:] == (height, width) else F.interpolate(pictures, (height, width), mode="nearest")


def _rgb(colour: str) -> list[float]:
    return [int(colour[start : start + 2], 16) / 127.5 - 1 for start in (1, 3, 5)]


def _spread(count: int) -> list[str]:
    """Colours for classes that have none: hues in steps of the golden angle."""
    import colorsys

    parts = [colorsys.hsv_to_rgb(index * 0.381966 % 1, 0.75 if index else 0.0, 0.9 if index else 0.15) for index in range(count)]
    return ["#" + "".join(f"{round(255 * part):02x}" for part in each) for each in parts]
