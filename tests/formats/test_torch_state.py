"""The reader of torch files against torch's own, on files of every age, and against files made to do harm."""

import io
import os
import pickle
import struct
import sys
import tarfile
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from agon.errors import UserError
from agon.formats.torch_state import read

MAGIC = 0x1950A86A20F9469CFC6C
SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


def tensors():
    """Every dtype, views, a shared storage, a transposed and an empty tensor, a scalar and a parameter."""
    base = torch.arange(24.0).reshape(4, 6)
    state = OrderedDict((f"kind.{dtype}", torch.tensor([0, 1, 1, 0]).to(dtype)) for dtype in
                        (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool))
    state.update(whole=base, part=base[1:3, 2:5], turned=base.T, empty=torch.empty(0, 3), scalar=torch.tensor(2.5), weight=nn.Parameter(torch.randn(3, 2)))
    return state


def same(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor.detach()), name


@pytest.mark.parametrize("zipped", [True, False])
def test_reads_what_torch_saves(tmp_path, zipped):
    state, path = tensors(), tmp_path / "weights.pth"
    state._metadata = OrderedDict(version=1)
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    same(read(path), torch.load(path, weights_only=True))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_reads_every_protocol_and_unwraps_a_checkpoint(tmp_path, protocol):
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": {"a": torch.ones(2), "inner": {"b": torch.zeros(1)}}, "step": 3, "note": "kept", "rates": [0.1, None, True]}, path,
               pickle_protocol=protocol)
    same(read(path), {"a": torch.ones(2), "inner.b": torch.zeros(1)})


def test_a_module_of_torch_nn_reads_back(tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    torch.save(net.state_dict(), tmp_path / "net.pth", _use_new_zipfile_serialization=False)
    same(read(tmp_path / "net.pth"), net.state_dict())


@pytest.mark.filterwarnings("ignore")
def test_reads_the_attributes_of_torchscript(tmp_path):
    net = nn.Sequential(OrderedDict(first=nn.Linear(3, 2), second=nn.BatchNorm1d(2)))
    torch.jit.save(torch.jit.script(net), str(tmp_path / "net.pt"))
    same(read(tmp_path / "net.pt"), net.state_dict())


class Named:
    """Pickled as a persistent id, and so is a storage in a torch file."""

    def __init__(self, name):
        self.name = name


class Rebuilt:
    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return torch._utils._rebuild_tensor, self.arguments


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return value.name if isinstance(value, Named) else None


def pickled(value):
    file = io.BytesIO()
    Pickler(file, 2).dump(value)
    return file.getvalue()


def test_reads_a_view_as_torch_below_0_4_wrote_it(tmp_path):
    """Storage 7 has six numbers; the tensor lies in a view of four of them from the second on, and begins at its second."""
    view = Named(("storage", torch.FloatStorage, "7", "cpu", 6, ("8", 2, 4)))
    body = [MAGIC, 1001, SYSTEM, {"x": Rebuilt(view, 1, (3,), (1,))}, ["7"]]
    path = tmp_path / "old.pth"
    path.write_bytes(b"".join(pickled(part) for part in body) + struct.pack("<q6f", 6, *range(6)))
    same(read(path), {"x": torch.tensor([3.0, 4.0, 5.0])})
    same(torch.load(path, weights_only=False), {"x": torch.tensor([3.0, 4.0, 5.0])})


def test_reads_the_tar_of_torch_below_0_1_10(tmp_path):
    storages = [1, (11, "cpu", torch.FloatStorage)], struct.pack("<q6f", 6, *range(6)), [[(12, 11, 2, 4)]]
    places = [2, (21, 11, torch.FloatTensor)], struct.pack("<i4x2q2qq", 2, 2, 3, 3, 1, 0), [(22, 12, torch.FloatTensor)], struct.pack("<i4xqqq", 1, 2, 2, 1)
    members = {"storages": storages, "tensors": places, "pickle": [[{"whole": Named("21"), "view": Named("22")}]]}
    path = tmp_path / "old.tar"
    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as archive:
        for name, parts in members.items():
            raw = b"".join(part if isinstance(part, bytes) else b"".join(pickled(value) for value in part) for part in parts)
            entry = tarfile.TarInfo(name)
            entry.size = len(raw)
            archive.addfile(entry, io.BytesIO(raw))
    expected = {"whole": torch.arange(6.0).reshape(2, 3), "view": torch.tensor([3.0, 5.0])}
    same(read(path), expected)
    same(torch.load(path, weights_only=False), expected)


def zipped(path, program):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/data/0", np.arange(4, dtype="<f4").tobytes())


STORAGE = b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"  # opens the tensor's arguments, too
REBUILD = b"\x80\x02}X\x01\x00\x00\x00xctorch._utils\n_rebuild_tensor_v2\n"


def placed(offset, size, stride):
    """{"x": a tensor}, where offset, size and stride are written in pickle's opcodes."""
    return REBUILD + STORAGE + offset + size + stride + b"\x89NtRs."


def test_the_hand_written_tensor_is_one(tmp_path):
    zipped(tmp_path / "x", placed(b"K\x01", b"K\x02\x85", b"K\x01\x85"))
    same(read(tmp_path / "x"), {"x": torch.tensor([1.0, 2.0])})


def hostile(marker):
    command = f"touch {marker}".encode()
    text = b"X" + struct.pack("<I", len(command)) + command
    code = f"open({str(marker)!r}, 'w')".encode()
    expression = b"X" + struct.pack("<I", len(code)) + code
    name = b"X" + struct.pack("<I", 1) + b"x"
    return {
        "os.system": b"\x80\x02}" + name + b"cos\nsystem\n" + text + b"\x85Rs.",
        "posix.system": b"\x80\x02cposix\nsystem\n" + text + b"\x85R.",
        "builtins.eval": b"\x80\x02cbuiltins\neval\n" + expression + b"\x85R.",
        "py2 eval": b"\x80\x02c__builtin__\neval\n" + expression + b"\x85R.",
        "stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + text + b"\x85R.",
        "protocol 0": b"cos\nsystem\n(S'" + command + b"'\ntR.",
        "inst": b"(S'" + command + b"'\nios\nsystem\n.",
        "obj": b"\x80\x02(cos\nsystem\n" + text + b"o.",
        "newobj": b"\x80\x02csubprocess\nPopen\n" + text + b"\x85\x81.",
        "import": b"\x80\x02cantigravity\nx\n.",
        "dotted": b"\x80\x04\x8c\x05torch\x8c\x09os.system\x93" + text + b"\x85R.",
        "torch.hub": b"\x80\x02ctorch.hub\nload\n" + text + b"\x85R.",
        "torch attribute": b"\x80\x02ctorch\nload\n" + text + b"\x85R.",
        "partial": b"\x80\x02cfunctools\npartial\ncos\nsystem\n" + text + b"\x86R.",
        "extension": b"\x80\x02\x82\x01.",
        "after a good tensor": placed(b"K\x01", b"K\x02\x85", b"K\x01\x85")[:-1] + name + b"cos\nsystem\n" + text + b"\x85Rs.",
        "persistent module": b"\x80\x02(X\x06\x00\x00\x00moduleK\x01K\x02K\x03K\x04tQ.",
        "persistent": b"\x80\x02(X\x06\x00\x00\x00modulecos\nsystem\n" + text + b"tQ.",
    }


@pytest.mark.parametrize("container", ["zip", "legacy"])
@pytest.mark.parametrize("gadget", sorted(hostile("x")))
def test_a_hostile_file_is_refused_and_leaves_no_trace(tmp_path, gadget, container):
    marker, path = tmp_path / "marker", tmp_path / "bad.pth"
    program = hostile(marker)[gadget]
    if container == "zip":
        zipped(path, program)
    else:
        path.write_bytes(pickled(MAGIC) + pickled(1001) + pickled(SYSTEM) + program + pickled([]))
    modules = set(sys.modules)
    with pytest.raises(UserError, match="nothing in it was run"):
        read(path)
    assert not marker.exists() and set(sys.modules) == modules and os.listdir(tmp_path) == ["bad.pth"]


def test_the_gadgets_are_live(tmp_path):
    """The same programs do harm in Python's own unpickler: the refusals above are of something."""
    marker = tmp_path / "marker"
    for gadget in ("os.system", "builtins.eval", "stack global", "protocol 0", "inst"):
        pickle.loads(hostile(marker)[gadget])
        assert marker.exists(), gadget
        marker.unlink()


@pytest.mark.parametrize("place", [
    (b"K\x02", b"K\x03\x85", b"K\x01\x85"),  # ends one beyond
    (b"J\xff\xff\xff\xff", b"K\x02\x85", b"K\x01\x85"),  # begins before
    (b"K\x00", b"J\xff\xff\xff\xff\x85", b"K\x01\x85"),
    (b"K\x00", b"K\x02\x85", b"J\xff\xff\xff\xff\x85"),
    (b"K\x00", b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x40\x85", b"K\x00\x85"),  # 2**62 elements of stride 0
    (b"K\x00", b"J\x00\x00\x00\x04\x85", b"K\x00\x85"),  # 2**26 of them, which would fit into memory
    (b"K\x00", b"\x8a\x09\x01\x00\x00\x00\x00\x00\x00\x00\x01\x85", b"K\x01\x85"),  # wraps round in 64 bits
    (b"K\x00", b"K\x02\x85", b")"),  # a stride is missing
    (b"K\x00", b"\x88\x85", b"K\x01\x85"),  # a truth value for a size
])
def test_a_tensor_outside_its_storage_is_refused(tmp_path, place):
    zipped(tmp_path / "x", placed(*place))
    with pytest.raises(UserError, match="no readable torch file"):
        read(tmp_path / "x")


def test_a_name_that_grows_exponentially_is_refused(tmp_path):
    """Twenty-five dicts, each holding the last one twice: 2**25 dotted names."""
    doubled = b"}q\x00" + b"".join(b"}(K\x01h" + bytes([n]) + b"K\x02h" + bytes([n]) + b"uq" + bytes([n + 1]) for n in range(25))
    zipped(tmp_path / "x", b"\x80\x02" + doubled + b".")
    with pytest.raises(UserError, match="nested too deeply"):
        read(tmp_path / "x")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_file_is_one_clear_error(tmp_path, zipped):
    """Cut anywhere, or with one byte changed: the tensors, or a UserError, and nothing else. In a zip, changed tensors are noticed (CRC-32)."""
    path = tmp_path / "weights.pth"
    good = {"a": torch.arange(8.0), "b": torch.ones(2, 2)}
    torch.save(good, path, _use_new_zipfile_serialization=zipped)
    raw, random = path.read_bytes(), np.random.default_rng(0)
    for cut in range(0, len(raw), max(1, len(raw) // 60)):
        path.write_bytes(raw[:cut])
        with pytest.raises(UserError):
            read(path)
    for _ in range(150):
        changed = bytearray(raw)
        changed[random.integers(len(raw))] ^= 1 << random.integers(8)
        path.write_bytes(changed)
        try:
            found = read(path)
        except UserError:
            continue
        if zipped and found.keys() == good.keys():
            same(found, good)


def test_what_is_no_torch_file_is_said(tmp_path):
    path = tmp_path / "page.html"
    for content in (b"", b"<html>not found</html>", b"\x80\x02K\x01."):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"page\.html is no readable torch file.*state dict"):
            read(path)
    torch.save(torch.ones(2), path)
    with pytest.raises(UserError):
        read(path)
