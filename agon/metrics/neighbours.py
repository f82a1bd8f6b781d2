"""Nearest neighbours by brute force in blocks: exact, bounded memory.

Small sets are compared in float64 (or in the type of what is compared). For large ones ``Cloud`` compares in float32, which takes half of the time and
memory, with a bound of the rounding error: a pair that the bound leaves undecided is compared again in float64, so that the answers are those of float64.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.nn import functional as F

BLOCK_VALUES = 1 << 23  # distances held at a time: 64 MB in float64
TILE = 1024  # samples a side of a float32 tile
EXACT_VALUES = 1 << 21  # float64 numbers at a time when pairs are compared again: 16 MB
CROWD = 200  # undecided neighbours a sample, above which float32 does not pay (thousands of equal samples)


def distance_blocks(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(start, squared distances of x[start:start + b] to all of y, (b, N)), block by block.

    By |x|^2 + |y|^2 - 2 x.y about y's mean: subtracting a common point changes no distance and keeps the cancellation small.
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


def nearest_index(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(index, distance), (M,) each: which of y (N, D) is nearest to each of x (M, D), and how far it is."""
    index = np.concatenate([block.argmin(axis=1) for _, block in distance_blocks(x, y)])
    rows = max(1, EXACT_VALUES // x.shape[1])
    parts = [((x[s : s + rows].astype(np.float64) - y[index[s : s + rows]]) ** 2).sum(1) for s in range(0, len(x), rows)]
    return index, np.sqrt(np.concatenate(parts))


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


class Cloud:
    """Points (N, F), ready for comparisons in float32 with a bound of their error.

    About ``centre`` and times ``scale`` (common to all clouds that are compared) a point p is kept as [p, 1, -(1/2 - c) |p|^2] in float32; the product of two
    such rows, the last two numbers of one exchanged, is -d^2 / 2 + c (|p|^2 + |q|^2), d their distance. With c = (F + 16) 2^-24 that is never less than the
    true -d^2 / 2, whatever order the product is summed in: a sum of n terms rounded to u = 2^-24 each time errs by at most n u times the sum of their sizes
    (Higham, 2002, "Accuracy and Stability of Numerical Algorithms", section 3.1), and |p.q| terms sum to at most (|p|^2 + |q|^2) / 2; the 16 covers the
    rounding of the stored numbers.
    """

    def __init__(self, points: np.ndarray, centre: np.ndarray, scale: float) -> None:
        count, width = points.shape
        self.points, self.scale, self.slack = points, scale, (width + 16) * 2.0**-24
        self.table = np.empty((count, width + 2), np.float32)
        self.norm = np.empty(count)
        for start in range(0, count, TILE):
            block = (points[start : start + TILE].astype(np.float64) - centre) * scale
            self.norm[start : start + TILE] = np.einsum("nf,nf->n", block, block)
            self.table[start : start + TILE, :width] = block
        self.table[:, width] = 1
        self.table[:, width + 1] = -(0.5 - self.slack) * self.norm

    def __len__(self) -> int:
        return len(self.points)

    def bound(self, mine: slice, other: Cloud, theirs: slice) -> np.ndarray:
        """(b, c) float32, at least -(scaled distance)^2 / 2, and more by at most ``doubt``."""
        left = self.table[mine].copy()
        left[:, -2:] = left[:, :-3:-1]
        return product(left, other.table[theirs])

    def doubt(self, rows: np.ndarray, other: Cloud, columns: np.ndarray) -> np.ndarray:
        """By how much ``bound`` may exceed the truth for each pair."""
        return 2 * self.slack * (self.norm[rows] + other.norm[columns])

    def exact(self, rows: np.ndarray, other: Cloud, columns: np.ndarray) -> np.ndarray:
        """(P,) squared distances of the pairs in float64, from the differences: no cancellation."""
        result = np.empty(len(rows))
        step = max(1, EXACT_VALUES // self.points.shape[1])
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            difference = self.points[rows[part]].astype(np.float64) - other.points[columns[part]]
            result[part] = np.einsum("nf,nf->n", difference, difference)
        return result

    def within(self, mine: slice, other: Cloud, theirs: slice, tile: np.ndarray, radius: np.ndarray, *, of_rows: bool) -> tuple[np.ndarray, np.ndarray]:
        """(rows, columns) of the pairs of a tile whose squared distance is below ``radius`` (squared) of its row, or of its column. ``tile``: from
        ``bound``."""
        limit = -radius[mine if of_rows else theirs] * (self.scale**2 / 2)
        rows, columns = where(tile > (limit[:, None] if of_rows else limit).astype(np.float32))
        values = tile[rows, columns] - limit[rows if of_rows else columns]
        rows, columns = rows + mine.start, columns + theirs.start
        open_ones = np.flatnonzero(values <= self.doubt(rows, other, columns))
        inside = np.ones(len(rows), bool)
        if len(open_ones):
            pair = rows[open_ones], columns[open_ones]
            if len(open_ones) < tile.size // 50:
                found = self.exact(pair[0], other, pair[1])
            else:
                found = self._all(mine, other, theirs)[pair[0] - mine.start, pair[1] - theirs.start]
            inside[open_ones] = found < radius[pair[0] if of_rows else pair[1]]
        return rows[inside], columns[inside]

    def _all(self, mine: slice, other: Cloud, theirs: slice) -> np.ndarray:
        """(b, c) squared distances in float64: where most pairs are undecided."""
        parts = distance_blocks(self.points[mine].astype(np.float64), other.points[theirs].astype(np.float64))
        return np.concatenate([block for _, block in parts])

    def kth_squared(self, k: int) -> np.ndarray:
        """(N,) squared distance to the k-th nearest other point, as by float64; k < N. Each pair is compared once.

        The k nearest within a point's own tile bound its k-th nearest of all; what may lie within that bound is kept, from all tiles, and the nearest of it are
        compared in float64.
        """
        pieces = tiles(len(self), 2 * k + 2)
        limit = np.empty(len(self))
        kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        room = len(self) * (CROWD + k * len(pieces))
        for mine, theirs in [(a, a) for a in pieces] + [(a, b) for i, a in enumerate(pieces) for b in pieces[i + 1 :]]:
            tile = self.bound(mine, self, theirs)
            if mine == theirs:
                np.fill_diagonal(tile, -np.inf)
                limit[mine] = torch.from_numpy(tile).topk(k).values[:, -1].numpy()
                limit[mine] -= 2 * self.slack * (self.norm[mine] + self.norm[mine].max())
            else:
                columns, rows, values = self._near(tile, mine, theirs, limit[theirs])
                kept.append((rows, columns, values))
            kept.append(self._near(tile, mine, theirs, limit[mine, None]))
            room -= len(kept[-1][0]) + (len(kept[-2][0]) if mine != theirs else 0)
            if room < 0:
                return kth_nearest(self.points.astype(np.float64), k) ** 2
        rows, columns, values = (np.concatenate(part) for part in zip(*kept, strict=True))
        limit = pick(rows, -values, k, len(self))
        good = values >= -limit[rows] - 2 * self.slack * (self.norm[rows] + self.norm.max())
        return pick(rows[good], self.exact(rows[good], self, columns[good]), k, len(self))

    def _near(self, tile: np.ndarray, mine: slice, theirs: slice, limit: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(rows, columns, values) of the pairs of a tile that may lie within a bound."""
        rows, columns = where(tile >= np.nextafter(limit.astype(np.float32), np.float32(-np.inf)))
        return rows + mine.start, columns + theirs.start, tile[rows, columns].astype(np.float64)


def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(b, K), (c, K) -> (b, c) float32: left @ right.T, every term in float32.

    By oneDNN, up to twice as fast as numpy's, where it is there and does not round to bfloat16 (some builds and settings do: it is asked each time, with a
    number that bfloat16 does not have).
    """
    if torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled:
        with torch.no_grad():
            probe = torch.full((32, 64), 1 + 2.0**-10)
            if abs(float(by_onednn(probe, probe)[0, 0]) / (64 * (1 + 2.0**-10) ** 2) - 1) < 1e-5:
                return by_onednn(torch.from_numpy(left), torch.from_numpy(right)).numpy()
    return left @ right.T


def by_onednn(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return F.linear(left.to_mkldnn(), right.to_mkldnn()).to_dense()


def where(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``np.nonzero`` of a matrix, many times faster where few entries are true."""
    return np.divmod(np.flatnonzero(mask), mask.shape[1])


def clouds(*points: np.ndarray) -> list[Cloud]:
    """Sets of points (N, F) of one kind, ready to be compared: about their common mean, at a scale that float32 holds."""
    count = sum(len(part) for part in points)
    centre = sum(part.sum(axis=0, dtype=np.float64) for part in points) / count
    largest = max(float(np.abs(part[start : start + TILE] - centre).max(initial=0)) for part in points for start in range(0, len(part), TILE))
    return [Cloud(part, centre, 1 / largest if largest > 0 else 1.0) for part in points]


def tiles(count: int, least: int = 1) -> list[slice]:
    """Consecutive slices of nearly equal size, about TILE, and not below ``least`` where there are so many."""
    number = max(1, count // max(TILE, least))
    edges = np.linspace(0, count, number + 1).round().astype(int)
    return [slice(int(a), int(b)) for a, b in zip(edges[:-1], edges[1:], strict=True)]


def pick(rows: np.ndarray, values: np.ndarray, k: int, count: int) -> np.ndarray:
    """(count,): the k-th smallest of the values of each row 0 .. count - 1; every row has k or more."""
    order = np.lexsort((values, rows))
    first = np.searchsorted(rows[order], np.arange(count))
    return values[order][first + k - 1]
