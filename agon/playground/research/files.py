"""Files of run folders, which anybody may have made: bounded in size and depth, and whatever is wrong with one is a sentence and never a failure."""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from typing import Any

from agon.locale import translate

MOST_BYTES, MOST_LINES_BYTES, MOST_PICTURE = 8 << 20, 1 << 20, 64 << 20
MOST_DEPTH, MOST_ITEMS, MOST_TEXT = 24, 5000, 20_000
EXACT = 1 << 53
"""Whole numbers above this are not the same in a browser."""
PNG = b"\x89PNG\r\n\x1a\n"


def read_json(path: Path) -> tuple[Any, str]:
    """(the content of a JSON file as plain, bounded values, "") or (None, what is wrong with it); (None, "") where there is none."""
    try:
        data = _bytes(path, MOST_BYTES)
        return (None, "") if data is None else (clean(json.loads(data)), "")
    except OSError as error:
        why = error.strerror or type(error).__name__
    except RecursionError:
        why = translate("it is nested too deeply")
    except ValueError as error:
        why = str(error).split("\n", 1)[0][:200]
    return None, translate("{file} cannot be read: {why}.").format(file=path.name, why=clean(why))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of the last megabyte of a JSON-lines file; what is damaged is left out, a missing file is empty."""
    try:
        data = _bytes(path, MOST_LINES_BYTES, tail=True) or b""
    except (OSError, ValueError):
        return []
    found = []
    for line in data.split(b"\n"):
        try:
            value = json.loads(line) if line.strip() else None
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            found.append(clean(value))
    return found


def picture(path: Path, folder: Path) -> bytes | None:
    """A PNG below ``folder``, or None: a link that leads out of it is not followed, and what is no PNG is not handed out."""
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            return None
        data = _bytes(path, MOST_PICTURE)
    except (OSError, ValueError):
        return None
    return data if data and data.startswith(PNG) else None


def stamp(path: Path) -> tuple[int, int, int]:
    """What changes when a file does: (number of the file, bytes, time of the last change in ns); zeros where there is none."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else (0, 0, 0)


def clean(value: Any, depth: int = 0) -> Any:
    """JSON values that every reader can take: no NaN, no lone surrogates, no numbers beyond 2^53, bounded depth and length."""
    if isinstance(value, str):
        return value[:MOST_TEXT].encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if -EXACT <= value <= EXACT else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth >= MOST_DEPTH:
        return None
    if isinstance(value, dict):
        return {clean(str(key)): clean(each, depth + 1) for key, each in list(value.items())[:MOST_ITEMS]}
    if isinstance(value, list | tuple):
        return [clean(each, depth + 1) for each in value[:MOST_ITEMS]]
    return clean(str(value))


def number(value: Any) -> float:
    """A finite number, else 0."""
    good = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if good and abs(value) <= EXACT else 0.0


def _bytes(path: Path, most: int, tail: bool = False) -> bytes | None:
    """At most ``most`` bytes (the last ones: ``tail``); None where there is no such file. Raises ValueError for a larger one, OSError."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(translate("it is no file"))
    if found.st_size > most and not tail:
        raise ValueError(translate("it has more than {count} bytes").format(count=f"{most:,}"))
    with open(path, "rb") as file:
        if tail and found.st_size > most:
            file.seek(-most, os.SEEK_END)
        return file.read(most)
