"""Oracles: the definition as a double loop, torchmetrics, unbiasedness over draws, and the level of the permutation
test.
"""

import numpy as np
import pytest
import torch

from agon.metrics.kid import kid, kid_subsets, kid_test


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
