"""Differentiable Augmentation for Data-Efficient GAN Training (Zhao et al., 2020), https://arxiv.org/abs/2006.10738.

The same kind of random change is applied to real and fake samples before the discriminator, in both turns, so that a discriminator cannot
learn few pictures by heart and the generator does not learn the change. All operations are differentiable twice (gradient penalties).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from agon.errors import UserError

POLICIES = ("color", "translation", "cutout")


def check_policy(policy: str) -> tuple[str, ...]:
    """``"color,translation"`` -> names. Raises UserError for an unknown one."""
    names = tuple(name.strip() for name in policy.split(",") if name.strip())
    for name in names:
        if name not in POLICIES:
            raise UserError("There is no augmentation '{name}'. Expected some of: {known}.", name=name, known=", ".join(POLICIES))
    return names


def augment(images: Tensor, policy: tuple[str, ...], draw) -> Tensor:
    """(N, C, H, W) in [-1, 1] -> the same shape. ``draw(n, *shape)`` returns uniform numbers in [0, 1) (``Context.uniform``)."""
    for name in policy:
        images = {"color": _color, "translation": _translation, "cutout": _cutout}[name](images, draw)
    return images


def _color(x: Tensor, draw) -> Tensor:
    """Brightness +-0.5, saturation 0 to 2, contrast 0.5 to 1.5."""
    u = draw(len(x), 3, 1, 1, 1).to(x.dtype)
    x = x + (u[:, 0] - 0.5)
    mean = x.mean(1, keepdim=True)
    x = (x - mean) * (2 * u[:, 1]) + mean
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * (u[:, 2] + 0.5) + mean


def _translation(x: Tensor, draw, ratio: float = 0.125) -> Tensor:
    """Shift by up to an eighth of each side (at least one pixel), zeros move in."""
    n, _, height, width = x.shape
    reach = [max(1, int(side * ratio + 0.5)) for side in (height, width)]
    u = draw(n, 2)
    shift_y, shift_x = ((u[:, i] * (2 * reach[i] + 1)).long() - reach[i] for i in (0, 1))
    rows = (torch.arange(height, device=x.device)[None] + shift_y[:, None]).clamp(-1, height) + 1
    columns = (torch.arange(width, device=x.device)[None] + shift_x[:, None]).clamp(-1, width) + 1
    padded = F.pad(x, (1, 1, 1, 1))
    batch = torch.arange(n, device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _cutout(x: Tensor, draw, ratio: float = 0.5) -> Tensor:
    """A grey rectangle of half of each side, centred anywhere."""
    n, _, height, width = x.shape
    u = draw(n, 2)
    inside = []
    for i, side in enumerate((height, width)):
        length = max(1, int(side * ratio + 0.5))
        centre = (u[:, i] * (side + 1 - length % 2)).floor()
        position = torch.arange(side, device=x.device)[None]
        first = (centre - length // 2)[:, None]
        inside.append((position >= first) & (position < first + length))
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return x * (~hole).to(x.dtype)
