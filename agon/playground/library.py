"""The runs that a launch may open: those under its folder, and the one it was started with.

Pages and programs know a run by an id that is made here; nothing that a client sends is ever used as a path.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import HTTPException

from agon.errors import UserError
from agon.locale import translate

if TYPE_CHECKING:
    from agon.run import Run

MOST_RUNS, MOST_OPEN, DEPTH = 1000, 3, 2
"""Runs that are listed, runs that are kept open, and how deep below the folder a run may lie."""


@dataclass(frozen=True)
class Entry:
    """A run folder. ``name``: its path below the folder of runs, for people."""

    id: str
    name: str
    folder: Path


def id_of(folder: Path) -> str:
    """The same id in every launch: a readable part, and a hash of where the folder lies."""
    from agon.run import slug

    return f"{slug(folder.name)[:40]}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:10]}"


def as_text(found: str) -> str:
    """What can be sent as UTF-8: bytes of a file's name and halves of characters that are no text become question marks."""
    return found.encode("utf-8", "replace").decode()


class Library:
    """Entries by id, and runs opened for them. ``game``: the file of a game from outside Agon, for ``first`` alone."""

    def __init__(self, root: Path, first: Path | None = None, *, device: str | None = None, game: str | None = None, best: bool = False):
        self.root, self.device, self.game, self.best = root.resolve(), device, game, best
        self.first = first.resolve() if first else None
        self._known: dict[str, Entry] = {}
        self._open: OrderedDict[str, tuple[str, Run]] = OrderedDict()
        self._lock = threading.Lock()

    def entries(self) -> list[Entry]:
        """Every run folder, the one named at the start first, then by name."""
        found = [self.first] if self.first else []
        found += [folder for folder in self._below(self.root, DEPTH) if folder != self.first]
        return [Entry(id_of(folder), self._name(folder), folder) for folder in found[:MOST_RUNS]]

    def entry(self, name: str) -> Entry:
        """The entry of an id. Raises HTTPException 404. The folders are gone through again only for an id that was not met yet, or whose run has gone: a slider
        asks for the same one many times a second."""
        if name not in self._known or not _is_run(self._known[name].folder):
            self._known = {entry.id: entry for entry in self.entries()}
        if name in self._known:
            return self._known[name]
        raise HTTPException(404, translate("There is no such run here. It may have been moved or removed: reload the page."))

    def run(self, name: str) -> Run:
        """The run of an id, opened; again where a newer checkpoint has been written. Raises HTTPException 404 and UserError."""
        from agon.run import Run

        entry = self.entry(name)
        stamp = _stamp(entry.folder / ("best" if self.best and entry.folder == self.first else "checkpoints"))
        with self._lock:
            kept = self._open.get(name)
            if kept is None or kept[0] != stamp:
                mine = entry.folder == self.first
                kept = self._open[name] = (stamp, Run(entry.folder, self.device, game=self.game if mine else None, best=self.best and mine))
                while len(self._open) > MOST_OPEN:
                    self._open.popitem(last=False)
            self._open.move_to_end(name)
            return kept[1]

    def _below(self, folder: Path, depth: int) -> list[Path]:
        if _is_run(folder):
            return [folder]
        try:
            inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        except OSError:
            return []
        return [run for path in inner for run in (self._below(path, depth - 1) if depth > 1 else [path] if _is_run(path) else [])]

    def _name(self, folder: Path) -> str:
        inner = folder != self.root and folder.is_relative_to(self.root)
        return as_text(str(folder.relative_to(self.root)) if inner else folder.name)


def _is_run(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def _stamp(folder: Path) -> str:
    """The newest checkpoint's name and when it was written; its content is verified when it is loaded."""
    try:
        newest = max((path for path in folder.iterdir() if path.name.isdecimal()), key=lambda path: path.name, default=None)
        return f"{newest.name} {newest.stat().st_mtime_ns}" if newest else ""
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            return ""
        raise UserError("{folder} cannot be read: {why}. Expected a run folder that you may read.", folder=folder.parent, why=error.strerror) from None
