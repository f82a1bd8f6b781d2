"""The tensors in a torch file, read without Python's unpickler: an interpreter of the few opcodes that weights need, which can call nothing.

A torch file is a program for a stack machine (PEP 307, PEP 3154; opcodes as in the standard library's ``pickletools``). Python's own machine imports and calls
whatever the program names. This one knows a closed list of names, each a function of this module that builds a dict or notes a tensor's place; every
other name is refused before anything has happened. All four containers are read: the zip of torch >= 1.6, TorchScript (attributes alone, no code), the
"legacy" sequence of pickles and raw storages (torch 0.1.10 to 1.5, most of torchvision's files) and the tar of torch < 0.1.10. Layouts: torch/serialization.py.
"""

from __future__ import annotations

import io
import math
import mmap
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from pickletools import genops  # takes programs apart, runs nothing
from typing import Any, BinaryIO

import torch
from torch import Tensor

from agon.errors import UserError

MAGIC = 0x1950A86A20F9469CFC6C
MAX_EXPANDED = 1 << 24  # elements that a tensor may have beyond its storage (stride 0), so that a small file cannot ask for all memory
MAX_DEPTH, MAX_NAMES = 32, 100_000
DAMAGED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, EOFError, MemoryError, RecursionError, struct.error, OSError, RuntimeError,
           zlib.error, zipfile.BadZipFile, tarfile.TarError, NotImplementedError)
DTYPES = {"Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16, "Long": torch.int64, "Int": torch.int32,
          "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8, "Bool": torch.bool, "Untyped": torch.uint8}
DTYPE_NAMES = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES.values()}


@dataclass
class Storage:
    """A run of ``count`` elements under ``key``, beginning ``offset`` elements into it."""

    key: Any
    dtype: torch.dtype
    count: int
    offset: int = 0


@dataclass
class Place:
    """A tensor before its storage is at hand."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass
class Scripted:
    """An object of a TorchScript class: its attributes and nothing else."""

    attributes: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Callee:
    """A name from the closed list, and what is done where the file calls it."""

    make: Callable[..., Any]


def read(path: Path) -> dict[str, Tensor]:
    """The file's tensors by dotted name; an outer {"state_dict": ...} is unwrapped. Raises UserError for a file that is damaged or names anything else."""
    path = Path(path)
    try:
        if zipfile.is_zipfile(path):
            value, data = read_zip(path)
        elif tarfile.is_tarfile(path):
            value, data = read_tar(path)
        else:
            value, data = read_legacy(path)
        value = value.attributes if isinstance(value, Scripted) else value
        if not isinstance(value, dict):
            raise ValueError(f"a {type(value).__name__} and not a dict of names")
        inner = value.get("state_dict")
        return flatten(inner if isinstance(inner, dict) else value, data)
    except Refused as error:
        raise UserError("{path} holds '{what}', which no file of weights needs and which could run any program: it was not read, and nothing in it was run. "
                        "Expected a state dict of tensors: save it anew with torch.save(model.state_dict(), FILE) or as safetensors.",
                        path=path, what=error) from None
    except DAMAGED as error:
        raise UserError("{path} is no readable torch file ({why}). Expected a state dict saved by torch.save, or safetensors: get it anew.", path=path,
                        why=f"{type(error).__name__}: {error}") from None


class Refused(Exception):
    """Something outside the closed list."""


def read_zip(path: Path) -> tuple[Any, dict[Any, Tensor]]:
    """torch >= 1.6 and TorchScript: <folder>/data.pkl beside <folder>/data/<key>, all stored uncompressed and checked by CRC-32."""
    with zipfile.ZipFile(path) as archive:
        main = next((name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")), None)
        if main is None:
            raise ValueError("a zip without data.pkl")
        folder = main.removesuffix("data.pkl")
        if folder + "byteorder" in archive.namelist() and archive.read(folder + "byteorder") != b"little":
            raise ValueError("not little-endian")
        whole = path.stat().st_size
        if archive.getinfo(main).file_size > whole:
            raise ValueError("data.pkl is larger than the file")
        machine = Machine()
        value = machine.run(io.BytesIO(archive.read(main)))
        data = {}
        for storage in machine.storages.values():
            info = archive.getinfo(f"{folder}data/{storage.key}")
            if info.file_size > whole:
                raise ValueError(f"{info.filename} is larger than the file")
            data[storage.key] = as_storage(archive.read(info), storage)
    return value, data


def read_legacy(path: Path) -> tuple[Any, dict[Any, Tensor]]:
    """Pickles of a magic number, a version, the writer's machine, the object and the storages' keys; then each storage: its count (int64) and its bytes."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
        machine = Machine()
        if machine.run(stream) != MAGIC:
            raise ValueError("it does not begin as one")
        machine.run(stream), machine.run(stream)
        value = machine.run(stream)
        data = {}
        for key in machine.run(stream):
            data[key] = read_counted(stream, machine.storages[key].dtype)
    return value, data


def read_tar(path: Path) -> tuple[Any, dict[Any, Tensor]]:
    """torch < 0.1.10: "storages" (with views into them), "tensors" (places) and "pickle", which names tensors by number."""
    machine, data = Machine(), {}
    with tarfile.open(path, "r:") as archive:
        members = {name: io.BytesIO(archive.extractfile(name).read()) for name in ("storages", "tensors", "pickle")}
    stream = members["storages"]
    for _ in range(machine.run(stream)):
        key, _location, dtype = machine.run(stream)
        data[key] = read_counted(stream, as_dtype(dtype))
        machine.objects[key] = Storage(key, data[key].dtype, data[key].numel())
    for target, root, offset, count in machine.run(stream):
        base = machine.objects[root]
        machine.objects[target] = Storage(base.key, base.dtype, count, offset)
    stream = members["tensors"]
    for _ in range(machine.run(stream)):
        key, storage, _type = machine.run(stream)
        dimensions, = struct.unpack("<i4x", stream.read(8))
        numbers = struct.unpack(f"<{2 * dimensions + 1}q", stream.read(8 * (2 * dimensions + 1)))
        machine.objects[key] = Place(machine.objects[storage], numbers[-1], numbers[:dimensions], numbers[dimensions:-1])
    return machine.run(members["pickle"]), data


def read_counted(stream: Any, dtype: torch.dtype) -> Tensor:
    """An int64 count, then so many elements."""
    count, = struct.unpack("<q", stream.read(8))
    raw = stream.read(count * dtype.itemsize) if count >= 0 else b""
    return as_storage(raw, Storage("", dtype, count))


def as_storage(raw: bytes, storage: Storage) -> Tensor:
    """Bytes -> (count,) of the storage's type, or ValueError where their number is another."""
    if len(raw) != storage.count * storage.dtype.itemsize:
        raise ValueError(f"storage {storage.key} has {len(raw)} bytes, {storage.count * storage.dtype.itemsize} were announced")
    return torch.frombuffer(bytearray(raw), dtype=storage.dtype) if raw else torch.empty(0, dtype=storage.dtype)


def as_tensor(place: Place, data: dict[Any, Tensor]) -> Tensor:
    """The tensor at a place, after checking in whole numbers that it lies inside its storage."""
    storage, (size, stride) = place.storage, (tuple(place.size), tuple(place.stride))
    numbers = (place.offset, storage.offset, *size, *stride)
    if len(size) != len(stride) or any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError(f"a tensor of size {size} and stride {stride}")
    count = math.prod(size)
    last = storage.offset + place.offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    whole = data[storage.key]
    if count and last >= whole.numel() or count > max(whole.numel(), MAX_EXPANDED):
        raise ValueError(f"a tensor of size {size} reaches beyond its storage")
    if not count:
        return torch.empty(size, dtype=storage.dtype)
    return whole.as_strided(size, stride, storage.offset + place.offset).contiguous()


def flatten(value: dict, data: dict[Any, Tensor]) -> dict[str, Tensor]:
    """Nested dicts and TorchScript objects -> dotted name -> tensor."""
    found, seen = {}, 0
    todo = [("", value, 0)]
    while todo:
        prefix, item, depth = todo.pop()
        for key, inner in item.items():
            inner = inner.attributes if isinstance(inner, Scripted) else inner
            seen += 1
            if depth > MAX_DEPTH or seen > MAX_NAMES:
                raise ValueError("nested too deeply, or too many names")
            if isinstance(inner, Place):
                found[f"{prefix}{key}"] = as_tensor(inner, data)
            elif isinstance(inner, dict):
                todo.append((f"{prefix}{key}.", inner, depth + 1))
    return found


def as_dtype(value: Any) -> torch.dtype:
    if not isinstance(value, torch.dtype):
        raise ValueError(f"a storage of type {value}")
    return value


def place(storage: Storage, offset: int, size: tuple, stride: tuple, *_: Any) -> Place:
    """``torch._utils._rebuild_tensor(_v2)``; whether it wants gradients, hooks and metadata are left out."""
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without a storage")
    return Place(storage, offset, size, stride)


def known(module: str, name: str) -> Any:
    """The closed list of names that a weights file may use."""
    found = {("collections", "OrderedDict"): Callee(lambda pairs=(): dict(pairs)), ("torch", "Size"): Callee(lambda values=(): tuple(values)),
             ("torch", "device"): Callee(lambda *_: None),
             ("torch._utils", "_rebuild_tensor"): Callee(place), ("torch._utils", "_rebuild_tensor_v2"): Callee(place),
             ("torch._utils", "_rebuild_parameter"): Callee(lambda tensor, *_: tensor),
             ("torch._utils", "_rebuild_parameter_with_state"): Callee(lambda tensor, *_: tensor)}.get((module, name))
    if found is None and module in ("torch", "torch.cuda", "torch.storage"):
        found = DTYPES.get(name.removesuffix("Storage").removesuffix("Tensor"))  # the tar format names a tensor's type, too
    if found is None and module == "torch" and name in DTYPE_NAMES:
        found = DTYPE_NAMES[name]
    if found is None and module.partition(".")[0] == "__torch__":
        found = Callee(Scripted)
    if found is None and module == "torch.jit._pickle" and name.startswith(("build_", "restore_type_tag")):
        found = Callee(lambda values, *_: values)
    if found is None:
        raise Refused(f"{module}.{name}")
    return found


PUSHED = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE",
          "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
CONSTANTS = {"NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
MARK = object()


class Machine:
    """The stack machine. ``storages``: those named so far, by key; ``objects``: what the numbers of the tar format stand for."""

    def __init__(self) -> None:
        self.storages: dict[Any, Storage] = {}
        self.objects: dict[Any, Any] = {}
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, stream: BinaryIO | Any) -> Any:
        """One program from where the stream stands; afterwards it stands behind it."""
        self.stack, self.memo = [], {}
        for opcode, argument, _ in genops(stream):
            name = opcode.name
            if name in PUSHED:
                self.stack.append(argument)
            elif name in CONSTANTS:
                self.stack.append(CONSTANTS[name]())
            elif name == "STOP":
                return self.stack.pop()
            elif name not in ("PROTO", "FRAME"):
                step = getattr(self, f"op_{name.lower()}", None)
                if step is None:
                    raise Refused(name)
                step(argument)
        raise ValueError("it ends too early")

    def marked(self) -> list[Any]:
        """What lies above the last mark."""
        at = len(self.stack) - 1
        while self.stack[at] is not MARK:
            at -= 1
            if at < 0:
                raise ValueError("no mark")
        above = self.stack[at + 1:]
        del self.stack[at:]
        return above

    def op_mark(self, _: Any) -> None:
        self.stack.append(MARK)

    def op_pop(self, _: Any) -> None:
        self.stack.pop()

    def op_dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def op_put(self, argument: Any) -> None:
        self.memo[int(argument)] = self.stack[-1]

    op_binput = op_long_binput = op_put

    def op_memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def op_get(self, argument: Any) -> None:
        self.stack.append(self.memo[int(argument)])

    op_binget = op_long_binget = op_get

    def op_tuple(self, _: Any) -> None:
        self.stack.append(tuple(self.marked()))

    def op_tuple1(self, _: Any) -> None:
        self._tuple(1)

    def op_tuple2(self, _: Any) -> None:
        self._tuple(2)

    def op_tuple3(self, _: Any) -> None:
        self._tuple(3)

    def _tuple(self, count: int) -> None:
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def op_list(self, _: Any) -> None:
        self.stack.append(self.marked())

    def op_dict(self, _: Any) -> None:
        self.stack.append(pairs_of(self.marked()))

    def op_append(self, _: Any) -> None:
        value = self.stack.pop()
        self.target(list).append(value)

    def op_appends(self, _: Any) -> None:
        values = self.marked()
        self.target(list).extend(values)

    def op_setitem(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.target(dict)[key] = value

    def op_setitems(self, _: Any) -> None:
        pairs = pairs_of(self.marked())
        self.target(dict).update(pairs)

    def target(self, kind: type) -> Any:
        """The top of the stack, which must be one of our own lists or dicts."""
        if type(self.stack[-1]) is not kind:
            raise ValueError(f"a {type(self.stack[-1]).__name__} where a {kind.__name__} belongs")
        return self.stack[-1]

    def op_global(self, argument: str) -> None:
        self.stack.append(known(*argument.rsplit(" ", 1)))

    def op_stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(known(str(module), str(name)))

    def op_reduce(self, _: Any) -> None:
        arguments, callee = self.stack.pop(), self.stack.pop()
        if not isinstance(callee, Callee) or not isinstance(arguments, tuple):
            raise ValueError("a call of what cannot be called")
        self.stack.append(callee.make(*arguments))

    op_newobj = op_reduce

    def op_build(self, _: Any) -> None:
        """An object's state: kept for TorchScript objects, left out for dicts (an OrderedDict's ``_metadata``) and tensors."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Scripted):
            target.attributes.update(state)
        elif not isinstance(target, dict | Place):
            raise ValueError(f"a state for a {type(target).__name__}")

    def op_binpersid(self, _: Any) -> None:
        self.stack.append(self.persistent(self.stack.pop()))

    def op_persid(self, argument: str) -> None:
        self.stack.append(self.persistent(argument))

    def persistent(self, name: Any) -> Any:
        """("storage", type, key, device, count[, view]) -> Storage, or the tar format's number -> its tensor."""
        if not isinstance(name, tuple):
            return self.objects[int(name)]
        if len(name) not in (5, 6) or name[0] != "storage":
            raise Refused(str(name[:1]))
        _, dtype, key, _device, count = name[:5]
        whole = Storage(key, as_dtype(dtype), count)
        if self.storages.setdefault(key, whole) != whole:
            raise ValueError(f"storage {key} has two types or sizes")
        if len(name) == 6 and name[5] is not None:
            _key, offset, size = name[5]
            return Storage(key, whole.dtype, size, offset)
        return whole


def pairs_of(values: list[Any]) -> dict:
    return dict(zip(values[::2], values[1::2], strict=True))
