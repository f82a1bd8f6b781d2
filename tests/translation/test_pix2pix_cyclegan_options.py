"""Options of pix2pix and CycleGAN that their papers do not have. Oracles: the definitions, written out."""

import pytest
import torch

from agon import catalog
from agon.config import build
from agon.data.source import Batch, DataSpec
from agon.game import Context
from agon.networks.patch import PatchDiscriminator

SPEC = DataSpec("image", (3, 8, 8), source_shape=(3, 8, 8), source_kind="picture", paired=True)


def made(name, **fields):
    cls = catalog.load(name)
    torch.manual_seed(0)
    return cls(build(cls.Config, cls.presets["tiny"].fields, {"init": "xavier", **fields}), SPEC)


def context(n):
    ctx = Context(step=0, num_images=0, progress=0.0, logging=False, mean_over_ranks=lambda x: x)
    ctx.begin(torch.Generator().manual_seed(0), 0, n, n)
    return ctx


def batch(n=3):
    draws = torch.Generator().manual_seed(1)
    return Batch(torch.rand(n, 3, 8, 8, generator=draws) * 2 - 1, source=torch.rand(n, 3, 8, 8, generator=draws) * 2 - 1)


def test_r1_is_half_the_squared_slope_of_the_mean_logit():
    game, given = made("pix2pix", norm="none", penalty_weight=6.0), batch()
    terms = game.discriminator_loss(given, context(3))
    real = given.real.clone().requires_grad_()
    logits = game.discriminator(torch.cat([given.source, real], 1)).mean((1, 2, 3))
    (slope,) = torch.autograd.grad(logits.sum(), real)
    torch.testing.assert_close(terms["penalty"], 6 * 0.5 * slope.square().flatten(1).sum(1).mean())


@pytest.mark.parametrize("norm, own, batch_norms", [("batch", "same", True), ("batch", "none", False), ("none", "same", False)])
def test_the_discriminator_has_a_norm_of_its_own(norm, own, batch_norms):
    game = made("pix2pix", norm=norm, discriminator_norm=own)
    assert isinstance(game.discriminator, PatchDiscriminator)
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in game.discriminator.modules()) == batch_norms


def test_spectral_norm_bounds_every_weight_of_the_discriminator():
    game = made("pix2pix", norm="none", spectral_norm=True)
    largest = [float(torch.linalg.matrix_norm(stage[0].weight.detach().flatten(1), 2)) for stage in game.discriminator.stages]
    assert largest == pytest.approx([1] * len(largest), abs=0.05)
    plain = made("pix2pix", norm="none")
    assert any(abs(float(torch.linalg.matrix_norm(stage[0].weight.detach().flatten(1), 2)) - 1) > 0.1 for stage in plain.discriminator.stages)


def test_a_residual_translator_adds_what_it_draws():
    game, given = made("cyclegan", residual=True), batch()
    drawn = {name: network(given.source) for name, network in game.generator.items()}
    for direction, name in (("forward", "to_target"), ("backward", "to_source")):
        expected = (given.source + 2 * drawn[name]).clamp(-1, 1)
        torch.testing.assert_close(game.translate(given.source, direction=direction), expected)
    with torch.no_grad():
        for parameter in game.generator.parameters():
            parameter.zero_()
    torch.testing.assert_close(game.translate(given.source), given.source)
    terms = game.generator_loss(given, context(3))
    assert terms["cycle_target"] == 0 and terms["cycle_source"] == 0 and terms["identity_target"] == 0  # drawing nothing leaves everything as it is
