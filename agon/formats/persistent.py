"""The closed list of names for files that hold whole objects: NVIDIA's pickles, training states with arguments and counters, NumPy arrays.

NVIDIA's repositories pickle a network as ``torch_utils.persistence._reconstruct_persistent_obj({"type": "class", "module_src": ..., "class_name": ...,
"state": ...})``: their reader compiles the source text and runs it. Here the text is dropped unread, and the object is its class's name and its state (a
:class:`~agon.formats.torch_state.Held`). The TensorFlow repositories' ``dnnlib.tflib.network.Network`` (and ProGAN's ``tfutil.Network``) carries
``build_module_src`` in the same way, dropped too. Classes of PyTorch and of these repositories are names alone: nothing is imported. A tensor inside a
pickle is ``torch.storage._load_from_bytes`` of a file of its own, read by the list for weights.
"""

from __future__ import annotations

import io
import reprlib
from typing import Any

import numpy as np
import torch

from agon.formats.torch_state import MAGIC, MAX_DEPTH, MAX_NAMES, Callee, Held, Machine, Refused, Storage, key_of, known, ordered, read_parts

PERSISTED = "torch_utils.persistence", "_reconstruct_persistent_obj"
TENSORFLOW = {("dnnlib.tflib.network", "Network"), ("tfutil", "Network"), ("network", "Network")}
SOURCES = ("module_src", "build_module_src", "module_code", "source")
HELD = ("torch.nn.modules.", "R3GAN.", "training.networks", "dnnlib.util.EasyDict", "dnnlib.EasyDict", "argparse.Namespace")
"""Beginnings of the names of classes whose objects are kept as name and state."""
NUMPY = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric")
NUMBERS = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"}


class Names:
    """(module, name) -> what a tree may hold, for one file."""

    def __init__(self) -> None:
        self.storages: dict[int, tuple[bytes, Storage]] = {}
        self.encoded: dict[int, tuple[str, bytes]] = {}
        self.table = {
            PERSISTED: Callee(persisted), ("torch.storage", "_load_from_bytes"): Callee(self.storage), ("_codecs", "encode"): Callee(self.encode),
            ("collections", "defaultdict"): Callee(lambda *_: {}), ("collections", "Counter"): Callee(lambda counts=None: dict_of(counts)),
        }
        for builtins in ("builtins", "__builtin__"):
            self.table |= {
                (builtins, "set"): Callee(gathered), (builtins, "frozenset"): Callee(gathered), (builtins, "dict"): Callee(ordered),
                (builtins, "list"): Callee(lambda *_: []), (builtins, "bytearray"): Callee(lambda raw=b"", *_: bytes_of(raw)),
            }  # fmt: skip
        for module in NUMPY:
            self.table |= {
                (module, "dtype"): Callee(Number), (module, "ndarray"): None, (module, "_reconstruct"): Callee(lambda *_: Array()),
                (module, "scalar"): Callee(scalar), (module, "_frombuffer"): Callee(from_buffer),
            }  # fmt: skip

    def __call__(self, module: str, name: str) -> Any:
        if (module, name) in self.table:
            return self.table[module, name]
        if (module, name) in TENSORFLOW:
            return Callee(lambda *_: Object("tensorflow.Network"))
        full = f"{module}.{name}"
        if name.isidentifier() and any(full == start or start[-1] == "." and full.startswith(start) or module == start for start in HELD):
            return Callee(lambda *_: Object(full))
        return known(module, name)

    def storage(self, raw: Any) -> Storage:
        """A storage from the bytes of a legacy torch file, each bytes object once."""
        if id(raw) not in self.storages:
            self.storages[id(raw)] = raw, nested(bytes_of(raw))
        return self.storages[id(raw)][1]

    def encode(self, text: Any, encoding: Any = "latin1") -> bytes:
        """``_codecs.encode``: how protocol 2 writes bytes."""
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "ascii", "utf-8"):
            raise ValueError("bytes in a form that is not known")
        if id(text) not in self.encoded:
            self.encoded[id(text)] = text, text.encode(encoding)
        return self.encoded[id(text)][1]


class Object(Held):
    """A held object that the machine fills: items (of dict subclasses) and state are one dict."""

    def build(self, state: Any) -> None:
        """A dict, or (dict or None, dict of slots or None); program texts are left out."""
        for part in state if isinstance(state, tuple) else (state,):
            for key, value in dict_of(part).items():
                if key not in SOURCES:
                    self.state[key] = value


class Number:
    """``numpy.dtype`` of a number; anything else (objects, records, text) is refused."""

    def __init__(self, code: Any = "", *_: Any):
        if not isinstance(code, str) or code.lstrip("<>|=") not in NUMBERS:
            raise Refused(f"a numpy array of {reprlib.repr(code)}")
        self.code, self.order = code.lstrip("<>|="), "<"

    def build(self, state: Any) -> None:
        """(version, byte order, ...)."""
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else "<"
        if not isinstance(order, str) or order not in ("<", ">", "|", "="):
            raise ValueError("a byte order that is none")
        if any(part is not None for part in state[2:5]):
            raise Refused("a numpy array of records")
        self.order = order

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.order + self.code)


class Array:
    """A NumPy array before and after its state is there. :attr:`tensor`: the same numbers for torch."""

    def __init__(self) -> None:
        self.values: np.ndarray | None = None
        self._tensor: torch.Tensor | None = None

    def build(self, state: Any) -> None:
        """(version, shape, dtype, column by column, bytes), or without the version."""
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise ValueError("an array without a form")
        shape, number, turned, raw = state[-4:]
        self.values = array_of(raw, number, shape, "F" if turned is True else "C")

    @property
    def tensor(self) -> torch.Tensor:
        if self.values is None:
            raise ValueError("an array without numbers")
        if self._tensor is None:
            plain = self.values.astype(self.values.dtype.newbyteorder("="), order="C")
            self._tensor = torch.from_numpy(plain.astype(np.int64) if plain.dtype.kind == "u" and plain.itemsize > 1 else plain)
        return self._tensor


def array_of(raw: Any, number: Any, shape: Any, order: str) -> np.ndarray:
    """A view on bytes, whose number must be what the form asks for."""
    if not isinstance(number, Number):
        raise Refused("a numpy array of objects")
    if not isinstance(raw, bytes | bytearray):
        raise Refused(f"a numpy array in a {type(raw).__name__}")
    if not isinstance(shape, tuple) or len(shape) > 32 or any(type(side) is not int or side < 0 for side in shape):
        raise ValueError(f"an array of shape {reprlib.repr(shape)}")
    return np.frombuffer(raw, number.dtype).reshape(shape, order=order)  # ValueError where the count is another


def from_buffer(raw: Any, number: Any, shape: Any, order: Any, *_: Any) -> Array:
    """``numpy.core.numeric._frombuffer`` of protocol 5."""
    array = Array()
    array.values = array_of(raw, number, shape, "F" if order == "F" else "C")
    return array


def scalar(number: Any, raw: Any = b"") -> int | float | bool:
    """A NumPy scalar as Python's number."""
    return array_of(bytes_of(raw), number, (), "C").item()


def persisted(meta: Any) -> Object:
    """A persistent object: the name of its class and its state. The source text in ``meta`` is not looked at."""
    meta = dict_of(meta)
    if meta.get("type") != "class" or not isinstance(meta.get("class_name"), str):
        raise ValueError("a persistent object of an unknown kind")
    made = Object(meta["class_name"])
    made.build(meta.get("state"))
    return made


def nested(raw: bytes) -> Storage:
    """The storage in the bytes that ``torch.save(storage)`` wrote, with its numbers."""
    stream = io.BytesIO(raw)
    if Machine(known).run(stream) != MAGIC:
        raise ValueError("a storage that does not begin as one")
    value, data = read_parts(stream, known)
    if not isinstance(value, Storage):
        raise ValueError("a storage that is none")
    return Storage(value.key, value.dtype, value.count, value.offset, data[value.key])


def dict_of(value: Any) -> dict:
    """A dict as it is, a held object's state, {} for None."""
    if value is None:
        return {}
    value = value.state if isinstance(value, Held) else value
    if not isinstance(value, dict):
        raise ValueError(f"a {type(value).__name__} where a dict belongs")
    return value


def bytes_of(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray):
        raise ValueError(f"a {type(value).__name__} where bytes belong")
    return bytes(value)


def gathered(values: Any = ()) -> set:
    """A set of a list, which is used up."""
    if not isinstance(values, list | tuple | set):
        raise ValueError(f"a {type(values).__name__} where a list belongs")
    found = {key_of(value) for value in values}
    if isinstance(values, list):
        values.clear()
    return found


def module_state(module: Held) -> dict[str, torch.Tensor]:
    """A pickled nn.Module's parameters and buffers by dotted name, without those that are None. Raises ValueError for what is nested too deeply."""
    found, todo, seen = {}, [("", module, 0)], 0
    while todo:
        prefix, held, depth = todo.pop()
        for kind in ("_parameters", "_buffers", "_modules"):
            for name, value in dict_of(held.state.get(kind)).items():
                seen += 1
                if depth > MAX_DEPTH or seen > MAX_NAMES:
                    raise ValueError("nested too deeply, or too many names")
                if kind == "_modules" and isinstance(value, Held):
                    todo.append((f"{prefix}{name}.", value, depth + 1))
                elif isinstance(value, torch.Tensor):
                    found[f"{prefix}{name}"] = value
    return found


def part(module: Held, *path: str) -> dict:
    """The attributes of a module's submodule, {} where there is none."""
    for name in path:
        module = dict_of(module.state.get("_modules")).get(name)
        if not isinstance(module, Held):
            return {}
    return module.state
