"""Translate pictures, a folder, a film or a stream of frames with a run.

agon translate RUN INPUT --out OUT [--direction backward] [--class NAME] [--derive] [--mask M] [--tile N] [--overlap N] [--max-side N]
               [--sheet FILE.png [--target FOLDER]] [--size WxH] [--json] [--CONTROL VALUE]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agon.cli import Parser, pairs
from agon.errors import UserError
from agon.locale import translate

if TYPE_CHECKING:
    from agon.translation.files import Job, Result

STREAM = "-"


def main(argv: list[str]) -> int:
    options, rest = parser().parse_known_args(argv)
    controls = {name: value(text) for name, text in pairs(rest).items()}
    if options.ignored is not None:
        controls["CONTROL"] = options.ignored
    check(options)

    from agon.run import load
    from agon.translation.files import Job, Sheet
    from agon.translation.translator import Translator, Wishes

    run = load(options.run, options.device, game=options.game, best=options.best)
    wishes = Wishes(options.seed, options.direction, options.label, options.derive, options.tile, options.overlap, options.max_side, controls)
    translator = Translator(run, wishes)
    if translator.size is not None and options.input != STREAM:
        say(translate("This network has one size: pictures are fitted to {width}x{height}, and the results have that size too.").format(
            width=translator.size[1], height=translator.size[0]))
    sheet = Sheet(path(options.target)) if options.sheet else None
    account = Account(options.json)
    job = Job(translator, mask=path(options.mask), overwrite=options.overwrite, sheet=sheet, workers=options.workers, report=account.take)
    try:
        work(job, options, account)
    finally:
        account.close()
    if sheet is not None:
        write_sheet(sheet, options)
    return account.end(options.out or STREAM, quiet=options.input == STREAM)


def parser() -> Parser:
    parser = Parser(prog="agon translate", description=translate("Translate pictures, a folder, a film or a stream of frames with a run."))
    add = parser.add_argument
    add("run", help=translate("a run folder"))
    add("input", help=translate("a picture, a folder or .zip of pictures, a film, or - for frames on stdin"))
    add("--out", help=translate("a file, folder or film accordingly; - (the default for a stream) for stdout"))
    add("--overwrite", action="store_true", help=translate("replace what --out names"))
    add("--direction", help=translate("forward (the default) or, where the game learns both, backward"))
    add("--class", dest="label", help=translate("the class wanted, its number or name; attributes with commas between"))
    add("--seed", type=int, default=0, help=translate("where a game draws at random: the same seed gives the same pictures (default 0)"))
    add("--derive", action="store_true", help=translate("INPUT are photographs: make the run's kind of input of them first (edges, a smaller picture, a hole)"))
    add("--mask", help=translate("what is missing, in white: a picture, or a folder with the names of the inputs (label maps: the instances)"))
    add("--tile", type=int, help=translate("work in tiles of so many pixels a side; 0: never (default: as memory needs)"))
    add("--overlap", type=int, help=translate("pixels that tiles share on each side (default: what the network sees, or a sixth of a tile)"))
    add("--max-side", type=int, help=translate("reduce pictures whose longer side has more pixels"))
    add("--sheet", help=translate("also write a contact sheet, input | output | target, of the first pictures: a .png file"))
    add("--target", help=translate("for --sheet: a folder of what the pictures should become, matched by name"))
    add("--size", help=translate("frames on stdin are bare rgb24 pixels of WIDTHxHEIGHT"))
    add("--workers", type=int, help=translate("threads that decode and encode (default: one for each core, at most 8)"))
    add("--json", action="store_true", help=translate("one JSON object a file on stdout"))
    add("--best", action="store_true", help=translate("the checkpoint that scored best while training, not the newest"))
    add("--device", help=translate("cpu, cuda, cuda:1, mps (default: the best there is)"))
    add("--CONTROL", dest="ignored", metavar="VALUE", help=translate("what else the game can be asked for (agon show GAME)"))
    add("--game", help=translate("the .py file or module of a game from outside Agon; it is executed"))
    return parser


def check(options) -> None:
    """Raise UserError for options that do not go together, before anything heavy is loaded."""
    if options.input != STREAM and options.out in (None, STREAM):
        raise UserError("Where {input} is to go is not said. Expected --out with a file or folder.", input=options.input)
    if options.input == STREAM and (options.out not in (None, STREAM) or options.json):
        raise UserError("A stream goes to stdout. Leave out --out and --json, and write: ... | agon translate RUN - > FILE")
    if options.size and options.input != STREAM:
        raise UserError("--size is for bare frames on stdin. For other inputs leave it out; --max-side reduces pictures.")
    if options.target and not options.sheet:
        raise UserError("--target is shown on a contact sheet, and none is asked for. Add --sheet FILE.png.")
    if options.sheet and (Path(options.sheet).suffix.lower() != ".png" or Path(options.sheet).exists() and not options.overwrite):
        raise UserError("A contact sheet cannot be written as {path}. Expected a new .png file; add --overwrite to replace one.", path=options.sheet)
    if options.workers is not None and options.workers < 1:
        raise UserError("{count} threads cannot work. Expected --workers 1 or more.", count=options.workers)
    for name in ("mask", "target"):
        given = path(getattr(options, name))
        if given is not None and not given.exists():
            raise UserError("There is no file or folder {path}. Expected a picture, or a folder of pictures with the names of the inputs.", path=given)


def value(text: str) -> object:
    """A word of the command line as what it says: a number, numbers with commas between, else text."""
    from agon.cli.sample import control

    found = control(text)
    return text if isinstance(found, tuple) and any(isinstance(part, str) for part in found) else found


def path(text: str | None) -> Path | None:
    return None if text is None else Path(text).expanduser()


def work(job: Job, options, account: Account) -> None:
    """Whatever INPUT is, to OUT."""
    from agon.data.files import listing_of, refuse_empty
    from agon.translation.files import places_in, single
    from agon.translation.films import is_film

    if options.input == STREAM:
        job.stream(sys.stdin.buffer, sys.stdout.buffer, frame_size(options.size), account.begin)
        return
    source, out = Path(options.input).expanduser(), Path(options.out).expanduser()
    if not source.exists():
        raise UserError("There is no file or folder {path}. Expected a picture, a folder or .zip of pictures, a film, or - for frames on stdin.", path=source)
    if not source.is_dir() and source.suffix.lower() != ".zip":
        if is_film(source):
            job.film(source, out / source.name if out.is_dir() else out, account.begin)
            return
        items, places = single(source, out)
        job.pictures(items, places)
        return
    with listing_of(source) as listing:
        refuse_empty(listing)
        from agon.translation.files import Result

        account.total = len(listing.items)
        for name, why in listing.refused:
            account.take(Result(name, error=why))
        job.pictures(listing.items, places_in(out, listing.items, source))


def frame_size(text: str | None) -> tuple[int, int] | None:
    """``WIDTHxHEIGHT`` as (height, width)."""
    from agon.data.pictures import MAX_PIXELS

    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()) or not 0 < int(width) * int(height) <= MAX_PIXELS:
        raise UserError("'{size}' is no size of a frame. Expected WIDTHxHEIGHT, for example --size 640x480.", size=text)
    return int(height), int(width)


def write_sheet(sheet, options) -> None:
    for name in sheet.write(Path(options.sheet).expanduser(), options.overwrite):
        say(translate("{file} has no target of that name in {folder}.").format(file=name, folder=options.target))


def say(text: str) -> None:
    print(f"agon: {text}", file=sys.stderr)


class Account:
    """Progress on a terminal, complaints as they come, and the summary."""

    def __init__(self, as_json: bool):
        self.json, self.total, self.done, self.failed, self.frames = as_json, 0, 0, 0, 0
        self._bar = None

    def begin(self, total: int) -> None:
        """A frame of a film of ``total`` frames (0: not known) is about to be made."""
        self.frames += 1
        self._step(total or None, "frame")

    def take(self, result: Result) -> None:
        if result.error:
            self.failed += 1
            self._aside(translate("{file} {why}; it is left out.").format(file=result.file, why=result.error.rstrip(".")))
        else:
            self.done += 1
        if self.json:
            print(json.dumps(result.as_json(), ensure_ascii=False), flush=True)
        if self.total:
            self._step(self.total, "picture")

    def _step(self, total: int | None, unit: str) -> None:
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit=unit, file=sys.stderr, disable=not sys.stderr.isatty(), leave=False)
        self._bar.update()

    def _aside(self, text: str) -> None:
        if self._bar is not None:
            self._bar.clear()
        say(text)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def end(self, out: str, quiet: bool) -> int:
        """The summary and the exit code: 1 where nothing was made."""
        if self.frames and not quiet:
            say(translate("{count} frames translated.").format(count=self.frames))
        elif not quiet:
            say(translate("{done} translated, {failed} left out.").format(done=self.done, failed=self.failed))
        if not self.json and not quiet and self.done:
            print(out)
        return 0 if self.done else 1
