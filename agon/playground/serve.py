"""The server of one launch: uvicorn, with a deadline for every request's arrival and for every answer's departure."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
from dataclasses import dataclass
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from agon.errors import UserError
from agon.playground.app import create_app
from agon.playground.desk import Desk
from agon.playground.guard import Rules

REQUEST_SECONDS, STALLED_SECONDS = 25.0, 30.0
"""A request has to be there this long after its first byte (or its connection), and an answer may stand still for so long."""
MOST_CONNECTIONS = 600
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Watch:
    """Drops a connection that is being closed and whose other side does not take what is still to be sent: asyncio waits for it without end."""

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: Any, seconds: float):
        self._loop, self._transport, self._seconds, self._closing = loop, transport, seconds, False
        self._timer = loop.call_later(seconds, self._look)

    def cancel(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        if self._closing:
            return self._transport.abort()
        self._closing = self._transport.is_closing()
        self._timer = self._loop.call_later(self._seconds, self._look)


class Deadline(H11Protocol):
    """A connection that is dropped when it dawdles: uvicorn itself waits without end for the rest of a request, and for whoever does not read an answer."""

    seconds, stalled = REQUEST_SECONDS, STALLED_SECONDS

    def connection_made(self, transport: Any) -> None:
        self._timer: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        self._arm(self.seconds)
        self._watch = Watch(self.loop, transport, self.stalled)

    def data_received(self, data: bytes) -> None:
        if self._timer is None:
            self._arm(self.seconds)
        super().data_received(data)
        if self.conn.their_state.__name__ in ("DONE", "MUST_CLOSE", "CLOSED", "SWITCHED_PROTOCOL", "MIGHT_SWITCH_PROTOCOL"):
            self._disarm()

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._disarm()
        self._watch.cancel()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._watch.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._arm(self.stalled)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._disarm()

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, self.transport.abort)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class DeadlineSocket(WebSocketsSansIOProtocol):
    """A WebSocket that is dropped when its handshake dawdles, or when its page takes nothing any more: its game would never end."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._opening = self.loop.call_later(Deadline.seconds, self._still_opening)
        self._stalled: asyncio.TimerHandle | None = None
        self._watch = Watch(self.loop, transport, Deadline.stalled)

    def connection_lost(self, exc: Exception | None) -> None:
        self._opening.cancel()
        self._watch.cancel()
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.transport.pause_reading()  # pings are answered at once, whether there is room or not
        self._stalled = self.loop.call_later(Deadline.stalled, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
            if not self.read_paused:
                self.transport.resume_reading()

    async def receive(self) -> Any:
        message = await super().receive()  # which goes on reading
        if self._stalled is not None:
            self.transport.pause_reading()
        return message

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.transport.abort()  # whoever does not answer pings does not read what is left either

    def _still_opening(self) -> None:
        if not self.handshake_complete:
            self.transport.abort()


@dataclass
class Launch:
    """A server that is bound and not yet serving. ``address``: what to open."""

    server: uvicorn.Server
    listener: socket.socket
    rules: Rules
    address: str

    def serve(self) -> None:
        """Answer until SIGINT or SIGTERM."""
        threading.Thread(target=warm_up, name="agon-warm-up", daemon=True).start()
        with self.listener:
            self.server.run(sockets=[self.listener])

    def stop(self) -> None:
        self.server.should_exit = True


def launch(desk: Desk, *, host: str = "127.0.0.1", port: int = 0, password: str = "", names: tuple[str, ...] = ()) -> Launch:
    """Bind and make ready. ``host`` other than this machine's own needs a ``password``; ``names``: further names that the server is known by. Raises UserError
    where the address cannot be had."""
    shared = host not in LOOPBACK
    if shared and not password:
        raise UserError("--host {host} lets other machines in, and there is no password. Set $AGON_PASSWORD, or type one when asked.", host=host)
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=512)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UserError("{host}:{port} cannot be used ({why}). Expected a port that is free: leave --port out.", host=host, port=port, why=why) from None
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio sets it only where the listener knows its protocol: answers would wait 40 ms
    port = listener.getsockname()[1]
    rules = Rules(secrets.token_urlsafe(24), port, shared=shared, password=password)
    mine = (socket.gethostname().lower(), host.lower()) if shared else ()
    rules.names = rules.names | {*mine, *(name.lower() for name in names)}
    config = uvicorn.Config(
        create_app(desk, rules), http=Deadline, ws=DeadlineSocket, log_level="critical", access_log=False, server_header=False, date_header=False,
        limit_concurrency=MOST_CONNECTIONS, timeout_keep_alive=10, ws_max_size=1 << 20, ws_max_queue=16, timeout_graceful_shutdown=3, lifespan="on",
    )  # fmt: skip
    shown = f"[{host}]" if ":" in host else "127.0.0.1" if host in ("0.0.0.0", "localhost") else host
    return Launch(uvicorn.Server(config), listener, rules, f"http://{shown}:{port}/?token={rules.token}")


def warm_up() -> None:
    """Load what the first page would otherwise wait seconds for: torch, the games, the library for transport."""
    from agon.playground.learn.arena import Arena
    from agon.playground.learn.choices import Shared, StageChoice

    Arena(Shared(), [StageChoice()]).floor()
