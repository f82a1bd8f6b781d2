"""What a run writes while it trains: ``log.jsonl`` (numbers), ``events.jsonl`` (what happened), a progress bar or
plain lines on stderr.

Every line is one valid JSON object, flushed at once, so that a crash costs at most the line being written. JSON has no
NaN: the three values it lacks are written as the strings "NaN", "Infinity" and "-Infinity" (which ``float()`` reads),
and :func:`read_log` gives them back as numbers.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from agon.locale import translate
from agon.train.health import Verdict

PLAIN_SECONDS = 10.0  # a log file that is watched should move, and not drown
PLAIN_FRACTION = 0.1
REDRAW_SECONDS = 0.1  # faster than this no eye follows, and a terminal over a network stutters
_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_SHORT = {"discriminator": "D", "generator": "G", "critic": "C", "encoder": "E", "classifier": "Q"}


@dataclass(frozen=True)
class Total:
    """Where the run ends: the first of these that is reached (None: no bound)."""

    images: int | None = None
    steps: int | None = None
    seconds: float | None = None

    def fraction(self, *, images: int, steps: int = 0, seconds: float = 0.0) -> float:
        """How much of the run is done, 0 to 1."""
        parts = [
            done / bound
            for done, bound in ((images, self.images), (steps, self.steps), (seconds, self.seconds))
            if bound
        ]
        return min(1.0, max(parts, default=0.0))


class Logger:
    """Writer of a run's records; one per run, on the first rank.

    ``console``: show progress on ``stream`` (stderr): a bar when it is a terminal, else a plain line every 10 s or 10
    %. ``resume_at``: the images of the checkpoint from which the run goes on; later records of log.jsonl are dropped
    (they will be made again), as is a torn last line. ``tensorboard``: also write scalars to ``<run>/tensorboard``
    (missing or failing: one warning, the run goes on).
    """

    def __init__(
        self,
        run_folder: str | Path,
        *,
        console: bool = True,
        total: Total | None = None,
        resume_at: int | None = None,
        tensorboard: bool = False,
        stream: TextIO | None = None,
    ):
        self.folder = Path(run_folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.total = total or Total()
        _mend(self.folder / "log.jsonl", resume_at)
        _mend(self.folder / "events.jsonl", None)  # events are history: what was undone did happen
        self._log = open(self.folder / "log.jsonl", "a", encoding="utf-8")  # noqa: SIM115 (closed in close)
        self._events = open(self.folder / "events.jsonl", "a", encoding="utf-8")  # noqa: SIM115
        self._state = _last_health(self.folder, resume_at)
        self._display = _display(console, self.total, stream or sys.stderr)
        self._tensorboard = _tensorboard(self.folder, resume_at) if tensorboard else None

    def log(self, record: Mapping[str, Any], verdict: Verdict | None = None) -> None:
        """Append a record (see the run folder's description) and show it; a change of ``verdict.state`` also becomes
        an event.
        """
        plain = jsonable(record)
        _append(self._log, plain)
        if verdict is not None and verdict.state != self._state:
            self._state = verdict.state
            self.event(
                "health",
                num_images=record["num_images"],
                state=verdict.state,
                number=verdict.number,
                sentence=verdict.sentence,
                advice=verdict.advice,
            )
        if self._display is not None:
            self._display.show(record, verdict)
        self._write_tensorboard(record)

    def tick(self, *, step: int, num_images: int, seconds: float) -> None:
        """Move the bar between two records. Costs a microsecond when nothing is due."""
        if self._display is not None:
            self._display.tick(step, num_images, seconds)

    def event(self, kind: str, *, num_images: int = 0, **fields: Any) -> None:
        """Append to events.jsonl: {"time": UTC in ISO 8601, "event": kind, "num_images": ..., **fields}."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        _append(self._events, jsonable({"time": now, "event": kind, "num_images": num_images, **fields}))

    def say(self, text: str) -> None:
        """Print a line to the user without tearing the bar."""
        if self._display is not None:
            self._display.say(text)

    def rewind(self, num_images: int) -> None:
        """Drop the records after ``num_images`` from log.jsonl: the run went back there, and will make them again."""
        self._log.close()
        _mend(self.folder / "log.jsonl", num_images)
        self._log = open(self.folder / "log.jsonl", "a", encoding="utf-8")  # noqa: SIM115 (closed in close)

    def close(self) -> None:
        """Close files and bar. May be called twice."""
        if self._display is not None:
            self._display.close()
        for file in (self._log, self._events):
            file.close()
        if self._tensorboard is not None:
            self._tensorboard.close()
            self._tensorboard = None

    def __enter__(self) -> Logger:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _write_tensorboard(self, record: Mapping[str, Any]) -> None:
        if self._tensorboard is None:
            return
        try:
            for name, value in {**record.get("terms", {}), **record.get("stats", {})}.items():
                self._tensorboard.add_scalar(name, float(value), record["num_images"])
            if "images_per_second" in record:
                self._tensorboard.add_scalar(
                    "images_per_second", float(record["images_per_second"]), record["num_images"]
                )
        except Exception as error:  # an optional display must never stop a run, whatever it trips over
            self._tensorboard = None
            warnings.warn(
                translate(
                    "TensorBoard stopped writing ({error}); the run goes on and log.jsonl has every number."
                ).format(error=error),
                UserWarning,
                stacklevel=3,
            )


def jsonable(value: Any) -> Any:
    """Plain JSON types: scalars of torch and numpy become numbers, non-finite numbers strings, paths and the rest
    text.
    """
    if isinstance(value, Mapping):
        return {str(key): jsonable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(each) for each in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return (
            value
            if math.isfinite(value)
            else ("NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity")
        )
    if hasattr(value, "tolist"):  # arrays and tensors of any shape; scalars become numbers
        return jsonable(value.tolist())
    return str(value)


def read_lines(path: Path) -> list[dict]:
    """The objects of a JSON-lines file; a torn or damaged line is left out, a missing file is empty."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return [record for record in map(_parse, text.split("\n")) if record is not None]


def read_log(run_folder: str | Path) -> list[dict]:
    """The records of a run's log.jsonl, in order, non-finite numbers restored; tolerant of a torn last line."""
    return [_restore(record) for record in read_lines(Path(run_folder) / "log.jsonl")]


def _parse(line: str) -> dict | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _restore(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _restore(each) for key, each in value.items()}
    return _NON_FINITE.get(value, value) if isinstance(value, str) else value


def _append(file: TextIO, record: dict) -> None:
    file.write(json.dumps(record, allow_nan=False, ensure_ascii=False) + "\n")
    file.flush()


def _mend(path: Path, resume_at: int | None) -> None:
    """Drop a torn last line and, when resuming, the records after the checkpoint; the file is replaced in one piece or
    left alone.
    """
    if not path.exists():
        return
    content = path.read_bytes()
    kept = [line for line in content.split(b"\n") if _keep(line, resume_at)]
    wanted = b"".join(line + b"\n" for line in kept)
    if wanted == content:
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        file.write(wanted)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _keep(line: bytes, resume_at: int | None) -> bool:
    record = _parse(line.decode("utf-8", errors="replace"))
    return record is not None and (resume_at is None or record.get("num_images", 0) <= resume_at)


def _last_health(folder: Path, resume_at: int | None) -> str | None:
    states = [
        event.get("state")
        for event in read_lines(folder / "events.jsonl")
        if event.get("event") == "health" and (resume_at is None or event.get("num_images", 0) <= resume_at)
    ]
    return states[-1] if states else None


def _tensorboard(folder: Path, resume_at: int | None):
    try:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(folder / "tensorboard"), purge_step=resume_at)
    except Exception as error:
        warnings.warn(
            translate(
                "TensorBoard is not available ({error}); the run goes on without it. To have it: pip install "
                "tensorboard"
            ).format(error=error),
            UserWarning,
            stacklevel=3,
        )
        return None


def losses(terms: Mapping[str, float]) -> str:
    """``{"discriminator/adversarial": .6, "discriminator/r1": .1, "generator/adversarial": .7}`` -> ``"D 0.7 G 0.7"``:
    a player's terms added up.
    """
    sums: dict[str, float] = {}
    for name, value in terms.items():
        player = name.partition("/")[0]
        sums[player] = sums.get(player, 0.0) + float(value)
    short = {player: _SHORT.get(player, player) for player in sums}
    return " ".join(f"{short[player]} {value:.3g}" for player, value in sums.items())


def duration(seconds: float) -> str:
    """``"0:42"``, ``"12:05"``, ``"3:02:05"``."""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _display(console: bool, total: Total, stream: TextIO) -> _Plain | None:
    if not console:
        return None
    return (_Bar if getattr(stream, "isatty", lambda: False)() else _Plain)(total, stream)


class _Plain:
    """A line every so often, for log files and pipes; also what both displays know about the run's pace."""

    def __init__(self, total: Total, stream: TextIO):
        self.total, self.stream = total, stream
        self.fraction, self.first, self.status, self.health = 0.0, None, "", ("", "")
        self.shown_at, self.shown_fraction = -math.inf, -1.0

    def show(self, record: Mapping[str, Any], verdict: Verdict | None) -> None:
        images, seconds = record["num_images"], record.get("seconds", 0.0)
        self._advance(record.get("step", 0), images, seconds)
        parts = [translate("{count} images").format(count=f"{images:,}")]
        if record.get("images_per_second"):
            parts.append(translate("{count}/s").format(count=f"{record['images_per_second']:,.0f}"))
        left = self._left(seconds)
        if left is not None:
            parts.append(translate("{time} left").format(time=duration(left)))
        parts.append(losses(record.get("terms", {})))
        self.status = " · ".join(part for part in parts if part)
        if verdict is not None:
            self.health = (verdict.sentence, verdict.advice)
        self._draw()

    def tick(self, step: int, num_images: int, seconds: float) -> None:
        """Between two records a plain log has nothing new to say."""

    def say(self, text: str) -> None:
        print(text, file=self.stream, flush=True)

    def close(self) -> None:
        if self.status and self.fraction > self.shown_fraction:
            self._line()

    def _advance(self, step: int, num_images: int, seconds: float) -> None:
        self.fraction = self.total.fraction(images=num_images, steps=step, seconds=seconds)
        if self.first is None:
            self.first = (self.fraction, seconds)

    def _left(self, seconds: float) -> float | None:
        """Seconds left at the pace since this process began (a resumed run may be on another machine than its first
        part).
        """
        assert self.first is not None
        done, spent = self.fraction - self.first[0], seconds - self.first[1]
        if done > 0 and spent > 0:
            return spent * (1 - self.fraction) / done
        return (
            seconds * (1 - self.fraction) / self.fraction if self.fraction and self.first[0] == self.fraction else None
        )

    def _draw(self) -> None:
        if time.monotonic() - self.shown_at >= PLAIN_SECONDS or self.fraction - self.shown_fraction >= PLAIN_FRACTION:
            self._line()

    def _line(self) -> None:
        self.shown_at, self.shown_fraction = time.monotonic(), self.fraction
        self.say("  ".join(part for part in (f"{self.fraction:4.0%}", self.status, *self.health) if part))


class _Bar(_Plain):
    """The bar of a terminal, with the health sentence and its advice in the lines under it."""

    def __init__(self, total: Total, stream: TextIO):
        from tqdm import tqdm

        super().__init__(total, stream)
        # The number tqdm counts is the fraction done: the bound of a run may be images, steps or time.
        form = "{percentage:3.0f}% {bar:24} {desc}"
        shape = {"dynamic_ncols": True} if _columns(stream) else {"ncols": 100}
        self._bar = tqdm(total=1.0, bar_format=form, file=stream, leave=True, mininterval=0, miniters=0, **shape)
        self._under = [
            tqdm(total=0, bar_format="     {desc}", file=stream, leave=True, position=line, mininterval=0, **shape)
            for line in (1, 2)
        ]

    def tick(self, step: int, num_images: int, seconds: float) -> None:
        now = time.monotonic()
        if now - self.shown_at >= REDRAW_SECONDS:
            self._advance(step, num_images, seconds)
            self.shown_at, self._bar.n = now, self.fraction
            self._bar.refresh()

    def say(self, text: str) -> None:
        self._bar.write(text, file=self.stream)

    def close(self) -> None:
        if self._bar.disable:  # closed before
            return
        self._redraw()
        for line in self._under:
            line.leave = bool(line.desc)  # an empty line is not left behind
            line.close()
        self._bar.close()

    def _draw(self) -> None:
        if time.monotonic() - self.shown_at >= REDRAW_SECONDS:
            self._redraw()

    def _redraw(self) -> None:
        self.shown_at, self._bar.n = time.monotonic(), self.fraction
        self._bar.set_description_str(self.status, refresh=True)
        for line, text in zip(self._under, self.health, strict=False):
            line.set_description_str(text, refresh=True)


def _columns(stream: TextIO) -> int:
    """The terminal's width; 0 where it says 0 (some containers do, and tqdm would print nothing at all)."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 0
