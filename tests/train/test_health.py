"""agon.train.health: histories with a known story must get the verdict of that story, for every seed of their noise,
without flapping.
"""

import json
import math
import random

import pytest

from agon.train.health import STATES, Health

SEEDS = range(20)
RECORDS = 200


def noisy(seed, accuracy=None, diversity=None, player="discriminator", pairs=64):
    """Records whose statistics have the sampling noise of a batch of ``pairs``, around curves given as functions of
    time in [0, 1].
    """
    rng = random.Random(seed)
    for index in range(RECORDS):
        stats, t = {}, index / (RECORDS - 1)
        if accuracy is not None:
            stats[f"{player}/accuracy"] = sum(rng.random() < accuracy(t) for _ in range(pairs)) / pairs
        if diversity is not None:
            stats["diversity"] = diversity(t) * (1 + rng.gauss(0, 0.03))
        yield {"num_images": 64 * (index + 1), "stats": stats}


def states(records):
    health = Health()
    return [health.update(record).state for record in records]


def changes(sequence):
    return [state for index, state in enumerate(sequence) if index == 0 or sequence[index - 1] != state]


def rising(t):
    return min(1.0, 0.2 + 12 * t) * 0.97


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("player", ["discriminator", "critic"])
@pytest.mark.parametrize("level", [0.5, 0.7, 0.9])
def test_a_healthy_run_is_balanced_to_the_end(seed, player, level):
    assert changes(states(noisy(seed, lambda t: level, rising, player))) == ["warming up", "balanced"]


@pytest.mark.parametrize("seed", SEEDS)
def test_equilibrium_is_not_called_losing(seed):
    assert "discriminator losing" not in states(noisy(seed, lambda t: 0.5, lambda t: 1.0, pairs=32))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_discriminator_that_always_tells_is_winning(seed):
    found = states(noisy(seed, lambda t: 0.7 if t < 0.5 else 0.999, rising))
    assert changes(found) == ["warming up", "balanced", "discriminator winning"]
    begin = found.index("discriminator winning") - RECORDS // 2
    assert 0 < begin <= 20  # soon after it began


@pytest.mark.parametrize("seed", SEEDS)
def test_a_fooled_discriminator_is_losing_and_may_recover(seed):
    found = states(noisy(seed, lambda t: 0.3 if 0.4 < t < 0.7 else 0.65, rising))
    assert changes(found) == ["warming up", "balanced", "discriminator losing", "balanced"]


@pytest.mark.parametrize("seed", SEEDS)
def test_falling_diversity_then_collapse(seed):
    found = states(noisy(seed, lambda t: 0.8, lambda t: 0.97 if t < 0.3 else max(0.05, 0.97 - 1.8 * (t - 0.3))))
    assert changes(found) == ["warming up", "balanced", "diversity falling", "collapse suspected"]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_generator_that_never_spreads_has_collapsed(seed):
    found = states(noisy(seed, lambda t: 0.9, lambda t: 0.05))
    assert changes(found) == ["warming up", "collapse suspected"] and found.index("collapse suspected") < 60


@pytest.mark.parametrize("seed", SEEDS)
def test_a_slow_start_is_no_collapse(seed):
    found = states(noisy(seed, lambda t: 0.9, lambda t: min(0.97, 0.02 + 2.5 * t)))
    assert changes(found) == ["warming up", "balanced"]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_start_that_stays_low_for_a_while_is_no_collapse(seed):
    """As an MLP on digits was seen to begin: a tenth of the data's diversity for ten records, then up."""
    found = states(noisy(seed, lambda t: 0.8, lambda t: 0.08 if t * RECORDS < 11 else min(0.9, 0.08 + 0.035 * (t * RECORDS - 11))))
    assert changes(found) == ["warming up", "balanced"]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("level", [0.97, 0.98, 0.44, 0.40])
def test_a_curve_at_a_threshold_does_not_flap(seed, level):
    assert len(changes(states(noisy(seed, lambda t: level, rising)))) <= 4


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("level", [0.73, 0.3])
def test_diversity_at_a_threshold_does_not_flap(seed, level):
    assert len(changes(states(noisy(seed, lambda t: 0.7, lambda t: 0.97 if t < 0.3 else level)))) <= 4


def test_one_bad_batch_changes_nothing():
    records = list(noisy(0, lambda t: 0.7, rising))
    records[100]["stats"].update({"discriminator/accuracy": 0.0, "diversity": 0.0})
    assert changes(states(records)) == ["warming up", "balanced"]


def test_early_scatter_above_the_data_is_not_mourned():
    assert "diversity falling" not in states(noisy(0, lambda t: 0.7, lambda t: 1.4 if t < 0.3 else 0.97))


def test_the_number_is_the_mean_of_the_last_ten_and_stands_in_the_sentence(monkeypatch):
    monkeypatch.setenv("AGON_LANG", "en")
    health, values = Health(), [0.7 + 0.001 * index for index in range(40)]
    for value in values:
        verdict = health.update({"stats": {"critic/accuracy": value, "diversity": 0.95}})
    assert (
        verdict.number == pytest.approx(sum(values[-10:]) / 10) and "73 %" in verdict.sentence and verdict.advice == ""
    )
    for _ in range(30):
        verdict = health.update({"stats": {"critic/accuracy": 0.7, "diversity": 0.1}})
    assert verdict.state == "collapse suspected" and verdict.number == pytest.approx(0.1)
    assert "10 %" in verdict.sentence and "checkpoint" in verdict.advice


def test_every_alarm_has_advice_and_a_chinese_sentence(monkeypatch):
    from agon.train.health import describe

    for state in STATES:
        monkeypatch.setenv("AGON_LANG", "en")
        english = describe(state, 0.5, 0.9)
        monkeypatch.setenv("AGON_LANG", "zh_CN")
        chinese = describe(state, 0.5, 0.9)
        assert bool(english.advice) == (state not in ("warming up", "balanced"))
        assert any("\u4e00" <= letter <= "\u9fff" for letter in chinese.sentence)
        assert ("50 %" in chinese.sentence) == ("50 %" in english.sentence)


@pytest.mark.parametrize("cut", [3, 12, 95, 130])
def test_the_state_survives_json_and_the_verdicts_go_on_alike(cut):
    records = list(noisy(7, lambda t: 0.7 if t < 0.5 else 0.999, rising))
    whole, first = Health(), Health()
    expected = [whole.update(record) for record in records]
    for record in records[:cut]:
        first.update(record)
    second = Health()
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert [second.update(record) for record in records[cut:]] == expected[cut:]
    assert second.state_dict() == whole.state_dict() and len(json.dumps(second.state_dict())) < 1500


def test_missing_and_broken_numbers_are_passed_over():
    health = Health()
    for index in range(30):
        verdict = health.update(
            {"stats": {"discriminator/accuracy": math.nan if index % 2 else 0.7, "diversity": math.inf}}
        )
    assert verdict.state == "balanced" and verdict.number == pytest.approx(0.7)
    silent = Health()
    for _ in range(30):
        verdict = silent.update({})
    assert verdict.state == "balanced" and verdict.number is None
    only = Health()
    for _ in range(30):
        verdict = only.update({"stats": {"diversity": 0.9}})
    assert verdict.state == "balanced" and verdict.number == pytest.approx(0.9)
