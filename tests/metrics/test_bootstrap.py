"""Oracles: the known standard errors of a mean, a share and a Fréchet distance over fresh draws."""

import numpy as np
import pytest

from agon.metrics.bootstrap import bootstrap, share_error, splits, subsample_error
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
