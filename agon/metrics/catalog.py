"""Which metrics and extractors there are: read from the heads of their files, without importing one (``agon list metrics`` has to answer at once).

A metric is asked for by its name (``kid``) or by its name and an extractor's (``kid_dinov2``, ``fid_inception-clean``, ``kid_my/net.py:embed``).
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agon.errors import UserError

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Metric:
    """What a file says of one of its metrics. ``extractor``: whose features it reads, "data" for those that fit the data, "" for none."""

    name: str
    module: str
    summary: str
    kinds: tuple[str, ...]
    extractor: str
    layers: tuple[str, ...]
    paired: bool
    labelled: bool

    @property
    def better(self) -> str:
        """ "lower", "higher", or "" where neither is: the summary says it."""
        found = re.search(r"\b(lower|higher) is (better|smoother)", self.summary)
        return found[1] if found else ""


@dataclass(frozen=True)
class Asked:
    """A metric as a user names it, and the extractor that goes with it ("data" and "" as in ``Metric``)."""

    name: str
    metric: Metric
    extractor: str


@cache
def metrics() -> dict[str, Metric]:
    """All metrics by name, in alphabetical order of their files."""
    found = {}
    for path in sorted(FOLDER.glob("*.py")):
        said = literals(path)
        for name, summary in said.get("METRICS", {}).items():
            extractor = said.get("EXTRACTOR", "data")
            found[name] = Metric(
                name, f"agon.metrics.{path.stem}", summary, tuple(said.get("KINDS", ("image",))),
                extractor.get(name, "") if isinstance(extractor, dict) else extractor, tuple(said.get("LAYERS", ("features",))),
                name in said["PAIRED"] if isinstance(said.get("PAIRED"), tuple) else bool(said.get("PAIRED", False)), bool(said.get("LABELLED", False)),
            )  # fmt: skip
    return found


@cache
def extractors() -> dict[str, tuple[str, str]]:
    """All extractors: name -> (module, one line)."""
    found = {}
    for path in sorted((FOLDER / "features").glob("*.py")):
        for name, summary in literals(path).get("NAMES", {}).items():
            found[name] = (f"agon.metrics.features.{path.stem}", summary)
    return found


def literals(path: Path) -> dict:
    """The module-level constants of a file that are plain literals and written in capitals."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper():
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found


def asked(names: Sequence[str]) -> list[Asked]:
    """The metrics a user asks for, each once. Raises UserError for an unknown one, with the nearest name."""
    if not names:
        raise UserError("No metric was named. Leave out --metrics to get those that fit, or choose from 'agon list metrics'.")
    return [parse(name) for name in dict.fromkeys(names)]


def parse(name: str) -> Asked:
    """``kid`` or ``kid_dinov2`` or ``kid_net.py:embed`` -> what is meant."""
    known = metrics()
    if name in known:
        return Asked(name, known[name], known[name].extractor)
    for cut in (found.start() for found in re.finditer("_", name)):
        base, extractor = name[:cut], name[cut + 1 :]
        if base in known and (extractor in extractors() or is_own(extractor)):
            if not known[base].extractor:
                raise UserError("The metric '{metric}' reads no features, so it takes no extractor. Ask for '{metric}' alone.", metric=base)
            return Asked(name, known[base], extractor)
    candidates = [*known, *(f"{base}_{extractor}" for base, metric in known.items() if metric.extractor for extractor in extractors())]
    near = difflib.get_close_matches(name, candidates, n=1, cutoff=0)
    raise UserError("There is no metric '{name}'. Did you mean '{near}'? 'agon list metrics' shows all.", name=name, near=near[0])


def is_own(extractor: str) -> bool:
    """Does the name point at a user's file: TorchScript (net.pt) or Python (net.py:function)?"""
    return extractor.endswith((".pt", ".ts", ".py")) or ".py:" in extractor
