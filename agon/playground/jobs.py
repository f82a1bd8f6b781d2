"""Work that takes a while, in a line: bounded, first come first served, each with its place in the line, and each can be taken back.

One thread works, because one model on one device gains nothing from two. What is finished is kept for a while, within a bound of bytes, so that whoever
asked can fetch it.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import secrets
import threading
import time
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.exceptions import HTTPException

from agon.data.pictures import BadPicture
from agon.errors import UserError

MOST_WAITING = 256
KEPT, KEPT_BYTES, KEPT_SECONDS = 64, 64 << 20, 600.0
"""How many finished jobs are kept, with how many bytes together, and for how long."""


class QueueFull(Exception):
    """There is no room in the line; try again later."""


class Cancelled(Exception):
    """The job was taken back."""


@dataclass(frozen=True)
class Made:
    """What a job made: a file's bytes and what they are."""

    content: bytes
    media_type: str
    headers: dict[str, str] = field(default_factory=dict)


class Job:
    """One piece of work. ``state``: waiting, working, done, failed or cancelled. ``progress``: 0 to 1, set by the work, which also calls :meth:`check`."""

    def __init__(self, kind: str, work: Callable[[Job], Made], once: bool):
        self.id, self.kind, self.work, self.once = secrets.token_urlsafe(12), kind, work, once
        self.state, self.progress, self.error, self.status = "waiting", 0.0, "", 200
        self.made: Made | None = None
        self.ended_at = 0.0
        self.cancelled = threading.Event()
        self.context = contextvars.copy_context()  # the language of whoever asked
        self.wakers: list[Callable[[], None]] = []

    def check(self) -> None:
        """Raise Cancelled if the job was taken back: call it between parts of the work."""
        if self.cancelled.is_set():
            raise Cancelled

    @property
    def ended(self) -> bool:
        return self.state in ("done", "failed", "cancelled")


class Queue:
    """The line and the thread that works on it. ``close`` ends both."""

    def __init__(self, most_waiting: int = MOST_WAITING):
        self.most_waiting = most_waiting
        self._waiting: deque[Job] = deque()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._now: Job | None = None
        self._lock, self._closing = threading.Condition(), False
        self._thread = threading.Thread(target=self._work, name="agon-queue", daemon=True)
        self._thread.start()

    def submit(self, kind: str, work: Callable[[Job], Made], *, once: bool = False) -> Job:
        """Put work at the end of the line. ``once``: who asked waits for it, and nothing is kept. Raises QueueFull."""
        job = Job(kind, work, once)
        with self._lock:
            if len(self._waiting) >= self.most_waiting or self._closing:
                raise QueueFull
            self._waiting.append(job)
            self._jobs[job.id] = job
            self._lock.notify()
        return job

    def find(self, name: str) -> Job | None:
        """A job by its id; None for one that is not (or no longer) there."""
        with self._lock:
            self._forget()
            return self._jobs.get(name)

    def position(self, job: Job) -> int:
        """0: being worked on or ended; 1: next; ..."""
        with self._lock:
            return self._waiting.index(job) + 1 if job in self._waiting else 0

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    def cancel(self, job: Job) -> None:
        """Take a job back: at once if it waits, at its next check if it is being worked on."""
        job.cancelled.set()
        with self._lock:
            if job not in self._waiting:
                return
            self._waiting.remove(job)
        self._end(job, "cancelled")

    async def wait(self, job: Job, seconds: float | None = None) -> bool:
        """Whether the job has ended, at the latest after ``seconds``."""
        loop, event = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the server has stopped meanwhile
                loop.call_soon_threadsafe(event.set)

        with self._lock:
            if job.ended:
                return True
            job.wakers.append(wake)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), seconds)
        with self._lock:
            job.wakers = [each for each in job.wakers if each is not wake]
        return job.ended

    def close(self) -> None:
        with self._lock:
            self._closing = True
            left, now = list(self._waiting), self._now
            self._waiting.clear()
            self._lock.notify_all()
        for job in left:
            self._end(job, "cancelled")
        if now is not None:
            now.cancelled.set()
        self._thread.join(timeout=10)

    def _work(self) -> None:
        while True:
            with self._lock:
                while not self._waiting and not self._closing:
                    self._lock.wait()
                if self._closing:
                    return
                job = self._now = self._waiting.popleft()
                job.state = "working"
            self._do(job)
            self._now = None

    def _do(self, job: Job) -> None:
        try:
            job.check()
            job.made = job.context.run(job.work, job)
            job.check()
        except Cancelled:
            self._end(job, "cancelled")
        except (UserError, BadPicture) as error:
            self._end(job, "failed", " ".join(str(error).split()), 400)
        except HTTPException as error:  # such as a run that was removed while its job waited
            self._end(job, "failed", str(error.detail), error.status_code)
        except (Exception, SystemExit) as error:  # a fault of ours must not end the thread that everybody waits for
            traceback.print_exc()
            self._end(job, "failed", f"{type(error).__name__}: {' '.join(str(error).split())}", 500)
        else:
            job.progress = 1.0
            self._end(job, "done")

    def _end(self, job: Job, state: str, error: str = "", status: int = 200) -> None:
        with self._lock:
            job.error, job.status, job.ended_at = error, status, time.monotonic()
            if state == "cancelled":
                job.made = None
            job.state = state
            wakers, job.wakers, job.work = job.wakers, [], None  # what the work holds on to is let go
            if job.once:
                self._jobs.pop(job.id, None)
            self._forget()
        for wake in wakers:
            wake()

    def _forget(self) -> None:
        """Drop finished jobs that nobody fetched: too old, too many, or too many bytes together."""
        ended = sorted((job for job in self._jobs.values() if job.ended), key=lambda job: -job.ended_at)  # the newest first
        total, now = 0, time.monotonic()
        for index, job in enumerate(ended):
            total += len(job.made.content) if job.made else 0
            if index >= KEPT or (total > KEPT_BYTES and index) or now - job.ended_at > KEPT_SECONDS:
                self._jobs.pop(job.id, None)
