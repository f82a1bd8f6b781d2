"""Oracles: torch-fidelity's formula by hand, the extremes 1 and K, the entropy of one sure answer a class."""

import numpy as np
import pytest
import torch
from vectors import samples_of

from agon.errors import Unavailable
from agon.metrics.inception_score import inception_scores, measure, score


def torch_fidelity(logits, splits=10, seed=2020):
    """torch-fidelity 0.4, metric_isc.py, by hand: (mean, standard deviation)."""
    count = len(logits)
    shuffled = torch.from_numpy(logits)[np.random.RandomState(seed).permutation(count)].double()
    p, log_p = shuffled.softmax(1), shuffled.log_softmax(1)
    scores = []
    for i in range(splits):
        part = slice(i * count // splits, (i + 1) * count // splits)
        scores.append((p[part] * (log_p[part] - p[part].mean(0, keepdim=True).log())).sum(1).mean().exp().item())
    return np.mean(scores), np.std(scores)


def test_equals_torch_fidelity():
    logits = 4 * np.random.default_rng(0).standard_normal((523, 30)).astype(np.float32)
    scores = inception_scores(logits)
    assert (scores.mean(), scores.std()) == pytest.approx(torch_fidelity(logits), rel=1e-12)
    result = measure(samples_of(logits[:100], logits), ["inception_score"])[0]
    assert (result["value"], result["details"]["standard_deviation_over_splits"]) == pytest.approx(torch_fidelity(logits), rel=1e-12)
    assert result["standard_error"] == pytest.approx(torch_fidelity(logits)[1] / 3, rel=1e-12)
    assert result["reference"]["perfect_sampler"]["value"] == pytest.approx(torch_fidelity(logits[:100])[0], rel=1e-12)


def test_extremes():
    """Sure and even over K classes: K. One answer for all, or none sure: 1. Sure, with uneven shares: exp of their entropy. Logits of any size."""
    sure = 1e4 * np.eye(7)[np.arange(70) % 7]
    assert score(sure) == pytest.approx(7, rel=1e-12)
    assert score(sure[:1].repeat(50, 0)) == pytest.approx(1, rel=1e-12) == score(np.zeros((50, 7)))
    shares = np.array([0.5, 0.3, 0.2])
    assert score(1e3 * np.eye(3).repeat((50, 30, 20), axis=0)) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-12)
    assert score(sure + 1e6) == pytest.approx(7, rel=1e-9)


def test_order_of_classes_is_undone():
    """In the order of a folder's classes each part would hold one class and score 1."""
    sure = 50.0 * np.eye(10).repeat(100, axis=0)
    assert inception_scores(sure, seed=None).mean() == pytest.approx(1)
    assert inception_scores(sure).mean() > 9


def test_bias_is_warned_of_and_what_cannot_be_is_refused():
    rng = np.random.default_rng(1)
    few, many = rng.standard_normal((90, 5)), rng.standard_normal((600, 5))
    assert "biased" in measure(samples_of(many, few), ["inception_score"])[0]["warnings"][0]
    result = measure(samples_of(many, many), ["inception_score"])[0]
    assert "warnings" not in result
    with pytest.raises(Unavailable, match="9 samples"):
        inception_scores(few[:9])
    with pytest.raises(Unavailable, match="classifier"):
        measure(samples_of(many, few, logits=False), ["inception_score"])
