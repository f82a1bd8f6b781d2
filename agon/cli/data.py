"""Look into a folder of pictures: what is there, what is wrong with which file, what training would do."""

from __future__ import annotations

import argparse
import json

from agon.cli import Parser
from agon.errors import UserError


def main(argv: list[str]) -> int:
    """``agon data check FOLDER``. Returns 0 where training could start, 1 where it would stop.

    Raises UserError for wrong usage, for a folder that is not there and for one without any picture.
    """
    arguments = parser().parse_args(argv)
    from agon.data.check import as_text, check

    report = check(arguments.folder, size=arguments.size, channels=arguments.channels)
    print(json.dumps(report, indent=2, ensure_ascii=False) if arguments.json else as_text(report))
    return 0 if report["usable"] else 1


def parser() -> argparse.ArgumentParser:
    top = Parser(prog="agon data", description=__doc__)
    check = top.add_subparsers(dest="action", required=True, metavar="check").add_parser(
        "check", help="say what is in a folder or .zip of pictures", description=__doc__)
    check.add_argument("folder", metavar="FOLDER", help="a folder of pictures (sub-folder = class), or a .zip of one")
    check.add_argument("--size", type=size, metavar="N or HxW", help="as `agon train --data.size`: the height and width to train at")
    check.add_argument("--channels", type=int, choices=(1, 3, 4), help="as `agon train --data.channels`: 1 grey, 3 colour, 4 colour and alpha")
    check.add_argument("--json", action="store_true", help="print the report as JSON")
    return top


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
