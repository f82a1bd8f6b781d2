"""Every word of the playground stands in the one catalogue, in both languages, with the same fields."""

from __future__ import annotations

import ast
import json
import re
import string
from pathlib import Path

import pytest

import agon
from agon.playground.create.describe import CONTROLS
from agon.playground.learn import narrator
from agon.playground.learn.choices import OBJECTIVES, Shared, StageChoice
from agon.playground.learn.data import KINDS
from agon.playground.learn.lessons import LESSONS

PACKAGE = Path(agon.__file__).parent
CHINESE = json.loads((PACKAGE / "locale" / "zh_CN.json").read_text(encoding="utf-8"))
SCRIPTS = sorted((PACKAGE / "playground" / "static" / "js").rglob("*.js"))
CALL = re.compile(r"""\bt\(\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`$]*`)""")
OPEN = re.compile(r"""\bt\(\s*(?!["'`)])""")


def of_scripts() -> dict[str, str]:
    """Template -> file, of every t("...") in the page's modules."""
    found = {}
    for path in SCRIPTS:
        for match in CALL.finditer(path.read_text(encoding="utf-8")):
            word = match[1]
            found[ast.literal_eval(word if word[0] != "`" else json.dumps(word[1:-1]))] = path.name
    return found


def of_tables() -> set[str]:
    """What the server sends for the page to say."""
    labels = {field.title for model in (Shared, StageChoice) for field in model.model_fields.values()}
    labels |= {kind.label for kind in KINDS} | {objective.label for objective in OBJECTIVES} | {objective.note for objective in OBJECTIVES}
    labels |= {control["label"] for control in CONTROLS.values()}
    for lesson in LESSONS:
        labels |= {lesson.title, lesson.summary, lesson.after, *lesson.text, *(link["label"] for link in lesson.reading)}
        labels |= {text for task in lesson.tasks for text in (task.text, task.hint)}
    return labels | set(narrator.TEMPLATES)


def fields(template: str) -> list[str]:
    return sorted(name for _, name, _, _ in string.Formatter().parse(template) if name is not None)


def test_there_is_something_to_look_at():
    assert len(of_scripts()) > 150 and len(of_tables()) > 60


def test_every_word_of_the_page_is_in_the_catalogue():
    missing = {text: place for text, place in of_scripts().items() if text not in CHINESE}
    assert not missing, json.dumps(missing, indent=1, ensure_ascii=False)


def test_every_word_that_the_server_sends_is_in_the_catalogue():
    missing = sorted(of_tables() - CHINESE.keys() - {""})
    assert not missing, json.dumps(missing, indent=1, ensure_ascii=False)


@pytest.mark.parametrize("text", narrator.TEMPLATES)
def test_a_sentence_of_the_narrator_has_the_same_fields_in_chinese(text):
    assert fields(CHINESE[text]) == fields(text)


def test_no_page_is_put_together_from_text():
    """innerHTML and its kin would let a run's name act."""
    for path in SCRIPTS:
        found = re.findall(r"\.(?:innerHTML|outerHTML)\s*=|insertAdjacentHTML|document\.write|\beval\(|new Function", path.read_text(encoding="utf-8"))
        assert not found, f"{path.name}: {found}"
