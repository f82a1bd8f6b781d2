"""Files of strangers: what is no picture, too large, a bomb or endless is refused in words, by a child that can do no harm and of which there are few."""

from __future__ import annotations

import asyncio
import contextlib
import io
import struct
import subprocess
import sys
import threading
import zlib

import numpy as np
import pytest
from fastapi import Request, Response
from PIL import Image
from serving import LONG, reply_of, serving, until
from starlette.exceptions import HTTPException

from agon.data.pictures import BadPicture
from agon.errors import UserError
from agon.playground import decode, guard
from agon.playground.desk import Desk

SMALL = np.random.RandomState(0).randint(0, 256, (12, 9, 3), np.uint8)


def saved(picture: Image.Image, kind: str, **how) -> bytes:
    out = io.BytesIO()
    picture.save(out, format=kind, **how)
    return out.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, pixels: bytes, *more: bytes) -> bytes:
    """A PNG that says of itself what it is told to."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def film(frames: int) -> bytes:
    """A GIF of so many frames, each another."""
    first = Image.fromarray(SMALL[..., 0])
    return saved(first, "GIF", save_all=True, append_images=[first.point(lambda v, shift=shift: (v + shift) % 256) for shift in range(1, frames)])


def shown(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def decoded(data: bytes) -> bytes:
    return asyncio.run(asyncio.wait_for(decode.picture(data), LONG))


ZEROS = zlib.compress(bytes(20_000_000), 9)
GOOD = saved(Image.fromarray(SMALL), "PNG")
BAD = {
    "nothing": b"", "text": b"hello", "zeros": bytes(1000),
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(/etc/passwd) (r) file\n", "pdf": b"%PDF-1.4\n1 0 obj<<>>endobj",
    "html": b"<!doctype html><script>alert(1)</script>", "zip": b"PK\3\4" + bytes(100),
    "cut in its head": GOOD[:20], "cut in its pixels": GOOD[:80], "cut jpeg": saved(Image.fromarray(SMALL).resize((200, 200)), "JPEG")[:1500],
    "cut webp": saved(Image.fromarray(SMALL).resize((200, 200)), "WEBP")[:500], "cut gif": saved(Image.fromarray(SMALL[..., 0]), "GIF")[:-60],
    "claims 10 gigapixels": png(100_000, 100_000, ZEROS), "claims 2**31": png((1 << 31) - 1, (1 << 31) - 1, ZEROS), "no width": png(0, 10, ZEROS),
    "just over the most pixels": png(50_001, 1000, ZEROS),
    "text that unpacks to 100 MB": png(9, 12, zlib.compress(SMALL.tobytes()), chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000), 9))),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_bearable_picture_is_refused_in_words(name):
    with pytest.raises((BadPicture, UserError)) as caught:
        decoded(BAD[name])
    words = str(caught.value)
    assert len(words) > 8 and "Traceback" not in words and "/site-packages/" not in words and "root:" not in words


@pytest.mark.parametrize(("data", "expected"), [
    (GOOD, SMALL), (film(300), shown(film(1))),
    (png(9, 12, zlib.compress(b"".join(b"\0" + row.tobytes() for row in SMALL) + bytes(50_000_000), 9)), SMALL),  # more than it needs is never unpacked
    (GOOD + b"<script>", SMALL),
], ids=["png", "film", "pixels to spare", "more behind its end"])  # fmt: skip
def test_a_picture_comes_through_as_its_pixels_and_nothing_else(data, expected):
    made = decoded(data)
    np.testing.assert_array_equal(shown(made), expected)
    names = []
    at = 8
    while at < len(made):
        (size,) = struct.unpack(">I", made[at : at + 4])
        names.append(made[at + 4 : at + 8])
        at += size + 12
    assert set(names) == {b"IHDR", b"IDAT", b"IEND"}, "neither texts nor profiles nor what hid behind the end"


def test_a_film_of_ten_thousand_frames_is_read_no_further_than_its_first():
    few = film(100)
    head, frames = few[:800].partition(b"\x21\xf9")[0], few[len(few[:800].partition(b"\x21\xf9")[0]) : -1]
    many = head + frames * 102 + b";"
    with Image.open(io.BytesIO(many)) as check:
        assert check.n_frames > 10_000
    np.testing.assert_array_equal(shown(decoded(many)), shown(few))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limits of resources")
@pytest.mark.parametrize(("deed", "signs"), [
    ("bytearray(3 << 30)", "MemoryError"), ("open('/tmp/agon-was-here', 'w').write('x' * 9999)", "File too large|SIGXFSZ|-25|Permission"),
    ("[open('/dev/null') for _ in range(99)]", "Too many open files"),
], ids=["memory", "writing", "files"])  # fmt: skip
def test_whoever_takes_over_the_child_has_little(tmp_path, deed, signs):
    """The limits of the child, put to the test by doing what they are against."""
    import re

    deed = deed.replace("/tmp/agon-was-here", str(tmp_path / "here"))
    code = f"from agon.playground.decode import _bound\n_bound()\nkept = {deed}\nprint('done')"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG, check=False)
    assert child.returncode != 0 and "done" not in child.stdout
    assert re.search(signs, f"{child.returncode} {child.stderr}"), child.stderr


def test_a_decoder_that_never_ends_is_ended(monkeypatch):
    """Limits of two seconds and a picture that takes longer: its child is gone, and the next picture is decoded."""
    monkeypatch.setattr(decode, "SECONDS", -4.7)  # the parent's patience is five more
    with pytest.raises(UserError, match="too long"):
        decoded(png(7000, 7000, zlib.compress(bytes(7000 * 7001 * 3), 1)))
    monkeypatch.setattr(decode, "SECONDS", 20)
    np.testing.assert_array_equal(shown(decoded(GOOD)), SMALL)


def test_few_are_decoded_at_once_and_few_wait(monkeypatch):
    """More uploads than places: the others are told to come back, and none that has a place is lost."""
    monkeypatch.setattr(decode, "_places", threading.BoundedSemaphore(3))
    running, most, lock, real = [0], [0], threading.Lock(), subprocess.run

    def counted(*words, **how):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        try:
            return real(*words, **how)
        finally:
            with lock:
                running[0] -= 1

    monkeypatch.setattr(decode.subprocess, "run", counted)

    async def scene():
        return await asyncio.gather(*(decode.picture(GOOD) for _ in range(8)), return_exceptions=True)

    found = asyncio.run(asyncio.wait_for(scene(), LONG))
    refused = [each for each in found if isinstance(each, HTTPException)]
    assert len(refused) == 5 and {error.status_code for error in refused} == {429}
    assert sum(isinstance(each, bytes) for each in found) == 3
    assert most[0] <= decode.AT_ONCE
    np.testing.assert_array_equal(shown(decoded(GOOD)), SMALL)


# --- over HTTP ----------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def receiver(tmp_path, monkeypatch):
    """A server with a route that takes pictures of at most 100,000 bytes."""
    monkeypatch.setattr(guard, "BODY_SECONDS", 1.0)
    desk = Desk(tmp_path, most_trainings=0)
    with serving(desk) as served:

        @served.launch.server.config.app.app.post("/picture")
        async def picture(request: Request) -> Response:
            return Response(await decode.picture(await desk.body(request, 100_000)), media_type="image/png")

        yield served


def send(served, body: bytes, *lines: str):
    return served.ask("/picture", "Content-Type: application/octet-stream", *lines, method="POST", body=body)


def test_a_picture_goes_in_and_comes_out(receiver):
    reply = send(receiver, GOOD)
    assert reply.status == 200 and reply.headers["content-type"] == "image/png"
    np.testing.assert_array_equal(shown(reply.body), SMALL)


@pytest.mark.parametrize(("body", "status"), [(b"", 400), (b"hello", 400), (BAD["svg"], 400), (bytes(100_001), 413), (bytes(3_000_000), 413)])
def test_an_upload_that_is_none_is_answered_in_words(receiver, body, status):
    reply = send(receiver, body) if body else receiver.ask("/picture", "Content-Length: 0", method="POST")
    assert reply.status == status and reply.error


def test_a_length_that_is_too_small_cuts_the_picture_off(receiver):
    """What is more is no part of it, and no request either."""
    with receiver.connect() as plug:
        plug.sendall(receiver.head("/picture", "Content-Length: 80", method="POST") + GOOD)
        first = reply_of(plug)
        assert first.status == 400 and "cut off" in first.error


def test_a_length_that_is_too_large_is_waited_for_no_longer_than_others(receiver):
    with receiver.connect() as plug:
        plug.sendall(receiver.head("/picture", f"Content-Length: {len(GOOD) + 1}", method="POST") + GOOD)
        assert reply_of(plug).status == 408


def test_an_upload_without_an_end_stops_being_read(receiver):
    part, sent = b"%x\r\n" % (1 << 14) + bytes(1 << 14) + b"\r\n", 0
    with receiver.connect() as plug:
        plug.sendall(receiver.head("/picture", "Transfer-Encoding: chunked", method="POST"))
        with contextlib.suppress(ConnectionError):
            while sent < 64 << 20:
                plug.sendall(part)
                sent += 1 << 14
        assert sent < 64 << 20
    until(lambda: receiver.connections == 0)
    assert send(receiver, GOOD).status == 200


def test_chunks_make_up_a_picture(receiver):
    with receiver.connect() as plug:
        plug.sendall(receiver.head("/picture", "Transfer-Encoding: chunked", method="POST"))
        for at in range(0, len(GOOD), 100):
            part = GOOD[at : at + 100]
            plug.sendall(b"%x\r\n" % len(part) + part + b"\r\n")
        plug.sendall(b"0\r\n\r\n")
        assert reply_of(plug).status == 200
