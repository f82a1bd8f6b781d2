"""Sliced Wasserstein distance: the Wasserstein-1 distance of one-dimensional projections, averaged over random directions.

Rabin et al., 2012, https://doi.org/10.1007/978-3-642-24785-9_37; with exponent 1, as Karras et al., 2018 (ProGAN) use it. On points the unit is the data's;
on pixels (``pixel_sliced_wasserstein``) it is a fallback where no feature extractor fits: it sees colours and layout, hardly sharpness. The directions are
fixed, so numbers can be compared; the distance between two real halves at the same counts stands beside.

``swd`` is ProGAN's number (https://arxiv.org/abs/1710.10196, section 5): 7x7 patches of a Laplacian pyramid, which sees texture at each scale and no layout
at all. What differs from its authors' code: fewer pictures than their 16,384 (MOST), halves of them compared, and patch positions fixed for each picture.
"""

import zlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from agon.errors import Unavailable, UserError
from agon.metrics.bootstrap import NUM_SPLITS, perfect, splits, subsample_error
from agon.metrics.feature_store import zeros
from agon.metrics.features.base import as_rgb
from agon.metrics.samples import Samples
from agon.metrics.sides import Side, choose

METRICS = {
    "sliced_wasserstein": "Mean Wasserstein-1 distance over random directions, for points (lower is better)",
    "pixel_sliced_wasserstein": "The same on raw pixels, where no feature extractor fits: a coarse number (lower is better)",
    "swd": "Sliced Wasserstein distance of the patches of a Laplacian pyramid x 1000, ProGAN's (lower is better)",
}
KINDS = ("points", "image")
EXTRACTOR = {"sliced_wasserstein": "thumbnail", "pixel_sliced_wasserstein": "thumbnail", "swd": ""}
LAYERS = ("features",)
DIRECTIONS = 128
MOST = 1_024  # pictures of each side for swd: their patches are held, 75 kB a picture and level
PATCHES = 128  # a picture and level
PATCH = 7
REPEATS = 4  # of DIRECTIONS each
SMALLEST = 16  # side of the coarsest level
SCALE = 1_000


def directions(dimension: int, count: int = DIRECTIONS) -> np.ndarray:
    """(dimension, count) unit vectors, uniform on the sphere, always the same."""
    normal = np.random.default_rng(20_180_207).standard_normal((dimension, count))
    return normal / np.linalg.norm(normal, axis=0)


def sliced_wasserstein(x: np.ndarray, y: np.ndarray, along: np.ndarray | None = None) -> float:
    """Distance between two samples (N, D) of one size, over the columns of ``along`` (D, S), unit vectors."""
    if x.shape != y.shape:
        raise UserError(
            "The sliced Wasserstein distance compares samples of one size, these are {first} and {second}. Take as many of each.",
            first=x.shape, second=y.shape,
        )  # fmt: skip
    along = directions(x.shape[1]) if along is None else along
    return float(np.abs(np.sort(x @ along, axis=0) - np.sort(y @ along, axis=0)).mean())


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """Distance at half counts: mean over random splits; error by the delete-half jackknife."""
    return [(measure_patches if name == "swd" else measure_vectors)(samples, name) for name in names]


def measure_vectors(samples: Samples, name: str) -> dict:
    """Points, pixels, or whatever features were asked for."""
    pixels = samples.kind == "image" and samples.extractor is not None and samples.extractor.name == "thumbnail"
    own = "pixel_sliced_wasserstein" if pixels else "sliced_wasserstein"
    if name != own:
        raise UserError("The metric '{metric}' is not for the data set '{data}'. Use '{own}'.", metric=name, data=samples.name, own=own)
    vectors = samples.features()
    along = directions(vectors[0].shape[1])
    # Sorting needs no more than the projections, and a half's projections are half of the projections.
    real, fake = (project(part, along) for part in vectors)
    values, floor = [], []
    for split in splits(len(real), len(fake)):
        sorted_real = np.sort(real[split.real], axis=0)
        values.append(np.abs(sorted_real - np.sort(fake[split.fake], axis=0)).mean())
        floor.append(np.abs(sorted_real - np.sort(real[split.other], axis=0)).mean())
    half = min(len(real), len(fake)) // 2
    return samples.result(
        name, np.mean(values), subsample_error(np.array(values), 1, 2), num_real=len(real), num_fake=len(fake),
        protocol={
            "directions": DIRECTIONS, "exponent": 1, "dimension": len(along), "splits": NUM_SPLITS, "compared_real": half, "compared_fake": half,
            "value": "mean over random splits of the distance between half of the reals and half of the fakes",
            "error": "standard deviation over the splits (delete-half jackknife)",
        },
        reference={"perfect_sampler": perfect(floor, "two disjoint halves of the real samples, same counts")},
    )  # fmt: skip


def project(vectors: np.ndarray, along: np.ndarray, block: int = 4096) -> np.ndarray:
    """(N, D) float32 -> (N, S) float64 projections, converted in blocks."""
    return np.concatenate([vectors[start : start + block].astype(np.float64) @ along for start in range(0, len(vectors), block)])


# --- patches of a Laplacian pyramid -------------------------------------------------------------------------------------------------------


def swd(real: Tensor, fake: Tensor) -> dict[int, float]:
    """ProGAN's distance between as many uint8 pictures (N, C, H, W) on both sides: the level's side in pixels -> distance x 1000.

    All pictures at once: the metric itself streams. Raises UserError for different counts, Unavailable for pictures below 16 pixels.
    """
    if real.shape != fake.shape:
        raise UserError(
            "swd compares as many pictures of one size, these are {first} and {second}. Take as many of each.",
            first=tuple(real.shape), second=tuple(fake.shape),
        )  # fmt: skip
    levels = level_sides(real.shape[2:])
    sides = [np.stack([patch_rows(picture, index, which) for index, picture in enumerate(side)], axis=1) for which, side in (("real", real), ("fake", fake))]
    along = directions(sides[0].shape[-1], REPEATS * DIRECTIONS).astype(np.float32)
    found = {}
    for side, *both in zip(levels, *sides, strict=True):
        found[side] = SCALE * sorted_distance(*(sort_projections(normalise(patches.reshape(-1, patches.shape[-1])), along) for patches in both))
    return found


def level_sides(size: tuple[int, ...]) -> list[int]:
    """The shorter side of each level, finest first, down to 16 pixels."""
    side, levels = min(size), []
    while side >= SMALLEST:
        levels.append(side)
        side //= 2
    if not levels:
        raise Unavailable(
            "swd needs pictures of at least {least} pixels a side, these have {height}x{width}. Ask for pixel_sliced_wasserstein instead.",
            least=SMALLEST, height=size[0], width=size[1],
        )  # fmt: skip
    return levels


def laplacian_pyramid(pictures: Tensor, num_levels: int) -> list[Tensor]:
    """float32 (N, C, H, W) -> one tensor a level: differences from the level below enlarged, and at last what is left (Burt and Adelson, 1983).

    The binomial 5x5 kernel, borders mirrored about the outermost pixel.
    """
    levels = [pictures]
    for _ in range(1, num_levels):
        below = blur(levels[-1])[:, :, ::2, ::2]
        enlarged = torch.zeros_like(levels[-1])
        enlarged[:, :, ::2, ::2] = below
        levels[-1] = levels[-1] - 4 * blur(enlarged)
        levels.append(below)
    return levels


def blur(pictures: Tensor) -> Tensor:
    """With the kernel (1, 4, 6, 4, 1) / 16 along both axes."""
    count, channels, height, width = pictures.shape
    kernel = pictures.new_tensor([1, 4, 6, 4, 1]) / 16
    padded = F.pad(pictures.reshape(count * channels, 1, height, width), (2, 2, 2, 2), mode="reflect")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 5, 1)), kernel.view(1, 1, 1, 5)).view(pictures.shape)


def patch_rows(picture: Tensor, index: int, side: str) -> np.ndarray:
    """uint8 (C, H, W) -> (levels, PATCHES, 147) float32: patches at places that depend on ``index`` and ``side`` alone."""
    sides = level_sides(picture.shape[1:])
    rows = []
    for number, level in enumerate(laplacian_pyramid(as_rgb(picture[None]).float(), len(sides))):
        random = np.random.default_rng([zlib.crc32(side.encode()), index, number])
        y, x = (random.integers(0, extent - PATCH + 1, PATCHES) for extent in level.shape[2:])
        windows = np.lib.stride_tricks.sliding_window_view(level[0].numpy(), (PATCH, PATCH), axis=(1, 2))
        rows.append(windows[:, y, x].transpose(1, 0, 2, 3).reshape(PATCHES, -1))
    return np.stack(rows)


def patches_of(side: Side, which: str) -> tuple[list[int], np.ndarray]:
    """The sides of the levels and (levels, pictures, PATCHES, 147) float32 of up to MOST pictures, in one pass; large ones lie in a nameless file."""
    chosen, size, kept, levels, rows = choose(side.count, MOST), None, 0, [], np.zeros((0, 0))
    for index, picture in pictures_at(side, chosen):
        if size is None:
            size = picture.shape
            levels = level_sides(size[1:])
            rows = zeros(len(levels) * len(chosen), PATCHES * 3 * PATCH**2).reshape(len(levels), len(chosen), PATCHES, -1)
        if picture.shape != size:
            raise UserError(
                "swd needs pictures of one size, and '{data}' has {first} and {second} pixels. Resize them first.",
                data=side.name, first=tuple(size[1:]), second=tuple(picture.shape[1:]),
            )  # fmt: skip
        rows[:, kept] = patch_rows(picture, index, which)
        kept += 1
    return levels, rows[:, :kept]


def pictures_at(side: Side, chosen: np.ndarray) -> Iterator[tuple[int, Tensor]]:
    """(position, picture) of the chosen positions, streamed; those that cannot be read are left out."""
    wanted = np.zeros(side.count, bool)
    wanted[chosen] = True
    for rows, pictures in side.pieces():
        for row, picture in zip(rows, pictures, strict=True):
            if wanted[row]:
                yield int(row), picture


def normalise(patches: np.ndarray) -> np.ndarray:
    """(N, 147) -> the same with mean 0 and variance 1 for each colour over all patches, as published; a constant colour stays 0."""
    colours = patches.reshape(len(patches), 3, -1)
    mean = colours.mean(axis=(0, 2), dtype=np.float64)
    deviation = np.sqrt(np.maximum(np.square(colours, dtype=np.float64).mean(axis=(0, 2)) - mean**2, 0))
    deviation[deviation < 1e-4] = 1  # grey levels: rounding of a flat picture
    return ((colours - mean[:, None].astype(np.float32)) / deviation[:, None].astype(np.float32)).reshape(patches.shape)


def sort_projections(patches: np.ndarray, along: np.ndarray) -> np.ndarray:
    """(N, D), (D, S) -> (S, N), sorted along N: rows lie together, which sorts several times faster than columns."""
    return np.sort(along.T @ patches.T, axis=1)


def sorted_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Mean absolute difference, summed in float64."""
    return float(np.mean([np.abs(a - b).mean(dtype=np.float64) for a, b in zip(first, second, strict=True)]))


def level_distances(real: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """(pictures, PATCHES, 147) of one level -> (REPEATS, 2): x 1000, real against fake halves and real against other real halves; each repeat has its own
    directions and its own split."""
    along = directions(real.shape[-1], REPEATS * DIRECTIONS).astype(np.float32).reshape(-1, REPEATS, DIRECTIONS)
    found = []
    for repeat, split in enumerate(splits(len(real), len(fake), count=REPEATS)):
        halves = (real[split.real], fake[split.fake], real[split.other])
        ours, theirs, other = (sort_projections(normalise(half.reshape(-1, half.shape[-1])), along[:, repeat]) for half in halves)
        found.append((SCALE * sorted_distance(ours, theirs), SCALE * sorted_distance(ours, other)))
    return np.array(found)


def measure_patches(samples: Samples, name: str) -> dict:
    """``swd`` over halves of at most MOST pictures a side."""
    if samples.kind != "image":
        raise UserError("The metric 'swd' is for pictures, and '{data}' has none. Use 'sliced_wasserstein'.", data=samples.name)
    (levels, real), (others, fake) = patches_of(samples.real, "real"), patches_of(samples.fake, "fake")
    if levels != others:
        raise UserError(
            "swd needs pictures of one size on both sides, these have levels of {first} and {second} pixels. Resize one side.", first=levels, second=others,
        )  # fmt: skip
    found = np.stack([level_distances(*pair) for pair in zip(real, fake, strict=True)], axis=2)  # (REPEATS, 2, levels)
    values, floor = found.mean(axis=2).T
    half = min(real.shape[1], fake.shape[1]) // 2
    return samples.result(
        name, values.mean(), subsample_error(values, 1, 2), num_real=real.shape[1], num_fake=fake.shape[1],
        protocol={
            "levels": levels, "patches": PATCHES, "patch": f"{PATCH}x{PATCH}x3", "directions": REPEATS * DIRECTIONS, "scale": SCALE, "compared_real": half,
            "compared_fake": half, "value": f"mean over levels and {REPEATS} repeats, each with its own directions and random halves of both sides",
            "error": "standard deviation over the repeats (delete-half jackknife; it contains the directions' own spread)",
        },
        reference={"perfect_sampler": perfect(floor, "two disjoint halves of the real samples, same counts")},
        details={
            "by_level": dict(zip(map(str, levels), found[:, 0].mean(0).tolist(), strict=True)),
            "perfect_sampler_by_level": dict(zip(map(str, levels), found[:, 1].mean(0).tolist(), strict=True)),
        },
    )  # fmt: skip
