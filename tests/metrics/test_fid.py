"""Oracles: scipy's sqrtm, torch-fidelity's and clean-fid's formulas, closed forms, the spread over fresh draws."""

import numpy as np
import pytest
import scipy.linalg
from vectors import samples_of

from agon.errors import Unavailable
from agon.metrics.fid import distance_and_error, fid, measure, perfect_sampler


def clean_fid(real, fake, eps=1e-6):
    """clean-fid 0.1.35's frechet_distance and torch-fidelity's metric_fid.py, by hand: (by sqrtm, by the general eigenvalues)."""
    mu1, mu2, s1, s2 = real.mean(0), fake.mean(0), np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    rest = (mu1 - mu2) @ (mu1 - mu2) + np.trace(s1) + np.trace(s2)
    root = scipy.linalg.sqrtm(s1.dot(s2))
    if not np.isfinite(root).all():
        root = scipy.linalg.sqrtm((s1 + np.eye(len(s1)) * eps).dot(s2 + np.eye(len(s2)) * eps))
    return rest - 2 * np.trace(root).real, rest - 2 * np.sqrt(np.linalg.eigvals(s1.dot(s2)).astype(complex)).real.sum()


@pytest.mark.parametrize("dimension", [3, 40, 150])
def test_equals_the_published_formulas(dimension):
    rng = np.random.default_rng(dimension)
    mix = rng.standard_normal((dimension, dimension)) / np.sqrt(dimension)
    real, fake = np.abs(rng.standard_normal((700, dimension)) @ mix), np.abs(rng.standard_normal((500, dimension)) @ mix + 0.1)
    result = measure(samples_of(real, fake), ["fid"])[0]
    by_root, by_values = clean_fid(*(part.astype(np.float32).astype(np.float64) for part in (real, fake)))
    assert result["value"] == pytest.approx(by_root, rel=1e-6) == pytest.approx(by_values, rel=1e-6)
    assert result["num_real"] == 700 and result["num_fake"] == 500


def test_closed_form_of_gaussians():
    """N(0, 1) against N(m, s^2) in each of four dimensions: 4 m^2 + 4 (s - 1)^2, within four standard errors."""
    rng = np.random.default_rng(0)
    value, error = fid(rng.standard_normal((20_000, 4)), 0.3 + 1.5 * rng.standard_normal((20_000, 4)))
    assert 0.005 < error < 0.05
    assert value == pytest.approx(4 * 0.09 + 4 * 0.25, abs=4 * error)


def test_identity_symmetry_rotation_and_order():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((300, 10)), rng.exponential(size=(250, 10))
    q = np.linalg.qr(rng.standard_normal((10, 10)))[0]
    value = fid(x, y)[0]
    assert fid(x, x[::-1])[0] < 1e-10
    assert fid(y, x)[0] == pytest.approx(value, rel=1e-10)
    assert fid(x @ q - 2, y @ q - 2)[0] == pytest.approx(value, rel=1e-10)
    assert fid(rng.permutation(x), rng.permutation(y))[0] == pytest.approx(value, rel=1e-10)


def test_error_is_the_spread_over_fresh_draws():
    """Within 30 %, the samples in the order of their classes, as in a folder: groups of neighbours would be groups of one class."""
    rng = np.random.default_rng(2)

    def draw(n, shift):
        return rng.standard_normal((n, 3)) + shift * np.sort(rng.integers(0, 2, n))[:, None]

    fresh = [distance_and_error(draw(400, 4), draw(300, 5))[0] for _ in range(60)]
    errors = [distance_and_error(draw(400, 4), draw(300, 5))[1] for _ in range(20)]
    assert np.mean(errors) == pytest.approx(np.std(fresh), rel=0.3)


def test_perfect_sampler_at_the_counts_compared():
    """The halves' distance, brought to the counts, is the mean over fresh draws at these counts."""
    rng = np.random.default_rng(3)
    fresh = [fid(rng.standard_normal((400, 8)), rng.standard_normal((1000, 8)))[0] for _ in range(40)]
    found = [perfect_sampler(rng.standard_normal((400, 8)), 1000)["perfect_sampler"]["value"] for _ in range(10)]
    assert np.mean(found) == pytest.approx(np.mean(fresh), rel=0.1)
    assert perfect_sampler(rng.standard_normal((16, 8)), 1000) == {}


def test_too_few_samples_are_refused_by_name():
    rng = np.random.default_rng(4)
    for m, n in ((12, 50), (50, 12)):
        with pytest.raises(Unavailable, match="-n 13.*kid_given"):
            measure(samples_of(rng.standard_normal((m, 12)), rng.standard_normal((n, 12))), ["fid"])
    assert measure(samples_of(rng.standard_normal((40, 12)), rng.standard_normal((40, 12))), ["fd"])[0]["metric"] == "fd"


def test_collapsed_fakes_are_finite():
    """Covariance 0, or of rank 1, with samples enough: |mu|^2 + tr S, exactly."""
    rng = np.random.default_rng(5)
    real = rng.standard_normal((200, 6))
    value, error = fid(real, np.ones((100, 6)))
    assert value == pytest.approx(((real.mean(0) - 1) ** 2).sum() + real.var(0, ddof=1).sum(), rel=1e-9) and np.isfinite(error)
    assert np.isfinite(fid(np.outer(real[:, 0], np.ones(6)), np.outer(real[:, 1], np.ones(6)))[0])


def test_the_perfect_sampler_beside_is_what_new_samples_score():
    """The entry's reference, brought from halves to the counts, is the mean distance of fresh samples of the same distribution at these counts."""
    rng = np.random.default_rng(6)
    real = rng.standard_normal((600, 8))
    (entry,) = measure(samples_of(real, rng.standard_normal((300, 8))), ["fid"])
    found = [fid(rng.standard_normal((600, 8)), rng.standard_normal((300, 8)))[0] for _ in range(40)]
    reference = entry["reference"]["perfect_sampler"]
    assert reference["value"] == pytest.approx(np.mean(found), rel=0.15)
    few = measure(samples_of(rng.standard_normal((14, 8)), rng.standard_normal((14, 8))), ["fid"])[0]
    assert few["reference"] == {} and "14 samples" in few["warnings"][0]
