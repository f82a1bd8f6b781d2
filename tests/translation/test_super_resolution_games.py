"""Oracles: each loss written out from the paper with the game's own networks; who moves in which stage; invariants of enlarging."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from agon import catalog
from agon.config import build
from agon.data import open_dataset
from agon.data.source import ArraySource, DataSpec
from agon.errors import UserError
from agon.train.optimizers import learning_rate
from agon.train.trainer import Trainer

GAMES = ("srgan", "esrgan", "realesrgan")
NORMS = {"srgan": {"discriminator_norm": "none"}, "esrgan": {"discriminator_norm": "none"}, "realesrgan": {}}


def data(shape=(3, 16, 24), recipe="downscale:4", n=32):
    pictures = np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8)
    return open_dataset(ArraySource("noise", DataSpec("image", shape), pictures), input=recipe)


def made(name, source, **fields):
    cls = catalog.load(name)
    torch.manual_seed(0)
    return cls(build(cls.Config, cls.presets["tiny"].fields, {"precision": "fp32", **fields}), source.spec)


def trained(name, source, steps, **fields):
    trainer = Trainer(made(name, source, **fields), source)
    for _ in range(steps):
        trainer.advance()
    return trainer


class Now:
    """A moment that keeps and takes."""

    logging = False

    def __init__(self):
        self.kept = {}

    def keep(self, name, value):
        self.kept[name] = value

    def take(self, name):
        return self.kept.pop(name)


def cross(logits, wanted):
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, wanted))


def expected_adversarial(name, game, real, fake):
    """(discriminator's, generator's) from the formulas."""
    a, b = game.discriminator(real), game.discriminator(fake)
    if name != "esrgan":
        return cross(a, 1.0) + cross(b, 0.0), cross(b, 1.0)
    d = (cross(a - b.mean(), 1.0) + cross(b - a.mean(), 0.0)) / 2
    return d, (cross(a - b.mean(), 0.0) + cross(b - a.mean(), 1.0)) / 2


@pytest.mark.parametrize("name", GAMES)
def test_the_losses_are_the_papers(name):
    source = data()
    weights = {"srgan": (1e-3, 1e-2), "esrgan": (5e-3, 1e-2), "realesrgan": (0.1, 1.0)}[name]
    game = made(name, source, perceptual_weight=0.7, **NORMS[name])
    batch, now = source.read(np.arange(4)), Now()
    real, small = (batch.real + 1) / 2, (batch.source + 1) / 2
    with torch.no_grad():
        fake = game.generator(small)
        wanted = real
        if name == "realesrgan":
            from agon.data.inputs.realesrgan import sharpened

            wanted = sharpened(real)
            assert not torch.equal(wanted, real)
        maps = [(a - b).abs().mean() for a, b in zip(game.eyes.network(2 * fake - 1), game.eyes.network(2 * wanted - 1), strict=True)]
        judge, forger = expected_adversarial(name, game, real, fake)
        first, second, third = game.pretraining_loss(batch, now), game.generator_loss(batch, now), game.discriminator_loss(batch, now)
    torch.testing.assert_close(first, {"pixel": (fake - wanted).abs().mean()})
    expected = {"adversarial": weights[0] * forger, "pixel": weights[1] * (fake - wanted).abs().mean(), "perceptual": 0.7 * sum(maps)}
    torch.testing.assert_close(second, expected)
    torch.testing.assert_close(third, {"adversarial": judge})


@pytest.mark.parametrize("name", GAMES)
def test_pixels_alone_first_then_both_play(name):
    source = data(recipe="realesrgan:4" if name == "realesrgan" else "downscale:4")
    trainer = trained(name, source, 0, images=64, pretrain=0.5)
    states = []
    for _ in range(2):
        before = {key: value.clone() for key, value in trainer.game.named_parameters()}
        for _ in range(4):
            trainer.advance()
        states.append({key.partition(".")[0] for key, value in trainer.game.named_parameters() if not torch.equal(value, before[key])})
    assert states == [{"generator"}, {"generator", "discriminator"}]
    assert [stage.length for stage in trainer.stages] == [32, None] and list(trainer.players) == ["pretraining", "discriminator", "generator"]


def test_either_stage_may_be_left_out_and_the_first_ones_rate_falls():
    source = data()
    only, without = made("srgan", source, pretrain=1), made("srgan", source, pretrain=0)
    assert [s.name for s in only.stages()] == ["pretraining"] and list(only.players()) == ["pretraining"]
    assert [s.name for s in without.stages()] == ["adversarial"] and list(without.players()) == ["discriminator", "generator"]
    game = made("srgan", source, pretrain=0.25, pretrain_lr=1e-3, pretrain_decay=0.1)
    config = game.players()["pretraining"].optimizer
    rates = [learning_rate(config, progress, 0) for progress in (0.0, 0.125, 0.25)]
    np.testing.assert_allclose(rates, [1e-3, 1e-3 * 0.1**0.5, 1e-4], rtol=1e-6)


def test_learning_on_pixels_lowers_the_error():
    """Flat pictures with a bright half: bicubic blurs the edge, which always lies in the same place."""
    pictures = np.full((16, 1, 16, 16), 40, np.uint8) + np.random.default_rng(0).integers(0, 60, (16, 1, 1, 1), dtype=np.uint8)
    pictures[..., 6:] += 120
    source = open_dataset(ArraySource("halves", DataSpec("image", (1, 16, 16)), pictures), input="downscale:4")
    fields = {"pretrain": 1, "images": 480, "base": "bicubic", "init": "xavier", "pretrain_lr": 5e-3, "ema_half_life_images": 0, "width": 8}
    batch = source.read(np.arange(16))
    errors = [float((trained("srgan", source, steps, **fields).game.translate(batch.source) - batch.real).abs().mean()) for steps in (0, 60)]
    assert errors[1] < 0.4 * errors[0]


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("network", ["msrresnet", "srresnet", "rrdb", "srvgg"])
def test_enlarges_any_size_by_its_factor_in_the_units_of_the_data(network, scale):
    source = data((3, 12, 24), f"downscale:{scale}")
    game = made("esrgan", source, network=network)
    small = torch.rand(2, 3, 9, 7) * 2 - 1
    got = game.translate(small)
    assert got.shape == (2, 3, 9 * scale, 7 * scale) and game.scale == scale
    with torch.no_grad():
        right, down = -7 % game.multiple, -9 % game.multiple
        alone = game.generator.eval()((F.pad(small, (0, right, 0, down), mode="reflect") + 1) / 2) * 2 - 1
    torch.testing.assert_close(got, alone[:, :, : 9 * scale, : 7 * scale].clamp(-1, 1))


@pytest.mark.parametrize("network", ["msrresnet", "srresnet", "rrdb", "srvgg"])
@pytest.mark.parametrize("scale", [2, 4])
def test_what_lies_beyond_the_reach_has_no_influence(network, scale):
    game = made("esrgan", data((1, 8, 8), f"downscale:{scale}"), network=network, base="bicubic").double()
    for tensor in game.generator.parameters():
        torch.nn.init.normal_(tensor)
    one = torch.rand(1, 1, 8, 96, dtype=torch.float64) * 2 - 1
    other = one.clone()
    other[..., 60:] = -other[..., 60:]
    with torch.no_grad():
        a, b = (game.generator.eval()((x + 1) / 2) for x in (one, other))
    changed = (a != b).any(2).flatten().nonzero()[0].item() / scale
    assert 60 - game.reach <= changed < 60


def test_what_is_frozen_is_in_no_checkpoint_and_of_no_player():
    game = made("srgan", data())
    assert game.eyes and not any("kernel" in name or "eyes" in name for name in game.state_dict())
    assert made("srgan", data(), perceptual="none").eyes is None and made("srgan", data(), perceptual_weight=0).eyes is None


def test_vgg_is_asked_for_when_a_training_begins_and_not_to_translate(tmp_path):
    source = data()
    game = made("srgan", source, perceptual="vgg")
    assert game.translate(source.read(np.arange(1)).source).shape == (1, 3, 16, 24)
    with pytest.raises(UserError, match="vgg_weights is empty"):
        Trainer(game, source)
    with pytest.raises(UserError, match="There is no"):
        Trainer(made("realesrgan", source, perceptual="vgg", vgg_weights=str(tmp_path / "vgg.pth")), source)
    (tmp_path / "vgg.pth").write_bytes(b"x")
    with pytest.raises(UserError, match="SHA-256"):
        Trainer(made("esrgan", source, perceptual="vgg", vgg_weights=str(tmp_path / "vgg.pth")), source)


def test_wrong_use_is_refused():
    spec = DataSpec("image", (3, 16, 24), source_shape=(3, 5, 6), source_kind="picture", paired=True)
    cls = catalog.load("srgan")
    with pytest.raises(UserError, match="whole factor"):
        cls(build(cls.Config, cls.presets["tiny"].fields), spec)
    for fields in ({"vgg_layers": "conv5_4"}, {"pretrain": 1.5}, {"blocks": 0}, {"pretrain_decay": 0}):
        with pytest.raises(UserError, match=next(iter(fields))):
            build(cls.Config, fields)


def test_relativistic_averages_couple_a_batch_and_can_be_left_out():
    source = data()
    assert made("esrgan", source, **NORMS["esrgan"]).batch_coupled() == ["relativistic"]
    alone = made("esrgan", source, relativistic="none", **NORMS["esrgan"])
    assert alone.batch_coupled() == [] and made("realesrgan", source).batch_coupled() == []
    batch, now = source.read(np.arange(4)), Now()
    with torch.no_grad():
        term = alone.generator_loss(batch, now)["adversarial"]
        expected = 5e-3 * cross(alone.discriminator(now.kept["fake"]), 1.0)
    torch.testing.assert_close(term, expected)


def test_a_power_iteration_follows_each_of_the_discriminators_steps():
    source = data()
    trainer = trained("realesrgan", source, 1, pretrain=0)
    layers = [trainer.game.discriminator.get_submodule(f"conv{i}") for i in range(1, 9)]
    before = [layer.parametrizations.weight[0].right.clone() for layer in layers]
    trainer.advance()
    for layer, right in zip(layers, before, strict=True):
        left = F.normalize(layer.parametrizations.weight.original.detach().flatten(1) @ right, dim=0)
        torch.testing.assert_close(layer.parametrizations.weight[0].left, left)
