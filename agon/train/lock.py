"""A run folder is trained by one launch at a time: a lock that the system itself lifts when its process ends, however it ends."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agon.errors import UserError, writing

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

LOCK = ".lock"
TAKEN = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold ``folder``/.lock; the folder is made if need be. Raises UserError if another process holds it or nobody may write there; a file
    system that has no locks is taken as it is."""
    path = folder / LOCK
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        path.touch()
    with open(path, "a") as file:
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            else:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in TAKEN:
                raise UserError(
                    "{folder} is being trained by another process. Expected a run that nobody is training: wait for it, or choose another --out.", folder=folder
                ) from None
        yield
