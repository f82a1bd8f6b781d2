"""The log of a run as columns of numbers, read on from where the last look ended.

``log.jsonl`` (:mod:`agon.train.logger`) grows at its end while a training runs, and is replaced by a shorter one when a run resumes from a checkpoint. A torn
last line is waited for, a damaged one counted and left out. A record whose images are not more than those before it takes their place: the run went back there.
"""

from __future__ import annotations

import itertools
import json
import math
import secrets
import threading
import time
from array import array
from bisect import bisect_left
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import from_json

from agon.playground.research.files import clean, stamp
from agon.train.health import Health, Verdict

CHUNK = 2 << 20
MOST_RECORDS, MOST_COLUMNS, MOST_NAME = 3_000_000, 200, 120
MOST_VALUES = 40_000_000
"""Numbers of all logs together that are kept in memory (8 bytes each); the rest is read again when it is looked at."""
TAIL, BINS = 64, 40
PLAIN = ("num_images", "step", "seconds", "images_per_second", "memory_mb")
GROUPS = ("terms", "stats")
NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_launch, _counter = secrets.token_hex(4), itertools.count()


class Log:
    """One run's log. ``read`` and ``judge`` go on until they are done or the clock says ``deadline`` (time.monotonic)."""

    def __init__(self, path: Path):
        self.path, self.lock = path, threading.RLock()
        self._clear()

    def _clear(self) -> None:
        """Begin anew; who has seen part of the log is sent all of it."""
        self.stamp = f"{_launch}-{next(_counter)}"
        self.seen, self.offset, self.tail, self.damaged = (0, 0, 0), 0, b"", 0
        self.torn = False  # whether nothing whole is left to be read: an unfinished line, or more records than are taken
        self.ends = array("q")  # where each record ends in the file
        self.columns: dict[str, array] = {}
        self._unjudge()

    def _unjudge(self) -> None:
        self.judged, self.health, self.spans = 0, Health(), []  # spans: (images, state) where a state begins
        self._sketch: tuple[Any, list] = (None, [])

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def num_values(self) -> int:
        return len(self.ends) * (len(self.columns) + 1)

    @property
    def behind(self) -> bool:
        """Whether there is more to be read or judged."""
        return self.judged < len(self.ends) or self.offset < self.seen[1] and not self.torn

    @property
    def left(self) -> int:
        """Bytes and records to be read and judged, about."""
        return self.seen[1] - self.offset + 100 * (len(self.ends) - self.judged)

    def look(self) -> bool:
        """Whether there is something to be read. A file that is not the one that was read is begun anew."""
        with self.lock:
            now = stamp(self.path)
            if now == self.seen and (self.torn or self.offset >= now[1]):
                return False
            if now[0] != self.seen[0] or now[1] < self.offset or not self._same_tail():
                self._clear()
            if now != self.seen:
                self.seen, self.torn = now, False
            return True

    def read(self, deadline: float = math.inf) -> None:
        """Take in what has been written since the last look."""
        with self.lock:
            if not self.look():
                return
            try:
                with open(self.path, "rb") as file:
                    while not self.torn and time.monotonic() < deadline and self._take(file):
                        self.torn = len(self.ends) >= MOST_RECORDS
            except OSError:
                self.torn = True  # nothing more can be had; a change of the file is another try

    def _take(self, file: Any) -> bool:
        """Read a chunk; False at the end of the file."""
        file.seek(self.offset)
        data = file.read(CHUNK)
        cut = data.rfind(b"\n") + 1
        if not cut:
            if len(data) == CHUNK:  # no line of ours is that long
                self.offset, self.damaged = self.offset + CHUNK, self.damaged + 1
            else:
                self.torn = bool(data)
            return len(data) == CHUNK
        records, ends = self._parsed(data[:cut])
        self._add(records, ends)
        self.offset += cut
        self.tail = data[max(0, cut - TAIL) : cut]
        return True

    def _parsed(self, data: bytes) -> tuple[list[dict], list[int]]:
        """The records of whole lines and where each ends in the file."""
        lines = data.split(b"\n")[:-1]
        ends = list(itertools.accumulate((len(line) + 1 for line in lines), initial=self.offset))[1:]
        try:  # all at once is twice as fast, and right where every line is an object
            records = from_json(b"[" + b",".join(lines) + b"]")
            if len(records) != len(lines):
                raise ValueError
        except ValueError:
            records = [_parse(line) for line in lines]
        good = [isinstance(one, dict) and _counted(one.get("num_images")) for one in records]
        self.damaged += sum(not fine and bool(line.strip()) for fine, line in zip(good, lines, strict=True))
        return [one for one, fine in zip(records, good, strict=True) if fine], [end for end, fine in zip(ends, good, strict=True) if fine]

    def _add(self, records: list[dict], ends: list[int]) -> None:
        if not records:
            return
        images = [float(record["num_images"]) for record in records]
        before = self.columns["num_images"][-1] if len(self.ends) else -math.inf
        if images[0] <= before or any(b <= a for a, b in itertools.pairwise(images)):
            return self._add_slowly(records, ends, images)
        self._append(records, ends)

    def _add_slowly(self, records: list[dict], ends: list[int], images: list[float]) -> None:
        """Some records take the place of others."""
        start = bisect_left(self.columns["num_images"], min(images)) if len(self.ends) else 0
        if start < len(self.ends):
            self.stamp = f"{_launch}-{next(_counter)}"
            del self.ends[start:]
            for column in self.columns.values():
                del column[start:]
            self._unjudge()
        kept: list[int] = []
        for index, value in enumerate(images):
            while kept and images[kept[-1]] >= value:
                kept.pop()
            kept.append(index)
        self._append([records[i] for i in kept], [ends[i] for i in kept])

    def _append(self, records: list[dict], ends: list[int]) -> None:
        parts = {name: records for name in PLAIN}
        for group in GROUPS:
            inner = [one if isinstance(one := record.get(group), dict) else {} for record in records]
            parts |= {f"{group}/{name}": inner for name in dict.fromkeys(itertools.chain.from_iterable(inner)) if len(name) <= MOST_NAME}
        missing = array("d", [math.nan]) * len(self.ends)
        for name in parts:
            if name not in self.columns and len(self.columns) < MOST_COLUMNS:
                self.columns[name] = array("d", missing)
        for name, column in self.columns.items():
            column.extend(_numbers(parts.get(name, []), name if name in PLAIN else name.partition("/")[2], len(records)))
        self.ends.extend(ends)

    def _same_tail(self) -> bool:
        """Whether the file still holds, before the offset, what was read there."""
        if not self.tail:
            return True
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset - len(self.tail))
                return file.read(len(self.tail)) == self.tail
        except OSError:
            return False

    def judge(self, deadline: float = math.inf) -> Verdict | None:
        """The health after the records judged so far, in the language of whoever asks; None where there is no record."""
        with self.lock:
            names = [name for name in self.columns if name.startswith("stats/") and name.rpartition("/")[2] in ("accuracy", "diversity")]
            images, columns = self.columns.get("num_images"), [(name.partition("/")[2], self.columns[name]) for name in names]
            while images is not None and self.judged < len(self.ends) and time.monotonic() < deadline:
                for index in range(self.judged, min(len(self.ends), self.judged + 1000)):
                    state = self.health.update({"stats": {name: column[index] for name, column in columns}}).state
                    if not self.spans or self.spans[-1][1] != state:
                        self.spans.append((int(images[index]), state))
                    self.judged = index + 1
            return self.health.verdict() if self.judged else None

    def last(self, name: str) -> float:
        """The last value of a column; 0 where there is none or it is not finite."""
        with self.lock:
            column = self.columns.get(name)
            return column[-1] if column and math.isfinite(column[-1]) else 0.0

    def sketch(self) -> list[dict[str, Any]]:
        """The loss of each player in a few bins, for a line as large as a word: [{"player", "values"}], null where nothing is finite."""
        with self.lock:
            key = (self.stamp, len(self.ends))
            if self._sketch[0] != key:
                self._sketch = (key, self._drawn())
            return self._sketch[1]

    def _drawn(self) -> list[dict[str, Any]]:
        sums: dict[str, np.ndarray] = {}
        for name, column in self.columns.items():
            if name.startswith("terms/") and len(self.ends) > 1:
                player, values = name.split("/")[1], np.array(column)
                sums[player] = sums[player] + values if player in sums else values
        edges = np.linspace(0, len(self.ends), min(BINS, len(self.ends)) + 1).astype(int)
        drawn = []
        for player, values in list(sums.items())[:4]:
            means = [_mean(values[a:b]) for a, b in itertools.pairwise(edges)]
            drawn.append({"player": clean(player), "values": means})
        return drawn

    def part(self, after: int = 0, most: int = 1000, known: str = "") -> dict[str, Any]:
        """The records after byte ``after`` as columns of at most about ``most`` values (:func:`thin`). ``known``: the ``stamp`` of an earlier answer.
        "rewound": what the reader has is no longer so, and this is all of it."""
        with self.lock:
            start = bisect_left(self.ends, after) + 1 if after else 0
            found = start == 0 or start <= len(self.ends) and self.ends[start - 1] == after
            rewound = bool(after) and (not found or bool(known) and known != self.stamp)
            columns = thin({name: np.frombuffer(column)[0 if rewound else start :].copy() for name, column in self.columns.items()}, most)
            answer: dict[str, Any] = {name: columns.get(name, []) for name in PLAIN}
            for group in GROUPS:
                answer[group] = {clean(name.partition("/")[2]): values for name, values in columns.items() if name.startswith(f"{group}/")}
            return {"at": self.ends[-1] if self.ends else 0, "stamp": self.stamp, "rewound": rewound, "count": len(self.ends), "columns": answer}


class Logs:
    """The logs of a launch, by folder; the least recently used are emptied when all together hold too many values."""

    def __init__(self):
        self._logs: dict[Path, Log] = {}
        self._lock = threading.Lock()

    def of(self, folder: Path) -> Log:
        with self._lock:
            log = self._logs.pop(folder, None) or Log(folder / "log.jsonl")
            self._logs[folder] = log
            others, total = list(self._logs.items())[:-1], sum(one.num_values for one in self._logs.values())
            for path, one in others:
                if total <= MOST_VALUES:
                    break
                total -= one.num_values
                del self._logs[path]
            return log


def thin(columns: dict[str, np.ndarray], most: int) -> dict[str, list]:
    """Columns (n,) of the same records -> lists of at most ``most`` values: where there are more, the lowest and the highest of every stretch in the order in
    which they came, and a gap behind them where one was not finite. So no spike and no gap is lost. ``num_images``, ``step`` and ``seconds`` say where."""
    n = len(next(iter(columns.values()), ()))
    if n <= most:
        return {name: _listed(values) for name, values in columns.items()}
    size = -(-n // max(1, most // 3))
    starts = np.arange(0, n, size)
    places = np.stack([starts, np.minimum(starts + size // 2, n - 1), np.minimum(starts + size, n) - 1], 1)
    padding, spans = len(starts) * size - n, {}
    for name, values in columns.items():
        if name not in ("num_images", "step", "seconds"):
            spans[name] = _extremes(np.pad(values, (0, padding), mode="edge").reshape(-1, size))
    gaps = np.zeros(len(starts), bool)
    for _, gap in spans.values():
        gaps |= gap
    kept = np.stack([np.ones_like(gaps), np.ones_like(gaps), gaps], 1)
    # of a stretch with a gap in some column, the others repeat their last value in the third place
    thinned = {name: np.concatenate([pair, np.where(gap, np.nan, pair[:, 1])[:, None]], 1)[kept] for name, (pair, gap) in spans.items()}
    return {name: _listed(thinned[name] if name in thinned else values[places][kept]) for name, values in columns.items()}


def _extremes(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(stretches, size) -> the two extremes of each in the order in which they came (NaN where nothing is finite), and whether something is not finite."""
    finite = np.isfinite(rows)
    at = np.stack([np.where(finite, rows, np.inf).argmin(1), np.where(finite, rows, -np.inf).argmax(1)], 1)
    at.sort(1)
    return np.take_along_axis(rows, at, 1), ~finite.all(1)


def _listed(values: np.ndarray) -> list:
    whole = values.tolist()
    return whole if np.isfinite(values).all() else [one if math.isfinite(one) else None for one in whole]


def _mean(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(f"{finite.mean():.4g}") if len(finite) else None


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _counted(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1 << 62


def _numbers(records: list[dict], name: str, count: int) -> array:
    """The values of one column, NaN where there is none."""
    if not records:
        return array("d", [math.nan]) * count
    try:
        return array("d", [record[name] for record in records])
    except (KeyError, TypeError, OverflowError):
        return array("d", [_number(record.get(name)) for record in records])


def _number(value: Any) -> float:
    if isinstance(value, str):
        return NOT_FINITE.get(value, math.nan)
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return math.inf
