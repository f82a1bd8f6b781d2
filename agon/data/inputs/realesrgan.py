"""Pictures spoilt the way photographs on the net are, twice over, and reduced: ``realesrgan:4`` (the default), ``realesrgan:2``, ``realesrgan:1`` ...

Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data (Wang et al., 2021), https://arxiv.org/abs/2107.10833, section 3; numbers as
in https://github.com/xinntao/Real-ESRGAN (options/train_realesrgan_x4plus.yml). The sharpened picture (:func:`sharpened`) is blurred, resized, made noisy and
packed as JPEG; then blurred (4 times in 5), resized, made noisy, and, in random order, packed as JPEG or brought to its final size and filtered by a
sinc kernel (4 times in 5). Kernels: isotropic and anisotropic Gaussians, generalised ones, plateaus and sincs, 7 to 21 pixels wide.

Everything random comes from the sample's own generator. Differences: JPEG is Pillow's own, not a differentiable stand-in; the colour of noise is decided
for each sample, not for a batch; there is no pool that mixes samples of several batches; pictures that are neither grey nor RGB are packed channel by channel.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from agon.data.inputs import Recipe
from agon.data.inputs.downscale import factor_of
from agon.data.source import Source

KINDS = (("iso", 0.45), ("aniso", 0.25), ("generalised_iso", 0.12), ("generalised_aniso", 0.03), ("plateau_iso", 0.12), ("plateau_aniso", 0.03))
"""Kind of a Gaussian kernel -> its probability."""
SIZES = range(7, 22, 2)
MODES = ("area", "bilinear", "bicubic")
SINC, FINAL_SINC, SECOND_BLUR = 0.1, 0.8, 0.8
"""Probabilities of a sinc kernel in place of a Gaussian one, of the last sinc filter, and of any blur in the second round."""
QUALITY = (30.0, 95.0)
LUMA = (0.2989, 0.587, 0.114)


@dataclass(frozen=True)
class Round:
    """The ranges of one round: of a kernel's standard deviations, its exponent (generalised, plateau), the resizing (with the probabilities of up, down,
    none), Gaussian noise in levels of 255, Poisson noise as a factor, and the probabilities of Gaussian (else Poisson) and grey noise."""

    sigma: tuple[float, float]
    resize: tuple[float, float]
    directions: tuple[float, float, float]
    gaussian: tuple[float, float]
    poisson: tuple[float, float]
    beta: tuple[float, float] = (0.5, 4.0)
    plateau: tuple[float, float] = (1.0, 2.0)
    is_gaussian: float = 0.5
    is_grey: float = 0.4


FIRST = Round((0.2, 3.0), (0.15, 1.5), (0.2, 0.7, 0.1), (1.0, 30.0), (0.05, 3.0))
SECOND = Round((0.2, 1.5), (0.3, 1.2), (0.3, 0.4, 0.3), (1.0, 25.0), (0.05, 2.5))


class Dice:
    """Random numbers of one sample."""

    def __init__(self, generator: torch.Generator):
        self.generator = generator

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def chance(self, probability: float) -> bool:
        return self.uniform() < probability

    def pick(self, items: tuple | range):
        return items[min(len(items) - 1, int(self.uniform() * len(items)))]

    def weighted(self, pairs: tuple[tuple[str, float], ...]) -> str:
        at = self.uniform(0, sum(weight for _, weight in pairs))
        for name, weight in pairs:
            at -= weight
            if at < 0:
                return name
        return pairs[-1][0]


def open_recipe(parameter: str, base: Source) -> Recipe:
    """``parameter``: by how much inputs are smaller, a whole number from 1 on that divides both sides."""
    factor = factor_of("realesrgan", parameter, base)
    channels, height, width = base.spec.shape

    def make(real: Tensor, indices: np.ndarray, draws) -> Tensor:
        sharp = sharpened((real + 1) / 2)
        return torch.cat([real.new_zeros(0, *shape), *(degraded(sharp[i : i + 1], factor, Dice(draws(i))) for i in range(len(sharp)))])

    shape = (channels, height // factor, width // factor)
    return Recipe("picture", shape, make)


def degraded(x: Tensor, factor: int, dice: Dice) -> Tensor:
    """(1, C, H, W) in [0, 1], sharpened -> (1, C, H / factor, W / factor) in [-1, 1], on the levels of 8 bits."""
    height, width = x.shape[2:]
    small = (height // factor, width // factor)
    x = filtered(x, blur_kernel(FIRST, dice))
    x = resized(x, (height, width), FIRST, dice)
    x = packed(noisy(x, FIRST, dice), dice.uniform(*QUALITY))
    if dice.chance(SECOND_BLUR):
        x = filtered(x, blur_kernel(SECOND, dice))
    x = resized(x, small, SECOND, dice)
    x = noisy(x, SECOND, dice)
    last = sinc_kernel(dice.pick(SIZES), dice.uniform(math.pi / 3, math.pi)) if dice.chance(FINAL_SINC) else None
    if dice.chance(0.5):
        x = filtered(interpolated(x, small, dice.pick(MODES)), last)
        x = packed(x, dice.uniform(*QUALITY))
    else:
        x = packed(x, dice.uniform(*QUALITY))
        x = filtered(interpolated(x, small, dice.pick(MODES)), last)
    return (x * 255).round().clamp(0, 255) / 127.5 - 1


# --- kernels --------------------------------------------------------------------------------------------------------------------------


def blur_kernel(ranges: Round, dice: Dice) -> Tensor:
    """(k, k) of sum 1, of a kind, size and form drawn from ``ranges``."""
    size = dice.pick(SIZES)
    if dice.chance(SINC):
        return sinc_kernel(size, dice.uniform(math.pi / (3 if size < 13 else 5), math.pi))
    kind = dice.weighted(KINDS)
    first = dice.uniform(*ranges.sigma)
    second, angle = (first, 0.0) if kind.endswith("_iso") or kind == "iso" else (dice.uniform(*ranges.sigma), dice.uniform(-math.pi, math.pi))
    span = ranges.plateau if kind.startswith("plateau") else ranges.beta
    exponent = 1.0
    if kind.startswith(("generalised", "plateau")):  # half of the draws below 1, half above, as there
        exponent = dice.uniform(span[0], 1) if dice.chance(0.5) else dice.uniform(1, span[1])
    return gaussian_kernel(size, first, second, angle, exponent, kind.startswith("plateau"))


def gaussian_kernel(size: int, first: float, second: float, angle: float = 0.0, exponent: float = 1.0, plateau: bool = False) -> Tensor:
    """(size, size) float32 of sum 1: exp(-q^b / 2), or 1 / (q^b + 1) for a plateau, where q = x' S^-1 x and S has the standard deviations ``first`` along
    the direction ``angle`` (radians, from x towards y) and ``second`` across it, in pixels."""
    at = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    y, x = torch.meshgrid(at, at, indexing="ij")
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    q = ((along / first).square() + (across / second).square()) ** exponent
    kernel = 1 / (q + 1) if plateau else torch.exp(-q / 2)
    return (kernel / kernel.sum()).float()


def sinc_kernel(size: int, cutoff: float) -> Tensor:
    """(size, size) float32 of sum 1: the ideal round low-pass with ``cutoff`` radians a pixel, w J1(w r) / (2 pi r)."""
    at = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    radius = (at[:, None].square() + at.square()).sqrt()
    kernel = cutoff * torch.special.bessel_j1(cutoff * radius) / (2 * math.pi * radius.clamp_min(1e-9))
    kernel = torch.where(radius == 0, cutoff**2 / (4 * math.pi), kernel)
    return (kernel / kernel.sum()).float()


def filtered(x: Tensor, kernel: Tensor | None) -> Tensor:
    """(1, C, H, W) correlated with (k, k), mirrored at the border (or its edge repeated, where the picture is smaller than the kernel reaches)."""
    if kernel is None:
        return x
    reach = kernel.shape[-1] // 2
    mode = "reflect" if reach < min(x.shape[2:]) else "replicate"
    around = F.pad(x, (reach,) * 4, mode=mode)
    return F.conv2d(around.transpose(0, 1), kernel[None, None]).transpose(0, 1)


# --- resizing, noise, packing ---------------------------------------------------------------------------------------------------------


def resized(x: Tensor, size: tuple[int, int], ranges: Round, dice: Dice) -> Tensor:
    """Resized to ``size`` times a factor from ``ranges``, by a way drawn too."""
    direction = dice.weighted(tuple(zip(("up", "down", "keep"), ranges.directions, strict=True)))
    bounds = {"up": (1.0, ranges.resize[1]), "down": (ranges.resize[0], 1.0), "keep": (1.0, 1.0)}[direction]
    factor = dice.uniform(*bounds)
    return interpolated(x, tuple(max(1, int(side * factor)) for side in size), dice.pick(MODES))


def interpolated(x: Tensor, size: tuple[int, ...], mode: str) -> Tensor:
    """By the mean of the area, or bilinear or bicubic without antialiasing, as there."""
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return F.interpolate(x, size, mode=mode, **({} if mode == "area" else {"align_corners": False}))


def noisy(x: Tensor, ranges: Round, dice: Dice) -> Tensor:
    """Plus Gaussian or Poisson noise, the same for all channels or of each its own, bounded to [0, 1]."""
    grey = dice.chance(ranges.is_grey)
    if dice.chance(ranges.is_gaussian):
        shape = (1, 1, *x.shape[2:]) if grey else x.shape
        noise = torch.randn(shape, generator=dice.generator) * (dice.uniform(*ranges.gaussian) / 255)
    else:
        noise = poisson_noise(greyed(x) if grey else x, dice) * dice.uniform(*ranges.poisson)
    return (x + noise).clamp(0, 1)


def poisson_noise(x: Tensor, dice: Dice) -> Tensor:
    """What counting photons adds, of as many as the picture has levels (rounded up to a power of 2)."""
    levels = (x * 255).round().clamp(0, 255)
    photons = 2.0 ** math.ceil(math.log2(len(levels.unique())))
    return torch.poisson(levels / 255 * photons, generator=dice.generator) / photons - levels / 255


def greyed(x: Tensor) -> Tensor:
    """(1, C, H, W) -> (1, 1, H, W): the luma of RGB, the mean of anything else."""
    weights = x.new_tensor(LUMA) if x.shape[1] == 3 else x.new_full((x.shape[1],), 1 / x.shape[1])
    return (x * weights.view(1, -1, 1, 1)).sum(1, keepdim=True)


def packed(x: Tensor, quality: float) -> Tensor:
    """Through JPEG of a quality and back, on the levels of 8 bits."""
    from PIL import Image

    levels = (x[0] * 255).round().clamp(0, 255).to(torch.uint8)
    parts = [levels] if len(levels) in (1, 3) else list(levels[:, None])
    made = []
    for part in parts:
        file = io.BytesIO()
        pixels = part.permute(1, 2, 0).numpy() if len(part) == 3 else part[0].numpy()
        Image.fromarray(np.ascontiguousarray(pixels)).save(file, "JPEG", quality=round(quality))
        back = np.array(Image.open(file))
        made.append(torch.from_numpy(back).permute(2, 0, 1) if back.ndim == 3 else torch.from_numpy(back)[None])
    return torch.cat(made)[None].float() / 255


# --- sharpening -----------------------------------------------------------------------------------------------------------------------


def sharpened(x: Tensor, weight: float = 0.5, radius: int = 50, threshold: float = 10.0) -> Tensor:
    """Unsharp masking of (N, C, H, W) in [0, 1]: the picture plus ``weight`` times what a Gaussian blur takes away, where that is more than ``threshold``
    levels of 255 (softened by the same blur), as Real-ESRGAN sharpens what it learns from. The blur's kernel is ``radius`` + 1 wide."""
    size = radius + 1 - radius % 2
    blur = usual_gaussian(size)
    residual = x - separably(x, blur)
    mask = separably((residual.abs() * 255 > threshold).float(), blur)
    return mask * (x + weight * residual).clamp(0, 1) + (1 - mask) * x


def usual_gaussian(size: int) -> Tensor:
    """(size,) of sum 1, with the standard deviation that OpenCV takes for a kernel of that size: 0.3 ((size - 1) / 2 - 1) + 0.8."""
    sigma = 0.3 * ((size - 1) / 2 - 1) + 0.8
    taps = torch.exp(-(torch.arange(size, dtype=torch.float64) - (size - 1) / 2).square() / (2 * sigma**2))
    return (taps / taps.sum()).float()


def separably(x: Tensor, taps: Tensor) -> Tensor:
    """Every channel filtered along both sides, mirrored at the border (the edge repeated where the picture is smaller than that)."""
    reach = len(taps) // 2
    flat = x.reshape(-1, 1, *x.shape[2:])
    mode = "reflect" if reach < min(x.shape[2:]) else "replicate"
    flat = F.conv2d(F.pad(flat, (reach,) * 4, mode=mode), taps.to(x)[None, None, None])
    return F.conv2d(flat, taps.to(x)[None, None, :, None]).view_as(x)
