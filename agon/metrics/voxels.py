"""Voxel grids: the overlap of pairs, and how much of the grid real and fake shapes fill and in how many pieces."""

from __future__ import annotations

import numpy as np
import torch

from agon.metrics.halves import compare
from agon.metrics.marginals import wasserstein_1d
from agon.metrics.samples import Samples
from agon.metrics.sides import Side

METRICS = {
    "voxel_iou": "Mean intersection over union of occupied voxels of pairs (higher is better)",
    "occupancy": "Wasserstein-1 distance between the real and fake distributions of the occupied fraction (lower is better)",
    "components": "Wasserstein-1 distance between the real and fake distributions of the number of connected pieces (lower is better)",
    "largest_component": "Wasserstein-1 distance between the real and fake distributions of the largest piece's share of the occupied voxels (lower is better)",
}
KINDS = ("voxels",)
EXTRACTOR = ""
PAIRED = ("voxel_iou",)
LABELLED = False
THRESHOLD = 0.5  # a voxel is occupied above it


def voxel_iou(real: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """(N,) intersection over union of boolean grids (N, D, H, W); 1 where both are empty. As in 3D-R2N2 (Choy et al., 2016, https://arxiv.org/abs/1604.00449,
    section 5.2)."""
    axes = tuple(range(1, real.ndim))
    union = (real | fake).sum(axes)
    return np.where(union, (real & fake).sum(axes) / np.maximum(union, 1), 1.0)


def pieces(grid: np.ndarray) -> np.ndarray:
    """Sizes of the connected pieces of a boolean grid (D, H, W), largest first; voxels touch by their faces.

    Every voxel points at the least index among its neighbours, then pointers are followed (Shiloach and Vishkin, 1982): few rounds even for long snakes.
    """
    nowhere = grid.size
    label = np.where(grid, np.arange(grid.size).reshape(grid.shape), nowhere)
    while True:
        least = label.copy()
        for axis in range(grid.ndim):
            low, high = [slice(None)] * grid.ndim, [slice(None)] * grid.ndim
            low[axis], high[axis] = slice(None, -1), slice(1, None)
            low, high = tuple(low), tuple(high)
            np.minimum(least[low], label[high], out=least[low])
            np.minimum(least[high], label[low], out=least[high])
        least[~grid] = nowhere
        parent = np.append(np.arange(nowhere), nowhere)
        changed = least < label
        parent[label[changed]] = least[changed]  # a root hooks on to any lesser one that it touches, with all that point at it
        while (parent[parent] != parent).any():
            parent = parent[parent]
        if not changed.any():
            return np.sort(np.unique(label[grid], return_counts=True)[1])[::-1]
        label = parent[label]


def describe(grids: np.ndarray) -> np.ndarray:
    """(N, 3) of boolean grids (N, D, H, W): occupied fraction, number of pieces, the largest piece's share of what is occupied (0 where nothing is)."""
    rows = []
    for grid in grids:
        sizes = pieces(grid)
        rows.append((sizes.sum() / grid.size, len(sizes), sizes[0] / sizes.sum() if len(sizes) else 0.0))
    return np.array(rows).reshape(-1, 3)


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """The asked ones. A float grid is occupied above 0.5."""
    results = [_overlap(samples)] if "voxel_iou" in names else []
    columns = ("occupancy", "components", "largest_component")
    asked = [name for name in columns if name in names]
    if not asked:
        return results
    real, fake = _described(samples.real), _described(samples.fake)

    def score(rows: np.ndarray, others: np.ndarray, against_fake: bool) -> dict[str, float]:
        other = fake if against_fake else real
        return {name: wasserstein_1d(real[rows, columns.index(name)], other[others, columns.index(name)]) for name in asked}

    moments = {
        name: {
            f"{what}_{side}": float(value) for side, part in (("real", real), ("fake", fake))
            for what, value in (("mean", part[:, columns.index(name)].mean()), ("variance", part[:, columns.index(name)].var(ddof=1) if len(part) > 1 else 0.0))
        }
        for name in asked
    }  # fmt: skip
    return results + compare(samples, asked, len(real), len(fake), score, protocol={"threshold": THRESHOLD, "neighbours": "6, by faces"}, details=moments)


def _described(side: Side) -> np.ndarray:
    return np.concatenate([describe(_grids(chunk)) for _, chunk in side.chunks()])


def _grids(chunk: torch.Tensor) -> np.ndarray:
    """(n, D, H, W) boolean of (n, D, H, W) or (n, 1, D, H, W)."""
    occupied = (torch.as_tensor(chunk) > THRESHOLD).numpy()
    return occupied[:, 0] if occupied.ndim == 5 and occupied.shape[1] == 1 else occupied


def _overlap(samples: Samples) -> dict:
    values = np.concatenate([voxel_iou(_grids(real), _grids(fake)) for _, real, fake in samples.pairs()])
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else None
    return samples.result(
        "voxel_iou", values.mean(), error, num_real=len(values), num_fake=len(values),
        protocol={"threshold": THRESHOLD, "value": "mean over pairs", "error": "standard deviation over pairs / sqrt(pairs)"},
        details={"smallest": float(values.min()), "largest": float(values.max())},
    )  # fmt: skip
