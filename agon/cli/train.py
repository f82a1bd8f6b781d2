"""Train a game on your data, or go on with a run: the same command again resumes.

agon train GAME [--data D] [--preset P] [--out RUN] [--steps N | --images 200k] [--minutes M] [--FIELD VALUE ...]
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import textwrap
from pathlib import Path
from typing import Any

from agon.cli import Parser, pairs
from agon.config import nearest, parse_count
from agon.errors import UserError
from agon.locale import translate


def main(argv: list[str]) -> int:
    parser = _parser()
    options, rest = parser.parse_known_args(argv)
    words = pairs(rest)
    data_options = {name.removeprefix("data."): _value(text) for name, text in words.items() if name.startswith("data.")}
    if options.ignored is not None:  # the help's placeholder, taken by its word
        data_options["OPTION"] = options.ignored
    given = _from_file(options.config)
    if options.steps is not None:
        given.pop("images", None)  # the command line goes before the file, and --steps says the same thing there
    overrides = given | {name: text for name, text in words.items() if not name.startswith("data.")}
    if options.images is not None:
        overrides["images"] = parse_count(options.images)
    if options.every is not None:
        overrides["metrics_every_images"] = parse_count(options.every)
    _check_fields(options.game, overrides)
    if options.every is not None and "metrics" not in overrides:
        raise UserError("--every says how often, and not what to measure. Expected --metrics too, such as --metrics fid_digits.")

    from agon.run import train

    run = train(
        options.game, options.data, preset=options.preset, out=options.out,
        steps=None if options.steps is None else parse_count(options.steps), minutes=options.minutes, device=options.device,
        console=True, tensorboard=options.tensorboard, start=options.start, data_options=_sized(data_options),
        command=shlex.join(["agon", "train", *argv]), **overrides,
    )  # fmt: skip
    if os.environ.get("RANK", "0") == "0":  # under torchrun every process comes here
        _conclude(run)
    return 128 + run.stopped_by if run.stopped_by else 0


def _parser() -> Parser:
    from agon.catalog import games

    listing = "\n".join(f"  {name:<10} {textwrap.shorten(entry.summary, 100, placeholder=' ...')}" for name, entry in games().items())

    parser = Parser(
        prog="agon train", allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter,
        description=translate("Train a game on your data, or go on with a run: the same command again resumes."),
        epilog=f"{listing}\n\n" + translate("Every field of a game can be set: --batch_size 32 --optimizer.lr 1e-4. 'agon show GAME' lists them."),
    )  # fmt: skip
    add = parser.add_argument
    add("game", help=translate("a name of 'agon list games', a .py file, or a module"))
    add("--data", default="digits", help=translate("folder or .zip of pictures, or a name of 'agon list datasets' (default: digits)"))
    add("--data.OPTION", dest="ignored", metavar="VALUE", help=translate("an option of the data set, such as --data.size 64, --data.mirror true"))
    add("--preset", help=translate("named settings of the game (default: the one that fits the data)"))
    add("--config", help=translate("a YAML or JSON file of fields"))
    add("--out", help=translate("run folder (default: runs/GAME-DATA)"))
    add("--steps", help=translate("length in steps"))
    add("--images", help=translate("length in real images drawn: 50000, 200k, 25M"))
    add("--every", help=translate("images between two measurements of --metrics fid_digits,coverage: 20k"))
    add("--minutes", type=float, help=translate("leave after so many minutes; resumable"))
    add("--from", dest="start", metavar="RUN", help=translate("begin with the weights of this run as far as they fit; the new run's transfer.json says which"))
    add("--device", help=translate("cpu, cuda, cuda:1, mps (default: the best there is)"))
    add("--tensorboard", action="store_true", help=translate("also write TensorBoard files"))
    return parser


def _check_fields(game: str, overrides: dict[str, Any]) -> None:
    """Say what is wrong with a field's name before any data is read."""
    from agon.catalog import load
    from agon.config import field_names, flatten

    known = field_names(load(game).Config)
    options = ["data", "preset", "out", "steps", "minutes", "device", "config", "tensorboard", "every", "from"]  # no fields, but what may have been meant
    for name in flatten(overrides):
        if name not in known:
            near = nearest(name, known + options)
            raise UserError("{game} has no field '{field}'. Did you mean '--{near}'? All fields: agon show {game}.", game=game, field=name, near=near)


def _from_file(path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    import yaml

    from agon.config import flatten

    try:
        content = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(
            "The configuration {path} cannot be read: {why}. Expected "
            "a YAML or JSON file of fields.",
            path=path, why=getattr(error, "strerror", None) or str(error).replace("\n", " "),
        ) from None  # fmt: skip
    if not isinstance(content, dict):
        raise UserError("The configuration {path} holds no fields. Expected lines such as 'batch_size: 32'.", path=path)
    return flatten(content)


def _value(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:  # then it is a word, and the data set says what it thinks of it
        return text


def _sized(options: dict[str, Any]) -> dict[str, Any]:
    """``size: "64x48"`` (height x width) -> a pair."""
    size = options.get("size")
    if isinstance(size, str):
        try:
            options["size"] = tuple(int(side) for side in size.lower().split("x"))
        except ValueError:
            raise UserError("'{size}' is no size. Expected one number, or HEIGHTxWIDTH such as 48x64.", size=size) from None
    return options


def _conclude(run) -> None:
    grids = sorted((run.folder / "samples").glob("*.png"))
    for name, value in (("run", run.folder), ("samples", grids[-1] if grids else "-"), ("report", run.folder / "report.html")):
        print(f"{name:<8} {value}")
    if run.stopped_by:
        print(translate("Stopped and saved. The same command goes on from here."), file=sys.stderr)
