"""The command line: ``agon VERB``. One file per verb in this folder; its docstring's first line is its help, its
``main(argv)`` runs it.

Nothing heavy is imported here: ``agon --help`` and ``agon list`` answer in under 0.3 s. Data goes to stdout,
everything else to stderr. Exit codes: 0 done, 1 a failure of the run, 2 wrong usage, 130 interrupted, 141 the reader
of our output went away.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import NoReturn

from agon import locale  # as a module: the verb translate, once imported, takes the name translate in this package
from agon.errors import UserError

FOLDER = Path(__file__).parent
# The order of help: what a newcomer needs first. A verb that is not named here (a later file) comes after these.
ORDER = ("train", "sample", "translate", "play", "evaluate", "data", "import", "export", "list", "show", "doctor")


class Parser(argparse.ArgumentParser):
    """argparse that raises a UserError, so that wrong usage is one line on stderr like every other user's mistake."""

    def error(self, message: str) -> NoReturn:
        raise UserError(
            "{message}. See '{program} --help' for what is expected.", message=message.rstrip("."), program=self.prog
        )


def pairs(words: list[str]) -> dict[str, str]:
    """``["--a.b", "1", "--c=2"]`` -> ``{"a.b": "1", "c": "2"}``; hyphens in names become underscores."""
    found, rest = {}, [*words]  # once the verb `list` is imported, the name list in this package is that module
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or len(word) == 2:
            raise UserError("'{word}' was not expected here. Expected --NAME VALUE pairs.", word=word)
        name, equals, value = word[2:].partition("=")
        if not equals:
            if not rest:
                raise UserError("--{name} has no value. Expected --{name} VALUE.", name=name)
            value = rest.pop(0)
        found[name.replace("-", "_")] = value
    return found


def verbs() -> dict[str, str]:
    """Verb -> one line of help, read from the files without importing them."""
    from agon.catalog import docstring

    found = {
        path.stem: docstring(path).partition("\n")[0] for path in FOLDER.glob("*.py") if not path.name.startswith("_")
    }
    rank = {verb: index for index, verb in enumerate(ORDER)}
    return dict(sorted(found.items(), key=lambda item: (rank.get(item[0], len(ORDER)), item[0])))


def overview() -> str:
    """The text of ``agon --help``."""
    table = verbs()
    width = max((len(verb) for verb in table), default=0)
    lines = [locale.translate("usage: agon VERB ...   (agon VERB --help says more)"), ""]
    lines += [f"  {verb:<{width}}  {locale.translate(text)}" for verb, text in table.items()]
    lines += ["", locale.translate("Try: agon train r3gan --data digits"), locale.translate("Options: --help, --version")]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return the exit code; never raises."""
    # [*...]: once the verb `list` is imported, the name list in this package is that module
    argv = sys.argv[1:] if argv is None else [*argv]
    warnings.showwarning = _show_warning
    try:
        code = _dispatch(argv)
        sys.stdout.flush()  # here, where a closed pipe can still be answered quietly
        return code
    except UserError as error:
        return _complain(str(error), 2)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The interpreter flushes stdout once more at exit and would complain: give it somewhere to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except SystemExit as leaving:
        return _exit_code(leaving)
    except Exception as error:
        return _fail(error)


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(overview())
        return 0 if argv else 2
    if argv[0] in ("-V", "--version"):
        from agon import __version__

        print(f"agon {__version__}")
        return 0
    verb, known = argv[0], verbs()
    if verb not in known:
        near = difflib.get_close_matches(verb, known, n=1, cutoff=0.6)
        if near:
            raise UserError(
                "There is no verb {verb!r}. Perhaps you meant {nearest!r}. 'agon --help' shows all of them.",
                verb=verb,
                nearest=near[0],
            )
        raise UserError(
            "There is no verb {verb!r}. Expected one of: {known}. 'agon --help' says what each does.",
            verb=verb,
            known=", ".join(known),
        )
    return int(importlib.import_module(f"agon.cli.{verb}").main(argv[1:]) or 0)


def _complain(message: str, code: int) -> int:
    print(f"agon: {' '.join(message.split())}", file=sys.stderr)
    return code


def _exit_code(leaving: SystemExit) -> int:
    if leaving.code is None or isinstance(leaving.code, int):
        return leaving.code or 0
    return _complain(str(leaving.code), 1)


def _fail(error: Exception) -> int:
    """One line that says what broke and where the traceback is; the traceback itself with $AGON_DEBUG or when no file
    can be written.
    """
    import traceback

    text = "".join(traceback.format_exception(error))
    summary = f"{type(error).__name__}: {error}".split("\n", 1)[0].rstrip(": .")
    if not os.environ.get("AGON_DEBUG"):
        try:
            handle, name = tempfile.mkstemp(prefix="agon-traceback-", suffix=".txt")
            with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
                file.write(text)
        except OSError:
            pass
        else:
            return _complain(
                locale.translate("the run failed: {summary}. The traceback is in {path}.").format(summary=summary, path=name),
                1,
            )
    print(text, end="", file=sys.stderr)
    return 1


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    """Warnings meant for the user are one line without a file name of ours; the others keep Python's form."""
    if issubclass(category, UserWarning) and f"{os.sep}agon{os.sep}" in filename:
        print(f"agon: {message}", file=sys.stderr)
    else:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))
