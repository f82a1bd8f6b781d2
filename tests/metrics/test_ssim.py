"""Oracles: scikit-image, pytorch-msssim, closed forms, and the reals' own diversity."""

import numpy as np
import pytest
import pytorch_msssim
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from agon.errors import Unavailable, UserError
from agon.metrics.samples import Samples
from agon.metrics.ssim import alike, draw_pairs, measure, ms_ssim, psnr, scales_for, ssim


def pictures(count, side, seed, channels=3):
    """Smooth random pictures with some noise, uint8."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, max(2, side // 8), max(2, side // 8), generator=random)
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic", align_corners=False)
    return (255 * smooth + 12 * torch.randn(smooth.shape, generator=random)).clamp(0, 255).to(torch.uint8)


def damaged(clean, strength, seed=9):
    noise = strength * torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    return (clean.float() + noise).clamp(0, 255).to(torch.uint8)


@pytest.fixture(scope="module")
def pair():
    clean = pictures(3, 48, 0)
    return clean, damaged(clean, 20)


def test_ssim_equals_scikit_image(pair):
    """Wang's settings there: Gaussian weights, sigma 1.5, population covariances; it cuts the same borders off."""
    for clean, noisy, value in zip(*pair, ssim(*pair), strict=True):
        expected = structural_similarity(
            clean.numpy(), noisy.numpy(), channel_axis=0, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        assert float(value) == pytest.approx(expected, abs=1e-9)


def test_psnr_equals_scikit_image(pair):
    for clean, noisy, value in zip(*pair, psnr(*pair), strict=True):
        assert float(value) == pytest.approx(peak_signal_noise_ratio(clean.numpy(), noisy.numpy(), data_range=255), rel=1e-12)
    flat = torch.full((1, 1, 4, 4), 100, dtype=torch.uint8)
    assert float(psnr(flat, flat + 51)) == pytest.approx(20 * np.log10(5))
    assert torch.isinf(psnr(flat, flat)).all()


@pytest.mark.parametrize("side", [176, 208])
def test_ms_ssim_equals_pytorch_msssim(side):
    """At sides that can be halved four times: theirs pads an odd row with zeros. Its window is float32."""
    clean = pictures(2, side, 1)
    noisy = damaged(clean, 30)
    expected = pytorch_msssim.ms_ssim(clean.double(), noisy.double(), size_average=False)
    np.testing.assert_allclose(ms_ssim(clean, noisy).numpy(), expected, atol=1e-6)
    clean, noisy = clean[:, :1], noisy[:, :1]
    both, other = torch.cat([clean, noisy], 1), torch.cat([noisy, noisy], 1)  # colours apart: the mean of a channel's value and of 1
    np.testing.assert_allclose(ms_ssim(both, other).numpy(), (ms_ssim(clean, noisy).numpy() + 1) / 2, atol=1e-12)


def test_one_scale_is_ssim(pair):
    grey = [part[:, :1] for part in pair]
    np.testing.assert_allclose(ms_ssim(*grey, scales=1), ssim(*grey), atol=1e-12)


def test_identity_symmetry_order_and_batch(pair):
    large = pictures(2, 165, 3, channels=1)
    assert (ssim(pair[0], pair[0]) == 1).all() and torch.allclose(ms_ssim(large, large), torch.ones(2, dtype=torch.float64), atol=1e-3)
    torch.testing.assert_close(ssim(*pair), ssim(*reversed(pair)))
    torch.testing.assert_close(ssim(*pair)[1:2], ssim(pair[0][1:2], pair[1][1:2]), rtol=0, atol=1e-12)
    inverted = 255 - pair[0]
    assert (ssim(pair[0], inverted) < 0).all(), "structures that are opposite are negative"


def test_small_pictures_are_refused():
    assert [scales_for(side, 999) for side in (10, 11, 20, 21, 160, 161, 4000)] == [0, 1, 1, 2, 4, 5, 5]
    with pytest.raises(Unavailable, match="more than 160 pixels a side, these have 160x160"):
        ms_ssim(torch.zeros(1, 1, 160, 160), torch.zeros(1, 1, 160, 160))
    with pytest.raises(Unavailable, match="more than 10 pixels"):
        ssim(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8))
    with pytest.raises(UserError, match="one shape"):
        psnr(torch.zeros(1, 1, 8, 8), torch.zeros(1, 3, 8, 8))


def test_measured_pairs_fall_with_the_damage():
    clean = pictures(30, 32, 4)
    found = [measure(Samples.of_arrays(clean, damaged(clean, strength)), ["ssim", "psnr"]) for strength in (5, 15, 45)]
    for column in (0, 1):
        values = [results[column]["value"] for results in found]
        assert values[0] > values[1] > values[2]
    one = found[0][0]
    expected = ssim(clean, damaged(clean, 5)).numpy()
    assert one["value"] == pytest.approx(expected.mean()) and one["standard_error"] == pytest.approx(expected.std(ddof=1) / np.sqrt(30))
    assert one["num_real"] == one["num_fake"] == 30 and one["protocol"]["range"] == 255


def test_infinite_psnr_is_said():
    clean = pictures(10, 16, 5)
    noisy = damaged(clean, 10)
    noisy[:4] = clean[:4]
    result = measure(Samples.of_arrays(clean, noisy), ["psnr"])[0]
    assert result["value"] == pytest.approx(float(psnr(clean[4:], noisy[4:]).mean()))
    assert result["details"]["identical_pairs"] == 4 and "4 of 10 pairs" in result["warnings"][0]
    error = (clean.double() - noisy.double()).square().mean()
    assert result["details"]["of_mean_squared_error"] == pytest.approx(float(10 * torch.log10(255**2 / error)))
    with pytest.raises(Unavailable, match="All 10 pairs"):
        measure(Samples.of_arrays(clean, clean), ["psnr"])


# --- diversity -----------------------------------------------------------------------------------------------------------------------------


def test_pairs_are_disjoint_and_of_one_class():
    label = np.repeat([0, 1, 2], [5, 8, 1])
    pairs = draw_pairs(14, label, 99, 0)
    assert len(pairs) == 2 + 4 and len(set(pairs.ravel())) == pairs.size
    assert (label[pairs[:, 0]] == label[pairs[:, 1]]).all()
    assert len(draw_pairs(14, None, 3, 0)) == 3 and not np.array_equal(draw_pairs(14, None, 7, 0), draw_pairs(14, None, 7, 1))


def test_values_are_those_of_the_pairs():
    """In a stream of several pieces, against the plain function pair by pair."""
    many = pictures(40, 24, 6)
    samples = Samples.of_arrays(many, many)
    samples.fake.piece_size = 7
    found = alike(samples.fake, None, 3)
    assert found.scales == 2 and len(found.values) == 20
    np.testing.assert_allclose(found.values, ms_ssim(many[found.pairs[:, 0]], many[found.pairs[:, 1]], 2), atol=1e-12)


def test_diversity_sees_collapse_and_a_perfect_sampler_does_not():
    real, fresh = pictures(300, 16, 7), pictures(300, 16, 8)
    good = measure(Samples.of_arrays(real, fresh), ["ms_ssim_diversity"])[0]
    reference = good["reference"]["perfect_sampler"]
    assert abs(good["value"] - reference["value"]) < 4 * np.hypot(good["standard_error"], reference["standard_deviation"])
    values = []
    for distinct in (20, 5, 2):
        repeated = damaged(fresh[torch.arange(300) % distinct], 3)
        values.append(measure(Samples.of_arrays(real, repeated), ["ms_ssim_diversity"])[0]["value"])
    assert reference["value"] + 4 * reference["standard_deviation"] > good["value"] and reference["value"] < values[0] < values[1] < values[2]


def test_diversity_within_classes_of_tiny_pictures():
    """8x8 has no room for the window of 11: one scale, a window of 7, both said. One collapsed class is seen in its own value."""
    real = pictures(120, 8, 10, channels=1)
    label = np.arange(120) % 3
    fake = pictures(120, 8, 11, channels=1)
    fake[label == 2] = fake[2].clone()
    result = measure(Samples.of_arrays(real, fake, real_label=label, fake_label=label), ["ms_ssim_diversity"])[0]
    assert result["protocol"]["scales"] == 1 and result["protocol"]["window"].startswith("7x7")
    assert "within classes" in result["protocol"]["pairs"] and result["protocol"]["num_pairs"] == 60
    assert result["details"]["by_class"]["2"] == pytest.approx(1) and result["details"]["by_class"]["0"] < 0.5
    unlabelled = measure(Samples.of_arrays(real, fake, fake_label=label), ["ms_ssim_diversity"])[0]
    assert "without labels" in unlabelled["warnings"][0]
    assert measure(Samples.of_arrays(real, fake, real_label=label, fake_label=label), ["ms_ssim_diversity"])[0] == result
    with pytest.raises(Unavailable, match="no two samples of one class"):
        measure(Samples.of_arrays(real, fake[:20], fake_label=np.arange(20)), ["ms_ssim_diversity"])
