"""Eight short lessons that check themselves: what to set up, what to do, and what must then be seen."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Condition:
    """A value of a stage's frame (numbers, measures, ``step``, ``action:d``) against a number, or against another stage's value."""

    value: str
    op: str
    than: float | None = None
    stage: int = 0
    than_value: dict[str, Any] | None = None


@dataclass(frozen=True)
class Task:
    """``do``: moves that are known to bring it about, from where the task before it ended (a test plays them)."""

    id: str
    text: str
    hint: str
    check: tuple[Condition, ...]
    do: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Lesson:
    id: str
    title: str
    summary: str
    setup: dict[str, Any]
    text: tuple[str, ...]
    tasks: tuple[Task, ...]
    after: str
    layers: tuple[str, ...] = ("heat",)
    reading: tuple[dict[str, str], ...] = ()

    def as_json(self) -> dict[str, Any]:
        tasks = [{"id": t.id, "text": t.text, "hint": t.hint, "check": {"all": [asdict(c) for c in t.check]}} for t in self.tasks]
        return {**asdict(self), "tasks": tasks}


ORDER = ("optimal", "vanishing", "collapse", "wasserstein", "penalty", "smoothing", "ttur", "r3gan")
LESSONS: tuple[Lesson, ...] = ()
