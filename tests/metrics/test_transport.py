"""Oracles: scipy's assignment and one-dimensional distance, Gaussians' closed forms, shifts, the bounds and closed forms of the Jensen-Shannon divergence."""

import numpy as np
import pytest
import scipy.optimize
import scipy.spatial.distance
import scipy.stats

from agon.errors import UserError
from agon.metrics.features.thumbnail import open_extractor
from agon.metrics.samples import Samples
from agon.metrics.transport import Grid, js_divergence, js_of_counts, line_distance, measure, wasserstein


def measured(real, fake, names, kind="points"):
    return measure(Samples.of_arrays(real, fake, kind=kind, extractor=open_extractor()), names)


@pytest.mark.parametrize("exponent", [1, 2])
def test_equal_counts_are_an_assignment(exponent):
    random = np.random.default_rng(exponent)
    x, y = random.standard_normal((80, 3)), random.exponential(size=(80, 3)) + 100
    cost = scipy.spatial.distance.cdist(x, y) ** exponent
    expected = cost[scipy.optimize.linear_sum_assignment(cost)].mean() ** (1 / exponent)
    assert wasserstein(x, y, exponent) == pytest.approx(expected, rel=1e-9)


def test_large_sets_reach_the_optimum():
    """At the size that is measured: a simplex that stops early would be too high."""
    random = np.random.default_rng(0)
    x, y = random.standard_normal((1000, 2)), 1.5 * random.standard_normal((1000, 2))
    cost = scipy.spatial.distance.cdist(x, y)
    assert wasserstein(x, y) == pytest.approx(cost[scipy.optimize.linear_sum_assignment(cost)].mean(), rel=1e-9)


@pytest.mark.parametrize("counts", [(40, 40), (40, 27), (7, 100)])
def test_a_line_equals_scipy_and_the_linear_programme(counts):
    random = np.random.default_rng(sum(counts))
    x, y = random.standard_normal(counts[0]), random.exponential(size=counts[1])
    assert line_distance(x, y) == pytest.approx(scipy.stats.wasserstein_distance(x, y), rel=1e-12)
    for exponent in (1, 2):
        plane = wasserstein(np.stack([x, 0 * x], 1), np.stack([y, 0 * y], 1), exponent)
        assert wasserstein(x[:, None], y[:, None], exponent) == pytest.approx(plane, rel=1e-9)


def test_gaussians_closed_form():
    """W2 of N(0, 1) and N(1, 2^2) on a line: sqrt(1 + 1). A shift: its length, for every exponent."""
    quantiles = scipy.stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)[:, None]
    assert wasserstein(quantiles, 1 + 2 * quantiles, 2) == pytest.approx(np.sqrt(2), rel=1e-3)
    x = np.random.default_rng(3).standard_normal((50, 4))
    for exponent in (1, 2):
        assert wasserstein(x, x + [1, 2, 2, 0], exponent) == pytest.approx(3, rel=1e-9)
        assert wasserstein(x, x[::-1], exponent) == pytest.approx(0, abs=1e-6)
    assert wasserstein(x, 2 * x, 1) == pytest.approx(wasserstein(2 * x, x, 1), rel=1e-9)


def test_js_closed_forms():
    """Equal: 0. Disjoint: log 2. One half shared: by hand. scipy's distance is its root."""
    assert js_of_counts(np.array([3, 5]), np.array([6, 10])) == 0
    assert js_of_counts(np.array([3, 0]), np.array([0, 10])) == pytest.approx(np.log(2))
    p, q = np.array([0.1, 0.6, 0.3, 0]), np.array([0.5, 0.25, 0, 0.25])
    assert js_of_counts(100 * p, 400 * q) == pytest.approx(scipy.spatial.distance.jensenshannon(p, q) ** 2, rel=1e-12)
    halves = js_of_counts(np.array([1, 1, 0]), np.array([0, 1, 1]))
    assert halves == pytest.approx(np.log(2) / 2)


def test_grid():
    """By hand on a line, numpy's histogram in the plane; what lies outside of the reals' range is apart from them."""
    grid = Grid(np.array([0.0]), np.array([1.0]), 4)
    points = np.array([-0.1, 0.0, 0.24, 0.25, 0.99, 1.0, 1.01])[:, None]
    assert grid.cells(points).tolist() == [0, 1, 1, 2, 4, 4, 5]
    random = np.random.default_rng(4)
    x, y = random.standard_normal((2, 500, 2))
    y = np.clip(y, x.min(0), x.max(0))
    edges = [np.linspace(x[:, axis].min(), x[:, axis].max(), 41) for axis in (0, 1)]
    p, q = (np.histogramdd(part, bins=edges)[0].ravel() for part in (x, y))
    assert js_divergence(x, y) == pytest.approx(scipy.spatial.distance.jensenshannon(p, q) ** 2, rel=1e-9)
    assert js_divergence(x, x + 100) == pytest.approx(np.log(2))
    with pytest.raises(UserError, match="4 dimensions have too many"):
        js_divergence(np.zeros((5, 4)), np.zeros((5, 4)))


@pytest.mark.parametrize("name", ["js_divergence", "wasserstein1", "wasserstein2"])
def test_a_perfect_sampler_is_at_its_floor_and_damage_is_ordered(name):
    random = np.random.default_rng(5)

    def draw(spread=1.0):
        return (spread * random.standard_normal((400, 2))).astype(np.float32)

    real = draw()
    good, *bad = (measured(real, draw(spread), [name])[0] for spread in (1.0, 1.3, 1.7, 3.0))
    floor = good["reference"]["perfect_sampler"]
    assert floor["value"] > 0 and abs(good["value"] - floor["value"]) < 5 * np.hypot(floor["standard_deviation"], good["standard_error"])
    values = [result["value"] for result in bad]
    assert floor["value"] < values[0] < values[1] < values[2]
    assert good["protocol"]["compared_real"] == good["protocol"]["compared_fake"] == 200


def test_counts_bits_and_pictures():
    random = np.random.default_rng(6)
    line, many = random.standard_normal((100, 1)).astype(np.float32), random.standard_normal((3000, 2)).astype(np.float32)
    js, first = measured(line, line + 1, ["js_divergence", "wasserstein1"])
    assert js["details"]["bits"] == pytest.approx(js["value"] / np.log(2)) and js["protocol"]["logarithm"] == "natural"
    assert js["details"]["all_against_all"] == pytest.approx(js_divergence(line, line + 1))
    assert first["protocol"]["solver"] == "sorting" and first["value"] == pytest.approx(1, abs=0.1)
    capped = measured(many[:, :1].repeat(2, 1), many, ["wasserstein1"])[0]
    assert capped["protocol"]["compared_real"] == 1000
    pictures = random.integers(0, 256, (60, 1, 32, 32)).astype(np.uint8)
    result = measured(pictures, 255 - pictures, ["wasserstein2"], kind="image")[0]
    assert result["protocol"]["dimension"] == 256 and result["protocol"]["extractor"] == "thumbnail"
    assert measured(pictures, 255 - pictures, ["wasserstein2"], kind="image")[0] == result
