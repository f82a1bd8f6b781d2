"""A picture larger than memory allows, translated in tiles that meet without a seam.

A network whose output at a place depends on ``reach`` pixels of input round it gives a tile's inner pixels exactly as it would within the whole picture, once
the tile is read with that many pixels more on every side: such tiles are cut at their common border. Where the reach is too large for that (a network of
hundreds of convolutions, whose outer weights hardly count), tiles overlap by less, the outer three quarters of the overlap are thrown away and the inner
quarter is faded from one tile to the next; what remains of the difference falls off quickly with the overlap (docs/translate.md has numbers).

Borders lie on multiples of what the network folds its input by, and the picture is padded before it is cut, so that every tile is folded as the whole would be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from agon.translation.game import padded_to

TILE_BYTES = 1000 << 20
"""What the network may take for one tile, by :func:`bytes_per_pixel`; the process then stays below 2 GB."""
WHOLE_BYTES = 6 << 30
"""The same for a picture that can only be made as a whole."""
LEAST_OVERLAP = 16
COPIES = 2
"""Tensors that live at once, in multiples of what the largest operation reads and writes: skips that are kept, copies in the convolution's own layout."""


@dataclass(frozen=True)
class Layout:
    """Borders of the tiles along each axis, from 0 to the padded side; ``overlap``: pixels that a tile is read beyond them; ``fade``: pixels on each side of a
    border over which two tiles are blended, 0 where they are cut."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    overlap: int
    fade: int

    @property
    def count(self) -> int:
        return (len(self.rows) - 1) * (len(self.columns) - 1)


def lay_out(height: int, width: int, *, multiple: int, reach: int, most: float, tile: int | None = None, overlap: int | None = None) -> Layout:
    """Tiles for a picture of ``height`` x ``width``. ``most``: pixels that a tile with its overlap may have; ``tile``: the side between borders (0: one tile)
    and ``overlap``, where they are to be other than what fits: the whole reach if that costs less than three times the work, else a sixth of the side."""
    padded = [side + -side % multiple for side in (height, width)]
    if tile == 0 or tile is None and padded[0] * padded[1] <= most:
        return Layout((0, padded[0]), (0, padded[1]), 0, 0)
    side = math.isqrt(int(most)) if tile is None else tile
    if overlap is None:
        overlap = reach if tile is not None and reach <= tile or reach <= side // 5 else max(LEAST_OVERLAP, side // 6)
    overlap += -overlap % multiple
    core = max(multiple, (side - 2 * overlap if tile is None else tile) // multiple * multiple)
    fade = 0 if overlap >= reach else min(overlap // 4, core // 2)
    return Layout(borders(padded[0], core, multiple), borders(padded[1], core, multiple), overlap, fade)


def borders(length: int, core: int, multiple: int) -> tuple[int, ...]:
    """0 to ``length`` in the fewest steps of at most ``core``, as even as multiples of ``multiple`` allow."""
    count, units = -(-length // core), length // multiple
    return tuple(units * index // count * multiple for index in range(count + 1))


def in_bands(translate: Callable[[Tensor], Tensor], source: Tensor, layout: Layout, multiple: int = 1) -> Iterator[Tensor]:
    """``translate(source)`` as bands (N, C, h, W) from the top to the bottom, made tile by tile: only a band lives at a time. ``translate`` may enlarge by a
    whole factor."""
    height, width = source.shape[2:]
    if layout.count == 1:
        yield translate(source)
        return
    padded = padded_to(source, multiple)
    rows, fade = layout.rows, layout.fade
    carried, done = None, 0
    for top, bottom in zip(rows[:-1], rows[1:], strict=True):
        first, last = max(0, top - fade), min(rows[-1], bottom + fade if bottom < rows[-1] else bottom)
        band, scale = _row(translate, padded, layout, first, last, _around(top, bottom, rows[-1], layout.overlap))
        if fade:
            band *= ramp(first, last, top, bottom, rows[-1], fade, scale).view(1, 1, -1, 1).to(band)
        if carried is not None:
            band[:, :, : carried.shape[2]] += carried
        keep = (last - first) * scale if bottom == rows[-1] else (bottom - fade - first) * scale
        carried = band[:, :, keep:].clone() if fade and bottom < rows[-1] else None
        finished = band[:, :, : min(keep, height * scale - done), : width * scale]
        done += finished.shape[2]
        yield finished


def _row(translate: Callable[[Tensor], Tensor], padded: Tensor, layout: Layout, first: int, last: int, seen: tuple[int, int]) -> tuple[Tensor, int]:
    """Rows ``first`` to ``last`` of the output (in pixels of the input) over the whole width, made of rows ``seen`` of the input; and the scale."""
    columns, fade, band, scale = layout.columns, layout.fade, torch.empty(0), 1
    for left, right in zip(columns[:-1], columns[1:], strict=True):
        start, stop = _around(left, right, columns[-1], layout.overlap)
        made = translate(padded[:, :, seen[0] : seen[1], start:stop])
        scale = made.shape[2] // (seen[1] - seen[0])
        if not band.numel():
            band = made.new_zeros(*made.shape[:2], (last - first) * scale, columns[-1] * scale)
        begin, end = max(0, left - fade), min(columns[-1], right + fade)
        part = made[:, :, (first - seen[0]) * scale : (last - seen[0]) * scale, (begin - start) * scale : (end - start) * scale]
        if fade:
            part = part * ramp(begin, end, left, right, columns[-1], fade, scale).to(part)
        band[:, :, :, begin * scale : end * scale] += part
    return band, scale


def _around(start: int, stop: int, length: int, overlap: int) -> tuple[int, int]:
    return max(0, start - overlap), min(length, stop + overlap)


def ramp(begin: int, end: int, start: int, stop: int, length: int, fade: int, scale: int) -> Tensor:
    """Weights of a tile between the borders ``start`` and ``stop`` at output pixels ``begin`` to ``end``: 1, and linear over ``fade`` input pixels on each side
    of a border, where neighbours' weights add up to 1."""
    at = (torch.arange(begin * scale, end * scale) + 0.5) / scale
    rising = ((at - start + fade) / (2 * fade)).clamp(0, 1) if start > 0 else torch.ones_like(at)
    falling = ((stop + fade - at) / (2 * fade)).clamp(0, 1) if stop < length else torch.ones_like(at)
    return torch.minimum(rising, falling)


class Widest(TorchDispatchMode):
    """Inside it, ``bytes`` becomes the most that one operation reads and writes."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        touched = [each for group in (*args, made) for each in (group if isinstance(group, list | tuple) else [group]) if isinstance(each, Tensor)]
        self.bytes = max(self.bytes, sum(each.numel() * each.element_size() for each in touched))
        return made


def bytes_per_pixel(translate: Callable[[Tensor], Tensor], probe: Tensor, fixed: int = 0) -> float:
    """About what ``translate`` takes for each pixel of its input while it works, seen on a small ``probe`` (1, C, H, W). ``fixed``: bytes of the largest
    weights, which do not grow with the picture."""
    with Widest() as widest:
        translate(probe)
    return COPIES * max(widest.bytes - fixed, probe.numel() * 4) / (probe.shape[2] * probe.shape[3])
