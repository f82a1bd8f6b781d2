"""The loop, on a game of two linear players. Oracles: gradients recomputed by hand with plain torch, counting, and bytes compared with bytes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from train_toy import SGD, Duel, Spoilt, duel, same, weights

from agon.data.sampler import positions
from agon.errors import UserError
from agon.game import Player, Stage, Update
from agon.train.distributed import Ranks
from agon.train.trainer import NonFiniteError, Observer, images_per_step

LEFT, RIGHT = ["left.weight", "left.bias"], ["right.weight", "right.bias"]


def stage(*updates):
    return [Stage("train", updates)]


def advance(trainer, steps):
    return [trainer.advance() for _ in range(steps)]


def epoch_order(length=64, seed=0, epoch=0):
    ((_, order),) = positions(epoch * length, length, length, seed)
    return order


# --- what is not finite -----------------------------------------------------------------------------------------------------------------


class Notes(Observer):
    def __init__(self, folder=None, save_at=()):
        self.folder, self.save_at, self.events, self.records = folder, save_at, [], []

    def after_step(self, trainer, record):
        self.records += [record] if record else []
        if trainer.step in self.save_at:
            self.saved = trainer.save(self.folder)

    def event(self, kind, num_images, **fields):
        self.events.append((kind, num_images, fields))

    def restore(self, trainer):
        if not self.save_at:
            return False
        trainer.load(self.saved)
        return True


def spoilt_at_step(step):
    return Spoilt(at=int(epoch_order()[8 * step + 3]))


@pytest.mark.parametrize("precision, micro", [("fp32", 0), ("fp32", 2), ("fp16", 0)])
def test_an_infinity_in_the_data_stops_before_the_step(precision, micro):
    trainer = duel(spoilt_at_step(3), precision=precision, micro_batch_size=micro)
    advance(trainer, 3)
    before, average = weights(trainer), {k: v.clone() for k, v in trainer.ema.modules.state_dict().items()}
    with pytest.raises(NonFiniteError, match=r"^step 3: player left, term pull, first parameter with a non-finite gradient left\.weight$"):
        trainer.advance()
    assert same(before, weights(trainer)) and same(average, trainer.ema.modules.state_dict())
    assert trainer.step == 3 and trainer.num_images == 24


def test_a_bad_second_player_is_named_and_the_first_ones_step_is_not_averaged():
    def bad_log(game):
        def loss(batch, ctx):
            return {"fine": game.right(batch.real).mean(), "worse": torch.log((game.right(batch.real) * (ctx.step < 2)).square().sum())}

        return stage(Update("left", game.left_loss), Update("right", loss))

    trainer = duel(plan=bad_log)
    advance(trainer, 2)
    before, average = weights(trainer), {k: v.clone() for k, v in trainer.ema.modules.state_dict().items()}
    with pytest.raises(NonFiniteError, match=r"step 2: player right, term worse, first parameter with a non-finite gradient right\."):
        trainer.fit()
    assert same(before, weights(trainer), RIGHT) and same(average, trainer.ema.modules.state_dict())


def test_a_gradient_that_overflows_with_a_finite_loss_is_told_from_a_bad_term():
    def steep(game):
        return stage(Update("right", lambda batch, ctx: {"root": (game.right.weight - game.right.weight.detach()).square().sum().sqrt()}))

    with pytest.raises(NonFiniteError, match=r"player right, term none \(the gradient overflowed\), .* right\.weight"):
        duel(plan=steep).advance()


def test_fp16_gives_up_when_no_loss_scale_is_small_enough():
    def steep(game):
        return stage(Update("right", lambda batch, ctx: {"root": (game.right.weight - game.right.weight.detach()).square().sum().sqrt()}))

    trainer = duel(plan=steep, precision="fp16", log_every=10)
    before = weights(trainer)
    with pytest.raises(NonFiniteError, match="player right, its gradient is not finite however small the loss scale"):
        trainer.fit()
    assert trainer.step <= 60 and same(before, weights(trainer))


def test_fp16_skips_steps_that_overflow_and_finds_its_scale(tmp_path):
    def strong(game):  # 2 ** 16 times this gradient overflows float16's range inside the network
        return stage(Update("right", lambda batch, ctx: {"push": 100 * game.right(batch.real).mean()}))

    trainer = duel(plan=strong, precision="fp16", **SGD)
    before = weights(trainer)
    trainer.advance()
    assert same(before, weights(trainer)), "the first step overflows and is skipped"
    scales = [trainer.scalers["right"].get_scale() for _ in range(30) if trainer.advance() or True]
    assert scales[0] < 2**16 and not same(before, weights(trainer), RIGHT) and all(torch.isfinite(v).all() for v in weights(trainer).values())
    path = trainer.save(tmp_path)
    resumed = duel(plan=strong, precision="fp16", **SGD)
    resumed.load(path)
    assert resumed.scalers["right"].state_dict() == trainer.scalers["right"].state_dict()
    advance(trainer, 3), advance(resumed, 3)
    assert same(weights(trainer), weights(resumed))


def flaky(game):
    """Bad in step 5, unless the noise of that step is another one than at first."""

    def loss(batch, ctx):
        noise = ctx.normal(len(batch), 1)
        game.seen.append((ctx.step, float(noise[0])))
        first = [value for step, value in game.seen if step == 5][:1]
        bad = ctx.step == 5 and float(noise[0]) == first[0]
        return {"pull": (game.left(batch.real) - noise).square().mean() * (torch.inf if bad else 1)}

    return stage(Update("left", loss))


def test_rolls_back_and_goes_on_with_other_randomness(tmp_path):
    notes = Notes(tmp_path, save_at=(4,))
    trainer = duel(plan=flaky, observer=notes, rollbacks=1)
    assert trainer.fit(until=80) == 0 and trainer.step == 10 and trainer.rollbacks == 1
    assert [(kind, images) for kind, images, _ in notes.events] == [("nonfinite", 40)]
    assert "step 5: player left, term pull" in notes.events[0][2]["message"]
    steps = [step for step, _ in trainer.game.seen]
    assert steps == [0, 1, 2, 3, 4, 5, 4, 5, 6, 7, 8, 9]
    noise = [value for step, value in trainer.game.seen if step in (4, 5)]
    assert len(set(noise)) == 4, "the same randomness would fail again"
    assert all(torch.isfinite(value).all() for value in trainer.ema.modules.state_dict().values())


def test_rolls_back_so_often_and_no_more(tmp_path):
    def always_bad(game):
        return stage(Update("left", lambda batch, ctx: {"pull": game.left(batch.real).mean() * (torch.nan if ctx.step == 5 else 1)}))

    for allowed in (0, 2):
        notes = Notes(tmp_path / str(allowed), save_at=(2,))
        trainer = duel(plan=always_bad, observer=notes, rollbacks=allowed)
        with pytest.raises(NonFiniteError, match="step 5"):
            trainer.fit(until=80)
        assert [kind for kind, _, _ in notes.events] == ["nonfinite"] * (allowed + 1)
    with pytest.raises(NonFiniteError):  # nothing to go back to
        duel(plan=always_bad, observer=Notes(), rollbacks=1).fit(until=80)


# --- gradients --------------------------------------------------------------------------------------------------------------------------


def by_hand(trainer, loss, rows):
    """Gradients of ``loss(game, real)`` at the present weights, on the rows of the source, by plain torch."""
    real = trainer.source.read(np.asarray(rows)).real
    trainer.game.zero_grad()
    loss(trainer.game, real).backward()
    found = {name: parameter.grad.clone() for name, parameter in trainer.game.named_parameters() if parameter.grad is not None}
    trainer.game.zero_grad()
    return found


def push(game, real):
    return (game.right(real) - game.left(real)).square().mean()


def push_plan(**update):
    return lambda game: stage(Update("right", lambda batch, ctx: {"push": push(game, batch.real)}, **update))


@pytest.mark.parametrize("micro", [0, 8, 4, 3, 2, 1, 100])
def test_a_step_moves_the_player_by_the_gradient_and_nobody_else(micro):
    trainer = duel(plan=push_plan(), micro_batch_size=micro, ema_half_life_images=0, **SGD)
    gradient, before = by_hand(trainer, push, epoch_order()[:8]), weights(trainer)
    assert gradient.keys() > set(RIGHT), "left has a gradient too, which must not be used"
    trainer.advance()
    after = weights(trainer)
    for name in RIGHT:
        torch.testing.assert_close(after[name], before[name] - 0.125 * gradient[name], rtol=1e-5, atol=1e-6)  # rounding of other sums
    assert same(before, after, [name for name in before if name not in RIGHT])
    assert trainer.game.left.weight.grad is None and trainer.game.anchor.weight.grad is None, "nobody else's gradient is computed"


@pytest.mark.parametrize("bound", [0.01, 1.0, 1e6])
def test_clipping_bounds_the_norm_and_keeps_the_direction(bound):
    trainer = duel(plan=push_plan(), clip_grad_norm=bound, **SGD)
    gradient, before = by_hand(trainer, push, epoch_order()[:8]), weights(trainer)
    norm = torch.stack([gradient[name].norm() for name in RIGHT]).norm()
    trainer.advance()
    for name in RIGHT:
        expected = gradient[name] * min(1.0, bound / float(norm))
        torch.testing.assert_close((before[name] - weights(trainer)[name]) / 0.125, expected, rtol=1e-3, atol=1e-6)  # clipping adds 1e-6 to the norm


def test_logged_terms_are_the_whole_batchs_whatever_the_micro_batch():
    records = [advance(duel(micro_batch_size=micro), 5)[-1] for micro in (0, 2)]
    assert records[0]["terms"].keys() == {"left/pull", "left/noise", "right/push"}
    for name, value in records[0]["terms"].items():
        assert records[1]["terms"][name] == pytest.approx(value, rel=1e-4)


def test_lazy_updates_come_every_so_often_with_their_gradient_multiplied():
    trainer = duel(plan=push_plan(every=4), **SGD)
    for step in range(9):
        rows = epoch_order()[8 * step : 8 * step + 8] if step < 8 else epoch_order(epoch=1)[:8]
        gradient, before = by_hand(trainer, push, rows), weights(trainer)
        trainer.advance()
        factor = 4 * 0.125 if step % 4 == 0 else 0.0
        for name in RIGHT:
            torch.testing.assert_close(weights(trainer)[name], before[name] - factor * gradient[name], rtol=1e-4, atol=1e-6)


# --- the plan ---------------------------------------------------------------------------------------------------------------------------


def noting(game, name, seen, result=True):
    def loss(batch, ctx):
        seen.append((name, ctx.step, batch.real.clone()))
        return {"push": push(game, batch.real)} if result else None

    return loss


def rows(trainer, start):
    return torch.cat([trainer.source.read(indices, epoch=epoch).real for epoch, indices in positions(start, 8, 64, trainer.config.seed)])


def test_fresh_draws_for_each_repeat_and_the_rest_shares_the_last():
    seen = []

    def plan(game):
        a, b, c = (noting(game, name, seen) for name in "abc")
        return stage(Update("left", a), Update("right", b, times=3, fresh=True), Update("right", c))

    trainer = duel(plan=plan)
    advance(trainer, 2)
    assert trainer.num_images == 48 and images_per_step(trainer.stages, 8) == 24
    expected = [(name, step, 24 * step + start) for step in range(2) for name, start in (("a", 0), ("b", 0), ("b", 8), ("b", 16), ("c", 16))]
    assert [entry[:2] for entry in seen] == [entry[:2] for entry in expected]
    for (_, _, real), (_, _, start) in zip(seen, expected, strict=True):
        assert torch.equal(real, rows(trainer, start))


def test_repeats_without_fresh_share_the_batch_but_not_the_randomness():
    noise = []

    def plan(game):
        def loss(batch, ctx):
            noise.append((batch.real.clone(), ctx.normal(len(batch), 2), torch.rand(3)))
            return {"push": push(game, batch.real)}

        return stage(Update("right", loss, times=2))

    trainer = duel(plan=plan)
    advance(trainer, 2)
    assert trainer.num_images == 16
    assert torch.equal(noise[0][0], noise[1][0]) and not torch.equal(noise[1][0], noise[2][0])
    for one, other in itertools.combinations(noise, 2):
        assert not torch.equal(one[1], other[1]) and not torch.equal(one[2], other[2])


def test_after_is_called_after_each_optimizer_step():
    found = []

    def plan(game):
        def clip(ctx):
            found.append(game.right.weight.abs().max().item())
            with torch.no_grad():
                game.right.weight.clamp_(-0.01, 0.01)

        return stage(Update("left", game.left_loss), Update("right", game.right_loss, times=2, after=clip))

    trainer = duel(plan=plan)
    advance(trainer, 3)
    assert len(found) == 6 and all(value > 0.01 for value in found), "called before the step, it would find the clipped weights of the last one"
    assert trainer.game.right.weight.abs().max() <= 0.01


def test_none_passes_and_is_not_logged():
    called = []
    trainer = duel(plan=lambda g: stage(Update("left", noting(g, "a", [], result=False), after=lambda ctx: called.append(1)), Update("right", g.right_loss)))
    before = weights(trainer)
    records = advance(trainer, 5)
    assert same(before, weights(trainer), LEFT) and not same(before, weights(trainer), RIGHT)
    assert not called and records[-1]["terms"].keys() == {"right/push"} and trainer.step == 5 and trainer.num_images == 40


def test_stages_follow_the_images():
    seen = []

    def plan(game):
        def loss(name):
            def note(batch, ctx):
                seen.append((name, ctx.num_images, round(ctx.progress, 3)))
                return {"push": push(game, batch.real)}

            return note

        return [Stage(name, (Update("right", loss(name)),), length) for name, length in (("first", 24), ("second", 16), ("third", None))]

    trainer = duel(plan=plan, images=72, log_every=1)
    notes = trainer.observer = Notes()
    trainer.fit()
    expected = [("first", 0, 0), ("first", 8, 0.333), ("first", 16, 0.667), ("second", 24, 0), ("second", 32, 0.5)]
    expected += [("third", 40, 0), ("third", 48, 0.25), ("third", 56, 0.5), ("third", 64, 0.75)]
    assert seen == expected
    assert [record["stage"] for record in notes.records] == [name for name, _, _ in expected]


def test_a_stage_may_begin_with_fresh_optimizers_also_right_after_a_resume(tmp_path):
    """Adam's first step with moments of its own is lr * sign(gradient), whatever came before."""

    def plan(game):
        updates = (Update("left", game.left_loss), Update("right", game.right_loss))
        return [Stage("one", updates, 24), Stage("two", updates, fresh_optimizers=True)]

    def trained(steps):
        trainer = duel(plan=plan, images=80, batch_size=8, **{"optimizer.lr": 0.01})
        advance(trainer, steps)
        return trainer

    straight, stopped = trained(3), trained(3)
    before = weights(straight)
    advance(straight, 1)
    after = weights(straight)
    for name in LEFT + RIGHT:
        torch.testing.assert_close((after[name] - before[name]).abs(), torch.full_like(after[name], 0.01), atol=1e-5, rtol=1e-3)
    resumed = duel(plan=plan, images=80, batch_size=8, **{"optimizer.lr": 0.01})
    resumed.load(stopped.save(tmp_path))
    advance(resumed, 1)
    assert same(weights(resumed), after)
    advance(straight, 1)
    assert straight.optimizers["left"].torch.state[straight.optimizers["left"].parameters[0]]["step"] == 2  # forgotten once


def test_a_resumed_run_is_in_the_stage_of_its_clock(tmp_path):
    def plan(game):
        return [Stage("first", (Update("right", game.right_loss),), 24), Stage("second", (Update("left", game.left_loss),))]

    path = None
    straight = duel(plan=plan)
    for _ in range(6):
        straight.advance()
        path = straight.save(tmp_path) if straight.step == 4 else path
    resumed = duel(plan=plan)
    resumed.load(path)
    assert resumed.stage()[0].name == "second"
    advance(resumed, 2)
    assert same(weights(straight), weights(resumed))


def test_players_may_share_a_module_and_what_nobody_owns_is_frozen():
    class Shared(Duel):
        def players(self):
            return {"left": Player((self.left, self.norm), self.config.optimizer), "right": Player((self.right, self.left), self.config.optimizer)}

        def left_loss(self, batch, ctx):
            return {"pull": (self.norm(self.left(batch.real)) - self.anchor(batch.real)).square().mean()}

    trainer = duel(cls=Shared)
    before = weights(trainer)
    advance(trainer, 1)
    after = weights(trainer)
    assert same(before, after, ["anchor.weight", "anchor.bias"])
    assert not any(torch.equal(before[name], after[name]) for name in [*LEFT, *RIGHT, "norm.weight"] if name != "left.bias")  # batch norm cancels that bias
    assert len(trainer.players["right"].parameters()) == 4
    moved = duel(cls=Shared, plan=lambda g: stage(Update("right", g.right_loss)))
    advance(moved, 1)
    assert not same(before, weights(moved), LEFT), "the second owner moves it too"


def test_gradients_flow_through_what_is_frozen():
    trainer = duel(plan=lambda g: stage(Update("left", lambda batch, ctx: {"pull": g.right(torch.cat([g.left(batch.real)] * 2, 1)).square().mean()})))
    before = weights(trainer)
    advance(trainer, 1)
    assert not same(before, weights(trainer), ["left.weight"]) and same(before, weights(trainer), RIGHT)


# --- data, randomness, the log ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [64, 13, 5])
def test_the_batches_are_the_samplers(length):
    trainer = duel(Spoilt(length), seed=3)
    advance(trainer, 9)
    expected = [trainer.source.read(indices, epoch=epoch).real for epoch, indices in positions(0, 72, length, 3)]
    assert torch.equal(torch.cat(trainer.game.seen), torch.cat(expected))


def test_global_random_numbers_change_nothing():
    class Dropping(Duel):
        def left_loss(self, batch, ctx):
            return {"pull": nn.functional.dropout(self.left(batch.real)).square().mean() + super().left_loss(batch, ctx)["noise"]}

    calm, disturbed = duel(cls=Dropping), duel(cls=Dropping)
    for step in range(6):
        calm.advance()
        torch.manual_seed(step + 100), torch.rand(step), np.random.seed(step)
        disturbed.advance()
    assert same(weights(calm), weights(disturbed))
    other = duel(cls=Dropping, seed=1)
    advance(other, 6)
    assert not same(weights(calm), weights(other), LEFT)


def test_records_come_in_every_so_manyth_step_only():
    class Logging(Duel):
        def right_loss(self, batch, ctx):
            ctx.log("right/mean", batch.real.mean())
            assert ctx.logging == ((ctx.step + 1) % 4 == 0)
            return super().right_loss(batch, ctx)

    trainer = duel(cls=Logging, log_every=4)
    records = advance(trainer, 9)
    assert [index for index, record in enumerate(records) if record] == [3, 7]
    record = records[7]
    assert record["step"] == 8 and record["num_images"] == 64 and record["stage"] == "train"
    assert record["stats"] == {"right/mean": pytest.approx(float(rows(trainer, 56).mean()), rel=1e-5)}
    assert 0 <= records[3]["seconds"] <= record["seconds"] and record["cpu_seconds"] >= 0 and record["memory_mb"] > 1


def test_compiled_networks_train_to_the_same_weights():
    plain, compiled = duel(), duel(compile=True)
    for module in (compiled.game.left, compiled.game.right):
        assert module._compiled_call_impl is not None
        module.compile(backend="eager")  # the tracing is what is tested; the default compiler takes minutes
    advance(plain, 4), advance(compiled, 4)
    assert same(weights(plain), weights(compiled)) and weights(plain).keys() == weights(compiled).keys()


def test_samples_without_averaging_leave_no_trace():
    trainer = duel(ema_half_life_images=0)
    assert trainer.ema is None
    trainer.game.prepare_to_sample = lambda: trainer.game.norm(torch.randn(4, 1))
    before = weights(trainer)
    with trainer.averaged() as game:
        assert game is trainer.game and not torch.equal(game.norm.running_mean, before["norm.running_mean"])
    assert same(before, weights(trainer))


def test_fit_ends_at_the_images_asked_for_or_at_the_deadline():
    trainer = duel()
    assert trainer.fit(until=20) == 0 and trainer.num_images == 24
    assert trainer.fit(until=20) == 0 and trainer.num_images == 24
    assert trainer.fit(deadline=0.0) == 0 and trainer.num_images == 32
    assert trainer.progress == pytest.approx(32 / 8000)


def test_a_batch_that_the_ranks_cannot_share_is_refused():
    with pytest.raises(UserError, match="A batch of 9 cannot be shared by 2 processes"):
        duel(batch_size=9, ranks=Ranks(0, 2))


def test_nothing_is_saved_from_a_state_that_may_be_spoilt(tmp_path):
    trainer = duel()
    advance(trainer, 1)
    trainer._bad.fill_(True)  # what an accelerator notes without waiting
    with pytest.raises(NonFiniteError, match="was left out"):
        trainer.save(tmp_path)
    assert not list(tmp_path.iterdir())
