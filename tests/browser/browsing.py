"""What the browser tests share: a server process, where the browser is, how to wait."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
"""--disable-background-networking and the like: what the browser itself would ask the outside for is none of the page's business."""
STRANGE = "<img src=x onerror=window.hurt=1>"
"""A run's name that must be shown as it is."""
SECONDS = 20_000
"""Milliseconds that anything on a page may take at most before a test gives up; no test asserts a time."""


def until(page, condition: str) -> None:
    """Wait until a JavaScript expression is true. (Playwright's own wait uses eval, which the page's policy forbids.)"""
    for _ in range(SECONDS // 50):
        if page.evaluate(f"() => Boolean({condition})"):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"still not so: {condition}\n{page.locator('body').inner_text()[:1500]}")


def chromium() -> str | None:
    """The browser: $AGON_CHROMIUM, or one on the path."""
    names = [os.environ.get("AGON_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"]
    return next((found for name in filter(None, names) if (found := shutil.which(name))), None)


@dataclass
class Playground:
    """A running ``agon play``."""

    address: str
    runs: Path

    @property
    def base(self) -> str:
        return self.address.partition("/?")[0]

    @property
    def token(self) -> str:
        return self.address.partition("token=")[2]

    def ask(self, path: str, body: object = None, method: str | None = None) -> bytes:
        """What a program gets from the API."""
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        request = urllib.request.Request(self.base + path, data, {"X-Agon-Token": self.token, "Content-Type": kind}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()


@contextlib.contextmanager
def playing(*words: str, runs: Path, **environment: str) -> Iterator[Playground]:
    """``agon play`` in a process of its own, until the block ends."""
    command = [sys.executable, "-m", "agon", "play", *words, "--runs", str(runs), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "AGON_LANG": "en", **environment}) as child:
        guard = threading.Timer(60, child.kill)  # a server that says nothing must not hold up the tests
        guard.start()
        try:
            address = child.stdout.readline().strip()
            guard.cancel()
            assert re.fullmatch(r"http://127\.0\.0\.\d:\d+/\?token=[\w-]+", address), address
            yield Playground(address, runs)
        finally:
            guard.cancel()
            child.terminate()
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()


def outside(url: str) -> bool:
    """Whether a request leaves this machine."""
    parts = urlsplit(url)
    return parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1"
