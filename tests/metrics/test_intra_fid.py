"""Oracles: the distance of each class by itself, and classes that change places."""

import numpy as np
import pytest
from vectors import samples_of

from agon.errors import Unavailable
from agon.metrics.fid import fid
from agon.metrics.frechet import frechet
from agon.metrics.intra_fid import measure


def two_classes(rng, n, shift=6.0):
    label = np.arange(n) % 2
    return rng.standard_normal((n, 3)) + shift * label[:, None], label


def test_mean_over_classes():
    rng = np.random.default_rng(0)
    (real, real_label), (fake, fake_label) = two_classes(rng, 200), two_classes(rng, 120, 5.0)
    result = measure(samples_of(real, fake, real_label=real_label, fake_label=fake_label), ["intra_fid"])[0]
    each = [frechet(real[real_label == c].astype(np.float32), fake[fake_label == c].astype(np.float32)) for c in (0, 1)]
    assert result["value"] == pytest.approx(np.mean(each), rel=1e-6)
    assert [result["details"]["per_class"][str(c)]["value"] for c in (0, 1)] == pytest.approx(each, rel=1e-6)
    errors = [fid(real[real_label == c], fake[fake_label == c])[1] for c in (0, 1)]
    assert result["standard_error"] == pytest.approx(np.hypot(*errors) / 2, rel=1e-4)
    assert 0 < result["reference"]["perfect_sampler"]["value"] < 0.5


def test_sees_what_fid_does_not():
    """Classes that change places: nothing for FID, everything here."""
    rng = np.random.default_rng(1)
    (real, label), (fake, fake_label) = two_classes(rng, 400), two_classes(rng, 400)
    right, wrong = (measure(samples_of(real, fake, real_label=label, fake_label=given), ["intra_fid"])[0]["value"] for given in (fake_label, 1 - fake_label))
    assert right < 0.5 and wrong == pytest.approx(3 * 36, rel=0.1)


def test_refuses_what_is_not_defined():
    rng = np.random.default_rng(2)
    real, label = two_classes(rng, 40)
    with pytest.raises(Unavailable, match="the real one has none"):
        measure(samples_of(real, real, fake_label=label), ["intra_fid"])
    with pytest.raises(Unavailable, match="Class 1 has 3 samples"):
        measure(samples_of(real, real[:7], real_label=label, fake_label=label[:7]), ["intra_fid"])
    with pytest.raises(Unavailable, match="Class 1 has 0 samples"):
        measure(samples_of(real, real, real_label=label, fake_label=0 * label), ["intra_fid"])
