"""One step ahead: the next item is made in another thread while the present one is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def ahead(make: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """``make`` of each item, in order; at most two results exist at a time. What ``make`` raises is raised here."""
    with ThreadPoolExecutor(1) as thread:
        waiting = None
        for item in items:
            started = thread.submit(make, item)
            if waiting is not None:
                yield waiting.result()
            waiting = started
        if waiting is not None:
            yield waiting.result()
