"""File name -> game. Listing reads the docstring at the head of each ``agon/games/*.py`` and imports nothing; loading
imports one module.

A game may also live outside the package: ``load("path/to/my_game.py")``, ``load("package.module")``, or an entry point
of the group ``agon.games`` in somebody's distribution (its value is a module or a class).
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
import tokenize
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from agon.errors import UserError

if TYPE_CHECKING:
    from agon.game import Game

FOLDER = Path(__file__).with_name("games")
GROUP = "agon.games"

# "<Paper title> (<Authors>, <year>), <url>." and whatever follows ("Algorithm 1"). Titles and authors may hold
# brackets of their own.
_HEAD = re.compile(
    r"^(?P<title>.+?) \((?P<authors>[^()]*(?:\([^()]*\)[^()]*)*) (?P<year>\d{4})\)(?:,?\s+(?P<url>https?://\S+))?"
)


@dataclass(frozen=True)
class Entry:
    """What a listing shows of a game. ``paper`` is the citation "Title (Authors, year)"; what a docstring does not say
    is empty (year 0).
    """

    name: str
    title: str
    paper: str
    year: int
    url: str
    summary: str


def docstring(path: Path) -> str:
    """The docstring at the head of a Python file, cleaned; "" where there is none.

    Only the first string token is read, so the cost does not grow with the file: ``agon list`` has to answer in 0.3 s
    with any number of games.
    """
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENCODING, tokenize.INDENT}
    with tokenize.open(path) as file:
        try:
            for token in tokenize.generate_tokens(file.readline):
                if token.type == tokenize.STRING:
                    value = ast.literal_eval(token.string)
                    return inspect.cleandoc(value) if isinstance(value, str) else ""
                if token.type not in skipped:
                    return ""
        except (tokenize.TokenError, SyntaxError, ValueError):
            return ""
    return ""


def describe(name: str, text: str) -> Entry:
    """An entry from a docstring: the first paragraph names the paper, the first sentence of the second is the
    summary.
    """
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text.strip())]
    head, body = paragraphs[0], paragraphs[1] if len(paragraphs) > 1 else ""
    summary = re.split(r"(?<=[.!?])\s+(?=[A-Z(])", body, maxsplit=1)[0]
    match = _HEAD.match(head)
    if match is None:
        return Entry(name, head.rstrip("."), head.rstrip("."), 0, "", summary)
    paper = f"{match['title']} ({match['authors'].rstrip(', ')}, {match['year']})"
    return Entry(name, match["title"], paper, int(match["year"]), (match["url"] or "").rstrip(".,;"), summary)


def games() -> dict[str, Entry]:
    """Every game of the package and of installed distributions, by name, in alphabetical order. Imports no game."""
    found = {
        path.stem: describe(path.stem, docstring(path)) for path in FOLDER.glob("*.py") if not path.name.startswith("_")
    }
    for name, point in _external().items():
        found.setdefault(
            name, Entry(name, point.value, point.value, 0, "", f"from the installed package {_distribution(point)}")
        )
    return dict(sorted(found.items()))


def load(name: str) -> type[Game]:
    """The game class behind a catalog name, an entry point, a path ``my_game.py`` or a dotted module name.

    Raises UserError for an unknown name (with the nearest one), a file that is not there, or a module that does not
    define exactly one game.
    """
    if name.endswith(".py") or "/" in name or "\\" in name:
        return _only_game(_import_file(name), name)
    if name.isidentifier() and not name.startswith("_") and (FOLDER / f"{name}.py").is_file():
        return _only_game(importlib.import_module(f"agon.games.{name}"), name)
    external = _external()
    if name in external:
        target = external[name].load()
        return _only_game(target, name) if isinstance(target, ModuleType) else _checked(target, name)
    if "." in name:
        return _only_game(_import_module(name), name)
    raise _unknown(name)


def _external() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value


def _unknown(name: str) -> UserError:
    known = list(games())
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    if near:
        return UserError(
            "There is no game {name!r}. Perhaps you meant {nearest!r}. 'agon list games' shows all of them.",
            name=name,
            nearest=near[0],
        )
    return UserError(
        "There is no game {name!r}. Expected one of: {known}; or the path of a .py file, or a module.name.",
        name=name,
        known=", ".join(known),
    )


def _import_file(name: str) -> ModuleType:
    path = Path(name).expanduser().resolve()
    if path.suffix != ".py" or not path.is_file():
        raise UserError(
            "There is no game file {path}. Expected a Python file that defines one Game. Check the path, or see "
            "'agon list games'.",
            path=name,
        )
    # The same file is one module however often it is loaded; two files of the same name in two folders are two.
    module_name = f"agon_external_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}_{path.stem}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look their module up while the class is being made
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
    return module


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # A missing import inside the user's module is the user's traceback to see, not an unknown game.
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise UserError(
                "There is no module {name!r}. Expected a game of 'agon list games', a .py file or an importable "
                "module. "
                "Run from the folder that holds it, or set PYTHONPATH.",
                name=name,
            ) from None
        raise


def _only_game(module: ModuleType, name: str) -> type[Game]:
    """The one concrete Game that the module defines itself (games it only imports do not count)."""
    from agon.game import Game

    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Game)
        and value is not Game
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    ]
    if len(found) != 1:
        raise UserError(
            "{name} defines {count} games ({classes}). Expected exactly one concrete subclass of agon.game.Game. "
            "Move the others to files of their own.",
            name=name,
            count=len(found),
            classes=", ".join(each.__name__ for each in found) or "none",
        )
    return found[0]


def _checked(target: object, name: str) -> type[Game]:
    from agon.game import Game

    if inspect.isclass(target) and issubclass(target, Game):
        return target
    raise UserError(
        "The entry point {name!r} is {target!r}. Expected a module that defines one Game, or a Game. "
        "Mend or uninstall the package that provides it.",
        name=name,
        target=target,
    )
