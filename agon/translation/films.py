"""Films, animations and streams of frames, in and out, a frame at a time.

Films go through the package av; GIF, APNG and animated WebP through Pillow, timing and loops kept. A stream is one picture file behind the other (PNG or JPEG,
as ``ffmpeg -f image2pipe`` writes and reads them) or bare pixels, three bytes each.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from agon.data.pictures import MAX_PIXELS, BadPicture
from agon.errors import Unavailable, UserError, writing

FILMS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".3gp", ".ogv")
ANIMATIONS = (".gif", ".webp", ".png", ".apng")
CODECS = {".webm": ("libvpx-vp9", "libvpx"), ".ogv": ("libtheora",), ".avi": ("mpeg4",), ".mpg": ("mpeg2video",), ".mpeg": ("mpeg2video",)}
COMMON = ("libx264", "mpeg4")
PNG_HEAD, JPEG_HEAD = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
MOST_BYTES = 256 << 20
"""Of one frame in a stream: a damaged one cannot ask for all memory."""


@dataclass
class Film:
    """``frames``: (4, H, W) uint8 each, with its time in seconds; read once. ``rate``: frames a second, ``count``: how many there may be (0: not known)."""

    frames: Iterator[tuple[np.ndarray, float]]
    rate: Fraction
    count: int
    details: dict[str, Any] = field(default_factory=dict)


def is_film(path: Path) -> bool:
    """Whether ``path`` names a film, or an animated picture of more than one frame."""
    if path.suffix.lower() in FILMS:
        return True
    if path.suffix.lower() not in ANIMATIONS or not path.is_file():
        return False
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return getattr(picture, "n_frames", 1) > 1
    except Exception:  # a damaged picture is named as such where it is opened
        return False


@contextmanager
def opened(path: Path) -> Iterator[Film]:
    """A film's frames. Raises UserError for a file that is none, and Unavailable without the package av."""
    if path.suffix.lower() in ANIMATIONS:
        yield _animation(path)
        return
    av = _av(path)
    try:
        container = av.open(str(path))
    except (OSError, av.error.FFmpegError) as error:
        raise _damaged(path, error) from None
    with container:
        if not container.streams.video:
            raise _damaged(path, "it has no pictures")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        yield Film(_frames(av, path, container, stream), stream.average_rate or stream.guessed_rate or Fraction(25), stream.frames)


def _av(path: object) -> Any:
    try:
        import av
    except ImportError:
        raise Unavailable("{path}: films need the package av. Install it: pip install av", path=path) from None
    return av


def _damaged(path: object, why: object) -> UserError:
    return UserError("{path} cannot be read as a film: {why}. Expected a whole film or animation of one frame or more: mend it, or give pictures.", path=path,
                     why=" ".join(str(why).split())[:200])


def _frames(av: Any, path: Path, container: Any, stream: Any) -> Iterator[tuple[np.ndarray, float]]:
    number = 0
    try:
        for frame in container.decode(stream):
            if frame.width * frame.height > MAX_PIXELS:
                raise _damaged(path, f"it has frames of {frame.width}x{frame.height} pixels")
            pixels = np.rot90(frame.to_ndarray(format="rgba"), getattr(frame, "rotation", 0) // 90 % 4)
            yield np.ascontiguousarray(pixels.transpose(2, 0, 1)), float(frame.time) if frame.time is not None else number / float(stream.average_rate or 25)
            number += 1
    except av.error.FFmpegError as error:
        if not number:
            raise _damaged(path, error) from None
    if not number:
        raise _damaged(path, "it has no frames")


def _animation(path: Path) -> Film:
    from PIL import Image, ImageSequence

    picture = Image.open(path)
    times: list[float] = []

    def frames() -> Iterator[tuple[np.ndarray, float]]:
        at = 0.0
        try:
            for frame in ImageSequence.Iterator(picture):
                times.append(float(frame.info.get("duration", 100) or 100))
                yield np.ascontiguousarray(np.asarray(frame.convert("RGBA")).transpose(2, 0, 1)), at
                at += times[-1] / 1000
        except (OSError, SyntaxError, ValueError) as error:
            if not times:
                raise _damaged(path, error) from None
        finally:
            picture.close()

    return Film(frames(), Fraction(10), getattr(picture, "n_frames", 0), {"durations": times, "loop": picture.info.get("loop")})


def write(path: Path, frames: Iterable[tuple[np.ndarray, float]], film: Film, sound: Path | None = None) -> int:
    """Write (h, w) or (h, w, 2, 3 or 4) uint8 frames with their times, under a temporary name until it is whole; how many there were. ``sound``: a film whose
    sound is kept where the new file can hold it."""
    if path.suffix.lower() not in FILMS + ANIMATIONS:
        raise UserError("A film cannot be written as {path}. Expected one of: {known}.", path=path, known=", ".join(FILMS[:5] + ANIMATIONS))
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            count = (_write_animation if path.suffix.lower() in ANIMATIONS else _write_film)(temporary, frames, film, sound)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    return count


def _write_animation(path: Path, frames: Iterable[tuple[np.ndarray, float]], film: Film, sound: Path | None) -> int:
    from PIL import Image

    pictures = [Image.fromarray(pixels) for pixels, _ in frames]  # Pillow keeps them all in any case
    durations = film.details.get("durations") or [1000 / float(film.rate)] * len(pictures)
    loop = film.details.get("loop", 0)  # a film that becomes an animation goes on for ever; None: the animation was shown once
    how: dict[str, Any] = {"save_all": True, "append_images": pictures[1:], "duration": [round(each) for each in durations], "disposal": 2}
    suffix = path.suffix.lower()
    how |= {} if loop is None else {"loop": loop}
    if suffix == ".webp":
        how = how | {"quality": 95, "loop": 1 if loop is None else loop, "minimize_size": False}
        how.pop("disposal")
    if suffix in (".png", ".apng"):
        how["disposal"] = 0
    pictures[0].save(path, format={".gif": "GIF", ".webp": "WEBP"}.get(suffix, "PNG"), **how)
    return len(pictures)


def _write_film(path: Path, frames: Iterable[tuple[np.ndarray, float]], film: Film, sound: Path | None) -> int:
    av = _av(path)
    count, stream, last = 0, None, -1
    with av.open(str(path), "w") as out, _sound(av, out, sound) as spoken_until:
        for pixels, at in frames:
            if stream is None:
                stream = _video_stream(av, out, path, film.rate, pixels.shape)
            base = stream.codec_context.time_base
            frame = av.VideoFrame.from_ndarray(over_white(pixels), format="rgb24")
            last = max(last + 1, round(at / base))
            frame.pts, frame.time_base = last, base
            out.mux(stream.encode(frame))
            spoken_until(at)
            count += 1
        if stream is not None:
            out.mux(stream.encode())
        spoken_until(float("inf"))
    return count


def _video_stream(av: Any, out: Any, path: Path, rate: Fraction, shape: tuple[int, ...]) -> Any:
    """A stream of this size. Odd sides need whole colours in H.264, which half of them cannot be cut into."""
    height, width = shape[:2]
    for name in CODECS.get(path.suffix.lower(), COMMON):
        if name in av.codecs_available:
            stream = out.add_stream(name, rate=rate)
            stream.width, stream.height = width, height
            stream.pix_fmt = "yuv444p" if name == "libx264" and (height % 2 or width % 2) else "yuv420p"
            fine = name in ("libx264", "libvpx-vp9")  # the others count in frames: a film of changing rate becomes an even one
            stream.codec_context.time_base = Fraction(1, 90000) if fine else 1 / rate
            if name == "libx264":
                stream.options = {"crf": "17", "preset": "medium"}
            elif name.startswith("libvpx"):
                stream.options = {"crf": "20", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}
            else:
                stream.bit_rate = int(height * width * float(rate) * 0.4)
            return stream
    raise UserError("{path} cannot be written: this av has no encoder for it. Expected another ending, for example .mp4 or .mkv.", path=path)


@contextmanager
def _sound(av: Any, out: Any, path: Path | None) -> Iterator[Any]:
    """A function that copies the sound of the film ``path`` as it is into ``out``, up to a time in seconds; one that does nothing where there is none or the
    file cannot hold it."""
    if path is None or path.suffix.lower() in ANIMATIONS:
        yield lambda until: None
        return
    with av.open(str(path)) as source:
        heard, spoken = next(iter(source.streams.audio), None), None
        try:
            if heard is not None and heard.codec_context.name in out.supported_codecs:
                spoken = out.add_stream_from_template(heard)
        except (ValueError, AttributeError, av.error.FFmpegError):  # another container, an av without templates: the film goes without its sound
            pass
        packets = iter(source.demux(heard)) if spoken is not None else iter(())
        waiting: list[Any] = []

        def copy(until: float) -> None:
            while (packet := waiting.pop() if waiting else next(packets, None)) is not None:
                if packet.dts is None:
                    continue
                if float(packet.dts * packet.time_base) > until:
                    waiting.append(packet)
                    return
                packet.stream = spoken
                out.mux(packet)

        yield copy


def over_white(pixels: np.ndarray) -> np.ndarray:
    """(h, w) or (h, w, 2, 3 or 4) -> (h, w, 3): over white."""
    from PIL import Image

    picture = Image.fromarray(pixels)
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        clear = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", clear.size, (255, 255, 255, 255)), clear)
    return np.asarray(picture.convert("RGB"))


# --- streams ------------------------------------------------------------------------------------------------------------------------------


def raw_frames(stream: BinaryIO, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """(4, H, W) uint8 from bare rgb24 of (height, width). Raises BadPicture where the last frame is cut off."""
    height, width = size
    while data := _exactly(stream, height * width * 3):
        if len(data) < height * width * 3:
            raise BadPicture(f"ends within a frame ({len(data)} of {height * width * 3} bytes): is --size right?")
        pixels = np.frombuffer(data, np.uint8).reshape(height, width, 3).transpose(2, 0, 1)
        yield np.concatenate([pixels, np.full((1, height, width), 255, np.uint8)])


def picture_files(stream: BinaryIO) -> Iterator[bytes]:
    """The picture files (PNG or JPEG) that come one behind the other. Raises BadPicture for anything else and for one that is cut off."""
    stream = stream if hasattr(stream, "peek") else io.BufferedReader(stream)
    while head := _exactly(stream, 2):
        if head == JPEG_HEAD:
            yield _jpeg(stream)
        elif head == PNG_HEAD[:2] and _exactly(stream, 6) == PNG_HEAD[2:]:
            yield _png(stream)
        else:
            raise BadPicture(f"is no stream of PNG or JPEG pictures (it goes on with {head!r}); for bare pixels say --size WIDTHxHEIGHT")


def _png(stream: BinaryIO) -> bytes:
    found = bytearray(PNG_HEAD)
    while True:
        head = _all_of(stream, 8)
        length = int.from_bytes(head[:4], "big")
        if len(found) + length > MOST_BYTES:
            raise BadPicture("has a damaged frame: a part of it claims to be larger than any frame")
        found += head + _all_of(stream, length + 4)
        if head[4:] == b"IEND":
            return bytes(found)


def _jpeg(stream: io.BufferedReader) -> bytes:
    """From behind the head to the end marker: segments by their lengths, compressed pixels up to the next real marker."""
    found = bytearray(JPEG_HEAD)
    marker = _all_of(stream, 2)
    while True:
        found += marker
        if len(found) > MOST_BYTES or marker[0] != 0xFF:
            raise BadPicture("has a damaged frame: its JPEG markers make no sense")
        if marker[1] == 0xD9:
            return bytes(found)
        if marker[1] == 0xFF:  # fill bytes
            marker = marker[1:] + _all_of(stream, 1)
            continue
        length = _all_of(stream, 2)
        found += length + _all_of(stream, max(0, int.from_bytes(length, "big") - 2))
        marker = _scan(stream, found) if marker[1] == 0xDA else _all_of(stream, 2)


def _scan(stream: io.BufferedReader, found: bytearray) -> bytes:
    """Compressed pixels into ``found``; the marker that ends them."""
    while True:
        waiting = stream.peek(1)
        plain = waiting.find(b"\xff")
        if plain:  # far faster than byte by byte
            found += _all_of(stream, plain if plain > 0 else max(1, len(waiting)))
            if len(found) > MOST_BYTES:
                raise BadPicture("has a damaged frame: it does not end")
            continue
        byte, after = _all_of(stream, 1), _all_of(stream, 1)
        if after[0] == 0 or 0xD0 <= after[0] <= 0xD7:
            found += byte + after
        else:
            return byte + after


def _all_of(stream: BinaryIO, count: int) -> bytes:
    data = _exactly(stream, count)
    if len(data) < count:
        raise BadPicture("ends within a frame")
    return data


def _exactly(stream: BinaryIO, count: int) -> bytes:
    """``count`` bytes, fewer only at the end of the stream."""
    parts, left = [], count
    while left and (part := stream.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def encoded(pixels: np.ndarray, form: str) -> bytes:
    """A frame as the bytes that a stream of the ``form`` "png", "jpeg" or "raw" carries."""
    from PIL import Image

    if form == "raw":
        return over_white(pixels).tobytes()
    buffer = io.BytesIO()
    if form == "png":
        Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    else:
        Image.fromarray(over_white(pixels)).save(buffer, format="JPEG", quality=95, subsampling=0)
    return buffer.getvalue()
