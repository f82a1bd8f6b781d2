"""Oracle: the average written as a weighted sum of everything seen."""

import pytest
import torch
from torch import nn

from agon.train.ema import Ema


class Game(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.generator = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2)))
        self.discriminator = nn.Linear(2, 1)


def weights(module):
    return [p.detach().clone() for p in module.parameters()]


@pytest.mark.parametrize("rampup", [0.0, 0.25])
def test_closed_form_with_ramp_up(rampup):
    game = Game()
    ema = Ema(game, ("generator",), 100, rampup)
    expected = [p.double() for p in weights(game.generator)]
    seen = 0
    for elapsed in (16, 16, 32, 8, 400, 16):
        seen += elapsed
        with torch.no_grad():
            for p in game.generator.parameters():
                p.add_(torch.randn_like(p))
        half_life = min(100, rampup * seen) if rampup else 100
        decay = 2 ** (-elapsed / half_life)
        expected = [decay * old + (1 - decay) * new.double() for old, new in zip(expected, weights(game.generator), strict=True)]
        ema.update(seen, elapsed)
        for found, want in zip(weights(ema.modules["generator"]), expected, strict=True):
            torch.testing.assert_close(found.double(), want, atol=1e-6, rtol=1e-5)


def test_after_one_half_life_half_is_forgotten():
    game = Game()
    ema = Ema(game, ("discriminator",), 1000, 0.0)
    before = game.discriminator.weight.detach().clone()
    nn.init.constant_(game.discriminator.weight, 4.0)
    for _ in range(10):
        ema.update(10**6, 100)
    torch.testing.assert_close(ema.modules["discriminator"].weight.data, (before + 4) / 2)


def test_two_short_steps_are_one_long_one():
    games = Game(), Game()
    emas = [Ema(game, ("generator",), 50, 0.0) for game in games]
    for game in games:
        nn.init.constant_(game.generator[0].weight, 2.0)
    emas[0].update(32, 16)
    emas[0].update(32, 16)
    emas[1].update(32, 32)
    for a, b in zip(*(weights(ema.modules) for ema in emas), strict=True):
        torch.testing.assert_close(a, b)


def test_buffers_are_copied_not_averaged():
    game = Game()
    ema = Ema(game, ("generator",), 10**9, 0.0)
    for _ in range(3):
        game.generator(torch.randn(8, 2))
    ema.update(8, 8)
    live, average = dict(game.generator.named_buffers()), dict(ema.modules["generator"].named_buffers())
    assert int(live["1.num_batches_tracked"]) == 3 and len(live) >= 5
    assert all(torch.equal(live[name], average[name]) and live[name] is not average[name] for name in live)


def test_the_average_stands_in_for_the_live_network_only_for_a_while():
    game = Game()
    ema = Ema(game, ("generator",), 10, 0.0)
    live = game.generator
    nn.init.constant_(live[0].weight, 9.0)
    with ema.applied() as seen:
        assert seen is game and game.generator is ema.modules["generator"] and not game.generator[0].weight.requires_grad
    assert game.generator is live
    with pytest.raises(RuntimeError), ema.applied():
        raise RuntimeError
    assert game.generator is live and list(dict(game.named_children())) == ["generator", "discriminator"]
    assert live[0].weight.requires_grad and (live[0].weight == 9).all()


def test_buffers_are_those_of_the_moment_between_two_updates_too():
    game = Game()
    ema = Ema(game, ("generator",), 1000, 0.0)
    game.generator[1].running_mean.fill_(3.0)
    with ema.applied():
        assert torch.equal(game.generator[1].running_mean, torch.full((3,), 3.0))
    game.generator[1].running_mean.fill_(4.0)
    ema.copy_buffers()
    assert torch.equal(ema.modules["generator"][1].running_mean, torch.full((3,), 4.0))
