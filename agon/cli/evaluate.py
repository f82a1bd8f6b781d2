"""Measure a run, or two folders: every number with its protocol, its uncertainty, and what a perfect sampler would get.

agon evaluate RUN [--metrics fid,kid] [-n SAMPLES] [--seed 0] [--json] [--report]
agon evaluate RUN --data HELD_OUT [--data.OPTION VALUE ...] [--direction backward]
agon evaluate --real DATA --fake DATA [--metrics fid,kid] [--kind video]
agon evaluate --compare RUN_OR_JSON RUN_OR_JSON
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from agon.cli import Parser
from agon.config import parse_count
from agon.errors import UserError
from agon.locale import translate

LPIPS_WEIGHTS = ("alex", "lpips", "lpips_alex")  # files beside the extractors' that --weights takes (docs/metrics/perceptual.md)


def main(argv: list[str]) -> int:
    rest, words = _split(argv)
    options = _parser().parse_args(rest)
    options.data_options = _data_options(words)
    _check(options)
    if options.compare:
        return _compare(options)
    if options.run:
        samples, results, page = _measure_run(options)
    else:
        samples, results, page = _measure_folders(options)
    if not _first():
        return 0
    print(json.dumps({"results": results}, indent=1) if options.json else table(results), flush=True)  # before anything else can fail
    if options.out:
        from agon.measuring import write_results

        write_results(Path(options.out), results)
    if options.report:
        from agon.errors import writing
        from agon.metrics.collapse.report import write_collapse_report
        from agon.metrics.evaluate import default_extractor

        with writing(page):
            write_collapse_report(samples, results, page, extractor=default_extractor(samples, device=samples.device, **_how(options)))
    if not options.json:
        _conclude(options, page if options.report else None)
    return 0 if any("value" in result for result in results) else 2


def _parser() -> Parser:
    parser = Parser(
        prog="agon evaluate",
        description=translate("Measure a run, or two folders: every number with its protocol, its uncertainty, and what a perfect sampler would get."),
    )
    add = parser.add_argument
    add("run", nargs="?", help=translate("a run folder"))
    add("--real", help=translate("instead of a run: the real samples, a folder, a file or a data set's name"))
    add("--fake", help=translate("and the samples to compare with them"))
    add("--kind", help=translate("what the files hold, where their endings do not say it: image, video, audio, cloud, voxels, series, text, points"))
    add("--compare", nargs=2, metavar="RUN_OR_JSON", help=translate("two runs, or two files of results, number by number; different protocols are refused"))
    add("--metrics", help=translate("names of 'agon list metrics', with commas between, also with an extractor: kid_dinov2 (default: all that fit the data)"))
    add("-n", dest="num_samples", help=translate("how many samples to draw (default: the metric's own protocol)"))
    add("--num-real", default="10k", help=translate("at most so many real samples, or 'all' (default 10k)"))
    add("--seed", type=int, default=0, help=translate("seed of the samples and of the resamples (default 0)"))
    add("--weights", action="append", default=[], metavar="EXTRACTOR=PATH", help=translate("an extractor's weights from a local file"))
    add("--precision", default="fp32", choices=("fp32", "bf16", "bf16-compiled"), help=translate("of large extractors; part of the protocol (default fp32)"))
    add("--captions", help=translate("a text file with a line for each fake, for clip_score"))
    add("--segmenter", help=translate("'shapes', or a TorchScript file that maps pictures to label maps, for miou; the file is executed"))
    add("--data", help=translate("judge the run on these data instead of its own, opened with its own options"))
    add("--data.OPTION", dest="ignored", metavar="VALUE", help=translate("instead of the run's option of its data, such as --data.split test, --data.seed 1"))
    add("--direction", help=translate("of a translation both ways: forward or backward (default forward)"))
    add("--frames", type=int, default=16, help=translate("of each video the first so many (default 16)"))
    add("--tokens", default="words", choices=("words", "characters"), help=translate("of text (default words)"))
    add("--best", action="store_true", help=translate("the checkpoint that scored best while training, not the newest"))
    add("--report", action="store_true", help=translate("also write an HTML page on collapse: grids, neighbours, classes, spectra, maps"))
    add("--out", help=translate("also write the results to this JSON file"))
    add("--no-cache", action="store_true", help=translate("neither read nor write features kept on the disk"))
    add("--device", help=translate("cpu, cuda, cuda:1, mps (default: the best there is)"))
    add("--json", action="store_true", help=translate("one JSON object on stdout"))
    add("--game", help=translate("the .py file or module of a game from outside Agon; it is executed"))
    return parser


def _check(options: argparse.Namespace) -> None:
    ways = [bool(options.run), bool(options.real or options.fake), bool(options.compare)]
    if sum(ways) != 1 or bool(options.real) != bool(options.fake):
        raise UserError("It is not clear what to measure. Expected a run folder, or --real and --fake, or --compare with two of them.")
    ways_of = {"kind": False, "captions": False, "best": True, "game": True, "data": True, "data_options": True, "direction": True}
    for name, of_run in ways_of.items():
        if getattr(options, name) and of_run != bool(options.run):
            where = "RUN" if of_run else "--real, --fake"
            raise UserError("--{option} has no meaning here: it goes with {where}. Leave it out.", option=name.partition("_")[0], where=where)
    if options.out:
        _check_out(Path(options.out))


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """(all else, the words that belong to ``--data.OPTION VALUE``)."""
    rest, words, left = [], [], [*argv]
    while left:
        word = left.pop(0)
        if not word.startswith("--data."):
            rest.append(word)
        elif word.partition("=")[0] != "--data.OPTION":  # the help's placeholder
            words += [word] if "=" in word or not left else [word, left.pop(0)]
    return rest, words


def _data_options(words: list[str]) -> dict[str, Any]:
    """Name -> value, as ``agon train`` reads them."""
    from agon.cli import pairs
    from agon.cli.train import _sized, _value

    return _sized({name.removeprefix("data."): _value(text) for name, text in pairs(words).items()}) if words else {}


def _check_out(path: Path) -> None:
    """Before hours of measuring, not after."""
    import os

    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if path.is_dir() or not folder.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
        raise UserError("Nothing can be written to {path}. Expected --out FILE.json, in a folder where you may write.", path=path)


def _how(options: argparse.Namespace) -> dict[str, Any]:
    """What both ways of measuring understand."""
    from agon.metrics.catalog import extractors

    weights, known = {}, [*extractors(), *LPIPS_WEIGHTS]
    for pair in options.weights:
        name, equals, path = pair.partition("=")
        if not equals or not path:
            raise UserError("'{pair}' names no weights. Expected EXTRACTOR=PATH, such as inception=/data/inception.pth.", pair=pair)
        if name not in known:
            raise UserError("'{name}' is no extractor that takes weights. Expected one of {known}.", name=name, known=", ".join(known))
        weights[name] = path
    return {"precision": options.precision, "weights": weights}


def _metrics(options: argparse.Namespace) -> list[str] | None:
    return None if options.metrics is None else [name.strip() for name in options.metrics.split(",") if name.strip()]


def _measure_run(options: argparse.Namespace) -> tuple[Any, list[dict], Path]:
    from agon.run import load

    run = load(options.run, options.device, game=options.game, best=options.best)
    samples, results = run.measure(
        _metrics(options), num_samples=None if options.num_samples is None else parse_count(options.num_samples), num_real=_most(options), seed=options.seed,
        cached=not options.no_cache, data=options.data, data_options=options.data_options, direction=options.direction, segmenter=options.segmenter,
        **_how(options),
    )  # fmt: skip
    return samples, results, run.folder / "collapse.html"


def _measure_folders(options: argparse.Namespace) -> tuple[Any, list[dict], Path]:
    from agon.measuring import measure_folders

    samples, results = measure_folders(
        options.real, options.fake, _metrics(options), kind=options.kind, num_real=_most(options),
        num_fake=None if options.num_samples is None else parse_count(options.num_samples), seed=options.seed, device=options.device,
        captions=options.captions, segmenter=options.segmenter, frames=options.frames, tokens=options.tokens, cached=not options.no_cache, **_how(options),
    )  # fmt: skip
    return samples, results, Path("collapse.html")


def _most(options: argparse.Namespace) -> int | None:
    return None if options.num_real == "all" else parse_count(options.num_real)


def _first() -> bool:
    """Under torchrun every process comes here. From now on one of them goes on, alone: what it still computes for a report waits for nobody."""
    import os

    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()
    return os.environ.get("RANK", "0") == "0"


def _conclude(options: argparse.Namespace, page: Path | None) -> None:
    lines = [("collapse", page)] if page else []
    if options.run:
        newest = max((Path(options.run) / "samples").glob("*.png"), default="-")
        lines = [("run", options.run), ("samples", newest), ("report", Path(options.run) / "report.html"), *lines]
    if lines:
        print("\n" + "\n".join(f"{name:<8} {value}" for name, value in lines))


def _compare(options: argparse.Namespace) -> int:
    """The numbers that both have. Exit code 1 if a pair was refused."""
    from agon.measuring import RESULTS, read_results
    from agon.metrics.protocol import differences, versus

    both = []
    for name in options.compare:
        path = Path(name) / RESULTS if Path(name).is_dir() else Path(name)
        if not path.exists():
            raise UserError("There are no results in {path}. Expected a run that was evaluated, or a file of 'agon evaluate --out'.", path=path)
        both.append({result["metric"]: result for result in read_results(path)})
    shared = [name for name in both[0] if name in both[1]]
    if not shared:
        raise UserError("'{one}' and '{two}' have no metric in common. Evaluate both with the same --metrics.", one=options.compare[0], two=options.compare[1])
    found, refused = [], {}
    for name in shared:
        why = differences(both[0][name], both[1][name])
        if why:
            refused[name] = why
        else:
            found.append(versus(both[0][name], both[1][name]))
    if options.json:
        print(json.dumps({"compared": found, "refused": refused}, indent=1, ensure_ascii=False))
    else:
        print(comparison(found, refused))
    return 1 if refused else 0


def comparison(found: list[dict], refused: dict[str, list[str]]) -> str:
    """One line a metric: both values, the difference with its error, or why they are not compared."""
    lines, width = [], _width([*(row["metric"] for row in found), *refused])
    for row in found:
        error = "" if row["standard_error"] is None else f"± {row['standard_error']:.2g}"
        verdict = {None: "", True: translate("differs"), False: translate("within chance")}[row["beyond_chance"]]
        lines.append(f"{row['metric']:<{width}} {row['values'][0]:>9.4g} {row['values'][1]:>9.4g} {row['difference']:>+9.3g} {error:<10} {verdict}".rstrip())
    lines += [f"{name:<{width}} {translate('not comparable')}: {'; '.join(why)}" for name, why in refused.items()]
    return "\n".join(lines)


def table(results: list[dict]) -> str:
    """One line for each number: value, standard error, and the reference beside it; or why it could not be had."""
    lines, width = [], _width(result["metric"] for result in results)
    for result in results:
        if "unavailable" in result:
            lines.append(f"{result['metric']:<{width}} {translate('not measured')}: {result['unavailable']}")
            continue
        error = f"± {result['standard_error']:.2g}" if result.get("standard_error") is not None else ""
        beside = [f"{name.replace('_', ' ')} {reference['value']:.4g}" for name, reference in (result.get("reference") or {}).items()]
        if "halves" in (result.get("details") or {}):  # the perfect sampler's value belongs beside this one, not beside the value
            beside.insert(0, f"halves {result['details']['halves']:.4g}")
        beside = f"({', '.join(beside)})" if beside else ""
        lines.append(f"{result['metric']:<{width}} {result['value']:>9.4g} {error:<10} {beside}".rstrip())
        lines += [f"  ! {warning}" for warning in result.get("warnings") or []]
    return "\n".join(lines)


def _width(names: Iterable[str]) -> int:
    """Of the column of names: as ever, or as wide as the longest needs."""
    return max(22, *map(len, names), 0)
