"""The lessons are played as a learner plays them: what a task asks for must be false before its moves and come true by them."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import pytest
import torch

from agon.playground.learn.arena import Arena
from agon.playground.learn.choices import BY_NAME, Shared, StageChoice
from agon.playground.learn.lessons import LESSONS, Condition, Lesson, Task

LOOK_EVERY = 10
"""Steps between two looks of this learner; the page looks at every frame."""
NUMBERS = {"d_loss", "g_loss", "accuracy", "d_real", "d_fake", "gradient", "gap", "slope", "d_js"}
MEASURES = {"js", "w1", "modes", "high_quality"}
ACTIONS = {f"action:{name}" for name in ("d", "g", "b", "play", "pause", "seek", "restart", "compare")}


class Learner:
    """Plays a lesson's tasks as its page would: settings are kept by stage, a change of one begins the game anew."""

    def __init__(self, lesson: Lesson, seed: int = 0):
        setup = copy.deepcopy(lesson.setup)
        self.shared, self.stages = {**setup["shared"], "seed": seed}, setup["stages"]
        self.counts: Counter = Counter()
        self.begin()

    def begin(self) -> None:
        self.arena = Arena(Shared(**self.shared), [StageChoice(**stage) for stage in self.stages])

    def values(self, task: Task) -> list[dict[str, Any]]:
        """What the page would compare. The measures, which take their time, only where the task asks for one."""
        arena, course = self.arena, Counter(self.arena.moves[: self.arena.step].decode())
        common = {"step": arena.step, "newest": arena.newest, **{f"action:{who}": course[who] for who in "dgb"}}
        common |= {f"action:{name}": count for name, count in self.counts.items()}
        asked = {condition.value for condition in task.check} & MEASURES
        found = []
        for stage, chosen in zip(arena.stages, self.stages, strict=True):
            settings = {f"setting:{name}": value for name, value in (self.shared | chosen).items()}
            found.append(common | settings | stage.numbers() | (vars(stage.measure()) if asked else {}))
        return found

    def play(self, task: Task) -> int | None:
        """Do the task's moves; the step at which it was first seen to be done."""
        for stage, settings in task.change:
            self.stages[stage].update(settings)
        if task.change:
            self.begin()
        for who, times in task.do:
            for number in range(1, times + 1):
                if who == "seek":
                    self.arena.seek(times)
                    self.counts["seek"] += 1
                else:
                    self.arena.move(who)
                if (who == "seek" or number % LOOK_EVERY == 0 or number == times) and task.done(self.values(task)):
                    return self.arena.step
        return None


def played(lesson: Lesson, seed: int) -> None:
    learner = Learner(lesson, seed)
    for task in lesson.tasks:
        assert not task.done(learner.values(task)), f"{lesson.id}/{task.id} is done before anything was done for it"
        assert learner.play(task) is not None, f"{lesson.id}/{task.id} is not reached: {learner.values(task)}"


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.id)
def test_the_moves_of_a_lesson_do_its_tasks(lesson):
    played(lesson, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", (1, 2))
@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.id)
def test_a_lesson_does_not_hang_on_its_seed(lesson, seed):
    played(lesson, seed)


def test_lessons_are_in_their_order():
    assert [lesson.id for lesson in LESSONS] == ["optimal", "vanishing", "collapse", "wasserstein", "penalty", "smoothing", "ttur", "r3gan"]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.id)
def test_a_lesson_can_be_set_up_and_checked(lesson):
    stages = [StageChoice(**stage) for stage in lesson.setup["stages"]]
    Shared(**lesson.setup["shared"])
    assert 2 <= len(lesson.tasks) <= 4 and len({task.id for task in lesson.tasks}) == len(lesson.tasks) and 2 <= len(lesson.text) <= 4
    for task in lesson.tasks:
        assert sum(times for who, times in task.do if who != "seek") <= 1_500
        for condition in task.check:
            assert condition.stage < len(stages) and (condition.than is None) != (condition.than_value is None)
            if condition.value.startswith("setting:"):
                assert condition.value.removeprefix("setting:") in StageChoice.model_fields
            else:
                assert condition.value in NUMBERS | MEASURES | ACTIONS | {"step", "newest"}
            if condition.value == "d_js":
                assert BY_NAME[stages[condition.stage].objective].scale == "logit"
    assert all(link["url"].startswith("https://arxiv.org/abs/") for link in lesson.reading)


def test_what_the_page_gets_has_checks_but_no_solutions():
    for lesson in LESSONS:
        given = lesson.as_json()
        assert [set(task) for task in given["tasks"]] == [{"id", "text", "hint", "check"}] * len(lesson.tasks)
        assert given["tasks"][0]["check"]["all"][0].keys() == {"value", "op", "than", "stage", "than_value"}


@pytest.mark.parametrize(("condition", "holds"), (
    (Condition("js", "<", 0.2), True), (Condition("js", ">", 0.2), False), (Condition("js", "<", 0.2, stage=1), False), (Condition("modes", ">=", 8), True),
    (Condition("modes", "!=", 8), False), (Condition("setting:objective", "==", "r3gan", stage=1), True), (Condition("d_js", "<", 9), False),
    (Condition("js", "<", 0.2, stage=2), False), (Condition("js", "<", than_value={"stage": 1, "value": "js"}), True),
    (Condition("js", "<", than_value={"value": "js"}), False), (Condition("js", "<", than_value={"stage": 1, "value": "d_js"}), False),
))  # fmt: skip
def test_a_condition_compares_as_the_page_does(condition, holds):
    values = [{"js": 0.1, "modes": 8, "d_js": None}, {"js": 0.3, "setting:objective": "r3gan"}]
    assert condition.holds(values) is holds
