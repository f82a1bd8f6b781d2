"""Oracle: the contrast of Park et al. 2020 over every place of every layer, with the translator's layers walked through one by one."""

import math

import pytest
import torch

from agon import catalog
from agon.config import build
from agon.data.source import Batch, DataSpec
from agon.errors import UserError
from agon.game import Context

N, T, LAYERS = 2, 0.5, (0, 4, 12)


def game_on(channels=(3, 3), **fields):
    torch.manual_seed(0)
    cls = catalog.load("cut")
    spec = DataSpec("image", (channels[1], 8, 8), source_shape=(channels[0], 8, 8), source_kind="picture")
    every = {"nce_layers": LAYERS, "patches": 10_000, "temperature": T, "norm": "instance"}
    game = cls(build(cls.Config, cls.presets["tiny"].fields, {**every, **fields}), spec)
    with torch.no_grad():
        for parameter in game.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    return game


def batch_of(channels=(3, 3)):
    torch.manual_seed(1)
    return Batch(torch.rand(N, channels[1], 8, 8) * 2 - 1, source=torch.rand(N, channels[0], 8, 8) * 2 - 1)


def context(split=False):
    ctx = Context(step=0, num_images=0, progress=0.0, logging=False, mean_over_ranks=lambda x: x)
    ctx.begin(torch.Generator().manual_seed(5), 0, N, N, split=split)
    return ctx


def projected(game, picture):
    """For each layer (N, places, E): every feature vector through its two linear layers, of length 1."""
    found, x = [], picture
    for i, layer in enumerate(game.generator.layers):
        x = layer(x)
        if i in LAYERS:
            first, _, second = game.sampler.heads[len(found)]
            vectors = x.flatten(2).transpose(1, 2)
            out = (vectors @ first.weight.T + first.bias).relu() @ second.weight.T + second.bias
            found.append(out / out.norm(dim=2, keepdim=True))
    return found


def contrast(queries, keys):
    total = 0.0
    for query, key in zip(queries, keys, strict=True):
        for n in range(N):
            table = (query[n] @ key[n].T / T).exp()
            total -= float((table.diag() / table.sum(1)).log().mean().detach()) / N / len(keys)
    return total


@pytest.mark.parametrize("split", [False, True])
def test_the_terms_are_the_papers(split):
    game, batch = game_on(nce_weight=2.0, adversarial_weight=0.5), batch_of()
    ctx = context(split)
    fake = game.generator(batch.source)
    judged, real = game.discriminator(fake), game.discriminator(batch.real)
    terms = game.discriminator_loss(batch, ctx)
    expected = 0.5 * ((real - 1).square().mean() + judged.square().mean())
    assert math.isclose(float(terms["adversarial"].detach()), float(expected.detach()), rel_tol=1e-5)
    terms = game.generator_loss(batch, ctx)
    assert math.isclose(float(terms["adversarial"].detach()), float(0.5 * (judged - 1).square().mean().detach()), rel_tol=1e-5)
    assert math.isclose(float(terms["contrast"].detach()), contrast(projected(game, fake), projected(game, batch.source)), rel_tol=1e-4)
    same = game.generator(batch.real)
    assert math.isclose(float(terms["contrast_identity"].detach()), contrast(projected(game, same), projected(game, batch.real)), rel_tol=1e-4)


def test_mirrored_pictures_are_contrasted_place_by_place_with_what_they_were():
    game, batch = game_on(flip=True, nce_identity=False), batch_of()
    turn = torch.rand(N, generator=torch.Generator().manual_seed(5)) < 0.5
    assert turn.tolist() in ([True, False], [False, True])
    seen = torch.stack([each.flip(2) if t else each for each, t in zip(batch.source, turn, strict=True)])
    fake = game.generator(seen)
    queries = projected(game, fake)
    for i, (query, size) in enumerate(zip(queries, ((14, 14), (8, 8), (2, 2)), strict=True)):
        maps = query.reshape(N, *size, -1)
        queries[i] = torch.stack([each.flip(1) if t else each for each, t in zip(maps, turn, strict=True)]).flatten(1, 2)
    ctx = context()
    game.discriminator_loss(batch, ctx)
    terms = game.generator_loss(batch, ctx)
    assert set(terms) == {"adversarial", "contrast"}
    assert math.isclose(float(terms["contrast"].detach()), contrast(queries, projected(game, batch.source)), rel_tol=1e-4)


def test_both_the_translator_and_the_heads_learn_and_sources_give_no_gradient():
    game, batch = game_on(adversarial_weight=0.0), batch_of()
    batch.source.requires_grad_()
    ctx = context()
    game.discriminator_loss(batch, ctx)
    out, keys = ctx.take("made")
    assert not any(key.requires_grad for key in keys)
    parameters = [game.generator.layers[1].weight, game.sampler.heads[2][0].weight]
    assert all(g.abs().max() > 0 for g in torch.autograd.grad(game.contrast(out, keys, None, ctx), parameters))
    assert {id(p) for p in game.sampler.parameters()} <= {id(p) for p in game.players()["generator"].parameters()}


def test_colour_results_of_grey_sources_are_contrasted_by_their_grey():
    game, batch = game_on((1, 3)), batch_of((1, 3))
    ctx = context()
    game.discriminator_loss(batch, ctx)
    terms = game.generator_loss(batch, ctx)
    grey = game.generator(batch.source).mean(1, keepdim=True)
    assert math.isclose(float(terms["contrast"].detach()), 0.5 * contrast(projected(game, grey), projected(game, batch.source)), rel_tol=1e-4)
    assert game.translate(batch.source).shape == (N, 3, 8, 8)


def test_few_places_are_a_sample_of_all():
    game, batch = game_on(patches=5, nce_identity=False), batch_of()
    x = torch.randn(N, 4, 6, 6)
    where = game.sampler.positions([x], 5, context())[0]
    assert where.shape == (N, 5)
    ctx = context()
    game.discriminator_loss(batch, ctx)
    assert torch.isfinite(game.generator_loss(batch, ctx)["contrast"])


def test_a_layer_that_is_not_there_is_refused():
    with pytest.raises(UserError, match="no layer 30 to contrast"):
        game_on(nce_layers=(0, 30))
    with pytest.raises(UserError, match="rising"):
        game_on(nce_layers=(4, 0))


def test_defaults_are_the_published_ones():
    cls = catalog.load("cut")
    config = build(cls.Config, cls.presets["cut"].fields)
    assert (config.nce_layers, config.patches, config.temperature, config.patch_width, config.nce_weight) == ((0, 4, 8, 12, 16), 256, 0.07, 256, 1.0)
    fast = build(cls.Config, cls.presets["fastcut"].fields)
    assert (fast.nce_weight, fast.nce_identity, fast.flip, fast.images) == (10.0, False, True, 200 * 1334)
