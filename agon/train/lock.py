"""A run folder is trained by one launch at a time: a lock that the system itself lifts when its process ends, however it ends."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from agon.errors import UserError, writing

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

LOCK = ".lock"
TAKEN = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK)
PATIENCE_SECONDS, LOOK_SECONDS = 0.25, 0.01
"""Who only looks (:func:`held`) has the lock for microseconds; a training waits that long, so that a look never turns one away."""


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold ``folder``/.lock; the folder is made if need be. Raises UserError if another process holds it or nobody may write there; a file
    system that has no locks is taken as it is."""
    path = folder / LOCK
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        path.touch()
    with open(path, "a") as file:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while _taken(file):
            if time.monotonic() > deadline:
                raise UserError(
                    "{folder} is being trained by another process. Expected a run that nobody is training: wait for it, or choose another --out.", folder=folder
                )
            time.sleep(LOOK_SECONDS)
        yield


def held(folder: Path) -> bool:
    """Whether a process trains in ``folder`` at this moment. Nothing is written, and a training that begins meanwhile is not disturbed. False where there is
    no lock file, where it may not be read, and on a file system that has no locks."""
    path = folder / LOCK
    try:
        if not path.is_file():  # a pipe of that name would keep whoever opens it waiting
            return False
        with open(path, "rb" if fcntl else "r+b") as file:
            return _taken(file, shared=True)  # closing lets go of it
    except OSError:
        return False


def _taken(file: IO, shared: bool = False) -> bool:
    """Take the lock if it is free; True if another process has it. ``shared``: together with others who look."""
    try:
        if fcntl:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        else:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except OSError as error:
        return error.errno in TAKEN
    return False
