"""Any ``torch.utils.data.Dataset`` as a source.

An item is a picture or a point, or (picture, label), (picture, condition), or a dictionary with "image" and perhaps "label" and
"condition". Pictures are tensors (C, H, W) or (H, W), arrays (H, W), (H, W, C) or (C, H, W), or PIL pictures; points are (D,).
Labels are integers; a condition is a vector of floats.

Random transforms draw from generators that are seeded from (seed, epoch, index) before each item: results do not depend on the batch
size, on ``num_workers`` or on when a run was resumed, and the caller's own random state is left as it was.
"""

from __future__ import annotations

import hashlib
import operator
import random
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from agon.data.pictures import BadPicture, plain
from agon.data.sampler import mix
from agon.data.source import Batch, DataSpec, Source, to_float
from agon.errors import UserError

PROBED_ITEMS = 64
SCANNED_ITEMS = 20_000  # up to here the labels of a set that does not name its classes are counted by reading every item


@dataclass(frozen=True)
class Sample:
    """One item: ``real`` is (C, H, W) uint8 or float32, or (D,) float32; ``label`` as it came, for ``label_of``; ``condition`` (K,) or None."""

    real: Tensor
    label: Any
    condition: Tensor | None


class WrappedSource(Source):
    """A torch Dataset. ``value_range`` is the range in which its float pictures come, (-1, 1) or (0, 1)."""

    def __init__(self, dataset: Dataset, spec: DataSpec, value_range: tuple[float, float], num_workers: int, events: list[dict]):
        self.dataset, self.spec, self.events, self.num_workers = dataset, spec, events, num_workers
        self.name, self._low = type(dataset).__name__, value_range[0]
        self.fingerprint = fingerprint(dataset)
        self._workers: Workers | None = None

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def read(self, indices: np.ndarray, *, seed: int = 0, epoch: int = 0) -> Batch:
        wanted = [(seed, epoch, int(index)) for index in indices]
        if self.num_workers:
            self._workers = self._workers or Workers(self.dataset, self.num_workers)
            samples = self._workers.read(wanted)
        else:
            with kept_random_state():
                samples = [seeded_item(self.dataset, *request) for request in wanted]
        real = torch.stack([self._checked(sample.real, index) for sample, index in zip(samples, indices, strict=True)])
        label = torch.tensor([self._label(sample, index) for sample, index in zip(samples, indices, strict=True)]) \
            if self.spec.num_classes else None
        condition = torch.stack([sample.condition for sample in samples]) if self.spec.condition_dim else None
        return Batch(real, label, condition)

    def _checked(self, real: Tensor, index: int) -> Tensor:
        """float32 in [-1, 1] (pictures) of the set's shape, or a UserError that names the item."""
        if tuple(real.shape) != self.spec.shape:
            raise UserError("Item {index} of {name} has shape {shape}, the first one has {expected}. All must have one shape: resize in "
                            "the Dataset's transform.", index=index, name=self.name, shape=tuple(real.shape), expected=self.spec.shape)
        if real.dtype == torch.uint8 or self.spec.kind == "points":
            return to_float(real)
        low, high = real.aminmax()
        if not (low >= self._low - 1e-4 and high <= 1 + 1e-4):  # also catches nan; transforms may round a little beyond
            raise UserError("Item {index} of {name} holds values from {low:.4g} to {high:.4g}, where {expected:g} to 1 is expected. Scale "
                            "it to [-1, 1], hand out uint8, or say value_range=(-1, 1) or (0, 1).", index=index, name=self.name,
                            low=float(low), high=float(high), expected=self._low)
        return (real if self._low < 0 else real * 2 - 1).clamp(-1, 1)

    def _label(self, sample: Sample, index: int) -> int:
        label = label_of(sample.label, index, self.dataset)
        if label is None or not 0 <= label < self.spec.num_classes:
            raise UserError("Item {index} of {name} has label {label}. Expected a whole number from 0 to {last}: number the classes from 0, "
                            "or say num_classes.", index=index, name=self.name, label=label, last=self.spec.num_classes - 1)
        return label


class Workers:
    """A DataLoader that lives as long as the source and is asked for items as they are needed.

    The sampler hands out what lies in a queue, else empty lists, which a worker answers at once; so each ``read`` is spread over all
    workers without a start-up cost, and answers come back in the order of the questions.
    """

    def __init__(self, dataset: Dataset, num_workers: int):
        self._queue: deque[list[tuple[int, int, int]]] = deque()
        self._count = num_workers
        loader = DataLoader(Seeded(dataset), batch_sampler=self._requests(), num_workers=num_workers, prefetch_factor=1,
                            collate_fn=list, persistent_workers=True)
        with kept_random_state():  # the loader draws a seed for its workers from the caller's generator
            self._answers = iter(loader)

    def _requests(self) -> Any:
        queue = self._queue

        class Requests:
            def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
                while True:
                    yield queue.popleft() if queue else []

        return Requests()

    def read(self, wanted: list[tuple[int, int, int]]) -> list[Sample]:
        share = -(-len(wanted) // self._count)
        self._queue.extend(wanted[start:start + share] for start in range(0, len(wanted), share or 1))
        samples: list[Sample] = []
        while len(samples) < len(wanted):
            samples += next(self._answers)
        return samples


class Seeded(Dataset):
    """What runs inside a worker: an item by (seed, epoch, index)."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset

    def __getitem__(self, request: tuple[int, int, int]) -> Sample:
        return seeded_item(self.dataset, *request)


def open_source(name: Any, *, size: tuple[int, int] | None = None, channels: int | None = None, cache_dir: Path | None = None,
                num_classes: int | None = None, value_range: tuple[float, float] | None = None, num_workers: int = 0,
                labelled: bool = True) -> WrappedSource:
    """``name`` is the Dataset. ``value_range``: (-1, 1) or (0, 1), the range of float pictures; None looks at 64 items.

    ``num_classes``: needed where the set has no ``classes`` and no ``targets`` and more than 20,000 items. ``labelled=False`` drops
    labels. Raises UserError for what is no map-style Dataset, for an empty one, and for items that are no pictures or points.
    """
    dataset = name
    check_dataset(dataset)
    if size is not None or channels is not None:
        raise UserError("A torch Dataset decides on its own about size and channels. Resize in its transform, and leave both out here.")
    if value_range is not None and tuple(value_range) not in ((-1, 1), (0, 1)):
        raise UserError("value_range is {value_range}. Expected (-1, 1) or (0, 1).", value_range=value_range)
    with kept_random_state():
        probes = [seeded_item(dataset, 0, 0, index) for index in probe_indices(len(dataset))]
    first = probes[0]
    kind = "points" if first.real.ndim == 1 else "image"
    chosen, events = (value_range, []) if value_range else find_range(probes, kind)
    classes = tuple(str(label) for label in getattr(dataset, "classes", None) or ())
    count = (num_classes or len(classes) or count_classes(dataset)) if labelled and first.label is not None else 0
    spec = DataSpec(kind, tuple(first.real.shape), count, classes if len(classes) == count else (),
                    0 if first.condition is None else len(first.condition))
    return WrappedSource(dataset, spec, tuple(chosen), num_workers, events)


def check_dataset(dataset: Any) -> None:
    if isinstance(dataset, IterableDataset):
        raise UserError("{name} is an IterableDataset, whose order cannot be repeated or resumed. Expected a map-style Dataset, with "
                        "__len__ and __getitem__: put the samples into a list or a folder.", name=type(dataset).__name__)
    if isinstance(dataset, DataLoader):
        raise UserError("A DataLoader was given. Expected its dataset: pass loader.dataset, batches are made here.")
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise UserError("{name} is no data set. Expected a name, a folder, a .zip, or a torch Dataset with __len__ and __getitem__.",
                        name=type(dataset).__name__)
    if len(dataset) == 0:
        raise UserError("{name} is empty. Expected at least one item.", name=type(dataset).__name__)


def probe_indices(length: int) -> list[int]:
    """Up to 64 indices spread over the set, the first one included."""
    return sorted({round(position) for position in np.linspace(0, length - 1, min(length, PROBED_ITEMS))})


def find_range(probes: list[Sample], kind: str) -> tuple[tuple[float, float], list[dict]]:
    """The range of float pictures from a look at some: [0, 1] (torchvision's ToTensor) where no value is negative, else [-1, 1]."""
    floats = [probe.real for probe in probes if probe.real.dtype != torch.uint8]
    if kind == "points" or not floats or min(float(real.min()) for real in floats) < 0:
        return (-1, 1), []
    return (0, 1), [{"event": "value_range", "range": [0, 1],
                     "why": f"no value of {len(floats)} pictures is negative: taken as [0, 1] and scaled to [-1, 1]"}]


def count_classes(dataset: Any) -> int:
    """Number of classes = the largest label + 1, from ``targets`` or ``labels``, else by reading every item of a small set."""
    for attribute in ("targets", "labels"):
        known = getattr(dataset, attribute, None)
        if known is not None and not callable(known) and len(known) == len(dataset) and np.asarray(known).dtype.kind in "iub":
            return int(np.max(np.asarray(known))) + 1
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) > 1:
        return int(dataset.tensors[1].max()) + 1
    if len(dataset) > SCANNED_ITEMS:
        raise UserError("{name} has labels, but does not say how many classes there are. Expected an attribute 'classes' or 'targets': "
                        "or say num_classes=10 where you open it.", name=type(dataset).__name__)
    with kept_random_state():
        return max(label_of(seeded_item(dataset, 0, 0, index).label, index, dataset) or 0 for index in range(len(dataset))) + 1


def fingerprint(dataset: Any) -> str:
    """SHA-256 over the type's name, the length and up to 64 items spread over the set (all of a foreign set may be too slow to read)."""
    digest = hashlib.sha256(f"{type(dataset).__name__} {len(dataset)}".encode())
    with kept_random_state():
        for index in probe_indices(len(dataset)):
            sample = seeded_item(dataset, 0, 0, index)
            digest.update(f"{sample.real.dtype}{tuple(sample.real.shape)}{sample.label}".encode())
            digest.update(sample.real.contiguous().numpy().tobytes())
            digest.update(b"" if sample.condition is None else sample.condition.numpy().tobytes())
    return digest.hexdigest()


def seeded_item(dataset: Any, seed: int, epoch: int, index: int) -> Sample:
    """Item ``index`` with Python's, NumPy's and torch's generators seeded from (seed, epoch, index)."""
    bits = int(mix(seed, epoch, np.array([index]))[0])
    random.seed(bits)
    np.random.seed(bits & 0xFFFFFFFF)
    torch.random.default_generator.manual_seed(bits & 0x7FFFFFFFFFFFFFFF)  # the CPU's alone: torch.manual_seed would reseed the GPU too
    return sample_of(dataset[index], index, dataset)


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Leave the three global generators as they were found."""
    states = random.getstate(), np.random.get_state(), torch.random.default_generator.get_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.random.default_generator.set_state(states[2])


def sample_of(item: Any, index: int, dataset: Any) -> Sample:
    """Normalise what a Dataset hands out. Raises UserError with the item's index and type."""
    real, label, condition = item, None, None
    if isinstance(item, dict):
        if "image" not in item:
            raise UserError("Item {index} of {name} is a dictionary without 'image' (it has {keys}). Expected 'image', and perhaps 'label' "
                            "and 'condition'.", index=index, name=type(dataset).__name__, keys=", ".join(map(str, item)))
        real, label, condition = item["image"], item.get("label"), item.get("condition")
    elif isinstance(item, (tuple, list)):
        real, second = item[0], item[1] if len(item) > 1 else None
        label, condition = (None, second) if second is not None and np.ndim(second) == 1 else (second, None)
    try:
        tensor = picture_tensor(real)
    except BadPicture as error:
        raise UserError("Item {index} of {name} is a picture that {why}.", index=index, name=type(dataset).__name__, why=error) from error
    if tensor is None:
        raise UserError("Item {index} of {name} is {type}. Expected a picture (a tensor, an array, a PIL picture) or a point, alone or with "
                        "a label.", index=index, name=type(dataset).__name__, type=type(real).__name__)
    return Sample(tensor, label, None if condition is None else torch.as_tensor(condition, dtype=torch.float32))


def label_of(label: Any, index: int, dataset: Any) -> int | None:
    """A whole number out of whatever carries one (an int, a NumPy scalar, a tensor of one element, 3.0); None stays None."""
    if label is None:
        return None
    try:
        value = label.item() if hasattr(label, "item") else label
        return int(value) if isinstance(value, float) and value.is_integer() else operator.index(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError("Item {index} of {name} has label {label}. Expected a whole number: number the classes from 0, or hand out a "
                        "condition (a vector of floats), or say labelled=False.", index=index, name=type(dataset).__name__,
                        label=" ".join(repr(label).split())[:80]) from error


def picture_tensor(real: Any) -> Tensor | None:
    """-> (C, H, W) uint8 or float32, or (D,) float32; None for anything else. Arrays with 1, 3 or 4 last are taken as (H, W, C).

    PIL pictures of any mode become grey, RGB or RGBA as those of a folder do. Raises BadPicture for one that cannot.
    """
    if hasattr(real, "getbands"):  # a PIL picture, without importing Pillow
        real = np.array(plain(real, real))
    channels_last = isinstance(real, np.ndarray) and real.ndim == 3 and real.shape[2] in (1, 3, 4)
    if isinstance(real, np.ndarray) and real.dtype != np.object_:
        real = torch.from_numpy(np.ascontiguousarray(real.transpose(2, 0, 1) if channels_last else real))
    if not isinstance(real, Tensor) or real.ndim not in (1, 2, 3) or real.is_complex():
        return None
    real = real[None] if real.ndim == 2 else real
    whole = real.dtype == torch.uint8 and real.ndim == 3
    return real if whole else real.to(torch.float32)
