"""The application: the rooms' routes, the page and its files, behind the guard."""

from __future__ import annotations

import hashlib
import importlib
import mimetypes
import traceback
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as PlainHTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

import agon
from agon.data.pictures import BadPicture
from agon.errors import UserError
from agon.locale import translate
from agon.playground.desk import Desk
from agon.playground.guard import Guard, Rules
from agon.playground.library import as_text

STATIC = Path(__file__).with_name("static")
ROOMS = ("shell", "learn", "create", "research")
TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml", "": "text/plain"}


def create_app(desk: Desk, rules: Rules) -> Any:
    """The ASGI application of one launch."""

    @asynccontextmanager
    async def lifespan(app: FastAPI):
        yield
        desk.close()

    app = FastAPI(title="Agon", version=agon.__version__, docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=lifespan)
    faults = {PlainHTTPException: _http, UserError: _user, BadPicture: _user, RequestValidationError: _invalid, ClientDisconnect: _left, Exception: _fault}
    for kind, handler in faults.items():
        app.add_exception_handler(kind, handler)
    for room in ROOMS:
        app.include_router(importlib.import_module(f"agon.playground.routes.{room}").router(desk))
    _serve_files(app, read_files(STATIC))
    return Guard(app, rules)


def read_files(folder: Path) -> dict[str, tuple[bytes, str, str]]:
    """Path below ``folder`` -> (content, media type, etag). Read once: what a client asks for is a key of this table and never a path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            found[path.relative_to(folder).as_posix()] = (content, kind, f'"{hashlib.sha256(content).hexdigest()[:20]}"')
    return found


def _serve_files(app: FastAPI, files: dict[str, tuple[bytes, str, str]]) -> None:
    def file(request: Request, name: str) -> Response:
        if name not in files:
            raise HTTPException(404, translate("There is nothing here."))
        content, kind, etag = files[name]
        headers = {"ETag": etag, "Cache-Control": "no-cache"}  # asked for again, and sent again only after an update
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=kind, headers=headers)

    def page(request: Request) -> Response:
        return file(request, "index.html")

    app.add_api_route("/", page, include_in_schema=False, response_model=None)
    app.add_api_route("/static/{name:path}", file, include_in_schema=False, response_model=None)


def _answer(status: int, why: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": as_text(why)}, status_code=status, headers=headers)


async def _http(request: Request, error: PlainHTTPException) -> Response:
    words = {404: translate("There is nothing here."), 405: translate("That cannot be done here.")}
    plain = error.status_code in words and error.detail in ("Not Found", "Method Not Allowed")
    return _answer(error.status_code, words[error.status_code] if plain else str(error.detail), dict(error.headers or {}))


async def _user(request: Request, error: ValueError) -> Response:
    return _answer(400, " ".join(str(error).split()))


async def _left(request: Request, error: ClientDisconnect) -> Response:
    return Response(status_code=400)  # which nobody reads


async def _fault(request: Request, error: Exception) -> Response:
    traceback.print_exception(error)
    return _answer(500, translate("Something broke here ({kind}). The terminal that agon play was started in says more.").format(kind=type(error).__name__))


async def _invalid(request: Request, error: RequestValidationError) -> Response:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    return _answer(422, translate("The request does not fit: {field}: {why}.").format(field=place or "-", why=first["msg"].rstrip(".")))
