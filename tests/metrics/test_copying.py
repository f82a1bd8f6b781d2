"""Oracles: fresh samples of the data's own distribution score 1 %, copies 100 %, scikit-learn's distances."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from agon.metrics.copying import copy_threshold, duplicates_warning, held_out_rate, measure, near_copies
from agon.metrics.features.thumbnail import open_extractor
from agon.metrics.samples import Samples
from agon.metrics.sides import ArraySide


def test_threshold_by_scikit_learn():
    train = np.random.default_rng(0).standard_normal((300, 5))
    leave_one_out = NearestNeighbors(n_neighbors=2).fit(train).kneighbors(train)[0][:, 1]
    assert copy_threshold(train) == pytest.approx(np.quantile(leave_one_out, 0.01), rel=1e-9)


@pytest.mark.parametrize("dimension", [2, 20])
def test_a_perfect_sampler_scores_one_percent(dimension):
    rng = np.random.default_rng(dimension)
    rates = [
        near_copies(rng.standard_normal((500, dimension)), rng.standard_normal((500, dimension))) for _ in range(60)
    ]
    assert np.mean(rates) == pytest.approx(0.01, abs=max(4 * np.std(rates) / np.sqrt(60), 0.002))
    held_out = held_out_rate(rng.standard_normal((1000, dimension)))
    assert 0.001 < np.mean(held_out) < 0.03


def test_a_memoriser_scores_all_and_a_mixture_its_share():
    rng = np.random.default_rng(1)
    train = rng.standard_normal((500, 20))
    copies = train[rng.integers(0, 500, 400)] + 1e-3 * rng.standard_normal((400, 20))
    assert near_copies(train, copies) == 1
    assert near_copies(train, np.concatenate([copies[:100], 30 + copies[:300]])) == 0.25


def test_real_digits(everything):
    train = everything.real.flatten(1).numpy()
    assert near_copies(train[::2], train[::2]) == 1
    assert np.mean(held_out_rate(train)) == pytest.approx(0.01, abs=0.007)


def test_duplicates_are_said():
    assert not duplicates_warning(np.array([1.0, 2.0, 3.0]), 0.9)
    assert duplicates_warning(np.array([0.0, 2.0, 3.0]), 0.0)


def test_what_copying_would_look_like_stands_beside_whatever_the_data():
    """Pictures so near to each other that any fixed noise would hide a copy: the memoriser must still be seen as one."""
    rng = np.random.default_rng(2)
    points = 0.01 * rng.standard_normal((2, 200, 16)).astype(np.float32)
    samples = Samples.of_arrays(*points, kind="points", extractor=open_extractor())
    result = measure(samples, ["near_copies"])[0]
    assert result["reference"]["memoriser"]["value"] == 1 and result["value"] < 0.05


def test_measured_is_the_plain_function_on_pictures(everything):
    """Half of the fakes are copies, as 8-bit pictures; the other half are other digits. The same share as by the plain function on the same vectors."""
    pictures = ((everything.real + 1) * 127.5).round().to(torch.uint8)
    train, other = pictures[::2], pictures[1::2]
    fake = torch.cat([train[:200], other[:200]])
    result = measure(Samples.of_arrays(train, fake, extractor=open_extractor()), ["near_copies"])[0]
    vectors = [part.flatten(1).float().numpy() / np.float32(127.5) - 1 for part in (train, fake)]
    assert result["value"] == pytest.approx(near_copies(*vectors)) and 0.5 <= result["value"] < 0.55
    assert result["num_real"] == len(train) and result["protocol"]["dimension"] == 64


def test_the_whole_training_set_is_searched(everything):
    """Copies of what is not among the reals of the comparison are found where the training set is given."""
    pictures = ((everything.real + 1) * 127.5).round().to(torch.uint8)
    samples = Samples.of_arrays(pictures[:600], pictures[900:1200], extractor=open_extractor(), training=ArraySide(pictures))
    assert measure(samples, ["near_copies"])[0]["value"] == 1
    assert measure(Samples.of_arrays(pictures[:600], pictures[900:1200], extractor=open_extractor()), ["near_copies"])[0]["value"] < 0.1
