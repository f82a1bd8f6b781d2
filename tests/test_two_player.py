"""Every technique of the two-player games, observed on tiny ones: what it changes is what its source says, and nothing else."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from agon import catalog
from agon.config import build
from agon.data.sampler import positions
from agon.data.source import ArraySource, Batch, DataSpec
from agon.errors import UserError
from agon.game import Context, SeededDraws
from agon.losses import penalties
from agon.train.trainer import Observer, Trainer

PICTURES, LABELLED, POINTS = DataSpec("image", (2, 8, 8)), DataSpec("image", (2, 8, 8), 3), DataSpec("points", (2,))
SMALL = {
    "batch_size": 8, "latent_dim": 4, "width": 4, "discriminator_width": 4, "blocks": 1, "base_size": 2, "embedding_dim": 4,
    "precision": "fp32", "generator_hidden": (8,),
    "discriminator_hidden": (8,), "init": "orthogonal",
}  # fmt: skip
PLAIN = {"discriminator_norm": "none", "generator_norm": "none"}
N = 8


def make(name, spec, **fields):
    cls = catalog.load(name)
    torch.manual_seed(0)
    return cls(build(cls.Config, SMALL, fields), spec)


def context(progress=0.0, seed=0, logging=False, n=N):
    ctx = Context(step=0, num_images=0, progress=progress, logging=logging, mean_over_ranks=lambda value: value)
    ctx.begin(torch.Generator().manual_seed(seed), 0, n, n)
    return ctx


def batch(spec, seed=1, n=N):
    draws = torch.Generator().manual_seed(seed)
    real = torch.rand(n, *spec.shape, generator=draws) * 2 - 1
    label = torch.randint(spec.num_classes, (n,), generator=draws) if spec.num_classes else None
    return Batch(real, label, torch.randn(n, spec.condition_dim, generator=draws) if spec.condition_dim else None)


def source(spec, length=64, labels=None):
    samples = np.random.default_rng(0).uniform(-1, 1, (length, *spec.shape)).astype(np.float32)
    return ArraySource("made", spec, samples, np.arange(length) % spec.num_classes if spec.num_classes else labels)


def fakes(game, of, ctx):
    """The samples that a loss makes with this context: the latent is its first draw."""
    return game.generator(game.latent(len(of), ctx), game.condition(of))


# --- objectives -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gan", "dcgan", "acgan", "cgan"])
def test_label_smoothing_adds_its_share_of_the_real_logits(name):
    """-(1 - s) log D - s log(1 - D) = -log D + s logit."""
    of = batch(LABELLED)
    plain, smooth = make(name, LABELLED, **PLAIN), make(name, LABELLED, label_smoothing=0.3, **PLAIN)
    smooth.load_state_dict(plain.state_dict())
    real = plain.logits(plain.discriminator(of.real, plain.condition(of)))
    before, after = (game.discriminator_loss(of, context())["adversarial"] for game in (plain, smooth))
    torch.testing.assert_close(after - before, 0.3 * real.mean(), atol=1e-6, rtol=1e-4)
    assert torch.equal(plain.generator_loss(of, context())["adversarial"], smooth.generator_loss(of, context())["adversarial"])


def test_label_smoothing_of_least_squares_moves_the_target():
    of = batch(PICTURES)
    game = make("lsgan", PICTURES, label_smoothing=0.2, **PLAIN)
    fake = fakes(game, of, context())
    expected = 0.5 * (game.discriminator(of.real) - 0.8).square().mean() + 0.5 * game.discriminator(fake).square().mean()
    torch.testing.assert_close(game.discriminator_loss(of, context())["adversarial"], expected)


def test_minimax_and_non_saturating_games_pull_the_fakes_the_same_way():
    of, slopes = batch(POINTS), {}
    for objective in ("minimax", "non_saturating"):
        game = make("gan", POINTS, objective=objective)
        fake = fakes(game, of, context())
        logit = game.discriminator(fake).detach()
        (term,) = game.generator_loss(of, context()).values()
        expected = torch.log(1 - torch.sigmoid(logit)).mean() if objective == "minimax" else -torch.log(torch.sigmoid(logit)).mean()
        torch.testing.assert_close(term, expected)
        slopes[objective] = torch.cat([g.flatten() for g in torch.autograd.grad(term, game.generator.parameters())])
    assert F.cosine_similarity(slopes["minimax"], slopes["non_saturating"], dim=0) > 0.9


def test_acgan_classifies_real_and_fake_in_both_turns():
    of = batch(LABELLED)
    game = make("acgan", LABELLED, class_weight=2.5, **PLAIN)
    fake = fakes(game, of, context())
    real_out, fake_out = game.discriminator(of.real), game.discriminator(fake)
    assert real_out.shape == (N, 4)
    terms = game.discriminator_loss(of, context())
    adversarial = F.binary_cross_entropy_with_logits(real_out[:, 0], torch.ones(N)) + F.binary_cross_entropy_with_logits(fake_out[:, 0], torch.zeros(N))
    torch.testing.assert_close(terms["adversarial"], adversarial)
    torch.testing.assert_close(terms["classes"], 2.5 * (F.cross_entropy(real_out[:, 1:], of.label) + F.cross_entropy(fake_out[:, 1:], of.label)))
    terms = game.generator_loss(of, context())
    torch.testing.assert_close(terms["classes"], 2.5 * F.cross_entropy(fake_out[:, 1:], of.label))
    torch.testing.assert_close(terms["adversarial"], F.binary_cross_entropy_with_logits(fake_out[:, 0], torch.ones(N)))


def test_r3gan_judges_in_pairs():
    of = batch(LABELLED)
    game = make("r3gan", LABELLED)
    fake, condition = fakes(game, of, context()), game.condition(of)
    real_out, fake_out = game.discriminator(of.real, condition), game.discriminator(fake, condition)
    terms = game.discriminator_loss(of, context())
    torch.testing.assert_close(terms["adversarial"], F.softplus(fake_out - real_out).mean())
    torch.testing.assert_close(game.generator_loss(of, context())["adversarial"], F.softplus(real_out - fake_out).mean())
    expected = penalties.r1(lambda x: game.discriminator(x, condition), of.real) + penalties.r2(lambda x: game.discriminator(x, condition), fake)
    torch.testing.assert_close(terms["penalty"], expected)  # gamma starts at 1


@pytest.mark.parametrize("name, spec", [("gan", PICTURES), ("cgan", LABELLED), ("sngan", LABELLED), ("wgan_gp", PICTURES),
    ("r3gan", LABELLED), ("dcgan", POINTS)])
def test_one_pass_over_real_and_fake_together_equals_two(name, spec):
    of = batch(spec)
    game = make(name, spec, **PLAIN).eval()
    fake, condition = fakes(game, of, context()).detach(), game.condition(of)
    apart = game.discriminator(of.real, condition), game.discriminator(fake, condition)
    for found, expected in zip(game._judge(of.real, fake, condition), apart, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("fields", [{"discriminator_norm": "batch"}, {"discriminator_norm": "none", "minibatch_discrimination": 5}])
def test_real_and_fake_pass_apart_where_a_batch_is_coupled(fields):
    of = batch(PICTURES)
    game = make("dcgan", PICTURES, **fields)
    fake = fakes(game, of, context()).detach()
    real_out, fake_out = game._judge(of.real, fake, None)
    torch.testing.assert_close(real_out, game.discriminator(of.real))
    torch.testing.assert_close(fake_out, game.discriminator(fake))
    assert any(name.startswith("discriminator.") for name in game.batch_coupled())
    mixed = game.discriminator(torch.cat([of.real, fake])).chunk(2)
    assert not torch.allclose(mixed[0], real_out, atol=1e-4)


def test_the_discriminators_turn_moves_no_generator_and_the_other_way_round():
    game = make("dcgan", PICTURES)
    of = batch(PICTURES)
    sum(game.discriminator_loss(of, context()).values()).backward()
    assert all(p.grad is None for p in game.generator.parameters())
    players = game.players()
    assert {id(p) for p in players["generator"].parameters()} == {id(p) for p in game.generator.parameters()}
    assert {id(p) for p in players["discriminator"].parameters()} == {id(p) for p in game.discriminator.parameters()}


# --- what the discriminator sees ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("progress, share", [(0.0, 1.0), (0.25, 0.5), (0.5, 0.0), (0.9, 0.0)])
def test_instance_noise_falls_along_a_line(progress, share):
    game, x = make("gan", POINTS, instance_noise=0.4, instance_noise_until=0.5), torch.zeros(N, 2)
    torch.testing.assert_close(game.seen(x, context(progress)), 0.4 * share * context().normal(N, 2))
    if not share:
        assert game.seen(x, context(progress)) is x


def test_instance_noise_lies_on_real_and_fake_in_both_turns():
    of, game = batch(POINTS), make("r3gan", POINTS, instance_noise=0.4, penalty="none")
    ctx = context()
    made = fakes(game, of, ctx)
    real, fake = game.discriminator(of.real + 0.4 * ctx.normal(N, 2)), game.discriminator(made + 0.4 * ctx.normal(N, 2))
    torch.testing.assert_close(game.discriminator_loss(of, context())["adversarial"], F.softplus(fake - real).mean())
    ctx = context()
    made = fakes(game, of, ctx)
    fake, real = game.discriminator(made + 0.4 * ctx.normal(N, 2)), game.discriminator(of.real + 0.4 * ctx.normal(N, 2))
    torch.testing.assert_close(game.generator_loss(of, context())["adversarial"], F.softplus(real - fake).mean())


def test_augmentation_is_applied_in_both_turns_and_gradients_pass_through():
    of = batch(PICTURES)
    plain, game = (make("dcgan", PICTURES, diffaugment=policy, **PLAIN) for policy in ("", "color,translation,cutout"))
    for loss in ("discriminator_loss", "generator_loss"):
        terms = getattr(game, loss)(of, context())
        assert not torch.isclose(terms["adversarial"], getattr(plain, loss)(of, context())["adversarial"])
    terms["adversarial"].backward()
    assert all(p.grad.abs().max() > 0 for p in game.generator.parameters() if p.dim() > 1)
    assert not make("gan", POINTS, diffaugment="color").options  # points have no colours


@pytest.mark.parametrize("augmentation", ["", "cutout,color"])
def test_diversity_compares_the_samples_themselves(augmentation):
    """Mean distance among fakes over that among real samples: what the discriminator's view does to them is no loss of diversity."""
    of, game = batch(PICTURES), make("dcgan", PICTURES, diffaugment=augmentation, instance_noise=0.3 if augmentation else 0.0, **PLAIN)
    ctx = context(logging=True)
    game.discriminator_loss(of, ctx)
    expected = torch.pdist(fakes(game, of, context()).flatten(1)).mean() / torch.pdist(of.real.flatten(1)).mean()
    torch.testing.assert_close(ctx.stats["diversity"], expected.detach())
    assert set(ctx.stats) == {"discriminator/real_logit", "discriminator/fake_logit", "discriminator/accuracy", "diversity"}
    lone = context(logging=True, n=1)
    game.discriminator_loss(of.slice(0, 1), lone)
    assert "diversity" not in lone.stats and all(value.isfinite() for value in lone.stats.values())


def test_logged_logits_are_the_real_ones():
    of, game = batch(LABELLED), make("acgan", LABELLED, **PLAIN)
    ctx = context(logging=True)
    game.discriminator_loss(of, ctx)
    real, fake = game.discriminator(of.real)[:, 0], game.discriminator(fakes(game, of, context()))[:, 0]
    torch.testing.assert_close(ctx.stats["discriminator/real_logit"], real.mean().detach())
    torch.testing.assert_close(ctx.stats["discriminator/fake_logit"], fake.mean().detach())
    torch.testing.assert_close(ctx.stats["discriminator/accuracy"], (real > fake).float().mean())


# --- penalties ------------------------------------------------------------------------------------------------------------------------


def direct(game, of, name):
    """The penalty from the pure functions, on the samples that the loss with a fresh context makes."""
    ctx, condition = context(), game.condition(of)
    fake = fakes(game, of, ctx)

    def critic(x):
        return game.logits(game.discriminator(x, condition))

    if name == "wgan_gp":
        return penalties.gradient_penalty(critic, of.real, fake, ctx.uniform(N))
    if name == "dragan":
        return penalties.dragan_penalty(critic, of.real, ctx.uniform(*of.real.shape))
    r1, r2 = penalties.r1(critic, of.real), penalties.r2(critic, fake)
    return {"r1": r1, "r2": r2, "r1_r2": r1 + r2}[name]


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("penalty", ["wgan_gp", "dragan", "r1", "r2", "r1_r2"])
@pytest.mark.parametrize("name, spec", [("gan", POINTS), ("acgan", LABELLED), ("cgan", LABELLED), ("r3gan", LABELLED)])
def test_every_penalty_in_any_game_at_once_or_lazily(name, spec, penalty, every):
    of, game = batch(spec), make(name, spec, penalty=penalty, penalty_weight=3.0, penalty_weight_final=None, penalty_every=every, **PLAIN)
    terms = game.discriminator_loss(of, context())
    if every > 1:
        assert "penalty" not in terms
        terms = game.penalty_loss(of, context())
        assert list(terms) == ["penalty"]
    else:
        plain = make(name, spec, penalty="none", **PLAIN)
        plain.load_state_dict(game.state_dict())
        torch.testing.assert_close(terms["adversarial"], plain.discriminator_loss(of, context())["adversarial"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(terms["penalty"], 3.0 * direct(game, of, penalty), atol=1e-5, rtol=1e-4)


def test_penalty_weight_moves_by_equal_factors():
    game = make("gan", POINTS, penalty="r1", penalty_weight=4.0, penalty_weight_final=0.25)
    for progress in (0.0, 0.2, 0.5, 1.0):
        assert game.penalty_weight(context(progress)) == pytest.approx(2 ** (2 - 4 * progress))  # 4 = 2^2, 1/4 = 2^-2
    assert make("gan", POINTS, penalty="r1", penalty_weight=4.0).penalty_weight(context(0.7)) == 4.0
    assert make("gan", POINTS, penalty="r1", penalty_weight=0.0, penalty_weight_final=1.0).penalty_weight(context(0.7)) == 0.0


class Recorder(Observer):
    def __init__(self):
        self.records = []

    def after_step(self, trainer, record):
        self.records.append(record)


def test_a_lazy_penalty_comes_every_so_many_steps_with_its_gradient_multiplied():
    game, seen = make("gan", POINTS, penalty="r1", penalty_every=3, log_every=1, images=7 * 8), Recorder()
    trainer = Trainer(game, source(POINTS), device="cpu", observer=seen)
    trainer.fit()
    assert ["discriminator/penalty" in record["terms"] for record in seen.records] == [True, False, False, True, False, False, True]
    assert all("discriminator/adversarial" in record["terms"] for record in seen.records)

    of = batch(POINTS)
    update = next(update for update in game.stages()[0].updates if update.every > 1)
    trainer._gradients(update, of, context(), 0)
    found = [p.grad.clone() for p in game.discriminator.parameters() if p.grad is not None and p.dim() > 1]
    plain = 10.0 * penalties.r1(game.discriminator, of.real)
    for gradient, expected in zip(found, torch.autograd.grad(plain, [p for p in game.discriminator.parameters() if p.dim() > 1]), strict=True):
        torch.testing.assert_close(gradient, 3 * expected, atol=1e-5, rtol=1e-4)


# --- who moves when -------------------------------------------------------------------------------------------------------------------


def test_two_time_scales():
    game = make("dcgan", PICTURES, discriminator_lr=4e-4, **{"optimizer.lr": 1e-4, "optimizer.beta1": 0.25})
    trainer = Trainer(game, source(PICTURES), device="cpu")
    trainer.advance()
    groups = {name: optimizer.torch.param_groups[0] for name, optimizer in trainer.optimizers.items()}
    assert groups["discriminator"]["lr"] == 4e-4 and groups["generator"]["lr"] == 1e-4
    assert groups["discriminator"]["betas"][0] == groups["generator"]["betas"][0] == 0.25
    same = make("dcgan", PICTURES).players()
    assert same["discriminator"].optimizer.lr == same["generator"].optimizer.lr == 2e-4


@pytest.mark.parametrize("critics", [1, 3])
def test_every_critic_step_sees_a_new_batch_in_the_samplers_order(critics):
    """The samples are their own numbers, so that the loss sees which ones came."""
    length, seen = 40, {"discriminator": [], "generator": []}
    game = make("wgan", DataSpec("points", (1,)), num_critic=critics, seed=6)
    plain = {"discriminator": game.discriminator_loss, "generator": game.generator_loss}

    def noted(turn):
        def loss(of, ctx):
            seen[turn].append(of.real[:, 0].int().tolist())
            return plain[turn](of, ctx)

        return loss

    game.discriminator_loss, game.generator_loss = noted("discriminator"), noted("generator")
    numbers = ArraySource("numbers", game.spec, np.arange(length, dtype=np.float32)[:, None])
    trainer = Trainer(game, numbers, device="cpu")
    for _ in range(4):
        trainer.advance()
    order = [int(i) for _, indices in positions(0, 4 * 8 * critics, length, 6) for i in indices]
    assert [number for step in seen["discriminator"] for number in step] == order
    assert seen["generator"] == seen["discriminator"][critics - 1 :: critics]  # each step's last batch serves both players
    assert trainer.num_images == 4 * 8 * critics


def test_weight_clipping_bounds_the_discriminator_after_each_of_its_steps_and_nobody_else():
    game = make("wgan", PICTURES, weight_clip=0.01, num_critic=2, **PLAIN)
    trainer = Trainer(game, source(PICTURES), device="cpu")
    assert max(p.abs().max() for p in game.discriminator.parameters()) > 0.1
    trainer.advance()
    bounds = [p.abs().max().item() for p in game.discriminator.parameters()]
    assert max(bounds) == pytest.approx(0.01) and min(bounds) > 0
    assert max(p.abs().max() for p in game.generator.parameters()) > 0.1
    free = Trainer(make("wgan", PICTURES, weight_clip=0, num_critic=2, **PLAIN), source(PICTURES), device="cpu")
    free.advance()
    assert max(p.abs().max() for p in free.game.discriminator.parameters()) > 0.1


def test_weight_clipping_follows_a_lazy_penalty_too():
    game = make("gan", POINTS, weight_clip=0.01, penalty="r1", penalty_every=4)
    updates = game.stages()[0].updates
    assert [(u.player, u.every) for u in updates] == [("discriminator", 1), ("discriminator", 4), ("generator", 1)]
    updates[1].after(context())
    assert max(p.abs().max() for p in game.discriminator.parameters()) <= 0.01 < max(p.abs().max() for p in game.generator.parameters())


@pytest.mark.parametrize("progress, kept", [(0.0, 8), (0.25, 6), (0.5, 4), (1.0, 4)])
@pytest.mark.parametrize("name, spec", [("gan", POINTS), ("r3gan", LABELLED), ("acgan", LABELLED)])
def test_top_k_learns_from_the_best_rated_samples(name, spec, progress, kept):
    of, game = batch(spec), make(name, spec, top_k=0.5, **PLAIN)
    condition = game.condition(of)
    fake_out = game.discriminator(fakes(game, of, context()), condition)
    real_out = game.discriminator(of.real, condition)
    best = sorted(range(N), key=lambda i: -game.logits(fake_out)[i].item())[:kept]
    part = Batch(of.real[best], None if of.label is None else of.label[best])
    expected = game.generator_terms(fake_out[best], real_out[best], part)
    found = game.generator_loss(of, context(progress))
    assert found.keys() == expected.keys()
    for term in found:
        torch.testing.assert_close(found[term], expected[term])


def test_gradients_are_clipped_to_their_global_norm():
    norms = []
    for bound in (0.0, 1e-3):
        game = make("lsgan", POINTS, clip_grad_norm=bound, **{"optimizer.name": "sgd", "optimizer.lr": 1.0, "optimizer.beta1": 0.0})
        before = [p.detach().clone() for p in game.generator.parameters()]
        Trainer(game, source(POINTS), device="cpu").advance()
        norms.append(math.sqrt(sum((a - b).square().sum().item() for a, b in zip(before, game.generator.parameters(), strict=True))))
    assert norms[0] > 1e-2 and norms[1] == pytest.approx(1e-3, rel=1e-2)


# --- latents, conditions and sampling -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", [False, True], ids=["whole", "split"])
def test_one_set_of_samples_serves_both_turns(split):
    """With one discriminator step the generator's turn judges the very samples of that step, and its gradient reaches their generator."""
    of, game = batch(POINTS), make("gan", POINTS)
    ctx = context()
    ctx.begin(torch.Generator().manual_seed(5), 0, N, N, split=split)
    fake = fakes(game, of, context(seed=5))
    game.discriminator_loss(of, ctx)["adversarial"].backward()
    assert all(p.grad is None for p in game.generator.parameters()), "the discriminator's turn reached into the generator"
    ctx.begin(torch.Generator().manual_seed(6), 0, N, N, split=split)  # other random numbers: the latents must come from the first turn
    found = game.generator_loss(of, ctx)["adversarial"]
    expected = F.softplus(-game.discriminator(fake)).mean()
    torch.testing.assert_close(found, expected)
    wanted = torch.autograd.grad(expected, list(game.generator.parameters()))
    for gradient, right in zip(torch.autograd.grad(found, list(game.generator.parameters())), wanted, strict=True):
        torch.testing.assert_close(gradient, right)


def test_the_samples_of_several_critic_steps_come_in_one_pass_and_differ():
    of, game = batch(POINTS), make("wgan", POINTS, num_critic=3)
    passes, seen = [], []
    game.generator.register_forward_hook(lambda module, given, made: passes.append(made.detach()))
    game.discriminator.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()[N:]))
    ctx = context()
    for _ in range(3):
        game.discriminator_loss(of, ctx)
    assert len(passes) == 1 and len(passes[0]) == 3 * N
    torch.testing.assert_close(torch.cat(seen), passes[0])
    assert len({tuple(row) for row in passes[0].flatten(1).tolist()}) == 3 * N
    game.generator_loss(of, ctx)
    assert len(passes) == 2 and len(passes[1]) == N


def test_latents_from_a_mixture_with_learnt_centres():
    """z = centre + width n, the centre drawn uniformly."""
    many = 4000
    game = make("gan", POINTS, latent_components=5, latent_width=0.25, batch_size=many)
    latent = game.latent(many, context(n=many))
    ctx = context(n=many)
    normal, chosen = ctx.normal(many, 4), (ctx.uniform(many, 1)[:, 0] * 5).long()
    centres = game.generator.centres
    assert centres.shape == (5, 4) and any(p is centres for p in game.players()["generator"].parameters())
    assert (chosen.bincount(minlength=5) / many - 0.2).abs().max() < 5 * math.sqrt(0.16 / many)
    torch.testing.assert_close(game.generator(latent), game.generator.generator(centres[chosen] + 0.25 * normal))
    game.generator_loss(batch(POINTS, n=many), context(n=many))["adversarial"].backward()
    assert centres.grad.abs().sum(1).min() > 0
    assert torch.equal(game.sample(6, seed=3), game.sample(6, seed=3)) and game.sample(6, seed=3).shape == (6, 2)


def test_a_mixture_hands_on_what_else_the_generator_takes():
    game = make("projectedgan", PICTURES, base_size=2, latent_components=3).eval()
    with torch.no_grad():
        game.generator.generator.doublings["b8"].layers[0].noise.strength.fill_(1.0)
    latent, draws = game.draw_latent(2, torch.Generator().manual_seed(0)), [SeededDraws(torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    one, same, other = (game.make(latent, None, each) for each in draws)
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_points_of_any_scale_are_played_in_units_of_their_deviation():
    points = (np.random.default_rng(0).normal(size=(500, 2)) * [300, 0.02] + [-1000, 7]).astype(np.float32)
    made = ArraySource("far", POINTS, points)
    game = make("gan", made.spec)
    of = made.read(np.arange(500))
    standard = game.real(of)
    torch.testing.assert_close(standard.mean(0), torch.zeros(2), atol=1e-2, rtol=0)
    torch.testing.assert_close(standard.std(0), torch.ones(2), atol=1e-2, rtol=0)
    inside = game.generator(torch.randn(400, 4, generator=torch.Generator().manual_seed(3)))
    torch.testing.assert_close(game.sample(400, seed=3), inside.detach() * torch.tensor(made.spec.std) + torch.tensor(made.spec.mean))
    assert torch.equal(make("gan", POINTS).real(of), of.real)  # nothing known of them: as they are


def test_minibatch_discrimination_is_wired():
    game = make("gan", POINTS, minibatch_discrimination=6)
    assert game.discriminator.head.in_features == 8 + 6 and game.batch_coupled() == ["discriminator.minibatch"]
    sum(game.discriminator_loss(batch(POINTS), context()).values()).backward()
    assert game.discriminator.minibatch.project.weight.grad.abs().max() > 0


@pytest.mark.parametrize("where, expected", [("none", (False, False)), ("discriminator", (False, True)), ("both", (True, True))])
def test_spectral_normalisation_and_initialisation_are_wired(where, expected):
    game = make("dcgan", PICTURES, spectral_norm=where, init="normal", width=32, discriminator_width=32, **PLAIN)
    for network, wanted in zip((game.generator, game.discriminator), expected, strict=True):
        layers = [m for m in network.modules() if hasattr(m, "weight") and isinstance(m.weight, torch.Tensor)]
        assert all(hasattr(m, "parametrizations") == wanted for m in layers)
        original = layers[0].parametrizations.weight.original if wanted else layers[0].weight
        assert original.std().item() == pytest.approx(0.02, rel=0.1)
    for update, wanted in zip(game.stages()[0].updates, reversed(expected), strict=True):  # each player's vectors follow its own steps
        network = getattr(game, update.player)
        before = [b.clone() for name, b in network.named_buffers() if "parametrizations" in name]
        if update.after:
            update.after(context())
        after = [b for name, b in network.named_buffers() if "parametrizations" in name]
        moved = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
        assert sum(moved) >= 0.5 * len(after) and bool(after) == wanted  # those of a layer with one output are there at once


def test_a_class_conditional_generator_starts_with_unit_gains():
    """A global initialisation must not draw batch norm's gains anew: with small ones around 0 the classes' signals would fade."""
    game = make("sngan", LABELLED, init="xavier")
    norm = game.generator.blocks[0].norm1
    x = torch.randn(3, norm.norm.num_features, 4, 4)
    torch.testing.assert_close(norm(x, torch.eye(3)), F.batch_norm(x, None, None, training=True))


@pytest.mark.parametrize("name", ["cgan", "sngan", "r3gan"])
def test_a_vector_of_features_is_a_condition_too(name):
    spec = DataSpec("image", (2, 8, 8), condition_dim=5)
    game, of = make(name, spec, **PLAIN), batch(spec)
    assert game.condition_dim == 5 and game.condition(of) is of.condition
    assert all(term.isfinite() for term in game.discriminator_loss(of, context()).values())
    game.eval()
    first, second = (game.sample(2, seed=0, condition=torch.full((2, 5), value)) for value in (0.0, 2.0))
    assert name == "sngan" or not torch.allclose(first, second)  # sngan starts with shift 0: its gain grows, the rest follows training
    assert game.sample(2, seed=0).shape == (2, 2, 8, 8)


def test_labels_become_one_hot_vectors_and_can_be_left_out():
    of, game = batch(LABELLED), make("cgan", LABELLED)
    assert torch.equal(game.condition(of), torch.eye(3)[of.label])
    free = make("r3gan", LABELLED, conditional=False)
    assert free.condition_dim == 0 and free.condition(of) is None and free.discriminator.mode == "none"
    assert make("dcgan", LABELLED).condition_dim == 0


def test_samples_depend_on_seed_and_label_alone():
    game = make("cgan", LABELLED)
    game.train()
    torch.manual_seed(11)
    before, state = game.sample(4, seed=1, label=torch.tensor([0, 1, 2, 1])), torch.get_rng_state()
    torch.randn(3)
    assert torch.equal(game.sample(4, seed=1, label=torch.tensor([0, 1, 2, 1])), before)
    assert game.generator.training  # as it was found
    torch.set_rng_state(state)
    game.sample(4, seed=9)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(game.sample(4, seed=2, label=torch.tensor([0, 1, 2, 1])), before)
    other = game.sample(4, seed=1, label=torch.tensor([0, 1, 2, 2]))
    assert torch.equal(other[:3], before[:3]) and not torch.equal(other[3], before[3])


@pytest.mark.parametrize("label, named", [([0, 3], 3), ([-1, 0], -1)])
def test_a_class_that_is_not_there(label, named):
    with pytest.raises(UserError, match=f"no class {named}.*0 to 2"):
        make("cgan", LABELLED).sample(2, seed=0, label=torch.tensor(label))
    with pytest.raises(UserError, match="no classes"):
        make("dcgan", LABELLED).sample(2, seed=0, label=torch.tensor([0, 1]))


def first_norm(game):
    return next(m for m in game.generator.modules() if isinstance(m, torch.nn.BatchNorm2d))


def trained_a_little(**fields):
    game = make("dcgan", PICTURES, sampling_statistics=fields.pop("statistics"), **fields)
    for seed in range(3):
        fakes(game, batch(PICTURES), context(seed=seed))
    return game


def test_standing_statistics_are_the_mean_over_sixteen_batches_for_the_weights_at_hand():
    game = trained_a_little(statistics="standing")
    torch.nn.init.orthogonal_(game.generator.project.weight, gain=3.0)  # other weights than the running averages have seen
    game.prepare_to_sample()
    draws, norm = torch.Generator().manual_seed(0), first_norm(game)
    batches = [game.generator.project(torch.randn(8, 4, generator=draws)).view(-1, norm.num_features) for _ in range(16)]  # channels last
    torch.testing.assert_close(norm.running_mean, torch.stack([x.mean(0) for x in batches]).mean(0).detach())
    torch.testing.assert_close(norm.running_var, torch.stack([x.var(0) for x in batches]).mean(0).detach())
    assert norm.momentum == 0.1 and game.generator.training
    state = {name: value.clone() for name, value in game.state_dict().items()}
    game.prepare_to_sample()
    assert all(torch.equal(value, state[name]) for name, value in game.state_dict().items() if "num_batches" not in name)


def test_running_statistics_are_left_as_training_made_them_and_used():
    game = trained_a_little(statistics="running")
    mean = first_norm(game).running_mean.clone()
    game.prepare_to_sample()
    assert torch.equal(first_norm(game).running_mean, mean) and mean.abs().max() > 0
    latent = torch.randn(5, 4, generator=torch.Generator().manual_seed(7))
    expected = game.generator.eval()(latent)
    torch.testing.assert_close(game.train().sample(5, seed=7), expected.detach())


def test_batch_statistics_are_those_of_the_samples_drawn():
    game = trained_a_little(statistics="batch")
    latent = torch.randn(5, 4, generator=torch.Generator().manual_seed(7))
    expected = game.generator.train()(latent)
    torch.testing.assert_close(game.eval().sample(5, seed=7), expected.detach())
    assert not game.generator.training


@pytest.mark.parametrize("half_life", [0, 1000])
@pytest.mark.parametrize("statistics", ["standing", "running", "batch"])
def test_looking_at_samples_does_not_change_the_training(half_life, statistics):
    game = make("dcgan", PICTURES, sampling_statistics=statistics, ema_half_life_images=half_life, spectral_norm="both")
    trainer = Trainer(game, source(PICTURES), device="cpu")
    trainer.advance()
    before = {name: value.clone() for name, value in game.state_dict().items()}
    with trainer.averaged() as seen:
        seen.sample(4, seed=0)
    assert all(torch.equal(value, before[name]) for name, value in game.state_dict().items())
    assert game.generator.training


# --- what does not fit ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, spec, fields, words",
    [
        ("wgan", PICTURES, {"label_smoothing": 0.1}, "smoothing does not fit WGAN"),
        ("dcgan", PICTURES, {"penalty": "r1"}, "batch norm couples.*discriminator_norm"),
        ("gan", PICTURES, {"penalty": "r1", "minibatch_discrimination": 4}, "minibatch discrimination couples"),
        ("cgan", PICTURES, {}, "needs labels"),
        ("cgan", LABELLED, {"conditional": False}, "needs labels"),
        ("acgan", DataSpec("image", (2, 8, 8), condition_dim=4), {}, "no classes"),
        ("r3gan", PICTURES, {"spectral_norm": "discriminator", "init": "default"}, "start at 0"),
    ],
)
def test_what_cannot_go_together_is_refused_in_one_line(name, spec, fields, words):
    with pytest.raises(UserError, match=words) as error:
        make(name, spec, **fields)
    assert "\n" not in str(error.value)


def test_what_does_go_together():
    for fields in ({"penalty": "r1", "discriminator_norm": "instance"}, {"penalty": "wgan_gp", "network": "resnet"}, {"penalty": "dragan", "network": "mlp"}):
        game = make("dcgan", PICTURES, **fields)
        assert all(term.isfinite() for term in game.discriminator_loss(batch(PICTURES), context()).values())


def test_a_bilinear_embedding_is_as_long_as_the_features_and_no_longer_than_published():
    for size in (8, 64):
        game = make("r3gan", DataSpec("image", (1, size, size), 3), network="dcgan", discriminator_width=64 if size == 64 else 8, base_size=4, **PLAIN)
        assert game.discriminator.embedding.out_features == min(game.discriminator.backbone.out_features, 768)
        assert size == 8 or game.discriminator.backbone.out_features > 768


@pytest.mark.parametrize("components", [0, 3])
def test_given_latents_make_the_samples_of_their_seed(components):
    """What path length moves is what ``sample`` draws: the same latents and classes, the same samples (pictures before clamping)."""
    game = make("r3gan", LABELLED, latent_components=components).eval()
    label = torch.arange(N) % 3
    latent = game.draw_latent(N, torch.Generator().manual_seed(7))
    assert latent.shape == (N, 4 + bool(components))
    drawn, made = game.sample(N, seed=7, label=label), game.from_latent(latent, label)
    assert torch.equal(drawn, made.clamp(-1, 1)) and not torch.equal(drawn, game.sample(N, seed=8, label=label))
    assert not torch.equal(made, game.from_latent(latent, (label + 1) % 3))
    points = make("gan", POINTS).eval()
    assert torch.equal(points.sample(N, seed=7), points.from_latent(points.draw_latent(N, torch.Generator().manual_seed(7))))
