"""Pillow's 8-bit bicubic resize, done by torch: what CLIP's and DINOv2's published preprocessing calls.

torchvision's ``Resize`` on a Pillow picture runs Pillow's antialiased bicubic (a = -0.5) and rounds to 8 bits after each of the two passes. torch's kernel for
uint8 does the same with fixed-point weights of nearly Pillow's precision: on noise no value is off by more than 2 of 255 and under 1 % are off at all (tested),
where the same kernel on floats, which keeps the overshoot between the passes, is off by up to 22. The resize is always done on the CPU, where that kernel is.

The horizontal pass comes first, as in the Pillow with which the published numbers were made. Pillow 13 begins with the cheaper pass, so that tall pictures
come out otherwise there (by up to 20 of 255 on noise): numbers made through it depend on its version, these do not.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from agon.errors import UserError

LINE = "{size}x{size} bicubic antialiased 8-bit (Pillow's, by torch)"


def bicubic(pictures: Tensor, height: int, width: int) -> Tensor:
    """uint8 (N, 3, H, W) -> uint8 (N, 3, height, width). A picture of that size already is returned as it is."""
    pictures = pictures.cpu()
    if tuple(pictures.shape[-2:]) == (height, width):
        return pictures
    # The kernel reads interleaved channels fastest; the result does not depend on it.
    return F.interpolate(pictures.contiguous(memory_format=torch.channels_last), (height, width), mode="bicubic", antialias=True)


def short_side_then_crop(pictures: Tensor, size: int) -> Tensor:
    """torchvision's ``Resize(size)`` and ``CenterCrop(size)``: the short side becomes ``size``, the middle of the long one is kept. -> uint8 (N, 3, size,
    size)."""
    height, width = pictures.shape[-2:]
    fit = (size, int(size * width / height)) if height <= width else (int(size * height / width), size)
    pictures = bicubic(pictures, *fit)
    height, width = pictures.shape[-2:]
    top, left = round((height - size) / 2), round((width - size) / 2)  # half to even, as torchvision has it
    return pictures[..., top : top + size, left : left + size]


def crop_then_resize(pictures: Tensor, size: int) -> Tensor:
    """The middle square first, then the resize: CMMD's order. -> uint8 (N, 3, size, size). For square pictures there is no difference."""
    height, width = pictures.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return bicubic(pictures[..., top : top + side, left : left + side], size, size)


def squeeze(pictures: Tensor, size: int) -> Tensor:
    """Both sides become ``size``, whatever the picture's proportions: DINOv2's in dgm-eval. -> uint8 (N, 3, size, size)."""
    return bicubic(pictures, size, size)


def normalised(pictures: Tensor, mean: tuple[float, ...], deviation: tuple[float, ...], device: str) -> Tensor:
    """uint8 (N, 3, H, W) -> float32 on ``device``: (x / 255 - mean) / deviation, a channel at a time."""
    pictures = pictures.to(device).float().div_(255)
    return pictures.sub_(torch.tensor(mean, device=device).view(1, 3, 1, 1)).div_(torch.tensor(deviation, device=device).view(1, 3, 1, 1))


def precision_of(name: str) -> torch.dtype:
    """ "fp32" or "bf16" -> the type in which the matrix products run. Raises UserError for another."""
    known = {"fp32": torch.float32, "bf16": torch.bfloat16}
    if name not in known:
        raise UserError("There is no precision '{name}' for this extractor. Expected 'fp32' or 'bf16': choose one of them.", name=name)
    return known[name]
