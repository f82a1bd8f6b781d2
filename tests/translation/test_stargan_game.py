"""Oracle: equations 2 to 8 of Choi et al. 2018 written out picture by picture, with the game's networks as given functions."""

import math

import pytest
import torch
import torch.nn.functional as F

from agon import catalog
from agon.config import build
from agon.data.source import Batch, DataSpec
from agon.errors import UserError
from agon.game import Context

N, K = 4, 3
NAMES = ("Hat", "Old", "Beard")
CLASSES, ATTRIBUTES = DataSpec("image", (3, 8, 8), K, NAMES), DataSpec("image", (3, 8, 8), condition_dim=K, condition_names=NAMES)


def game_on(spec, **fields):
    torch.manual_seed(0)
    cls = catalog.load("stargan")
    game = cls(build(cls.Config, cls.presets["tiny"].fields, fields), spec)
    with torch.no_grad():
        for parameter in game.parameters():
            parameter.copy_(0.2 * torch.randn_like(parameter))
    return game


def batch_of(spec):
    torch.manual_seed(1)
    real = torch.rand(N, 3, 8, 8) * 2 - 1
    if spec.num_classes:
        return Batch(real, torch.tensor([0, 1, 2, 1]))
    return Batch(real, condition=torch.randint(0, 2, (N, K)).float(), wanted=torch.randint(0, 2, (N, K)).float())


def context(split=False):
    ctx = Context(step=0, num_images=0, progress=0.0, logging=True, mean_over_ranks=lambda x: x)
    ctx.begin(torch.Generator().manual_seed(5), 0, N, N, split=split)
    return ctx


def domains(spec, batch):
    """(own, wanted) as vectors, with the draws that the context will give."""
    draws = torch.Generator().manual_seed(5)
    if spec.num_classes:
        wanted = torch.eye(K)[(torch.rand(N, generator=draws) * K).long()]
        return torch.eye(K)[batch.label], wanted, draws
    return batch.condition, batch.wanted, draws


def classification(spec, logits, vectors):
    total = 0.0
    for row, vector in zip(logits.detach(), vectors, strict=True):
        if spec.num_classes:
            total -= float(row.log_softmax(0)[vector.argmax()])
        else:
            total -= sum(float(v * F.logsigmoid(x) + (1 - v) * F.logsigmoid(-x)) for x, v in zip(row, vector, strict=True))
    return total / N


@pytest.mark.parametrize("spec", [CLASSES, ATTRIBUTES], ids=["classes", "attributes"])
def test_the_discriminators_terms_are_the_papers(spec):
    game, batch = game_on(spec, class_weight=0.7, penalty_weight=4.0), batch_of(spec)
    own, wanted, draws = domains(spec, batch)
    fake = game.generator(batch.real, wanted).detach()
    mix = torch.rand(N, generator=draws)
    (real_source, real_classes), (fake_source, _) = game.discriminator(batch.real), game.discriminator(fake)
    penalty = 0.0
    for i in range(N):
        point = (batch.real[i] + mix[i] * (fake[i] - batch.real[i]))[None].requires_grad_()
        (gradient,) = torch.autograd.grad(game.discriminator(point)[0].sum(), point)
        penalty += 4.0 * (float(gradient.norm()) - 1) ** 2 / N
    terms = game.discriminator_loss(batch, context())
    assert math.isclose(float(terms["adversarial"].detach()), float((fake_source.mean() - real_source.mean()).detach()), abs_tol=1e-5)
    assert math.isclose(float(terms["classes"].detach()), 0.7 * classification(spec, real_classes, own), rel_tol=1e-5)
    assert math.isclose(float(terms["penalty"].detach()), penalty, rel_tol=1e-4)


@pytest.mark.parametrize("spec", [CLASSES, ATTRIBUTES], ids=["classes", "attributes"])
def test_the_generators_terms_are_the_papers_and_its_turn_may_reuse_the_critics_pass(spec):
    batch = batch_of(spec)
    own, wanted, _ = domains(spec, batch)
    game = game_on(spec, class_weight=0.7, reconstruction_weight=3.0, num_critic=1)
    made = game.generator(batch.real, wanted)
    source, classes = game.discriminator(made)
    back = game.generator(made, own)
    reconstruction = 3.0 * sum(float((back[i] - batch.real[i]).detach().abs().mean()) for i in range(N)) / N
    for split in (False, True):  # after the discriminator's turn, with its pictures, and anew
        ctx = context(split)
        if not split:
            game.discriminator_loss(batch, ctx)
        terms = game.generator_loss(batch, ctx)
        assert math.isclose(float(terms["adversarial"].detach()), -float(source.detach().mean()), abs_tol=1e-5)
        assert math.isclose(float(terms["classes"].detach()), 0.7 * classification(spec, classes, wanted), rel_tol=1e-5)
        assert math.isclose(float(terms["reconstruction"].detach()), reconstruction, rel_tol=1e-5)


def test_updates_are_five_critic_steps_on_new_batches_then_one():
    cls = catalog.load("stargan")
    game = cls(build(cls.Config, {"width": 2}), CLASSES)
    critic, generator = game.stages()[0].updates
    assert (critic.player, critic.times, critic.fresh, generator.player, generator.times) == ("discriminator", 5, True, "generator", 1)


def test_classes_are_translated_by_number_and_attributes_by_vector_or_by_those_that_change():
    x = batch_of(CLASSES).real
    game = game_on(CLASSES)
    torch.testing.assert_close(game.translate(x, label=torch.tensor([2, 0, 1, 1])), game.generator(x, torch.eye(K)[[2, 0, 1, 1]]))
    with pytest.raises(UserError, match="none, but classes"):
        game.translate(x, attributes="Hat")
    game = game_on(ATTRIBUTES)
    assert not game.takes_labels
    vector = (game.discriminator(x)[1] > 0).float()
    assert 0 < vector.mean() < 1
    torch.testing.assert_close(game.translate(x, condition=vector), game.generator(x, vector))
    vector[:, 0], vector[:, 2] = 0, 1
    torch.testing.assert_close(game.translate(x, attributes="-Hat, Beard"), game.generator(x, vector))
    with pytest.raises(UserError, match="no attribute 'Bread'. Did you mean 'Beard'"):
        game.translate(x, attributes="Bread")
    with pytest.raises(UserError, match="Expected 3 numbers"):
        game.translate(x, condition=vector[:, :2])


def test_without_a_wish_one_attribute_is_turned():
    game, x = game_on(ATTRIBUTES), batch_of(ATTRIBUTES).real
    turned = (torch.rand(N, generator=torch.Generator().manual_seed(3)) * K).long()
    vector = (game.discriminator(x)[1] > 0).float()
    vector[torch.arange(N), turned] = 1 - vector[torch.arange(N), turned]
    torch.testing.assert_close(game.translate(x, seed=3), game.generator(x, vector))


@pytest.mark.parametrize("spec, message", [
    (DataSpec("image", (3, 8, 8)), "the data have 0"), (DataSpec("image", (3, 8, 8), 1), "the data have 1"),
    (DataSpec("image", (3, 10, 8), 2), "10x8 pictures with 2 halvings"), (DataSpec("image", (3, 4, 8), 2), "twice it or more"),
])  # fmt: skip
def test_data_without_domains_or_of_unfit_sides_are_refused(spec, message):
    with pytest.raises(UserError, match=message):
        game_on(spec)
