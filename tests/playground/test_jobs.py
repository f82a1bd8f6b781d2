"""The line of work: in order, bounded, each job its own answer, and nothing that a job does ends it for the others."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from fastapi import HTTPException
from serving import LONG, until

from agon.data.pictures import BadPicture
from agon.errors import UserError
from agon.locale import catalogue, spoken
from agon.playground import jobs
from agon.playground.jobs import Made, Queue, QueueFull


class Bench:
    """A queue whose thread is held up until ``go``."""

    def __init__(self, most: int = 4):
        self.queue, self.gate, self.begun, self.order = Queue(most), threading.Event(), threading.Event(), []
        self.first = self.queue.submit("gate", self._hold)
        assert self.begun.wait(LONG)

    def _hold(self, job):
        self.begun.set()
        while not self.gate.wait(0.01):
            job.check()
        return Made(b"first", "text/plain")

    def add(self, name: str):
        def work(job):
            self.order.append(name)
            return Made(name.encode(), "text/plain")

        return self.queue.submit(name, work)

    def go(self):
        self.gate.set()
        until(lambda: all(job.ended for job in list(self.queue._jobs.values())))


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.gate.set()
    made.queue.close()
    assert not made.queue._thread.is_alive()


def run(queue, work, **how):
    """One job, until it has ended."""
    job = queue.submit("one", work, **how)
    until(lambda: job.ended)
    return job


def test_first_come_first_served_and_everybody_knows_their_place(bench):
    waiting = [bench.add(name) for name in "abcd"]
    assert [bench.queue.position(job) for job in (bench.first, *waiting)] == [0, 1, 2, 3, 4]
    assert [job.state for job in (bench.first, *waiting)] == ["working"] + ["waiting"] * 4
    assert bench.queue.num_waiting == 4
    bench.go()
    assert bench.order == list("abcd")
    assert [job.made.content for job in waiting] == [b"a", b"b", b"c", b"d"]
    assert [bench.queue.position(job) for job in waiting] == [0] * 4
    assert all(job.state == "done" and job.progress == 1 for job in waiting)


def test_the_line_is_bounded_and_has_room_again_once_one_has_left(bench):
    waiting = [bench.add(name) for name in "abcd"]
    with pytest.raises(QueueFull):
        bench.add("e")
    bench.queue.cancel(waiting[1])
    late = bench.add("f")
    assert bench.queue.position(late) == 4
    bench.go()
    assert bench.order == list("acdf")


def test_a_job_that_waits_is_taken_back_at_once(bench):
    a, b = bench.add("a"), bench.add("b")
    bench.queue.cancel(a)
    assert a.state == "cancelled" and a.made is None and bench.queue.position(b) == 1
    bench.queue.cancel(a)  # once more changes nothing
    bench.go()
    assert bench.order == ["b"]


def test_a_job_that_is_worked_on_is_taken_back_at_its_next_check(bench):
    bench.queue.cancel(bench.first)
    until(lambda: bench.first.ended)
    assert bench.first.state == "cancelled" and bench.first.made is None
    assert run(bench.queue, lambda job: Made(b"next", "text/plain")).state == "done"


def test_a_job_that_ended_stays_what_it_is_when_it_is_taken_back(bench):
    bench.go()
    bench.queue.cancel(bench.first)
    assert bench.first.state == "done" and bench.first.made.content == b"first"


def raising(error):
    def work(job):
        raise error

    return work


@pytest.mark.parametrize(("error", "status", "says"), [
    (UserError("There are {count} of them.", count=3), 400, "There are 3 of them."), (BadPicture("is empty\n(0 bytes)"), 400, "is empty (0 bytes)"),
    (HTTPException(404, "There is no such run here."), 404, "There is no such run here."), (RuntimeError("out of\nmemory"), 500, "RuntimeError: out of memory"),
    (MemoryError(), 500, "MemoryError: "), (SystemExit(1), 500, "SystemExit: 1"), (RecursionError("deep"), 500, "RecursionError: deep"),
    (StopIteration(), 500, "StopIteration: "),
], ids=lambda value: type(value).__name__)  # fmt: skip
def test_a_job_that_fails_says_so_and_the_next_one_is_worked_on(bench, error, status, says):
    bench.go()
    failed = run(bench.queue, raising(error))
    assert (failed.state, failed.status, failed.error, failed.made) == ("failed", status, says, None)
    assert run(bench.queue, lambda job: Made(b"next", "text/plain")).made.content == b"next"


@pytest.mark.parametrize("language", ["zh_CN", "en"])
def test_an_error_is_in_the_language_of_who_asked(bench, language):
    """The thread has a language of its own: the environment's."""
    template = next(key for key in catalogue("zh_CN") if "{" not in key)

    def work(job):
        raise UserError(template)

    before = spoken.set(language)
    try:
        job = bench.queue.submit("one", work)
    finally:
        spoken.reset(before)
    bench.go()
    assert job.error == catalogue(language).get(template, template)


def test_what_a_job_holds_on_to_is_let_go(bench):
    jobs_ = [bench.add("a"), bench.add("b")]
    bench.queue.cancel(jobs_[0])
    bench.go()
    assert [job.work for job in jobs_] == [None, None]


def test_finished_jobs_are_kept_within_bounds_of_number_and_bytes_and_time(bench, monkeypatch):
    monkeypatch.setattr(jobs, "KEPT", 5)
    monkeypatch.setattr(jobs, "KEPT_BYTES", 1000)
    bench.go()
    small = [run(bench.queue, lambda job: Made(b"x", "text/plain")) for _ in range(8)]
    assert [bench.queue.find(job.id) is not None for job in small] == [False] * 3 + [True] * 5
    big = [run(bench.queue, lambda job: Made(bytes(400), "text/plain")) for _ in range(4)]
    assert [bench.queue.find(job.id) is not None for job in big] == [False, False, True, True]
    huge = run(bench.queue, lambda job: Made(bytes(5000), "text/plain"))
    assert bench.queue.find(huge.id) is huge, "the newest is there however large it is: somebody has just asked for it"
    assert len(bench.queue._jobs) == 1
    later = time.monotonic() + jobs.KEPT_SECONDS + 1
    monkeypatch.setattr(jobs.time, "monotonic", lambda: later)
    assert bench.queue.find(huge.id) is None


def test_a_job_whose_asker_waits_for_it_is_not_kept(bench):
    bench.go()
    once = run(bench.queue, lambda job: Made(b"x", "text/plain"), once=True)
    assert once.made.content == b"x" and bench.queue.find(once.id) is None


def test_waiting_ends_with_the_job_or_with_patience_and_leaves_nothing_behind(bench):
    async def scene():
        assert await bench.queue.wait(bench.first, 0.01) is False
        for _ in range(20):
            await bench.queue.wait(bench.first, 0.001)
        assert len(bench.first.wakers) == 0
        both = asyncio.gather(bench.queue.wait(bench.first, LONG), bench.queue.wait(bench.first))
        await asyncio.sleep(0)
        bench.gate.set()
        assert await both == [True, True]
        assert await bench.queue.wait(bench.first) is True

    asyncio.run(asyncio.wait_for(scene(), LONG))


def test_closing_ends_everything(bench):
    waiting = bench.add("a")
    bench.queue.close()
    assert bench.first.state == waiting.state == "cancelled"
    assert not bench.queue._thread.is_alive()
    with pytest.raises(QueueFull):
        bench.add("b")


def test_many_threads_get_each_their_own(bench):
    """200 jobs from 8 threads, some taken back: none lost, none twice, none another's."""
    bench.go()
    queue, found, faults = Queue(1000), {}, []

    def asker(which):
        mine = []
        for index in range(25):
            name = f"{which}-{index}"
            mine.append((name, queue.submit("one", lambda job, name=name: Made(name.encode(), "text/plain"), once=True)))
            if index % 5 == 4:
                queue.cancel(mine[-1][1])
        for name, job in mine:
            until(lambda job=job: job.ended)
            found[name] = job
            if job.state == "done" and job.made.content != name.encode():
                faults.append(name)

    threads = [threading.Thread(target=asker, args=(which,)) for which in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    queue.close()
    assert len(found) == 200 and not faults
    assert {job.state for job in found.values()} <= {"done", "cancelled"}
    assert all(job.state == "done" for name, job in found.items() if int(name.partition("-")[2]) % 5 != 4)
    assert not queue._jobs


# --- over HTTP ----------------------------------------------------------------------------------------------------------------------------------


def test_a_job_is_followed_fetched_and_taken_back_over_http(served):
    gate = threading.Event()
    first = served.desk.submit("walk", lambda job: gate.wait(LONG) and Made(b"GIF", "image/gif", {"X-Agon-Frames": "3"}))
    second = served.desk.submit("walk", lambda job: Made(b"2", "text/plain"))
    until(lambda: first.state == "working")
    assert served.ask(f"/api/jobs/{second.id}").body == (
        f'{{"id":"{second.id}","kind":"walk","state":"waiting","position":1,"progress":0.0,"error":""}}'.encode()
    )
    assert served.ask(f"/api/jobs/{first.id}/result").status == 409
    assert served.ask(f"/api/jobs/{second.id}", method="DELETE").status == 200
    assert served.ask(f"/api/jobs/{second.id}/result").status == 409
    gate.set()
    until(lambda: first.ended)
    reply = served.ask(f"/api/jobs/{first.id}/result")
    assert (reply.status, reply.body, reply.headers["content-type"], reply.headers["x-agon-frames"]) == (200, b"GIF", "image/gif", "3")
    assert served.ask("/api/jobs/nobody").status == 404
