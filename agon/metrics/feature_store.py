"""Features of both sides, computed once: in one pass over the samples for all extractors, shared by all processes, kept on disk for data that do not change.

Layout below the cache folder: features/<sha256>.npy (N, F) float32 and features/<the same>.json with what it is of and its hash. The key is made of
the content's fingerprint, the extractor with its weights' hash and protocol, and the layer: never of a file's name. Everything in it can be deleted
at any time.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from agon.data.cache import cache_folder, digest_of, read_record, sha256_of, sweep, write_record
from agon.errors import UserError
from agon.metrics.features.base import Extractor
from agon.metrics.sides import Side
from agon.metrics.together import agree, gathered

RULES = 2  # part of every key: raise it when features change though no extractor did
IN_MEMORY_BYTES = 512 << 20  # larger arrays lie in an unlinked file, memory-mapped
BATCH = 64


class Kept(NamedTuple):
    """``features`` (N, F) of the samples at ``rows`` (N,): all but those that could not be read."""

    features: np.ndarray
    rows: np.ndarray


class FeatureStore:
    """``cache_dir``: see ``agon.data.cache.cache_folder``; ``cached=False`` neither reads nor writes the disk.

    ``passes`` counts the passes over samples that were needed: 0 when everything was on the disk.
    """

    def __init__(self, cache_dir: Path | None = None, *, cached: bool = True):
        self.folder = cache_folder(cache_dir) / "features"
        self.cached, self.passes = cached, 0
        self._known: dict[tuple[int, str, str], Kept] = {}
        self.held: dict[int, Side] = {}  # training sides, by the id() of their sources
        self._alive: list[tuple[Side, Extractor]] = []  # their id() is a key

    def get(self, side: Side, extractor: Extractor, layer: str) -> np.ndarray:
        """(N, F) float32, read-only: a row for each sample that could be read."""
        self.collect(side, [(extractor, layer)])
        return self._known[id(side), key_of(extractor), layer].features

    def rows(self, side: Side, extractor: Extractor, layer: str) -> np.ndarray:
        """(N,) which sample each row of ``get`` is of: a damaged file has none."""
        self.collect(side, [(extractor, layer)])
        return self._known[id(side), key_of(extractor), layer].rows

    def collect(self, side: Side, wanted: Iterable[tuple[Extractor, str]]) -> None:
        """See that all of ``wanted`` (extractor, layer) are known, in at most one pass over ``side``."""
        missing: dict[str, tuple[Extractor, list[str]]] = {}
        for extractor, layer in wanted:
            key = key_of(extractor)
            if (id(side), key, layer) in self._known or layer in missing.get(key, (None, ()))[1]:
                continue
            found = self._read(side, extractor, layer)
            if all(gathered(found is not None)):  # machines need not share a disk, and all must go the same way
                self._keep(side, extractor, layer, found)
            else:
                missing.setdefault(key, (extractor, []))[1].append(layer)
        if missing:
            for (extractor, layer), found in self._compute(side, list(missing.values())):
                self._keep(side, extractor, layer, found)
                self._write(side, extractor, layer, found)

    def _keep(self, side: Side, extractor: Extractor, layer: str, found: Kept) -> None:
        self._alive.append((side, extractor))
        self._known[id(side), key_of(extractor), layer] = found

    # --- one pass ---------------------------------------------------------------------------------------------------------------------

    def _compute(self, side: Side, extractors: list[tuple[Extractor, list[str]]]) -> list[tuple[tuple[Extractor, str], Kept]]:
        self.passes += 1
        made, seen = agree(lambda: self._pass(side, extractors))
        if dist.is_initialized() and dist.get_world_size() > 1:
            share(made, seen, side.count, extractors)
        rows = np.flatnonzero(seen)
        if not len(rows):
            raise UserError("No sample of '{data}' can be read. Expected files that are whole: get them anew.", data=side.name)
        return [
            ((extractor, layer), Kept(check(features if len(rows) == side.count else features[rows], extractor, side), rows))
            for extractor, layers in extractors
            for layer in layers
            for features in (made[key_of(extractor), layer],)
        ]

    def _pass(self, side: Side, extractors: list[tuple[Extractor, list[str]]]) -> tuple[dict[tuple[str, str], np.ndarray], np.ndarray]:
        """(features by extractor and layer, which samples they are of): this process's part of the pieces, zeros elsewhere."""
        from tqdm import tqdm

        rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        made: dict[tuple[str, str], np.ndarray] = {}  # allocated when the first piece shows how long the vectors are
        seen = np.zeros(side.count, np.uint8)
        bar = tqdm(total=side.count, desc=f"features of {Path(side.name).name}", unit=" samples", file=sys.stderr,
                   disable=not sys.stderr.isatty() or rank > 0, leave=False)  # fmt: skip
        with bar:
            for rows, samples in side.pieces(range(rank, side.num_pieces, world)):
                seen[rows] = 1
                for extractor, layers in extractors if len(rows) else ():
                    for layer, values in run(extractor, samples, layers).items():
                        target = made.get((key_of(extractor), layer))
                        if target is None:
                            target = made[key_of(extractor), layer] = zeros(side.count, values.shape[1])
                        target[rows] = values
                bar.update(len(rows) * world)
        return made, seen

    # --- the disk ---------------------------------------------------------------------------------------------------------------------

    def _paths(self, side: Side, extractor: Extractor, layer: str) -> tuple[Path, Path]:
        key = digest_of([RULES, side.fingerprint, side.count, key_of(extractor), layer])
        return self.folder / f"{key}.npy", self.folder / f"{key}.json"

    def _usable(self, side: Side, extractor: Extractor) -> bool:
        return self.cached and bool(side.fingerprint) and getattr(extractor, "cached", True)

    def _read(self, side: Side, extractor: Extractor, layer: str) -> Kept | None:
        if not self._usable(side, extractor):
            return None
        path, record_path = self._paths(side, extractor, layer)
        record = read_record(record_path)
        try:
            if record is None or sha256_of(path) != record["sha256"]:
                return None
            return Kept(np.load(path, mmap_mode="r", allow_pickle=False), np.delete(np.arange(side.count), record["left_out"]))
        except (OSError, ValueError, KeyError, IndexError):
            return None

    def _write(self, side: Side, extractor: Extractor, layer: str, found: Kept) -> None:
        """A cache that cannot be written costs time and never an evaluation."""
        if not self._usable(side, extractor) or (dist.is_initialized() and dist.get_rank()):
            return
        path, record_path = self._paths(side, extractor, layer)
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            sweep(self.folder, ".writing-")
            handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=".writing-", suffix=".npy")
            try:
                with os.fdopen(handle, "wb") as file:
                    np.save(file, found.features, allow_pickle=False)
                digest = sha256_of(Path(temporary))
                os.replace(temporary, path)
            except OSError:
                Path(temporary).unlink(missing_ok=True)
                raise
            what = {"data": side.name, "extractor": extractor.name, "extractor_sha256": extractor.sha256, "layer": layer, **extractor.protocol}
            left_out = np.setdiff1d(np.arange(side.count), found.rows).tolist()
            write_record(record_path, {"sha256": digest, "left_out": left_out, "of": what})


def key_of(extractor: Extractor) -> str:
    """One for each extractor that may give other numbers; one of which nothing is known is like no other."""
    own = 0 if extractor.sha256 or getattr(extractor, "cached", True) else id(extractor)
    return digest_of([extractor.name, extractor.sha256, extractor.protocol, own])


def run(extractor: Extractor, samples: Tensor | list, layers: list[str]) -> dict[str, np.ndarray]:
    """One piece through an extractor, BATCH at a time, in true float32: a GPU's convolutions are not by default."""
    size, before = getattr(extractor, "batch", BATCH), torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        parts = [extractor.run(samples[start : start + size], layers) for start in range(0, len(samples), size)]
    finally:
        torch.backends.cudnn.allow_tf32 = before
    return {layer: torch.cat([part[layer] for part in parts]).float().cpu().numpy() for layer in layers}


def zeros(count: int, length: int) -> np.ndarray:
    """(count, length) float32, in memory or, where large, in a file without a name."""
    if count * length * 4 <= IN_MEMORY_BYTES:
        return np.zeros((count, length), np.float32)
    with tempfile.TemporaryFile(prefix="agon-features-") as file:
        return np.memmap(file, np.float32, "w+", shape=(count, length))


def share(made: dict[tuple[str, str], np.ndarray], seen: np.ndarray, count: int, extractors: list[tuple[Extractor, list[str]]]) -> None:
    """Give every process all rows: each holds zeros where the others worked, so a sum is exact whatever the number of processes."""
    device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")

    def total(array: np.ndarray) -> None:
        for start in range(0, len(array), 1 << 16):
            block = torch.from_numpy(array[start : start + (1 << 16)].copy()).to(device)
            dist.all_reduce(block)
            array[start : start + (1 << 16)] = block.cpu().numpy()

    for extractor, layers in extractors:
        for layer in layers:
            key = key_of(extractor), layer
            length = torch.tensor(made[key].shape[1] if key in made else 0, device=device)
            dist.all_reduce(length, dist.ReduceOp.MAX)
            total(made[key] if key in made else made.setdefault(key, zeros(count, int(length))))
    total(seen)


def check(features: np.ndarray, extractor: Extractor, side: Side) -> np.ndarray:
    """The features, if they are finite."""
    for start in range(0, len(features), 4096):
        if not np.isfinite(features[start : start + 4096]).all():
            raise UserError(
                "The extractor '{extractor}' gave values that are not finite for '{data}'. Expected finite features: try --precision fp32, "
                "or check the extractor.",
                extractor=extractor.name, data=side.name,
            )  # fmt: skip
    features.flags.writeable = False
    return features
