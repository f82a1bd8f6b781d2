"""The state of one launch of the playground: its runs, its line of work, and how requests are answered from both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from fastapi import HTTPException, Request, Response

from agon.locale import translate
from agon.playground.jobs import MOST_WAITING, Job, Made, Queue, QueueFull
from agon.playground.library import Library, id_of


class Desk:
    """``root``: the folder of runs. ``first``: the run named at the start. ``data``: folders of data that trainings may use, by id."""

    def __init__(self, root: Path, first: Path | None = None, *, device: str | None = None, game: str | None = None, best: bool = False,
                 data: list[Path] | None = None, most_waiting: int = MOST_WAITING, most_trainings: int = 2):  # fmt: skip
        self.root, self.device, self.most_trainings = Path(root), device, most_trainings
        self.library = Library(self.root, first, device=device, game=game, best=best)
        self.first = id_of(self.library.first) if self.library.first else None
        self.data = {id_of(folder.resolve()): folder.resolve() for folder in data or []}
        self.queue = Queue(most_waiting)

    def submit(self, kind: str, work: Callable[[Job], Made], *, once: bool = False) -> Job:
        """Put work in the line. Raises HTTPException 429 when it is full."""
        try:
            return self.queue.submit(kind, work, once=once)
        except QueueFull:
            raise HTTPException(429, translate("The line is full. Try again in a moment."), {"Retry-After": "1"}) from None

    async def answer(self, request: Request, kind: str, work: Callable[[Job], Made]) -> Response:
        """Put work in the line, wait for it and answer with what it made. A client that goes away takes its job back."""
        job = self.submit(kind, work, once=True)
        waits = [asyncio.ensure_future(each) for each in (self.queue.wait(job), _gone(request))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            if not job.ended:
                self.queue.cancel(job)
        return result_of(job)

    async def body(self, request: Request, limit: int) -> bytes:
        """The body of a request, at most ``limit`` bytes (the guard bounds its time). Raises HTTPException 413 and 400 for an empty one."""
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size <= limit:
                parts.append(part)
            else:
                parts.clear()  # read to its end all the same (the guard has bounds): an answer to a client that is still sending would be lost
        if size > limit:
            raise HTTPException(413, translate("The request is too large."))
        if not size:
            raise HTTPException(400, translate("The request is empty. Expected a file as its body."))
        return b"".join(parts)

    def close(self) -> None:
        self.queue.close()


async def _gone(request: Request) -> None:
    """Ends when the client goes away. A slider gives up many requests in a second, and none of them may be drawn before the newest."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def result_of(job: Job) -> Response:
    """What a job that has ended made. Raises HTTPException for one that failed or was taken back."""
    if job.state == "done" and job.made is not None:
        return Response(job.made.content, media_type=job.made.media_type, headers=job.made.headers)
    if job.state == "failed":
        raise HTTPException(job.status, job.error)
    raise HTTPException(409, translate("The job was taken back."))
