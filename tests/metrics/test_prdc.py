"""Oracles: scikit-learn's nearest neighbours, the closed form of coverage, copies, dropped modes, rotations."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from agon.errors import UserError
from agon.metrics.neighbours import distance_matrix, kth_nearest, nearest
from agon.metrics.prdc import expected_coverage, prdc


def independent(real, fake, k):
    """The four numbers by scikit-learn and full matrices."""

    def radius(x):
        return NearestNeighbors(n_neighbors=k + 1).fit(x).kneighbors(x)[0][:, -1]

    distance = np.linalg.norm(real[:, None] - fake[None], axis=2)
    inside = distance < radius(real)[:, None]
    return {
        "precision": inside.any(0).mean(),
        "recall": (distance < radius(fake)[None]).any(1).mean(),
        "density": inside.sum(0).mean() / k,
        "coverage": inside.any(1).mean(),
    }


@pytest.mark.parametrize(("num_real", "num_fake", "k"), [(50, 50, 5), (200, 90, 3), (31, 170, 1)])
def test_equals_scikit_learn(num_real, num_fake, k):
    rng = np.random.default_rng(k)
    real, fake = rng.standard_normal((num_real, 6)), rng.standard_normal((num_fake, 6)) * 1.2 + 0.3
    expected = independent(real, fake, k)
    for name, value in prdc(real, fake, k).items():
        assert value == pytest.approx(expected[name], abs=1e-12), name


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(9)
    real, fake = rng.standard_normal((60, 5)), rng.standard_normal((70, 5))
    whole, far, kth = prdc(real, fake), nearest(real, fake), kth_nearest(real, 3)
    monkeypatch.setattr("agon.metrics.neighbours.BLOCK_VALUES", 200)
    assert prdc(real, fake) == whole
    np.testing.assert_allclose(nearest(real, fake), far, rtol=1e-10)
    np.testing.assert_allclose(kth_nearest(real, 3), kth, rtol=1e-10)
    np.testing.assert_allclose(kth_nearest(real, 3, np.array([5, 1, 40])), kth[[5, 1, 40]], rtol=1e-10)
    np.testing.assert_allclose(distance_matrix(real), np.linalg.norm(real[:, None] - real[None], axis=2), atol=1e-7)


def test_closed_form_of_a_perfect_sampler():
    """Coverage is distribution-free: the mean over draws from two quite different distributions is the formula's."""
    rng = np.random.default_rng(1)
    few = [prdc(rng.standard_normal((3, 2)), rng.standard_normal((2, 2)), 1)["coverage"] for _ in range(3000)]
    assert expected_coverage(3, 2, 1) == 0.5 == pytest.approx(np.mean(few), abs=4 * np.std(few) / np.sqrt(3000))
    assert expected_coverage(10**6, 10**6, 5) == pytest.approx(1 - 2.0**-5, abs=1e-5)
    for draw in (lambda n: rng.standard_normal((n, 3)), lambda n: rng.exponential(size=(n, 2)) ** 2):
        values = [prdc(draw(40), draw(60), 3) for _ in range(300)]
        coverage, density = ([value[name] for value in values] for name in ("coverage", "density"))
        assert np.mean(coverage) == pytest.approx(expected_coverage(40, 60, 3), abs=4 * np.std(coverage) / np.sqrt(300))
        assert np.mean(density) == pytest.approx(1, abs=4 * np.std(density) / np.sqrt(300))


def test_memoriser_dropped_mode_and_far_away():
    rng = np.random.default_rng(2)
    real = np.concatenate([rng.standard_normal((100, 4)), rng.standard_normal((100, 4)) + 50])
    assert prdc(real, real)["coverage"] == prdc(real, real)["precision"] == prdc(real, real)["recall"] == 1
    assert prdc(real, real)["density"] == pytest.approx(1)
    half = prdc(real, rng.permutation(real[:100]))
    assert half["coverage"] == half["recall"] == 0.5 and half["precision"] == 1
    assert set(prdc(real, real + 1000).values()) == {0.0}


def test_rotation_shift_and_scale_change_nothing():
    rng = np.random.default_rng(3)
    real, fake = rng.standard_normal((80, 5)), rng.standard_normal((80, 5)) * 0.8
    q = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    moved = prdc(7 * real @ q + 100, 7 * fake @ q + 100)
    assert moved == pytest.approx(prdc(real, fake))
    # The roles: precision of one is recall of the other.
    assert prdc(fake, real)["recall"] == pytest.approx(prdc(real, fake)["precision"])


def test_too_few():
    with pytest.raises(UserError, match="k = 5"):
        prdc(np.zeros((5, 2)), np.zeros((50, 2)))
