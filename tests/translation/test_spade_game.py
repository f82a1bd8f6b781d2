"""Oracles: the losses of SPADE written out by hand over the networks' outputs, a library's KL divergence, and what must not change."""

import dataclasses

import numpy as np
import pytest
import torch

from agon import catalog
from agon.config import build
from agon.data.source import Batch, DataSpec
from agon.errors import UserError
from agon.game import Context
from agon.losses.feature_matching import matched_layers
from agon.losses.kl import kl_to_standard_normal

CLASSES = tuple("abc")
SMALL = {"doublings": 2, "hidden": 3, "width": 2, "discriminator_width": 3, "patch_layers": 1, "scales": 2, "latent_dim": 4}


def made(edges=False, **fields):
    """A game over 12x8 maps of three classes whose weights hide nothing (they start near 0)."""
    spec = DataSpec("image", (3, 12, 8), source_shape=(1 + edges, 12, 8), source_kind="map", source_classes=CLASSES, paired=True)
    cls = catalog.load("spade")
    torch.manual_seed(0)
    game = cls(build(cls.Config, SMALL, fields), spec)
    with torch.no_grad():
        for parameter in game.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    return game


def batch(n=4, edges=False):
    maps = [torch.randint(0, 3, (n, 1, 12, 8))] + [torch.randint(0, 2, (n, 1, 12, 8))] * edges
    return Batch(torch.rand(n, 3, 12, 8) * 2 - 1, source=torch.cat(maps, 1).to(torch.uint8))


def context(n=4):
    ctx = Context(step=0, num_images=0, progress=0.0, logging=True, mean_over_ranks=lambda x: x)
    ctx.begin(torch.Generator().manual_seed(0), 0, n, n)
    return ctx


def test_the_terms_are_the_papers():
    game, samples, ctx = made(), batch(), context()
    semantic = torch.stack([samples.source[:, 0] == i for i in range(3)], 1).float()
    terms = game.generator_loss(samples, ctx)
    with torch.no_grad():
        fake = game.train().generator(semantic)  # batch statistics, as in the loss
        on_fake, on_real = (game.discriminator(torch.cat([semantic, picture], 1)) for picture in (fake, samples.real))
        features = sum((a - b).abs().mean() for one, other in zip(on_fake, on_real, strict=True) for a, b in zip(one[:-1], other[:-1], strict=True))
        hinge = [(1 - r[-1]).clamp_min(0).mean() + (1 + f[-1]).clamp_min(0).mean() for r, f in zip(on_real, on_fake, strict=True)]
    assert set(terms) == {"adversarial", "feature_matching"} and len(hinge) == 2
    torch.testing.assert_close(terms["adversarial"], -(on_fake[0][-1].mean() + on_fake[1][-1].mean()) / 2)
    torch.testing.assert_close(terms["feature_matching"], 10 * features / 2)
    judged = game.discriminator_loss(samples, ctx)
    torch.testing.assert_close(judged["adversarial"], (hinge[0] + hinge[1]) / 2)
    assert ctx.take("fake") is None and {"discriminator/accuracy", "discriminator/real_logit"} <= set(ctx.stats)


def test_with_an_encoder_the_latent_is_that_of_the_real_picture():
    game, samples, ctx = made(encoder=True), batch(), context()
    terms = game.generator_loss(samples, ctx)
    with torch.no_grad():
        mean, log_variance = game.encoder(samples.real)
        noise = context().normal(4, 4)
        fake = game.generator(game.encode(samples.source), mean + noise * log_variance.exp().sqrt())
        posterior = torch.distributions.Normal(mean, log_variance.exp().sqrt())
        expected = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum()
    torch.testing.assert_close(ctx.take("fake"), fake, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(terms["kl"], 0.05 * expected)
    (gradient,) = torch.autograd.grad(sum(terms.values()), [game.encoder.mean.weight])
    assert gradient.abs().max() > 0
    torch.testing.assert_close(kl_to_standard_normal(mean, log_variance), expected / 4)


def test_parts_of_a_batch_have_the_whole_batchs_divergence():
    """The trainer weighs parts by their share: the sum over the batch must come out."""
    game, samples = made(encoder=True, norm="instance"), batch()
    whole = game.generator_loss(samples, context())["kl"]
    parts = []
    for start in (0, 2):
        ctx = context()
        ctx.begin(torch.Generator().manual_seed(0), start, 2, 4, split=True)
        parts.append(game.generator_loss(samples.slice(start, start + 2), ctx)["kl"] / 2)
    torch.testing.assert_close(sum(parts), whole)


def test_feature_matching_pulls_the_made_pictures_alone():
    real, fake = ([[torch.randn(2, 3, 4, 4, requires_grad=True) for _ in range(3)] for _ in range(2)] for _ in range(2))
    loss = matched_layers(real, fake)
    expected = sum((real[i][j] - fake[i][j]).abs().mean() for i in range(2) for j in range(2)) / 2
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(maps.grad is None for scale in real for maps in scale) and all(scale[2].grad is None and scale[0].grad is not None for scale in fake)


def test_the_learning_rates_are_two():
    players = made().players()
    generator, discriminator = players["generator"].optimizer, players["discriminator"].optimizer
    assert (generator.lr, discriminator.lr) == (1e-4, 4e-4)
    assert all((each.beta1, each.beta2) == (0.0, 0.9) for each in (generator, discriminator))
    game = made(encoder=True)
    assert set(game.encoder.parameters()) < set(game.players()["generator"].parameters())


def test_power_iterations_follow_the_step_of_the_network_they_belong_to():
    game = made(encoder=True)
    before = {name: value.clone() for name, value in game.state_dict().items() if name.endswith(".left")}
    for update, moved in zip(game.stages()[0].updates, (("generator", "encoder"), ("discriminator",)), strict=True):
        update.after(context())
        changed = {name.split(".")[0] for name, value in game.state_dict().items() if name in before and not torch.equal(value, before[name])}
        assert changed == set(moved)
        before = {name: value.clone() for name, value in game.state_dict().items() if name in before}


def test_a_map_alone_leaves_no_choice_and_a_latent_does():
    plain, latent, source = made(), made(encoder=True), batch().source
    assert torch.equal(plain.translate(source, seed=1), plain.translate(source, seed=2))
    one, again, other = (latent.translate(source, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)
    larger = source.repeat(1, 1, 2, 2)[:, :, :23, :14]
    assert plain.translate(larger).shape == (4, 3, 23, 14)
    with pytest.raises(UserError, match="one size"):
        latent.translate(larger)


def test_edges_between_instances_are_one_more_channel():
    game, source = made(edges=True), batch(edges=True).source
    assert game.source_channels == 4 and game.generator.start.weight.shape[1] == 4
    other = source.clone()
    other[:, 1] = 1 - other[:, 1]
    assert not torch.equal(game.translate(source), game.translate(other))


def test_a_frozen_networks_difference_is_a_term_and_in_no_checkpoint():
    game, samples = made(perceptual="random", perceptual_weight=3.0), batch()
    assert game.state_dict().keys() == made().state_dict().keys()
    ctx = context()
    terms = game.generator_loss(samples, ctx)
    fake, eyes = ctx.take("fake"), game.eyes.network
    torch.testing.assert_close(terms["perceptual"], 3 * sum((a - b).abs().mean() for a, b in zip(eyes(fake), eyes(samples.real), strict=True)))
    with pytest.raises(UserError, match="vgg_weights is empty"):
        made(perceptual="vgg").stages()
    with pytest.raises(UserError, match="no nowhere.pth"):
        made(perceptual="vgg", vgg_weights="nowhere.pth").stages()


def test_published_presets_have_the_published_sizes():
    cls = catalog.load("spade")
    for name, classes, edges, size, expected in (
        ("ade20k", 151, 0, (256, 256), (96_492_483, 5_836_930)),
        ("cityscapes", 35, 1, (256, 512), (93_048_003, 5_601_410)),
    ):
        spec = DataSpec("image", (3, *size), source_shape=(1 + edges, *size), source_kind="map", source_classes=tuple(map(str, range(classes))), paired=True)
        with torch.device("meta"):
            game = cls(build(cls.Config, cls.presets[name].fields), spec)
        assert tuple(sum(p.numel() for p in network.parameters()) for network in (game.generator, game.discriminator)) == expected


def test_other_inputs_and_fields_are_refused():
    cls, spec = catalog.load("spade"), made().spec
    with pytest.raises(UserError, match="cannot start from a picture"):
        cls(build(cls.Config, SMALL), dataclasses.replace(spec, source_kind="picture", source_shape=(3, 12, 8)))
    with pytest.raises(UserError, match="out of range"):
        build(cls.Config, {"doublings": 8})
    with pytest.raises(UserError, match="class 7"):
        made().translate(torch.from_numpy(np.full((1, 1, 12, 8), 7, dtype=np.uint8)))
