"""How a run stands, from its files and its lock: training, finished, stopped, stale (killed), failed, or waiting to begin."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from agon.config import flatten
from agon.locale import translate
from agon.playground.library import Entry
from agon.playground.research import files
from agon.playground.research.logs import Log, Logs
from agon.train.health import Verdict
from agon.train.lock import held

State = Literal["training", "waiting", "finished", "stopped", "stale", "failed"]
TONES = {"warming up": "quiet", "balanced": "good", "discriminator winning": "warn", "discriminator losing": "warn", "diversity falling": "warn",
         "collapse suspected": "bad"}  # fmt: skip
LIVELY = ("started", "resumed", "rolled back")
ENDS: dict[str, State] = {"finished": "finished", "stopped": "stopped", "nonfinite": "failed", **dict.fromkeys(LIVELY, "stale")}
"""What the last of these events says of a run whose lock nobody holds."""
FILES = ("config.json", "log.jsonl", "events.jsonl", "metrics.json")
PICTURES, MOST_GRIDS = "samples", 2000


@dataclass
class Small:
    """What is read whole of a run folder, kept until the files change."""

    stamps: tuple = ()
    config: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Folders:
    """Run folders as they are read: small files kept until they change, logs read on."""

    def __init__(self):
        self.logs = Logs()
        self._small: dict[tuple[Path, str], Small] = {}
        self._lock = threading.Lock()

    def small(self, folder: Path, language: str) -> Small:
        """Config and events. ``language``: the problems' words are kept with them."""
        stamps = tuple(files.stamp(folder / name) for name in ("config.json", "events.jsonl", "metrics.json"))
        with self._lock:
            kept = self._small.get((folder, language))
        if kept is not None and kept.stamps == stamps:
            return kept
        config, problem = files.read_json(folder / "config.json")
        problems = [problem] if problem else []
        if not problem and not _is_config(config):
            problems.append(translate("config.json is not what agon train writes."))
        _, problem = files.read_json(folder / "metrics.json")
        small = Small(stamps, config if isinstance(config, dict) else {}, files.read_lines(folder / "events.jsonl"), problems + ([problem] if problem else []))
        with self._lock:
            self._small[folder, language] = small
        return small


@dataclass(frozen=True)
class Started:
    """A training that this server started. ``code``: how its process ended, None while it lives; ``begun``: whether it has come to write to its folder."""

    code: int | None
    begun: bool
    stopping: bool = False
    said: str = ""


def state_of(folder: Path, small: Small, started: Started | None) -> State:
    """The state of a run folder; ``started``: the process that this server started for it, if it did."""
    if held(folder):
        return "training"
    if started is not None and started.code is None and not started.begun:
        return "waiting"
    last = next((event["event"] for event in reversed(small.events) if event.get("event") in ENDS), "")
    state = ENDS.get(last, "finished" if small.config and _is_import(small) else "stale")
    if started is None or started.code is None or state == "finished":
        return state
    if started.stopping and started.code == -signal.SIGTERM:  # before it had begun to listen: there was nothing to save yet
        return "stopped"
    return "failed" if 0 < started.code < 128 else state


def catch_up(logs: list[Log], deadline: float) -> None:
    """Read and judge what was written meanwhile, until ``deadline``: the shortest first, so that a long log keeps no other waiting."""
    for log in logs:
        log.look()
    ordered = sorted(logs, key=lambda log: log.left)
    for log in ordered:
        log.read(deadline)
    for log in ordered:
        log.judge(deadline)


def row(entry: Entry, small: Small, log: Log, state: State, started: Started | None) -> dict[str, Any]:
    """What a list shows of a run whose log has been read."""
    verdict = log.judge(0)
    images, total = log.last("num_images"), files.number(fields_of(small.config).get("images"))
    spec, lives = _dict(small.config.get("data")), started is not None and started.code is None
    return {
        "id": entry.id, "name": files.clean(entry.name), "state": state, "why": why(state, started), "game": _text(small.config.get("game")),
        "data": _text(spec.get("name")), "preset": _text(small.config.get("preset")), "seed": int(files.number(small.config.get("seed"))),
        "images": int(max(images, _ended_at(small, state))), "steps": int(log.last("step")), "seconds": log.last("seconds"),
        "speed": log.last("images_per_second"), "total": int(total),
        "changed": changed(entry.folder), "health": judged(verdict) if verdict and not log.behind else None, "sketch": log.sketch(), "reading": log.behind,
        "problems": problems(small, log), "stopping": lives and started.stopping, "ours": lives,
    }  # fmt: skip


def _ended_at(small: Small, state: State) -> float:
    """The images at which a run ended, which is rarely where a line was logged."""
    return files.number(small.events[-1].get("num_images")) if state in ("finished", "stopped") and small.events else 0.0


def why(state: State, started: Started | None) -> str:
    """A sentence where a state needs one."""
    if state == "stale":
        return translate("It ended without finishing, and nobody is training it: it was killed, or the machine went down. It can be resumed.")
    if state == "failed":
        said = started.said if started else ""
        return said or translate("It met a number that is not finite, and stopped.")
    return translate("It is being started.") if state == "waiting" else ""


def judged(verdict: Verdict) -> dict[str, str]:
    return {"state": verdict.state, "tone": TONES[verdict.state], "sentence": verdict.sentence, "advice": verdict.advice}


def problems(small: Small, log: Log) -> list[str]:
    """What is wrong with the files, a sentence each."""
    found = list(small.problems)
    if log.damaged:
        found.append(translate("log.jsonl: {count} lines are damaged and were left out.").format(count=log.damaged))
    return found


def detail(entry: Entry, small: Small, log: Log, state: State, started: Started | None) -> dict[str, Any]:
    """All there is to know of a run but its curves and pictures."""
    log.read()
    log.judge()
    whole = row(entry, small, log, state, started)
    results, _ = files.read_json(entry.folder / "metrics.json")
    config = {name: value for name, value in small.config.items() if name != "command"}
    return whole | {
        "folder": files.clean(str(entry.folder)), "config": config, "flat": {str(k): v for k, v in flatten(_dict(config)).items()},
        "command": command_of(small.config), "events": small.events[-500:], "metrics": _results(results), "history": history(entry.folder),
        "spans": [{"images": images, "state": name, "tone": TONES[name]} for images, name in log.spans], "grids": grids(entry.folder),
    }  # fmt: skip


def history(folder: Path) -> list[dict[str, Any]]:
    """What was measured while training, in the order of images."""
    lines = [{"num_images": int(files.number(line.get("num_images"))), "results": _results(line)} for line in files.read_lines(folder / "metrics.jsonl")]
    return sorted((line for line in lines if line["results"]), key=lambda line: line["num_images"])


def grids(folder: Path) -> list[int]:
    """The images at which sample grids were drawn, in order."""
    try:
        names = [path.stem for path in (folder / PICTURES).iterdir() if path.suffix == ".png" and len(path.stem) == 12]
    except OSError:
        return []
    return sorted(int(name) for name in names if name.isascii() and name.isdecimal())[-MOST_GRIDS:]


def fields_of(config: dict[str, Any]) -> dict[str, Any]:
    return _dict(config.get("fields"))


def changed(folder: Path) -> float:
    """When something was last written, in seconds since 1970; 0 where nothing can be read."""
    return max(files.stamp(folder / name)[2] for name in FILES) / 1e9


def command_of(config: dict[str, Any]) -> str:
    """The line that made the run, to be read and copied: it is never executed here."""
    from agon.report import command

    try:
        return files.clean(command(config))
    except (TypeError, ValueError, AttributeError):  # a damaged config.json
        return ""


def _results(value: Any) -> list[dict[str, Any]]:
    """The measurements of a metrics.json or a line of metrics.jsonl that have a name and a number."""
    listed = _dict(value).get("results")
    named = [one for one in listed if isinstance(one, dict) and isinstance(one.get("metric"), str)] if isinstance(listed, list) else []
    return [_result(one) for one in named if isinstance(one.get("value"), int | float) and not isinstance(one.get("value"), bool)]


def _result(one: dict[str, Any]) -> dict[str, Any]:
    perfect = _dict(_dict(one.get("reference")).get("perfect_sampler"))
    return {
        "metric": one["metric"], "value": float(one["value"]), "standard_error": _float(one.get("standard_error")), "perfect": _float(perfect.get("value")),
        "perfect_deviation": _float(perfect.get("standard_deviation")), "better": _better(one["metric"]), "num_real": int(files.number(one.get("num_real"))),
        "num_fake": int(files.number(one.get("num_fake"))), "num_images": int(files.number(one.get("num_images"))), "protocol": _dict(one.get("protocol")),
    }  # fmt: skip


def _better(name: str) -> str:
    from agon.errors import UserError
    from agon.metrics.catalog import parse

    try:
        return parse(name).metric.better
    except UserError:
        return ""


def _is_config(config: Any) -> bool:
    return isinstance(config, dict) and isinstance(config.get("game"), str) and isinstance(config.get("data"), dict) and isinstance(config.get("fields"), dict)


def _is_import(small: Small) -> bool:
    """Whether the run was imported: nothing was ever trained here."""
    return not small.events and _dict(small.config.get("data")).get("fingerprint") == ""


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _float(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
