"""Looking at every picture once without decoding it: content hash, size, grey or colour; and the rules that follow. No torch here."""

from __future__ import annotations

import hashlib
import os
import statistics
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agon.data.files import Item, Listing
from agon.data.pictures import BadPicture, Header, read_header
from agon.errors import UserError

DEFAULT_SIDE, SMALLEST_SIDE = 64, 8
CHUNK = 256


@dataclass
class Scan:
    """``headers``: file -> header, of what looks like a picture. ``hashes``: file -> SHA-256 of the same. ``bad``: (file, why).

    ``certain``: was every bad file read? One that a disk or network would not hand out may be fine the next time.
    """

    headers: dict[str, Header] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    bad: list[tuple[str, str]] = field(default_factory=list)
    certain: bool = True


def scan(listing: Listing) -> Scan:
    """Read every file of the listing once."""
    found = Scan(bad=list(listing.refused))

    def look(item: Item) -> tuple[Header, str] | str:
        try:
            data = item.read()
            return read_header(data), hashlib.sha256(data).hexdigest()
        except BadPicture as error:
            return str(error)
        except Exception as error:  # an unreadable file, a damaged ZIP member, a lying header in it
            if isinstance(error, OSError):
                found.certain = False
            return f"cannot be read ({getattr(error, 'strerror', None) or error})"

    for items, results in working_in_threads(look, listing.items, "reading"):
        for item, result in zip(items, results, strict=True):
            if isinstance(result, str):
                found.bad.append((item.name, result))
            else:
                found.headers[item.name], found.hashes[item.name] = result
    return found


def decoding_of(listing: Listing, scanned: Scan, decode: Callable[[bytes], Any]) -> Callable[[Item], Any]:
    """What turns a file of the scan into ``decode`` of its content, or into the reason why it cannot be decoded.

    The function raises UserError for a file whose content is not the scanned one: the cache would hold it under the old content's key.
    """
    def decoded(item: Item) -> Any:
        try:
            data = item.read()
        except Exception:
            data = b""
        if hashlib.sha256(data).hexdigest() != scanned.hashes[item.name]:
            raise UserError("{file} in {folder} changed or vanished while it was read. Run again once nothing writes there any more.",
                            file=item.name, folder=listing.root)
        try:
            return decode(data)
        except BadPicture as error:
            return str(error)

    return decoded


def working_in_threads(work: Callable[[Item], Any], items: Sequence[Item], verb: str) -> Iterator[tuple[Sequence[Item], list]]:
    """``work`` over all items, in order, a chunk at a time, in threads (Pillow releases the GIL), with a bar on a terminal's stderr."""
    from PIL import Image
    from tqdm import tqdm

    threads = min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    bar = tqdm(total=len(items), desc=verb, unit=" pictures", file=sys.stderr, disable=not sys.stderr.isatty() or len(items) < 100)
    # Outside the threads, because the filters belong to the whole process. We refuse by name what Pillow would only warn of.
    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool, bar:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", module="PIL")
        for start in range(0, len(items), CHUNK):
            chunk = items[start:start + CHUNK]
            yield chunk, list(pool.map(work, chunk))
            bar.update(len(chunk))


def plan_size(scanned: Scan, asked: tuple[int, int] | None) -> tuple[int, int]:
    """The (height, width) that all pictures will have."""
    sizes = {(header.height, header.width) for header in scanned.headers.values()}
    if asked is None and len(sizes) == 1 and max(next(iter(sizes))) <= DEFAULT_SIDE:
        return next(iter(sizes))
    return asked or (default_side(scanned),) * 2


def resizing(headers: Sequence[Header], target: tuple[int, int], asked: tuple[int, int] | None) -> list[dict]:
    """The event that says what happens to pictures of another size than ``target``; none where all have it."""
    changed = sum((header.height, header.width) != target for header in headers)
    smaller = sum(header.height < target[0] or header.width < target[1] for header in headers)
    return [{"event": "resized", "pictures": changed, "enlarged": smaller, "size": list(target),
             "how": "scaled to cover, aspect kept, middle cut out (Lanczos)", "chosen": "asked for" if asked else "by default"}] if changed else []


def default_side(scanned: Scan) -> int:
    """The largest power of two that is at most 64 and at most the median shorter side, but at least 8."""
    shorter = statistics.median(min(header.height, header.width) for header in scanned.headers.values())
    side = SMALLEST_SIDE
    while side * 2 <= min(shorter, DEFAULT_SIDE):
        side *= 2
    return side


def plan_channels(scanned: Scan) -> int:
    return 1 if all(header.grey for header in scanned.headers.values()) else 3


def allowed_bad(good: int, bad: int, max_bad: float) -> int:
    """How many bad files are put up with: a fraction of all pictures, and one in any case beside at least 10 good ones."""
    return max(int(max_bad * (good + bad) + 1e-9), 1 if good >= 10 else 0)


def too_many_bad(path: Path, bad: Sequence[tuple[str, str]], good: int, max_bad: float) -> None:
    """Raise UserError where more files are bad than ``allowed_bad``."""
    if len(bad) > allowed_bad(good, len(bad), max_bad):
        raise UserError("{bad} of {total} pictures in {folder} are bad: {first}. Expected at most {percent:g} %. Mend or remove them "
                        "('agon data check {folder}' lists all), or allow more with max_bad.", bad=len(bad), total=good + len(bad),
                        folder=path, first="; ".join(f"{name} {why}" for name, why in bad[:3]), percent=100 * max_bad)
