"""Oracles: numpy's roll, the published code's index arithmetic written as loops, and closed forms."""

import itertools

import numpy as np
import pytest
import torch

from agon.augment.diffaug import POLICIES, augment, check_policy
from agon.errors import UserError


def drawing(*values):
    """A ``draw`` that hands out the given numbers, whatever is asked, in order: each a float for all or a tensor."""
    left = list(values)

    def draw(n, *shape):
        value = left.pop(0)
        return torch.full((n, *shape), value) if isinstance(value, float) else value.reshape(n, *shape)

    return draw


def seeded(seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return lambda n, *shape: torch.rand(n, *shape, generator=generator, dtype=dtype)


def pictures(n=4, channels=3, height=8, width=12, seed=0):
    return torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_no_policy_is_the_identity():
    x = pictures()
    assert augment(x, (), None) is x


def test_the_middle_of_every_draw_leaves_colour_and_place():
    x = pictures()
    torch.testing.assert_close(augment(x, ("color",), drawing(0.5)), x)
    assert torch.equal(augment(x, ("translation",), drawing(0.5)), x)


def test_colour_formula():
    x, u = pictures(), torch.rand(4, 3, generator=torch.Generator().manual_seed(1))
    expected = x.double().numpy().copy()
    for i in range(4):
        picture = expected[i] + float(u[i, 0]) - 0.5
        grey = picture.mean(0, keepdims=True)
        picture = (picture - grey) * 2 * float(u[i, 1]) + grey
        expected[i] = (picture - picture.mean()) * (float(u[i, 2]) + 0.5) + picture.mean()
    np.testing.assert_allclose(augment(x, ("color",), drawing(u)).numpy(), expected, atol=1e-6)


def test_no_saturation_is_grey_and_brightness_moves_the_mean_alone():
    x = pictures()
    grey = augment(x, ("color",), drawing(torch.tensor([0.5, 0.0, 0.5]).repeat(4)))
    torch.testing.assert_close(grey, x.mean(1, keepdim=True).expand_as(x))
    bright = augment(x, ("color",), drawing(torch.tensor([0.9, 0.5, 0.5]).repeat(4)))
    torch.testing.assert_close(bright, x + 0.4)


def shifted(picture, dy, dx):
    moved = np.roll(picture, (dy, dx), (1, 2))
    if dy:
        moved[:, slice(None, dy) if dy > 0 else slice(dy, None)] = 0
    if dx:
        moved[:, :, slice(None, dx) if dx > 0 else slice(dx, None)] = 0
    return moved


@pytest.mark.parametrize("height, width", [(8, 16), (20, 24), (4, 5)])
def test_translation_is_roll_with_zeros_for_every_shift_that_can_be_drawn(height, width):
    reach = [max(1, int(side / 8 + 0.5)) for side in (height, width)]
    shifts = list(itertools.product(*(range(-r, r + 1) for r in reach)))
    x = pictures(len(shifts), 2, height, width)
    u = torch.tensor([[(s + r + 0.5) / (2 * r + 1) for s, r in zip(shift, reach, strict=True)] for shift in shifts])
    found = augment(x, ("translation",), drawing(u))
    for picture, result, (row, column) in zip(x.numpy(), found.numpy(), shifts, strict=True):
        # position p shows what was at p + shift, as in the authors' code
        np.testing.assert_array_equal(result, shifted(picture, -row, -column))


def published_cutout(picture, offset_y, offset_x):
    """The authors' arithmetic: a grid of indices around the offset, clamped to the picture."""
    height, width = picture.shape[1:]
    size_y, size_x = int(height * 0.5 + 0.5), int(width * 0.5 + 0.5)
    result = picture.copy()
    for a, b in itertools.product(range(size_y), range(size_x)):
        y = min(max(a + offset_y - size_y // 2, 0), height - 1)
        x = min(max(b + offset_x - size_x // 2, 0), width - 1)
        result[:, y, x] = 0
    return result


@pytest.mark.parametrize("height, width", [(8, 12), (6, 10), (5, 7), (9, 4)])
def test_cutout_is_the_published_one_for_every_centre(height, width):
    sides = [side + 1 - int(side * 0.5 + 0.5) % 2 for side in (height, width)]
    centres = list(itertools.product(*(range(side) for side in sides)))
    x = pictures(len(centres), 1, height, width).abs() + 0.1
    u = torch.tensor([[(c + 0.5) / side for c, side in zip(centre, sides, strict=True)] for centre in centres])
    found = augment(x, ("cutout",), drawing(u))
    for picture, result, (row, column) in zip(x.numpy(), found.numpy(), centres, strict=True):
        np.testing.assert_array_equal(result, published_cutout(picture, row, column))


def test_cutout_in_the_middle_takes_a_quarter():
    x = torch.ones(3, 2, 16, 32)
    assert augment(x, ("cutout",), drawing(0.5)).mean().item() == 0.75


@pytest.mark.parametrize("policy", [*[(name,) for name in POLICIES], POLICIES])
def test_the_same_numbers_make_the_same_change_on_any_pictures(policy):
    """Each change is affine in the pictures: of a mixture it makes the mixture of what it makes of each."""
    x, y = pictures(seed=2), pictures(seed=3)
    whole, left, right = (augment(z, policy, seeded(7)) for z in (0.3 * x + 0.7 * y, x, y))
    torch.testing.assert_close(whole, 0.3 * left + 0.7 * right, atol=1e-5, rtol=0)
    assert not torch.equal(augment(x, policy, seeded(7)), augment(x, policy, seeded(8)))


@pytest.mark.parametrize("policy", POLICIES)
def test_pictures_do_not_see_each_other(policy):
    x, u = pictures(), torch.rand(4, 3 if policy == "color" else 2)
    together = augment(x, (policy,), drawing(u))
    for i in range(4):
        torch.testing.assert_close(augment(x[i : i + 1], (policy,), drawing(u[i : i + 1])), together[i : i + 1])


@pytest.mark.parametrize("policy", POLICIES)
def test_differentiable_twice(policy):
    x = pictures(2, 2, 4, 5).double().requires_grad_()

    def apply(z):  # a square, since a second derivative of an affine map is nothing
        return augment(z, (policy,), seeded(5, torch.float64)).square()

    assert torch.autograd.gradcheck(apply, x)
    assert torch.autograd.gradgradcheck(apply, x)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_shape_and_type_stay(dtype):
    x = pictures().to(dtype)
    found = augment(x, POLICIES, seeded(0))
    assert found.dtype == dtype and found.shape == x.shape


def test_policies_by_name():
    assert check_policy("") == ()
    assert check_policy(" cutout, color ,") == ("cutout", "color")
    with pytest.raises(UserError, match="'colour'.*color, translation, cutout"):
        check_policy("colour")
