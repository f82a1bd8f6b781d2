"""Oracles: torch's own cross-entropy, closed forms at chosen logits, and what theory says of the best discriminator."""

import math

import pytest
import torch
import torch.nn.functional as F

from agon.losses import adversarial as losses

REAL, FAKE = torch.tensor([0.0, 2.0, -1.5, 0.25]), torch.tensor([-1.0, 3.0, 0.5, 0.0])
PAIRS = {
    "cross_entropy": (losses.cross_entropy_discriminator, losses.non_saturating_generator),
    "minimax": (losses.cross_entropy_discriminator, losses.minimax_generator),
    "least_squares": (losses.least_squares_discriminator, losses.least_squares_generator),
    "wasserstein": (losses.wasserstein_critic, losses.wasserstein_generator),
    "hinge": (losses.hinge_discriminator, losses.hinge_generator),
}
ALL = [
    losses.cross_entropy_discriminator, losses.least_squares_discriminator, losses.wasserstein_critic, losses.hinge_discriminator,
    losses.relativistic_discriminator, losses.relativistic_generator,
    lambda real, fake: losses.minimax_generator(fake), lambda real, fake: losses.non_saturating_generator(fake),
    lambda real, fake: losses.least_squares_generator(fake), lambda real, fake: losses.wasserstein_generator(fake),
    lambda real, fake: losses.hinge_generator(fake),
]  # fmt: skip


def bce(logits, target):
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
def test_cross_entropy_is_torchs_with_the_smoothed_target_on_real_samples_only(smoothing):
    torch.manual_seed(0)
    real, fake = (3 * torch.randn(2, 50)).requires_grad_().unbind()
    expected = bce(real, 1 - smoothing) + bce(fake, 0.0)
    found = losses.cross_entropy_discriminator(real, fake, smoothing)
    torch.testing.assert_close(found, expected)
    for mine, theirs in zip(
        torch.autograd.grad(found, (real, fake)), torch.autograd.grad(expected, (real, fake)), strict=True
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-7, rtol=1e-5)


def test_generator_cross_entropies_are_torchs():
    torch.testing.assert_close(losses.non_saturating_generator(FAKE), bce(FAKE, 1.0))
    torch.testing.assert_close(losses.minimax_generator(FAKE), -bce(FAKE, 0.0))


def test_minimax_and_non_saturating_pull_the_same_way_but_only_one_vanishes_where_the_discriminator_is_sure():
    """d/dl log(1 - sigmoid(l)) = -sigmoid(l); d/dl -log sigmoid(l) = sigmoid(l) - 1."""
    logits = torch.tensor([-12.0, 0.0, 12.0], requires_grad=True)
    (minimax,) = torch.autograd.grad(3 * losses.minimax_generator(logits), logits)
    (other,) = torch.autograd.grad(3 * losses.non_saturating_generator(logits), logits)
    torch.testing.assert_close(minimax, -torch.sigmoid(logits.detach()))
    torch.testing.assert_close(other, torch.sigmoid(logits.detach()) - 1)
    assert (minimax <= 0).all() and (other <= 0).all() and minimax[0] > -1e-4 and other[0] < -0.99


@pytest.mark.parametrize("smoothing", [0.0, 0.25])
def test_least_squares_closed_form(smoothing):
    expected = 0.5 * sum((r - (1 - smoothing)) ** 2 for r in REAL.tolist()) / 4 + 0.5 * sum(f**2 for f in FAKE.tolist()) / 4
    assert losses.least_squares_discriminator(REAL, FAKE, smoothing).item() == pytest.approx(expected)
    assert losses.least_squares_generator(FAKE).item() == pytest.approx(0.5 * sum((f - 1) ** 2 for f in FAKE.tolist()) / 4)


def test_wasserstein_and_hinge_closed_forms():
    real, fake = REAL.tolist(), FAKE.tolist()
    assert losses.wasserstein_critic(REAL, FAKE).item() == pytest.approx(sum(fake) / 4 - sum(real) / 4)
    expected = sum(max(0, 1 - r) for r in real) / 4 + sum(max(0, 1 + f) for f in fake) / 4
    assert losses.hinge_discriminator(REAL, FAKE).item() == pytest.approx(expected)
    for generator in (losses.wasserstein_generator, losses.hinge_generator):
        assert generator(FAKE).item() == pytest.approx(-sum(fake) / 4)


def test_relativistic_losses_are_one_function_with_the_places_changed():
    expected = sum(math.log1p(math.exp(f - r)) for r, f in zip(REAL.tolist(), FAKE.tolist(), strict=True)) / 4
    assert losses.relativistic_discriminator(REAL, FAKE).item() == pytest.approx(expected)
    assert torch.equal(losses.relativistic_generator(REAL, FAKE), losses.relativistic_discriminator(FAKE, REAL))
    torch.testing.assert_close(losses.relativistic_discriminator(REAL + 7, FAKE + 7), losses.relativistic_discriminator(REAL, FAKE))
    assert losses.relativistic_generator(REAL, REAL).item() == pytest.approx(math.log(2))
    # in pairs, not against the mean: another pairing is another value
    assert losses.relativistic_discriminator(REAL, FAKE.flip(0)).item() != pytest.approx(expected, rel=1e-3)


def discrete():
    """Two distributions over 5 values, and samples (logits) whose shares are exactly theirs."""
    p, q = torch.tensor([1, 2, 3, 4, 10]), torch.tensor([6, 1, 3, 8, 2])
    return p, q, p / p.sum(), q / q.sum()


def test_the_best_discriminator_reaches_log4_minus_twice_the_jensen_shannon_divergence():
    """Goodfellow et al. 2014, theorem 1: D* = p / (p + q), value -log 4 + 2 JSD."""
    counts_p, counts_q, p, q = discrete()
    logits = torch.log(p / q)
    middle = (p + q) / 2
    jsd = 0.5 * (p * (p / middle).log()).sum() + 0.5 * (q * (q / middle).log()).sum()
    expected = math.log(4) - 2 * jsd

    def value(logits):
        return losses.cross_entropy_discriminator(logits.repeat_interleave(counts_p), logits.repeat_interleave(counts_q))

    assert value(logits).item() == pytest.approx(expected.item(), rel=1e-5)
    leaf = logits.clone().requires_grad_()
    (slope,) = torch.autograd.grad(value(leaf), leaf)
    assert slope.abs().max() < 1e-6  # and it is the best


def test_the_best_least_squares_discriminator_is_the_same_and_has_its_closed_form():
    """D* = p / (p + q) (Mao et al. 2017, equation 5 with a = 0, b = 1); the loss there is 1/2 sum p q / (p + q)."""
    counts_p, counts_q, p, q = discrete()
    best = (p / (p + q)).requires_grad_()
    value = losses.least_squares_discriminator(best.repeat_interleave(counts_p), best.repeat_interleave(counts_q))
    assert value.item() == pytest.approx((0.5 * p * q / (p + q)).sum().item(), rel=1e-5)
    assert torch.autograd.grad(value, best)[0].abs().max() < 1e-6


@pytest.mark.parametrize("loss", ALL)
def test_sixteen_bit_logits_are_judged_in_float32(loss):
    torch.manual_seed(1)
    real, fake = (5 * torch.randn(2, 257)).bfloat16()
    found = loss(real, fake)
    assert found.dtype == torch.float32 and found.dim() == 0
    assert torch.equal(found, loss(real.float(), fake.float()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss(real, fake), found)


@pytest.mark.parametrize("loss", ALL)
def test_extreme_logits_stay_finite(loss):
    real, fake = torch.tensor([1e4, -1e4]).requires_grad_(), torch.tensor([-1e4, 1e4]).requires_grad_()
    value = loss(real, fake)
    assert value.isfinite()
    assert all(g is None or g.isfinite().all() for g in torch.autograd.grad(value, (real, fake), allow_unused=True))


@pytest.mark.parametrize("name", PAIRS)
def test_the_players_want_opposite_things_of_a_fake(name):
    discriminator, generator = PAIRS[name]
    fake = torch.tensor([0.1, -0.2, 0.3], requires_grad=True)
    real = torch.zeros(3)
    (theirs,) = torch.autograd.grad(discriminator(real, fake), fake)
    (mine,) = torch.autograd.grad(generator(fake), fake)
    if name != "least_squares":  # there the discriminator pulls to 0 and the generator to 1
        assert (theirs > 0).all()
    assert (mine < 0).all()


def test_pair_accuracy_counts_pairs_and_halves_ties():
    real, fake = torch.tensor([1.0, 2.0, 3.0, -1.0]), torch.tensor([0.0, 2.0, 4.0, -3.0])
    assert losses.pair_accuracy(real, fake).item() == (1 + 0.5 + 0 + 1) / 4
    assert losses.pair_accuracy(real, real).item() == 0.5
    assert not losses.pair_accuracy(real.requires_grad_(), fake).requires_grad
