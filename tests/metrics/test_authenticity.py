"""Oracles: the definition as a loop, copies, and how often neighbours are each other's nearest (Clark and Evans)."""

import numpy as np
import pytest
from vectors import samples_of

from agon.metrics.authenticity import authentic, measure, perfect_rates


def test_equals_the_definition():
    rng = np.random.default_rng(0)
    train, fake = rng.standard_normal((40, 3)), rng.standard_normal((60, 3))
    for row, found in zip(fake, authentic(train, fake), strict=True):
        distance = np.linalg.norm(train - row, axis=1)
        near = distance.argmin()
        own = np.delete(np.linalg.norm(train - train[near], axis=1), near).min()
        assert found == (own < distance[near])


@pytest.mark.parametrize(("dimension", "mutual"), [(1, 2 / 3), (2, 6 * np.pi / (8 * np.pi + 3 * np.sqrt(3)))])
def test_perfect_sampler_in_closed_form(dimension, mutual):
    """On a torus without borders: 1 - the probability of being one's nearest neighbour's nearest."""
    rng = np.random.default_rng(dimension)

    def draw(n):
        angle = rng.uniform(0, 2 * np.pi, (n, dimension))
        return np.concatenate([np.cos(angle), np.sin(angle)], axis=1)

    values = [authentic(draw(400), draw(400)).mean() for _ in range(60)]
    # A fake's nearest is sought among the reals alone: it and a real are each other's nearest of one fake and all reals.
    assert np.mean(values) == pytest.approx(1 - mutual, abs=4 * np.std(values) / np.sqrt(60) + 0.005)
    assert np.mean(perfect_rates(draw(800))) == pytest.approx(1 - mutual, abs=0.05)


def test_at_exactly_that_distance_is_a_copy():
    assert authentic(np.array([[0.0], [1.0], [3.0]]), np.array([[-1.0], [-1.25], [5.0], [5.25]])).tolist() == [False, True, False, True]


def test_copies_near_copies_and_strangers():
    rng = np.random.default_rng(3)
    train = rng.standard_normal((200, 4))
    assert not authentic(train, train).any()
    assert not authentic(train, train + 1e-6).any()
    assert authentic(train, train + 100).all()
    mixed = np.concatenate([train[:50], train[:150] + 100])
    result = measure(samples_of(train, mixed), ["authenticity"])[0]
    assert result["value"] == 0.75 and result["details"]["copies"] == 50
    assert result["standard_error"] == pytest.approx(np.sqrt(0.75 * 0.25 / 200), rel=0.15)
    q = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    fake = rng.standard_normal((100, 4))
    np.testing.assert_array_equal(authentic(train, fake), authentic(5 * train @ q + 9, 5 * fake @ q + 9))
