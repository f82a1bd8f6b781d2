"""Samples by seed: a sheet whose cells have a seed each, the way between two of them, and a walk along several."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agon.errors import Unavailable, UserError
from agon.media import grid, png, scatter, to_uint8
from agon.playground.create.describe import why_no_walk
from agon.run import Run
from agon.translation.films import over_white
from agon.two_player import TwoPlayerGame

SCATTER, SCATTER_POINTS = 256, 1000
"""Side in pixels, and points, of a cell that shows points."""
FRAME_SECONDS = 0.04
Start = tuple[Tensor, Tensor | None]


@dataclass(frozen=True)
class Cell:
    seed: int
    label: int | None = None


def pictures(run: Run, cells: Sequence[Cell], controls: dict[str, Any]) -> Tensor:
    """(n, C, H, W) uint8, a picture a cell: what ``run.sample(1, seed=...)`` draws, to rounding; points are shown as a scatter plot of a thousand."""
    if run.spec.kind == "points":
        return torch.stack([scatter(run.sample(SCATTER_POINTS, seed=cell.seed, **_labelled(cell), **controls), size=SCATTER) for cell in cells])
    game = run.game
    alone = not hasattr(game, "from_start") or game.config.sampling_statistics == "batch"  # such statistics would let the cells see each other
    if alone or controls.get("noise") == "random":  # which a seed draws after its latent
        return to_uint8(torch.cat([run.sample(1, seed=cell.seed, **_labelled(cell), **controls) for cell in cells]))
    return to_uint8(game.from_start(*_joined([start(run, cell) for cell in cells]), **controls).cpu())


def start(run: Run, cell: Cell) -> Start:
    """The latent and condition of a cell. Raises UserError for a class that is not there."""
    if cell.label is not None and not run.game.takes_labels:
        raise UserError("This run has no classes: it was trained without conditions. Leave out the label.")
    return run.game.start(cell.seed, cell.label)


def between(run: Run, first: Cell, last: Cell, at: Sequence[float], controls: dict[str, Any]) -> Tensor:
    """(len(at), C, H, W) uint8: samples at fractions 0 to 1 of the way. Gaussian latents along a great circle, which keeps their length usual (White, 2016,
    https://arxiv.org/abs/1609.04468); styles along a line, in W, where the generator is smoothest (Karras et al., 2019); conditions along a line.
    Raises UserError where the run has no such way."""
    if why_no_walk(run):
        raise UserError("There is no way between samples of this run. Expected pictures of a game that draws latents.")
    (one, one_condition), (other, other_condition) = start(run, first), start(run, last)
    fractions = torch.tensor(list(at), dtype=torch.float32)[:, None]
    condition = None if one_condition is None else torch.lerp(one_condition, other_condition, fractions)
    if hasattr(run.game, "styles"):
        return _through_styles(run, (one, one_condition), (other, other_condition), fractions, condition, controls)
    gaussian = type(run.game).draw_latent is TwoPlayerGame.draw_latent
    latent = slerp(one, other, fractions) if gaussian else torch.lerp(one, other, fractions)
    return to_uint8(run.game.from_start(latent, condition, **controls).cpu())


def slerp(first: Tensor, last: Tensor, at: Tensor) -> Tensor:
    """(1, Z), (1, Z), (N, 1) -> (N, Z) along the great circle between two latents; the length goes evenly from one's to the other's."""
    lengths = first.norm(), last.norm()
    angle = torch.arccos((first @ last.T / (lengths[0] * lengths[1]).clamp_min(1e-12)).clamp(-1, 1)).squeeze()
    if angle < 1e-4 or math.pi - angle < 1e-4:  # the same way, or opposite ones, between which no circle is the shortest
        return torch.lerp(first, last, at)
    way = (torch.sin((1 - at) * angle) * first / lengths[0] + torch.sin(at * angle) * last / lengths[1]) / torch.sin(angle)
    return way * torch.lerp(lengths[0], lengths[1], at)


def walk(run: Run, cells: Sequence[Cell], frames: int, loop: bool, controls: dict[str, Any]) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8 frames from each cell to the next, and back to the first if ``loop``. Raises UserError for fewer frames than there are ways."""
    stops = [*cells, cells[0]] if loop else list(cells)
    legs = len(stops) - 1
    if frames < legs:
        raise UserError("{frames} frames cannot pass {count} samples. Expected at least {legs}.", frames=frames, count=len(cells), legs=legs)
    for leg in range(legs):
        count = frames * (leg + 1) // legs - frames * leg // legs
        whole = leg == legs - 1 and not loop  # the last cell itself is shown, unless it is the first of the next round
        at = [number / max(1, count - 1 if whole else count) for number in range(count)]
        for begin in range(0, count, 8):
            for picture in between(run, stops[leg], stops[leg + 1], at[begin : begin + 8], controls) if at[begin : begin + 8] else ():
                yield in_colour(picture)


def in_colour(picture: Tensor) -> np.ndarray:
    """(C, H, W) uint8 -> (H, W, 3), transparency over white."""
    pixels = np.ascontiguousarray(picture.permute(1, 2, 0).numpy())
    return over_white(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def film(frames: Iterator[np.ndarray], form: str, scale: int, comment: str) -> bytes:
    """A GIF or MP4 of the frames, each enlarged ``scale`` times, with ``comment`` inside. Raises Unavailable where MP4 cannot be written."""
    enlarged = (frame.repeat(scale, 0).repeat(scale, 1) for frame in frames)
    return _gif(list(enlarged), comment) if form == "gif" else _mp4(enlarged, comment)


def strip(made: Tensor) -> bytes:
    """(n, C, H, W) uint8 -> a PNG of the pictures below each other."""
    n, channels, height, width = made.shape
    return png(made.permute(1, 0, 2, 3).reshape(channels, n * height, width))


def sheet(made: Tensor, columns: int) -> bytes:
    """A PNG grid of the pictures; a single one in its own size where ``columns`` is 0."""
    return png(made[0]) if columns == 0 and len(made) == 1 else png(grid(made, columns=min(columns, len(made)) or None))


def _through_styles(run: Run, one: Start, other: Start, fractions: Tensor, condition: Tensor | None, controls: dict[str, Any]) -> Tensor:
    cut = {name: value for name, value in controls.items() if name == "truncation"}
    rest = {name: value for name, value in controls.items() if name != "truncation"}
    device = next(run.game.generator.parameters()).device
    with torch.no_grad():
        styles = [run.game.generator.mapping(z.to(device), None if c is None else c.to(device), cut.get("truncation", 1.0), None) for z, c in (one, other)]
    w = torch.lerp(styles[0], styles[1], fractions[..., None].to(device))
    return to_uint8(run.game.from_start(one[0].expand(len(w), -1), condition, w=w, **rest).cpu())


def _joined(starts: Sequence[Start]) -> Start:
    conditions = [condition for _, condition in starts if condition is not None]
    return torch.cat([latent for latent, _ in starts]), torch.cat(conditions) if conditions else None


def _labelled(cell: Cell) -> dict[str, Any]:
    return {} if cell.label is None else {"label": torch.tensor(cell.label)}


def _gif(frames: list[np.ndarray], comment: str) -> bytes:
    from PIL import Image

    first, *rest = [Image.fromarray(frame) for frame in frames]
    out = io.BytesIO()
    first.save(out, format="GIF", save_all=True, append_images=rest, duration=round(1000 * FRAME_SECONDS), loop=0, comment=comment.encode())
    return out.getvalue()


def _mp4(frames: Iterator[np.ndarray], comment: str) -> bytes:
    try:
        import av
    except ImportError:
        raise Unavailable("Writing MP4 needs the library av, which is missing. Choose GIF, or run: pip install av") from None
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as file:
        file.metadata["comment"] = comment
        stream = None
        for frame in frames:
            frame = frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]  # the codec wants even sides
            if stream is None:
                stream = file.add_stream("libx264", rate=round(1 / FRAME_SECONDS), options={"crf": "14"})
                stream.height, stream.width, stream.pix_fmt = *frame.shape[:2], "yuv420p"
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        if stream is not None:
            file.mux(stream.encode())
    return out.getvalue()
