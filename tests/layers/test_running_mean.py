"""Oracle: the exponential mean written out."""

import pytest
import torch

from agon.layers.running_mean import RunningMean, forget, settle


def test_it_is_the_exponential_mean_of_whole_batches_however_they_were_split():
    torch.manual_seed(0)
    batches = torch.randn(5, 8, 3)
    whole, parts = RunningMean(3, decay=0.9), RunningMean(3, decay=0.9)
    expected = torch.zeros(3)
    for batch in batches:
        whole.observe(batch)
        for part in batch.split([2, 5, 1]):
            parts.observe(part)
        before = whole.value.clone()
        assert torch.equal(before, whole.value)  # observing changes nothing
        settle(whole, lambda x: x)
        settle(torch.nn.Sequential(parts), lambda x: x)
        expected = 0.9 * expected + 0.1 * batch.mean(0)
        torch.testing.assert_close(whole.value, expected)
        torch.testing.assert_close(parts.value, expected)


def test_ranks_of_different_sizes_are_weighted_by_their_samples():
    mean = RunningMean(decay=0.5)
    mean.observe(torch.tensor([1.0, 1.0, 1.0]))  # this rank: three samples of 1
    other = {"total": 5.0, "count": 1.0}  # another: one sample of 5
    answers = iter([(3.0 + other["total"]) / 2, (3.0 + other["count"]) / 2])
    settle(mean, lambda x: torch.tensor(next(answers)))
    assert float(mean.value) == pytest.approx(0.5 * (3 + 5) / 4)


def test_nothing_seen_or_forgotten_moves_nothing_and_a_checkpoint_has_the_value_alone():
    mean = RunningMean(2, decay=0.9, start=1.0)
    settle(mean, lambda x: x)
    mean.observe(torch.full((4, 2), 7.0))
    forget(mean)
    settle(mean, lambda x: x)
    assert torch.equal(mean.value, torch.ones(2)) and list(mean.state_dict()) == ["value"]
