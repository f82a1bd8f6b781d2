"""One file -> one or many samples, for everything that is no single picture. Errors name the file; nothing in a file is ever executed."""

from __future__ import annotations

import re
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from agon.errors import Unavailable, UserError
from agon.metrics.waves import RATE, mono, resample

PLY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4",
    "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
PLY_ORDER = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
PILLOW = (".gif", ".apng", ".webp", ".png")


def damaged(path: Path, why: object, expected: str) -> UserError:
    return UserError("{path} cannot be read: {why}. Expected {expected}: mend or remove the file.", path=path, why=" ".join(str(why).split())[:200],
                     expected=expected)


def too_short(path: Path, count: int, frames: int) -> UserError:
    return UserError("{path} has {count} frames. Expected {frames} or more: give longer clips, or ask for fewer frames.", path=path, count=count, frames=frames)


def read_array(path: Path) -> np.ndarray:
    """The array of a .npy (memory-mapped), or the only one of a .npz (of several the one called samples, data or arr_0). Numbers or booleans, no objects."""
    expected = "one array of numbers, as numpy.save writes it"
    try:
        loaded = np.load(path, mmap_mode="r" if path.suffix.lower() == ".npy" else None, allow_pickle=False)
        if not isinstance(loaded, np.ndarray):
            with loaded:
                keys = list(loaded.keys())
                key = next((key for key in ("samples", "data", "arr_0") if key in keys), keys[0] if len(keys) == 1 else None)
                if key is None:
                    raise ValueError(f"it holds {len(keys)} arrays ({', '.join(keys[:5])}), none called samples")
                loaded = loaded[key]
    except (OSError, ValueError, EOFError) as error:
        raise damaged(path, error, expected) from None
    except Exception as error:  # a damaged ZIP has many faces (zipfile, zlib)
        raise damaged(path, error or type(error).__name__, expected) from None
    if loaded.dtype.kind not in "biuf":
        raise damaged(path, f"its values are {loaded.dtype}", expected)
    return loaded


def read_sound(path: Path) -> np.ndarray:
    """float32 (T,) at 16 kHz, the mean of the channels: .wav of 8, 16, 24 or 32 bits PCM; anything else through the package soundfile, if it is there."""
    rate, sound = _pcm(path) if path.suffix.lower() == ".wav" else (0, None)
    if sound is None:
        rate, sound = _soundfile(path)
    return resample(mono(sound), rate, RATE).astype(np.float32)


def _pcm(path: Path) -> tuple[int, np.ndarray | None]:
    """(rate, (channels, T)) of a PCM .wav, None for what the standard library cannot read (floats, compressed)."""
    try:
        with wave.open(str(path), "rb") as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError):
        return 0, None
    except OSError as error:
        raise damaged(path, error.strerror or error, "a readable file") from None
    data = data[: len(data) // (width * channels) * width * channels]
    if width == 3:
        small = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.int32)
        values = ((small[:, 0] | small[:, 1] << 8 | small[:, 2] << 16) ^ 0x800000) - 0x800000
    else:
        values = np.frombuffer(data, {1: "u1", 2: "<i2", 4: "<i4"}[width]).astype(np.int64) - (128 if width == 1 else 0)
    return rate, values.reshape(-1, channels).T / 2.0 ** (8 * width - 1)


def _soundfile(path: Path) -> tuple[int, np.ndarray]:
    try:
        import soundfile
    except (ImportError, OSError):
        raise Unavailable("{path} is no PCM .wav, and reading it needs the package soundfile. Install it: pip install soundfile", path=path) from None
    try:
        sound, rate = soundfile.read(str(path), dtype="float64", always_2d=True)
    except (RuntimeError, OSError, TypeError) as error:
        raise damaged(path, error, "a sound file") from None
    return rate, sound.T


def read_cloud(path: Path) -> np.ndarray:
    """float32 (P, 3): .ply (ascii or binary), .off, .xyz (three numbers a line, more are left out)."""
    read = {".ply": _ply, ".off": _off}.get(path.suffix.lower(), lambda text: np.loadtxt(text.decode().splitlines(), usecols=(0, 1, 2), ndmin=2))
    try:
        points = np.asarray(read(path.read_bytes()), np.float32).reshape(-1, 3)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise damaged(path, error, "a point cloud: .ply with vertices of x, y, z, .off, or .xyz") from None
    if not len(points):
        raise damaged(path, "it has no points", "a point cloud")
    return points


def _ply(data: bytes) -> np.ndarray:
    """http://paulbourke.net/dataformats/ply/: the vertices' x, y, z. They must be the first element."""
    head, mark, body = data.partition(b"end_header")
    if not data.startswith(b"ply") or not mark:
        raise ValueError("it is no PLY file")
    body = body[body.index(b"\n") + 1 :]
    lines = [line.split() for line in head.decode("ascii", "replace").splitlines()]
    order = next(PLY_ORDER[line[1]] for line in lines if line[:1] == ["format"])
    elements = [index for index, line in enumerate(lines) if line[:1] == ["element"]]
    if not elements or lines[elements[0]][1] != "vertex":
        raise ValueError("its first element is not vertex")
    count = int(lines[elements[0]][2])
    properties = [line for line in lines[elements[0] + 1 : elements[1] if len(elements) > 1 else None] if line[:1] == ["property"]]
    names = [line[-1] for line in properties]
    if not order:
        return np.loadtxt(body.decode().splitlines()[:count], usecols=[names.index(axis) for axis in "xyz"], ndmin=2)
    table = np.frombuffer(body, np.dtype([(line[-1], order + PLY_TYPES[line[1]]) for line in properties]), count)
    return np.stack([table[axis] for axis in "xyz"], 1)


def _off(data: bytes) -> np.ndarray:
    """https://segeval.cs.princeton.edu/public/off_format.html: "OFF", counts, then the vertices; ModelNet has files with the counts right behind "OFF"."""
    words = re.sub(r"#[^\n]*", "", data.decode("ascii", "replace")).lstrip()
    if not words.startswith("OFF"):
        raise ValueError("it does not begin with OFF")
    numbers = words[3:].split()
    count = int(numbers[0])
    return np.array(numbers[3 : 3 + 3 * count], np.float64).reshape(count, 3)


def read_series(path: Path) -> np.ndarray:
    """float32 (T, F) of a .csv: a step a row; a first row that is no numbers is a head."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        try:
            [float(cell) for cell in lines[0].split(",")]
        except ValueError:
            lines = lines[1:]
        return np.loadtxt(lines, delimiter=",", dtype=np.float32, ndmin=2, comments=None)
    except (OSError, ValueError, IndexError) as error:
        raise damaged(path, error or "it is empty", "rows of numbers with commas between") from None


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text that are not blank."""
    try:
        return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise damaged(path, error, "text in UTF-8") from None


def read_video(path: Path, frames: int) -> np.ndarray:
    """uint8 (3, frames, H, W): the first ``frames`` of a film, an animation, or a folder of pictures in the order of their numbers."""
    found = []
    try:
        for frame in _folder(path) if path.is_dir() else _animation(path) if path.suffix.lower() in PILLOW else _film(path):
            found.append(frame)
            if len(found) == frames:
                break
    except UserError:
        raise
    except Exception as error:  # decoders fail in many ways
        raise damaged(path, error or type(error).__name__, "a film, an animation or a folder of frames") from None
    if len(found) < frames:
        raise too_short(path, len(found), frames)
    if len({frame.shape for frame in found}) > 1:
        raise damaged(path, "its frames differ in size", "frames of one size")
    return np.stack(found).transpose(3, 0, 1, 2)


def natural(name: str) -> list[tuple[int, object]]:
    """A key that sorts frame2 before frame10."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name) if part]


def _folder(path: Path) -> Iterator[np.ndarray]:
    from PIL import Image

    for file in sorted((file for file in path.iterdir() if file.suffix.lower() in PICTURES), key=lambda file: natural(file.name)):
        with Image.open(file) as picture:
            yield np.asarray(picture.convert("RGB"))


def _animation(path: Path) -> Iterator[np.ndarray]:
    from PIL import Image, ImageSequence

    with Image.open(path) as picture:
        for frame in ImageSequence.Iterator(picture):
            yield np.asarray(frame.convert("RGB"))


def _film(path: Path) -> Iterator[np.ndarray]:
    try:
        import av
    except ImportError:
        raise Unavailable("{path}: reading films needs the package av. Install it: pip install av", path=path) from None
    with av.open(str(path)) as film:
        for frame in film.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


READERS: dict[str, Callable[[Path], np.ndarray]] = {"audio": read_sound, "cloud": read_cloud, "series": read_series}
