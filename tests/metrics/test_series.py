"""Series: AR(1) has known correlations, scipy and numpy are oracles, and networks must tell what can be told."""

import numpy as np
import pytest
import torch
from scipy import stats

from agon.errors import Unavailable, UserError
from agon.metrics import series
from agon.metrics.samples import Samples


def ar(phi, count=200, steps=24, features=2, seed=0, mix=0.0):
    """Stationary AR(1) of unit variance; features correlate by ``mix``."""
    random = np.random.default_rng(seed)
    noise = random.standard_normal((count, steps, features))
    noise[..., 1:] = mix * noise[..., :1] + np.sqrt(1 - mix**2) * noise[..., 1:]
    made = noise.copy()
    for t in range(1, steps):
        made[:, t] = phi * made[:, t - 1] + np.sqrt(1 - phi**2) * noise[:, t]
    return made


def measure(real, fake, *names):
    samples = Samples.of_arrays(torch.from_numpy(real).float(), torch.from_numpy(fake).float(), kind="series")
    return {entry["metric"]: entry for entry in series.measure(samples, list(names))}


def test_autocorrelation_is_the_processes():
    products = series.lag_products(ar(0.7, count=4000), 8)
    assert series.autocorrelation(products) == pytest.approx(np.tile(0.7 ** np.arange(1, 9)[:, None], (1, 2)), abs=0.02)
    entry = measure(ar(0.7, 8000), ar(-0.5, 8000, seed=1), "autocorrelation_distance")["autocorrelation_distance"]
    lags = np.arange(1, 13)
    assert entry["value"] == pytest.approx(np.abs(0.7**lags - (-0.5) ** lags).mean(), abs=0.01) and entry["protocol"]["lags"] == 12


def test_correlation_is_numpys():
    made = ar(0.3, mix=0.6, features=3)
    flat = np.corrcoef(made.reshape(-1, 3).T)
    assert series.correlation(series.feature_products(made)) == pytest.approx(flat[np.triu_indices(3, 1)], rel=1e-9)
    entry = measure(ar(0.3, 1000, mix=0.6), ar(0.3, 1000, seed=1), "cross_correlation_distance")["cross_correlation_distance"]
    assert entry["value"] == pytest.approx(0.6, abs=0.02) and entry["reference"]["perfect_sampler"]["value"] < 0.05


def test_marginals_are_scipys_in_standard_deviations():
    real, fake = ar(0.5, 50), 3 * ar(0.5, 50, seed=1) + 1
    expected = np.mean([stats.wasserstein_distance(real[..., i].ravel(), fake[..., i].ravel()) / real[..., i].std() for i in range(2)])
    assert series.marginal_distance(real, fake) == pytest.approx(expected, rel=1e-9)
    assert series.marginal_distance(10 * real, 10 * real + 10 * real.std((0, 1))) == pytest.approx(1)


def test_constant_features_are_no_division_by_zero():
    flat = np.zeros((10, 5, 2))
    values = measure(flat, flat, "autocorrelation_distance", "cross_correlation_distance", "marginal_distance")
    assert [entry["value"] for entry in values.values()] == [0, 0, 0]


def test_a_classifier_finds_other_dynamics_and_not_the_same():
    """Marginals are equal: only the course tells."""
    real, same, other = ar(0.95, steps=10), ar(0.95, steps=10, seed=1), ar(-0.95, steps=10, seed=1)
    told = series.discriminative_score(real, other, steps=100)
    assert told > 0.45 and series.discriminative_score(real, same, steps=100) < 0.2
    assert series.discriminative_score(real, other, steps=100) == told  # the seed decides, not the state of the world


def test_forecasts_learnt_from_good_fakes_reach_the_innovation():
    """The best forecast of AR(1) leaves an error of sqrt(2 / pi) sqrt(1 - phi^2) standard deviations, whoever learns it."""
    real = ar(0.9, 400, 12)
    width = real.max((0, 1)) - real.min((0, 1))
    best = np.sqrt(2 / np.pi) * np.sqrt(1 - 0.9**2) * np.mean(1 / width)
    good, bad = (series.predictive_score(real, ar(phi, 400, 12, seed=1), steps=150) for phi in (0.9, 0.0))
    assert best * 0.95 < good < best * 1.15 and bad > 1.5 * best, (best, good, bad)


def test_the_trained_scores_carry_their_floor_and_protocol():
    entry = measure(ar(0.95, 80, 4), ar(-0.95, 80, 4, seed=1), "discriminative_score")["discriminative_score"]
    assert entry["value"] > entry["reference"]["perfect_sampler"]["value"] + 0.2
    assert entry["protocol"]["compared_real"] == 40 and entry["protocol"]["window"] == 64
    with pytest.raises(Unavailable, match="40 series or more"):
        measure(ar(0.9, 30), ar(0.9, 30), "predictive_score")


def test_windows_are_runs_of_the_series():
    long = np.arange(5 * 100).reshape(5, 100, 1).astype(np.float32)
    cut = series.window(long, np.random.default_rng(0))
    assert cut.shape == (5, 64, 1) and (np.diff(cut, axis=1) == 1).all() and (cut[:, 0, 0] // 100 == np.arange(5)).all()
    assert len(np.unique(cut[:, 0, 0] % 100)) > 1


def test_wrong_shapes_are_named():
    with pytest.raises(UserError, match=r"\(24, 2\).*\(20, 2\)"):
        measure(ar(0.1, 30), ar(0.1, 30, 20), "marginal_distance")
    with pytest.raises(Unavailable, match="two features"):
        measure(ar(0.1, 30, features=1), ar(0.1, 30, features=1), "cross_correlation_distance")
