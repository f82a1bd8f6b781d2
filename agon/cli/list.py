"""List the games, data sets, inputs of translators, metrics and feature extractors there are.

Reads file heads and tables of names only: no game and no torch is imported.
"""

from __future__ import annotations

import json
import shutil
import textwrap
from dataclasses import asdict

from agon.cli import Parser
from agon.locale import translate

KINDS = ("games", "datasets", "inputs", "metrics", "extractors")


def main(argv: list[str]) -> int:
    parser = Parser(prog="agon list", description=translate("List the games, data sets, inputs of translators, metrics and feature extractors there are."))
    parser.add_argument("kind", nargs="?", choices=KINDS, help=translate("only these (default: all)"))
    parser.add_argument("--json", action="store_true", help=translate("one JSON object on stdout"))
    options = parser.parse_args(argv)
    kinds = (options.kind,) if options.kind else KINDS
    if options.json:
        print(json.dumps({kind: entries(kind) for kind in kinds}, ensure_ascii=False, indent=2))
        return 0
    for index, kind in enumerate(kinds):
        if not options.kind:
            print(("\n" if index else "") + translate(kind))
        print(_table(entries(kind)))
    return 0


def entries(kind: str) -> list[dict]:
    """What there is of a kind, as plain dictionaries with at least ``name`` and ``summary``."""
    if kind == "games":
        from agon.catalog import games

        return [asdict(entry) for entry in games().values()]
    if kind == "datasets":
        from agon.data.names import DATASETS

        return [{"name": name, "summary": description} for name, (_, description) in DATASETS.items()]
    if kind == "inputs":
        from agon.catalog import docstring
        from agon.data.inputs import FOLDER, names

        return [{"name": name, "summary": docstring(FOLDER / f"{name}.py").split("\n\n")[0].replace("\n", " ")} for name in names()]
    from agon.metrics import catalog

    if kind == "extractors":
        return [{"name": name, "summary": description} for name, (_, description) in catalog.extractors().items()]
    return [
        {"name": name, "summary": metric.summary, "kinds": metric.kinds, "extractor": metric.extractor, "paired": metric.paired, "better": metric.better}
        for name, metric in sorted(catalog.metrics().items())
    ]


def _table(rows: list[dict]) -> str:
    """Name and paper or description, wrapped to the terminal."""
    width = max((len(row["name"]) for row in rows), default=0)
    room = max(40, shutil.get_terminal_size((120, 24)).columns - width - 4)
    lines = []
    for row in rows:
        text = row.get("paper") or row["summary"]
        first, *rest = textwrap.wrap(text, room) or [""]
        lines.append(f"  {row['name']:<{width}}  {first}")
        lines += [" " * (width + 4) + line for line in rest]
    return "\n".join(lines)
