"""Features of both sides, computed once: in one pass over the samples for all extractors, shared by all processes, kept on disk for data that do not change.

Layout below the cache folder: features/<sha256>.npy (N, F) float32 and features/<the same>.json with what it is of and its hash. The key is made of
the content's fingerprint, the extractor with its weights' hash and protocol, and the layer: never of a file's name. Everything in it can be deleted
at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from agon.data.cache import cache_folder, digest_of, read_record, sweep, write_record
from agon.errors import UserError
from agon.metrics.features.base import Extractor
from agon.metrics.sides import Side

RULES = 1  # part of every key: raise it when features change though no extractor did
IN_MEMORY_BYTES = 512 << 20  # larger arrays lie in an unlinked file, memory-mapped
BATCH = 64


class FeatureStore:
    """``cache_dir``: see ``agon.data.cache.cache_folder``; ``cached=False`` neither reads nor writes the disk.

    ``passes`` counts the passes over samples that were needed: 0 when everything was on the disk.
    """

    def __init__(self, cache_dir: Path | None = None, *, cached: bool = True):
        self.folder = cache_folder(cache_dir) / "features"
        self.cached, self.passes = cached, 0
        self._known: dict[tuple[int, str, str], np.ndarray] = {}
        self._alive: list[Side] = []  # their id() is a key

    def get(self, side: Side, extractor: Extractor, layer: str) -> np.ndarray:
        """(N, F) float32, read-only."""
        self.collect(side, [(extractor, layer)])
        return self._known[id(side), extractor.name, layer]

    def collect(self, side: Side, wanted: Iterable[tuple[Extractor, str]]) -> None:
        """See that all of ``wanted`` (extractor, layer) are known, in at most one pass over ``side``."""
        missing: dict[str, tuple[Extractor, list[str]]] = {}
        for extractor, layer in wanted:
            if (id(side), extractor.name, layer) in self._known or layer in missing.get(extractor.name, (None, ()))[1]:
                continue
            found = self._read(side, extractor, layer)
            if found is not None:
                self._keep(side, extractor, layer, found)
            else:
                missing.setdefault(extractor.name, (extractor, []))[1].append(layer)
        if missing:
            for (extractor, layer), features in self._compute(side, list(missing.values())):
                self._keep(side, extractor, layer, features)
                self._write(side, extractor, layer, features)

    def _keep(self, side: Side, extractor: Extractor, layer: str, features: np.ndarray) -> None:
        self._alive.append(side)
        self._known[id(side), extractor.name, layer] = features

    # --- one pass ---------------------------------------------------------------------------------------------------------------------

    def _compute(self, side: Side, extractors: list[tuple[Extractor, list[str]]]) -> list[tuple[tuple[Extractor, str], np.ndarray]]:
        from tqdm import tqdm

        self.passes += 1
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
                        target = made.get((extractor.name, layer))
                        if target is None:
                            target = made[extractor.name, layer] = zeros(side.count, values.shape[1])
                        target[rows] = values
                bar.update(len(rows) * world)
        if world > 1:
            share(made, seen, side.count, extractors)
        kept = seen.astype(bool)
        return [
            ((extractor, layer), check(made[extractor.name, layer] if kept.all() else made[extractor.name, layer][kept], extractor, side))
            for extractor, layers in extractors
            for layer in layers
        ]

    # --- the disk ---------------------------------------------------------------------------------------------------------------------

    def _paths(self, side: Side, extractor: Extractor, layer: str) -> tuple[Path, Path]:
        key = digest_of([RULES, side.fingerprint, side.count, extractor.name, extractor.sha256, extractor.protocol, layer])
        return self.folder / f"{key}.npy", self.folder / f"{key}.json"

    def _usable(self, side: Side, extractor: Extractor) -> bool:
        return self.cached and bool(side.fingerprint) and getattr(extractor, "cached", True)

    def _read(self, side: Side, extractor: Extractor, layer: str) -> np.ndarray | None:
        if not self._usable(side, extractor):
            return None
        path, record_path = self._paths(side, extractor, layer)
        record = read_record(record_path)
        try:
            if record is None or sha256_of(path) != record["sha256"]:
                return None
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError):
            return None

    def _write(self, side: Side, extractor: Extractor, layer: str, features: np.ndarray) -> None:
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
                    np.save(file, features, allow_pickle=False)
                digest = sha256_of(Path(temporary))
                os.replace(temporary, path)
            except OSError:
                Path(temporary).unlink(missing_ok=True)
                raise
            what = {"data": side.name, "extractor": extractor.name, "extractor_sha256": extractor.sha256, "layer": layer, **extractor.protocol}
            write_record(record_path, {"sha256": digest, "of": what})


def run(extractor: Extractor, samples: Tensor | list, layers: list[str]) -> dict[str, np.ndarray]:
    """One piece through an extractor, BATCH at a time."""
    size = getattr(extractor, "batch", BATCH)
    parts = [extractor.run(samples[start : start + size], layers) for start in range(0, len(samples), size)]
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
            length = torch.tensor(made[extractor.name, layer].shape[1] if (extractor.name, layer) in made else 0, device=device)
            dist.all_reduce(length, dist.ReduceOp.MAX)
            total(made.setdefault((extractor.name, layer), zeros(count, int(length))))
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


def sha256_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
