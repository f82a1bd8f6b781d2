"""Oracles: white noise is flat at its variance, a wave is a peak at its radius, a known filter's gain in dB, numpy's own Fourier transform."""

import numpy as np
import pytest
import torch

from agon.errors import UserError
from agon.metrics.features.spectrum import open_extractor, radial_power, rings
from agon.metrics.samples import Samples
from agon.metrics.spectra import floor, measure, resampled_means, spectral_distance


def noise(count, side, seed, spread=20.0, channels=1):
    random = torch.Generator().manual_seed(seed)
    return (128 + spread * torch.randn(count, channels, side, side, generator=random)).clamp(0, 255).round().to(torch.uint8)


def measured(real, fake):
    return measure(Samples.of_arrays(real, fake, extractor=open_extractor()), ["spectra"])[0]


def test_white_noise_is_flat_at_its_variance():
    """Radius 1 loses some to the mean that is taken off."""
    power = radial_power(400**0.5 * torch.randn(4000, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))).mean(0)
    np.testing.assert_allclose(power[1:], 400, rtol=0.05)
    assert 200 < power[0] < 420


@pytest.mark.parametrize(("u", "v"), [(5, 0), (0, 9), (3, 4), (16, 16)])
def test_a_wave_is_a_peak_at_its_radius(u, v):
    y, x = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    power = radial_power(100 * torch.cos(2 * np.pi * (u * y + v * x) / 32)[None])[0]
    radius = np.hypot(u, v)
    _, frequencies = rings(32, 32)
    assert abs(frequencies[int(power.argmax())] * 32 - radius) <= 0.5
    far = np.abs(frequencies.numpy() * 32 - radius) > 3
    assert power[far].max() < 1e-9 * power.max(), "the window keeps a whole wave from leaking"


def test_equals_numpy():
    picture = np.random.default_rng(0).normal(size=(12, 18))
    window = np.outer(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(12) / 12), 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(18) / 18))
    power = np.abs(np.fft.fft2((picture - (picture * window).sum() / window.sum()) * window)) ** 2 / (window**2).sum()
    radius = np.rint(12 * np.hypot(np.fft.fftfreq(12)[:, None], np.fft.fftfreq(18)[None])).astype(int)
    expected = [power[radius == one].mean() for one in np.unique(radius) if one]
    np.testing.assert_allclose(radial_power(torch.from_numpy(picture)[None])[0], expected, rtol=1e-10)


def test_brightness_and_contrast():
    """Brightness changes nothing; half the contrast is 6.02 dB everywhere. A black picture has the floor's power, -10.8 dB, and is finite."""
    smooth = noise(50, 16, 1, 40).float()
    np.testing.assert_allclose(radial_power(smooth[:, 0] + 40), radial_power(smooth[:, 0]), rtol=1e-9)
    full, half = (10 * torch.log10(radial_power(part[:, 0])) for part in (smooth, smooth / 2))
    assert spectral_distance(full.numpy(), half.numpy()) == pytest.approx(20 * np.log10(2), abs=1e-9)
    black = open_extractor().run(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))["features"]
    np.testing.assert_allclose(black, 10 * np.log10(1 / 12), rtol=1e-6)


def test_batch_and_colours():
    colour = noise(9, 20, 2, channels=3)
    whole = open_extractor().run(colour)["features"]
    assert whole.dtype == torch.float32
    np.testing.assert_allclose(torch.cat([open_extractor().run(part)["features"] for part in colour.split(2)]), whole, rtol=1e-6)
    expected = 10 * torch.log10(radial_power(colour.double().mean(1)) + 1 / 12)
    np.testing.assert_allclose(whole, expected, rtol=1e-6)
    grey = noise(4, 20, 3)
    np.testing.assert_allclose(open_extractor().run(grey.expand(-1, 3, -1, -1))["features"], open_extractor().run(grey)["features"], rtol=1e-6)


def test_a_perfect_sampler_is_at_its_floor_and_blur_is_seen():
    real, fresh = noise(400, 16, 4), noise(300, 16, 5)
    good = measured(real, fresh)
    reference = good["reference"]["perfect_sampler"]
    assert abs(good["value"] - reference["value"]) < 4 * reference["standard_deviation"]
    values = []
    for weight in (0.9, 0.7, 0.5):
        blurred = (weight * fresh.float() + (1 - weight) * fresh.float().roll(1, 3)).round().to(torch.uint8)
        bad = measured(real, blurred)
        values.append(bad["value"])
        assert bad["details"]["mean_difference_above_quarter_cycle_db"] < -0.3
    assert reference["value"] + 5 * reference["standard_deviation"] < values[0] < values[1] < values[2]
    brighter = measured(real, (128 + 1.2 * (fresh.float() - 128)).clamp(0, 255).to(torch.uint8))
    assert brighter["value"] == pytest.approx(20 * np.log10(1.2), abs=0.15)
    assert len(good["details"]["difference_db"]) == len(good["details"]["cycles_per_pixel"]) == good["protocol"]["rings"]


def test_floor_and_error_against_fresh_draws():
    """The scaled halves against fresh samples of the asked counts; the bootstrap's spread of a far value against the spread over draws."""
    random = np.random.default_rng(0)

    def draw(count, shift=0.0):
        return (random.standard_normal((count, 12)) * 5 + shift).astype(np.float32)

    fresh = np.mean([spectral_distance(draw(200), draw(50)) for _ in range(300)])
    assert np.mean([floor(draw(200), 50).mean() for _ in range(20)]) == pytest.approx(fresh, rel=0.05)
    spread = np.std([spectral_distance(draw(200), draw(50, 3.0)) for _ in range(300)])
    errors = []
    for _ in range(10):
        difference = resampled_means(draw(200), 0) - resampled_means(draw(50, 3.0), 1)
        errors.append(np.sqrt((difference**2).mean(1)).std(ddof=1))
    assert np.mean(errors) == pytest.approx(spread, rel=0.15)


def test_sizes_must_agree():
    with pytest.raises(UserError, match="one size"):
        measured(noise(20, 16, 6), noise(20, 20, 6))
    extractor = open_extractor()
    extractor.run(noise(2, 16, 6))
    with pytest.raises(UserError, match="one size"):
        extractor.run(noise(2, 17, 6))
    with pytest.raises(UserError, match="no spectrum"):
        extractor = open_extractor().run(noise(2, 3, 6))
