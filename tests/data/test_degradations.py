"""Oracles: Pillow itself for the reduction; kernels from matrices and integrals; plain loops; moments of noise; whoever reads a sample reads the same."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from agon.data import open_dataset
from agon.data.inputs import open_recipe, realesrgan
from agon.data.inputs.downscale import reduced
from agon.data.inputs.realesrgan import Dice, degraded, filtered, gaussian_kernel, noisy, packed, poisson_noise, sharpened, sinc_kernel
from agon.data.source import ArraySource, DataSpec, to_float
from agon.errors import UserError


def levels(x):
    return ((x + 1) * 127.5).round().to(torch.uint8)


def dice(seed=0):
    return Dice(torch.Generator().manual_seed(seed))


def noise_data(shape=(3, 16, 24), n=6):
    return ArraySource("noise", DataSpec("image", shape), np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8))


@pytest.mark.parametrize(("height", "width", "factor"), [(96, 96, 4), (30, 45, 3), (64, 50, 2), (8, 8, 4), (7, 14, 7), (5, 6, 1), (40, 24, 8)])
def test_reduction_is_pillows_to_the_last_bit(height, width, factor):
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    pixels[: height // 2] = (pixels[: height // 2] > 128) * 255  # overshoots are cut
    wanted = np.asarray(Image.fromarray(pixels).resize((width // factor, height // factor), Image.Resampling.BICUBIC))
    got = reduced(to_float(torch.from_numpy(pixels)).permute(2, 0, 1)[None], factor)
    assert np.array_equal(levels(got)[0].permute(1, 2, 0).numpy(), wanted)


@pytest.mark.parametrize("name", ["downscale", "realesrgan"])
def test_recipes_take_any_channels_and_refuse_what_does_not_divide(name):
    for channels in (1, 2, 3, 4):
        source = open_dataset(noise_data((channels, 16, 24)), input=f"{name}:4")
        batch = source.read(np.arange(3))
        assert source.spec.source_shape == (channels, 4, 6) and batch.source.shape == (3, channels, 4, 6) and source.spec.source_kind == "picture"
        assert torch.equal(batch.source, to_float(levels(batch.source)))  # on the levels of 8 bits
    assert open_recipe(name, noise_data()).shape == (3, 4, 6) and open_recipe(f"{name}:2", noise_data()).shape == (3, 8, 12)
    assert open_recipe(f"{name}:8", noise_data((1, 8, 8))).make(torch.zeros(0, 1, 8, 8), np.arange(0), None).shape == (0, 1, 1, 1)
    for wrong, words in ((f"{name}:5", "multiples"), (f"{name}:0", "whole factor"), (f"{name}:x", "whole factor")):
        with pytest.raises(UserError, match=words):
            open_recipe(wrong, noise_data())


def test_a_sample_is_degraded_alike_in_every_batch_and_anew_in_every_epoch():
    source = open_dataset(noise_data(), input="realesrgan:2")
    together, alone = source.read(np.arange(6), seed=1, epoch=2).source, source.read(np.array([4]), seed=1, epoch=2).source
    assert torch.allclose(together[4:5], alone, atol=1.01 / 127.5)  # sums of another order may round to the next level
    assert not torch.equal(alone, source.read(np.array([4]), seed=1, epoch=3).source)
    assert not torch.equal(alone, source.read(np.array([4]), seed=2, epoch=2).source)


def test_many_draws_stay_pictures():
    x = torch.rand(1, 3, 32, 24)
    made = [degraded(x, 2, dice(seed)) for seed in range(60)]
    assert all(m.shape == (1, 3, 16, 12) and m.isfinite().all() and m.abs().max() <= 1 for m in made)
    assert len({levels(m).numpy().tobytes() for m in made}) == 60


@pytest.mark.parametrize("plateau", [False, True])
def test_kernels_are_densities_of_a_turned_covariance(plateau):
    size, first, second, angle, exponent = 9, 2.5, 0.8, 0.6, 1.7
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    inverse = np.linalg.inv(turn @ np.diag([first**2, second**2]) @ turn.T)
    expected = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            at = np.array([j - 4, i - 4])
            q = (at @ inverse @ at) ** exponent
            expected[i, j] = 1 / (q + 1) if plateau else math.exp(-q / 2)
    got = gaussian_kernel(size, first, second, angle, exponent, plateau)
    np.testing.assert_allclose(got, expected / expected.sum(), rtol=1e-5, atol=1e-9)


def test_the_sinc_kernel_is_the_transform_of_a_disc():
    cutoff, step = 1.9, 0.02
    w = np.arange(-cutoff, cutoff + step, step)
    inside = (w[:, None] ** 2 + w**2) <= cutoff**2
    at = np.arange(7) - 3
    kernel = np.array([[(inside * np.cos(w[:, None] * i + w * j)).sum() * step**2 for j in at] for i in at]) / (4 * math.pi**2)
    np.testing.assert_allclose(sinc_kernel(7, cutoff), kernel / kernel.sum(), atol=2e-3)


def test_drawn_kernels_sum_to_one_and_keep_to_their_ranges():
    sizes, widths = set(), []
    for seed in range(300):
        kernel = realesrgan.blur_kernel(realesrgan.FIRST, dice(seed))
        sizes.add(len(kernel))
        assert abs(float(kernel.sum()) - 1) < 1e-5 and torch.allclose(kernel, kernel.flip(0, 1), atol=1e-6)
        widths.append(float(kernel.max()))
    assert sizes == {7, 9, 11, 13, 15, 17, 19, 21}
    assert min(widths) < 0.02 and max(widths) > 0.9  # from wide ones to none at all
    shares = [sum(dice(seed).weighted(realesrgan.KINDS) == kind for seed in range(1000)) / 1000 for kind, _ in realesrgan.KINDS]
    assert all(abs(share - wanted) < 0.05 for share, (_, wanted) in zip(shares, realesrgan.KINDS, strict=True))


def test_filtering_by_hand():
    x, kernel = torch.rand(1, 2, 6, 5), torch.rand(3, 3)
    around = np.pad(x[0].numpy(), ((0, 0), (1, 1), (1, 1)), mode="reflect")
    expected = [[[(around[c, i : i + 3, j : j + 3] * kernel.numpy()).sum() for j in range(5)] for i in range(6)] for c in range(2)]
    np.testing.assert_allclose(filtered(x, kernel)[0], expected, rtol=1e-5)
    assert torch.allclose(filtered(torch.full((1, 1, 2, 2), 0.3), gaussian_kernel(21, 3, 3)), torch.tensor(0.3))


def test_noise_has_the_moments_that_were_drawn():
    ranges = realesrgan.Round((1, 1), (1, 1), (0, 0, 1), (20.0, 20.0), (1.0, 1.0), is_gaussian=1.0, is_grey=1.0)
    x = torch.full((1, 3, 64, 64), 0.5)
    added = noisy(x, ranges, dice()) - x
    assert abs(float(added.std()) * 255 - 20) < 1 and torch.allclose(added[:, 0], added[:, 2])
    coloured = noisy(x, realesrgan.Round((1, 1), (1, 1), (0, 0, 1), (20.0, 20.0), (1.0, 1.0), is_gaussian=1.0, is_grey=0.0), dice()) - x
    assert abs(float(np.corrcoef(coloured[0, 0].flatten(), coloured[0, 1].flatten())[0, 1])) < 0.1
    ramp = (torch.arange(256) / 255).repeat(256, 1)[None, None]  # 256 levels: as many photons at full brightness
    counted = poisson_noise(ramp, dice())
    torch.testing.assert_close(counted[0, 0].var(0), ramp[0, 0, 0] / 256, rtol=0.5, atol=2e-4)
    assert abs(float(counted.mean())) < 1e-3


def test_packing_is_jpeg():
    x = torch.rand(1, 3, 16, 24)
    file = io.BytesIO()
    Image.fromarray((x[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()).save(file, "JPEG", quality=40)
    np.testing.assert_allclose(packed(x, 40.0)[0].permute(1, 2, 0) * 255, np.asarray(Image.open(file)), atol=1e-3)
    worse, better = ((packed(x[:, :2], quality) - x[:, :2]).square().mean() for quality in (30.0, 95.0))
    assert worse > 2 * better


def test_sharpening_overshoots_at_strong_edges_only():
    x = torch.full((1, 1, 8, 80), 0.3)
    x[..., 40:] = 0.7
    made = sharpened(x)
    assert made[0, 0, 4, 39] < 0.25 and made[0, 0, 4, 40] > 0.75 and abs(float(made[0, 0, 4, 2]) - 0.3) < 1e-3
    faint = torch.full((1, 1, 8, 80), 0.3)
    faint[..., 40:] = 0.3 + 9 / 255  # half of the step is left at the edge: below 10 levels
    assert torch.allclose(sharpened(faint), faint, atol=1e-6)
    taps = gaussian()
    mask = sum(tap for tap, column in zip(taps, range(15, 66), strict=True) if abs(residual(column)) * 255 > 10)
    edge = mask * (0.7 + 0.5 * residual(40)) + (1 - mask) * 0.7
    assert abs(float(made[0, 0, 4, 40]) - edge) < 1e-4


def gaussian():
    """51 taps of standard deviation 8, as OpenCV takes for that many."""
    taps = np.exp(-((np.arange(51) - 25.0) ** 2) / (2 * 8.0**2))
    return taps / taps.sum()


def residual(column):
    """What that blur takes away from the step of 0.3 to 0.7 at column 40."""
    values = np.where(np.arange(column - 25, column + 26) >= 40, 0.7, 0.3)
    return (0.7 if column >= 40 else 0.3) - (gaussian() * values).sum()
