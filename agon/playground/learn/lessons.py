"""Eight short lessons that check themselves: what to set up, what to do, and what must then be seen.

Every number in a check was found by playing with seeds 0, 1 and 2, with room to spare; tests/playground/test_lessons.py plays them.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

OPS = {"<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge, "==": operator.eq, "!=": operator.ne}


@dataclass(frozen=True)
class Condition:
    """A value of a stage against ``than``, or against another stage's value: ``than_value`` {"stage": 1, "value": "js"}.

    ``value``: one of the frame's numbers (``d_js``) or measures (``js``); ``step`` and ``newest``; ``action:d``, ``action:g``, ``action:b``: moves of that kind
    in the course up to this moment; ``action:seek`` (or play, pause, restart, compare): how often the learner did that in this lesson; ``setting:NAME``: what
    is chosen, of the stage or else of what stages share. The page means the same by all of it (static/js/learn/lessons.js and value() in room.js).
    """

    value: str
    op: str
    than: float | str | None = None
    stage: int = 0
    than_value: dict[str, Any] | None = None

    def holds(self, values: Sequence[Mapping[str, Any]]) -> bool:
        """``values``: of each stage, by name. A value that is not there (a divergence of a critic, a stage that was taken away) makes no condition true."""
        other = self.than_value
        bound = self.than if other is None else _value(values, other.get("stage", 0), other["value"])
        found = _value(values, self.stage, self.value)
        return found is not None and bound is not None and OPS[self.op](found, bound)


def _value(values: Sequence[Mapping[str, Any]], stage: int, name: str) -> Any:
    return values[stage].get(name) if stage < len(values) else None


@dataclass(frozen=True)
class Task:
    """Done at the first moment at which every condition of ``check`` holds; tasks are done in their order, and one that is done stays done.

    ``do``: moves that are known to bring it about, from where the task before it ended: a player's letter and how many steps, or ``seek`` and where to.
    ``change``: settings to choose before them, (stage, {name: value}), with which the game begins anew. A test plays both; the page is not told.
    """

    id: str
    do: tuple[tuple[str, int], ...]
    check: tuple[Condition, ...]
    text: str
    hint: str
    change: tuple[tuple[int, dict[str, Any]], ...] = ()

    def done(self, values: Sequence[Mapping[str, Any]]) -> bool:
        return all(condition.holds(values) for condition in self.check)


@dataclass(frozen=True)
class Lesson:
    """``setup``: {"shared": fields of Shared, "stages": [fields of StageChoice]}; ``layers``: drawn beside the points; ``after``: what was to be seen."""

    id: str
    title: str
    summary: str
    setup: dict[str, Any]
    layers: tuple[str, ...]
    text: tuple[str, ...]
    tasks: tuple[Task, ...]
    after: str
    reading: tuple[dict[str, str], ...]

    def as_json(self) -> dict[str, Any]:
        tasks = [{"id": t.id, "text": t.text, "hint": t.hint, "check": {"all": [asdict(c) for c in t.check]}} for t in self.tasks]
        return {**asdict(self), "tasks": tasks}


def _read(label: str, url: str) -> dict[str, str]:
    return {"label": label, "url": url}


# fmt: off
LESSONS: tuple[Lesson, ...] = (
    Lesson(
        id="optimal",
        title="The best discriminator",
        summary="Hold the generator still: the discriminator's loss then tells how far apart the two distributions are.",
        setup={"shared": {"data": "moons"}, "stages": [
            {"objective": "non_saturating", "critic_steps": 10, "discriminator_lr": 0.005, "generator_lr": 0.002},
        ]},
        layers=("heat",),
        text=(
            "Where the data have density p and the fakes density q, the best discriminator says D = p / (p + q): 1 where there are only data, 0 "
            "where there are only fakes, one half where both are equally likely (Goodfellow et al. 2014, proposition 1).",
            "At that D its loss is log 4 - 2 JS, with JS the Jensen-Shannon divergence (theorem 1). So a discriminator at its best measures a "
            "distance: JS = (1.386 - loss) / 2. A discriminator that is not at its best reads too little, never too much, apart from chance.",
            "Here one turn of the discriminator is ten updates, so that it can keep up. The divergence under the picture is measured without it, by "
            "counting points.",
        ),
        tasks=(
            Task("alone", do=(("d", 12),),
                 check=(Condition("action:d", ">=", 3), Condition("d_js", ">", 0.5), Condition("d_real", ">", 0.8)),
                 text="Hold the generator still and let the discriminator alone take steps, until its loss is below 0.386, which stands for a "
                      "divergence of 0.5.",
                 hint="Press Step D about ten times, or hold the key d. The loss is in the first chart."),
            Task("follow", do=(("b", 70),),
                 check=(Condition("js", "<", 0.5), Condition("d_js", "<", 0.5), Condition("d_js", ">", 0.1)),
                 text="Now play. Let the generator come nearer, until the divergence is below 0.5 and the discriminator's loss, close behind, is "
                      "above 0.386.",
                 hint="Play for about 70 steps, then pause."),
            Task("ahead", do=(("g", 40),),
                 check=(Condition("action:g", ">=", 3), Condition("d_js", "<", 0.08), Condition("js", ">", 0.15)),
                 text="Let the generator alone take steps, until the discriminator's loss is above 1.23: it now claims a divergence below 0.08, "
                      "although the points are no nearer.",
                 hint="Pause, then press Step G about twenty to forty times, or hold the key g."),
            Task("catch", do=(("d", 20),),
                 check=(Condition("d_js", ">", 0.15),),
                 text="Let the discriminator catch up: it alone, until its loss is below 1.09 again, a divergence above 0.15.",
                 hint="Press Step D some ten to twenty times."),
        ),
        after="Near its best, the discriminator's loss followed the divergence that was measured by counting. As soon as the generator moved alone, "
            "that reading was worth nothing. This is why a GAN's loss is no measure of quality unless the discriminator is kept close to its best.",
        reading=(
            _read("Goodfellow et al., 2014: Generative Adversarial Networks", "https://arxiv.org/abs/1406.2661"),
        ),
    ),
    Lesson(
        id="vanishing",
        title="Vanishing gradients",
        summary="A discriminator that is sure leaves the minimax generator nothing to learn from; the non-saturating one still learns.",
        setup={"shared": {"data": "ring"}, "stages": [
            {"objective": "minimax", "optimizer": "sgd", "discriminator_lr": 0.1, "generator_lr": 0.02, "critic_steps": 10},
            {"objective": "non_saturating", "optimizer": "sgd", "discriminator_lr": 0.1, "generator_lr": 0.02, "critic_steps": 10},
        ]},
        layers=("heat", "gradients"),
        text=(
            "In the game as it was first written, the generator minimises log(1 - D). Its gradient with respect to the discriminator's logit is -D "
            "on fakes: nothing is left of it once D is sure, just when help is needed most.",
            "The remedy is in the same paper (Goodfellow et al. 2014, section 3): minimise -log D instead. The fixed point is the same, the gradient "
            "is -(1 - D), which is largest on fakes that are seen through. Both push the same way; at D = 0.003 the second is more than 300 times as "
            "strong.",
            "Stage A plays minimax, stage B the non-saturating game, from the same weights. Arrows show the gradients, both stages on one scale. "
            "Both use SGD: Adam divides a gradient by its usual size and so hides much of the effect.",
        ),
        tasks=(
            Task("sure", do=(("d", 20),),
                 check=(Condition("accuracy", ">", 0.97), Condition("gradient", "<", 0.06), Condition("gradient", ">", 2, stage=1)),
                 text="Train the discriminators alone until they are sure: the generator's gradient falls below 0.06 in stage A, while it is above 2 "
                      "in stage B.",
                 hint="Press Step D about twenty times (each is ten updates), or hold the key d. Look at the arrows: those of stage A are gone."),
            Task("recover", do=(("b", 50),),
                 check=(Condition("action:b", ">=", 5), Condition("js", "<", 0.6, stage=1), Condition("js", ">", 0.66)),
                 text="Now play and see who recovers: stage B's divergence falls below 0.6, stage A's stays above 0.66.",
                 hint="Play for about 50 steps."),
            Task("weaker", do=(("b", 320),), change=((0, {"critic_steps": 1}),),
                 check=(Condition("setting:critic_steps", "==", 1), Condition("js", "<", 0.5)),
                 text="Minimax is not hopeless, it needs a discriminator that is not too good. Give stage A a single discriminator step a turn, and "
                      "play until its divergence is below 0.5.",
                 hint="Settings, stage A, Discriminator steps a turn: 1. The game begins anew; play for about 300 steps."),
        ),
        after="From the same weights and against the same sure discriminator, minimax stood still and the non-saturating generator set out at once. "
            "Against a weaker discriminator minimax learns too. With seed 1 it also gets away after some 100 turns: a vanishing gradient is small, "
            "not zero.",
        reading=(
            _read("Goodfellow et al., 2014: Generative Adversarial Networks", "https://arxiv.org/abs/1406.2661"),
            _read("Arjovsky and Bottou, 2017: Towards Principled Methods for Training GANs (theorem 2.4)", "https://arxiv.org/abs/1701.04862"),
        ),
    ),
    Lesson(
        id="collapse",
        title="Mode collapse",
        summary="A generator that is faster than the discriminator puts everything in one place, and then moves on.",
        setup={"shared": {"data": "ring"}, "stages": [
            {"objective": "non_saturating", "generator_lr": 0.02, "discriminator_lr": 0.002, "critic_steps": 1},
        ]},
        layers=("heat", "manifold"),
        text=(
            "Against a discriminator that does not move, the generator's best answer is a single point: the one where D is largest. Nothing in its "
            "loss asks for variety. Goodfellow et al. (2014, section 6) warn of it: the generator must not be trained too much without updating D, "
            "or many latents end at the same place.",
            "Here the generator's learning rate is ten times the discriminator's. As soon as the discriminator has understood where the fakes are, "
            "they are somewhere else.",
        ),
        tasks=(
            Task("lose", do=(("b", 250),),
                 check=(Condition("step", ">=", 150), Condition("modes", "<=", 2), Condition("js", ">", 0.5)),
                 text="Play for at least 150 steps and see the fakes cover at most 2 of the 8 modes.",
                 hint="The count of modes is under the picture. A mode counts once it gets a fifth of its share."),
            Task("wander", do=(("seek", 160),),
                 check=(Condition("action:seek", ">=", 1),),
                 text="Go back through the history and watch the clump wander from place to place.",
                 hint="Drag the History slider to and fro, or press the left arrow key with Shift."),
            Task("mend", do=(("b", 200),), change=((0, {"critic_steps": 5}),),
                 check=(Condition("setting:critic_steps", ">=", 3), Condition("modes", ">=", 5), Condition("js", "<", 0.45)),
                 text="Mend it: let the discriminator take 5 steps a turn, and play until at least 5 modes are covered and the divergence is below "
                      "0.45.",
                 hint="Settings, Discriminator steps a turn: 5. The game begins anew; play for about 200 steps."),
        ),
        after="With the same hasty generator, a discriminator that is near its best at every turn sees the clump at once, and the fakes spread over "
            "the ring. Mode collapse is not a matter of the loss alone but of who keeps up with whom. The fakes still jump: a smaller learning rate "
            "of the generator calms them.",
        reading=(
            _read("Goodfellow et al., 2014: Generative Adversarial Networks", "https://arxiv.org/abs/1406.2661"),
            _read("Metz et al., 2017: Unrolled Generative Adversarial Networks", "https://arxiv.org/abs/1611.02163"),
            _read("Goodfellow, 2016: NIPS 2016 Tutorial (section 5.1.1)", "https://arxiv.org/abs/1701.00160"),
        ),
    ),
    Lesson(
        id="wasserstein",
        title="Wasserstein and the slope",
        summary="A critic of bounded slope gives a gradient however far the fakes are away; how it is bounded matters.",
        setup={"shared": {"data": "ring"}, "stages": [
            {"objective": "minimax", "critic_steps": 10},
            {"objective": "wasserstein_clip", "critic_steps": 10, "weight_clip": 0.1},
        ]},
        layers=("heat", "gradients"),
        text=(
            "The Jensen-Shannon divergence of two distributions that do not overlap is log 2, however far apart they are, and minimax gets no "
            "gradient from a discriminator that is sure. The Wasserstein distance is how far mass has to be carried, so that it falls with every "
            "step nearer.",
            "By Kantorovich-Rubinstein duality it is the largest gap E f(data) - E f(fakes) among all f whose slope is nowhere above 1 (Arjovsky et "
            "al. 2017, equation 2). The critic looks for this f. To keep the slope bounded by some number, the paper clips every weight after each "
            "step (algorithm 1) and calls this a terrible way to do it.",
            "Stage A is minimax, stage B the clipped critic. Each turn of a discriminator is ten updates.",
        ),
        tasks=(
            Task("far", do=(("d", 25),),
                 check=(Condition("accuracy", ">", 0.97), Condition("gradient", "<", 0.06), Condition("gradient", ">", 0.14, stage=1)),
                 text="Train the discriminators alone: stage A's gradient falls below 0.06, the critic's in stage B stays above 0.14.",
                 hint="Press Step D about twenty times, or hold the key d. The arrows show the gradients."),
            Task("tight", do=(("d", 10),), change=((1, {"weight_clip": 0.01}),),
                 check=(Condition("setting:weight_clip", "<=", 0.015, stage=1), Condition("action:d", ">=", 5),
                        Condition("gradient", "<", 0.001, stage=1)),
                 text="Clip too tightly: at 0.01 in stage B. However long the critic is trained, its gradient stays below 0.001.",
                 hint="Settings, stage B, More, Weights clipped at: 0.01. Then press Step D about ten times."),
            Task("loose", do=(("d", 15),), change=((1, {"weight_clip": 1.0}),),
                 check=(Condition("setting:weight_clip", ">=", 0.9, stage=1), Condition("slope", ">", 10, stage=1)),
                 text="Clip too loosely: at 1. The critic's slope climbs above 10, and goes on climbing.",
                 hint="Settings, stage B, More, Weights clipped at: 1. Then press Step D about ten times."),
            Task("between", do=(("b", 150),), change=((1, {"weight_clip": 0.1}),),
                 check=(Condition("setting:weight_clip", ">=", 0.05, stage=1), Condition("setting:weight_clip", "<=", 0.3, stage=1),
                        Condition("js", "<", 0.54, stage=1)),
                 text="Back to 0.1: play until stage B's divergence is below 0.54.",
                 hint="Settings, stage B, More, Weights clipped at: 0.1. Play for about 150 steps."),
        ),
        after="The critic's gradient did not vanish, but its size hung on the clip: a few layers of weights multiply, so that a tenth of the clip left "
            "a thousandth of the gradient. And do not expect a faster game here: on this ring the clipped critic learns about as well as minimax, no "
            "better.",
        reading=(
            _read("Arjovsky et al., 2017: Wasserstein GAN (equations 2 and 3, algorithm 1)", "https://arxiv.org/abs/1701.07875"),
        ),
    ),
    Lesson(
        id="penalty",
        title="The gradient penalty",
        summary="Ask for a slope of 1 instead of small weights: the critic's gap then becomes a distance.",
        setup={"shared": {"data": "ring"}, "stages": [
            {"objective": "wgan_gp", "penalty_weight": 3.0, "critic_steps": 5},
            {"objective": "wasserstein_clip", "weight_clip": 0.1, "critic_steps": 5},
        ]},
        layers=("heat", "gradients"),
        text=(
            "The best critic has slope 1 almost everywhere between paired real and fake points (Gulrajani et al. 2017, proposition 1 and corollary "
            "1). So WGAN-GP adds a penalty, weight times (slope - 1) squared, at points between real and fake ones (equation 3), and leaves the "
            "weights alone.",
            "It is a bargain, no bound. While the fakes all lie a distance W away, a slope s earns s W and costs weight (s - 1) squared, so that the "
            "best slope is 1 + W / (2 weight). Here W is about 1.4 at first, in standard deviations of the data.",
            "Stage A has a penalty of weight 3, stage B a critic clipped at 0.1. Slopes are measured between real and fake points.",
        ),
        tasks=(
            Task("slope", do=(("d", 20),),
                 check=(Condition("action:d", ">=", 5), Condition("gap", ">", 1.15), Condition("slope", ">", 1.05), Condition("slope", "<", 1.45),
                        Condition("slope", "<", 0.4, stage=1)),
                 text="Train the critics alone: stage A's slope comes to between 1.05 and 1.45 (theory says 1.23), stage B's stays below 0.4.",
                 hint="Press Step D about twenty times (each is five updates), or hold the key d."),
            Task("near", do=(("b", 250),),
                 check=(Condition("js", "<", 0.36), Condition("slope", ">", 0.85), Condition("slope", "<", 1.15),
                        Condition("slope", "<", 0.2, stage=1)),
                 text="Play. As the fakes come near, W falls and the slope goes to 1: between 0.85 and 1.15, with a divergence below 0.36. The "
                      "clipped critic's slope falls below 0.2.",
                 hint="Play for about 250 steps."),
            Task("cheap", do=(("d", 25),), change=((0, {"penalty_weight": 0.1}),),
                 check=(Condition("setting:penalty_weight", "<=", 0.15), Condition("action:d", ">=", 5), Condition("slope", ">", 5.5)),
                 text="Foretell the slope for a weight of 0.1 in stage A: 1 + 1.4 / 0.2 = 8. Set it, train the critics alone, and see a slope above "
                      "5.5.",
                 hint="Settings, stage A, More, Weight of the penalty: 0.1. Then press Step D about 25 times."),
        ),
        after="The slope obeyed the formula, whatever the weight. With a large weight it stays near 1, and gap divided by slope is the Wasserstein "
            "distance. Clipping gave some slope or other, that nobody had asked for, and one that shrank as the game went on.",
        reading=(
            _read("Gulrajani et al., 2017: Improved Training of Wasserstein GANs (proposition 1, equation 3)", "https://arxiv.org/abs/1704.00028"),
            _read("Arjovsky et al., 2017: Wasserstein GAN (equations 2 and 3, algorithm 1)", "https://arxiv.org/abs/1701.07875"),
        ),
    ),
    Lesson(
        id="smoothing",
        title="Label smoothing",
        summary="Tell the discriminator that real points are real with probability 1 - s only, and it stops shouting.",
        setup={"shared": {"data": "moons"}, "stages": [
            {"objective": "non_saturating", "critic_steps": 4, "discriminator_lr": 0.005, "label_smoothing": 0.0},
            {"objective": "non_saturating", "critic_steps": 4, "discriminator_lr": 0.005, "label_smoothing": 0.3},
        ]},
        layers=("heat",),
        text=(
            "With one-sided label smoothing the target of real points is 1 - s instead of 1; that of fakes stays 0 (Salimans et al. 2016, section "
            "3.4). The best discriminator becomes D = (1 - s) p / (p + q): 1 - s where there are only data, (1 - s) / 2 once the fakes are perfect.",
            "Without it, a discriminator that separates everything is rewarded for ever larger logits. With it there is a best logit on real points, "
            "log((1 - s) / s). Stage A has s = 0, stage B s = 0.3.",
        ),
        tasks=(
            Task("calm", do=(("d", 25),),
                 check=(Condition("d_real", ">", 0.9), Condition("gap", ">", 10), Condition("d_real", ">", 0.5, stage=1),
                        Condition("d_real", "<", 0.85, stage=1), Condition("gap", "<", 6, stage=1)),
                 text="Train the discriminators alone. D on real goes above 0.9 in stage A and settles near 0.7 in stage B; the gap between the "
                      "logits of real and fake points is above 10 in stage A, below 6 in stage B.",
                 hint="Press Step D about 25 times (each is four updates), or hold the key d."),
            Task("balance", do=(("b", 220),),
                 check=(Condition("js", "<", 0.26, stage=1), Condition("d_real", "<", 0.48, stage=1),
                        Condition("d_real", "<", stage=1, than_value={"stage": 0, "value": "d_real"})),
                 text="Play until the fakes come near: stage B's divergence is below 0.26, and its D on real below 0.48, on the way to (1 - 0.3) / 2 "
                      "= 0.35. Stage A's stays higher.",
                 hint="Play for about 220 steps."),
            Task("less", do=(("d", 25),), change=((1, {"label_smoothing": 0.1}),),
                 check=(Condition("setting:label_smoothing", ">=", 0.05, stage=1), Condition("setting:label_smoothing", "<=", 0.15, stage=1),
                        Condition("action:d", ">=", 5), Condition("d_real", ">", 0.76, stage=1), Condition("d_real", "<", 0.96, stage=1)),
                 text="Set the smoothing of stage B to 0.1 and train the discriminators alone: D on real now comes to between 0.76 and 0.96.",
                 hint="Settings, stage B, Label smoothing: 0.1. Then press Step D about 25 times. Theory says 0.9."),
        ),
        after="Smoothing does what its formula says to D. It does not make the fakes better here: after some 250 turns both stages are about as close "
            "to the data. It is a guard against a discriminator that is too sure of itself, no cure.",
        reading=(
            _read("Salimans et al., 2016: Improved Techniques for Training GANs (section 3.4)", "https://arxiv.org/abs/1606.03498"),
        ),
    ),
    Lesson(
        id="ttur",
        title="Two time-scales",
        summary="One learning rate for each player: the same generator fails or succeeds with the discriminator's.",
        setup={"shared": {"data": "ring"}, "stages": [
            {"objective": "non_saturating", "generator_lr": 0.005, "discriminator_lr": 0.0005},
            {"objective": "non_saturating", "generator_lr": 0.005, "discriminator_lr": 0.02},
        ]},
        layers=("heat",),
        text=(
            "Heusel et al. (2017) give each player a learning rate of its own, the two time-scale update rule. Where the discriminator is fast "
            "enough beside the generator, it is near its best for the fakes of the moment, and the pair converges to a stationary local Nash "
            "equilibrium under their assumptions (equation 1, theorem 1).",
            "Both stages have the same generator with a learning rate of 0.005, and one step of each player a turn. Stage A's discriminator is ten "
            "times slower (0.0005), stage B's four times faster (0.02). It costs nothing: no additional steps.",
        ),
        tasks=(
            Task("race", do=(("b", 200),),
                 check=(Condition("modes", "<=", 2), Condition("modes", ">=", 6, stage=1)),
                 text="Play until stage B covers at least 6 of the 8 modes while stage A covers at most 2.",
                 hint="Play for about 200 steps."),
            Task("settle", do=(("b", 250),),
                 check=(Condition("js", ">", 0.5), Condition("js", "<", 0.31, stage=1)),
                 text="Play on until stage B's divergence is below 0.31; stage A's is still above 0.5.",
                 hint="About 250 steps more."),
            Task("mend", do=(("b", 200),), change=((0, {"discriminator_lr": 0.02}),),
                 check=(Condition("setting:discriminator_lr", ">=", 0.01), Condition("modes", ">=", 6)),
                 text="Mend stage A by its discriminator's learning rate alone: at least 0.01. Play until it covers 6 modes.",
                 hint="Settings, stage A, Discriminator: learning rate, about 0.02. Play for about 200 steps."),
        ),
        after="The same generator failed beside a slow discriminator and succeeded beside a fast one. The theorem lets both learning rates fall to "
            "zero, which nobody does in practice; what you saw is its rule of thumb, not its proof. At 0.02 the divergence still jumps.",
        reading=(
            _read("Heusel et al., 2017: GANs Trained by a Two Time-Scale Update Rule (equation 1, theorem 1)", "https://arxiv.org/abs/1706.08500"),
        ),
    ),
    Lesson(
        id="r3gan",
        title="Why R3GAN converges",
        summary="A plain game runs in circles; with its slope penalised at real and at fake points it settles.",
        setup={"shared": {"data": "ring"}, "stages": [
            {"objective": "non_saturating", "optimizer": "sgd", "generator_lr": 0.1, "discriminator_lr": 0.1},
            {"objective": "r3gan", "optimizer": "sgd", "generator_lr": 0.1, "discriminator_lr": 0.1},
        ]},
        layers=("heat",),
        text=(
            "Near the solution, each player's step turns the pair instead of bringing it nearer: with a single data point and a single fake, "
            "gradient descent circles for ever. Mescheder et al. (2018) prove that unregularised GANs need not converge even locally, and that a "
            "penalty on the slope at real points (R1, equation 9) or at fakes (R2, equation 10) makes them.",
            "R3GAN (Huang et al. 2024) takes both, and judges real and fake points in pairs (equation 3), so that it does not pay to push all fakes "
            "to one side with a single boundary. Its authors prove local convergence for this game.",
            "Stage A is the plain non-saturating game, stage B R3GAN. Both use SGD without momentum, at one learning rate, since that is what the "
            "theory speaks of.",
        ),
        tasks=(
            Task("circle", do=(("b", 250),),
                 check=(Condition("step", ">=", 200), Condition("modes", "<=", 3), Condition("js", ">", 0.5)),
                 text="Play for at least 200 steps. Stage A's fakes are driven around: at most 3 modes, a divergence above 0.5.",
                 hint="At full speed this takes some seconds. Watch the colours turn."),
            Task("settle", do=(("b", 550),),
                 check=(Condition("modes", ">=", 6, stage=1), Condition("js", "<", 0.37, stage=1), Condition("js", ">", 0.48)),
                 text="Play on until stage B has settled: at least 6 modes and a divergence below 0.37, while stage A is still above 0.48.",
                 hint="To about step 800."),
            Task("cause", do=(("b", 550),), change=((0, {"penalty": "r1_r2"}),),
                 check=(Condition("setting:penalty", "==", "r1_r2"), Condition("modes", ">=", 6), Condition("js", "<", 0.38)),
                 text="Which part did it? Give the plain game of stage A the penalty on both sides, and play until it has at least 6 modes and a "
                      "divergence below 0.38.",
                 hint="Settings, stage A, More, Gradient penalty: at real points and fakes (R1 and R2). Play for about 550 steps."),
        ),
        after="It was the penalty: with it the plain game settles too, here even sooner than R3GAN. What judging in pairs adds, R3GAN's authors show "
            "on many modes and on pictures; this ring is too simple for it. And with Adam at a small learning rate the plain game covers this ring "
            "as well with two of the seeds 0, 1 and 2: convergence is a matter of degrees.",
        reading=(
            _read("Huang et al., 2024: The GAN is dead; long live the GAN! (equation 3)", "https://arxiv.org/abs/2501.05441"),
            _read("Mescheder et al., 2018: Which Training Methods for GANs do actually Converge? (equations 9 and 10)", "https://arxiv.org/abs/1801.04406"),
        ),
    ),
)
# fmt: on
