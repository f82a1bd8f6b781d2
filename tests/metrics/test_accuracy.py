"""Oracles: counts by hand, and the digits classifier on real digits."""

import numpy as np
import pytest
import torch

from agon.errors import Unavailable, UserError
from agon.metrics.accuracy import class_accuracy, measure
from agon.metrics.features.digits import shipped
from agon.metrics.samples import Samples


def test_by_hand():
    logits = np.array([[2.0, 1, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0]])
    assert class_accuracy(logits, np.array([0, 1, 0, 0])) == (0.75, [2 / 3, 1.0, None])


def test_wrong_labels_lower_it(everything):
    pictures = ((everything.real + 1) * 127.5).round().to(torch.uint8)
    label = everything.label.numpy()
    wrong = np.where(np.arange(len(label)) % 4 == 0, (label + 1) % 10, label)
    sides = [Samples.of_arrays(pictures, pictures, real_label=label, fake_label=one, extractor=shipped()) for one in (label, wrong)]
    right, bad = (measure(samples, ["accuracy"])[0] for samples in sides)
    assert right["value"] > 0.99 and bad["value"] == pytest.approx(0.75, abs=0.01)
    assert right["reference"]["perfect_sampler"]["value"] == shipped().trained["accuracy_held_out"]
    with pytest.raises(UserError, match="not conditional"):
        measure(Samples.of_arrays(pictures, pictures, extractor=shipped()), ["accuracy"])
    with pytest.raises(Unavailable, match="knows 10 classes"):
        measure(Samples.of_arrays(pictures, pictures, real_label=label % 3, fake_label=label % 3, extractor=shipped()), ["accuracy"])
