"""Oracles: the published rules written plainly, closed forms, and a batch in parts against the whole."""

import itertools

import numpy as np
import pytest
import torch

from agon import catalog
from agon.augment.ada import AdaptiveAugment
from agon.augment.diffaug import augment
from agon.config import build
from agon.data.source import Batch, DataSpec
from agon.errors import UserError
from agon.game import Context, SeededDraws
from agon.layers import running_mean
from agon.losses import penalties
from agon.two_player.options import build_options
from agon.two_player.options.ada import SignRule
from agon.two_player.options.consistency import change

PICTURES, COLOURED, LABELLED, POINTS = (
    DataSpec("image", (1, 8, 8)), DataSpec("image", (3, 8, 8)), DataSpec("image", (1, 8, 8), 3), DataSpec("points", (2,)),
)  # fmt: skip
SMALL = {
    "batch_size": 8, "latent_dim": 4, "width": 4, "discriminator_width": 4, "base_size": 2, "precision": "fp32", "generator_hidden": (8,),
    "discriminator_hidden": (8,), "init": "orthogonal", "discriminator_norm": "none", "generator_norm": "none",
}  # fmt: skip
N = 8


def make(spec=PICTURES, name="dcgan", **fields):
    cls = catalog.load(name)
    torch.manual_seed(0)
    return cls(build(cls.Config, SMALL, fields), spec)


def context(num_images=0, seed=0, offset=0, count=N, ctx=None):
    ctx = ctx or Context(step=0, num_images=num_images, progress=0.0, logging=True, mean_over_ranks=lambda value: value)
    ctx.begin(torch.Generator().manual_seed(seed), offset, count, N, split=count < N)
    return ctx


def batch(spec=PICTURES, seed=1):
    draws = torch.Generator().manual_seed(seed)
    label = torch.randint(spec.num_classes, (N,), generator=draws) if spec.num_classes else None
    return Batch(torch.rand(N, *spec.shape, generator=draws) * 2 - 1, label)


def seeded(seed=0):
    return SeededDraws(torch.Generator().manual_seed(seed))


# --- which there are --------------------------------------------------------------------------------------------------------------------

ALL = {
    "ada": "bgcfnc", "ada_p": 0.5, "apa_target": 0.6, "lecam_weight": 0.3, "cr_weight": 10.0, "bcr_real_weight": 5.0, "bcr_fake_weight": 10.0,
    "zcr_discriminator_weight": 5.0, "zcr_generator_weight": 0.5, "latent_step": 0.9,
}  # fmt: skip


def test_each_field_switches_on_its_option_and_none_by_default():
    assert len(make().options) == 0
    assert list(make(**ALL, feature_matching=1.0).options) == ["ada", "apa", "lecam", "consistency", "feature_matching", "latent_optimisation"]
    assert list(make(diffaugment="color").options) == ["diffaugment"]
    assert "options.feature_matching" in make(feature_matching=1.0).batch_coupled()


def test_what_does_not_fit_is_refused():
    config = make().config
    for spec, fields, words in ((PICTURES, {"ada": "bgx"}, "no set of augmentations 'bgx'"), (POINTS, {"ada": "bg"}, "kind 'points'"),
                                (DataSpec("image", (2, 8, 8)), {"ada": "bgc"}, "1 or 3 channels")):  # fmt: skip
        with pytest.raises(UserError, match=words):
            build_options(build(type(config), SMALL, fields), spec)
    assert len(make(POINTS, "gan", diffaugment="color").options) == 0  # points have no colours


# --- a batch in parts -------------------------------------------------------------------------------------------------------------------


def one_step(game, of, parts, seed=0):
    """Terms of both turns, averaged over the parts, and the options' state after the step."""
    ctx, totals = context(num_images=80), {}
    for turn, loss in enumerate((game.discriminator_loss, game.generator_loss)):
        for start, stop in itertools.pairwise(parts):
            context(seed=seed + turn, offset=start, count=stop - start, ctx=ctx)
            for name, value in loss(of.slice(start, stop), ctx).items():
                totals[turn, name] = totals.get((turn, name), 0) + value * (stop - start) / N
        if not turn:
            game.after_discriminator(ctx)
    return totals, {name: value.clone() for name, value in game.options.state_dict().items()}


@pytest.mark.parametrize("spec, name, fields", [
    (COLOURED, "dcgan", ALL), (LABELLED, "cgan", {**ALL, "ada": "bgc", "network": "dcgan"}),
    (POINTS, "gan", {**ALL, "ada": "", "latent_components": 3}),
])  # fmt: skip
def test_parts_give_what_the_whole_gives(spec, name, fields):
    of, results = batch(spec), []
    for parts in ((0, 8), (0, 2, 8)):
        game = make(spec, name, **fields)
        if "ada" in game.options:
            game.options["ada"].rule.every = 1
        game.options["apa"].rule.every = 1
        game.options["apa"].p.fill_(0.4)
        game.options["lecam"].real.value.fill_(0.1)
        results.append(one_step(game, of, parts))
    (whole, state), (parted, parted_state) = results
    assert {name for _, name in whole} >= {"lecam", "consistency_real", "consistency_fake", "consistency_latent", "latent_indifference"}
    for key, value in whole.items():
        torch.testing.assert_close(parted[key], value, atol=1e-5, rtol=1e-4, msg=lambda text, key=key: f"{key}: {text}")
    for key, value in state.items():
        torch.testing.assert_close(parted_state[key], value, atol=1e-5, rtol=1e-4, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("turn, name, player", [
    (0, "lecam", "discriminator"), (0, "consistency_real", "discriminator"), (0, "consistency_fake", "discriminator"),
    (0, "consistency_latent", "discriminator"), (1, "latent_indifference", "generator"), (1, "feature_matching", "generator"),
])  # fmt: skip
def test_every_term_teaches_its_player(turn, name, player):
    game = make(COLOURED, **ALL, feature_matching=1.0)
    totals, _ = one_step(game, batch(COLOURED), (0, 8))
    gradients = torch.autograd.grad(totals[turn, name], list(getattr(game, player).parameters()), allow_unused=True)
    assert any(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)


# --- adaptive probabilities -------------------------------------------------------------------------------------------------------------


def test_the_probability_follows_the_published_rule():
    rule, p, expected, signs = SignRule(0.6, 2000, 4), torch.tensor(0.05), 0.05, []
    draws = np.random.default_rng(0)
    for step in range(200):
        logits = draws.normal(2.0 if step < 100 else 0.2, 1.0, 16).astype(np.float32)
        for part in (logits[:4], logits[4:]):
            rule.observe(torch.from_numpy(part))
        running_mean.settle(rule, lambda value: value)
        mean = rule.adjust(p, 16)
        signs.append(np.sign(logits))
        if step % 4 == 3:
            assert abs(mean.item() - np.mean(signs)) < 1e-6
            expected = max(0.0, expected + np.sign(np.mean(signs) - 0.6) * 16 * 4 / 2000)
            signs = []
        assert abs(p.item() - expected) < 1e-5, step
        if step == 99:
            assert 0.8 < p.item() < 0.9  # 25 times 0.032 up, then down again
    assert p.item() < 0.2


def test_the_probability_stays_above_0_and_is_not_bounded_by_1():
    for logit, start, end in ((-1.0, 0.01, 0.0), (1.0, 0.99, 1.03)):
        rule, p = SignRule(0.6, 1000, 1), torch.tensor(start)
        rule.observe(torch.full((8,), logit))
        running_mean.settle(rule, lambda value: value)
        rule.adjust(p, 40)
        assert abs(p.item() - end) < 1e-6


def test_ada_augments_both_kinds_and_adjusts_itself():
    game = make(ada="bgc", ada_p=0.9, ada_every=1, ada_images=1000)
    x = batch().real
    torch.testing.assert_close(game.seen(x, context()), AdaptiveAugment("bgc", 0.9)(x, context()))
    ctx, again = context(), context()
    game.discriminator_loss(batch(), ctx)
    game.after_discriminator(ctx)
    game = make(ada="bgc", ada_p=0.9, ada_every=1, ada_images=1000)
    game.latent(N, again)
    sign = game.discriminator(game.seen(x, again)).sign().mean().item()
    assert abs(ctx.stats["ada_sign"].item() - sign) < 1e-6
    assert abs(ctx.stats["ada_p"].item() - (0.9 + np.sign(sign - 0.6) * 8 / 1000)) < 1e-6
    fixed = make(ada="bgc", ada_p=0.9, ada_target=0.0)
    fixed.discriminator_loss(batch(), ctx)
    fixed.after_discriminator(ctx)
    assert fixed.options["ada"].augment.p.item() == torch.tensor(0.9).item() and fixed.options["ada"].rule is None


def test_diffaugment_is_the_function():
    x = batch(COLOURED).real
    game = make(COLOURED, diffaugment="color,cutout")
    assert torch.equal(game.seen(x, context()), augment(x, ("color", "cutout"), context().uniform))


@pytest.mark.parametrize("spec", [PICTURES, POINTS])
def test_apa_passes_off_samples_one_by_one(spec):
    option = make(spec, "dcgan" if spec is PICTURES else "gan", apa_target=0.6).options["apa"]
    real, made = torch.zeros(4000, *spec.shape), torch.ones(4000, *spec.shape)
    draws = seeded()
    for p in (0.0, 0.3, 1.0):
        option.p.fill_(p)
        shown = option.reals(real, made, draws).flatten(1)
        assert torch.equal(shown.amin(1), shown.amax(1))  # a sample is one or the other
        assert abs(shown.mean().item() - p) < 0.03


# --- LeCam ------------------------------------------------------------------------------------------------------------------------------


def test_lecam_starts_late_and_holds_to_the_means_of_the_steps_before():
    game = make(lecam_weight=0.3, lecam_start_images=16)
    option, seen = game.options["lecam"], []
    for num_images in (0, 8, 16, 24, 32):
        ctx, of = context(num_images, seed=num_images), batch(seed=num_images)
        term = game.discriminator_loss(of, ctx)["lecam"].item()
        latent = game.latent(N, context(num_images, seed=num_images))
        real, fake = (game.discriminator(x).detach() for x in (of.real, game.generator(latent, None)))
        seen.append((num_images, term, real, fake))
        game.after_discriminator(ctx)
    anchors = [seen[0][2].mean(), seen[0][3].mean()]
    for num_images, term, real, fake in seen:
        expected = 0.3 * ((real - anchors[1]).clamp_min(0).square().mean() + (anchors[0] - fake).clamp_min(0).square().mean())
        assert abs(term - (expected.item() if num_images > 16 else 0.0)) < 1e-6
        keep = 0.99 if num_images > 16 else 0.0
        anchors = [keep * anchor + (1 - keep) * logits.mean() for anchor, logits in zip(anchors, (real, fake), strict=True)]
    torch.testing.assert_close(torch.stack([option.real.value, option.fake.value]), torch.stack(anchors))


# --- consistency ------------------------------------------------------------------------------------------------------------------------


def test_pictures_are_mirrored_and_shifted_by_a_few_pixels_each_its_own_way():
    picture = np.random.default_rng(0).random((2, 16, 24), dtype=np.float32)
    expected = set()
    for flipped, dy, dx in itertools.product((picture, picture[..., ::-1]), range(5), range(7)):
        expected.add(np.pad(flipped, ((0, 0), (2, 2), (3, 3)), mode="reflect")[:, dy : dy + 16, dx : dx + 24].tobytes())
    changed = change(torch.from_numpy(picture).expand(700, -1, -1, -1), seeded()).numpy()
    assert {np.ascontiguousarray(result).tobytes() for result in changed} == expected and len(expected) == 70
    points = change(torch.zeros(2000, 2), seeded())
    assert abs(points.std().item() - 0.05) < 0.003


def test_consistency_terms_are_the_differences_of_the_logits():
    game = make(cr_weight=2.0, bcr_real_weight=3.0, bcr_fake_weight=7.0, zcr_discriminator_weight=4.0, zcr_sigma=0.3)
    of = batch()
    terms = game.discriminator_loss(of, context())
    ctx = context()  # the same draws again, in their order
    latent = game.latent(N, ctx)
    made = game.generator(latent, None).detach()
    logits = {name: game.discriminator(x) for name, x in (("real", of.real), ("fake", made))}
    for name, x, weight in (("real", of.real, 5.0), ("fake", made, 7.0)):
        expected = weight * (logits[name] - game.discriminator(change(x, ctx))).square().mean()
        torch.testing.assert_close(terms[f"consistency_{name}"], expected)
    near = game.generator(latent + 0.3 * ctx.normal(N, 4), None)
    torch.testing.assert_close(terms["consistency_latent"], 4 * (logits["fake"] - game.discriminator(near)).square().mean())


def test_the_generator_is_paid_for_making_neighbours_differ():
    game = make(zcr_generator_weight=0.5, zcr_sigma=0.3)
    ctx = context()
    term = game.generator_loss(batch(), ctx)["latent_indifference"]
    ctx = context()
    latent = game.latent(N, ctx)
    made, near = game.generator(latent, None), game.generator(latent + 0.3 * ctx.normal(N, 4), None)
    torch.testing.assert_close(term, -0.5 * (made - near).square().mean())


def test_a_mixtures_choice_stays_where_neighbours_are_sought():
    game = make(POINTS, "gan", zcr_generator_weight=0.5, zcr_sigma=1e-6, latent_components=4)
    assert abs(game.generator_loss(batch(POINTS), context())["latent_indifference"].item()) < 1e-8


# --- features and latents ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dcgan", "r3gan"])  # r3gan's own generator turn sees real samples
def test_feature_matching_compares_what_the_head_sees(name):
    game = make(name=name, feature_matching=3.0, **({"blocks": 1, "embedding_dim": 4} if name == "r3gan" else {}))
    of = batch()
    term = game.generator_loss(of, context())["feature_matching"]
    fake = game.generator(game.latent(N, context()), None)
    real, made = (game.discriminator.features(x, None).mean(0) for x in (of.real, fake))
    torch.testing.assert_close(term, 3 * (real - made).square().mean())


def test_the_latent_step_is_the_damped_natural_gradient():
    torch.manual_seed(0)
    weight, z = torch.randn(5, 5), torch.randn(6, 5)
    found = penalties.latent_step(lambda z: (z @ weight).square().sum(1) / 2, z, 0.9, 5.0)
    for start, moved in zip(z.double(), found, strict=True):
        g = weight.double() @ weight.double().T @ start
        fisher = torch.outer(g, g) + 5.0 * torch.eye(5)
        torch.testing.assert_close(moved.double(), start + 0.9 * torch.linalg.solve(fisher, g), atol=1e-6, rtol=1e-5)
    assert not found.requires_grad


def test_optimised_latents_please_the_discriminator_and_leave_no_gradients():
    game = make(latent_step=0.9, latent_damping=0.1)
    latent = game.latent(N, context())
    moved = game.moved_latent(latent, None, context())
    before, after = (game.discriminator(game.generator(z, None)) for z in (latent, moved))
    assert (after > before).all() and all(parameter.grad is None for parameter in game.parameters())
    with torch.no_grad():  # as in a turn of several critic steps
        torch.testing.assert_close(game.moved_latent(latent, None, context()), moved)
    made = game.generator(moved, None)
    torch.testing.assert_close(game.generator_loss(batch(), context()), game.generator_terms(game.discriminator(made), None, batch()))
    mixture = make(POINTS, "gan", latent_components=3, latent_step=0.9)
    latent = mixture.latent(N, context())
    moved = mixture.moved_latent(latent, None, context())
    assert torch.equal(moved[:, -1], latent[:, -1]) and not torch.equal(moved[:, :-1], latent[:, :-1])
