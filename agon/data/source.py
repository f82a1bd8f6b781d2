"""What every data set is to the rest of Agon: a ``Source`` with a ``DataSpec`` that hands out ``Batch``es.

Pixels travel as ``uint8`` for as long as possible and become float32 in [-1, 1] once, in ``Source.read``: x / 127.5 - 1.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from agon.data.sampler import coins, positions


@dataclass(frozen=True)
class DataSpec:
    """The form of one sample.

    ``kind``: "image" or "points". ``shape``: (C, H, W) or (D,). ``num_classes``: 0 means unlabelled. ``class_names``: one name a
    class, or empty. ``condition_dim``: the length of a feature-vector condition, 0 for none. ``condition_names``: of its numbers, or
    empty. ``mean``, ``std``: of each coordinate of points, in the data's units; empty for pictures.

    What translators start from: ``source_shape`` (C, H, W), or () where there is nothing of the kind. ``source_kind``: "picture" (float32
    in [-1, 1]), "map" (uint8: class numbers, and perhaps a channel of edges between instances, 0 or 1) or "hole" (C + 1 channels: a
    picture with 0 where it is missing, and the mask, 1 where it is missing). ``source_classes``, ``source_colours``: names and "#rrggbb"
    of a map's classes. ``paired``: whether a sample and its input show the same scene.
    """

    kind: str
    shape: tuple[int, ...]
    num_classes: int = 0
    class_names: tuple[str, ...] = ()
    condition_dim: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    condition_names: tuple[str, ...] = ()
    source_shape: tuple[int, ...] = ()
    source_kind: str = ""
    source_classes: tuple[str, ...] = ()
    source_colours: tuple[str, ...] = ()
    paired: bool = False

    def __post_init__(self) -> None:
        assert self.kind != "image" or len(self.shape) == 3, self.shape
        assert self.kind != "points" or len(self.shape) == 1, self.shape
        assert not self.class_names or len(self.class_names) == self.num_classes, (self.class_names, self.num_classes)


@dataclass
class Batch:
    """Samples that belong together.

    ``real``: (N, C, H, W) float32 in [-1, 1], or (N, D) float32 in the data's own units. ``label``: (N,) int64 or None.
    ``condition``: (N, K) float32 or None. ``source``: (N, *spec.source_shape), what a translator starts from, or None. ``wanted``: (N, K),
    the condition of another sample, which a translator between conditions is to give this one, or None.
    """

    real: Tensor
    label: Tensor | None = None
    condition: Tensor | None = None
    source: Tensor | None = None
    wanted: Tensor | None = None

    def to(self, device: torch.device | str, layout: torch.memory_format = torch.contiguous_format) -> Batch:
        """The same batch on another device, pictures in another memory layout (copies only where these differ)."""
        return self.map(lambda part: part.to(device, non_blocking=True, memory_format=layout if part.dim() == 4 else torch.preserve_format))

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """``change`` applied to every part that is there."""
        return Batch(*(None if part is None else change(part) for part in self._parts()))

    def __len__(self) -> int:
        return len(self.real)

    def slice(self, start: int, stop: int) -> Batch:
        """Samples ``start`` to ``stop`` (not included), as views."""
        return self.map(lambda part: part[start:stop])

    @staticmethod
    def join(batches: Sequence[Batch]) -> Batch:
        """One batch of several, in order. A single one is handed back uncopied."""
        if len(batches) == 1:
            return batches[0]
        columns = zip(*(batch._parts() for batch in batches), strict=True)
        return Batch(*(None if column[0] is None else torch.cat(column) for column in columns))

    def _parts(self) -> tuple[Tensor | None, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))


class Source(ABC):
    """A data set. Final classes set the four attributes and implement ``__len__`` and ``read``.

    ``fingerprint`` is the SHA-256 (hex) of the content that the samples are made from. ``events`` says what happened while opening,
    one dictionary each (``{"event": "skipped", "file": ..., "why": ...}``); the trainer writes them to events.jsonl.
    """

    name: str
    spec: DataSpec
    fingerprint: str
    events: list[dict]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, indices: np.ndarray, *, seed: int = 0, epoch: int = 0) -> Batch:
        """Samples by index, on the CPU. Whatever is random in it is a function of (seed, epoch, index) and of nothing else."""


class ArraySource(Source):
    """Samples that lie in one array: a gather and one conversion a batch, no loop over samples.

    ``samples``: (N, C, H, W) uint8 (converted to [-1, 1]), or float32 of the spec's shape (handed out as it is). A read-only memory
    map must be opened with ``mmap_mode="c"``, which is what torch accepts without a copy. ``labels``: (N,) integers or None.
    ``mirror``: turn each picture left-right with probability 1/2.
    """

    def __init__(self, name: str, spec: DataSpec, samples: np.ndarray, labels: np.ndarray | None = None, *,
                 condition: np.ndarray | None = None, fingerprint: str | None = None, events: Sequence[dict] = (),
                 mirror: bool = False):
        assert samples.dtype in (np.uint8, np.float32) and samples.shape[1:] == spec.shape, (samples.dtype, samples.shape, spec)
        if spec.kind == "points" and not spec.std:
            moments = samples.mean(0, dtype=np.float64), samples.std(0, dtype=np.float64)
            spec = replace(spec, mean=tuple(moments[0].tolist()), std=tuple(np.maximum(moments[1], 1e-12).tolist()))
        self.name, self.spec, self.events, self.mirror = name, spec, list(events), mirror
        self.fingerprint = fingerprint or fingerprint_of(samples, labels, condition)
        self.labels = None if labels is None else np.asarray(labels, dtype=np.int64)
        self._samples = torch.from_numpy(samples)
        self._label = torch.from_numpy(self.labels) if self.labels is not None and spec.num_classes else None
        self._condition = torch.from_numpy(np.asarray(condition, np.float32)) if spec.condition_dim else None

    def __len__(self) -> int:
        return len(self._samples)

    def read(self, indices: np.ndarray, *, seed: int = 0, epoch: int = 0) -> Batch:
        where = torch.from_numpy(np.array(indices, dtype=np.int64))  # a copy: the order of an epoch is read-only
        real = to_float(self._samples.index_select(0, where))
        if self.mirror:
            turn = torch.from_numpy(coins(seed, epoch, indices))
            real = torch.where(turn.view(-1, 1, 1, 1), real.flip(-1), real)
        return Batch(real, *(None if part is None else part.index_select(0, where) for part in (self._label, self._condition)))


def to_float(samples: Tensor) -> Tensor:
    """uint8 pixels -> float32 in [-1, 1] (x / 127.5 - 1: 0 and 255 are exactly -1 and 1); float32 passes through."""
    return samples.to(torch.float32).div_(127.5).sub_(1.0) if samples.dtype == torch.uint8 else samples


def fingerprint_of(*arrays: np.ndarray | None) -> str:
    """SHA-256 (hex) over type, shape and bytes of every array, 16 MB at a time (a memory map need not fit into memory)."""
    digest = hashlib.sha256()
    for array in arrays:
        if array is None:
            digest.update(b"none;")
            continue
        digest.update(f"{array.dtype.str}{array.shape};".encode())
        rows = max(1, (16 << 20) // max(1, array.itemsize * int(np.prod(array.shape[1:]))))
        for start in range(0, len(array), rows):
            digest.update(np.ascontiguousarray(array[start:start + rows]).data)
    return digest.hexdigest()


def read_run(source: Source, start: int, count: int, seed: int) -> Batch:
    """Images ``start`` to ``start + count`` of the run as one batch, across the ends of epochs."""
    return Batch.join([source.read(indices, seed=seed, epoch=epoch)
                       for epoch, indices in positions(start, count, len(source), seed)])
