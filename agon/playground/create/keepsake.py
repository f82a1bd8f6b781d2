"""How a file was made, inside the file: an export that is dropped back into the room brings its state back.

The note is ASCII text, ``agon-state:`` and JSON in URL-safe base64, ended by a full stop: an iTXt chunk "agon" of a PNG, the comment of a GIF, the comment
in an MP4's metadata, the comment of the ZIP archive that an NPZ is, the last line of a CSV (a comment, which numpy skips; pandas with ``comment="#"``).
Reading looks for that text and decodes no picture.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
import zlib
from typing import Any

from agon.errors import UserError
from agon.playground.library import as_text

MOST = 16_000
"""Characters of a note."""
MARK = b"agon-state:"
_NOTE = re.compile(re.escape(MARK) + rb"([A-Za-z0-9_=-]{1,16000})\.")
_COMMENT = re.compile(rb"\x21\xfe[\x0b-\xff]" + re.escape(MARK), re.DOTALL)


def note(**what: Any) -> str:
    """The text to put into a file. Raises UserError for one that is too long."""
    text = MARK.decode() + base64.urlsafe_b64encode(json.dumps(what, ensure_ascii=False, separators=(",", ":")).encode()).decode() + "."
    if len(text) > MOST:
        raise UserError("The state of the room is too long to be kept in a file. Expected at most {most} characters: choose fewer cells.", most=MOST)
    return text


def in_png(content: bytes, text: str) -> bytes:
    """A PNG with the note in a text chunk before its end; the pixels' bytes stay as they are."""
    chunk = b"agon\0\0\0\0\0" + text.encode()  # keyword, not compressed, no language, no translated keyword
    body = b"iTXt" + chunk
    end = len(content) - 12
    assert content[end + 4 : end + 8] == b"IEND"
    return content[:end] + struct.pack(">I", len(chunk)) + body + struct.pack(">I", zlib.crc32(body)) + content[end:]


def in_npz(content: bytes, text: str) -> bytes:
    """An NPZ, which is a ZIP archive without a comment, with the note as its comment."""
    assert content[-22:-18] == b"PK\5\6" and content[-2:] == b"\0\0"
    return content[:-2] + struct.pack("<H", len(text)) + text.encode()


def in_csv(content: bytes, text: str) -> bytes:
    """A table with the note as a comment after its last line."""
    return content + b"# " + text.encode() + b"\n"


WRITERS = {"png": in_png, "npz": in_npz, "csv": in_csv}


def read(content: bytes) -> dict[str, Any]:
    """The note in a file: ``state``, ``run``, ``name``, ``images``. Raises UserError where there is none."""
    found = _NOTE.search(_joined_comment(content) if content[:4] == b"GIF8" else content)
    if found:
        try:
            kept = json.loads(base64.urlsafe_b64decode(found[1]))
        except (ValueError, binascii.Error, RecursionError):
            kept = None
        if isinstance(kept, dict) and _whole(kept):
            return kept
    raise UserError("This file does not say how it was made. Expected a picture, film or table that was saved in this room.")


def _whole(kept: dict[str, Any]) -> bool:
    """Whether all that is used of a note is text, and its state one of this room."""
    state, run, name = (kept.get(each, "") for each in ("state", "run", "name"))
    texts = all(isinstance(each, str) and as_text(each) == each for each in (state, run, name))
    return texts and state.startswith("#create") and len(state) <= MOST


def _joined_comment(content: bytes) -> bytes:
    """A GIF's comment, whose text is cut into blocks of at most 255 bytes; empty where none is ours."""
    start = _COMMENT.search(content)  # one of ours, or none: a file full of comments must not be read over and over
    place, parts, size = start.start() + 2 if start else len(content), [], 0
    while place < len(content) and content[place] and size <= MOST:
        parts.append(content[place + 1 : place + 1 + content[place]])
        size += len(parts[-1])
        place += 1 + content[place]
    return b"".join(parts)
