"""The three ways in which pictures are brought to Inception's 299 x 299; they differ by points of FID (Parmar et al. 2022, arXiv:2104.11222).

``tensorflow``: what TensorFlow 1's ``tf.image.resize_bilinear`` did inside the published graph, and after it torch-fidelity and NVIDIA's TorchScript:
output pixel i reads at i * in/out (no half-pixel centres, no antialiasing). ``half_pixel``: ``torch.nn.functional.interpolate``'s bilinear, reading at
(i + 1/2) * in/out - 1/2, without antialiasing, as pytorch-fid. ``clean``: Pillow's antialiased bicubic on float channels, unrounded, clipped at the end,
as clean-fid. All take uint8 (N, C, H, W) and return float32 (N, C, size, size) in 0..255.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

SIZE = 299


def tensorflow(pictures: Tensor, size: int = SIZE) -> Tensor:
    """Bilinear at i * in/out in float32 arithmetic, columns first; the last row and column are repeated beyond the edge."""
    picture = pictures.float()
    for dim in (3, 2):
        length = picture.shape[dim]
        at = torch.arange(size, dtype=torch.float32, device=picture.device) * torch.tensor(length / size, dtype=torch.float32)
        low = at.long().clamp_(max=length - 1)
        high = (low + 1).clamp_(max=length - 1)
        part = (at - low).view([-1 if axis == dim else 1 for axis in range(4)])
        lower = picture.index_select(dim, low)
        picture = lower + (picture.index_select(dim, high) - lower) * part
    return picture


def half_pixel(pictures: Tensor, size: int = SIZE) -> Tensor:
    """Bilinear at (i + 1/2) * in/out - 1/2, without antialiasing."""
    return F.interpolate(pictures.float(), size=(size, size), mode="bilinear", align_corners=False)


def clean(pictures: Tensor, size: int = SIZE) -> Tensor:
    """Antialiased bicubic, as two multiplications by banded matrices: within 1e-4 of Pillow's float mode on 0..255.

    ``torch.nn.functional.interpolate(antialias=True)`` is no substitute: on uint8 it rounds and clips between the passes as well (off by more than 20 on
    noise), on float32 it is off by 4e-3 and slower. Pictures go one by one, so that what lies between the passes stays in the processor's cache.
    """
    count, channels, height, width = pictures.shape
    rows = [(*block, weights.to(pictures.device)) for *block, weights in bands(height, size)]
    columns = [(*block, weights.to(pictures.device)) for *block, weights in bands(width, size)]
    made = torch.empty(count, size, size * channels, device=pictures.device)  # a column is a row here: every product reads and writes whole rows
    between = torch.empty(size, channels * width, device=pictures.device)
    turned = between.view(size * channels, width).T
    for picture, out in zip(pictures, made, strict=True):
        lines = torch.empty(height, channels, width, device=pictures.device).copy_(picture.transpose(0, 1)).view(height, channels * width)
        for start, end, low, high, weights in rows:
            torch.mm(weights, lines[low:high], out=between[start:end])
        for start, end, low, high, weights in columns:
            torch.mm(weights, turned[low:high], out=out[start:end])
        out.clamp_(0, 255)
    return made.view(count, size, size, channels).permute(0, 3, 2, 1)


@lru_cache(maxsize=64)
def bands(length: int, size: int) -> tuple[tuple[int, int, int, int, Tensor], ...]:
    """The (size, length) matrix of ``bicubic`` as dense blocks: (first row, end row, first column, end column, block)."""
    weights, step = bicubic(length, size), 32 if length < 100 else 16
    made = []
    for start in range(0, size, step):
        end = min(size, start + step)
        used = np.flatnonzero(weights[start:end].any(0))
        low, high = int(used[0]), int(used[-1]) + 1
        made.append((start, end, low, high, torch.from_numpy(np.ascontiguousarray(weights[start:end, low:high], np.float32))))
    return tuple(made)


def bicubic(length: int, size: int) -> np.ndarray:
    """(size, length) float64: row i holds the weights of output i, Keys' cubic (a = -1/2) stretched by the reduction, normalised at the edges.

    Keys 1981, eq. 4; stretching and bounds as in Pillow's Resample.c (``precompute_coeffs``).
    """
    stretch = max(length / size, 1.0)
    weights = np.zeros((size, length))
    for index in range(size):
        centre = (index + 0.5) * length / size
        low, high = max(0, int(centre - 2 * stretch + 0.5)), min(length, int(centre + 2 * stretch + 0.5))
        at = np.abs((np.arange(low, high) + 0.5 - centre) / stretch)
        near, far = (1.5 * at - 2.5) * at**2 + 1, ((-0.5 * at + 2.5) * at - 4) * at + 2
        weight = np.where(at < 1, near, np.where(at < 2, far, 0))
        weights[index, low:high] = weight / weight.sum()
    return weights
