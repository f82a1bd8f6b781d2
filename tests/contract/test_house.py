"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from agon import catalog

PACKAGE = Path(__file__).parents[2] / "agon"
FILES = sorted(PACKAGE.rglob("*.py"))
LAYERS = {
    "layers": 0, "losses": 1, "augment": 1, "networks": 2, "two_player": 3, "translation": 3, "games": 4, "train": 5, "metrics": 5, "playground": 6, "cli": 7,
}  # fmt: skip


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module]
    return found


def test_dependencies_point_one_way():
    for path in FILES:
        here = path.relative_to(PACKAGE).parts[0]
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "agon" and len(parts) > 1 and here in LAYERS and parts[1] in LAYERS and parts[1] != here:
                assert LAYERS[parts[1]] < LAYERS[here], f"{path.name} imports {name}"


@pytest.mark.parametrize("folder", ["train", "metrics"])
def test_no_game_is_named_in_shared_code(folder):
    names = "|".join(catalog.games())
    for path in (PACKAGE / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(names, node.value):
                raise AssertionError(f"{path.name}:{node.lineno} names the game {node.value!r}")


def test_backward_stands_once_and_autograd_grad_only_in_penalties():
    for path in FILES:
        calls = [node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
        assert calls.count("backward") == (1 if path.name == "trainer.py" else 0), path
        text = path.read_text()
        assert ("autograd.grad(" in text) == (path.name == "penalties.py") or "``autograd.grad``" in text, path


def test_nothing_reads_pickles():
    for path in FILES:
        text = path.read_text()
        assert "torch.load(" not in text and "import pickle" not in text and "allow_pickle=True" not in text, path


def test_functions_fit_a_screen_and_the_trainer_300_lines():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{path.name}: {node.name}"
    assert len((PACKAGE / "train" / "trainer.py").read_text().splitlines()) <= 300


def test_requires_grad_is_never_toggled_while_training():
    for path in [*(PACKAGE / "train").glob("trainer.py"), *(PACKAGE / "games").glob("*.py"), *(PACKAGE / "two_player").rglob("*.py"),
                 *(PACKAGE / "translation").rglob("*.py")]:
        assert "requires_grad" not in path.read_text(), path
