"""Oracles: scipy's upfirdn, map_coordinates, correlate1d and rotations, the published formulas written as loops, and closed forms."""

import numpy as np
import pytest
import torch
from scipy import ndimage, signal
from scipy.spatial.transform import Rotation

from agon.augment.ada import GROUPS, POWER, SYM6, AdaptiveAugment, check_set, filter_bank
from agon.errors import UserError
from agon.game import RecordedDraws, SeededDraws

YES, NO = 0.0, 2.0  # a gate that opens for every p above 0, and one that never does


class Given:
    """Draws of given rows: (N, uniforms), (N, normals), and pictures of noise."""

    def __init__(self, uniform=None, normal=None, noise=None):
        self.numbers = {"uniform": uniform, "normal": normal, "noise": noise}

    def _take(self, name, shape):
        found = torch.as_tensor(self.numbers[name], dtype=torch.float64)
        assert tuple(found.shape) == shape, (name, tuple(found.shape), shape)
        return found

    def uniform(self, n, *shape):
        return self._take("uniform", (n, *shape))

    def normal(self, n, *shape):
        return self._take("noise" if len(shape) == 3 else "normal", (n, *shape))


def seeded(seed=0):
    return SeededDraws(torch.Generator().manual_seed(seed))


def pictures(n=4, channels=3, height=16, width=16, seed=0, dtype=torch.float64):
    return torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 2 - 1


def smooth(height=40, width=40):
    """A picture that resampling hardly changes, and not symmetric in any way. (The filter itself is not: a turned picture is not quite rot90's.)"""
    y, x = np.mgrid[0:height, 0:width]
    bump, hollow = ((x - a * width) ** 2 + (y - b * height) ** 2 for a, b in ((0.4, 0.55), (0.6, 0.4)))
    return torch.tensor(np.exp(-bump / 60) - 0.5 * np.exp(-hollow / 40))[None, None]


def numbers(seed, n, *groups):
    """Random rows whose gates are as drawn, for the given groups."""
    generator = np.random.default_rng(seed)
    uniforms, normals = (sum(GROUPS[group][i] for group in groups) for i in (0, 1))
    return generator.random((n, uniforms)), generator.standard_normal((n, normals))


# --- geometry ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", range(4))
def test_quarter_turns_are_rot90(turns):
    x = smooth()
    found = AdaptiveAugment("blit", 1.0)(x, Given([[0.0, NO, (turns + 0.5) / 4, YES, 0.5, 0.5, NO]]))
    torch.testing.assert_close(found, torch.rot90(x, turns, (2, 3)), atol=0.03, rtol=0)


def test_mirror_and_shift_by_whole_pixels():
    x = smooth(24, 32)
    flipped = AdaptiveAugment("blit", 1.0)(x, Given([[0.9, YES, 0.0, NO, 0.5, 0.5, NO]]))
    torch.testing.assert_close(flipped, x.flip(3), atol=0.03, rtol=0)
    # 0.95 * 2 - 1 = 0.9 of an eighth of 32 pixels is 3.6, rounded 4 to the right; 0.1 stands for -0.8 of 3 rows, rounded 2 up
    moved = AdaptiveAugment("blit", 1.0)(x, Given([[0.0, NO, 0.0, NO, 0.95, 0.1, YES]]))
    torch.testing.assert_close(moved[..., :-4, 6:], x.roll((-2, 4), (2, 3))[..., :-4, 6:], atol=0.03, rtol=0)


def doubled(x, taps, axis):
    """Zeros put in and convolved by scipy, cut as published."""
    full = np.moveaxis(signal.upfirdn(2 * taps, x, up=2, axis=axis), axis, -1)
    return np.moveaxis(full[..., len(taps) // 2 - 1 :][..., : 2 * x.shape[axis]], -1, axis)


def halved(x, taps, axis):
    """Correlated by scipy and thinned; one half pixel on each side is cropped."""
    x = np.moveaxis(x, axis, -1)[..., 1:-1]
    return np.moveaxis(signal.upfirdn(taps[::-1], x)[..., len(taps) - 1 : x.shape[-1]][..., ::2], -1, axis)


def warped(picture, forward):
    """(H, W) under ``forward``, a 3x3 map of positions in pixels from the centre: scipy's version of the published steps."""
    height, width = picture.shape
    back = np.linalg.inv(forward)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    corners = back @ np.array([[sx * centre[0], sy * centre[1], 1] for sx in (-1, 1) for sy in (-1, 1)]).T
    room = np.stack([(-corners[:2]).max(1), corners[:2].max(1)]) + 6 - centre
    (left, above), (right, below) = np.ceil(np.clip(room, 0, 2 * centre)).astype(int)
    taps = np.float32(SYM6) / np.float32(SYM6).sum()
    x = np.pad(picture, ((above, below), (left, right)), mode="reflect")
    x = doubled(doubled(x, taps, 0), taps, 1)
    # results are computed with six more pixels on each side; a half pixel lies a quarter of a pixel off, in the result and in the picture
    rows, columns = np.mgrid[0 : 2 * (height + 6), 0 : 2 * (width + 6)]
    out = np.stack([(columns + 0.5) / 2 - (width + 6) / 2 + 0.25, (rows + 0.5) / 2 - (height + 6) / 2 + 0.25, np.ones(rows.shape)])
    x_in, y_in = np.einsum("ij,jhw->ihw", back[:2], out) - 0.25
    place = [2 * (y_in + height / 2 + above) - 0.5, 2 * (x_in + width / 2 + left) - 0.5]
    x = ndimage.map_coordinates(x, place, order=1, mode="grid-constant")
    return halved(halved(x, taps, 0), taps, 1)


def affine(a=1.0, b=0.0, c=0.0, d=1.0, x=0.0, y=0.0):
    return np.array([[a, b, x], [c, d, y], [0, 0, 1]])


def turned(angle):
    return affine(np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle))  # y points down


def published_map(u, z, height, width):
    """The forward map of the ten geometric numbers, every gate open."""
    steps = [
        affine(a=1 - 2 * np.floor(2 * u[0])),
        turned(np.pi / 2 * np.floor(4 * u[2])),
        affine(x=np.round((2 * u[4] - 1) / 8 * width), y=np.round((2 * u[5] - 1) / 8 * height)),
        affine(2 ** (0.2 * z[0]), d=2 ** (0.2 * z[0])),
        turned((2 * u[8] - 1) * np.pi),
        affine(2 ** (0.2 * z[1]), d=2 ** (-0.2 * z[1])),
        turned((2 * u[11] - 1) * np.pi),
        affine(x=z[2] / 8 * width, y=z[3] / 8 * height),
    ]
    whole = np.eye(3)
    for step in steps:
        whole = step @ whole
    return whole


@pytest.mark.parametrize("height, width", [(16, 16), (12, 20)])
def test_all_of_geometry_is_one_resampling_as_by_scipy(height, width):
    x = pictures(6, 2, height, width)
    u, z = numbers(3, 6, "blit", "geom")
    found = AdaptiveAugment("bg", 1.0)(x, Given(u, z)).numpy()
    for i in range(6):
        whole = published_map(u[i], z[i], height, width)
        for channel in range(2):
            np.testing.assert_allclose(found[i, channel], warped(x[i, channel].numpy(), whole), atol=3e-6)


def test_no_chance_gives_the_pictures_back():
    x = pictures(4, 3, 12, 16, dtype=torch.float32)  # even white noise: up- and downsampling by an orthogonal wavelet cancel
    torch.testing.assert_close(AdaptiveAugment("bgcfnc", 0.0)(x, seeded()), x, atol=2e-5, rtol=0)


# --- colour, bands, noise, holes --------------------------------------------------------------------------------------------------------


def published_colour(u, z):
    """4x4 matrices one after the other, each in homogeneous colours."""
    grey = np.array([1, 1, 1, 0]) / np.sqrt(3)
    onto = np.outer(grey, grey)
    shift, scale, hue = np.eye(4), np.diag([2 ** (0.5 * z[1])] * 3 + [1]), np.eye(4)
    shift[:3, 3] = 0.2 * z[0]
    hue[:3, :3] = Rotation.from_rotvec((2 * u[4] - 1) * np.pi * grey[:3]).as_matrix()
    saturate = onto + (np.diag([1, 1, 1, 0]) - onto) * 2 ** z[2] + np.diag([0, 0, 0, 1])
    return saturate @ hue @ (np.eye(4) - 2 * onto * np.floor(2 * u[2])) @ scale @ shift


def test_colours_are_the_published_matrices():
    x = pictures(8)
    u, z = numbers(1, 8, "color")
    found = AdaptiveAugment("color", 1.0)(x, Given(u, z)).numpy()
    for i in range(8):
        matrix = published_colour(u[i], z[i])
        expected = np.einsum("ij,jhw->ihw", matrix[:3, :3], x[i].numpy()) + matrix[:3, 3, None, None]
        np.testing.assert_allclose(found[i], expected, atol=1e-6)
    alone = AdaptiveAugment("color", 1.0)(x[:, :1], Given(u, z))
    three = AdaptiveAugment("color", 1.0)(x[:, :1].expand(-1, 3, -1, -1), Given(u, z))
    torch.testing.assert_close(alone.expand_as(three), three)


def test_the_filter_bank_splits_the_spectrum_into_octaves():
    bank = filter_bank()
    identity = np.zeros(bank.shape[1])
    identity[bank.shape[1] // 2] = 1
    np.testing.assert_allclose(bank.sum(0), identity, atol=1e-12)
    np.testing.assert_array_equal(bank.round(12), bank[:, ::-1].round(12))
    edges = [0, 1 / 8, 1 / 4, 1 / 2, 1]
    for band, taps in enumerate(bank):
        frequency, response = signal.freqz(taps, worN=512)
        power, octave = np.square(np.abs(response)), np.searchsorted(edges, frequency / np.pi, side="right") - 1
        energy = [power[octave == other].mean() for other in range(4)]
        assert np.argmax(energy) == band and energy[band] > sum(energy) - energy[band]


def published_gains(u, z):
    gains = np.ones(4)
    for band in range(4):
        changed = np.ones(4)
        changed[band] = 2 ** z[band]
        gains *= changed / np.sqrt((np.array(POWER) * changed**2).sum())
    return gains


@pytest.mark.parametrize("height, width", [(32, 24), (8, 5), (1, 30)])  # the filters reach 21 pixels: small pictures are mirrored again and again
def test_bands_are_amplified_as_by_scipy(height, width):
    x = pictures(3, 2, height, width)
    u, z = numbers(2, 3, "filter")
    found = AdaptiveAugment("filter", 1.0)(x, Given(u, z)).numpy()
    for i in range(3):
        taps = published_gains(u[i], z[i]) @ filter_bank()
        expected = ndimage.correlate1d(x[i].numpy(), taps, axis=1, mode="mirror")
        np.testing.assert_allclose(found[i], ndimage.correlate1d(expected, taps, axis=2, mode="mirror"), atol=1e-6)


def test_noise_and_holes():
    x, noise = pictures(2, 1, 8, 10), torch.randn(2, 1, 8, 10, dtype=torch.float64)
    found = AdaptiveAugment("noise", 1.0)(x, Given([[YES], [NO]], [[-2.0], [3.0]], noise))
    torch.testing.assert_close(found, x + torch.tensor([0.2, 0.0], dtype=x.dtype)[:, None, None, None] * noise)
    # a hole of 5 x 4 pixels around column 4.5, row 2: the published edges (centres of pixels nearer than a quarter)
    holed = AdaptiveAugment("cutout", 1.0)(x, Given([[YES, 0.45, 0.25], [NO, 0.45, 0.25]]))
    expected = x.clone()
    expected[0, :, 0:4, 2:7] = 0
    assert torch.equal(holed, expected)


# --- chances, derivatives, splitting ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group, unchanged", [
    ("color", lambda p: (1 - p) ** 4 * (1 - p / 2)), ("filter", lambda p: (1 - p) ** 4), ("noise", lambda p: 1 - p), ("cutout", lambda p: 1 - p),
    ("blit", lambda p: (1 - p / 2) * (1 - 3 * p / 4) * (1 - p * 3 / 4)), ("geom", lambda p: (1 - p) ** 4),
])  # fmt: skip
def test_each_change_has_the_chance_p(group, unchanged):
    # half of the mirrorings, a quarter of the turns and a quarter of the shifts by up to one pixel change nothing; a turn comes before or after or both
    n, p = 1500, 0.3
    x = pictures(1, 1 if group in ("blit", "geom") else 3, 8, 8, dtype=torch.float32).expand(n, -1, -1, -1)
    augmented = AdaptiveAugment(group, p)(x, seeded(5))
    same = AdaptiveAugment(group, 0.0)(x[:1], seeded())
    rate = ((augmented - same).abs().amax((1, 2, 3)) < 1e-4).float().mean().item()
    expected = unchanged(p)
    assert abs(rate - expected) < 4 * np.sqrt(expected * (1 - expected) / n)


def test_gradients_of_first_and_second_order():
    augment = AdaptiveAugment("bgcfnc", 0.8)
    x = pictures(2, 3, 4, 5).requires_grad_()
    given = RecordedDraws(seeded(2))
    augment(x, given)
    assert torch.autograd.gradcheck(lambda x: augment(x, given.again()), x, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: augment(x, given.again()) ** 3, x, fast_mode=True)


def test_a_batch_is_its_parts_and_repeats_itself():
    x = pictures(16, 3, 24, 32)
    augment = AdaptiveAugment("bgcfnc", 1.0)
    given = RecordedDraws(seeded(4))
    whole = augment(x, given)
    assert torch.equal(whole, augment(x, seeded(4)))
    uniform, normal, noise = given.given
    for part in [slice(i, i + 1) for i in range(8)] + [slice(8, 16)]:
        torch.testing.assert_close(augment(x[part], Given(uniform[part], normal[part], noise[part])), whole[part], atol=1e-10, rtol=0)


def test_as_many_numbers_whatever_p():
    drawn = []
    for p in (0.0, 0.5, 1.5):
        given = RecordedDraws(seeded())
        AdaptiveAugment("bgcfnc", p)(pictures(dtype=torch.float32), given)
        drawn.append([tuple(numbers.shape) for numbers in given.given])
    assert drawn[0] == drawn[1] == drawn[2] == [(4, 29), (4, 12), (4, 3, 16, 16)]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 8), (2, 16, 24), (3, 1, 4)])
def test_any_rectangle_and_type(shape):
    x = pictures(2, *shape, dtype=torch.bfloat16)
    found = AdaptiveAugment("bg,filter,noise,cutout", 1.0)(x, seeded())
    assert found.shape == x.shape and found.dtype == x.dtype and found.isfinite().all()


def test_sets_and_refusals():
    assert check_set("bgc") == ("blit", "geom", "color") and check_set(" noise, blit") == ("blit", "noise") and check_set("") == ()
    assert check_set("bgcfnc") == tuple(GROUPS)
    with pytest.raises(UserError, match="bgcx"):
        check_set("bgcx")
    with pytest.raises(UserError, match="1 or 3 channels"):
        AdaptiveAugment("bgc")(pictures(1, 2), seeded())
    assert set(AdaptiveAugment("bgc", 0.25).state_dict()) == {"p"}
