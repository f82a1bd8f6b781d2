"""The numbers of a live game against closed forms, and what a perfect sampler reads."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from agon.errors import UserError
from agon.losses.penalties import gradient_at
from agon.playground.learn import narrator
from agon.playground.learn.arena import Arena
from agon.playground.learn.choices import BY_NAME, OBJECTIVES, Shared, StageChoice, fields_of
from agon.playground.learn.data import GIVEN, KINDS, open_points
from agon.playground.learn.measures import NUM_FAKES, Cells, Measures, Reading

MADE = [kind.id for kind in KINDS if kind.id not in GIVEN]


@pytest.mark.parametrize("data", MADE)
def test_a_perfect_sampler_reads_almost_nothing(data):
    measures = Measures(open_points(data))
    fresh = measures.perfect(NUM_FAKES, np.random.default_rng(11))
    leaves = measures.cells.leaves
    assert 0 < measures.floor.js < 0.02 and abs(measures.read(fresh).js - leaves / (8 * NUM_FAKES)) < 0.006  # K / (8 N), to sampling noise
    if measures.mixture is not None:
        assert measures.floor.modes == len(measures.mixture.centers)
        assert measures.floor.high_quality == pytest.approx(1 - math.exp(-4.5), abs=0.005)


@pytest.mark.parametrize("data", MADE)
def test_fakes_elsewhere_read_log_two_and_those_between_are_seen(data):
    measures = Measures(open_points(data))
    assert measures.read(np.full((NUM_FAKES, 2), 1e3)).js == pytest.approx(math.log(2), abs=1e-3)
    low, high = measures.real.min(0), measures.real.max(0)
    everywhere = np.random.default_rng(0).uniform(low, high, (NUM_FAKES, 2))
    assert measures.read(everywhere).js > 0.15  # a regular grid of coarse cells would take most of them for real


def test_the_wasserstein_distance_of_a_shift_is_its_length():
    measures = Measures(open_points("moons"))
    assert measures.read(measures.some + np.array([3.0, 4.0])).w1 == pytest.approx(5.0, rel=1e-9)


@pytest.mark.parametrize("kept", [1, 4, 8])
def test_modes_are_counted(kept):
    measures = Measures(open_points("ring"))
    random = np.random.default_rng(0)
    points = measures.mixture.centers[random.integers(0, kept, NUM_FAKES)] + 0.06 * random.standard_normal((NUM_FAKES, 2))
    assert measures.read(points).modes == kept


def test_half_of_the_modes_reads_the_divergence_of_half_the_modes():
    """JS(p, q) for q uniform on half of p's modes: 3/4 log(4/3) + ... = log 2 / 2 - 3/4 log 3 + log 2 in closed form."""
    measures = Measures(open_points("ring"))
    random = np.random.default_rng(0)
    points = measures.mixture.centers[random.integers(0, 4, NUM_FAKES)] + 0.06 * random.standard_normal((NUM_FAKES, 2))
    half, mixed = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25), math.log(1 / 0.75)
    assert measures.read(points).js == pytest.approx((half + mixed) / 2, abs=0.02)


def test_fakes_that_are_no_numbers_count_as_far_away():
    reading = Measures(open_points("ring")).read(np.full((NUM_FAKES, 2), np.nan))
    assert reading.js == pytest.approx(math.log(2), abs=1e-3) and reading.modes == 0 and math.isfinite(reading.w1)


def test_leaves_hold_equal_shares():
    points = np.random.default_rng(0).standard_normal((4096, 2))
    cells = Cells(points, 64)
    assert (np.bincount(cells.leaf(points)) == 64).all() and cells.counts(points)[64:].sum() == 0


def test_the_gradient_at_points_is_that_of_the_closed_form():
    points = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(gradient_at(lambda x: (x**2).sum(1).mean(), points), 2 * points, atol=1e-6)


def test_the_pushes_of_minimax_are_those_of_the_non_saturating_loss_times_the_odds():
    """d log(1 - D) = -D/(1 - D) times d(-log D) ... so the ratio at each point is D / (1 - D) (Goodfellow et al. 2014, section 3)."""
    shared = Shared()
    minimax, other = Arena(shared, [StageChoice(objective="minimax"), StageChoice(objective="non_saturating")]).stages
    fake = other.fakes(other.latents[:200])
    odds = torch.sigmoid(other.game.discriminator(fake)).detach()
    ratio = minimax.pushes(fake).norm(dim=1) / other.pushes(fake).norm(dim=1)
    assert torch.allclose(ratio, odds / (1 - odds), rtol=1e-3)


def test_the_divergence_that_a_trained_discriminator_implies_is_a_lower_bound():
    """2 JS - log 4 is the most that the game's value can be (Goodfellow et al. 2014, theorem 1), and training D brings it near."""
    arena = Arena(Shared(generator_width=8), [StageChoice()])
    stage = arena.stages[0]
    before = stage.numbers()["d_js"]
    for _ in range(150):
        arena.move("d")
    after, js = stage.numbers()["d_js"], stage.measure().js
    assert before < after < js + 0.03


@pytest.mark.parametrize("objective", [each.id for each in OBJECTIVES])
def test_the_networks_of_every_objective_are_the_same(objective):
    fields = fields_of(Shared(), StageChoice(objective=objective))
    usual = fields_of(Shared(), StageChoice())
    for name in ("generator_hidden", "discriminator_hidden", "rectifier", "init", "latent_dim", "batch_size", "seed"):
        assert fields[name] == usual[name]
    assert fields["optimizer.schedule"] == "constant" and fields["penalty_weight_final"] is None


# --- the data -------------------------------------------------------------------------------------------------------------------------


def test_moons_and_line_are_where_they_should_be():
    line, moons = (open_points(kind).read(np.arange(5000)).real.double().numpy() for kind in ("line", "moons"))
    across = line @ np.array([-0.43589, 0.9])
    assert abs(across.std() - 0.05) < 0.005 and abs((line @ np.array([0.9, 0.43589])).std() - 4 / 12**0.5) < 0.03
    centres = np.array([[-0.5, -0.25], [0.5, 0.25]])
    distance = np.abs(np.linalg.norm(moons[:, None] - centres, axis=2) - 1).min(1)
    assert np.quantile(distance, 0.99) < 0.2


@pytest.mark.parametrize(
    ("points", "said"),
    [([], "0 points"), ([[0, 0]] * 7, "7 points"), ([[1, 1]] * 20, "in one place"), ([[0, float("nan")]] * 10, "usual numbers"), ([[0, 1e9]] * 10, "usual")],
)
def test_points_that_cannot_be_played_are_refused(points, said):
    with pytest.raises(UserError, match=said):
        open_points("drawn", points)


def test_given_points_are_the_data():
    given = [[index % 5, index // 5] for index in range(40)]
    assert open_points("csv", given).read(np.arange(40)).real.tolist() == [[float(x), float(y)] for x, y in given]


# --- the narrator ---------------------------------------------------------------------------------------------------------------------

NOW = {"d_real": 0.6, "d_fake": 0.4, "accuracy": 0.7, "gradient": 0.5, "gap": 0.3}


def told(who="b", step=5, before=None, now=NOW, was=None, js=0.3, modes=8, failure="", objective="non_saturating"):
    floor = Reading(0.005, 0.1, 8, 0.99)
    reading = Reading(js, 0.2, modes, 0.9)
    return narrator.narrate(step, who, BY_NAME[objective], before or {}, now, was, reading, floor, 8, failure).template


def test_the_narrator_says_what_happened():
    assert told(step=0) == narrator.BEGIN and told(failure="step 3") == narrator.FAILED
    assert told("d", before=NOW) == narrator.DISCRIMINATOR and told("g", before=NOW) == narrator.GENERATOR
    assert told("d", before=NOW, objective="wgan_gp") == narrator.CRITIC
    assert told(now=NOW | {"accuracy": 0.99, "gradient": 0.001}) == narrator.VANISHED
    assert told(modes=3) == narrator.MISSING and told(js=0.02) == narrator.NEAR
    falling, rising = Reading(0.5, 0, 8, 0), Reading(0.1, 0, 8, 0)
    assert told(was=falling) == narrator.FALLING and told(was=rising) == narrator.RISING and told() == narrator.STEADY
