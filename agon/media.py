"""Tensors <-> files that people look at: pictures, grids of pictures, scatter plots of points, tables.

Pictures are (N, C, H, W) float in [-1, 1], points are (N, D) float in the data's units; both as games make them. Files
are written under a temporary name and renamed, so a reader (a report, a browser) never sees half a file, and a file
that exists is replaced only when asked. Pillow is imported where a picture is written, not before.
"""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from agon.errors import UserError, writing
from agon.locale import translate

GRID_WIDTH = 480  # px; an 8x8 picture shown at its own size is a speck on today's screens
GRID_HEIGHT_LIMIT = 2048  # px; a tall grid of small pictures is not enlarged beyond this
BACKGROUND = 230  # grey between the pictures: visible against black digits as well as against white paper
REAL_COLOUR, FAKE_COLOUR, PAPER = (150, 150, 150), (214, 73, 51), (255, 255, 255)


def to_uint8(images: Tensor) -> Tensor:
    """(N, C, H, W) in [-1, 1] -> uint8 of the same shape, rounded to the nearest level, clamped; NaN becomes the
    middle grey.

    The inverse of ``x / 127.5 - 1``: a picture that was read from 8 bits comes back exactly. A uint8 tensor is
    returned as it is.
    """
    if images.dtype == torch.uint8:
        return images
    levels = (images.detach().to("cpu", torch.float32) + 1) * 127.5  # float32 first: bf16 has fewer levels than 8 bits
    return torch.nan_to_num(levels, nan=128.0, posinf=255.0, neginf=0.0).round().clamp(0, 255).to(torch.uint8)


def grid(
    images: Tensor, *, columns: int | None = None, rows: int | None = None, padding: int = 2, scale: int | None = None
) -> Tensor:
    """(N, C, H, W) in [-1, 1] or uint8 -> one picture (C, height, width) uint8, filled row by row, ``padding`` pixels
    between pictures.

    ``columns`` (or ``rows``) default to a near-square. ``scale`` enlarges every picture by a whole factor without
    interpolation; by default it is chosen so that the grid is about 480 pixels wide or more (and a tall grid at most
    2048 high). Raises UserError for an empty batch.
    """
    pictures = to_uint8(images)
    if pictures.ndim != 4 or not len(pictures):
        raise UserError(
            "A grid needs at least one picture of shape (N, C, H, W), got {shape}. Ask for one sample or more.",
            shape=tuple(images.shape),
        )
    n, channels, height, width = pictures.shape
    columns, rows = _layout(n, columns, rows)
    if scale is None:
        wanted = -(-((GRID_WIDTH - padding) // columns - padding) // width)
        allowed = ((GRID_HEIGHT_LIMIT - padding) // rows - padding) // height
        scale = max(1, min(wanted, allowed))
    pictures = pictures.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    height, width = height * scale, width * scale
    sheet = torch.full(
        (channels, rows * (height + padding) + padding, columns * (width + padding) + padding),
        BACKGROUND,
        dtype=torch.uint8,
    )
    if channels == 4:
        sheet[3] = 0  # the gaps of pictures with transparency are transparent
    for index, picture in enumerate(pictures):
        top = padding + (index // columns) * (height + padding)
        left = padding + (index % columns) * (width + padding)
        sheet[:, top : top + height, left : left + width] = picture
    return sheet


def scatter(points: Tensor, real: Tensor | None = None, *, size: int = 512) -> Tensor:
    """(N, D) points -> picture (3, size, size) uint8: real ones grey underneath, generated ones coloured, both denser
    where points are denser.

    The frame is that of the real points with a margin (so that a series of pictures can be compared), else that of the
    generated ones; a point outside is drawn on the edge. The first two coordinates are shown; one-dimensional points
    are spread upwards in their order.
    """
    clouds = [_plane(points)] + ([] if real is None else [_plane(real)])
    frame = clouds[-1][np.isfinite(clouds[-1]).all(1)]
    low, high = (frame.min(0), frame.max(0)) if len(frame) else (np.full(2, -1.0), np.full(2, 1.0))
    middle, half = (
        (low + high) / 2,
        max(float((high - low).max()) / 2, 1e-6) * 1.2,
    )  # one scale for both axes: circles stay round
    picture = np.empty((size, size, 3))
    picture[:] = PAPER
    for cloud, colour in reversed(list(zip(clouds, (FAKE_COLOUR, REAL_COLOUR), strict=False))):
        shade = _shade(cloud, middle, half, size)[..., None]
        picture = picture * (1 - shade) + np.array(colour) * shade
    return torch.from_numpy(picture.round().astype(np.uint8)).permute(2, 0, 1).contiguous()


def save_image(picture: Tensor, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write one picture (C, H, W), uint8 or float in [-1, 1], as PNG: C = 1 grey, 3 colour, 4 colour with
    transparency.

    Of any other number of channels the first three are written (missing ones as black) and a warning says so. Raises
    UserError when the file exists and ``overwrite`` is False.
    """
    return _write(Path(path), png(picture), overwrite)


def png(picture: Tensor) -> bytes:
    """The bytes of a PNG file for one picture (C, H, W), uint8 or float in [-1, 1]; channels as in
    :func:`save_image`.
    """
    from PIL import Image

    pixels = to_uint8(picture)
    channels = pixels.shape[0]
    if channels not in (1, 3, 4):
        words = translate("Pictures have {count} channels; the file shows the first three as red, green and blue.")
        warnings.warn(words.format(count=channels), UserWarning, stacklevel=2)
        pixels = torch.cat([pixels[:3], torch.zeros_like(pixels[:1]).repeat(max(0, 3 - channels), 1, 1)])
    array = pixels[0].numpy() if channels == 1 else pixels.permute(1, 2, 0).contiguous().numpy()
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()


def save_samples(
    samples: Tensor,
    target: str | Path,
    *,
    overwrite: bool = False,
    columns: int | None = None,
    real: Tensor | None = None,
) -> list[Path]:
    """Write samples and return the files written. ``target`` decides the form:

    ``x.png``: one grid of pictures, or a scatter plot of points (over ``real``, if given). ``x.npz``: one array,
    ``images`` (N, H, W, C) uint8 or ``points`` (N, D) float32. ``x.csv``: points, one a line. Anything else is a
    folder: ``00000.png`` ... for pictures, ``points.csv`` for points.

    Raises UserError when a file would be replaced and ``overwrite`` is False, and for a form that does not fit.
    """
    path = Path(target)
    images = samples.ndim == 4
    if not images and samples.ndim != 2:
        raise UserError(
            "Samples of shape {shape} have no file form. Expected pictures (N, C, H, W) or points (N, D).",
            shape=tuple(samples.shape),
        )
    suffix = path.suffix.lower()
    if suffix == ".npz" or (suffix == ".png" and not path.is_dir()) or (suffix == ".csv" and not images):
        return [_write(path, encoded(samples, suffix, columns=columns, real=real), overwrite)]
    if suffix in (".csv", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".npy"):
        raise UserError(
            "Samples cannot be written as {suffix}. Expected a folder, .png, .npz, or .csv for points. Choose one "
            "of these for --out.",
            suffix=suffix,
        )
    return _save_folder(samples, path, overwrite)


def encoded(samples: Tensor, suffix: str, *, columns: int | None = None, real: Tensor | None = None) -> bytes:
    """The bytes of the one file that holds samples: ``.png`` a grid of pictures or a scatter plot of points, ``.npz`` numbers,
    ``.csv`` points (see :func:`save_samples`).
    """
    if suffix == ".npz":
        return _npz(samples)
    if suffix == ".csv":
        return _csv(samples)
    return png(grid(samples, columns=columns) if samples.ndim == 4 else scatter(samples, real))


def write_atomically(path: Path, content: bytes) -> Path:
    """Write a whole file under a temporary name in the same folder, flush it to the disk, rename. Parent folders are
    made.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    return path


def _write(path: Path, content: bytes, overwrite: bool) -> Path:
    if path.is_dir():
        raise UserError(
            "{path} is a folder. Expected the name of a file. Add a file name, or choose another --out.", path=path
        )
    if path.exists() and not overwrite:
        raise UserError(
            "{path} exists already and is not replaced. Choose another --out, remove it, or add --overwrite.", path=path
        )
    return write_atomically(path, content)


def _save_folder(samples: Tensor, folder: Path, overwrite: bool) -> list[Path]:
    if folder.exists() and not folder.is_dir():
        raise UserError(
            "{path} is a file. Expected a folder for single samples. Choose another --out, or a name that ends in "
            ".png for a grid.",
            path=folder,
        )
    if samples.ndim == 2:
        return [_write(folder / "points.csv", _csv(samples), overwrite)]
    # Samples of an earlier draw would silently mix with these, whether or not the numbers collide.
    if not overwrite and folder.is_dir() and any(re.fullmatch(r"\d{5,}\.png", name) for name in os.listdir(folder)):
        raise UserError(
            "The folder {path} holds samples already and none is replaced. Choose another --out, empty it, or add "
            "--overwrite.",
            path=folder,
        )
    digits = max(5, len(str(len(samples) - 1)))
    pictures = to_uint8(samples)
    return [
        _write(folder / f"{index:0{digits}d}.png", png(picture), overwrite) for index, picture in enumerate(pictures)
    ]


def _npz(samples: Tensor) -> bytes:
    buffer = io.BytesIO()
    if samples.ndim == 4:
        np.savez_compressed(buffer, images=to_uint8(samples).permute(0, 2, 3, 1).contiguous().numpy())
    else:
        np.savez_compressed(buffer, points=samples.detach().cpu().float().numpy())
    return buffer.getvalue()


def _csv(points: Tensor) -> bytes:
    """Header x0,x1,... and one point a line, with as many digits as float32 holds."""
    array = points.detach().cpu().float().numpy()
    header = ",".join(f"x{axis}" for axis in range(array.shape[1]))
    lines = (",".join(f"{value:.9g}" for value in row) for row in array)
    return "\n".join([header, *lines, ""]).encode()


def _layout(n: int, columns: int | None, rows: int | None) -> tuple[int, int]:
    """(columns, rows) that hold n pictures; the number that was not given follows."""
    if columns is None:
        columns = -(-n // rows) if rows else -int(-(n**0.5) // 1)
    columns = max(1, columns)
    return columns, max(rows or 0, -(-n // columns))


def _plane(points: Tensor) -> np.ndarray:
    array = points.detach().cpu().double().numpy()
    if array.ndim != 2 or array.shape[1] == 0:
        raise UserError(
            "A scatter plot needs points of shape (N, D), got {shape}. Expected D of 1 or more.",
            shape=tuple(points.shape),
        )
    if array.shape[1] == 1:
        spread = np.linspace(array.min(initial=0.0), array.max(initial=1.0), len(array))
        return np.stack([array[:, 0], spread], 1)
    return array[:, :2]


def _shade(cloud: np.ndarray, middle: np.ndarray, half: float, size: int) -> np.ndarray:
    """(size, size) opacity in [0, 1]: every point is a dot of about size/200; dots add up, half opaque where the
    picture is typically dense.
    """
    finite = cloud[np.isfinite(cloud).all(1)]
    place = ((finite - middle) / (2 * half) + 0.5) * size
    column, row = (np.clip(axis.astype(np.int64), 0, size - 1) for axis in (place[:, 0], size - place[:, 1]))
    count = np.zeros((size, size))
    for down, right in _dot(max(1, round(size / 256))):
        np.add.at(count, (np.clip(row + down, 0, size - 1), np.clip(column + right, 0, size - 1)), 1.0)
    if not count.any():
        return count
    typical = float(np.median(count[count > 0]))
    each = max(0.25, 1 - 0.5 ** (1 / typical)) if typical <= 8 else 1 - 0.5 ** (1 / typical)
    return np.where(count > 0, np.maximum(1 - (1 - each) ** count, 0.2), 0.0)  # a lone point must stay visible


def _dot(radius: int) -> Sequence[tuple[int, int]]:
    span = range(-radius, radius + 1)
    return [(down, right) for down in span for right in span if down * down + right * right <= radius * radius + 0.5]
