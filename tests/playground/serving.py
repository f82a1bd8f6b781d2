"""A real server in a thread, and a client that speaks plain bytes."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from agon.playground.desk import Desk
from agon.playground.serve import Launch, launch

LONG = 30.0
"""Seconds after which a test gives up waiting; nothing here asserts that something is fast."""


@dataclass
class Reply:
    """What came back: ``status`` 0 where the connection ended without an answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        return json.loads(self.body)["error"]


@dataclass
class Served:
    """A server that runs in a thread of this process."""

    launch: Launch
    desk: Desk

    @property
    def port(self) -> int:
        return self.launch.rules.port

    @property
    def token(self) -> str:
        return self.launch.rules.token

    @property
    def connections(self) -> int:
        return len(self.launch.server.server_state.connections)

    def connect(self, *, buffer: int | None = None) -> socket.socket:
        """``buffer``: of what has arrived and was not read, so that a slow reader is felt at once."""
        plug = socket.socket()
        if buffer is not None:
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        plug.settimeout(LONG)
        plug.connect(("127.0.0.1", self.port))
        return plug

    def head(self, path: str = "/api/about", *lines: str, method: str = "GET", token: bool = True) -> bytes:
        """A request's head; "\udcff" stands for the byte that is no text."""
        given = [f"Host: 127.0.0.1:{self.port}"] + [f"X-Agon-Token: {self.token}"] * token
        return "\r\n".join([f"{method} {path} HTTP/1.1", *given, *lines, "", ""]).encode("utf-8", "surrogateescape")

    def ask(self, path: str = "/api/about", *lines: str, method: str = "GET", token: bool = True, body: bytes = b"") -> Reply:
        """One request on a connection of its own."""
        sized = (f"Content-Length: {len(body)}",) if body else ()
        with self.connect() as plug:
            plug.sendall(self.head(path, *lines, *sized, "Connection: close", method=method, token=token) + body)
            return reply_of(plug)

    def post(self, path: str, body: object) -> Reply:
        return self.ask(path, "Content-Type: application/json", method="POST", body=json.dumps(body).encode())


def reply_of(plug: socket.socket) -> Reply:
    """Read until the other side closes, or until the body is whole."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while not _whole(got) and (part := plug.recv(1 << 16)):
            got += part
    head, _, body = got.partition(b"\r\n\r\n")
    if not head:
        return Reply(0, {}, b"")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return Reply(int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}, body)


def _whole(got: bytes) -> bool:
    head, found, body = got.partition(b"\r\n\r\n")
    sizes = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(found and sizes) and len(body) >= int(sizes[0])


def until(condition, seconds: float = LONG) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this has not come about"
        time.sleep(0.01)


@contextlib.contextmanager
def serving(desk: Desk, **options) -> Iterator[Served]:
    """The real server with its real connections, until the block ends."""
    made = launch(desk, **options)
    thread = threading.Thread(target=made.server.run, kwargs={"sockets": [made.listener]}, daemon=True)
    thread.start()
    try:
        until(lambda: made.server.started)
        yield Served(made, desk)
    finally:
        made.stop()
        thread.join(LONG)
        made.listener.close()
        desk.close()
        assert not thread.is_alive(), "the server has not stopped"
