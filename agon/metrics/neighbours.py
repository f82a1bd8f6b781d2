"""Nearest neighbours by brute force in blocks: exact, bounded memory, in the type of what is compared."""

from collections.abc import Iterator

import numpy as np

BLOCK_VALUES = 1 << 23  # distances held at a time: 64 MB in float64


def distance_blocks(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(start, squared distances of x[start:start + b] to all of y, (b, N)), block by block.

    By |x|^2 + |y|^2 - 2 x.y about y's mean: subtracting a common point changes no distance and keeps the cancellation
    small.
    """
    centre = y.mean(axis=0)
    x, y = x - centre, y - centre
    norm_x, norm_y = (x * x).sum(1), (y * y).sum(1)
    rows = max(1, BLOCK_VALUES // len(y))
    for start in range(0, len(x), rows):
        block = x[start : start + rows] @ y.T
        block *= -2
        block += norm_y
        block += norm_x[start : start + rows, None]
        yield start, np.maximum(block, 0, out=block)


def nearest(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(M,) distance of each of x (M, D) to the nearest of y (N, D)."""
    return np.sqrt(np.concatenate([block.min(axis=1) for _, block in distance_blocks(x, y)]))


def kth_nearest(x: np.ndarray, k: int, rows: np.ndarray | None = None) -> np.ndarray:
    """Distance of each of x (M, D), or of x[rows], to its k-th nearest other sample (itself left out)."""
    rows = np.arange(len(x)) if rows is None else rows
    result = []
    for start, block in distance_blocks(x[rows], x):
        block[np.arange(len(block)), rows[start : start + len(block)]] = np.inf
        result.append(np.partition(block, k - 1, axis=1)[:, k - 1])
    return np.sqrt(np.concatenate(result))


def distance_matrix(x: np.ndarray) -> np.ndarray:
    """(M, M) distances among x (M, D). For small M: it is held at once."""
    return np.sqrt(np.concatenate([block for _, block in distance_blocks(x, x)]))
