"""Turn another project's checkpoint into a run, without executing anything in it.

agon import FILE [--out RUN] [--game G] [--class-names a,b,c] [--json]
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from agon.cli import Parser
from agon.errors import UserError
from agon.locale import translate


def main(argv: list[str]) -> int:
    parser = Parser(prog="agon import", description=translate("Turn another project's checkpoint into a run, without executing anything in it."))
    add = parser.add_argument
    add("file", help=translate("a checkpoint (.pkl, .pth, .pt), or the folder of one that is several files"))
    add("--out", help=translate("the run folder to make (default runs/GAME-FILE)"))
    add("--game", help=translate("import it as this game (its networks must be the same)"))
    add("--class-names", default="", help=translate("the classes' names in their order, with commas between, or a text file with one a line"))
    add("--json", action="store_true", help=translate("one JSON object on stdout"))
    options = parser.parse_args(argv)

    from agon.formats.imported import import_file

    made = import_file(options.file, options.out, game=options.game, class_names=class_names(options.class_names))
    if options.json:
        print(json.dumps(dataclasses.asdict(made), ensure_ascii=False, indent=2, default=str))
        return 0
    size = "x".join(str(side) for side in made.shape)
    print(translate("{run}: {game}, pictures of {size}, {classes} classes, from {origin}").format(
        run=made.run, game=made.game, size=size, classes=made.num_classes, origin=made.origin))
    for note in made.notes:
        print(translate("note: {note}").format(note=note))
    print(translate("Try: agon sample {run}").format(run=made.run))
    return 0


def class_names(text: str) -> tuple[str, ...]:
    """Names between commas, or a file's lines."""
    if not text:
        return ()
    path = Path(text)
    if "," not in text and path.suffix == ".txt":
        try:
            return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
        except (OSError, UnicodeDecodeError) as error:
            raise UserError("The class names in {path} cannot be read ({why}). Expected a text file with one name a line.", path=path, why=error) from None
    return tuple(part.strip() for part in text.split(","))
