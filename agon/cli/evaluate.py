"""Measure a run: every number with its protocol, its uncertainty, and what a perfect sampler would get.

agon evaluate RUN [--metrics frechet,kid] [-n SAMPLES] [--seed 0] [--json]
"""

from __future__ import annotations

import json

from agon.cli import Parser
from agon.locale import translate


def main(argv: list[str]) -> int:
    parser = Parser(
        prog="agon evaluate",
        description=translate("Measure a run: every number with its protocol, its uncertainty, and what a perfect sampler would get."),
    )
    add = parser.add_argument
    add("run", help=translate("a run folder"))
    add("--metrics", help=translate("names of 'agon list metrics', with commas between (default: all that fit the data)"))
    add("-n", type=int, dest="num_samples", help=translate("how many samples to draw (default: the metric's own protocol)"))
    add("--seed", type=int, default=0, help=translate("seed of the samples and of the resamples (default 0)"))
    add("--device", help=translate("cpu, cuda, cuda:1, mps (default: the best there is)"))
    add("--json", action="store_true", help=translate("one JSON object on stdout"))
    add("--game", help=translate("the .py file or module of a game from outside Agon; it is executed"))
    options = parser.parse_args(argv)

    from agon.run import load

    metrics = None if options.metrics is None else [name.strip() for name in options.metrics.split(",") if name.strip()]
    run = load(options.run, options.device, game=options.game)
    results = run.evaluate(metrics, num_samples=options.num_samples, seed=options.seed)
    print(json.dumps({"results": results}, indent=1) if options.json else table(results))
    if not options.json:
        newest = max((run.folder / "samples").glob("*.png"), default="-")
        print(f"\n{'run':<8} {run.folder}\n{'samples':<8} {newest}\n{'report':<8} {run.folder / 'report.html'}")
    return 0


def table(results: list[dict]) -> str:
    """One line for each number: value, standard error, and the reference beside it."""
    lines = []
    for result in results:
        error = f"± {result['standard_error']:.2g}" if result.get("standard_error") is not None else ""
        beside = ", ".join(f"{name.replace('_', ' ')} {reference['value']:.4g}" for name, reference in (result.get("reference") or {}).items())
        lines.append(f"{result['metric']:<22} {result['value']:>9.4g} {error:<10} {f'({beside})' if beside else ''}".rstrip())
        lines += [f"  ! {warning}" for warning in result.get("warnings") or []]
    return "\n".join(lines)
