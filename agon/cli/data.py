"""Look into a folder of pictures: what is there, what is wrong with which file, what training would do."""

from __future__ import annotations

import argparse
import json

from agon.cli import Parser, pairs
from agon.errors import UserError
from agon.locale import translate


def main(argv: list[str]) -> int:
    """``agon data check FOLDER``. Returns 0 where training could start, 1 where it would stop.

    Raises UserError for wrong usage, for a folder that is not there and for one without any picture.
    """
    arguments, rest = parser().parse_known_args(argv)
    from agon.data.check import as_text, check, check_pairs, pairs_as_text

    wanted = None if arguments.size is None else size(arguments.size)
    options = {name.removeprefix("data."): value(text) for name, text in pairs(rest).items()}
    if arguments.input is not None:
        report = check_pairs(arguments.folder, arguments.input, size=wanted, channels=arguments.channels, **options)
        print(json.dumps(report, indent=2, ensure_ascii=False) if arguments.json else pairs_as_text(report))
        return 0 if report["usable"] else 1
    if options:
        raise UserError("'{option}' is an option of pairs. Expected --input too: a folder, left, right or a recipe.", option=next(iter(options)))
    report = check(arguments.folder, size=wanted, channels=arguments.channels)
    print(json.dumps(report, indent=2, ensure_ascii=False) if arguments.json else as_text(report))
    return 0 if report["usable"] else 1


def parser() -> argparse.ArgumentParser:
    about = translate("Look into a folder of pictures: what is there, what is wrong with which file, what training would do.")
    top = Parser(prog="agon data", description=about)
    check = top.add_subparsers(dest="action", required=True, metavar="check").add_parser(
        "check", help=translate("say what is in a folder or .zip of pictures"), description=about)
    add = check.add_argument
    add("folder", metavar="FOLDER", help=translate("a folder of pictures (sub-folder = class), or a .zip of one"))
    # read in main: argparse would put words of its own in the place of a UserError raised by a type
    add("--size", metavar="N or HxW", help=translate("as `agon train --data.size`: the height and width to train at"))
    add("--channels", type=int, choices=(1, 3, 4), help=translate("as `agon train --data.channels`: 1 grey, 3 colour, 4 colour and alpha"))
    add("--input", help=translate("as `agon train --data.input`: what translators start from; further options as there, such as --maps true"))
    add("--json", action="store_true", help=translate("one JSON object on stdout"))
    return top


def value(text: str) -> object:
    """A word of the command line as YAML reads it: true, 4, else text."""
    import yaml

    return yaml.safe_load(text)


def size(text: str) -> tuple[int, int]:
    """"64" or "48x64" (height x width)."""
    from agon.data import parse_size

    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.strip().isdigit() for part in parts):
        raise UserError("The size {text} cannot be read. Expected one number, or height x width, for example 64 or 48x64.", text=text)
    sides = [int(part) for part in parts]
    pair = parse_size((sides[0], sides[-1]))
    assert pair is not None
    return pair
