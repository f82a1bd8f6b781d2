"""How the contest stands, in plain words: who is winning, whether diversity falls, with the number behind it and what
to try.

The judge sees only two numbers that mean the same in every family of GAN:

* ``accuracy``: the fraction of (real, fake) pairs that the discriminator or critic ranks rightly (real above fake).
  0.5: it cannot tell, 1: it always tells. Unlike the sign of a logit this means something for Wasserstein critics and
  relativistic discriminators too.
* ``diversity``: the mean pairwise distance of a fixed-seed batch of samples divided by that of real data. 1: as
  diverse as the data. A generator that drops some of many modes can still score near 1: this is an alarm for falls and
  collapse, not a measure of coverage (see ``agon evaluate``).

Both are averaged over the last ten records; a verdict changes only when the new one has held for three records in a
row, and every threshold to enter a state is stricter than the one to stay in it, so that a curve that hovers at a
threshold does not make the line flap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agon.locale import translate

WINDOW_RECORDS = 10
"""A batch of 64 pairs has a standard error of 0.06 around 0.5; the mean of ten has 0.02, a quarter of the margins
below. A plain window forgets a change completely after ten records, where an exponential average would hang on to it
near the thresholds for thirty.
"""
WARM_UP_RECORDS = 5
"""Before that nothing is said: the mean of five has a standard error of 0.03 and would jump."""
PATIENCE_RECORDS = 50
"""An untrained generator makes nearly equal pictures. Low diversity that has never been higher is the beginning, not a
collapse, for so many records.
"""
HOLD_RECORDS = 3
"""A new state must be seen so often in a row before it is announced."""

WINNING, WINNING_STAY = 0.98, 0.95
"""Above 0.98 one pair in fifty is ranked wrongly: losses that saturate give the generator almost no gradient then."""
LOSING, LOSING_STAY = 0.40, 0.48
"""Exactly 0.5 is what equilibrium looks like and is no fault. Below 0.40 (five standard errors) fakes score above real
data systematically: the discriminator is behind and what it teaches is wrong.
"""
FALLING, FALLING_STAY = 0.75, 0.85
"""A quarter of the best diversity so far is gone: more than the noise of a batch of 64 (2 to 3 %) and than what
sharpening costs.
"""
DIVERSE = 0.9
"""With at least this diversity a fall from an even higher value (scattered noise early in training) is an
improvement.
"""
COLLAPSED, COLLAPSED_STAY = 0.3, 0.4
"""Samples nearer to each other than a third of the data's distances: a handful of outputs."""

STATES = (
    "warming up",
    "balanced",
    "discriminator winning",
    "discriminator losing",
    "diversity falling",
    "collapse suspected",
)

_SENTENCES = {
    "warming up": "Warming up: too early to tell.",
    "balanced": "Balanced: the discriminator ranks {number} of pairs rightly.",
    "discriminator winning": "The discriminator is winning: it ranks {number} of pairs rightly.",
    "discriminator losing": "The discriminator is losing: it ranks only {number} of pairs rightly (50 % is guessing).",
    "diversity falling": "Diversity is falling: samples are {number} as diverse as the data, at best they were {best}.",
    "collapse suspected": "Mode collapse suspected: samples are only {number} as diverse as the data.",
}
_DIVERSITY_ONLY = "Balanced: samples are {number} as diverse as the data."
_ADVICE = {
    "warming up": "",
    "balanced": "",
    "discriminator winning": "If samples stop improving: a stronger gradient penalty, a lower discriminator "
    "learning rate, "
    "instance noise, or DiffAugment when there are few pictures.",
    "discriminator losing": "Try a higher discriminator learning rate, more discriminator steps per generator step, "
    "or a weaker gradient penalty.",
    "diversity falling": "Try lower learning rates, a larger batch or a stronger gradient penalty; an earlier "
    "checkpoint may be better than the last.",
    "collapse suspected": "Go back to an earlier checkpoint with lower learning rates; minibatch discrimination or "
    "the game r3gan guard against it.",
}


@dataclass(frozen=True)
class Verdict:
    """``state`` is one of STATES; ``sentence`` and ``advice`` are in the user's language; ``number`` is what the state
    is based on: pairs ranked rightly for the balance states, diversity for the diversity states, None while warming up
    or with nothing to judge by.
    """

    state: str
    sentence: str
    number: float | None
    advice: str


def describe(state: str, number: float | None, best: float | None = None, *, diversity: bool = False) -> Verdict:
    """The verdict's words in the current language. ``diversity``: the number of "balanced" is the diversity (there is
    no accuracy).
    """
    template = _DIVERSITY_ONLY if state == "balanced" and diversity else _SENTENCES[state]
    if state == "balanced" and number is None:
        template = "Training: no number to judge the balance by is logged."
    sentence = translate(template).format(number=_percent(number), best=_percent(best))
    return Verdict(state, sentence, number, translate(_ADVICE[state]) if _ADVICE[state] else "")


def _percent(value: float | None) -> str:
    return "?" if value is None else f"{100 * value:.0f} %"


class Health:
    """Feed it every record in order; it answers with a verdict. Its state is a few numbers and goes into checkpoints
    as JSON.
    """

    def __init__(self):
        self._records = 0
        self._accuracy: list[float] = []  # the last WINDOW_RECORDS values
        self._diversity: list[float] = []
        self._best = 0.0
        self._state, self._candidate, self._held = "warming up", "warming up", 0

    def update(self, record: Mapping[str, Any]) -> Verdict:
        """Take a record of log.jsonl (its ``stats``) and judge. Statistics that are missing or not finite are passed
        over.
        """
        stats = record.get("stats", {})
        self._records += 1
        for name, window in (("accuracy", self._accuracy), ("diversity", self._diversity)):
            value = _find(stats, name)
            if value is not None:
                window.append(value)
                del window[:-WINDOW_RECORDS]
        if len(self._diversity) == WINDOW_RECORDS:
            self._best = max(self._best, _mean(self._diversity))
        self._settle(self._judge())
        return self.verdict()

    def verdict(self) -> Verdict:
        """The verdict as it stands."""
        if self._state == "warming up":
            return describe(self._state, None)
        if self._state in ("diversity falling", "collapse suspected"):
            return describe(self._state, _mean(self._diversity), self._best)
        if not self._accuracy:
            return describe(self._state, _mean(self._diversity) if self._diversity else None, diversity=True)
        return describe(self._state, _mean(self._accuracy))

    def state_dict(self) -> dict[str, Any]:
        """Everything the next verdict depends on, as JSON types."""
        return {
            name.lstrip("_"): list(value) if isinstance(value, list) else value for name, value in vars(self).items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`. Raises KeyError when something is missing."""
        for name in list(vars(self)):
            value = state[name.lstrip("_")]
            setattr(self, name, list(value) if isinstance(value, list | tuple) else value)

    def _judge(self) -> str:
        if self._records < WARM_UP_RECORDS:
            return "warming up"
        return self._judge_diversity() or self._judge_balance()

    def _judge_diversity(self) -> str | None:
        if not self._diversity:
            return None
        value = _mean(self._diversity)
        if value < (COLLAPSED_STAY if self._state == "collapse suspected" else COLLAPSED):
            young = self._records < PATIENCE_RECORDS and self._best < COLLAPSED_STAY
            return "warming up" if young else "collapse suspected"
        stay = self._state in ("diversity falling", "collapse suspected")
        fallen = value < (FALLING_STAY if stay else FALLING) * self._best and value < DIVERSE
        return "diversity falling" if fallen else None

    def _judge_balance(self) -> str:
        if not self._accuracy:
            return "balanced"
        value = _mean(self._accuracy)
        if value > (WINNING_STAY if self._state == "discriminator winning" else WINNING):
            return "discriminator winning"
        if value < (LOSING_STAY if self._state == "discriminator losing" else LOSING):
            return "discriminator losing"
        return "balanced"

    def _settle(self, seen: str) -> None:
        self._held = self._held + 1 if seen == self._candidate else 1
        self._candidate = seen
        if seen != self._state and self._held >= HOLD_RECORDS:
            self._state = seen


def _find(stats: Mapping[str, Any], name: str) -> float | None:
    """A statistic by its last word (``discriminator/accuracy``, ``critic/accuracy``): the mean when several players
    have one.
    """
    values = [float(value) for key, value in stats.items() if key.rpartition("/")[2] == name]
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else None


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
