"""Oracles: closed forms for Gaussians, scipy's general matrix root, invariances, and cases in which sqrtm turns
complex.
"""

import numpy as np
import pytest
import scipy.linalg

from agon.errors import UserError
from agon.metrics.frechet import Gaussian, frechet, frechet_distance, rank_warning


def random_covariance(rng, dimension, rank=None):
    factor = rng.standard_normal((dimension, rank or 2 * dimension))
    return factor @ factor.T / factor.shape[1]


def rotation(rng, dimension):
    return np.linalg.qr(rng.standard_normal((dimension, dimension)))[0]


def test_closed_form_of_commuting_gaussians():
    """Diagonal covariances: |mu1 - mu2|^2 + sum (sd1 - sd2)^2, in any rotated basis."""
    rng = np.random.default_rng(0)
    a, b, m1, m2 = rng.uniform(0.1, 3, 12), rng.uniform(0.1, 3, 12), rng.standard_normal(12), rng.standard_normal(12)
    expected = ((m1 - m2) ** 2).sum() + ((a - b) ** 2).sum()
    q = rotation(rng, 12)
    got = frechet_distance(q @ m1, q @ np.diag(a**2) @ q.T, q @ m2, q @ np.diag(b**2) @ q.T)
    assert got == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dimension", [2, 10, 64])
def test_equals_sqrtm(dimension):
    rng = np.random.default_rng(dimension)
    s1, s2 = random_covariance(rng, dimension), random_covariance(rng, dimension)
    m1, m2 = rng.standard_normal((2, dimension))
    root = scipy.linalg.sqrtm(s1 @ s2).real
    expected = ((m1 - m2) ** 2).sum() + np.trace(s1 + s2 - 2 * root)
    assert frechet_distance(m1, s1, m2, s2) == pytest.approx(expected, rel=1e-9)


def test_symmetric_zero_for_equals_and_scales():
    rng = np.random.default_rng(3)
    s1, s2, m = random_covariance(rng, 20), random_covariance(rng, 20), rng.standard_normal(20)
    assert frechet_distance(m, s1, m, s1) < 1e-12 * np.trace(s1)
    forth, back = frechet_distance(m, s1, 0 * m, s2), frechet_distance(0 * m, s2, m, s1)
    assert forth == pytest.approx(back, rel=1e-12)
    assert frechet_distance(3 * m, 9 * s1, 0 * m, 9 * s2) == pytest.approx(9 * forth, rel=1e-12)


def test_rank_deficient_is_real_and_right():
    """Two covariances of rank 1 along u and v: distance 2 - 2 |u.v|. Negative rounding of eigenvalues must not give
    NaN.
    """
    rng = np.random.default_rng(4)
    u, v = (x / np.linalg.norm(x) for x in rng.standard_normal((2, 30)))
    zero = np.zeros(30)
    assert frechet_distance(zero, np.outer(u, u), zero, np.outer(v, v)) == pytest.approx(2 - 2 * abs(u @ v), abs=1e-7)
    few = rng.standard_normal((10, 200))
    assert np.isfinite(frechet(few, few + 1)) and frechet(few, few + 1) == pytest.approx(200, rel=1e-6)
    assert frechet(np.ones((5, 8)), np.ones((5, 8))) == 0
    assert rank_warning(10, 200) and not rank_warning(201, 200)


def test_statistics_stream():
    """Any batches, any order, two merged streams: numpy's mean and covariance; a large offset costs no digits."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((500, 7)) * np.arange(1, 8) + 1e6
    stream, first, second = Gaussian(), Gaussian(x[:123]), Gaussian(x[123:])
    for part in np.array_split(rng.permutation(x), [1, 2, 50, 333]):
        stream.update(part.astype(np.float64))
    first.merge(second)
    for got in (stream, first):
        assert got.count == 500
        np.testing.assert_allclose(got.mean, x.mean(0), rtol=1e-14)
        np.testing.assert_allclose(got.covariance, np.cov(x.T), rtol=1e-8, atol=1e-8)


def test_refuses_what_is_undefined():
    with pytest.raises(UserError, match="not finite"):
        Gaussian(np.array([[1.0, np.nan]]))
    with pytest.raises(UserError, match="at least 2"):
        _ = Gaussian(np.ones((1, 3))).covariance
    with pytest.raises(UserError, match="do not fit"):
        frechet_distance(np.zeros(3), np.eye(3), np.zeros(4), np.eye(4))
