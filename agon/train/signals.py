"""Leaving politely: a signal ends a run after the step at hand."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def caught_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying of them; a second one has its usual effect."""
    caught: list[int] = []
    previous: dict[int, Callable | int | None] = {}

    def note(number, frame):
        caught.append(number)
        signal.signal(number, previous[number] or signal.SIG_DFL)

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, note)
    except ValueError:  # not in the main thread: signals are its business
        pass
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: a handler that was not set from Python
