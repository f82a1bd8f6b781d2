"""Equivariance: how far moving a generator's input moves its picture and changes nothing else.

Karras et al., 2021 (StyleGAN3), https://arxiv.org/abs/2106.12423, section 3 and appendix E: the peak signal-to-noise ratio, in decibels, between the picture
that the generator draws with its input moved and its unmoved picture moved afterwards: 10 log10(2^2 / mean squared difference) for pictures in [-1, 1], the
mean over all pixels that both know, of all pictures. ``eq_t``: translations by whole pixels up to an eighth of the side along each axis; ``eq_t_frac``: by
any fraction, the unmoved picture being interpolated with a Lanczos filter (a = 3); ``eq_r``: rotations by any angle, the unmoved picture being rotated with a
filter that keeps to the band limits before and after the turn, the other one filtered as if it had been rotated (appendix E.3).

As in the authors' code the mean squared difference is taken over everything before the logarithm; unlike it, sides may differ (a translation reaches an
eighth of each, a rotation is one in pixels) and a picture that is exactly equivariant scores 120 dB.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from agon.errors import Unavailable
from agon.layers.resample import upfirdn2d
from agon.metrics.bootstrap import bootstrap
from agon.metrics.samples import Samples

METRICS = {
    "eq_t": "Equivariance to translation by whole pixels, EQ-T of StyleGAN3, in dB (higher is better)",
    "eq_t_frac": "Equivariance to translation by parts of pixels, in dB (higher is better)",
    "eq_r": "Equivariance to rotation, EQ-R of StyleGAN3, in dB (higher is better)",
}
KINDS = ("image",)
EXTRACTOR = ""
LAYERS = ()
BATCH = 4  # pictures that get the same motion
FURTHEST = 0.125  # of a side
LANCZOS = 3
FINER = 4  # steps between two pixels in which a rotated picture is looked up
REACH = 64  # pixels to which the ideal filters are computed
SMALLEST = 1e-12  # mean squared difference that counts: rounding

Draw = Callable[[Tensor | None], Tensor]
Errors = tuple[Tensor, Tensor]


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """As many pictures as there are fakes, with their classes; error by bootstrap over the motions."""
    game, transform = generator_of(samples.generator)
    return [result(samples, name, game, transform) for name in names]


def generator_of(game: Any) -> tuple[Any, Tensor]:
    """(game, the buffer that moves its generator's input). Raises Unavailable where there is none."""
    network = getattr(game, "generator", None)
    transform = getattr(getattr(getattr(network, "synthesis", None), "input", None), "transform", None)
    if not isinstance(transform, Tensor) or not all(hasattr(game, name) for name in ("draw_latent", "mapping", "from_w")):
        raise Unavailable(
            "Equivariance moves the input of a generator that can be moved (synthesis.input.transform), and there is none. Evaluate a run of such a game: "
            "agon evaluate RUN --metrics eq_t,eq_r."
        )
    return game, transform


def result(samples: Samples, name: str, game: Any, transform: Tensor) -> dict:
    label = None if samples.fake.label is None else torch.from_numpy(samples.fake.label)
    sums = equivariance(name, game, transform, count=samples.fake.count, seed=samples.seed, label=label)
    return samples.result(
        name, decibels(sums), bootstrap(decibels, sums), num_real=0, num_fake=samples.fake.count,
        protocol={
            "motion": {"eq_t": "whole pixels", "eq_t_frac": "parts of pixels", "eq_r": "rotation, any angle"}[name], "furthest": FURTHEST,
            "pictures_of_a_motion": BATCH, "lanczos": LANCZOS, "range": "[-1, 1], not clamped", "error": "bootstrap over the motions, 200 resamples",
        },
        details={"mean_squared_difference": float(sums[:, 0].sum() / sums[:, 1].sum())},
    )  # fmt: skip


def decibels(sums: np.ndarray) -> float:
    """(motions, 2) sums of squared differences and of the pixels they are of -> peak signal-to-noise ratio for a range of 2."""
    return float(10 * math.log10(4 / max(sums[:, 0].sum() / sums[:, 1].sum(), 4 * SMALLEST)))


@torch.no_grad()
def equivariance(name: str, game: Any, transform: Tensor, *, count: int, seed: int = 0, label: Tensor | None = None) -> np.ndarray:
    """(motions, 2) float64: the sum of squared differences between moved pictures and pictures moved, and how many pixels count.

    ``game`` has ``draw_latent(n, generator)``, ``mapping(latent[, label])`` and ``from_w(w)``, which obeys ``transform``, (3, 3): the inverse of the motion,
    with translations in units of the shorter side. It is the identity afterwards as before.
    """
    random = torch.Generator().manual_seed(seed)
    compare, kept, found = {"eq_t": whole, "eq_t_frac": part, "eq_r": turned}[name], transform.clone(), []
    for start in range(0, count, BATCH):
        n = min(BATCH, count - start)
        w = game.mapping(game.draw_latent(n, random), *(() if label is None else (label[start : start + n],)))
        numbers = torch.rand(2, generator=random, dtype=torch.float64) * 2 - 1

        def draw(inverse: Tensor | None, w: Tensor = w) -> Tensor:
            transform.copy_(torch.eye(3) if inverse is None else inverse)
            return game.from_w(w).float()

        try:
            difference, mask = compare(draw, numbers)
        finally:
            transform.copy_(kept)
        found.append([(difference.double().square() * mask).sum().item(), mask.double().expand_as(difference).sum().item()])
    return np.array(found)


def whole(draw: Draw, numbers: Tensor) -> Errors:
    """T_x of appendix E.1."""
    still = draw(None)
    height, width = still.shape[2:]
    x, y = (round(number * FURTHEST * side) for number, side in zip(numbers.tolist(), (width, height), strict=True))
    moved = draw(shift(x, y, min(height, width)))
    expected, mask = (F.pad(t, (x, -x, y, -y)) for t in (still, torch.ones_like(still[:1, :1])))  # zeros come in, the rest goes out
    return moved - expected, mask


def part(draw: Draw, numbers: Tensor) -> Errors:
    """T_x of appendix E.2: the unmoved picture through a Lanczos filter at the fraction, pixels that would need others from outside left out."""
    still = draw(None)
    height, width = still.shape[2:]
    x, y = (number * FURTHEST * side for number, side in zip(numbers.tolist(), (width, height), strict=True))
    moved = draw(shift(x, y, min(height, width)))
    expected, known = still, torch.ones_like(still[:1, :1])
    for axis, distance in ((3, x), (2, y)):
        steps, fraction = math.floor(distance), distance - math.floor(distance)
        taps = torch.arange(1 - LANCZOS, LANCZOS + 1, dtype=torch.float64) - fraction
        kernel = (torch.sinc(taps) * torch.sinc(taps / LANCZOS)).float().to(still.device)
        pads = (LANCZOS + steps, LANCZOS - 1 - steps)
        pads = (*pads, 0, 0) if axis == 3 else (0, 0, *pads)
        shape = (1, -1) if axis == 3 else (-1, 1)
        expected = upfirdn2d(expected, (kernel / kernel.sum()).view(shape), padding=pads)
        known = upfirdn2d(known, torch.ones_like(kernel).view(shape) / len(kernel), padding=pads)
    return moved - expected, (known > 1 - 1e-4).float()


def shift(x: float, y: float, unit: int) -> Tensor:
    """The inverse of a translation by (x, y) pixels."""
    return torch.tensor([[1.0, 0.0, -x / unit], [0.0, 1.0, -y / unit], [0.0, 0.0, 1.0]])


def turned(draw: Draw, numbers: Tensor) -> Errors:
    """R_a and R*_a of appendix E.3."""
    angle = math.pi * numbers[0].item()
    still = draw(None)
    cos, sin = math.cos(angle), math.sin(angle)
    moved = draw(torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]))
    expected, known = rotate(still, angle)
    found, also = as_if_rotated(moved, angle)
    return found - expected, known * also


def rotate(pictures: Tensor, angle: float) -> Errors:
    """Pictures turned counter-clockwise by ``angle`` (radians) with the band limits of both grids, and which pixels know all they need (1, 1, H, W)."""
    height, width = pictures.shape[2:]
    kernel = band_limit(angle, FINER).to(pictures)
    reach = len(kernel) // 2
    # the middle of pixel k is index FINER k + reach + FINER // 2 of the fine grid
    pad = 2 * reach + FINER // 2
    fine = upfirdn2d(pictures, kernel, up=FINER, padding=(pad, pad - FINER, pad, pad - FINER), gain=FINER**2)
    x = torch.arange(width, dtype=torch.float64) + 0.5 - width / 2
    y = (torch.arange(height, dtype=torch.float64) + 0.5 - height / 2)[:, None]
    cos, sin = math.cos(angle), math.sin(angle)
    place = torch.stack([cos * x - sin * y + width / 2 - 0.5, sin * x + cos * y + height / 2 - 0.5], 2) * FINER + reach + FINER // 2
    size = torch.tensor([fine.shape[3], fine.shape[2]])
    grid = (2 * place / (size - 1) - 1).to(pictures)[None]
    known = torch.zeros_like(fine[:1, :1])
    border = 2 * reach + 1
    known[:, :, border:-border, border:-border] = 1
    turned = F.grid_sample(fine, grid.expand(len(fine), -1, -1, -1), "bilinear", "zeros", align_corners=True)
    return turned, F.grid_sample(known, grid, "nearest", "zeros", align_corners=True)


def as_if_rotated(pictures: Tensor, angle: float) -> Errors:
    """Pictures with the frequencies that they would have had, had they come by a rotation by ``angle``; the mask leaves the border out."""
    kernel = band_limit(-angle, 1).to(pictures)
    reach = len(kernel) // 2
    mask = torch.zeros_like(pictures[:1, :1])
    mask[:, :, reach:-reach, reach:-reach] = 1
    return upfirdn2d(pictures, kernel, padding=(reach,) * 4), mask


def band_limit(angle: float, finer: int) -> Tensor:
    """(k, k) float32, of sum 1, k odd: the convolution of the ideal low-pass filters of a pixel grid and of one rotated by ``angle``, windowed by the
    convolution of both grids' Lanczos windows; ``finer`` taps a pixel, to twice LANCZOS pixels."""
    place = torch.fft.ifftshift(torch.arange(1 - REACH * finer, REACH * finer, dtype=torch.float64) / finer)  # 0 first, as the transforms want it
    x, y = place[None], place[:, None]
    turned_x, turned_y = math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x

    def window(at: Tensor) -> Tensor:
        return torch.where(at.abs() < LANCZOS, torch.sinc(at / LANCZOS), 0.0)

    def convolve(one: Tensor, other: Tensor) -> Tensor:
        return torch.fft.ifft2(torch.fft.fft2(one) * torch.fft.fft2(other)).real

    ideal = convolve(torch.sinc(x) * torch.sinc(y), torch.sinc(turned_x) * torch.sinc(turned_y))
    kernel = torch.fft.fftshift(ideal * convolve(window(x) * window(y), window(turned_x) * window(turned_y)))
    cut = (REACH - 2 * LANCZOS) * finer
    kernel = F.pad(kernel[cut:-cut, cut:-cut], (0, 1, 0, 1)).unflatten(0, (-1, finer)).unflatten(2, (-1, finer))
    kernel = kernel / kernel.sum((0, 2), keepdim=True) / finer**2  # each of the interleaved filters passes a constant unchanged
    return kernel.flatten(2, 3).flatten(0, 1)[:-1, :-1].float()
