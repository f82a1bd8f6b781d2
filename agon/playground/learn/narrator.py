"""One sentence on what has just happened, with its numbers. Sentences are templates of the catalogue: the page says them in its language."""

from __future__ import annotations

from dataclasses import dataclass

from agon.playground.learn.choices import Objective
from agon.playground.learn.measures import Reading

SURE, FAINT = 0.98, 0.02
"""From this share of pairs told apart, and below this gradient, the generator has little to learn from."""
NEAR_FLOOR = 0.02
"""Jensen-Shannon divergence above a perfect sampler's, in nats, that no eye sees."""

BEGIN = "Step 0: nobody has learnt anything yet. The fakes are where random weights put them."
FAILED = "Numbers stopped being finite at {place}. Go back in the history, or start anew with a smaller learning rate."
DISCRIMINATOR = "The discriminator alone took a step: it now gives real points {real} (before: {real_before}) and fakes {fake} (before: {fake_before})."
CRITIC = "The critic alone took a step: the gap between what it gives real points and fakes is now {gap} (before: {gap_before})."
GENERATOR = "The generator alone took a step: the discriminator now gives its fakes {fake} (before: {fake_before}). Nothing else has moved."
VANISHED = "Step {step}: the discriminator tells {accuracy} % of the pairs apart and leaves the generator a gradient of only {gradient}: it hardly learns."
MISSING = "Step {step}: the fakes cover {modes} of {all} modes. The divergence is {js}; a perfect sampler reads {floor}."
NEAR = "Step {step}: the divergence is {js}, and a perfect sampler reads {floor}: the fakes are hard to tell from the data."
FALLING = "Step {step}: the fakes come nearer: the divergence fell from {before} to {js} (a perfect sampler: {floor})."
RISING = "Step {step}: the fakes move away: the divergence rose from {before} to {js} (a perfect sampler: {floor})."
STEADY = "Step {step}: the divergence stays about {js} (a perfect sampler: {floor}). The discriminator tells {accuracy} % of the pairs apart."
TEMPLATES = (BEGIN, FAILED, DISCRIMINATOR, CRITIC, GENERATOR, VANISHED, MISSING, NEAR, FALLING, RISING, STEADY)


@dataclass(frozen=True)
class Sentence:
    """``template`` with the texts for its fields."""

    template: str
    values: dict[str, str]


def narrate(step: int, who: str, objective: Objective, before: dict[str, float], now: dict[str, float], was: Reading | None, reading: Reading,
            floor: Reading, num_modes: int, failure: str) -> Sentence:  # fmt: skip
    """``before``, ``was``: the numbers and the reading that were told last."""
    if failure:
        return Sentence(FAILED, {"place": failure})
    if step == 0:
        return Sentence(BEGIN, {})
    if who in "dg" and before:
        return _alone(who, objective, before, now)
    said = {"step": f"{step:,}", "js": short(reading.js), "floor": short(floor.js)}
    said |= {"accuracy": f"{100 * now['accuracy']:.0f}", "gradient": short(now["gradient"])}
    if now["accuracy"] > SURE and now["gradient"] < FAINT:
        return Sentence(VANISHED, said)
    if reading.modes is not None and reading.modes < num_modes:
        return Sentence(MISSING, said | {"modes": str(reading.modes), "all": str(num_modes)})
    if reading.js < floor.js + NEAR_FLOOR:
        return Sentence(NEAR, said)
    change = 0.0 if was is None else reading.js - was.js
    if was is None or abs(change) < 0.1 * was.js:
        return Sentence(STEADY, said)
    return Sentence(FALLING if change < 0 else RISING, said | {"before": short(was.js)})


def _alone(who: str, objective: Objective, before: dict[str, float], now: dict[str, float]) -> Sentence:
    if who == "g":
        return Sentence(GENERATOR, {"fake": short(now["d_fake"]), "fake_before": short(before["d_fake"])})
    if objective.scale == "score":
        return Sentence(CRITIC, {"gap": short(now["gap"]), "gap_before": short(before["gap"])})
    return Sentence(DISCRIMINATOR, {"real": short(now["d_real"]), "real_before": short(before["d_real"]), "fake": short(now["d_fake"]),
                                    "fake_before": short(before["d_fake"])})  # fmt: skip


def short(value: float) -> str:
    """Three digits."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
