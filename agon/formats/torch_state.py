"""The tensors in a torch file, read without Python's unpickler: an interpreter of the few opcodes that weights need, which can call nothing.

A torch file is a program for a stack machine (PEP 307, PEP 3154; opcodes as in the standard library's ``pickletools``). Python's own machine imports and calls
whatever the program names. This one knows a closed list of names, each a function of this module that builds a dict or notes a tensor's place; every
other name is refused before anything has happened. All four containers are read: the zip of torch >= 1.6, TorchScript (attributes alone, no code), the
"legacy" sequence of pickles and raw storages (torch 0.1.10 to 1.5, most of torchvision's files) and the tar of torch < 0.1.10. Layouts: torch/serialization.py.

Two ways in: :func:`read` gives the tensors of a state dict by name, :func:`read_tree` all that a file holds (it reads a bare pickle, too) with a list of
names of the caller's. Against files made to exhaust a machine: what is handed out is never more than a few times the file's size.
"""

from __future__ import annotations

import io
import math
import mmap
import reprlib
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from pickletools import genops  # takes programs apart, runs nothing
from typing import Any, BinaryIO

import torch
from torch import Tensor

from agon.errors import UserError

MAGIC = 0x1950A86A20F9469CFC6C
MAX_EXPANDED = 1 << 24  # elements that a tensor may have beyond its storage (stride 0), so that a small file cannot ask for all memory
MAX_SHARED = 8  # how often, on average, tensors may share one storage's elements
MAX_DEPTH, MAX_NAMES = 32, 100_000
MAX_NESTING = 150  # of lists and dicts in a tree
MAX_AXES = 32
DAMAGED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, EOFError, MemoryError, RecursionError, struct.error, OSError, RuntimeError,
           zlib.error, zipfile.BadZipFile, tarfile.TarError, NotImplementedError)
DTYPES = {"Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16, "Long": torch.int64, "Int": torch.int32,
          "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8, "Bool": torch.bool, "Untyped": torch.uint8}
DTYPE_NAMES = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES.values()}


@dataclass
class Storage:
    """A run of ``count`` elements under ``key``, beginning ``offset`` elements into it. ``numbers``: they, where the storage came with them."""

    key: Any
    dtype: torch.dtype
    count: int
    offset: int = 0
    numbers: Tensor | None = None


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


@dataclass
class Held:
    """An object of a class that is never looked for: its name, and the state it was saved with (the items, too, of what was a kind of dict)."""

    name: str
    state: dict = field(default_factory=dict)


Names = Callable[[str, str], Any]


def read(path: Path) -> dict[str, Tensor]:
    """The file's tensors by dotted name; an outer {"state_dict": ...} is unwrapped. Raises UserError for a file that is damaged or names anything else."""
    with telling(path):
        value, data = opened(Path(path), known)
        value = value.attributes if isinstance(value, Scripted) else value
        if not isinstance(value, dict):
            raise ValueError(f"a {type(value).__name__} and not a dict of names")
        inner = value.get("state_dict")
        return flatten(inner if isinstance(inner, dict) else value, Tensors(data))


def read_tree(path: Path, names: Names) -> Any:
    """All that the file holds: dicts, lists, tuples, sets, strings, numbers, bytes, tensors, and for any object a :class:`Held`. ``names``: (module, name) -> a
    :class:`Callee` or a value, Refused where it knows none (:mod:`agon.formats.persistent`). Raises UserError like :func:`read`."""
    with telling(path):
        value, data = opened(Path(path), names)
        return Tensors(data).in_tree(value)


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """Turn what is wrong with a file into what its owner can do about it."""
    try:
        yield
    except Refused as error:
        raise UserError("{path} holds '{what}', which no file of weights needs and which could run any program: it was not read, and nothing in it was run. "
                        "Expected a state dict of tensors: save it anew with torch.save(model.state_dict(), FILE) or as safetensors.",
                        path=path, what=error) from None
    except DAMAGED as error:
        raise UserError("{path} is no readable torch file ({why}). Expected a state dict saved by torch.save, or safetensors: get it anew.", path=path,
                        why=printable(f"{type(error).__name__}: {error}")) from None


class Refused(Exception):
    """Something outside the closed list."""

    def __init__(self, what: str):
        super().__init__(printable(what))


def printable(text: str, most: int = 300) -> str:
    """Text of a file as part of a message: no control characters for a terminal to obey, and not endless."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:most])


def opened(path: Path, names: Names) -> tuple[Any, dict[Any, Tensor]]:
    """What the file holds, with places for tensors, and the storages by key."""
    if zipfile.is_zipfile(path):
        return read_zip(path, names)
    return read_tar(path, names) if tarfile.is_tarfile(path) else read_legacy(path, names)


def read_zip(path: Path, names: Names) -> tuple[Any, dict[Any, Tensor]]:
    """torch >= 1.6 and TorchScript: <folder>/data.pkl beside <folder>/data/<key>, all stored uncompressed and checked by CRC-32."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.startswith("/") or "\\" in name or ".." in name.split("/"):
                raise ValueError(f"an entry named {reprlib.repr(name)}")
        main = next((name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")), None)
        if main is None:
            raise ValueError("a zip without data.pkl")
        folder = main.removesuffix("data.pkl")
        left = path.stat().st_size  # entries may lie on top of one another
        if folder + "byteorder" in archive.namelist() and archive.read(fitting(archive, folder + "byteorder", left)) != b"little":
            raise ValueError("not little-endian")
        machine = Machine(names)
        value = machine.run(io.BytesIO(archive.read(fitting(archive, main, left))))
        data = {}
        for storage in machine.storages.values():
            info = fitting(archive, f"{folder}data/{storage.key}", left)
            left -= info.file_size
            data[storage.key] = as_storage(archive.read(info), storage)
    return value, data


def fitting(archive: zipfile.ZipFile, name: str, most: int) -> zipfile.ZipInfo:
    """An entry that says it has no more than ``most`` bytes."""
    info = archive.getinfo(name)
    if info.file_size > most:
        raise ValueError(f"{reprlib.repr(name)} is larger than the file")
    return info


def read_legacy(path: Path, names: Names) -> tuple[Any, dict[Any, Tensor]]:
    """Pickles of a magic number, a version, the writer's machine, the object and the storages' keys; then each storage: its count (int64) and its bytes."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
        first = Machine(names).run(stream)
        if type(first) is int and first == MAGIC:
            return read_parts(stream, names)
        if names is known:
            raise ValueError("it does not begin as one")
        return first, {}  # a bare pickle


def read_parts(stream: Any, names: Names) -> tuple[Any, dict[Any, Tensor]]:
    """What follows the magic number."""
    machine = Machine(names)
    machine.run(stream), machine.run(stream)
    value = machine.run(stream)
    data = {}
    for key in machine.run(stream):
        data[key_of(key)] = read_counted(stream, machine.storages[key].dtype)
    return value, data


def read_tar(path: Path, names: Names) -> tuple[Any, dict[Any, Tensor]]:
    """torch < 0.1.10: "storages" (with views into them), "tensors" (places) and "pickle", which names tensors by number."""
    machine, data = Machine(names), {}
    with tarfile.open(path, "r:") as archive:
        members = {name: io.BytesIO(member_of(archive, name, path.stat().st_size)) for name in ("storages", "tensors", "pickle")}
    stream = members["storages"]
    for _ in range(machine.run(stream)):
        key, _location, dtype = machine.run(stream)
        data[key_of(key)] = read_counted(stream, as_dtype(dtype))
        machine.objects[key] = Storage(key, data[key].dtype, data[key].numel())
    for target, root, offset, count in machine.run(stream):
        base = machine.objects[key_of(root)]
        machine.objects[key_of(target)] = Storage(base.key, base.dtype, count, offset)
    stream = members["tensors"]
    for _ in range(machine.run(stream)):
        key, storage, _type = machine.run(stream)
        dimensions, = struct.unpack("<i4x", stream.read(8))
        numbers = struct.unpack(f"<{2 * dimensions + 1}q", stream.read(8 * (2 * dimensions + 1)))
        machine.objects[key_of(key)] = Place(machine.objects[key_of(storage)], numbers[-1], numbers[:dimensions], numbers[dimensions:-1])
    return machine.run(members["pickle"]), data


def member_of(archive: tarfile.TarFile, name: str, most: int) -> bytes:
    """An ordinary file of a tar, not one that says it is larger than the tar (as a sparse one may)."""
    member = archive.getmember(name)
    if not member.isreg() or member.issparse() or member.size > most:
        raise ValueError(f"'{name}' is no ordinary file")
    return archive.extractfile(member).read()


def read_counted(stream: Any, dtype: torch.dtype) -> Tensor:
    """An int64 count, then so many elements."""
    count, = struct.unpack("<q", stream.read(8))
    raw = stream.read(count * dtype.itemsize) if count >= 0 else b""
    return as_storage(raw, Storage("", dtype, count))


def as_storage(raw: bytes, storage: Storage) -> Tensor:
    """Bytes -> (count,) of the storage's type, or ValueError where their number is another."""
    if len(raw) != storage.count * storage.dtype.itemsize:
        raise ValueError(f"storage {reprlib.repr(storage.key)} has {len(raw)} bytes, {storage.count * storage.dtype.itemsize} were announced")
    return torch.frombuffer(bytearray(raw), dtype=storage.dtype) if raw else torch.empty(0, dtype=storage.dtype)


class Tensors:
    """Makes the tensors of a file from their places: each place once, and all together not much more than its storages hold."""

    def __init__(self, data: dict[Any, Tensor]):
        self.data, self.made = data, {}
        self.left = MAX_EXPANDED + MAX_SHARED * sum(storage.numel() for storage in data.values())
        self.counted: dict[int, Tensor] = {}

    def of(self, place: Place) -> Tensor:
        """The tensor at a place, after checking in whole numbers that it lies inside its storage."""
        if id(place) not in self.made:
            self.made[id(place)] = place, self._make(place)  # the place itself, too, so that no other gets its id
        return self.made[id(place)][1]

    def _make(self, place: Place) -> Tensor:
        storage, (size, stride) = place.storage, (tuple(place.size), tuple(place.stride))
        numbers = (place.offset, storage.offset, *size, *stride)
        if len(size) != len(stride) or len(size) > MAX_AXES or any(type(number) is not int or number < 0 for number in numbers):
            raise ValueError(f"a tensor of size {reprlib.repr(size)} and stride {reprlib.repr(stride)}")
        count = math.prod(size)
        last = storage.offset + place.offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
        whole = self._storage(storage)
        if count and last >= whole.numel() or count > max(whole.numel(), MAX_EXPANDED):
            raise ValueError(f"a tensor of size {reprlib.repr(size)} reaches beyond its storage")
        if not count:
            return torch.empty(size, dtype=storage.dtype)
        self.left -= count
        if self.left < 0:
            raise ValueError("its tensors are many times larger than the file")
        return whole.as_strided(size, stride, storage.offset + place.offset).contiguous()

    def _storage(self, storage: Storage) -> Tensor:
        if storage.numbers is None:
            return self.data[storage.key]
        if id(storage.numbers) not in self.counted:
            self.counted[id(storage.numbers)] = storage.numbers
            self.left += MAX_SHARED * storage.numbers.numel()
        return storage.numbers

    def in_tree(self, root: Any) -> Any:
        """The same tree with tensors for places. Whatever is reachable twice is gone through once."""
        holder = [root]
        self.seen: dict[int, Any] = {}
        self._fill(holder, 0)
        return holder[0]

    def _fill(self, container: Any, depth: int) -> None:
        if depth > MAX_NESTING:
            raise ValueError("nested too deeply")
        for key, value in list(enumerate(container) if isinstance(container, list) else container.items()):
            if isinstance(value, COMPOSITE):
                container[key] = self._resolved(value, depth)

    def _resolved(self, value: Any, depth: int) -> Any:
        if isinstance(value, Place):
            return self.of(value)
        if id(value) in self.seen:
            return self.seen[id(value)][1]
        if isinstance(value, tuple):
            parts = list(value)
            self._fill(parts, depth + 1)
            self.seen[id(value)] = value, tuple(parts)
            return tuple(parts)
        self.seen[id(value)] = value, value  # before its parts: it may hold itself
        inner = value.state if isinstance(value, Held) else value.attributes if isinstance(value, Scripted) else value
        self._fill(inner, depth + 1)
        return value


COMPOSITE = (dict, list, tuple, Place, Held, Scripted)


def flatten(value: dict, tensors: Tensors) -> dict[str, Tensor]:
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
                found[f"{prefix}{key}"] = tensors.of(inner)
            elif isinstance(inner, dict):
                todo.append((f"{prefix}{key}.", inner, depth + 1))
    return found


def as_dtype(value: Any) -> torch.dtype:
    if not isinstance(value, torch.dtype):
        raise ValueError(f"a storage of type {type(value).__name__}")
    return value


def place(storage: Storage, offset: int, size: tuple, stride: tuple, *_: Any) -> Place:
    """``torch._utils._rebuild_tensor(_v2)``; whether it wants gradients, hooks and metadata are left out."""
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without a storage")
    return Place(storage, offset, size, stride)


def sized(values: Any = ()) -> tuple:
    """``torch.Size``."""
    if not isinstance(values, list | tuple) or len(values) > MAX_AXES:
        raise ValueError("no size of a tensor")
    return tuple(values)


def ordered(pairs: Any = ()) -> dict:
    """``collections.OrderedDict``: empty, or of a list of pairs, which is used up, so that a short program cannot copy it again and again."""
    found = pairs_of([part for pair in pairs for part in pair])
    if found:
        pairs.clear()
    return found


def key_of(value: Any) -> Any:
    """What may be a dict's key: a word, a number, or a short tuple of them. To hash what is nested may take for ever."""
    if type(value) is tuple and len(value) <= MAX_AXES and all(isinstance(part, KEYS) for part in value) or isinstance(value, KEYS):
        return value
    raise ValueError(f"a {type(value).__name__} for a name")


KEYS = (str, bytes, int, float, type(None))


def known(module: str, name: str) -> Any:
    """The closed list of names that a weights file may use."""
    found = {("collections", "OrderedDict"): Callee(ordered), ("torch", "Size"): Callee(sized),
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
          "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
          "BYTEARRAY8"}
CONSTANTS = {"NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple,
             "EMPTY_SET": set}
MARK = object()


class Machine:
    """The stack machine. ``names``: the closed list; ``storages``: those named so far, by key; ``objects``: what the numbers of the tar format stand for."""

    def __init__(self, names: Names = known) -> None:
        self.names = names
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
                    raise Refused(name if argument is None else f"{str(argument).replace(' ', '.', 1)} ({name})")
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

    def op_pop_mark(self, _: Any) -> None:
        self.marked()

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
        self.target(dict)[key_of(key)] = value

    def op_setitems(self, _: Any) -> None:
        pairs = pairs_of(self.marked())
        self.target(dict).update(pairs)

    def op_additems(self, _: Any) -> None:
        values = self.marked()
        self.target(set).update(key_of(value) for value in values)

    def op_frozenset(self, _: Any) -> None:
        self.stack.append(frozenset(key_of(value) for value in self.marked()))

    def target(self, kind: type) -> Any:
        """The top of the stack, which must be one of our own lists or dicts, or an object that was a kind of one."""
        if kind is dict and isinstance(self.stack[-1], Held):
            return self.stack[-1].state
        if type(self.stack[-1]) is not kind:
            raise ValueError(f"a {type(self.stack[-1]).__name__} where a {kind.__name__} belongs")
        return self.stack[-1]

    def op_global(self, argument: str) -> None:
        self.stack.append(self.names(*argument.rsplit(" ", 1)))

    def op_stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("a name that is no text")
        self.stack.append(self.names(module, name))

    def op_reduce(self, _: Any) -> None:
        arguments, callee = self.stack.pop(), self.stack.pop()
        if not isinstance(callee, Callee) or not isinstance(arguments, tuple):
            raise ValueError("a call of what cannot be called")
        self.stack.append(callee.make(*arguments))

    op_newobj = op_reduce

    def op_build(self, _: Any) -> None:
        """An object's state: kept for objects, left out for dicts (an OrderedDict's ``_metadata``) and tensors."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Scripted) and isinstance(state, dict):
            target.attributes.update(state)
        elif hasattr(target, "build"):  # of this package: nothing else with methods is ever on the stack
            target.build(state)
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
        if len(name) not in (5, 6) or not isinstance(name[0], str) or name[0] != "storage":
            raise Refused(f"a persistent {reprlib.repr(name[:1])}")
        _, dtype, key, _device, count = name[:5]
        if not isinstance(key, str | int) or type(count) is not int:
            raise ValueError("a storage without a key or a length")
        whole = Storage(key, as_dtype(dtype), count)
        if self.storages.setdefault(key, whole) != whole:
            raise ValueError(f"storage {key} has two types or sizes")
        if len(name) == 6 and name[5] is not None:
            _key, offset, size = name[5]
            return Storage(key, whole.dtype, size, offset)
        return whole


def pairs_of(values: list[Any]) -> dict:
    return dict(zip(map(key_of, values[::2]), values[1::2], strict=True))
