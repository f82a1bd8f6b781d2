"""Oracles: scikit-learn's nearest neighbours, the closed form of coverage, copies, dropped modes, rotations."""

import numpy as np
import pytest
from prdc import compute_prdc
from sklearn.neighbors import NearestNeighbors
from vectors import samples_of

from agon.errors import UserError
from agon.metrics import neighbours
from agon.metrics import prdc as module
from agon.metrics.neighbours import clouds, distance_matrix, kth_nearest, nearest, nearest_index, product, tiles
from agon.metrics.prdc import expected_coverage, measure, prdc


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


def sets():
    """(real, fake): what large sets may look like, small: usual, far off the origin, repeated samples, equal sets, one mode, an outlier, all samples equal,
    tiny, huge."""
    rng = np.random.default_rng(4)
    real, fake = rng.standard_normal((230, 12)), rng.standard_normal((170, 12)) * 1.1 + 0.1
    copies = np.concatenate([real[:60]] * 3 + [fake[:40]])
    outlier = np.concatenate([real, np.full((1, 12), 1e6)])
    yield from ((real, fake), (real + 1000, fake + 1000), (copies, np.concatenate([copies[:50], fake])), (real, real[::-1]), (real, real[:1] + 1e-3 * fake))
    yield from ((outlier, fake), (np.ones((90, 12)), np.ones((70, 12))), (real * 1e-25, fake * 1e-25), (real * 1e25, fake * 1e25))


@pytest.mark.parametrize("tile", [16, 64, 2048])
@pytest.mark.parametrize("case", range(9))
def test_tiles_of_float32_give_the_answers_of_float64(monkeypatch, case, tile):
    """Ties, cancellation and scale included: the same neighbours as by float64 differences, and the four numbers of the plain way."""
    monkeypatch.setattr(neighbours, "TILE", tile)
    real, fake = list(sets())[case]
    for k in (1, 5):
        for cloud in clouds(real, fake):
            direct = ((cloud.points[:, None] - cloud.points[None]) ** 2).sum(2)
            np.fill_diagonal(direct, np.inf)
            found = cloud.kth_squared(k)
            # Beside an outlier most pairs are undecided, and the product in float64 is all there is.
            np.testing.assert_allclose(found, np.sort(direct, axis=1)[:, k - 1], rtol=1e-6 if case == 5 else 1e-12, atol=1e-12 * (real[0] ** 2).sum())
        plain = prdc(real, fake, k)
        monkeypatch.setattr(module, "SMALL", 0)
        assert prdc(real, fake, k) == plain, k
        monkeypatch.undo()
        monkeypatch.setattr(neighbours, "TILE", tile)


def test_the_bound_holds():
    """The float32 number is never below the true one, and above it by no more than it says: 2,000 features, cancelling or all of one sign."""
    rng = np.random.default_rng(5)
    for x in (rng.standard_normal((60, 2000)), rng.uniform(size=(60, 2000)) ** 8, np.repeat(rng.standard_normal((60, 1)), 2000, axis=1)):
        one, two = clouds(x[:30].astype(np.float32), x[30:].astype(np.float32))
        bound = one.bound(slice(0, 30), two, slice(0, 30)).astype(np.float64)
        direct = ((one.points[:, None].astype(np.float64) - two.points[None]) ** 2).sum(2)
        rows, columns = np.indices(bound.shape)
        excess = bound + direct * one.scale**2 / 2
        assert (excess >= 0).all() and (excess <= one.doubt(rows, two, columns)).all()


def by_bfloat16(left, right):
    return (left.bfloat16() @ right.bfloat16().T).float()


@pytest.mark.parametrize("library", [neighbours.by_onednn, by_bfloat16])
def test_product_is_float32_whatever_the_library_does(monkeypatch, library):
    """Sums of 500 terms, each of which bfloat16 would round away, within 500 roundings of float32; a library that rounds more is found out and not used."""
    monkeypatch.setattr(neighbours, "by_onednn", library)
    rng = np.random.default_rng(9)
    x, y = ((1 + rng.uniform(0, 2**-9, (70, 500))).astype(np.float32) for _ in range(2))
    np.testing.assert_allclose(product(x, y), x.astype(np.float64) @ y.astype(np.float64).T, rtol=500 * 2**-24)


def test_tiles_cover_all():
    for count, least in ((1, 1), (7000, 1), (10_000, 12), (5000, 4000)):
        pieces = tiles(count, least)
        np.testing.assert_array_equal(np.concatenate([np.arange(count)[piece] for piece in pieces]), np.arange(count))
        assert all(piece.stop - piece.start >= min(least, count) for piece in pieces)


@pytest.mark.parametrize("small", [0, 1 << 40])
def test_equals_the_authors(monkeypatch, capsys, small):
    """prdc 0.2 of Naeem et al., in float64 (in float32 theirs rounds the distances before it compares them)."""
    monkeypatch.setattr(module, "SMALL", small)
    rng = np.random.default_rng(6)
    real, fake = rng.standard_normal((300, 20)), rng.standard_normal((260, 20)) * 0.9 + 0.2
    theirs = compute_prdc(real, fake, nearest_k=5)
    assert prdc(real, fake) == pytest.approx({name: float(value) for name, value in theirs.items()}, abs=1e-12)


def test_nearest_index():
    rng = np.random.default_rng(7)
    x, y = rng.standard_normal((40, 3)), rng.standard_normal((25, 3))
    index, distance = nearest_index(x, y)
    whole = np.linalg.norm(x[:, None] - y[None], axis=2)
    np.testing.assert_array_equal(index, whole.argmin(1))
    np.testing.assert_allclose(distance, whole.min(1), rtol=1e-12)


def test_measured_on_halves_and_whole():
    rng = np.random.default_rng(8)
    real, fake = (part.astype(np.float32) for part in (rng.standard_normal((80, 4)), rng.standard_normal((70, 4))))
    results = {result["metric"]: result for result in measure(samples_of(real, fake), ["coverage", "density"])}
    assert set(results) == {"coverage", "density"}
    whole = independent(real.astype(np.float64), fake.astype(np.float64), 5)
    for name, result in results.items():
        assert result["details"]["all_against_all"] == pytest.approx(whole[name], abs=1e-12)
        assert result["protocol"]["splits"] == 20 and result["protocol"]["compared_real"] == 35
    assert results["coverage"]["reference"]["perfect_sampler"]["closed_form"] == expected_coverage(35, 35)
