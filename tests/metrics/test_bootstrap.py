"""Oracles: the known standard errors of a mean, a share and a Fréchet distance over fresh draws."""

import numpy as np
import pytest

from agon.metrics.bootstrap import bootstrap, groups, jackknife_error, share_error, splits, subsample_error
from agon.metrics.frechet import frechet


def test_splits_are_disjoint_equal_and_repeatable():
    for split, again in zip(splits(31, 80, count=5), splits(31, 80, count=5), strict=True):
        assert len(split.real) == len(split.other) == len(split.fake) == 15
        assert not set(split.real) & set(split.other)
        assert len(set(split.fake)) == 15 and split.fake.max() < 80
        np.testing.assert_array_equal(
            np.concatenate([split.real, split.fake]), np.concatenate([again.real, again.fake])
        )


@pytest.mark.parametrize("size", [100, 200, 300])
def test_subsamples_give_the_error_of_a_mean(size):
    """sd / sqrt(n) of all n, whatever the subsets' size."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(400)
    means = np.array([x[rng.permutation(400)[:size]].mean() for _ in range(2000)])
    assert subsample_error(means, size, 400) == pytest.approx(x.std(ddof=1) / 20, rel=0.07)


def test_bootstrap_gives_the_error_of_a_mean_and_a_share():
    x = np.random.default_rng(1).standard_normal(300)
    assert bootstrap(lambda sample: sample.mean(), x, resamples=1000) == pytest.approx(x.std() / np.sqrt(300), rel=0.08)
    hits = (x > 0.5).astype(float)
    assert bootstrap(lambda s: s.mean(), hits, resamples=1000) == pytest.approx(share_error(hits.mean(), 300), rel=0.08)
    assert 0 < share_error(0.0, 100) < 0.01 and share_error(1.0, 100) == pytest.approx(share_error(0.0, 100))


def test_error_of_a_frechet_distance():
    """The half-splits' spread against the spread of the distance over fresh draws of the same counts."""
    rng = np.random.default_rng(2)

    def draw():
        return rng.standard_normal((400, 6)), rng.standard_normal((400, 6)) * 1.3 + 0.5

    fresh = np.std([frechet(*draw()) for _ in range(200)])
    estimates = []
    for _ in range(5):
        real, fake = draw()
        values = np.array([frechet(real[split.real], fake[split.fake]) for split in splits(400, 400, count=60)])
        estimates.append(subsample_error(values, 1, 2))
    assert np.mean(estimates) == pytest.approx(fresh, rel=0.3)


def test_groups_hold_every_index_once():
    parts = groups(103, 10)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(103))
    assert {len(part) for part in parts} == {10, 11}
    assert all((np.diff(part) > 0).all() for part in parts) and np.ptp(parts[0]) > 20


def test_jackknife_of_a_mean_and_of_a_difference():
    """With every sample a group it is s / sqrt(n) exactly; two samples left out together give the root of the sum of squares on average."""
    rng = np.random.default_rng(11)
    x = rng.standard_normal(50)
    left_out = (x.sum() - x) / 49
    assert jackknife_error(left_out) == pytest.approx(x.std(ddof=1) / np.sqrt(50), rel=1e-12)
    found = []
    for _ in range(200):
        a, b = rng.standard_normal((10, 20)), 2 * rng.standard_normal((10, 20))
        found.append(jackknife_error(np.array([np.delete(a, g, 0).mean() - np.delete(b, g, 0).mean() for g in range(10)])) ** 2)
    assert np.mean(found) == pytest.approx(1 / 200 + 4 / 200, rel=0.15)
