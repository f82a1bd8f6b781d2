"""Oracles: the definition as a double loop, torchmetrics, unbiasedness over draws, and the level of the permutation
test.
"""

import numpy as np
import pytest
import torch
from vectors import samples_of

from agon.metrics.kid import kid, kid_subsets, kid_test, measure, published


def test_equals_the_definition():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((9, 4)), rng.standard_normal((7, 4)) + 0.5

    def k(a, b):
        return (float(a @ b) / 4 + 1) ** 3

    within_x = np.mean([k(x[i], x[j]) for i in range(9) for j in range(9) if i != j])
    within_y = np.mean([k(y[i], y[j]) for i in range(7) for j in range(7) if i != j])
    expected = within_x + within_y - 2 * np.mean([k(a, b) for a in x for b in y])
    assert kid(x, y) == pytest.approx(expected, rel=1e-12)
    assert kid(x, y, block=2) == pytest.approx(expected, rel=1e-12)


def test_equals_torchmetrics():
    from torchmetrics.image.kid import KernelInceptionDistance

    class Identity(torch.nn.Module):
        num_features = 16

        def forward(self, x):
            return x

    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((60, 16)), rng.standard_normal((60, 16)) * 1.3
    metric = KernelInceptionDistance(feature=Identity(), subsets=1, subset_size=60)
    metric.update(torch.from_numpy(x), real=True)
    metric.update(torch.from_numpy(y), real=False)
    assert kid(x, y) == pytest.approx(float(metric.compute()[0]), rel=1e-5)


def test_unbiased():
    """The mean over many small draws of one distribution is 0 within its own error; the biased estimator's is far from
    it.
    """
    rng = np.random.default_rng(2)
    values = [kid(rng.standard_normal((10, 5)), rng.standard_normal((10, 5))) for _ in range(1500)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))


def test_permutation_test_has_its_level_and_power():
    """p values of equal distributions are uniform (mean 1/2, about 5 % below .05); a shifted one is found."""
    rng = np.random.default_rng(3)
    ps = np.array(
        [kid_test(rng.standard_normal((30, 4)), rng.standard_normal((40, 4)), permutations=99)[0] for _ in range(200)]
    )
    assert abs(ps.mean() - 0.5) < 4 * np.sqrt(1 / 12 / 200)
    assert 0.005 <= (ps <= 0.05).mean() <= 0.115
    p, null = kid_test(rng.standard_normal((100, 4)), rng.standard_normal((100, 4)) + 1)
    assert p == pytest.approx(1 / 201) and null > 0


def test_null_deviation_and_subset_error_match_fresh_draws():
    """The permutations' spread is that of KID under equality; the half-subsets' spread that of KID itself (within 40
    %).
    """
    rng = np.random.default_rng(4)

    def draws(shift):
        return np.array([kid(rng.standard_normal((80, 3)), rng.standard_normal((80, 3)) + shift) for _ in range(300)])

    nulls = [kid_test(rng.standard_normal((80, 3)), rng.standard_normal((80, 3)))[1] for _ in range(10)]
    assert np.mean(nulls) == pytest.approx(draws(0).std(), rel=0.4)
    spreads = [
        kid_subsets(rng.standard_normal((80, 3)), rng.standard_normal((80, 3)) + 1).std(ddof=1) for _ in range(10)
    ]
    assert np.mean(spreads) == pytest.approx(draws(1).std(), rel=0.4)


def test_subsets_are_kid_of_subsets():
    """Each value of the matrix formulation is the plain estimator on some half: with two samples a half is one pair."""
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((4, 3)), rng.standard_normal((4, 3))
    pairs = [(i, j) for i in range(4) for j in range(i)]
    possible = [kid(x[list(a)], y[list(b)]) for a in pairs for b in pairs]
    for value in kid_subsets(x, y, count=20):
        assert np.min(np.abs(np.array(possible) - value)) < 1e-12


def test_published_subsets_are_torch_fidelitys():
    """torch-fidelity 0.4, metric_kid.py, by hand: RandomState(2020) draws x's rows, then y's, for each subset; the estimator from three full kernels."""
    rng = np.random.default_rng(6)
    x, y = (part.astype(np.float32) for part in (rng.standard_normal((90, 8)), rng.standard_normal((80, 8)) + 0.3))
    drawn, expected = np.random.RandomState(2020), []
    for _ in range(7):
        a = x[drawn.choice(90, 50, replace=False)].astype(np.float64)
        b = y[drawn.choice(80, 50, replace=False)].astype(np.float64)
        aa, bb, ab = ((p @ q.T / 8 + 1) ** 3 for p, q in ((a, a), (b, b), (a, b)))
        expected.append((aa.sum() - np.trace(aa) + bb.sum() - np.trace(bb)) / (50 * 49) - 2 * ab.mean())
    np.testing.assert_allclose(published(x, y, subsets=7, size=50), expected, rtol=1e-10)


def test_measured_whole_and_in_subsets():
    """Both estimate one number; the subsets' error is that of all samples, and is not given where they overlap too much."""
    rng = np.random.default_rng(7)
    real, fake = rng.standard_normal((300, 4)), rng.standard_normal((250, 4)) + 0.5
    whole, parts = measure(samples_of(real, fake), ["kid", "kid_subsets"])
    assert (whole["metric"], parts["metric"]) == ("kid", "kid_subsets")
    assert whole["value"] == pytest.approx(kid(real.astype(np.float32).astype(np.float64), fake.astype(np.float32).astype(np.float64)), rel=1e-10)
    assert parts["standard_error"] is None and "overlap" in parts["warnings"][1] and parts["protocol"]["size"] == 250
    assert parts["value"] == pytest.approx(whole["value"], abs=4 * parts["details"]["standard_deviation_over_subsets"])


def test_error_of_the_subsets_is_that_of_all(monkeypatch):
    """Delete-d jackknife: within 35 % of the spread of KID over fresh draws."""
    monkeypatch.setattr("agon.metrics.kid.PUBLISHED_SIZE", 30)
    rng = np.random.default_rng(8)
    fresh = [kid(rng.standard_normal((150, 3)), rng.standard_normal((150, 3)) + 1) for _ in range(200)]
    found = [measure(samples_of(rng.standard_normal((150, 3)), rng.standard_normal((150, 3)) + 1), ["kid_subsets"])[0]["standard_error"] for _ in range(5)]
    assert np.mean(found) == pytest.approx(np.std(fresh), rel=0.35)
