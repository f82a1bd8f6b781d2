"""NIQE: the fit on distributions that are known and by its definition, the features by scipy's filter, and photographs that get worse step by step."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from scipy.ndimage import correlate
from scipy.special import gamma

from agon.data import open_dataset
from agon.errors import Unavailable
from agon.metrics.niqe import Pristine, features, fit, grey_of, measure, niqe, normalised, pristine, statistics
from agon.metrics.samples import Samples

pytest.importorskip("skimage")
RANDOM = np.random.default_rng(0)


def half_of(shape, scale, count):
    """Positive samples of density exp(-(x / scale) ** shape)."""
    return scale * RANDOM.gamma(1 / shape, 1, count) ** (1 / shape)


@pytest.mark.parametrize("shape, low, high", [(2.0, 1.0, 1.0), (1.0, 0.5, 0.5), (0.6, 2.0, 1.0), (3.0, 1.0, 4.0)])
def test_the_fit_finds_what_samples_were_drawn_from(shape, low, high):
    many = 400_000
    left = int(many * low / (low + high))  # the density is continuous at 0
    values = np.concatenate([-half_of(shape, low, left), half_of(shape, high, many - left)])[None]
    found = [float(part[0]) for part in fit(values)]
    assert found[0] == pytest.approx(shape, rel=0.03)
    assert found[1:] == pytest.approx([low, high], rel=0.04)


def plain_fit(values):
    """One patch at a time, the grid searched through."""
    grid = np.arange(0.2, 10.0005, 0.001)
    low, high = (np.sqrt(np.mean(part**2)) for part in (values[values < 0], values[values > 0]))
    skew = low / high
    wanted = np.mean(np.abs(values)) ** 2 / np.mean(values**2) * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shape = grid[np.argmin((gamma(2 / grid) ** 2 / (gamma(1 / grid) * gamma(3 / grid)) - wanted) ** 2)]
    spread = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, low * spread, high * spread


def test_all_patches_at_once_are_each_by_itself():
    rows = RANDOM.standard_normal((20, 256)) * np.where(RANDOM.random((20, 256)) < 0.5, 1, 3)
    rows[:, ::2] **= 3
    expected = np.array([plain_fit(row) for row in rows])
    np.testing.assert_allclose(np.stack(fit(rows), 1), expected, rtol=1e-9)
    square = RANDOM.standard_normal((8, 8))
    by_hand = []
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
        shape, low, high = plain_fit((square * np.roll(square, shift, (0, 1))).ravel())
        by_hand += [shape, (high - low) * gamma(2 / shape) / gamma(1 / shape), low, high]
    shape, low, high = plain_fit(square.ravel())
    np.testing.assert_allclose(statistics(square.reshape(1, -1), 8)[0], [shape, (low + high) / 2, *by_hand], rtol=1e-9)


def test_contrast_is_taken_off_as_published():
    """Equations 1 to 3 with scipy's filter."""
    grey = RANDOM.uniform(0, 255, (20, 23))
    axis = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    window = np.outer(axis, axis) / axis.sum() ** 2
    mean = correlate(grey, window, mode="nearest")
    deviation = np.sqrt(np.abs(correlate(grey**2, window, mode="nearest") - mean**2))
    coefficients, found = normalised(torch.from_numpy(grey)[None])
    np.testing.assert_allclose(found[0], deviation, atol=1e-9)
    np.testing.assert_allclose(coefficients[0], (grey - mean) / (deviation + 1), atol=1e-10)


def test_grey_is_luma():
    colours = torch.tensor([[[[255]], [[0]], [[0]]], [[[0]], [[255]], [[0]]], [[[0]], [[0]], [[255]]]], dtype=torch.uint8)
    assert grey_of(colours).flatten().tolist() == pytest.approx([76.23, 149.70, 29.08], abs=0.01)
    assert torch.equal(grey_of(colours[:, :1]), colours[:, 0].double())


def test_the_distance_is_equation_10():
    rows, model = RANDOM.standard_normal((50, 36)), Pristine(RANDOM.standard_normal(36), np.diag(RANDOM.uniform(1, 2, 36)), 99)
    off = rows.mean(0) - model.mean
    expected = np.sqrt(off @ np.linalg.inv((np.cov(rows.T) + model.covariance) / 2) @ off)
    assert niqe(rows, model) == pytest.approx(expected) and niqe(rows[:1], model) == pytest.approx(
        np.sqrt(2 * ((rows[0] - model.mean) ** 2 / np.diag(model.covariance)).sum()))  # fmt: skip


@pytest.fixture(scope="module")
def photographs():
    """The model of 11 photographs, and a 288x384 part of five others."""
    parts = [features(part[None, :, :480, :480], 96) for part in open_dataset("photos").pictures]
    model = pristine((rows[0], sharp[0]) for rows, sharp in parts)
    return model, [picture[:, :288, :384].permute(1, 2, 0).numpy() for picture in open_dataset("photos", split="test").pictures]


def jpeg(picture, quality):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


DAMAGE = {
    "blur": (lambda picture, sigma: np.array(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(sigma))), (1.5, 3, 5)),
    "noise": (lambda picture, sigma: (picture + np.random.default_rng(1).normal(0, sigma, picture.shape)).clip(0, 255).astype(np.uint8), (8, 20, 50)),
    "jpeg": (jpeg, (60, 20, 5)),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_seen_the_more_of_it_there_is(photographs, name):
    model, pictures = photographs
    damage, strengths = DAMAGE[name]
    steps = [pictures, *([damage(picture, strength) for picture in pictures] for strength in strengths)]
    values = [np.mean([niqe(features(torch.from_numpy(one.copy()).permute(2, 0, 1)[None], 96)[0][0], model) for one in step]) for step in steps]
    assert values == sorted(values) and values[-1] > 1.5 * values[0], values


def textures(count, side=64, seed=0):
    """Noise with a spectrum like that of photographs."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    frequency[0, 0] = 1
    waves = np.fft.ifft2(np.fft.fft2(random.standard_normal((count, side, side))) / frequency).real
    return torch.from_numpy((128 + 40 * waves / waves.std()).clip(0, 255).astype(np.uint8))[:, None]


def test_the_metric_and_its_reference():
    """Equal sides score what held-out reals do; smaller pictures have smaller patches; flat ones are left out and counted."""
    real, fake = textures(120), textures(40, seed=1)
    (result,) = measure(Samples.of_arrays(real, fake), ["niqe"])
    perfect = result["reference"]["perfect_sampler"]
    assert result["protocol"]["patch"] == 64 and result["protocol"]["pristine_patches"] == 120
    assert abs(result["value"] - perfect["value"]) < 0.25 * perfect["value"]
    (noisy,) = measure(Samples.of_arrays(real, textures(40, seed=1) // 64 * 64), ["niqe"])
    assert noisy["value"] > 1.5 * result["value"]
    (other,) = measure(Samples.of_arrays(real.flip(0), torch.cat([fake.flip(0), torch.full_like(fake[:3], 90)])), ["niqe"])
    assert other["value"] == pytest.approx(result["value"]) and other["num_fake"] == 40 and "3 of 43" in other["warnings"][0]


@pytest.mark.parametrize("real, fake, word", [
    (textures(40, 14), textures(40, 14), "at least 16 pixels"), (textures(30), textures(30), "30 sharp patches"),
    (textures(60), torch.zeros(3, 1, 64, 64, dtype=torch.uint8), "no fake has a patch"),
])  # fmt: skip
def test_what_cannot_be_judged_is_said(real, fake, word):
    with pytest.raises(Unavailable, match=f"(?i){word}"):
        measure(Samples.of_arrays(real, fake), ["niqe"])
