"""Who is answered, and how long for: the wall in front of every request and WebSocket of the playground.

A request must name this server (``Host``, against sites that point their own name at this machine), come from its own pages if it comes from a page
(``Origin``), and carry the token of this launch, in a header or in the cookie that the printed address sets. Bodies are bounded in size and time.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode

from starlette.exceptions import HTTPException

from agon.locale import spoken, translate

MOST_BODY, MOST_JSON = 32 << 20, 1 << 20
BODY_SECONDS = 20.0
LOGINS, LOGIN_SECONDS = 10, 60.0
"""Passwords that may be tried, in so many seconds, by everybody together."""
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; style-src 'self'; script-src 'self'; connect-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)  # fmt: skip
HEADERS = {
    "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
}  # fmt: skip
"""Of the referrer policies, ``no-referrer`` would have a browser say ``Origin: null`` with the form of the password."""
SAFE = ("GET", "HEAD", "OPTIONS")


@dataclass
class Rules:
    """Of one launch. ``names``: host names that are this server's; an address in numbers always is one when ``shared`` (no other site's name can be behind
    it). ``password``: for other machines; empty on this one."""

    token: str
    port: int
    names: frozenset[str] = frozenset(("127.0.0.1", "localhost", "[::1]"))
    shared: bool = False
    password: str = ""
    tries: list[float] = field(default_factory=list)

    @property
    def cookie(self) -> str:
        return f"agon-{self.port}"  # cookies do not tell ports apart

    def knows(self, host: str) -> bool:
        """Whether a Host header, ``name:port``, is this server's."""
        name, port = _split(host)
        if port not in (str(self.port), "") or (port == "" and self.port not in (80, 443) and not self.shared):
            return False
        return name in self.names or (self.shared and _is_address(name))

    def own(self, origin: str, host: str) -> bool:
        """Whether an Origin header is that of this server's pages: the very name in ``host``, because another machine may well use the same port."""
        scheme, _, place = origin.lower().partition("://")
        return scheme in ("http", "https") and place == host.lower() and self.knows(place)

    def allowed(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self.token.encode())

    def opens(self, password: str) -> bool | None:
        """Whether the password is right; None where too many were tried lately."""
        now = time.monotonic()
        self.tries = [at for at in self.tries if now - at < LOGIN_SECONDS]
        if len(self.tries) >= LOGINS:
            return None
        right = bool(self.password) and hmac.compare_digest(password.encode(), self.password.encode())
        if not right:
            self.tries.append(now)
        return right


class Refused(Exception):
    """A request that is not answered, with its status and why."""

    def __init__(self, status: int, why: str, headers: dict[str, str] | None = None):
        self.status, self.why, self.headers = status, why, headers or {}


class Guard:
    """ASGI middleware around everything."""

    def __init__(self, app: Any, rules: Rules):
        self.app, self.rules = app, rules

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = _headers(scope)
        query = parse_qs(scope["query_string"].decode("latin-1"))
        before = spoken.set(_language(query, headers))
        try:
            await self._answer(scope, headers, query, receive, send)
        except Refused as refused:
            await _refuse(scope, receive, send, refused)
        except HTTPException as error:  # of a body that is read here: of all others the application has answered
            await _refuse(scope, receive, send, Refused(error.status_code, str(error.detail), dict(error.headers or {})))
        finally:
            spoken.reset(before)

    async def _answer(self, scope: dict, headers: dict[str, str], query: dict[str, list[str]], receive: Any, send: Any) -> None:
        self._check_sender(scope, headers)
        if scope["type"] == "websocket":
            self._check_token(scope, headers)
            return await self.app(scope, receive, send)
        send = _with_headers(send, HEADERS)
        if scope["path"] == "/login" and self.rules.password and scope["method"] == "POST":
            return await self._log_in(_bounded(receive, headers), send)
        if scope["path"] == "/" and "token" in query and self.rules.allowed(query["token"][0]):
            rest = urlencode([(name, value) for name, values in query.items() if name != "token" for value in values])
            return await _send(send, 303, b"", {"Location": f"/?{rest}" if rest else "/", "Set-Cookie": self._cookie()})
        try:
            self._check_token(scope, headers)
        except Refused:
            if scope["path"] == "/" and self.rules.password:
                return await _send(send, 401, _login_page(), {"Content-Type": "text/html; charset=utf-8"})
            raise
        await self.app(scope, _bounded(receive, headers), send)

    def _check_sender(self, scope: dict, headers: dict[str, str]) -> None:
        host = headers.get("host", "")
        if not self.rules.knows(host.lower()):
            raise Refused(403, translate("Only this machine is answered."))
        origin = headers.get("origin")
        if origin is not None and not self.rules.own(origin, host):
            raise Refused(403, translate("Other sites are not answered. Open the address that agon play printed."))

    def _check_token(self, scope: dict, headers: dict[str, str]) -> None:
        """Programs send the token in a header. A cookie comes along by itself, so that whatever changes something must also say that it comes from our page,
        and what says that another site's page asks for it gets nothing but the page."""
        given = headers.get("x-agon-token") or _bearer(headers.get("authorization", ""))
        if given and self.rules.allowed(given):
            return
        if not given and any(self.rules.allowed(each) for each in _cookies_of(headers, self.rules.cookie)):
            changes, site = scope["type"] == "websocket" or scope["method"] not in SAFE, headers.get("sec-fetch-site", "none")
            if site == "same-origin" or "origin" in headers or (not changes and (site == "none" or _opens_page(scope, headers))):
                return
            raise Refused(403, translate("Other sites are not answered. Open the address that agon play printed."))
        raise Refused(401, translate("The token of this launch is missing. Open the address that agon play printed."), {"WWW-Authenticate": "Bearer"})

    def _cookie(self) -> str:
        return f"{self.rules.cookie}={self.rules.token}; Path=/; HttpOnly; SameSite=Strict"

    async def _log_in(self, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message.get("body", b""), message.get("more_body", False)
            if len(body) > 4096:
                raise Refused(413, translate("The request is too large."))
        opened = self.rules.opens(parse_qs(body.decode("utf-8", "replace")).get("password", [""])[0])
        if opened is None:
            raise Refused(429, translate("Too many passwords were tried. Wait a minute."), {"Retry-After": "60"})
        if not opened:
            return await _send(send, 401, _login_page(wrong=True), {"Content-Type": "text/html; charset=utf-8"})
        await _send(send, 303, b"", {"Location": "/", "Set-Cookie": self._cookie()})


def _bounded(receive: Any, headers: dict[str, str]) -> Any:
    """``receive`` that ends bodies which are too large or take too long. Raises HTTPException 413 and 408."""
    most = MOST_JSON if "json" in headers.get("content-type", "").lower() else MOST_BODY
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > most:
        raise Refused(413, translate("The request is too large."), {"Connection": "close"})
    seen, deadline, whole = 0, time.monotonic() + BODY_SECONDS, False

    async def bounded() -> dict:
        nonlocal seen, whole
        if whole:
            return await receive()
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):  # what is there already is taken, however late it is: a server may be busy
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, translate("The request took too long to arrive."), {"Connection": "close"}) from None
        seen, whole = seen + len(message.get("body", b"")), not message.get("more_body", False)
        if seen > most:
            raise HTTPException(413, translate("The request is too large."), {"Connection": "close"})
        return message

    return bounded


def _with_headers(send: Any, headers: dict[str, str]) -> Any:
    extra = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def sending(message: dict) -> None:
        if message["type"] == "http.response.start":
            present = {name for name, _ in message["headers"]}
            defaults = [*extra, (b"cache-control", b"no-store")]
            message = {**message, "headers": [*message["headers"], *((name, value) for name, value in defaults if name not in present)]}
        await send(message)

    return sending


async def _send(send: Any, status: int, body: bytes, headers: dict[str, str]) -> None:
    lines = {**headers, "Content-Length": str(len(body))}
    await send({"type": "http.response.start", "status": status, "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in lines.items()]})
    await send({"type": "http.response.body", "body": body})


async def _refuse(scope: dict, receive: Any, send: Any, refused: Refused) -> None:
    if scope["type"] == "websocket":
        return await send({"type": "websocket.close", "code": 1008, "reason": refused.why[:40]})
    body = json.dumps({"error": refused.why}, ensure_ascii=False).encode()
    await _send(_with_headers(send, HEADERS), refused.status, body, {"Content-Type": "application/json", **refused.headers})


def _login_page(wrong: bool = False) -> bytes:
    from html import escape

    says = f"<p role=alert>{escape(translate('That was not the password.'))}</p>" if wrong else ""
    return (
        f"<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'><title>Agon</title><main><h1>Agon</h1>{says}"
        f"<form method=post action=/login><label>{escape(translate('Password'))} <input type=password name=password autofocus></label> "
        f"<button>{escape(translate('Open'))}</button></form></main>"
    ).encode()


def _headers(scope: dict) -> dict[str, str]:
    """Lower-case name -> value; of a header that must be there once the values are joined, so that two of them never agree with anything."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}{'; ' if key == 'cookie' else ', '}{text}" if key in found else text
    return found


def _cookies_of(headers: dict[str, str], name: str) -> list[str]:
    """Every cookie of a name. Cookies of other ports of this machine come along, and the standard library's reader gives up at those it finds odd."""
    pairs = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
    return [value for key, _, value in pairs if key == name]


def _bearer(authorization: str) -> str:
    """The token of an Authorization header; one of another scheme is no token of ours."""
    scheme, _, token = authorization.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else authorization.strip()


def _opens_page(scope: dict, headers: dict[str, str]) -> bool:
    return scope["path"] == "/" and headers.get("sec-fetch-mode") == "navigate"


def _language(query: dict[str, list[str]], headers: dict[str, str]) -> str | None:
    """What the page says, else what the browser prefers, else None: the environment's."""
    asked = query.get("lang", [""])[0] or headers.get("accept-language", "")
    if not asked or asked.startswith("*"):
        return None
    return "zh_CN" if asked.lower().startswith("zh") else "en"


def _split(host: str) -> tuple[str, str]:
    """``name:port`` -> both; ``[::1]:80`` too."""
    if host.startswith("["):
        name, _, port = host.partition("]")
        return name + "]", port.removeprefix(":")
    name, _, port = host.partition(":")
    return name, port


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
