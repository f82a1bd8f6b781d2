"""The catalogue of strings against the source: every text a user may see has a Chinese entry with the same fields."""

import ast
import json
import re
import string
from pathlib import Path

import pytest

import agon
from agon import locale
from agon.errors import UserError

PACKAGE = Path(agon.__file__).parent
CHINESE = json.loads((PACKAGE / "locale" / "zh_CN.json").read_text(encoding="utf-8"))


def calls(name):
    """(place, first argument) of every call of a function of this name in the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            function = getattr(node, "func", None)
            if (
                isinstance(node, ast.Call)
                and name in (getattr(function, "id", ""), getattr(function, "attr", ""))
                and node.args
            ):
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node.args[0]


def fields(template):
    """The names a template is filled with."""
    return sorted(name for _, name, _, _ in string.Formatter().parse(template) if name is not None)


def test_every_error_is_a_plain_template():
    bad = [
        place
        for name in ("UserError", "Unavailable")
        for place, argument in calls(name)
        if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str))
    ]
    assert not bad, f"not a string literal: {bad}"


def test_every_error_and_every_text_has_a_chinese_entry():
    wanted = {
        argument.value: place
        for name in ("UserError", "Unavailable", "translate")
        for place, argument in calls(name)
        if isinstance(argument, ast.Constant)
    }
    assert len(wanted) > 50
    missing = {place: text for text, place in wanted.items() if text not in CHINESE}
    assert not missing, json.dumps(missing, indent=1)


def test_tables_of_words_have_chinese_entries():
    from agon.report import _METRIC_NAMES, _STATE_NAMES
    from agon.train.health import _ADVICE, _SENTENCES

    words = {*_METRIC_NAMES.values(), *_STATE_NAMES.values(), *_SENTENCES.values(), *filter(None, _ADVICE.values())}
    assert not sorted(words - CHINESE.keys())


NAMES = {"Adam", "English", "R3GAN", "RMSprop", "SGD", "Wasserstein", "of {all}", "{name}: {state}"}
"""Names that are the same in Chinese, and what has no word in it."""


@pytest.mark.parametrize("template", sorted(CHINESE))
def test_a_translation_has_the_same_fields_and_is_chinese(template):
    text = CHINESE[template]
    assert fields(text) == fields(template)
    assert (re.search("[\u4e00-\u9fff]", text) or template in NAMES) and "\n" not in text


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh_CN"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LC_MESSAGES": "zh", "LANG": "de_DE"}, "zh_CN"),
        ({"AGON_LANG": "ZH-Hans", "LC_ALL": "en_US.UTF-8"}, "zh_CN"),
        ({"AGON_LANG": "en", "LANG": "zh_CN"}, "en"),
        ({"LANG": "fr_FR"}, "en"),
    ],
)
def test_the_language_is_the_environments(monkeypatch, variables, expected):
    for name in ("AGON_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert locale.language() == expected


def test_an_error_speaks_the_users_language(monkeypatch):
    template = "There is no game {name!r}. Perhaps you meant {nearest!r}. 'agon list games' shows all of them."
    monkeypatch.setenv("AGON_LANG", "zh_CN")
    assert str(UserError(template, name="gn", nearest="gan")) == CHINESE[template].format(name="gn", nearest="gan")
    monkeypatch.setenv("AGON_LANG", "en")
    assert str(UserError(template, name="gn", nearest="gan")).startswith(
        "There is no game 'gn'. Perhaps you meant 'gan'."
    )
    monkeypatch.setenv("AGON_LANG", "zh_CN")
    assert str(UserError("No entry for {this}.", this=1)) == "No entry for 1."
