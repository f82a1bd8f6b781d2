"""Pictures from strangers, decoded in a child process of bounded memory, time and files: a decoder that is led astray takes nothing with it.

``python -m agon.playground.decode`` reads a picture file from stdin and writes a plain PNG of it (upright, 8 bits, grey, colour or with alpha) to stdout, or
the reason why not to stderr, with exit code 3.
"""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import threading

from agon.data.pictures import BadPicture
from agon.errors import UserError
from agon.locale import translate

SECONDS, MEMORY, FILES = 20, 2 << 30, 32
MOST_PIXELS = 50_000_000
REFUSED = 3
AT_ONCE, MOST_WAITING = 2, 16
_room, _places = threading.BoundedSemaphore(AT_ONCE), threading.BoundedSemaphore(AT_ONCE + MOST_WAITING)
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Of the child: on a machine of many cores what their threads reserve would use up its memory."""


async def picture(data: bytes) -> bytes:
    """A picture file of any kind -> PNG with the pixels that :mod:`agon.data.pictures` reads. Raises BadPicture for what is none, UserError for what takes
    too long or too much memory, HTTPException 429 where too many wait for it."""
    from starlette.exceptions import HTTPException  # the child does without

    if not _places.acquire(blocking=False):
        raise HTTPException(429, translate("The line is full. Try again in a moment."), {"Retry-After": "1"})
    try:
        return await asyncio.to_thread(_in_child, data)
    finally:
        _places.release()


def _in_child(data: bytes) -> bytes:
    with _room:
        try:
            child = subprocess.run([sys.executable, "-m", "agon.playground.decode"], input=data, capture_output=True, timeout=SECONDS + 5, check=False,
                                   env=os.environ | ONE_THREAD)  # fmt: skip
        except subprocess.TimeoutExpired:  # which has ended it
            child = None
    if child and child.returncode == REFUSED:
        raise BadPicture(child.stderr.decode("utf-8", "replace").strip())
    if child is None or child.returncode or not child.stdout:
        raise UserError("The picture takes too long or too much memory to decode. Expected one of at most 50 million pixels: make it smaller.")
    return child.stdout


def main() -> int:
    """The child."""
    import numpy as np
    from PIL import Image

    from agon.data.pictures import decode, read_header, readable_formats

    data = sys.stdin.buffer.read()
    readable_formats()  # plug-ins are loaded before files are counted
    _bound()
    try:
        header = read_header(data)
        if header.height * header.width > MOST_PIXELS:
            raise BadPicture(f"has {header.width}x{header.height} pixels, more than {MOST_PIXELS:,}: make it smaller")
        rgba = decode(data, 4)
    except BadPicture as error:
        sys.stderr.write(str(error))
        return REFUSED
    clear = bool((rgba[3] < 255).any())
    grey = header.grey and bool((rgba[0] == rgba[1]).all() and (rgba[1] == rgba[2]).all())
    pixels = rgba[[0, 3] if clear else [0]] if grey else rgba if clear else rgba[:3]
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)).squeeze(-1) if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(
        out, format="PNG", compress_level=1
    )  # fmt: skip
    sys.stdout.buffer.write(out.getvalue())
    return 0


def _bound() -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limits; the parent's deadline still holds
        return
    for kind, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, SECONDS), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_NOFILE, FILES)):
        resource.setrlimit(kind, (most, most))


if __name__ == "__main__":
    sys.exit(main())
