"""Oracles: closed forms for Gaussians, scipy's general matrix root, invariances, and cases in which sqrtm turns
complex.
"""

import sys

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors import samples_of

from agon.errors import UserError
from agon.metrics.bootstrap import splits
from agon.metrics.frechet import LARGE_SPLITS, Gaussian, frechet, frechet_distance, measure, rank_warning, trace_root


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
    with pytest.raises(UserError, match="statistics contain values"):
        frechet_distance(np.zeros(3), np.diag([1, np.inf, 1]), np.zeros(3), np.eye(3))


@pytest.mark.parametrize("with_scipy", [True, False])
@pytest.mark.parametrize("dimension", [1, 2, 33])
def test_with_and_without_scipy_equals_torch_fidelity(monkeypatch, with_scipy, dimension):
    """torch-fidelity takes the eigenvalues of s1 s2 by the general solver."""
    if not with_scipy:
        monkeypatch.setitem(sys.modules, "scipy.linalg", None)
    rng = np.random.default_rng(dimension)
    s1, s2 = random_covariance(rng, dimension), random_covariance(rng, dimension)
    expected = np.sqrt(np.linalg.eigvals(s1 @ s2).astype(complex)).real.sum()
    assert trace_root(s1, s2) == pytest.approx(expected, rel=1e-10)
    assert trace_root(np.zeros_like(s1), s2) == 0
    # One of them singular: the other's factor is taken, whichever it is; both: the symmetric root.
    flat = s1.copy()
    flat[0] = flat[:, 0] = 0
    expected = np.sqrt(np.linalg.eigvals(flat @ s2).astype(complex)).real.sum()
    assert trace_root(flat, s2) == pytest.approx(expected, rel=1e-7) == trace_root(s2, flat)
    s2[0] = s2[:, 0] = 0
    expected = np.sqrt(np.linalg.eigvals(flat[1:, 1:] @ s2[1:, 1:]).astype(complex)).real.sum()
    assert trace_root(flat, s2) == pytest.approx(expected, rel=1e-7, abs=1e-12)


def test_fewer_samples_than_features():
    """The trace of the root is the nuclear norm of the product of the centred samples; no root of rounding noise is added."""
    rng = np.random.default_rng(6)
    for m, n in ((12, 9), (9, 12), (300, 20), (20, 300), (50, 50)):
        x, y = rng.standard_normal((m, 50)) * 1.5, rng.standard_normal((n, 50)) + 0.3
        cx, cy = x - x.mean(0), y - y.mean(0)
        nuclear = np.linalg.svd(cx @ cy.T, compute_uv=False).sum() / np.sqrt((m - 1) * (n - 1))
        expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + x.var(0, ddof=1).sum() + y.var(0, ddof=1).sum() - 2 * nuclear
        assert frechet(x, y) == pytest.approx(expected, rel=1e-8), (m, n)
        q = rotation(rng, 50)
        assert frechet(x @ q + 3, y @ q + 3) == pytest.approx(expected, rel=1e-8), (m, n)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 12), st.integers(2, 20), st.integers(2, 20), st.integers(0, 12), st.sampled_from([1e-30, 1e-8, 1.0, 1e8, 1e30]),
    st.booleans(), st.integers(0, 999),
)
def test_never_complex_nor_nan(dimension, m, n, rank, scale, equal, seed):
    """Any rank, any scale, equal samples: a finite number that is not negative, the same both ways."""
    rng = np.random.default_rng(seed)
    basis = rng.standard_normal((min(rank, dimension), dimension))
    x, y = (rng.standard_normal((count, len(basis))) @ basis * scale for count in (m, n))
    y = x if equal else y
    forth, back = frechet(x, y), frechet(y, x)
    size = (x**2).sum(1).mean() + (y**2).sum(1).mean()
    assert isinstance(forth, float) and np.isfinite(forth) and forth >= 0
    assert forth == pytest.approx(back, abs=1e-5 * size)
    if equal:
        assert forth <= 1e-6 * size


def test_leaving_samples_out():
    rng = np.random.default_rng(7)
    x = rng.standard_normal((60, 5)) + 1e4
    rest, fresh = Gaussian(x).without(Gaussian(x[10:25])), Gaussian(np.delete(x, slice(10, 25), axis=0))
    assert rest.count == fresh.count == 45
    np.testing.assert_allclose(rest.mean, fresh.mean, rtol=1e-13)
    np.testing.assert_allclose(rest.covariance, fresh.covariance, rtol=1e-6, atol=1e-7)


def test_measured_on_halves():
    """The mean over the splits of scipy's number; few splits where there are many features, and a warning where a half has too few samples."""
    rng = np.random.default_rng(8)
    real, fake = (part.astype(np.float32) for part in (rng.standard_normal((60, 4)), rng.standard_normal((50, 4)) * 1.4))
    result = measure(samples_of(real, fake), ["frechet"])[0]

    def by_scipy(x, y):
        one, two = np.cov(x.T.astype(np.float64)), np.cov(y.T.astype(np.float64))
        means = ((x.mean(0, dtype=np.float64) - y.mean(0, dtype=np.float64)) ** 2).sum()
        return means + np.trace(one + two - 2 * scipy.linalg.sqrtm(one @ two).real)

    values = [by_scipy(real[s.real], fake[s.fake]) for s in splits(60, 50, count=100)]
    floor = [by_scipy(real[s.real], real[s.other]) for s in splits(60, 50, count=100)]
    assert result["value"] == pytest.approx(np.mean(values), rel=1e-6)
    assert result["standard_error"] == pytest.approx(np.std(values, ddof=1), rel=1e-6)
    assert result["reference"]["perfect_sampler"]["value"] == pytest.approx(np.mean(floor), rel=1e-6)
    assert result["details"]["all_against_all"] == pytest.approx(by_scipy(real, fake), rel=1e-6)
    assert "warnings" not in result
    wide = measure(samples_of(rng.standard_normal((40, 300)), rng.standard_normal((40, 300))), ["frechet"])[0]
    assert wide["protocol"]["splits"] == LARGE_SPLITS and "rank 19" in wide["warnings"][0]
