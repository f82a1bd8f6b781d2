"""Folders and files of sound, point clouds, voxels, series, text and video as one side of a comparison.

What a path may hold, by kind (arrays in .npy or .npz, one sample or many in a file):

    audio   .wav, .flac, .ogg, .mp3 (a sample a file; 16 kHz, one channel), arrays (T,) or (N, T) at 16 kHz
    cloud   .ply, .off, .xyz (a sample a file), arrays (P, 3) or (N, P, 3)
    voxels  arrays (D, H, W) or (N, D, H, W)
    series  .csv (a sample a file), arrays (T, F) or (N, T, F)
    text    .txt (a sample a line)
    video   .mp4, .webm, .avi, .mov, .mkv, .gif, .apng, .webp, folders of frames (a sample each), uint8 arrays (T, H, W, C) or (N, T, H, W, C)
    points  arrays (D,) or (N, D)
"""

from __future__ import annotations

import bisect
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agon.data.cache import digest_of, sha256_of
from agon.errors import UserError
from agon.metrics.readers import PICTURES, READERS, damaged, read_array, read_lines, read_video, too_short
from agon.metrics.sides import Cut, piece_size

ENDINGS = {
    "audio": (".wav", ".flac", ".ogg", ".mp3"), "cloud": (".ply", ".off", ".xyz"), "series": (".csv",), "text": (".txt",),
    "video": (".mp4", ".webm", ".avi", ".mov", ".mkv", ".gif", ".apng", ".webp"), "voxels": (), "points": (),
}  # fmt: skip
ARRAYS = (".npy", ".npz")
DIMENSIONS = {"audio": 1, "cloud": 2, "voxels": 3, "series": 2, "video": 4, "points": 1}  # of one sample in an array
SHAPES = {"audio": "(T,)", "cloud": "(P, 3)", "voxels": "(D, H, W)", "series": "(T, F)", "video": "(T, H, W, C)", "points": "(D,)"}
TOGETHER = {"audio": 16, "cloud": 64, "series": 256, "video": 1, "voxels": 16, "points": 256}  # files in a piece; films may differ in size, so each is alone
RULES = 1  # part of the fingerprint: raise it when a file is read differently


@dataclass(frozen=True)
class Entry:
    """A file (or a folder of frames) and how many samples it holds."""

    path: Path
    count: int


class FileSet(Cut):
    """Samples of ``kind`` below ``path``: lists for sound (float32 (T,), 16 kHz) and text, uint8 (n, C, frames, H, W) for video, else float32 (n, *shape), or
    a list where clouds differ in their number of points.

    ``files`` are the names below ``path`` where each holds one sample, else None. ``fingerprint`` is of the contents in the order of the names, not of the
    names. Raises UserError where nothing fits or a file cannot be read; the error names it.
    """

    def __init__(self, path: Path, kind: str, found: list[Path], *, frames: int):
        self.path, self.name, self.kind, self.frames = path, str(path), kind, frames
        self._lines = {file: read_lines(file) for file in found} if kind == "text" else {}
        self.entries = [entry for entry in map(self._entry, found) if entry.count]
        if not self.entries:
            raise UserError("{path} holds no sample. Expected a sample a line, or arrays that are not empty.", path=path)
        self.offsets = np.cumsum([0, *(entry.count for entry in self.entries)]).tolist()
        self.count = self.offsets[-1]
        root = path if path.is_dir() else path.parent
        single = all(entry.count == 1 for entry in self.entries) and kind != "text"
        self.files = [entry.path.relative_to(root).as_posix() for entry in self.entries] if single else None
        self.fingerprint = digest_of([RULES, kind, frames if kind == "video" else 0, [content(entry.path) for entry in self.entries]])
        self.starts = self._starts()
        self._shape: tuple[int, ...] | None = None

    def _entry(self, file: Path) -> Entry:
        if self.kind == "text":
            return Entry(file, len(self._lines[file]))
        if file.suffix.lower() not in ARRAYS or file.is_dir():
            return Entry(file, 1)
        array, dimensions = read_array(file), DIMENSIONS[self.kind]
        if array.ndim - dimensions not in (0, 1) or (self.kind == "cloud" and array.shape[-1] != 3) or (self.kind == "video" and array.dtype != np.uint8):
            raise UserError("{path} holds {dtype} {shape}. Expected for {kind} one sample {expected}, or several with their number in front{uint8}.", path=file,
                            dtype=array.dtype, shape=array.shape, kind=self.kind, expected=SHAPES[self.kind], uint8=" (uint8)" if self.kind == "video" else "")
        return Entry(file, len(array) if array.ndim > dimensions else 1)

    def _starts(self) -> list[int]:
        """Where a piece begins: single samples of several files together, a file of many by itself in pieces of bounded size."""
        cuts, held = [0], 0
        for start, entry in zip(self.offsets[:-1], self.entries, strict=True):
            if entry.count > 1 or held == TOGETHER.get(self.kind, 1):
                cuts.append(start)
                held = 0
            held += 1
            if entry.count > 1:
                size = 1000 if self.kind == "text" else piece_size(read_array(entry.path).shape[1:])
                cuts += range(start + size, start + entry.count, size)
                cuts.append(start + entry.count)
                held = 0
        return sorted({*cuts, self.count})

    def piece(self, index: int) -> tuple[np.ndarray, Any]:
        rows = np.arange(self.starts[index], self.starts[index + 1])
        first, last = rows[0], rows[-1]
        start = bisect.bisect_right(self.offsets, first) - 1
        samples: list[Any] = []
        while len(samples) < len(rows):
            entry, offset = self.entries[start], self.offsets[start]
            samples += self._read(entry, max(0, first - offset), min(entry.count, last + 1 - offset))
            start += 1
        if self.kind == "text" or self.kind == "audio":
            return rows, samples
        return rows, torch.stack(samples) if len({sample.shape for sample in samples}) == 1 else samples

    def _read(self, entry: Entry, start: int, stop: int) -> list[Any]:
        """Samples ``start`` to ``stop`` of a file, checked."""
        if self.kind == "text":
            return self._lines[entry.path][start:stop]
        if entry.path.suffix.lower() in ARRAYS and not entry.path.is_dir():
            array = read_array(entry.path)
            array = np.asarray(array[start:stop] if array.ndim > DIMENSIONS[self.kind] else array[None])
            if self.kind == "video":
                array = self._clip(array, entry.path)
        else:
            read = partial(read_video, frames=self.frames) if self.kind == "video" else READERS[self.kind]
            array = read(entry.path)[None]
        if self.kind != "video":
            array = array.astype(np.float32)
            if not np.isfinite(array).all():
                raise damaged(entry.path, "it holds values that are not finite", "finite numbers")
            if not array.size:
                raise damaged(entry.path, "it is empty", "a sample")
        self._require(array.shape[1:], entry.path)
        return list(torch.from_numpy(np.ascontiguousarray(array)))

    def _clip(self, array: np.ndarray, path: Path) -> np.ndarray:
        """(n, T, H, W, C) -> (n, C, frames, H, W)."""
        if array.shape[1] < self.frames:
            raise too_short(path, array.shape[1], self.frames)
        return array[:, : self.frames].transpose(0, 4, 1, 2, 3)

    def _require(self, shape: tuple[int, ...], path: Path) -> None:
        """Voxels, series and points must be of one shape."""
        if self.kind not in ("voxels", "series", "points"):
            return
        self._shape = self._shape or shape
        if shape != self._shape:
            raise damaged(path, f"its samples are {shape}, those before it {self._shape}", f"{self.kind} of one shape")


def content(path: Path) -> str:
    """SHA-256 of a file, or of the contents of a folder of frames."""
    if not path.is_dir():
        return sha256_of(path)
    return digest_of([sha256_of(file) for file in sorted(path.iterdir()) if file.suffix.lower() in PICTURES])


def open_files(path: str | Path, kind: str | None = None, *, frames: int = 16) -> FileSet:
    """The samples of a folder (with its sub-folders) or a single file. ``kind``: see above; None: by the endings, which arrays do not tell.

    ``frames``: of each video the first so many. Raises UserError where nothing of the kind is there.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise UserError("There is no {path}. Expected a folder or a file of samples.", path=path)
    if kind is not None and kind not in ENDINGS:
        raise UserError("There is no kind of data '{kind}'. Expected one of {known}.", kind=kind, known=", ".join(ENDINGS))
    if frames < 1:
        raise UserError("A video of {frames} frames cannot be judged. Expected 1 or more.", frames=frames)
    kind = kind or kind_of(path)
    found = [file for file in listed(path) if file.suffix.lower() in ENDINGS[kind] + (ARRAYS if kind in DIMENSIONS else ())]
    found += frame_folders(path) if kind == "video" and not found else []
    if not found:
        raise UserError("{path} holds no file of kind {kind}. Expected {endings}.", path=path, kind=kind,
                        endings=", ".join((*ENDINGS[kind], *(ARRAYS if kind in DIMENSIONS else ()))))
    return FileSet(path, kind, found, frames=frames)


def kind_of(path: Path) -> str:
    """The kind that the files' endings tell. Raises UserError where they tell none or several (a .txt beside others, such as a README, does not count)."""
    files = listed(path)
    kinds = Counter(kind for file in files for kind, endings in ENDINGS.items() if file.suffix.lower() in endings)
    if len(kinds) > 1:
        kinds.pop("text", None)
    arrays = any(file.suffix.lower() in ARRAYS for file in files)
    if len(kinds) == 1 and not (arrays and "text" in kinds):
        return next(iter(kinds))
    if not kinds and not arrays and frame_folders(path):
        return "video"
    raise UserError("What {path} holds cannot be told from the files' endings ({found}). Name it: --kind, one of {known}.", path=path,
                    known=", ".join(("image", *ENDINGS)), found=", ".join(sorted({file.suffix.lower() or "none" for file in files}))[:100] or "no files")


def listed(path: Path) -> list[Path]:
    """The file, or all files below the folder, hidden ones left out, sorted by name."""
    if path.is_file():
        return [path]
    files = [file for file in path.rglob("*") if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts)]
    return sorted(files, key=lambda file: file.relative_to(path).as_posix())


def frame_folders(path: Path) -> list[Path]:
    """The sub-folders that hold pictures, one video each; nothing where pictures lie in ``path`` itself."""
    if path.is_file() or any(file.suffix.lower() in PICTURES for file in path.iterdir()):
        return []
    return sorted({file.parent for file in listed(path) if file.suffix.lower() in PICTURES})
