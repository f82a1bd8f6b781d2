"""Oracles: a shift's closed form, scipy's one-dimensional distance and its convolution, the pyramid's exact inverse, invariances."""

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch
from torch.nn import functional as F

from agon.errors import Unavailable, UserError
from agon.metrics import sliced_wasserstein as module
from agon.metrics.bootstrap import splits
from agon.metrics.features.thumbnail import open_extractor
from agon.metrics.samples import Samples
from agon.metrics.sliced_wasserstein import (
    blur,
    directions,
    laplacian_pyramid,
    level_distances,
    level_sides,
    measure,
    normalise,
    patch_rows,
    patches_of,
    sliced_wasserstein,
    swd,
)


def test_shift_has_a_closed_form():
    """A shift by v moves every projection by theta.v; in the plane the mean of |theta.v| is 2 |v| / pi."""
    x = np.random.default_rng(0).standard_normal((300, 2))
    v = np.array([3.0, -4.0])
    along = directions(2)
    assert sliced_wasserstein(x, x + v) == pytest.approx(np.abs(v @ along).mean(), rel=1e-12)
    assert sliced_wasserstein(x, x + v, directions(2, 20_000)) == pytest.approx(2 * 5 / np.pi, rel=0.02)


def test_equals_scipy_on_each_direction():
    rng = np.random.default_rng(1)
    x, y, along = rng.standard_normal((50, 4)), rng.exponential(size=(50, 4)), directions(4, 6)
    expected = np.mean([scipy.stats.wasserstein_distance(x @ one, y @ one) for one in along.T])
    assert sliced_wasserstein(x, y, along) == pytest.approx(expected, rel=1e-12)


def test_identity_symmetry_order_and_scale():
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((2, 40, 3))
    assert sliced_wasserstein(x, rng.permutation(x)) == pytest.approx(0, abs=1e-15)
    assert sliced_wasserstein(x, y) == pytest.approx(sliced_wasserstein(y, x))
    assert sliced_wasserstein(5 * x + 1, 5 * y + 1) == pytest.approx(5 * sliced_wasserstein(x, y))


def test_different_sizes_are_refused():
    with pytest.raises(UserError, match="one size"):
        sliced_wasserstein(np.zeros((3, 2)), np.zeros((4, 2)))


@pytest.mark.parametrize("kind", ["points", "image"])
def test_measured_is_the_plain_function_on_the_halves(kind):
    rng = np.random.default_rng(3)
    if kind == "points":
        real, fake = rng.standard_normal((2, 61, 3)).astype(np.float32)
        vectors = real, fake
    else:
        real, fake = rng.integers(0, 256, (2, 61, 1, 24, 32)).astype(np.uint8)
        vectors = [F.adaptive_avg_pool2d(torch.from_numpy(part / np.float32(127.5) - 1), (16, 16)).flatten(1).numpy() for part in (real, fake)]
    name = "sliced_wasserstein" if kind == "points" else "pixel_sliced_wasserstein"
    result = measure(Samples.of_arrays(real, fake, kind=kind, extractor=open_extractor()), [name])[0]
    expected = [sliced_wasserstein(*(part[rows].astype(np.float64) for part, rows in zip(vectors, (s.real, s.fake), strict=True))) for s in splits(61, 61)]
    assert result["value"] == pytest.approx(np.mean(expected), rel=1e-6)
    assert result["standard_error"] == pytest.approx(np.std(expected, ddof=1), rel=1e-6)
    assert result["protocol"]["compared_real"] == 30 and result["protocol"]["dimension"] == vectors[0].shape[1]


# --- thumbnails ----------------------------------------------------------------------------------------------------------------------------


def test_thumbnails():
    """Small pictures and points pass through; large ones are means of blocks, whatever the batch; other lengths are refused."""
    random = np.random.default_rng(4)
    small, large = (torch.from_numpy(random.integers(0, 256, (5, 3, side, side)).astype(np.uint8)) for side in (12, 48))
    torch.testing.assert_close(open_extractor().run(small)["features"], small.flatten(1).float() / 127.5 - 1)
    thumbnail = open_extractor()
    means = large.double().view(5, 3, 16, 3, 16, 3).mean((3, 5)).flatten(1) / 127.5 - 1
    np.testing.assert_allclose(thumbnail.run(large)["features"], means, atol=1e-6)
    assert torch.equal(torch.cat([thumbnail.run(one)["features"] for one in large.split(2)]), thumbnail.run(large)["features"])
    assert thumbnail.layers == {"features": 768}
    points = torch.randn(4, 2)
    assert torch.equal(open_extractor().run(points)["features"], points)
    with pytest.raises(UserError, match="432 numbers"):
        thumbnail.run(small)


# --- ProGAN's --------------------------------------------------------------------------------------------------------------------------------


def textures(count, side, seed, channels=3):
    """Correlated noise, uint8."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, channels, side, side, generator=random)
    return (128 + 60 * (noise + noise.roll(1, 2) + noise.roll(1, 3)) / 3).clamp(0, 255).to(torch.uint8)


def test_the_pyramid_by_scipy_and_its_inverse():
    """Each step is scipy's convolution with the published kernel, mirrored about the border; adding the levels up gives the pictures back."""
    pictures = textures(2, 32, 0).float()
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    expected = scipy.ndimage.convolve(pictures.numpy(), kernel[None, None], mode="mirror")
    np.testing.assert_allclose(blur(pictures), expected, atol=1e-3)
    levels = laplacian_pyramid(pictures, 2)
    assert [tuple(level.shape[2:]) for level in levels] == [(32, 32), (16, 16)]
    np.testing.assert_allclose(levels[1], expected[:, :, ::2, ::2], atol=1e-3)
    enlarged = np.zeros((2, 3, 32, 32))
    enlarged[:, :, ::2, ::2] = levels[1]
    np.testing.assert_allclose(levels[0].numpy() + scipy.ndimage.convolve(enlarged, 4 * kernel[None, None], mode="mirror"), pictures, atol=1e-3)
    flat = laplacian_pyramid(torch.full((1, 3, 64, 64), 7.0), 3)
    assert max(float(level.abs().max()) for level in flat[:-1]) < 1e-5 and torch.allclose(flat[-1], torch.tensor(7.0))


def test_levels():
    assert level_sides((256, 256)) == [256, 128, 64, 32, 16] and level_sides((16, 40)) == [16] and level_sides((63, 63)) == [63, 31]
    with pytest.raises(Unavailable, match="at least 16 pixels"):
        level_sides((15, 40))


def test_patches_are_in_the_picture_and_normalised():
    """A picture that says where each pixel is: every patch is a 7x7 window of it, all of it reachable, the places fixed."""
    y, x = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    picture = torch.stack([y, x, 0 * x]).to(torch.uint8)
    rows = np.concatenate([patch_rows(picture, index, "real")[0] for index in range(5)]).reshape(-1, 3, 7, 7)
    first = rows[:, :2, 0, 0]
    np.testing.assert_array_equal(rows[:, 0] - first[:, 0, None, None], np.broadcast_to(np.arange(7)[:, None], (640, 7, 7)))
    np.testing.assert_array_equal(rows[:, 1] - first[:, 1, None, None], np.broadcast_to(np.arange(7), (640, 7, 7)))
    assert set(first[:, 0]) == set(first[:, 1]) == set(range(10)) and abs(np.corrcoef(first.T)[0, 1]) < 0.2
    np.testing.assert_array_equal(patch_rows(picture, 3, "real"), patch_rows(picture, 3, "real"))
    assert not np.array_equal(patch_rows(picture, 3, "real"), patch_rows(picture, 3, "fake"))
    colours = normalise(rows.reshape(640, -1)).reshape(640, 3, -1)
    np.testing.assert_allclose(colours.mean((0, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(colours.std((0, 2)), [1, 1, 0], atol=1e-5)


def test_swd_is_the_published_formula():
    """Written out with float64 and scipy's one-dimensional distance on a few of the directions."""
    real, fake = textures(6, 16, 1), (255 * torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(2))).to(torch.uint8)
    sides = [np.concatenate([patch_rows(one, index, which)[0] for index, one in enumerate(side)]) for which, side in (("real", real), ("fake", fake))]
    sides = [side.astype(np.float64) for side in sides]
    for side in sides:
        colours = side.reshape(len(side), 3, 49)
        colours -= colours.mean((0, 2), keepdims=True)
        colours /= colours.std((0, 2), keepdims=True)
    distances = [scipy.stats.wasserstein_distance(*(side @ one for side in sides)) for one in directions(147, 512).T]
    assert swd(real, fake) == {16: pytest.approx(1000 * np.mean(distances), rel=1e-5)}
    with pytest.raises(UserError, match="as many pictures"):
        swd(real, fake[:3])


def test_each_repeat_has_its_halves_and_directions():
    """Against the plain function on the split's pictures, and its other real half for the reference."""
    real, fake = (np.stack([patch_rows(one, index, "real")[0] for index, one in enumerate(textures(9, 16, seed))]) for seed in (6, 7))
    found = level_distances(real, fake)
    assert found.shape == (4, 2)
    for repeat, split in enumerate(splits(9, 9, count=4)):
        ours, theirs, other = (normalise(part.reshape(-1, 147)) for part in (real[split.real], fake[split.fake], real[split.other]))
        along = directions(147, 512)[:, 128 * repeat : 128 * (repeat + 1)]
        assert found[repeat] == pytest.approx([1000 * sliced_wasserstein(ours, part, along) for part in (theirs, other)], rel=1e-4)


def test_swd_is_blind_to_brightness_and_sees_texture():
    """Each colour is normalised; smoothing is not undone by that."""
    real, fresh = textures(40, 32, 3), textures(40, 32, 4)

    def measured(fake):
        return measure(Samples.of_arrays(real, fake), ["swd"])[0]

    good, darker = measured(fresh), measured((fresh.float() * 0.5).round().to(torch.uint8))
    reference = good["reference"]["perfect_sampler"]
    assert good["value"] < 1.3 * reference["value"] and darker["value"] < 1.3 * reference["value"]
    assert list(good["details"]["by_level"]) == ["32", "16"] and good["protocol"]["directions"] == 512
    assert good["value"] == pytest.approx(np.mean(list(good["details"]["by_level"].values())))
    values = [measured((weight * fresh.float() + (1 - weight) * fresh.float().roll(1, 3)).round().to(torch.uint8))["value"] for weight in (0.9, 0.75, 0.5)]
    assert good["value"] < values[0] < values[1] < values[2]
    assert measured(fresh) == good


def test_swd_streams_and_keeps_its_bounds(monkeypatch):
    """Cut into pieces, the same patches; more pictures than the cap: a fixed choice of them."""
    many = textures(30, 16, 5)
    samples = Samples.of_arrays(many, many)
    whole = patches_of(samples.fake, "fake")[1].copy()
    samples.fake.piece_size = 7
    np.testing.assert_array_equal(patches_of(samples.fake, "fake")[1], whole)
    monkeypatch.setattr(module, "MOST", 12)
    assert patches_of(samples.fake, "fake")[1].shape == (1, 12, 128, 147)
    assert measure(samples, ["swd"])[0]["protocol"]["compared_fake"] == 6


def test_names_and_kinds():
    points = np.zeros((30, 2), np.float32)
    pictures = np.zeros((30, 1, 8, 8), np.uint8)
    with pytest.raises(UserError, match="Use 'sliced_wasserstein'"):
        measure(Samples.of_arrays(points, points, kind="points", extractor=open_extractor()), ["pixel_sliced_wasserstein"])
    with pytest.raises(UserError, match="Use 'pixel_sliced_wasserstein'"):
        measure(Samples.of_arrays(pictures, pictures, extractor=open_extractor()), ["sliced_wasserstein"])
    with pytest.raises(UserError, match="for pictures"):
        measure(Samples.of_arrays(points, points, kind="points"), ["swd"])
    with pytest.raises(Unavailable, match="at least 16"):
        measure(Samples.of_arrays(pictures, pictures), ["swd"])
