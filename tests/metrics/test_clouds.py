"""Point clouds: loops and exact optimal transport (POT) as oracles, and set metrics with known answers."""

import itertools

import numpy as np
import ot
import pytest
import torch

from agon.errors import UserError
from agon.metrics import clouds
from agon.metrics.samples import Samples

RANDOM = np.random.default_rng(0)


def spheres(count, points=40, radius=1.0, seed=0, squash=1.0):
    random = np.random.default_rng(seed)
    x = random.standard_normal((count, points, 3))
    x /= np.linalg.norm(x, axis=2, keepdims=True)
    size = radius * (1 + 0.1 * random.standard_normal((count, 1, 1)))
    return (x * size * [1, 1, squash]).astype(np.float32)


def test_chamfer_is_the_loop():
    x, y = RANDOM.random((7, 3)), RANDOM.random((5, 3))
    squared = [[((a - b) ** 2).sum() for b in y] for a in x]
    expected = np.mean([min(row) for row in squared]) + np.mean([min(row[j] for row in squared) for j in range(5)])
    assert float(clouds.chamfer(torch.tensor(x), torch.tensor(y))) == pytest.approx(expected, rel=1e-12)
    assert float(clouds.chamfer(torch.tensor(x), torch.tensor(x))) == 0


def test_emd_is_the_best_of_all_matchings_and_pots():
    x, y = RANDOM.random((5, 3)), RANDOM.random((5, 3))
    best = min(np.mean([np.linalg.norm(x[i] - y[j]) for i, j in enumerate(order)]) for order in itertools.permutations(range(5)))
    assert clouds.emd(x, y) == pytest.approx(best, rel=1e-12)
    x, y = RANDOM.random((60, 3)), RANDOM.random((60, 3))
    assert clouds.emd(x, y) == pytest.approx(ot.emd2(ot.unif(60), ot.unif(60), ot.dist(x, y, "euclidean")), rel=1e-9)
    assert clouds.emd(x, x + [0.3, 0, 0]) == pytest.approx(0.3)
    with pytest.raises(UserError, match="as many of each"):
        clouds.emd(x, y[:-1])


@pytest.mark.parametrize("kind", ["cd", "emd"])
def test_all_pairs_are_each_pair(kind):
    x, y = torch.from_numpy(spheres(3)), torch.from_numpy(spheres(9, seed=1))
    one = (lambda a, b: float(clouds.chamfer(a, b))) if kind == "cd" else clouds.emd
    assert clouds.distances(x, y, kind) == pytest.approx(np.array([[one(a, b) for b in y] for a in x]))
    assert clouds.distances(y, y, kind) == pytest.approx(np.array([[one(a, b) for b in y] for a in y]), abs=1e-12)


def test_set_metrics_on_a_line():
    """Reals at 0, 1, 10; fakes at 0.4, 1.1, 1.2: by hand."""
    real, fake = np.array([0, 1, 10.0]), np.array([0.4, 1.1, 1.2])
    between = np.abs(real[:, None] - fake)
    assert clouds.mmd(between) == pytest.approx((0.4 + 0.1 + 8.8) / 3)
    assert clouds.coverage(between) == pytest.approx(2 / 3)  # nobody is near 10
    # The nearest of 0 is 0.4, of 1 it is 1.1, of 10 it is 1.2, of 0.4 it is 0: all wrong. Of 1.1 both 1 and 1.2, and a real one
    # counts: wrong. Of 1.2 it is 1.1: right.
    rr, rf, ff = (np.abs(a[:, None] - b).round(6) for a, b in ((real, real), (real, fake), (fake, fake)))
    assert clouds.nearest_accuracy(rr, rf, ff) == pytest.approx(1 / 6)


def test_far_sets_are_told_apart_and_copies_are_never_right():
    real = np.abs(np.arange(6.0)[:, None] - np.arange(6.0))
    assert clouds.nearest_accuracy(real, real + 100, real) == 1.0
    assert clouds.nearest_accuracy(real, real, real) == 0.0  # the known failure: a training set repeated scores below 0.5
    assert clouds.coverage(real) == 1.0 and clouds.mmd(real) == 0.0


@pytest.mark.parametrize("kind", ["cd", "emd"])
def test_known_damage_is_ordered(kind):
    real = spheres(24)
    values = []
    for squash in (1.0, 0.8, 0.5):
        samples = Samples.of_arrays(torch.from_numpy(real), torch.from_numpy(spheres(24, seed=1, squash=squash)), kind="cloud")
        values.append({entry["metric"]: entry for entry in clouds.measure(samples, [f"mmd_{kind}", f"cov_{kind}", f"nna_{kind}"])})
    mmd, cov, nna = ([one[f"{name}_{kind}"]["value"] for one in values] for name in ("mmd", "cov", "nna"))
    assert mmd[0] < mmd[1] < mmd[2] and cov[0] > cov[2] and nna[0] < nna[1] <= nna[2] and nna[2] > 0.9
    floor = values[0][f"nna_{kind}"]["reference"]["perfect_sampler"]
    assert abs(values[0][f"nna_{kind}"]["details"]["halves"] - floor["value"]) < 0.25 and values[0][f"nna_{kind}"]["protocol"]["points"] == 40


def test_clouds_of_different_counts_are_thinned_alike():
    ragged = [torch.from_numpy(cloud[: 30 + index]) for index, cloud in enumerate(spheres(6))]
    (entry,) = clouds.measure(Samples.of_arrays(ragged, list(ragged), kind="cloud"), ["mmd_cd"])
    assert entry["protocol"]["points"] == 30 and entry["value"] == 0
