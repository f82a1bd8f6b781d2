"""A real server on a real socket, and clients that dawdle, lie and never end: they are dropped, and everybody else is answered meanwhile."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import socket
import threading
import time

import pytest
from fastapi import Request
from serving import LONG, Served, reply_of, serving, until

from agon.playground import guard, serve
from agon.playground.desk import Desk
from agon.playground.jobs import Made

UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + base64.b64encode(bytes(16)).decode())


@pytest.fixture
def hasty(tmp_path, monkeypatch):
    """A server whose deadlines are short: the tests wait for them."""
    monkeypatch.setattr(serve.Deadline, "seconds", 1.5)
    monkeypatch.setattr(serve.Deadline, "stalled", 0.5)
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.5)
    with serving(Desk(tmp_path / "runs", most_trainings=0)) as found:
        yield found


def ended(plug: socket.socket) -> bool:
    """Whether the other side has closed, with or without a word."""
    with contextlib.suppress(ConnectionError):
        while plug.recv(1 << 16):
            pass
    return True


def test_two_hundred_slow_connections_are_dropped_and_a_normal_client_is_answered_meanwhile(hasty):
    """Header bytes now and then, for as long as it is let (slowloris)."""
    head = hasty.head("/api/about", "X-Slow: ")[:-4]
    plugs = [hasty.connect() for _ in range(200)]
    until(lambda: hasty.connections >= 200)
    for plug in plugs[:150]:  # the others do not say a word
        plug.sendall(head)
    for _ in range(4):
        for plug in plugs[:150]:
            with contextlib.suppress(OSError):
                plug.sendall(b"a")
        assert hasty.ask().status == 200
        time.sleep(0.1)
    assert all(ended(plug) for plug in plugs)
    until(lambda: hasty.connections == 0)
    for plug in plugs:
        plug.close()
    assert hasty.ask().status == 200


def test_a_trickle_of_bytes_does_not_move_the_deadline(hasty):
    """Each byte in time is not a request in time."""
    with hasty.connect() as plug:
        plug.sendall(b"GET /api/about HTTP/1.1\r\nX: ")
        began = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - began < LONG:
                plug.sendall(b"a")
                time.sleep(0.05)
        assert time.monotonic() - began < LONG


@pytest.mark.parametrize("more", [("Content-Length: 5",), ("Transfer-Encoding: chunked",), ("Content-Length: 5", "Expect: 100-continue"), ()], ids=str)
def test_a_handshake_that_never_ends_is_dropped(hasty, more):
    """A WebSocket's handshake that announces a body, without a token even: uvicorn hands it to a reader that would wait for ever."""
    plugs = [hasty.connect() for _ in range(20)]
    for plug in plugs:
        plug.sendall(hasty.head("/api/learn/play", *UPGRADE, *more, token=False) + b"xx")
    assert all(ended(plug) for plug in plugs)
    until(lambda: hasty.connections == 0)


@pytest.mark.parametrize("lines", [
    ("X: " + "a" * 9000,), tuple(f"X-{index}: a" for index in range(200)), ("Sec-WebSocket-Key: short",), ("Sec-WebSocket-Version: 99",), ("X: \udcff",),
    ("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99",), ("Sec-WebSocket-Extensions: ;;==",), ("Upgrade: h2c",),
], ids=lambda lines: lines[0][:50])  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_handshakes_that_make_no_sense_leave_nothing_behind(hasty, lines, method):
    """A connection that is counted for ever would in time use up the server's places."""
    for _ in range(5):
        with hasty.connect() as plug:
            plug.sendall(hasty.head("/api/learn/play", *UPGRADE, *lines, method=method))
            plug.shutdown(socket.SHUT_WR)
            ended(plug)
    until(lambda: hasty.connections == 0)
    assert hasty.ask().status == 200


# --- bodies ---------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"])
def test_json_is_bounded_however_its_type_is_spelt(served, kind):
    size = guard.MOST_JSON + 1
    reply = served.ask("/api/research/check", f"Content-Type: {kind}", f"Content-Length: {size}", method="POST")
    assert reply.status == 413 and reply.error


def test_a_body_that_is_announced_too_large_is_refused_before_it_is_sent(served):
    for length in (guard.MOST_BODY + 1, 10**19):
        reply = served.ask("/api/research/check", f"Content-Length: {length}", method="POST")
        assert reply.status == 413 and reply.error


@pytest.mark.parametrize("lines", [
    ("Content-Length: -1",), ("Content-Length: +5",), ("Content-Length: 0x5",), ("Content-Length: 5_0",), ("Content-Length: \u0665",),
    ("Content-Length: five",),
    ("Content-Length: 5", "Content-Length: 6"), ("Content-Length: 5, 6",), ("Content-Length: " + "9" * 5000,), ("Content-Length:",),
    ("Transfer-Encoding: gzip",), ("Transfer-Encoding: chunked, identity",), ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    ("Transfer-Encoding: xchunked",), ("Transfer-Encoding : chunked",), ("Content-Length : 5",),
], ids=lambda lines: " | ".join(lines)[:40])  # fmt: skip
def test_a_length_that_is_none_is_refused(served, lines):
    """What two readers may take differently is read by neither (request smuggling)."""
    with served.connect() as plug:
        plug.sendall(served.head("/api/research/check", "Content-Type: application/json", *lines, method="POST") + b"hello")
        assert reply_of(plug).status in (400, 413, 501)
        assert ended(plug)


CHUNKS = [b"zz\r\nhello\r\n", b"-5\r\nhello\r\n", b"5\r\nhelloworld\r\n0\r\n\r\n", b"f" * 40 + b"\r\n", b"\r\n\r\n", b"5;" + b"x" * 70_000]


@pytest.mark.parametrize("body", CHUNKS, ids=lambda body: repr(body[:20]))
def test_chunks_that_are_none_are_refused(hasty, body):
    with hasty.connect() as plug:
        plug.sendall(hasty.head("/api/research/check", "Content-Type: application/json", "Transfer-Encoding: chunked", method="POST"))
        with contextlib.suppress(ConnectionError):
            plug.sendall(body)
        assert reply_of(plug).status in (0, 400, 408, 413, 422)
    assert hasty.ask().status == 200


def test_what_is_smuggled_behind_a_body_is_a_request_of_its_own(served):
    """And needs a token of its own."""
    inner = b"GET /api/about HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    with served.connect() as plug:
        plug.sendall(served.head("/api/research/check", "Content-Type: application/json", "Content-Length: 2", method="POST") + b"{}" + inner)
        first = reply_of(plug)
        assert first.status == 422
        rest = first.body[int(first.headers["content-length"]) :]
        while b"\r\n\r\n" not in rest and (part := plug.recv(1 << 16)):
            rest += part
        assert rest.startswith(b"HTTP/1.1 403")


def test_a_body_without_an_end_is_refused_once_it_is_too_large(served):
    """Chunks for ever: the server stops reading, whatever the client goes on to say."""
    sent, chunk = 0, b"%x\r\n" % (1 << 16) + bytes(1 << 16) + b"\r\n"
    with served.connect() as plug:
        plug.sendall(served.head("/api/research/check", "Content-Type: application/json", "Transfer-Encoding: chunked", method="POST"))
        with contextlib.suppress(ConnectionError):
            while sent < 64 << 20:
                plug.sendall(chunk)
                sent += 1 << 16
        assert sent < 64 << 20, "64 MB were taken"
    until(lambda: served.connections == 0)
    assert served.ask().status == 200


@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
def test_a_body_that_does_not_arrive_is_not_waited_for(hasty, framing):
    """A length that is a lie (too large), and chunks that come now and then: 408 in words, and then the line is cut."""
    with hasty.connect() as plug:
        plug.sendall(hasty.head("/api/research/check", "Content-Type: application/json", framing, method="POST"))
        stop = threading.Event()

        def trickle():
            with contextlib.suppress(OSError):
                while not stop.wait(0.1):
                    plug.sendall(b"1\r\n \r\n" if "chunked" in framing else b" ")

        thread = threading.Thread(target=trickle)
        thread.start()
        reply = reply_of(plug)
        stop.set()
        thread.join(LONG)
        assert reply.status == 408 and reply.error
        assert ended(plug)
    until(lambda: hasty.connections == 0)


def test_a_password_that_does_not_arrive_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.3)
    with serving(Desk(tmp_path), host="127.0.0.2", password="x") as shared, socket.create_connection(("127.0.0.2", shared.port), LONG) as plug:
        plug.sendall(b"POST /login HTTP/1.1\r\nHost: 127.0.0.2:%d\r\nContent-Length: 9\r\n\r\npass" % shared.port)
        reply = reply_of(plug)
        assert reply.status == 408 and reply.error


# --- answers --------------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def generous(hasty):
    """The hasty server with one answer of 8 MB: ``/static/large``, made by a job."""
    content = os.urandom(8 << 20)
    job = hasty.desk.submit("large", lambda job: Made(content, "application/octet-stream"))
    until(lambda: job.ended)
    hasty.large = f"/api/jobs/{job.id}/result"
    return hasty


def test_who_does_not_read_an_answer_is_dropped(generous: Served):
    """Some take nothing, some a little now and then; somebody else gets all of it meanwhile."""
    plugs = [generous.connect(buffer=4096) for _ in range(20)]
    for plug in plugs:
        plug.sendall(generous.head(generous.large))
    for _ in range(3):
        for plug in plugs[:5]:
            assert plug.recv(10)
        assert len(generous.ask(generous.large).body) == 8 << 20
    until(lambda: generous.connections == 0)
    for plug in plugs:
        plug.close()


def test_who_reads_slowly_but_reads_gets_all_of_it(generous):
    with generous.connect(buffer=1 << 16) as plug:
        plug.sendall(generous.head(generous.large, "Connection: close"))
        size = 0
        while part := plug.recv(1 << 18):
            size += len(part)
            time.sleep(0.005)
        assert size > 8 << 20


def test_who_asks_and_asks_and_reads_nothing_is_dropped(hasty):
    """Small answers pile up below the mark at which writing pauses; refusals need no token."""
    plugs = [hasty.connect(buffer=2048) for _ in range(5)]
    asked = hasty.head("/static/js/main.js", token=False) * 50
    for plug in plugs:
        plug.settimeout(0.2)
        with contextlib.suppress(OSError):
            for _ in range(200):
                plug.sendall(asked)
    until(lambda: hasty.connections == 0)
    for plug in plugs:
        plug.close()
    assert hasty.ask().status == 200


def test_a_client_that_goes_away_takes_its_job_back(tmp_path):
    """Its place in the line is free again, and nothing is worked on for nobody."""
    desk = Desk(tmp_path, most_trainings=0)
    begun = threading.Event()

    def work(job):
        begun.set()
        while True:
            job.check()
            time.sleep(0.01)

    with serving(desk) as served:
        app = served.launch.server.config.app.app

        @app.post("/slow")
        async def slow(request: Request):
            return await desk.answer(request, "slow", work)

        plugs = [served.connect() for _ in range(3)]
        for plug in plugs:
            plug.sendall(served.head("/slow", "Content-Length: 0", method="POST"))
        until(lambda: begun.is_set() and desk.queue.num_waiting == 2)
        for plug in plugs:
            plug.close()
        until(lambda: desk.queue.num_waiting == 0 and desk.queue._now is None)
        assert not desk.queue._jobs


def test_full_means_429_and_nobodys_answer_is_lost_or_anothers(tmp_path):
    """20 clients ask 200 times for what only they ask for; the line holds 8. Each is answered with its own, or told to come back, and comes back."""
    desk = Desk(tmp_path, most_trainings=0, most_waiting=8)
    refused, got = [], {}
    with serving(desk) as served:
        app = served.launch.server.config.app.app

        @app.get("/echo/{name}")
        async def echo(request: Request, name: str):
            def work(job):
                time.sleep(0.001)
                return Made(name.encode() * 1000, "text/plain")

            return await desk.answer(request, "echo", work)

        def client(which):
            for index in range(10):
                name = f"<{which}-{index}>"
                while (reply := served.ask(f"/echo/{name}")).status == 429:
                    assert reply.error and reply.headers["retry-after"] == "1"
                    refused.append(name)
                    time.sleep(0.01)
                got[name] = reply

        threads = [threading.Thread(target=client, args=(which,)) for which in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG)
    assert len(got) == 200 and refused
    assert all(reply.status == 200 and reply.body == name.encode() * 1000 for name, reply in got.items())


def test_beyond_its_places_the_server_says_so_and_recovers(tmp_path, monkeypatch):
    monkeypatch.setattr(serve, "MOST_CONNECTIONS", 10)
    with serving(Desk(tmp_path, most_trainings=0)) as served:
        plugs = [served.connect() for _ in range(10)]
        until(lambda: served.connections >= 10)
        assert served.ask().status == 503
        for plug in plugs:
            plug.close()
        until(lambda: served.connections == 0)
        assert served.ask().status == 200


def test_the_server_ends_though_somebody_is_still_there(tmp_path):
    """``serving`` fails where it does not."""
    with serving(Desk(tmp_path, most_trainings=0)) as served:
        silent, half = served.connect(), served.connect()
        half.sendall(b"GET / HTTP/1.1\r\n")
        assert served.ask().status == 200
    silent.close()
    half.close()


def test_a_fault_of_ours_is_answered_in_words_and_shows_nothing_of_itself(tmp_path, capfd):
    with serving(Desk(tmp_path, most_trainings=0)) as served:

        @served.launch.server.config.app.app.get("/fault")
        def fault():
            raise RuntimeError("the secret of /home/me")

        reply = served.ask("/fault")
        assert reply.status == 500 and "RuntimeError" in reply.error and "secret" not in reply.error
        assert served.ask().status == 200
    assert "the secret of /home/me" in capfd.readouterr().err


def test_asyncio_is_what_the_server_runs_on():
    """uvloop's transports behave otherwise where ours are dropped: whoever brings it in has to look at this file again."""
    assert not type(asyncio.new_event_loop()).__module__.startswith("uvloop")
