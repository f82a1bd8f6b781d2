"""Oracles: a shift's closed form, scipy's one-dimensional distance, invariances."""

import numpy as np
import pytest
import scipy.stats

from agon.errors import UserError
from agon.metrics.sliced_wasserstein import directions, sliced_wasserstein


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
