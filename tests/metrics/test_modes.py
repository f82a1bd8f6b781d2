"""Oracles: counts made by hand, 1 - exp(-9/2), the KL's known bias, mode dropping, and the real mixtures' perfect
samplers.
"""

import numpy as np
import pytest

from agon.data import open_dataset
from agon.data.toy import mixture_samples
from agon.errors import UserError
from agon.metrics.modes import Mixture, histogram, measure, mixture_of, scores
from agon.metrics.samples import Samples
from agon.metrics.sides import ArraySide, SourceSide

CENTERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
FOUR = Mixture(CENTERS, 0.1, np.full(4, 0.25))


def test_by_hand():
    """Six points: two on mode 0, one just inside 3 sigma of mode 1, one just outside of it, two between all modes."""
    points = np.array([[0, 0], [0.05, 0], [1.299, 0], [1.301, 0], [0.5, 0.5], [0.5, 0.4]])
    counts = histogram(points, FOUR)
    assert counts.tolist() == [2, 1, 0, 0, 3]
    expected = 2 / 3 * np.log(2 / 3 / 0.25) + 1 / 3 * np.log(1 / 3 / 0.25)
    np.testing.assert_allclose(scores(counts, FOUR.shares), [2, 0.5, expected])


def test_limits():
    """One mode: log K. Two of four: log 2. Even: 0. Nothing of high quality: the largest value, no NaN."""
    cases = {
        (9, 0, 0, 0, 0): (1, 1, np.log(4)),
        (5, 5, 0, 0, 10): (2, 0.5, np.log(2)),
        (3, 3, 3, 3, 0): (4, 1, 0),
        (0, 0, 0, 0, 7): (0, 0, np.log(4)),
    }
    got = scores(np.array(list(cases)), FOUR.shares)
    np.testing.assert_allclose(got, list(cases.values()), atol=1e-15)


def test_uneven_shares():
    """KL is to the true shares, not to the even ones."""
    mixture = Mixture(CENTERS[:2], 0.1, np.array([0.9, 0.1]))
    assert scores(np.array([90, 10, 0]), mixture.shares)[2] == pytest.approx(0, abs=1e-12)
    sampled = scores(histogram(mixture.sample(20_000, np.random.default_rng(0)), mixture), mixture.shares)
    assert sampled[2] < 1e-3


@pytest.mark.parametrize(("name", "num_modes"), [("toy:ring8", 8), ("toy:grid25", 25)])
def test_perfect_sampler(name, num_modes):
    """High quality is the chi-square's 1 - exp(-9/2); the reverse KL's mean is (K - 1) / (2 n) (Miller, 1955)."""
    mixture, rng = mixture_of(open_dataset(name, length=100)), np.random.default_rng(0)
    count = 2500
    values = np.array([scores(histogram(mixture.sample(count, rng), mixture), mixture.shares) for _ in range(100)])
    modes, quality, divergence = values.mean(0)
    assert modes == num_modes
    assert quality == pytest.approx(1 - np.exp(-4.5), abs=4 * values[:, 1].std() / 10)
    assert divergence == pytest.approx((num_modes - 1) / (2 * count * quality), rel=0.2)


def test_the_data_set_itself_is_perfect():
    """The 100,000 training points, scored against the centres they declare."""
    source = open_dataset("toy:grid25")
    batch = source.read(np.arange(len(source)))
    modes, quality, divergence = scores(histogram(batch.real.double().numpy(), mixture_of(source)), np.full(25, 1 / 25))
    assert modes == 25 and abs(quality - 0.98889) < 0.002 and divergence < 5e-4


def test_no_modes():
    assert mixture_of(open_dataset("toy:swissroll", length=100)) is None


def test_measured_in_a_stream():
    """Three of eight modes, in pieces: the counts of the plain function on all points; a data set without modes is refused."""
    source = open_dataset("toy:ring8", length=1000)
    points = mixture_samples(source.centers[:3], source.sigma, 500, 1)[0]
    fake = ArraySide(points, "points")
    fake.piece_size = 70
    found = {result["metric"]: result for result in measure(Samples(SourceSide(source), fake), ["reverse_kl", "modes", "high_quality"])}
    counts = histogram(points.astype(np.float64), mixture_of(source))
    expected = scores(counts, np.full(8, 1 / 8))
    assert [found[name]["value"] for name in ("modes", "high_quality", "reverse_kl")] == pytest.approx(expected)
    assert found["modes"]["value"] == 3 and found["reverse_kl"]["details"]["samples_by_mode"] == counts[:-1].tolist() and found["modes"]["num_fake"] == 500
    with pytest.raises(UserError, match="known modes"):
        measure(Samples.of_arrays(points, points, kind="points"), ["modes"])
