"""One to four stages in lock-step, and their course: who moved when. Any moment of it can be gone back to, exactly."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import torch

from agon.errors import UserError
from agon.playground.learn.choices import MOST_STAGES, Shared, StageChoice
from agon.playground.learn.data import open_points
from agon.playground.learn.measures import Measures, Reading
from agon.playground.learn.stage import HEAT, Snapshot, Stage

MOST_STEPS = 100_000
MOST_SNAPSHOTS, FIRST_SPACING = 96, 16
Course = list[tuple[str, int]]
_building = threading.Lock()  # weights begin from torch's one global generator


class Arena:
    """``step``: where the stages are; ``newest``: how far the course goes."""

    def __init__(self, shared: Shared, choices: Sequence[StageChoice]):
        if not 1 <= len(choices) <= MOST_STAGES:
            raise UserError("There are {count} stages. Expected 1 to {most}.", count=len(choices), most=MOST_STAGES)
        self.shared, self.choices = shared, list(choices)
        self.source = open_points(shared.data, shared.points)
        self.measures = Measures(self.source)
        self.stages: list[Stage] = []
        with _building:
            for choice in choices:
                self.stages.append(Stage(shared, choice, self.source, self.measures, self.stages[0] if self.stages else None))
        self.moves = bytearray()  # a letter a step, for going back
        self._runs: list[list] = []  # the same in runs, for telling it in every frame
        self.step, self._spacing = 0, FIRST_SPACING
        self._snapshots: dict[int, list[Snapshot]] = {0: self._snapshot()}
        self.bounds = self._bounds()
        across, up = (torch.linspace(low, high, HEAT) for low, high in zip(self.bounds[:2], self.bounds[2:], strict=True))
        self.heat_points = torch.stack(torch.meshgrid(across, up, indexing="xy"), -1).reshape(-1, 2)

    @property
    def newest(self) -> int:
        return len(self.moves)

    @property
    def course(self) -> Course:
        """Runs of equal moves: [("b", 120), ("d", 5)]."""
        return [(who, times) for who, times in self._runs]

    def move(self, who: str) -> None:
        """A step of ``d``, ``g`` or ``b``, in every stage; what came after this moment is forgotten. Raises UserError at the end of what can be remembered."""
        if self.step >= MOST_STEPS:
            raise UserError("The game has been played for {most} steps, which is as long as it is remembered. Start it anew.", most=MOST_STEPS)
        if self.step < self.newest:
            self._forget(self.newest - self.step)
            self._snapshots = {at: states for at, states in self._snapshots.items() if at <= self.step}
        self.moves += who.encode()
        if self._runs and self._runs[-1][0] == who:
            self._runs[-1][1] += 1
        else:
            self._runs.append([who, 1])
        self._go(who)

    def seek(self, step: int) -> None:
        """Go to a moment of the course: the state is bit for bit what it was."""
        step = max(0, min(step, self.newest))
        nearest = max(at for at in self._snapshots if at <= step)
        if not nearest <= self.step <= step:
            for stage, snapshot in zip(self.stages, self._snapshots[nearest], strict=True):
                stage.restore(snapshot)
            self.step = nearest
        while self.step < step:
            self._go(chr(self.moves[self.step]))

    def follow(self, course: Course) -> None:
        """Play a course from the beginning."""
        for who, times in course:
            for _ in range(times):
                self.move(who)

    def floor(self) -> Reading:
        return self.measures.floor

    def _forget(self, count: int) -> None:
        """Drop the last moves of the course."""
        del self.moves[-count:]
        while count:
            last = self._runs[-1]
            cut = min(count, last[1])
            last[1] -= cut
            count -= cut
            if not last[1]:
                self._runs.pop()

    def _go(self, who: str) -> None:
        for stage in self.stages:
            stage.step(who)
        self.step += 1
        if self.step % self._spacing == 0 and self.step not in self._snapshots:
            self._snapshots[self.step] = self._snapshot()
            if len(self._snapshots) > MOST_SNAPSHOTS:  # twice as far apart: the way from the nearest one stays short beside the whole
                self._spacing *= 2
                self._snapshots = {at: states for at, states in self._snapshots.items() if at % self._spacing == 0}

    def _snapshot(self) -> list[Snapshot]:
        return [stage.snapshot() for stage in self.stages]

    def _bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) of a square around the data, a quarter wider."""
        points = self.source.read(np.arange(len(self.source))).real.double()
        low, high = points.min(0).values, points.max(0).values
        middle, half = (low + high) / 2, float((high - low).max()) / 2 * 1.25
        return float(middle[0]) - half, float(middle[1]) - half, float(middle[0]) + half, float(middle[1]) + half
