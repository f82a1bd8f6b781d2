"""Oracles: the plain float64 formulation in progressive_plain.py with the authors' names and layouts, and the published numbers of parameters."""

import math
from dataclasses import replace

import progressive_plain as plain
import pytest
import torch

from agon.config import build
from agon.data.source import Batch, DataSpec
from agon.game import Context
from agon.games.progan import Config, ProGAN
from agon.networks import progan

CONFIG = build(Config, {"latent_dim": 6, "channel_base": 64, "channel_max": 7})
SIZES = {"levels": 2, "base": 64, "most": 7}


def spec(side=16, classes=0, colours=3):
    return DataSpec("image", (colours, side, side), classes)


def load(network, names, variables):
    """Our network with the authors' values; every one of ours must be named, every one of theirs used."""
    variables["lod"] = torch.zeros((), dtype=torch.float64)
    if any("dlatent_avg" in theirs for theirs, _ in names.values()):
        variables.get("dlatent_avg", network.w_dim)
        variables["G_synthesis/lod"] = variables.pop("lod")
    assert set(variables) == {theirs for theirs, _ in names.values()}
    network.load_state_dict({ours: turn(variables[theirs]) for ours, (theirs, turn) in names.items()})


def normal(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(ours, theirs):
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("side, generator, discriminator", [(1024, 23_079_115, 23_087_249), (256, 23_044_309, 23_052_353), (128, 22_933_394, 22_941_313)])
def test_parameters_are_as_published(side, generator, discriminator):
    with torch.device("meta"):
        networks = progan.generator(build(Config), spec(side), 0), progan.discriminator(build(Config), spec(side), 0)
    assert [sum(p.numel() for p in network.parameters()) for network in networks] == [generator, discriminator]


@pytest.mark.parametrize("fused", [True, False])
def test_generator_equals_the_plain_one_at_every_stage_of_its_growth(fused):
    variables, latent, label = plain.Variables(), normal(3, 6), torch.eye(3, 2, dtype=torch.float64)
    plain.progan_generator(variables, torch.cat([latent, label], 1), **SIZES, fused=fused)
    network = progan.generator(CONFIG, spec(), 2).double()
    load(network, progan.official_generator_names(16, fused), variables)
    for lod in (0, 0.25, 1, 1.5, 2):
        network.set_lod(lod)
        expected = plain.progan_generator(variables, torch.cat([latent, label], 1), **SIZES, fused=fused, lod=lod)
        close(network(latent, label), expected)
        assert network(latent, label, native=True).shape[2:] == (16 >> int(lod), 16 >> int(lod))
        close(plain.repeat(network(latent, label, native=True), 2 ** int(lod)), expected)


@pytest.mark.parametrize("fused, group", [(True, 4), (False, 4), (True, 0)])
def test_discriminator_equals_the_plain_one_and_its_first_and_second_gradients(fused, group):
    variables, pictures = plain.Variables(), normal(8, 3, 16, 16).requires_grad_()
    sizes = SIZES | {"outputs": 3, "fused": fused, "group": group}
    plain.discriminator(variables, pictures, **sizes)
    network = progan.discriminator(replace(CONFIG, fused_scale=fused, minibatch_std=group), spec(), 2).double()
    load(network, progan.official_discriminator_names(16, "Conv1_down" if fused else "Conv1"), variables)
    for lod in (0, 0.25, 1.5, 2):
        network.set_lod(lod)
        both = network(pictures), plain.discriminator(variables, pictures, **sizes, lod=lod)
        close(*both)
        first = [torch.autograd.grad(out.sin().sum(), pictures, create_graph=True)[0] for out in both]
        close(*first)
        close(*[torch.autograd.grad(gradient.square().sum(), pictures, retain_graph=True)[0] for gradient in first])
    small = plain.pool(pictures, 4)
    close(network(small), network(plain.repeat(small, 4)))  # at lod 2 it sees no more than 4x4


def test_a_convolution_before_downsampling_is_rectified_after_or_before_it():
    """The authors' fused and plain layers differ in value: the field says which."""
    variables = plain.Variables()
    pictures = normal(4, 3, 8, 8)
    fused = plain.discriminator(variables, pictures, levels=1, base=64, most=7, outputs=1)
    variables |= {name.replace("Conv1_down", "Conv1"): value for name, value in variables.items()}
    assert (fused - plain.discriminator(variables, pictures, levels=1, base=64, most=7, outputs=1, fused=False)).abs().max() > 1e-3


def test_rectangles_grey_and_the_wish_for_labels():
    shape = DataSpec("image", (1, 12, 8), 4)
    maker, judge = progan.generator(CONFIG, shape, 4), progan.discriminator(CONFIG, shape, 4)
    pictures = maker(torch.randn(4, 6), torch.eye(4))
    assert pictures.shape == (4, 1, 12, 8) and judge(pictures).shape == (4, 5) and judge.features(pictures).shape == (4, 7)
    maker.set_lod(1)
    judge.set_lod(1)
    assert maker(torch.randn(4, 6), torch.eye(4), native=True).shape == (4, 1, 6, 4)
    assert judge(maker(torch.randn(4, 6), torch.eye(4), native=True)).shape == (4, 5)


def test_weights_begin_normal_and_pixels_have_length_one():
    torch.manual_seed(0)
    network = progan.generator(build(Config, {"latent_dim": 32, "channel_base": 1024, "channel_max": 64}), spec(), 0)
    for name, parameter in network.named_parameters():
        if name.endswith("weight") and parameter.numel() > 1000:
            assert abs(parameter.std().item() - 1) < 0.1, name
    seen = []
    network.b16.conv1.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    network(torch.randn(4, 32))
    torch.testing.assert_close(seen[0].square().mean(1), torch.ones(4, 16, 16), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("enlarge", [True, False])
def test_the_game_fades_real_pictures_and_shows_them_enlarged(enlarge):
    game = ProGAN(build(Config, ProGAN.presets["tiny"].fields, {"enlarge": enlarge, "start_size": 8}), spec(32, 2))
    assert [(stage.name, stage.length, stage.fresh_optimizers) for stage in game.stages()][:3] == [("8", 24, True), ("16 fade", 24, True), ("16", 24, True)]
    game.prepare(Context(step=0, num_images=30, progress=0.0, logging=False, mean_over_ranks=lambda value: value))
    assert game.generator.level_of_detail() == game.discriminator.level_of_detail() == 1.75
    pictures = normal(4, 3, 32, 32)
    half = plain.pool(pictures)
    expected = 0.25 * half + 0.75 * plain.repeat(plain.pool(half))
    close(game.real(Batch(pictures)), plain.repeat(expected) if enlarge else expected)
    condition = torch.eye(4, 2)
    made = game.make(torch.randn(4, 8), condition, None)
    assert made.shape == (4, 3, 32, 32) if enlarge else made.shape == (4, 3, 16, 16)
    assert game.sample(3, seed=0).shape == (3, 3, 32, 32)


def test_the_objective_term_by_term():
    game = ProGAN(build(Config, ProGAN.presets["tiny"].fields), spec(16, 2))
    real, fake, batch = torch.tensor([[2.0, 0, 0], [4, 0, 0]]), torch.tensor([[1.0, 0, 0], [-3, 0, 0]]), Batch(torch.zeros(2, 3, 16, 16), torch.tensor([0, 1]))
    terms = {name: value.item() for name, value in game.discriminator_terms(real, fake, batch).items()}
    assert terms == pytest.approx({"wasserstein": -4.0, "drift": 0.01, "classes": 2 * math.log(2)})
    terms = {name: value.item() for name, value in game.generator_terms(fake, None, batch).items()}
    assert terms == pytest.approx({"wasserstein": 1.0, "classes": math.log(2)})
