"""SSIM, MS-SSIM and PSNR of pictures in pairs, and MS-SSIM among the fakes as a measure of their diversity.

SSIM: Wang et al., 2004, https://doi.org/10.1109/TIP.2003.819861: Gaussian window of 11x11, sigma 1.5, K1 = 0.01, K2 = 0.03, range 255, mean over the places
where the window fits; each colour channel by itself, then their mean (the paper has grey pictures only). MS-SSIM: Wang et al., 2003,
https://doi.org/10.1109/ACSSC.2003.1292216: five scales, 2x2 means in between, the published weights; a negative mean of a scale counts as 0, for its power
has no real value. Diversity: Odena et al., 2017, https://arxiv.org/abs/1610.09585, section 4.3: mean MS-SSIM of random pairs of one class; a high value
means that the samples look alike. Everything in float64.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from agon.errors import Unavailable, UserError
from agon.metrics.samples import Samples
from agon.metrics.sides import Side

METRICS = {
    "ssim": "Structural similarity of each fake to its real picture (1: the same, higher is better)",
    "ms_ssim": "Structural similarity over five scales of each fake to its real picture (1: the same, higher is better)",
    "psnr": "Peak signal-to-noise ratio of each fake against its real picture, in dB (higher is better)",
    "ms_ssim_diversity": "Mean MS-SSIM of random pairs of fakes, of one class where there are labels (above the reals' own: less diverse)",
}
KINDS = ("image",)
EXTRACTOR = ""
LAYERS = ()
PAIRED = ("ssim", "ms_ssim", "psnr")
LABELLED = False

WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
NUM_PAIRS = 1_000  # for the diversity
HELD_BYTES = 256 << 20  # pictures held for them: fewer pairs of large ones
PIXELS = 1 << 19  # values of a side compared at a time


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """(N, C, H, W) twice, in 0..255, of at least 11 pixels a side -> (N,) float64, at most 1."""
    refuse_small(x, y, 1)
    return similarity(x.double(), y.double(), window_of(WINDOW))[0].mean(1)


def ms_ssim(x: Tensor, y: Tensor, scales: int = 5) -> Tensor:
    """(N, C, H, W) twice, in 0..255 -> (N,) float64 in 0..1. Five scales take pictures of more than 160 pixels a side.

    With fewer, the weights of the first scales are divided by their sum. Raises Unavailable for pictures that are too small.
    """
    refuse_small(x, y, scales)
    return multiscale(x.double(), y.double(), scales, window_of(WINDOW))


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """(N, C, H, W) twice, in 0..255 -> (N,) float64 dB over all values of a picture; inf where the two are the same."""
    same_shape(x, y)
    return 10 * torch.log10(255**2 / (x.double() - y.double()).square().flatten(1).mean(1))


def scales_for(height: int, width: int) -> int:
    """How many of the five scales fit: the window must fit into the coarsest. 0 below 11 pixels."""
    return sum(min(height, width) > (WINDOW - 1) << scale for scale in range(len(WEIGHTS)))


def window_of(size: int) -> Tensor:
    """(size,) Gaussian of sum 1; narrower than 11 in proportion."""
    place = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    weight = torch.exp(-(place**2) / (2 * (SIGMA * size / WINDOW) ** 2))
    return weight / weight.sum()


def similarity(x: Tensor, y: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
    """float64 (N, C, H, W) twice -> (N, C) means of the SSIM map and of its contrast-structure part."""
    maps = torch.stack([x, y, x * x, y * y, x * y])
    mean_x, mean_y, xx, yy, xy = slide(slide(maps, window, 3), window, 4)
    structure = (2 * (xy - mean_x * mean_y) + C2) / ((xx - mean_x**2) + (yy - mean_y**2) + C2)
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return (luminance * structure).mean((2, 3)), structure.mean((2, 3))


def slide(maps: Tensor, window: Tensor, axis: int) -> Tensor:
    """The window's weighted sums along one axis, where it fits: shifted copies added up, ten times as fast as conv2d in float64 on a CPU."""
    size = maps.shape[axis] - len(window) + 1
    total = torch.zeros_like(maps.narrow(axis, 0, size))
    for start, weight in enumerate(window.tolist()):
        total.add_(maps.narrow(axis, start, size), alpha=weight)
    return total


def multiscale(x: Tensor, y: Tensor, scales: int, window: Tensor) -> Tensor:
    """The product over the scales: contrast and structure of each, luminance of the coarsest alone."""
    weights = np.array(WEIGHTS[:scales]) / (1 if scales == len(WEIGHTS) else sum(WEIGHTS[:scales]))
    product = torch.ones(x.shape[:2], dtype=torch.float64)
    for scale, weight in enumerate(weights):
        whole, structure = similarity(x, y, window)
        product *= (whole if scale == scales - 1 else structure).clamp(min=0) ** weight
        x, y = (F.avg_pool2d(part, 2, ceil_mode=True) for part in (x, y))  # an odd last row is averaged with its own mirror image, as published
    return product.mean(1)


def same_shape(x: Tensor, y: Tensor) -> None:
    if x.shape != y.shape:
        raise UserError("Pictures are compared pixel by pixel, and these are {first} and {second}. Expected one shape: resize one side.",
                        first=tuple(x.shape), second=tuple(y.shape))  # fmt: skip


def refuse_small(x: Tensor, y: Tensor, scales: int) -> None:
    same_shape(x, y)
    height, width = x.shape[2:]
    if scales_for(height, width) < scales:
        raise Unavailable(
            "{metric} needs pictures of more than {least} pixels a side, these have {height}x{width}. Compare larger pictures, or ask for {other}.",
            metric="SSIM" if scales == 1 else f"MS-SSIM with {scales} scales", least=(WINDOW - 1) << (scales - 1), height=height, width=width,
            other="psnr" if scales == 1 else "ssim",
        )  # fmt: skip


# --- pairs of real and fake ----------------------------------------------------------------------------------------------------------------

PROTOCOLS = {
    "ssim": {"window": "11x11 Gaussian, sigma 1.5, where it fits", "k1": 0.01, "k2": 0.03, "range": 255, "colour": "mean over the channels"},
    "ms_ssim": {"window": "11x11 Gaussian, sigma 1.5, where it fits", "k1": 0.01, "k2": 0.03, "range": 255, "colour": "mean over the channels", "scales": 5},
    "psnr": {"range": 255, "colour": "all channels together"},
}


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """Paired metrics in one pass over the pairs; the diversity by itself."""
    paired = [name for name in names if name in PAIRED]
    found = measure_pairs(samples, paired) if paired else {}
    return [found[name] if name in found else measure_diversity(samples, name) for name in names]


def measure_pairs(samples: Samples, names: list[str]) -> dict[str, dict]:
    compare = {"ssim": ssim, "ms_ssim": ms_ssim, "psnr": psnr}
    values: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for _, real, fake in samples.pairs():
        size = max(1, PIXELS // real[0].numel())
        for ours, theirs in zip(real.split(size), fake.split(size), strict=True):
            for name in names:
                values[name].append(compare[name](ours, theirs).numpy())
    return {name: pair_result(samples, name, np.concatenate(values[name])) for name in names}


def pair_result(samples: Samples, name: str, values: np.ndarray) -> dict:
    """Mean over the pairs. A PSNR of infinity has no mean: such pairs are counted and left out of it, and the warning says so."""
    finite = values[np.isfinite(values)]
    same = len(values) - len(finite)
    if not len(finite):
        raise Unavailable("All {count} pairs are equal to the last bit: PSNR is infinite. Check that the folders differ, or ask for ssim.", count=same)
    error = finite.std(ddof=1) / np.sqrt(len(finite)) if len(finite) > 1 else None
    details = {"smallest": float(finite.min()), "median": float(np.median(finite)), "largest": float(finite.max())}
    if name == "psnr":
        details |= {"identical_pairs": same, "of_mean_squared_error": float(-10 * np.log10(np.mean(10 ** (-values / 10))))}
    warnings = (f"{same} of {len(values)} pairs are equal to the last bit: their PSNR is infinite, and the mean is that of the other pairs.",) if same else ()
    return samples.result(
        name, finite.mean(), error, num_real=len(values), num_fake=len(values),
        protocol={**PROTOCOLS[name], "value": "mean of the pairs' values", "error": "standard deviation over the pairs / sqrt(pairs)"},
        details=details, warnings=warnings,
    )  # fmt: skip


# --- pairs of fakes ------------------------------------------------------------------------------------------------------------------------


def draw_pairs(count: int, label: np.ndarray | None, most: int, seed: int) -> np.ndarray:
    """(P, 2) positions, P <= most: random pairs (of one class where labelled), no picture in two of them, so that they are independent."""
    random = np.random.default_rng([5, seed])
    label = np.zeros(count, np.int64) if label is None else label
    groups = [random.permutation(np.flatnonzero(label == one)) for one in np.unique(label)]
    pairs = np.concatenate([group[: len(group) // 2 * 2].reshape(-1, 2) for group in groups])
    return random.permutation(pairs)[:most]


@dataclass(frozen=True)
class Alike:
    """MS-SSIM of ``pairs`` (P, 2) random pairs of a side: ``values`` (P,), over so many ``scales`` with a window of ``window`` pixels."""

    pairs: np.ndarray
    values: np.ndarray
    scales: int
    window: int

    @property
    def error(self) -> float | None:
        """Standard error of the mean: the pairs are independent."""
        return float(self.values.std(ddof=1) / np.sqrt(len(self.values))) if len(self.values) > 1 else None


def alike(side: Side, label: np.ndarray | None, seed: int, most: int = NUM_PAIRS) -> Alike:
    """MS-SSIM of at most ``most`` random pairs of a side, and as many as HELD_BYTES takes. Pictures below 161 pixels have fewer scales, below 11 a smaller
    window."""
    if side.spec is None:
        raise UserError("Pictures of '{data}' differ in size, so pairs of them cannot be compared. Resize them first.", data=side.name)
    size = side.spec.shape
    pairs = draw_pairs(side.count, label, max(1, min(most, HELD_BYTES // (2 * int(np.prod(size))))), seed)
    if not len(pairs):
        raise Unavailable("There are no two samples of one class among the {count} of '{data}'. Draw more samples: -n.", count=side.count, data=side.name)
    scales, width = max(1, scales_for(*size[1:])), min(WINDOW, (min(size[1:]) - 1) // 2 * 2 + 1)
    window, values = window_of(width), np.full(len(pairs), np.nan)
    for index, first, second in meeting(side, pairs):
        values[index] = multiscale(first[None].double(), second[None].double(), scales, window).item()
    read = np.isfinite(values)  # a damaged file's pair is not
    return Alike(pairs[read], values[read], scales, width)


def meeting(side: Side, pairs: np.ndarray) -> Iterator[tuple[int, Tensor, Tensor]]:
    """(which pair, its two pictures) as soon as the stream has brought both."""
    pair_of = {int(position): index for index, pair in enumerate(pairs) for position in pair}
    waiting: dict[int, Tensor] = {}
    for rows, pictures in side.pieces():
        for row, picture in zip(rows, pictures, strict=True):
            index = pair_of.get(int(row))
            if index is None:
                continue
            if index not in waiting:
                waiting[index] = picture.clone()  # a view would keep its whole piece
            else:
                yield index, waiting.pop(index), picture


def measure_diversity(samples: Samples, name: str) -> dict:
    """Fakes among themselves; beside it the reals, with as many pairs where there are as many."""
    theirs = samples.fake.label
    within = theirs is not None and samples.real.label is not None
    fake = alike(samples.fake, theirs, samples.seed)
    real = alike(samples.real, samples.real.label if within else None, 0)
    classes = None if theirs is None else theirs[fake.pairs[:, 0]]
    by_class = {} if classes is None else {str(one): float(fake.values[classes == one].mean()) for one in np.unique(classes)}
    how = f"{len(real.values)} random pairs of real samples{' of one class' if within else ''}; the standard deviation is that of their mean"
    warnings = () if within or theirs is None else ("The fakes are paired within classes and the reals, without labels, are not: the reference is too low.",)
    return samples.result(
        name, fake.values.mean(), fake.error, num_real=samples.real.count, num_fake=samples.fake.count,
        protocol={
            **PROTOCOLS["ms_ssim"], "scales": fake.scales,
            "window": f"{fake.window}x{fake.window} Gaussian, sigma {SIGMA * fake.window / WINDOW:.3g}, where it fits",
            "weights": "the first scales' of five, divided by their sum", "num_pairs": len(fake.values),
            "pairs": "disjoint random pairs" + ("" if theirs is None else " within classes"), "error": "standard deviation over the pairs / sqrt(pairs)",
        },
        reference={"perfect_sampler": {"value": float(real.values.mean()), "standard_deviation": real.error, "how": how}},
        details={"by_class": by_class} if by_class else None, warnings=warnings,
    )  # fmt: skip
