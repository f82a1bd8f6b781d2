"""Oracles: generators that are waves on the plane, which move exactly as they are told, and what noise that stays with the pixels costs them."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from agon.config import build
from agon.data.source import DataSpec
from agon.errors import Unavailable
from agon.games.stylegan3 import StyleGAN3
from agon.metrics import equivariance as module
from agon.metrics.equivariance import as_if_rotated, band_limit, decibels, equivariance, generator_of, measure, rotate
from agon.metrics.samples import Samples


@pytest.fixture(autouse=True)
def short_filters(monkeypatch):
    """Ideal filters computed to 20 pixels rather than 64: a tenth of the time."""
    monkeypatch.setattr(module, "REACH", 20)


class Waves:
    """Three waves of up to 4 cycles a picture. ``wrong``: obeys the inverse of what it is told. ``noise``: standard deviation of what sticks to the pixels."""

    def __init__(self, size=(40, 40), *, wrong=False, noise=0.0):
        self.size, self.wrong = size, wrong
        pattern = torch.randn(*size, generator=torch.Generator().manual_seed(5))
        self.noise = noise * pattern / pattern.std()
        self.transform = torch.eye(3)
        self.generator = SimpleNamespace(synthesis=SimpleNamespace(input=SimpleNamespace(transform=self.transform)))

    def draw_latent(self, n, generator):
        return torch.rand(n, 3, 3, generator=generator) - 0.5

    def mapping(self, latent, label=None):
        return latent if label is None else latent * label.view(-1, 1, 1)

    def from_w(self, w):
        (height, width), unit = self.size, min(self.size)
        place = torch.ones(height, width, 3)
        place[..., 0] = (torch.arange(width) + 0.5 - width / 2) / unit
        place[..., 1] = ((torch.arange(height) + 0.5 - height / 2) / unit)[:, None]
        place = (place @ (self.transform.inverse() if self.wrong else self.transform).T)[..., :2]
        turns = torch.einsum("hwk,nck->nchw", place, 8 * w[..., :2]) + w[..., 2, None, None]
        return 0.5 * torch.sin(2 * math.pi * turns) + self.noise


def score(name, game, **how):
    return decibels(equivariance(name, game, game.transform, count=how.pop("count", 8), **how))


@pytest.mark.parametrize("size", [(40, 40), (36, 48)], ids=str)
def test_waves_move_as_they_are_told(size):
    """Whole pixels: to rounding. Parts and rotations: to what filters of 6 and 12 pixels leave."""
    assert score("eq_t", Waves(size)) > 100
    assert score("eq_t_frac", Waves(size)) > 45
    assert score("eq_r", Waves(size)) > 45


def test_the_wrong_way_is_found_out():
    assert score("eq_t", Waves(wrong=True)) < 20
    assert score("eq_t_frac", Waves(wrong=True)) < 20
    assert score("eq_r", Waves(wrong=True)) < 20


def test_what_sticks_to_the_pixels():
    """Noise s at two places: a mean squared difference of 2 s^2 under whole pixels (of up to 5, of which one in a hundred is none): 10 log10(4 / 2 s^2) dB."""
    assert score("eq_t", Waves(noise=0.1), count=400) == pytest.approx(10 * math.log10(4 / 0.02 / 0.99), abs=0.3)
    assert score("eq_r", Waves(noise=0.1)) < 30


def test_decibels():
    assert decibels(np.array([[3.0, 10.0], [1.0, 30.0]])) == pytest.approx(10 * math.log10(4 / 0.1))
    assert decibels(np.array([[0.0, 10.0]])) == pytest.approx(120)


def test_rotating_quarters_and_constants():
    """A quarter turn is a permutation of pixels up to the filter's droop, a constant stays one where all is known."""
    x = Waves().from_w(torch.rand(2, 3, 3, generator=torch.Generator().manual_seed(0)) - 0.5)
    turned, known = rotate(x, math.pi / 2)
    assert known.sum() > 600
    assert ((turned - torch.rot90(x, 1, (2, 3))) * known).abs().max() < 0.02
    flat = torch.ones(1, 1, 40, 40)
    for pictures, mask in (rotate(flat, 0.7), as_if_rotated(flat, 0.7)):
        assert mask.any() and ((pictures - 1) * mask).abs().max() < 1e-5
    for finer in (1, 4):
        kernel = band_limit(0.4, finer)
        assert kernel.shape == (12 * finer - 1, 12 * finer - 1) and kernel.sum().item() == pytest.approx(1, abs=1e-6)
        torch.testing.assert_close(kernel, kernel.flip(0, 1), atol=2e-4, rtol=0)


def test_the_authors_filter():
    """What their filter for R*_a, a = 22.5 degrees counter-clockwise, makes of two waves, mirror images of each other (it is not symmetric)."""
    x, y = torch.arange(40.0), torch.arange(40.0)[:, None]
    for fy, gain in ((0.2, 1.0946143), (-0.2, 1.2355194)):
        wave = torch.cos(2 * math.pi * (0.45 * x + fy * y))[None, None]
        found, mask = as_if_rotated(wave, math.pi / 8)
        torch.testing.assert_close(found * mask, gain * wave * mask, rtol=0, atol=1e-5)


def test_same_seed_same_number_and_nothing_stays_moved():
    game = Waves(noise=0.1)
    game.transform[0, 2] = 0.25
    kept = game.transform.clone()
    one, again, other = (score("eq_t", game, seed=seed) for seed in (1, 1, 2))
    assert one == again != other
    assert torch.equal(game.transform, kept)
    labels = [torch.full((8,), 0.5), torch.tensor([0.5] * 4 + [0.25] * 4)]
    first, second = (equivariance("eq_t", game, game.transform, count=8, seed=1, label=label) for label in labels)
    assert (first[0] == second[0]).all() and first[1, 0] != second[1, 0], "a label goes with its picture"


def test_a_game_and_its_protocol():
    """StyleGAN3's R is equivariant to rotation before any training, T is not (section 3.2)."""
    found = {}
    for name, fields in (("r", {"kernel": 1, "radial": True, "generator_channels": 2}), ("t", {})):
        torch.manual_seed(0)
        config = build(StyleGAN3.Config, StyleGAN3.presets["tiny"].fields, {"num_layers": 4, "margin": 6, "channel_max": 16, **fields})
        game = StyleGAN3(config, DataSpec("image", (1, 32, 32))).eval()
        empty = np.zeros((12, 1, 32, 32), np.uint8)
        samples = Samples.of_arrays(empty, empty, generator=game, seed=7)
        found[name] = {entry["metric"]: entry for entry in measure(samples, ["eq_t", "eq_r"])}
        assert torch.equal(game.generator.synthesis.input.transform, torch.eye(3))
    assert found["r"]["eq_r"]["value"] > found["t"]["eq_r"]["value"] + 6
    entry = found["r"]["eq_r"]
    assert entry["num_fake"] == 12 and entry["standard_error"] > 0 and entry["protocol"]["motion"] == "rotation, any angle"
    assert decibels(np.array([[entry["details"]["mean_squared_difference"], 1.0]])) == pytest.approx(entry["value"])


def test_generators_that_cannot_be_moved():
    for game in (None, SimpleNamespace(generator=torch.nn.Linear(2, 2)), SimpleNamespace(generator=Waves().generator)):
        with pytest.raises(Unavailable, match="synthesis.input.transform"):
            generator_of(game)
    assert generator_of(game := Waves())[0] is game and set(module.METRICS) == {"eq_t", "eq_t_frac", "eq_r"}
