"""Decoded pixels on disk, so that a picture is decoded once and not once a run: no torch here.

Layout below ``$AGON_CACHE`` (else ~/.cache/agon); everything in it can be deleted at any time:

    stamps/<sha256 of path, names, sizes, mtimes and ctimes>.json   -> the content's SHA-256, so that opening again reads no picture
    pixels/<sha256 of content, size, channels, decoding rules>.npy  -> (N, C, H, W) uint8
    pixels/<the same>.json                                          -> labels, events, and the SHA-256 of every 4 MiB; written last

A file gets its final name after fsync, by a rename. Damage is found by size and hashes: all blocks up to 256 MiB, above that 64 blocks
spread over the file. A cache that cannot be written (full disk, no permission) costs time and never a run: pixels stay in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

BLOCK = 4 << 20
WHOLE_BYTES = 256 << 20  # up to here everything is verified and read into memory; above, memory-mapped and spot-checked
SPOT_BLOCKS = 64
HEADER_BYTES = 128
ABANDONED_SECONDS = 86_400  # a temporary file that nobody has written to for a day belongs to a process that was killed


def cache_folder(cache_dir: Path | None = None) -> Path:
    """``cache_dir``, else $AGON_CACHE, else $XDG_CACHE_HOME/agon, else ~/.cache/agon. Not created here."""
    if cache_dir is not None:
        return Path(cache_dir).expanduser()
    if os.environ.get("AGON_CACHE"):
        return Path(os.environ["AGON_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "agon"


def digest_of(value: Any) -> str:
    """SHA-256 (hex) of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_record(path: Path, value: dict) -> None:
    """A JSON object with its own hash, in one step: readers see the old, the new or no file. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"sha256": digest_of(value), "value": value}, file)
            _flush(file)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_record(path: Path) -> dict | None:
    """What ``write_record`` wrote, or None where it is missing or damaged."""
    try:
        record = json.loads(path.read_bytes())
        return record["value"] if record["sha256"] == digest_of(record["value"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def sweep(folder: Path, prefix: str) -> None:
    """Remove temporary files that a killed process left behind; those of a living one are younger."""
    with contextlib.suppress(OSError):
        for path in folder.glob(f"{prefix}*"):
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                path.unlink(missing_ok=True)


def load_pixels(folder: Path, key: str) -> tuple[np.ndarray | None, dict, str]:
    """(pixels, meta, why). ``why`` says what was wrong with a damaged entry and is "" where there was none or all is well."""
    record_path, pixel_path = folder / "pixels" / f"{key}.json", folder / "pixels" / f"{key}.npy"
    record = read_record(record_path)
    if record is None:  # another process may just be replacing it: asked after reading, "not there" is the likelier answer
        return None, {}, "its record is damaged" if record_path.exists() else ""
    try:
        # "c" (copy on write) because torch refuses to share a read-only array; nothing ever writes to it.
        mapped = np.load(pixel_path, mmap_mode="c", allow_pickle=False)
        if mapped.dtype != np.uint8 or list(mapped.shape) != record["shape"] or pixel_path.stat().st_size != HEADER_BYTES + mapped.size:
            return None, {}, "its shape is not the one recorded"
        why = _verify(pixel_path, record["blocks"])
        small = mapped.nbytes <= WHOLE_BYTES
        return (None, {}, why) if why else (np.array(mapped) if small else mapped, record["meta"], "")
    except (OSError, ValueError, EOFError) as error:
        return None, {}, f"its pixels cannot be read ({error})"


def _verify(path: Path, blocks: Sequence[str]) -> str:
    """Compare the SHA-256 of all blocks, or of ``SPOT_BLOCKS`` spread over a large file."""
    chosen = range(len(blocks))
    if len(blocks) * BLOCK > WHOLE_BYTES:
        chosen = sorted({round(position) for position in np.linspace(0, len(blocks) - 1, SPOT_BLOCKS)})
    with open(path, "rb") as file:
        for index in chosen:
            file.seek(HEADER_BYTES + index * BLOCK)
            if hashlib.sha256(file.read(BLOCK)).hexdigest() != blocks[index]:
                return f"block {index} of {len(blocks)} does not match its SHA-256"
    return ""


class PixelWriter:
    """Takes (n, C, H, W) uint8 pictures as they are decoded and ends with one array: in the cache file, or in memory where that fails.

    Sequential writes, because a write into a memory map of a full disk kills the process with SIGBUS instead of raising.
    """

    def __init__(self, folder: Path, key: str, shape: tuple[int, int, int]):
        self.folder, self.key, self.shape, self.count, self.why = folder / "pixels", key, shape, 0, ""
        self._digest = hashlib.sha256()
        self._memory: list[np.ndarray] = []
        self._blocks: list[str] = []
        self._pending = bytearray()
        self._file = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            sweep(self.folder, ".writing-")
            handle, self._temporary = tempfile.mkstemp(dir=self.folder, prefix=".writing-")
            # Unbuffered: what was appended before a failure is then in the file, and can be read back from it.
            self._file = os.fdopen(handle, "w+b", buffering=0)
            self._write(bytes(HEADER_BYTES))
        except OSError as error:
            self._give_up(error)

    def __enter__(self) -> PixelWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            Path(self._temporary).unlink(missing_ok=True)

    def append(self, pictures: np.ndarray) -> None:
        """Add (n, C, H, W) uint8."""
        assert pictures.dtype == np.uint8 and pictures.shape[1:] == self.shape, (pictures.dtype, pictures.shape)
        data = np.ascontiguousarray(pictures)
        self._digest.update(data.data)
        if self._file is not None:
            try:
                self._write(data.data.cast("B"))
                self._hash(data)
            except OSError as error:
                self._give_up(error)
        if self._file is None:
            self._memory.append(data)
        self.count += len(data)

    def content_sha256(self) -> str:
        """SHA-256 (hex) over shape and pixels so far, the same whether they lie in the file or in memory."""
        return hashlib.sha256(f"{self.count}{self.shape}".encode() + self._digest.digest()).hexdigest()

    def finish(self, meta: dict) -> np.ndarray:
        """The whole array, (N, C, H, W). Small ones lie in memory, large ones in the memory-mapped cache file."""
        whole = (self.count, *self.shape)
        if self._file is not None:
            try:
                self._publish(whole, meta)
            except OSError as error:
                self._give_up(error)
            else:
                mapped = np.load(self.folder / f"{self.key}.npy", mmap_mode="c", allow_pickle=False)
                return np.array(mapped) if mapped.nbytes <= WHOLE_BYTES else mapped
        return np.concatenate(self._memory) if self._memory else np.empty(whole, np.uint8)

    def _publish(self, whole: tuple[int, ...], meta: dict) -> None:
        if self._pending:
            self._blocks.append(hashlib.sha256(self._pending).hexdigest())
            self._pending = bytearray()
        self._file.seek(0)
        self._write(_npy_header(whole))
        _flush(self._file)
        record_path = self.folder / f"{self.key}.json"
        record_path.unlink(missing_ok=True)  # an older damaged entry must not vouch for the new pixels
        os.replace(self._temporary, self.folder / f"{self.key}.npy")
        write_record(record_path, {"shape": list(whole), "blocks": self._blocks, "meta": meta})
        self._file.close()
        self._file = None

    def _write(self, data: bytes | memoryview) -> None:
        """All of it: a raw file writes only a part when the disk fills up, and says why at the next attempt."""
        view = memoryview(data)
        while view:
            view = view[self._file.write(view):]

    def _hash(self, data: np.ndarray) -> None:
        self._pending += data.data.cast("B")
        while len(self._pending) >= BLOCK:
            self._blocks.append(hashlib.sha256(self._pending[:BLOCK]).hexdigest())
            del self._pending[:BLOCK]

    def _give_up(self, error: OSError) -> None:
        """Go on in memory with what was written so far."""
        self.why = f"{self.folder} cannot be written ({error.strerror or error})"
        file, self._file = self._file, None
        if file is None:
            return
        file.close()
        left = Path(self._temporary) if Path(self._temporary).exists() else self.folder / f"{self.key}.npy"
        data = np.fromfile(left, np.uint8, count=self.count * int(np.prod(self.shape)), offset=HEADER_BYTES)
        self._memory = [data.reshape(self.count, *self.shape)]
        left.unlink()


def _npy_header(shape: tuple[int, ...]) -> bytes:
    """Version 1.0 of the .npy format, padded to 128 bytes whatever the shape, so that it can be written when the count is known."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode("latin1")
    return b"\x93NUMPY\x01\x00" + (HEADER_BYTES - 10).to_bytes(2, "little") + text.ljust(HEADER_BYTES - 11) + b"\n"


def _flush(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
