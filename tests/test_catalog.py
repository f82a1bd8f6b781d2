"""agon.catalog: what the listing says is compared with the files themselves, read another way (ast on the whole
file).
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from agon import catalog
from agon.errors import UserError

FILES = [path for path in sorted(catalog.FOLDER.glob("*.py")) if not path.name.startswith("_")]

GAME = '''"""A Tiny Game (Nobody et al., 2031), https://example.org/tiny.

It does nothing. Really nothing.
"""
from __future__ import annotations
from dataclasses import dataclass
from agon.config import TrainConfig
from agon.game import Game

@dataclass(frozen=True, kw_only=True)
class Config(TrainConfig):
    depth: int = 3

class Base(Game):
    """Abstract still: not the game of this file."""

class Tiny(Base):
    Config = Config
    presets = {}
    def players(self): return {}
    def stages(self): return []
    def sample(self, n, *, seed, **conditions): raise NotImplementedError
'''


def test_every_game_is_listed_from_the_head_of_its_file():
    found = catalog.games()
    assert [path.stem for path in FILES] == [name for name in found if (catalog.FOLDER / f"{name}.py").is_file()]
    for path in FILES:
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert catalog.docstring(path) == text
        entry = found[path.stem]
        assert entry.name == path.stem and entry.summary and entry.summary[-1] in ".!?"
        assert (
            2014 <= entry.year <= 2030 and entry.url.startswith("https://") and entry.title in text.replace("\n", " ")
        )
        assert (
            entry.paper.startswith(entry.title) and entry.paper.endswith(f", {entry.year})") and ",," not in entry.paper
        )


@pytest.mark.parametrize(
    ("text", "title", "paper", "year", "url", "summary"),
    [
        (
            "A Title (A et al., 2017), https://x.org/1.\n\nFirst one. Second.",
            "A Title",
            "A Title (A et al., 2017)",
            2017,
            "https://x.org/1",
            "First one.",
        ),
        (
            "GAN (the game): More\nwords (B & C, 1999), https://x.org/a.b,\nAlgorithm 1.\n\nAdam 2e-4 is v0.9 here. "
            "Next.",
            "GAN (the game): More words",
            "GAN (the game): More words (B & C, 1999)",
            1999,
            "https://x.org/a.b",
            "Adam 2e-4 is v0.9 here.",
        ),
        (
            "Long live the GAN! A Baseline (D (E) et al., 2024), https://x.org.",
            "Long live the GAN! A Baseline",
            "Long live the GAN! A Baseline (D (E) et al., 2024)",
            2024,
            "https://x.org",
            "",
        ),
        ("No paper at all.\n\nWords.", "No paper at all", "No paper at all", 0, "", "Words."),
        ("", "", "", 0, "", ""),
    ],
)
def test_docstrings_are_taken_apart(text, title, paper, year, url, summary):
    assert catalog.describe("x", text) == catalog.Entry("x", title, paper, year, url, summary)


@pytest.mark.parametrize(
    "source",
    [
        '# comment\n\n"""Doc\n\n  more"""\n',
        "r'''raw \\d'''\nx = 1\n",
        "x = 1\n'''late'''\n",
        "",
        "'''torn",
        "b'bytes'\n",
        "f'{1}'\n",
        "# -*- coding: utf-8 -*-\n'生成器'",
    ],
)
def test_docstrings_are_those_of_ast(tmp_path, source):
    path = tmp_path / "x.py"
    path.write_text(source, encoding="utf-8")
    try:
        expected = ast.get_docstring(ast.parse(source)) or ""
    except SyntaxError:
        expected = ""
    assert catalog.docstring(path) == expected


@pytest.mark.parametrize("name", [path.stem for path in FILES])
def test_a_name_loads_the_one_game_its_file_defines(name):
    from agon.game import Game

    game = catalog.load(name)
    assert issubclass(game, Game) and game.__module__ == f"agon.games.{name}" and issubclass(game.Config, object)
    assert catalog.load(name) is game


def test_a_file_and_a_module_outside_the_package_load(tmp_path, monkeypatch):
    path = tmp_path / "my_tiny.py"
    path.write_text(GAME)
    game = catalog.load(str(path))
    assert game.__name__ == "Tiny" and game.Config().depth == 3 and catalog.load(str(path)) is game
    (tmp_path / "package_of_mine").mkdir()
    (tmp_path / "package_of_mine" / "game.py").write_text(GAME)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert catalog.load("package_of_mine.game").__module__ == "package_of_mine.game"


@pytest.mark.parametrize("target", ["entry_game", "entry_game:Tiny"])
def test_an_installed_package_adds_a_game_by_entry_point(tmp_path, monkeypatch, target):
    (tmp_path / "entry_game.py").write_text(GAME)
    info = tmp_path / "tiny_gan-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-gan\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[agon.games]\ntiny_external = {target}\nbroken = os:getcwd\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "tiny-gan" in catalog.games()["tiny_external"].summary
    assert catalog.load("tiny_external").__name__ == "Tiny"
    with pytest.raises(UserError, match="entry point"):
        catalog.load("broken")


@pytest.mark.parametrize(("name", "nearest"), [("r3gn", "r3gan"), ("WGAN-GP", "wgan_gp"), ("dcgann", "dcgan")])
def test_an_unknown_name_gets_the_nearest(monkeypatch, name, nearest):
    monkeypatch.setenv("AGON_LANG", "en")
    with pytest.raises(UserError, match=f"Perhaps you meant '{nearest}'"):
        catalog.load(name)


@pytest.mark.parametrize("name", ["qqqqqqqq", "__init__", "_private", "", "nowhere/x.py", "no.such.module", "os.path"])
def test_what_is_no_game_is_the_users_error(name):
    with pytest.raises(UserError):
        catalog.load(name)


@pytest.mark.parametrize("extra", ["", "class Second(Tiny): pass\n"])
def test_a_file_must_define_exactly_one_game(tmp_path, extra):
    path = tmp_path / "two.py"
    path.write_text(GAME + extra if extra else "x = 1\n")
    with pytest.raises(UserError, match="2 games" if extra else "0 games"):
        catalog.load(str(path))


def test_a_game_that_is_only_imported_does_not_count(tmp_path, monkeypatch):
    (tmp_path / "first_game.py").write_text(GAME)
    (tmp_path / "second_game.py").write_text("from first_game import Tiny\nclass Own(Tiny): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert catalog.load(str(tmp_path / "second_game.py")).__name__ == "Own"


def test_an_error_in_a_users_file_is_theirs_to_see_and_can_be_mended(tmp_path, monkeypatch):
    path = tmp_path / "broken_game.py"
    path.write_text("import not_installed_anywhere\n")
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        catalog.load(str(path))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "sub_pack").mkdir()
    (tmp_path / "sub_pack" / "game.py").write_text("import not_installed_anywhere\n")
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        catalog.load("sub_pack.game")
    path.write_text(GAME)
    assert catalog.load(str(path)).__name__ == "Tiny"


def test_listing_imports_neither_torch_nor_a_game():
    code = (
        "import sys; from agon.catalog import games; games(); print([m for m in sys.modules if m in ('torch', "
        "'numpy') or m.startswith('agon.games')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(catalog.__file__).parents[1]
    )
    assert done.stdout.strip() == "[]"
