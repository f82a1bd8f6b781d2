"""Oracles: numpy's polyfit and its covariance, a number whose dependence on 1/N is known, the authors' subset sizes."""

import numpy as np
import pytest
from vectors import samples_of

from agon.errors import Unavailable
from agon.metrics.fid_infinity import distances, extrapolate, measure, subset_sizes
from agon.metrics.frechet import frechet


def test_line_equals_polyfit():
    rng = np.random.default_rng(0)
    sizes = subset_sizes(5000, 64)
    values = 3 + 200 / sizes + 0.01 * rng.standard_normal(15)
    intercept, error, slope = extrapolate(sizes, values)
    expected, covariance = np.polyfit(1 / sizes, values, 1, cov=True)
    assert (slope, intercept) == pytest.approx(tuple(expected), rel=1e-9)
    assert error == pytest.approx(np.sqrt(covariance[1, 1]), rel=1e-9)
    assert extrapolate(sizes, 3 + 200 / sizes)[:2] == pytest.approx((3, 0), abs=1e-9)


def test_sizes():
    """The authors': 15 from 5,000 to 50,000; with few samples no subset is singular."""
    np.testing.assert_array_equal(subset_sizes(50_000, 2048), np.linspace(5000, 50_000, 15).astype(int))
    few = subset_sizes(5000, 2048)
    assert few[0] == 2049 and few[-1] == 5000


def test_last_point_is_fid_and_each_is_a_subset():
    rng = np.random.default_rng(1)
    real, fake = rng.standard_normal((90, 3)), rng.standard_normal((60, 3)) + 1
    values = distances(real, fake, np.array([60, 59]))
    assert values[0] == pytest.approx(frechet(real, fake), rel=1e-10)
    assert np.abs(values[1] - [frechet(real, np.delete(fake, i, 0)) for i in range(60)]).min() < 1e-10


def test_extrapolation_takes_the_bias_away():
    """One distribution, many reals: FID is the fakes' bias, hundreds of standard errors above 0, the intercept within a few of it."""
    rng = np.random.default_rng(2)
    real = rng.standard_normal((20_000, 12))
    found = [measure(samples_of(real, rng.standard_normal((1500, 12))), ["fid_infinity"])[0] for _ in range(8)]
    values = np.array([result["value"] for result in found])
    biased = np.array([result["details"]["all_against_all"] for result in found])
    left = frechet(real, rng.standard_normal((20_000, 12)))  # the reals' own bias stays
    assert abs(values.mean() - left / 2) < 0.3 * biased.mean()
    assert biased.mean() > 5 * left


def test_too_few():
    rng = np.random.default_rng(3)
    with pytest.raises(Unavailable, match="at least 26 "):
        measure(samples_of(rng.standard_normal((90, 12)), rng.standard_normal((25, 12))), ["fid_infinity"])
    with pytest.raises(Unavailable, match="at least 13 "):
        measure(samples_of(rng.standard_normal((12, 12)), rng.standard_normal((90, 12))), ["fid_infinity"])
    assert measure(samples_of(rng.standard_normal((13, 12)), rng.standard_normal((26, 12))), ["fid_infinity"])[0]["protocol"]["smallest"] == 13
