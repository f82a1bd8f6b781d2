"""Oracles: pictures whose class can be read off, labels that mean nothing, the same net twice."""

import numpy as np
import pytest
import torch

from agon.errors import Unavailable
from agon.metrics import cas as module
from agon.metrics.cas import cas, measure, small, train_classifier
from agon.metrics.samples import Samples
from agon.metrics.sides import ArraySide


def bars(n, seed, size=8):
    """A bright row or column in noise: class 0 or 1."""
    random = torch.Generator().manual_seed(seed)
    pictures = torch.randint(0, 120, (n, 1, size, size), generator=random)
    label, place = torch.arange(n) % 2, torch.randint(size, (n,), generator=random)
    for picture, kind, at in zip(pictures, label, place, strict=True):
        (picture[0, at] if kind == 0 else picture[0, :, at])[:] = 250
    return pictures.to(torch.uint8), label


def test_good_and_meaningless_labels():
    (fake, fake_label), (real, real_label) = bars(300, 0), bars(200, 1)
    assert cas(fake, fake_label, real, real_label, 2, steps=60).double().mean() > 0.95
    mixed = torch.where(torch.arange(300) % 4 < 2, fake_label, 1 - fake_label)  # half of each class is called the other
    assert 0.2 < cas(fake, mixed, real, real_label, 2, steps=60).double().mean() < 0.8


def test_same_net_twice_and_random_state_untouched():
    pictures, label = bars(64, 0, 20)
    state = torch.get_rng_state()
    one = train_classifier(pictures, label, 2, steps=3)
    torch.rand(3)
    two = train_classifier(pictures, label, 2, steps=3)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    torch.set_rng_state(state)
    expected = torch.rand(2)
    torch.set_rng_state(state)
    train_classifier(pictures, label, 2, steps=1)
    assert torch.equal(torch.rand(2), expected)


def test_measured_with_the_reals_beside(monkeypatch):
    monkeypatch.setattr(module, "STEPS", 40)
    (fake, fake_label), (real, real_label) = bars(200, 0, 16), bars(160, 1)
    result = measure(Samples.of_arrays(real, fake, real_label=real_label.numpy(), fake_label=fake_label.numpy()), ["cas"])[0]
    assert result["value"] > 0.8 and result["reference"]["perfect_sampler"]["value"] > 0.9 and result["protocol"]["side"] == [8, 8]
    assert np.mean(result["details"]["per_class"]) == pytest.approx(result["value"])
    with pytest.raises(Unavailable, match="generated samples have none"):
        measure(Samples.of_arrays(real, fake, real_label=real_label.numpy()), ["cas"])


def test_pictures_and_labels_stay_together(monkeypatch):
    """Large pictures are averaged down, and at most so many are taken; a file that could not be read has no row."""
    monkeypatch.setattr(module, "MOST", 30)
    level = torch.arange(50)
    pictures = level.view(-1, 1, 1, 1).expand(-1, 3, 70, 40).to(torch.uint8)

    class Damaged(ArraySide):
        def piece(self, index):
            rows, samples = super().piece(index)
            good = rows != 7
            return rows[good], samples[torch.from_numpy(good)]

    found, label = small(Damaged(pictures, "image", level.numpy()))
    assert found.shape[1:] == (3, 32, 32) and len(found) in (29, 30)
    np.testing.assert_array_equal(found[:, 0, 0, 0], label)
