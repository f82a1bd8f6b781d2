"""NIQE: how far a picture's local statistics are from those of undistorted photographs. No reference picture, no opinions of people, no network.

Mittal, Soundararajan and Bovik, 2013, "Making a completely blind image quality analyzer", https://doi.org/10.1109/LSP.2012.2227726. Every pixel of the grey
picture is divided by the contrast round it (mean subtracted, contrast normalised: MSCN, equations 1 to 3); in patches of 96 pixels, an asymmetric generalised
Gaussian is fitted to these and to the products of neighbours in four directions (equations 4 to 8: 18 numbers), at two scales: 36 numbers a patch. A pristine
model is the mean and covariance of those over the sharp patches of undistorted pictures; a picture's value is the distance of its own patches' mean and
covariance from it (equation 10).

The published model was fitted to 125 photographs of their own. Here, as in the paper and with its rule for sharp patches, it is fitted to the real side, so a
number belongs to its data (the fingerprint is in the protocol) and is not to be compared with published ones. Differences: pictures smaller than 96 pixels
have smaller patches (``patch`` in the protocol); a patch without contrast has no statistics and is left out, a picture without any such patch too; the
covariance of a single patch is 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import gammaln
from torch import Tensor
from torch.nn import functional as F

from agon.errors import Unavailable
from agon.metrics.samples import Samples
from agon.metrics.sides import Side
from agon.metrics.ssim import slide

METRICS = {"niqe": "Distance of each fake's local statistics from those of the real pictures, taken for undistorted (lower is better)"}
KINDS = ("image",)
EXTRACTOR = ""
LAYERS = ()
PAIRED = False
LABELLED = False

PATCH, SMALLEST = 96, 16
SHARP = 0.75  # of the sharpest patch of a pristine picture: blurred backgrounds are not what it is judged by
WINDOW, SIGMA = 7, 7 / 6
GREY = (0.298936, 0.587043, 0.114021)  # MATLAB's rgb2gray
FEATURES = 36
FOLDS = 10
SHAPES = np.arange(0.2, 10.0005, 0.001)
"""Shape parameters among which the fit chooses: 2 is a normal distribution, 1 a Laplace distribution."""
SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))
HELD = 1 << 21  # pixels worked on at a time


def ratio(shape: np.ndarray) -> np.ndarray:
    """(E|x|)^2 / E x^2 of a generalised Gaussian: Gamma(2/a)^2 / (Gamma(1/a) Gamma(3/a)), rising in a."""
    return np.exp(2 * gammaln(2 / shape) - gammaln(1 / shape) - gammaln(3 / shape))


RATIOS = ratio(SHAPES)


def fit(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Asymmetric generalised Gaussians by moments (Lasmar et al., 2009): (N, K) samples -> shape, left and right scale (N,) each.

    NaN where a row has no negative or no positive values.
    """
    squares, left, right = values**2, values < 0, values > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = (np.sqrt((squares * part).sum(1) / part.sum(1)) for part in (left, right))
        skew = low / high
        found = np.abs(values).mean(1) ** 2 / squares.mean(1) * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    known = np.isfinite(found) & (low > 0) & (high > 0)
    above = np.clip(np.searchsorted(RATIOS, np.where(known, found, 0.5)), 1, len(RATIOS) - 1)
    nearer = above - (np.abs(RATIOS[above - 1] - found) < np.abs(RATIOS[above] - found))
    shape = np.where(known, SHAPES[nearer], np.nan)
    spread = np.exp(0.5 * (gammaln(1 / shape) - gammaln(3 / shape)))
    return shape, low * spread, high * spread


def normalised(grey: Tensor) -> tuple[Tensor, Tensor]:
    """(N, H, W) float64 in 0..255 -> (MSCN coefficients, local standard deviation), the same size; borders repeated."""
    place = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    window = torch.exp(-(place**2) / (2 * SIGMA**2))
    window = window / window.sum()
    padded = F.pad(grey[:, None], [WINDOW // 2] * 4, mode="replicate")[:, 0]
    mean, square = (slide(slide(part, window, 1), window, 2) for part in (padded, padded**2))
    deviation = (square - mean**2).abs().sqrt()
    return (grey - mean) / (deviation + 1), deviation


def patches(maps: Tensor, size: int) -> np.ndarray:
    """(N, H, W) -> (N, P, size * size), whatever does not fit cut off at the bottom and right."""
    rows, columns = maps.shape[1] // size, maps.shape[2] // size
    cut = maps[:, : rows * size, : columns * size].reshape(len(maps), rows, size, columns, size)
    return cut.transpose(2, 3).reshape(len(maps), rows * columns, size * size).numpy()


def statistics(coefficients: np.ndarray, size: int) -> np.ndarray:
    """(M, size * size) MSCN coefficients of patches -> (M, 18)."""
    shape, low, high = fit(coefficients)
    columns = [shape, (low + high) / 2]
    square = coefficients.reshape(-1, size, size)
    for shift in SHIFTS:
        product = (square * np.roll(square, shift, (1, 2))).reshape(len(square), -1)
        shape, low, high = fit(product)
        columns += [shape, (high - low) * np.exp(gammaln(2 / shape) - gammaln(1 / shape)), low, high]
    return np.stack(columns, 1)


def features(pictures: Tensor, patch: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (N, C, H, W) -> (N, P, 36) numbers of every patch, NaN where one has no contrast, and its sharpness (N, P): mean local deviation."""
    grey = grey_of(pictures)
    height, width = (side // patch * patch for side in grey.shape[1:])
    grey, found, sharpness = grey[:, :height, :width], [], None
    for size in (patch, patch // 2):
        coefficients, deviation = normalised(grey)
        parts = patches(coefficients, size)
        found.append(statistics(parts.reshape(-1, size * size), size).reshape(*parts.shape[:2], -1))
        sharpness = patches(deviation, size).mean(2) if sharpness is None else sharpness
        grey = F.interpolate(grey[:, None], (height // 2, width // 2), mode="bicubic", align_corners=False, antialias=True)[:, 0]
    return np.concatenate(found, 2), sharpness


def grey_of(pictures: Tensor) -> Tensor:
    """uint8 (N, 1, 3 or 4, H, W) -> (N, H, W) float64 luma in 0..255; alpha is ignored."""
    if pictures.shape[1] == 1:
        return pictures[:, 0].double()
    return (pictures[:, :3].double() * torch.tensor(GREY, dtype=torch.float64).view(1, 3, 1, 1)).sum(1)


@dataclass(frozen=True)
class Pristine:
    """Mean (36,) and covariance (36, 36) of the sharp patches of undistorted pictures; how many."""

    mean: np.ndarray
    covariance: np.ndarray
    count: int


def pristine(parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> Pristine:
    """The model of pictures' ``features``, one picture's (P, 36) and (P,) at a time. Raises Unavailable where there are too few patches for it."""
    kept = [rows[sharp > SHARP * sharp.max()] for rows, sharp in parts]
    rows = known(np.concatenate(kept)) if kept else np.empty((0, FEATURES))
    if len(rows) <= FEATURES:
        raise Unavailable("NIQE fits its model to the real pictures, and these have {count} sharp patches. Expected more than {least}: give more or larger "
                          "pictures.", count=len(rows), least=FEATURES)  # fmt: skip
    return Pristine(rows.mean(0), np.cov(rows, rowvar=False), len(rows))


def known(rows: np.ndarray) -> np.ndarray:
    """Those of (P, 36) that have statistics."""
    return rows[np.isfinite(rows).all(1)]


def niqe(rows: np.ndarray, model: Pristine) -> float:
    """A picture's patches (P, 36) -> its distance from the model; NaN where no patch has contrast."""
    rows = known(rows)
    if not len(rows):
        return float("nan")
    spread = np.cov(rows, rowvar=False) if len(rows) > 1 else np.zeros_like(model.covariance)
    off = rows.mean(0) - model.mean
    return float(np.sqrt(max(0.0, off @ np.linalg.pinv((model.covariance + spread) / 2, hermitian=True) @ off)))


def patch_for(*sides: Side) -> int:
    """96, or as many as the smallest picture takes, an even number. Raises Unavailable below 16."""
    least = min(min(side.spec.shape[1:]) for side in sides if side.spec is not None) if any(side.spec is not None for side in sides) else PATCH
    if least < SMALLEST:
        raise Unavailable("NIQE needs pictures of at least {least} pixels a side, these have {found}. Compare larger pictures.", least=SMALLEST, found=least)
    return min(PATCH, least // 2 * 2)


def read(side: Side, patch: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every picture's ``features``. Raises Unavailable where one is smaller than a patch."""
    found = []
    for _, pictures in side.chunks():
        if min(pictures.shape[2:]) < patch:
            raise Unavailable("NIQE works on patches of {patch} pixels, and a picture of '{data}' has {height}x{width}. Leave out smaller pictures or resize "
                              "both sides to one size.", patch=patch, data=side.name, height=pictures.shape[2], width=pictures.shape[3])  # fmt: skip
        for part in pictures.split(max(1, HELD // pictures[0, 0].numel())):
            found += zip(*features(part, patch), strict=True)
    return found


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """Mean over the fakes; beside it the reals, under models that have not seen them."""
    patch = patch_for(samples.real, samples.fake)
    real = read(samples.real, patch)
    model = pristine(real)
    values = np.array([niqe(rows, model) for rows, _ in read(samples.fake, patch)])
    judged = values[np.isfinite(values)]
    if not len(judged):
        raise Unavailable("No fake has a patch with contrast, so NIQE has nothing to judge. Ask for another metric.")
    blank = len(values) - len(judged)
    warnings = (f"{blank} of {len(values)} fakes have no patch with contrast and are left out of the mean.",) if blank else ()
    return [samples.result(
        "niqe", judged.mean(), judged.std(ddof=1) / np.sqrt(len(judged)) if len(judged) > 1 else None, num_real=len(real), num_fake=len(judged),
        protocol={
            "pristine": "the real pictures", "pristine_patches": model.count, "patch": patch, "sharp": SHARP, "window": "7x7 Gaussian, sigma 7/6",
            "grey": "MATLAB's rgb2gray", "scales": 2, "value": "mean over the pictures", "error": "standard deviation over the pictures / sqrt(pictures)",
        },
        reference=held_out(real), details={"median": float(np.median(judged)), "largest": float(judged.max())}, warnings=warnings,
    )]  # fmt: skip


def held_out(real: list[tuple[np.ndarray, np.ndarray]]) -> dict:
    """What other real pictures score: each fold of them under a model of the rest, where that has enough patches. (A model of half of them would be another:
    its covariance has more than 600 numbers.)"""
    order, folds = np.random.default_rng(0).permutation(len(real)), min(FOLDS, len(real))
    values = []
    for fold in range(folds):
        mine = order[fold::folds]
        try:
            model = pristine(real[index] for index in np.setdiff1d(order, mine))
        except Unavailable:
            return {}
        values += [niqe(real[index][0], model) for index in mine]
    found = np.array(values)[np.isfinite(values)]
    if len(found) < 2:
        return {}
    how = f"{folds} folds of the real pictures, each under a model of the others; the standard deviation is that of the mean"
    return {"perfect_sampler": {"value": float(found.mean()), "standard_deviation": float(found.std(ddof=1) / np.sqrt(len(found))), "how": how}}
