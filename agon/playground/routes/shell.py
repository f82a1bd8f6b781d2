"""What all rooms share: words, jobs, what this launch is."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Path, Response
from pydantic import BaseModel

import agon
from agon.locale import catalogue, translate
from agon.playground.desk import Desk, result_of
from agon.playground.jobs import Job

JobId = Annotated[str, Path(min_length=1, max_length=64)]


class Problem(BaseModel):
    """Every answer but a good one."""

    error: str


PROBLEMS: dict[int | str, dict] = {code: {"model": Problem} for code in (400, 401, 403, 404, 408, 409, 413, 415, 422, 429)}
"""The ``responses`` of every route."""


class About(BaseModel):
    """Of this launch. ``first``: the id of the run it was started with."""

    version: str
    first: str | None
    waiting: int


class JobState(BaseModel):
    """``position``: 0 while it is being worked on and afterwards, 1: next in the line."""

    id: str
    kind: str
    state: Literal["waiting", "working", "done", "failed", "cancelled"]
    position: int
    progress: float
    error: str


def state_of(desk: Desk, job: Job) -> JobState:
    return JobState(id=job.id, kind=job.kind, state=job.state, position=desk.queue.position(job), progress=job.progress, error=job.error)


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(prefix="/api", tags=["shell"], responses=PROBLEMS)

    def job_of(name: str) -> Job:
        job = desk.queue.find(name)
        if job is None:
            raise HTTPException(404, translate("There is no such job: it was fetched long ago, or never there."))
        return job

    @routes.get("/about")
    def about() -> About:
        return About(version=agon.__version__, first=desk.first, waiting=desk.queue.num_waiting)

    @routes.get("/strings")
    def strings(lang: Literal["en", "zh"] = "en") -> dict[str, str]:
        """English template -> translated template; empty for English."""
        return catalogue("zh_CN") if lang == "zh" else {}

    @routes.get("/jobs/{name}")
    def job(name: JobId) -> JobState:
        return state_of(desk, job_of(name))

    @routes.get("/jobs/{name}/result", response_class=Response)
    def result(name: JobId) -> Response:
        found = job_of(name)
        if not found.ended:
            raise HTTPException(409, translate("The job has not ended yet. Ask again when its state is done."))
        return result_of(found)

    @routes.delete("/jobs/{name}")
    def cancel(name: JobId) -> JobState:
        found = job_of(name)
        desk.queue.cancel(found)
        return state_of(desk, found)

    return routes
