"""Trainings that are started, stopped and resumed from the page.

Each is ``agon train`` in a process and process group of its own, started with a list of arguments and never by a shell. A server that ends leaves its
trainings running: a run folder explains itself, keeps its checkpoints and can be resumed. A later server knows by the lock that they train, and stops none that
it did not start itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import HTTPException

from agon import catalog
from agon.config import build, flatten, to_dict
from agon.data.inputs import is_recipe
from agon.data.names import DATASETS
from agon.errors import UserError, writing
from agon.locale import language, translate
from agon.playground.library import Entry, id_of
from agon.playground.research import files
from agon.playground.research.forms import LENGTH, Wish, names_a_file, to_text
from agon.playground.research.status import Started
from agon.run import slug
from agon.train.lock import held

MOST_NAME, MOST_SAID, KEPT = 60, 600, 50
OPTION = re.compile(r"[a-z][a-z0-9_]*\Z")
SECRETS = ("AGON_PASSWORD",)


@dataclass
class Launch:
    """A process that was started for a run folder. ``written``: the size of events.jsonl before."""

    entry: Entry
    process: subprocess.Popen
    output: Path
    written: int
    game: str
    data: str
    stopping: bool = False
    begun: bool = False

    @property
    def lives(self) -> bool:
        return self.process.poll() is None

    def state(self) -> Started:
        """How it stands, for :func:`agon.playground.research.status.state_of`."""
        self.begun = self.begun or held(self.entry.folder) or files.stamp(self.entry.folder / "events.jsonl")[1] > self.written
        code = self.process.poll()
        return Started(code, self.begun, self.stopping, said(self.output) if code else "")


class Trainings:
    """The trainings of this launch, by the id of their run."""

    def __init__(self, root: Path, most: int, device: str | None = None):
        self.root, self.most, self.device = root.resolve(), most, device
        self._launches: dict[str, Launch] = {}
        self._lock = threading.Lock()

    def of(self, name: str) -> Launch | None:
        return self._launches.get(name)

    def waiting(self) -> list[Launch]:
        """Those whose folder is no run yet: they are being started, or have failed at it."""
        with self._lock:
            found = [one for one in self._launches.values() if not (one.entry.folder / "config.json").is_file()]
            for one in found:
                if not one.lives:
                    with contextlib.suppress(OSError):
                        one.entry.folder.rmdir()  # if it is still empty
        return [one for one in found if one.lives or not one.stopping]

    def start(self, wish: Wish, data: dict[str, Path], entries: Iterable[Entry]) -> Entry:
        """Start a wish that :func:`agon.playground.research.forms.check` found right. Raises HTTPException 409 when too many train already."""
        words = ["--data", str(data.get(wish.data, wish.data))]
        words += ["--preset", wish.preset] if wish.preset else []
        words += ["--steps", str(wish.steps)] if wish.steps is not None else []
        words += ["--images", str(wish.images)] if wish.images is not None else []
        words += ["--minutes", str(wish.minutes)] if wish.minutes is not None else []
        words += [f"--{name}={to_text(value)}" for name, value in wish.fields.items()]
        with self._lock:
            self._room(entries)
            label = data[wish.data].name if wish.data in data else wish.data
            folder = self._folder(wish.name or f"{wish.game}-{label}")
            return self._launch(Entry(id_of(folder), folder.name, folder), [wish.game, *words], wish.game, label)

    def resume(self, entry: Entry, config: dict[str, Any], entries: Iterable[Entry], *, images: int | None = None, minutes: float | None = None) -> Entry:
        """Go on with a run, from what its config.json says: never by the line that is noted there. Raises HTTPException 409 and UserError."""
        words = again(config, images)
        words += ["--minutes", str(minutes)] if minutes is not None else []
        with self._lock:
            if held(entry.folder) or (found := self._launches.get(entry.id)) and found.lives:
                raise HTTPException(409, translate("This run is being trained already."))
            self._room(entries)
            return self._launch(entry, words, words[0], "")

    def stop(self, entry: Entry) -> Launch:
        """Ask a training to save and leave. Raises HTTPException 409 for one that this server did not start."""
        found = self._launches.get(entry.id)
        if found is None or not found.lives:
            if held(entry.folder):
                raise HTTPException(409, translate("This training was not started from this page. Stop it where it was started, with Ctrl-C."))
            raise HTTPException(409, translate("This run is not being trained."))
        found.process.send_signal(signal.SIGTERM if os.name == "posix" else signal.CTRL_BREAK_EVENT)
        found.stopping = True
        return found

    def _room(self, entries: Iterable[Entry]) -> None:
        busy = {name for name, one in self._launches.items() if one.lives} | {entry.id for entry in entries if held(entry.folder)}
        if len(busy) >= self.most:
            raise HTTPException(409, translate("{count} trainings are running, and no more than that at once. Stop one, or wait.").format(count=len(busy)))

    def _folder(self, name: str) -> Path:
        """A new folder below the root, never one that is there."""
        base = re.sub(r"-*\.[-.]*", ".", slug(name))[:MOST_NAME].strip("-.") or "run"
        with writing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            for number in range(1, 10_000):
                folder = self.root / (base if number == 1 else f"{base}-{number}")
                if folder.exists() or _output(folder).exists():
                    continue
                try:
                    folder.mkdir()
                    return folder
                except FileExistsError:  # somebody was faster
                    continue
        raise UserError("There are too many runs called {name}. Choose another name.", name=base)

    def _launch(self, entry: Entry, words: list[str], game: str, data: str) -> Entry:
        output = _output(entry.folder)
        command = [sys.executable, "-m", "agon", "train", *words, "--out", str(entry.folder), *(["--device", self.device] if self.device else [])]
        environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
        environment |= {"AGON_LANG": language(), "PYTHONUNBUFFERED": "1"}
        apart: dict[str, Any] = {"start_new_session": True} if os.name == "posix" else {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        with writing(output), open(output, "ab") as file:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, env=environment, **apart)
        self._launches[entry.id] = Launch(entry, process, output, files.stamp(entry.folder / "events.jsonl")[1], game, data)
        for name in [name for name, one in self._launches.items() if not one.lives][:-KEPT]:
            del self._launches[name]
        return entry


def again(config: dict[str, Any], images: int | None = None) -> list[str]:
    """The arguments of ``agon train`` (without --out) that go on with the run of a config.json. Raises UserError where that cannot or must not be: a run folder
    may come from anybody, so no game from outside the catalog and no field that names a file is taken from it."""
    game, data, stored = config.get("game"), config.get("data"), config.get("fields")
    if not isinstance(game, str) or game not in catalog.games():
        raise UserError("The game of this run is not in the catalog. Resume it on the command line: agon train GAME --out RUN.")
    if not isinstance(data, dict) or not isinstance(stored, dict):
        raise UserError("config.json of this run is damaged. Restore it.")
    cls = catalog.load(game)
    preset = config.get("preset")
    if preset not in cls.presets:
        raise UserError("{game} has no preset '{preset}' any more. Resume the run with the version of Agon that made it.", game=game, preset=preset)
    fields = flatten(to_dict(build(cls.Config, stored)))
    if images is not None:
        fields[LENGTH] = images
    base = flatten(to_dict(build(cls.Config, cls.presets[preset].fields)))
    changed = {name: value for name, value in fields.items() if value != base[name] or name == LENGTH}
    for name, value in changed.items():
        if names_a_file(value):
            raise UserError("'{field}' of this run names a file, which may be executed. Resume it on the command line: agon train.", field=name)
    return [game, *_data_words(data), "--preset", preset, *(f"--{name}={to_text(value)}" for name, value in changed.items())]


def said(output: Path) -> str:
    """The last line that a training wrote, which says why it failed."""
    try:
        with open(output, "rb") as file:
            file.seek(max(0, output.stat().st_size - 8192))
            lines = [line.strip() for line in re.split(r"[\r\n]+", file.read().decode("utf-8", "replace")) if line.strip()]
    except OSError:
        return ""
    return files.clean(lines[-1].removeprefix("agon: ")[-MOST_SAID:]) if lines else ""


def listed(launch: Launch) -> dict[str, Any]:
    """The row of a training whose folder is no run yet (:func:`agon.playground.research.status.row`)."""
    state = launch.state()
    failed = state.code is not None
    why = (state.said or translate("It ended before it began.")) if failed else translate("It is being started.")
    return {
        "id": launch.entry.id, "name": launch.entry.name, "state": "failed" if failed else "waiting", "why": why, "game": launch.game, "data": launch.data,
        "preset": "", "seed": 0, "images": 0, "steps": 0, "seconds": 0.0, "speed": 0.0, "total": 0, "changed": launch.output.stat().st_mtime, "health": None,
        "sketch": [], "reading": False, "problems": [], "stopping": launch.stopping and not failed, "ours": not failed,
    }  # fmt: skip


def _data_words(data: dict[str, Any]) -> list[str]:
    path, name, options = data.get("path"), data.get("name"), data.get("options") or {}
    if path is not None:
        if not isinstance(path, str) or not Path(path).is_absolute() or not Path(path).exists():
            raise UserError("The data of this run are not there any more: {path}. Restore them.", path=path)
    elif name not in DATASETS:
        raise UserError("The data of this run came from Python and cannot be opened again. Resume it from there: agon.train(..., out=RUN).")
    words = ["--data", str(path or name)]
    for option, value in options.items() if isinstance(options, dict) else ():
        if not OPTION.match(option) or isinstance(value, str) and is_recipe(value) and names_a_file(value):
            raise UserError("The option '{option}' of this run's data cannot be used here. Resume it on the command line: agon train.", option=option)
        words.append(f"--data.{option}={json.dumps(value)}")
    return words


def _output(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.out.txt")
