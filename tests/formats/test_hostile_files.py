"""Files made to do harm, through the reader of whole trees and through ``agon import``: each is refused by name and leaves no trace.

What happened is watched by an audit hook of the interpreter itself (PEP 578), beside a sentinel file, the folder, the loaded modules and the time taken.
"""

import codecs
import contextlib
import io
import os
import pickle
import struct
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from agon.errors import UserError
from agon.formats import persistent
from agon.formats.imported import converters, import_file
from agon.formats.persistent import Names
from agon.formats.torch_state import read_tree

MAGIC = 0x1950A86A20F9469CFC6C
SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
FORBIDDEN = {
    "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile", "subprocess.Popen", "exec", "compile", "pickle.find_class",
    "shutil.rmtree", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "socket.__new__", "socket.connect", "ctypes.dlopen", "ctypes.dlsym", "marshal.loads",
    "marshal.load", "code.__new__", "webbrowser.open", "urllib.Request", "tempfile.mkdtemp", "tempfile.mkstemp", "import",
}  # fmt: skip
SEEN: list[str] = []
WATCHING = False


def watch(event, arguments):
    if WATCHING and (event in FORBIDDEN or event == "open" and isinstance(arguments[1], str) and set("wax+") & set(arguments[1])):
        SEEN.append(f"{event} {arguments[:1]}")


sys.addaudithook(watch)


@contextlib.contextmanager
def watched(folder):
    """Nothing is run, imported or written inside."""
    global WATCHING
    converters()  # loaded before, so that no import is seen
    before, modules = sorted(os.listdir(folder)), set(sys.modules)
    SEEN.clear()
    WATCHING = True
    try:
        yield
    finally:
        WATCHING = False
    assert not SEEN and sorted(os.listdir(folder)) == before and set(sys.modules) == modules


# --- pickle's opcodes -------------------------------------------------------------------------------------------------------------------

def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def named(module, name):
    return f"c{module}\n{name}\n".encode()


def stacked(module, name):
    return text(module) + text(name) + b"\x93"


def call(callee, *arguments):
    return callee + b"(" + b"".join(arguments) + b"tR"


def raw(value):
    return b"B" + struct.pack("<I", len(value)) + value


def legacy(program):
    """The four pickles of torch's files before 1.6 with the program for an object."""
    return b"".join(pickle.dumps(part, 2) for part in (MAGIC, 1001, SYSTEM)) + program + pickle.dumps([], 2)


LOAD = named("torch.storage", "_load_from_bytes")
DTYPE = call(named("numpy", "dtype"), text("f4"), b"K\x00", b"K\x01")
OBJECTS = call(named("numpy", "dtype"), text("O8"), b"K\x00", b"K\x01")
EMPTY = call(named("numpy.core.multiarray", "_reconstruct"), named("numpy", "ndarray"), b"K\x00\x85", text("b"))
BAD_NESTED = legacy(b"\x80\x02" + call(named("os", "system"), text("true")) + b".")


def persistent_object(state, source="", kind="class"):
    meta = b"}(" + text("type") + text(kind) + text("version") + b"K\x06" + text("module_src") + text(source) + text("class_name") + text("Generator")
    return named("torch_utils.persistence", "_reconstruct_persistent_obj") + meta + text("state") + state + b"u\x85R"


def gadgets(marker):
    """Name -> (program without PROTO and STOP, what the refusal names)."""
    touch = text(f"touch {marker}")
    code = text(f"open({str(marker)!r}, 'w').close()")
    memo = b"q\x00"
    calls = {
        "os.system": ("os", "system", touch), "posix.system": ("posix", "system", touch), "nt.system": ("nt", "system", touch),
        "os.popen": ("os", "popen", touch), "os.execv": ("os", "execv", touch), "os.remove": ("os", "remove", text(str(marker))),
        "subprocess.Popen": ("subprocess", "Popen", touch), "subprocess.check_output": ("subprocess", "check_output", touch),
        "subprocess.run": ("subprocess", "run", touch), "commands.getoutput": ("commands", "getoutput", touch), "pty.spawn": ("pty", "spawn", touch),
        "builtins.eval": ("builtins", "eval", code), "builtins.exec": ("builtins", "exec", code), "__builtin__.eval": ("__builtin__", "eval", code),
        "__builtin__.execfile": ("__builtin__", "execfile", touch), "builtins.open": ("builtins", "open", text(str(marker)), text("w")),
        "io.open": ("io", "open", text(str(marker)), text("w")), "builtins.__import__": ("builtins", "__import__", text("antigravity")),
        "builtins.getattr": ("builtins", "getattr", text("x"), text("__class__")), "builtins.setattr": ("builtins", "setattr", text("x"), text("y"), text("z")),
        "builtins.compile": ("builtins", "compile", code, text("x"), text("exec")), "builtins.map": ("builtins", "map", named("os", "system"), touch),
        "builtins.input": ("builtins", "input", text("?")), "builtins.breakpoint": ("builtins", "breakpoint"), "builtins.globals": ("builtins", "globals"),
        "builtins.object": ("builtins", "object"), "builtins.type": ("builtins", "type", text("x")), "runpy.run_path": ("runpy", "run_path", touch),
        "runpy._run_code": ("runpy", "_run_code", code), "importlib.import_module": ("importlib", "import_module", text("antigravity")),
        "imp.load_source": ("imp", "load_source", text("x")), "pkgutil.resolve_name": ("pkgutil", "resolve_name", text("os:system")),
        "functools.partial": ("functools", "partial", named("os", "system"), touch), "operator.attrgetter": ("operator", "attrgetter", text("system")),
        "operator.methodcaller": ("operator", "methodcaller", text("system"), touch), "operator.itemgetter": ("operator", "itemgetter", text("system")),
        "code.interact": ("code", "interact"), "code.InteractiveInterpreter": ("code", "InteractiveInterpreter"), "pdb.run": ("pdb", "run", code),
        "timeit.timeit": ("timeit", "timeit", code), "cProfile.run": ("cProfile", "run", code), "doctest.debug_script": ("doctest", "debug_script", code),
        "webbrowser.open": ("webbrowser", "open", text("http://127.0.0.1")), "ctypes.CDLL": ("ctypes", "CDLL", text("libc.so.6")),
        "socket.create_connection": ("socket", "create_connection", text("x")), "asyncio.run": ("asyncio", "run", text("x")),
        "urllib.request.urlopen": ("urllib.request", "urlopen", text("http://127.0.0.1")), "shutil.rmtree": ("shutil", "rmtree", text(str(marker.parent))),
        "pathlib.Path.write_text": ("pathlib", "Path.write_text", text(str(marker))), "torch.load": ("torch", "load", text("x")),
        "torch.serialization.load": ("torch.serialization", "load", text("x")), "torch.hub.load": ("torch.hub", "load", text("x/y")),
        "torch.jit.load": ("torch.jit", "load", text("x")),
        "torch.jit.unsupported_tensor_ops.execWrapper": ("torch.jit.unsupported_tensor_ops", "execWrapper", code),
        "torch.utils.collect_env.run": ("torch.utils.collect_env", "run", touch),
        "torch._inductor.codecache.compile_file": ("torch._inductor.codecache", "compile_file"),
        "torch.storage.UntypedStorage.from_file": ("torch.storage", "UntypedStorage.from_file", text(str(marker))),
        "numpy.load": ("numpy", "load", text("x")), "numpy.testing._private.utils.runstring": ("numpy.testing._private.utils", "runstring", code),
        "numpy.f2py.crackfortran.myeval": ("numpy.f2py.crackfortran", "myeval", code), "numpy.core.multiarray.fromfile": ("numpy.core.multiarray", "fromfile"),
        "types.FunctionType": ("types", "FunctionType", text("x")), "types.CodeType": ("types", "CodeType", b"K\x00"),
        "marshal.loads": ("marshal", "loads", raw(b"c")), "pickle.loads": ("pickle", "loads", raw(b"\x80\x02" + call(named("os", "system"), touch) + b".")),
        "_pickle.loads": ("_pickle", "loads", raw(b".")), "dill._dill._create_function": ("dill._dill", "_create_function"),
        "cloudpickle.cloudpickle._make_function": ("cloudpickle.cloudpickle", "_make_function"), "joblib.load": ("joblib", "load", text("x")),
        "copyreg._reconstructor": ("copyreg", "_reconstructor", named("torch_utils.persistence", "x"), text("y")),
        "copyreg.__newobj__": ("copyreg", "__newobj__", text("y")), "copyreg.add_extension": ("copyreg", "add_extension", text("os"), text("system"), b"K\x01"),
        "torch_utils.persistence._src_to_module": ("torch_utils.persistence", "_src_to_module", code),
        "torch_utils.custom_ops.get_plugin": ("torch_utils.custom_ops", "get_plugin", text("x")),
        "dnnlib.util.call_func_by_name": ("dnnlib.util", "call_func_by_name"),
        "dnnlib.util.open_url": ("dnnlib.util", "open_url", text("http://127.0.0.1")),
        "dnnlib.tflib.network.import_handler": ("dnnlib.tflib.network", "import_handler"),
        "os.__dict__": ("os", "__dict__"), "sys.modules": ("sys", "modules"),
    }  # fmt: skip
    found = {name: (call(named(*given[:2]), *given[2:]), name) for name, given in calls.items()}
    return found | {
        "built strings": (call(text("o") + b"0" + text("os") + text("system") + b"\x93", touch), "os.system"),
        "names from the memo": (call(text("os") + memo + b"0h\x00" + text("system") + b"\x93", touch), "os.system"),
        "memoized callee": (stacked("os", "system") + b"\x94" + b"(" + touch + b"tR", "os.system"),
        "dotted through a good name": (stacked("collections", "OrderedDict.__init__.__globals__"), "collections.OrderedDict.__init__.__globals__"),
        "dotted through torch": (stacked("torch", "os.system"), "torch.os.system"),
        "dotted through a held class": (stacked("torch.nn.modules.container", "ModuleList.__init__.__globals__"), "ModuleList.__init__.__globals__"),
        "module of a held class": (stacked("torch.nn.modules", "os.system"), "os.system"),
        "INST": (b"(" + touch + b"ios\nsystem\n", "os.system"), "OBJ": (b"(" + named("os", "system") + touch + b"o", "os.system"),
        "OBJ of a good name": (b"(" + named("collections", "OrderedDict") + b"o", "OBJ"),
        "NEWOBJ": (named("subprocess", "Popen") + touch + b"\x85\x81", "subprocess.Popen"),
        "NEWOBJ_EX": (named("collections", "OrderedDict") + b")}\x92", "NEWOBJ_EX"), "EXT1": (b"\x82\x01", "EXT1"), "EXT2": (b"\x83\x01\x00", "EXT2"),
        "EXT4": (b"\x84\x01\x00\x00\x00", "EXT4"), "out-of-band buffer": (b"\x97", "NEXT_BUFFER"), "read-only buffer": (raw(b"x") + b"\x98", "READONLY_BUFFER"),
        "BUILD with a hidden call": (named("argparse", "Namespace") + b")\x81}" + text("__setstate__") + named("os", "system") + b"sb", "os.system"),
        "persistent id with a callable": (b"(" + text("storage") + named("os", "system") + text("0") + text("cpu") + b"K\x01tQ", "os.system"),
        "persistent module": (b"(" + text("module") + b"K\x01K\x02K\x03K\x04tQ", "module"),
        "a callee in a list": (b"]" + named("os", "system") + b"a", "os.system"),
        "a callee for a key": (b"}" + named("os", "system") + b"K\x01s", "os.system"),
        "a callee in a set": (b"\x8f(" + named("os", "system") + b"\x90", "os.system"),
        "inside a persistent object": (persistent_object(b"}" + text("x") + call(named("os", "system"), touch) + b"s"), "os.system"),
        "inside a TensorFlow network": (named("dnnlib.tflib.network", "Network") + b")\x81}" + text("build_func") + named("os", "system") + b"sb", "os.system"),
        "nested file of a storage": (call(LOAD, raw(BAD_NESTED)), "os.system"),
        "nested bare pickle": (call(LOAD, raw(b"\x80\x02cos\nsystem\n.")), "os.system"),
        "nested file with a persistent object": (call(LOAD, raw(legacy(b"\x80\x02" + persistent_object(b"}") + b"."))), "persist"),
        "nested file in a nested file": (call(LOAD, raw(legacy(b"\x80\x02" + call(LOAD, raw(BAD_NESTED)) + b"."))), "torch.storage._load_from_bytes"),
        "object array": (EMPTY + b"(K\x01K\x01\x85" + OBJECTS + b"\x89]tb", "O8"),
        "object scalar": (call(named("numpy.core.multiarray", "scalar"), OBJECTS, raw(b"x" * 8)), "O8"),
        "array of a list": (EMPTY + b"(K\x01K\x01\x85" + DTYPE + b"\x89](K\x01etb", "list"),
        "array of no type": (EMPTY + b"(K\x01K\x01\x85N\x89" + raw(b"x" * 8) + b"tb", "array of objects"),
        "array of records": (DTYPE + b"(K\x03" + text("<") + b"N)}K\x00K\x00K\x00tb", "records"),
        "array of text": (call(named("numpy", "dtype"), text("U8")), "U8"),
        "new numpy's array of objects": (call(named("numpy._core.multiarray", "scalar"), OBJECTS, raw(b"x" * 8)), "O8"),
        "ctypes array": (call(named("numpy.ctypeslib", "load_library"), text("x")), "numpy.ctypeslib.load_library"),
        "control characters": (b"cos\nsys\x1b[2Jtem\n", "os.sys?[2Jtem"), "a very long name": (b"c" + b"o" * 100_000 + b"\nsystem\n", "ooooo"),
    }  # fmt: skip


def test_there_are_enough_of_them(tmp_path):
    assert len(gadgets(tmp_path)) >= 100


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Everything that an import loads is loaded, with the codecs of ZIP files and of protocol 0."""
    for codec in ("cp437", "raw_unicode_escape"):
        codecs.lookup(codec)
    path = tmp_path_factory.mktemp("loaded") / "x.pt"
    torch.save({"w": torch.ones(2)}, path)
    with pytest.raises(UserError):
        import_file(path)


def contained(path, program, container):
    if container == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", program)
            archive.writestr("archive/data/0", b"\0" * 16)
    else:
        path.write_bytes(legacy(program) if container == "legacy" else program)


@pytest.mark.parametrize("container", ["bare", "zip", "legacy"])
@pytest.mark.parametrize("gadget", sorted(gadgets(Path("x"))))
def test_a_gadget_is_refused_by_name_and_leaves_no_trace(tmp_path, loaded, gadget, container):
    marker, path = tmp_path / "marker", tmp_path / "bad.pkl"
    program, named_there = gadgets(marker)[gadget]
    contained(path, b"\x80\x04}" + text("G_ema") + program + b"s.", container)
    began = time.monotonic()
    with watched(tmp_path), pytest.raises(UserError) as refusal:
        import_file(path, tmp_path / "run")
    said = str(refusal.value)
    assert "nothing in it was run" in said and named_there in said and len(said) < 1000 and said.isprintable()
    assert not marker.exists() and time.monotonic() - began < 2


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_is_refused(tmp_path, loaded, protocol):
    class Harm:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'marker'}",)

    path = tmp_path / "bad.pkl"
    path.write_bytes(pickle.dumps({"G_ema": Harm()}, protocol))
    with watched(tmp_path), pytest.raises(UserError, match=r"(posix|nt|os)\.system"):
        import_file(path, tmp_path / "run")


def test_the_gadgets_are_live(tmp_path):
    """In Python's own unpickler the same programs do it: the refusals are of something."""
    marker = tmp_path / "marker"
    names = ("os.system", "builtins.eval", "builtins.exec", "subprocess.getoutput", "built strings", "names from the memo", "memoized callee", "INST", "OBJ")
    for gadget in names:
        program = gadgets(marker).get(gadget, (call(named("subprocess", "getoutput"), text(f"touch {marker}")),))[0]
        pickle.loads(b"\x80\x04" + program + b".")
        assert marker.exists(), gadget
        marker.unlink()


# --- code that a file brings along --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["persistent", "tensorflow", "tfutil"])
def test_source_text_is_never_compiled_nor_kept(tmp_path, loaded, kind):
    marker, path = tmp_path / "marker", tmp_path / "net.pkl"
    source = f"open({str(marker)!r}, 'w').close()"
    program = persistent_object(b"}" + text("z_dim") + b"K\x05s", source)
    if kind != "persistent":
        network = named(*{"tensorflow": ("dnnlib.tflib.network", "Network"), "tfutil": ("tfutil", "Network")}[kind]) + b")\x81"
        program = network + b"}(" + text("build_module_src") + text(source) + text("build_func_name") + text("f") + text("z_dim") + b"K\x05ub"
    path.write_bytes(b"\x80\x04" + program + b".")
    with watched(tmp_path):
        made = read_tree(path, Names())
    assert made.state["z_dim"] == 5 and not {"module_src", "build_module_src"} & set(made.state)
    with watched(tmp_path), pytest.raises(UserError):
        import_file(path, tmp_path / "run")


def test_a_class_is_a_name_even_where_such_a_class_exists(tmp_path, loaded):
    path = tmp_path / "net.pkl"
    path.write_bytes(pickle.dumps(torch.nn.Linear(2, 3)))
    with watched(tmp_path):
        made = read_tree(path, Names())
    assert type(made) is persistent.Object and made.name == "torch.nn.modules.linear.Linear"
    assert set(persistent.module_state(made)) == {"weight", "bias"}


# --- files made to exhaust the machine ----------------------------------------------------------------------------------------------------

def doubled(opcode, count=200):
    """Containers, each of which holds the last one twice: 2**count parts in ``count`` steps."""
    start, step = {"list": (b"]", b"](h%sh%se"), "tuple": (b")", b"h%sh%s\x86"), "dict": (b"}", b"}(K\x01h%sK\x02h%su")}[opcode]
    found = start + b"q\x00"
    for n in range(count):
        found += step.replace(b"h%s", b"h" + bytes([n])) + b"q" + bytes([n + 1])
    return found


STORAGE = b"(" + text("storage") + named("torch", "FloatStorage") + text("0") + text("cpu") + b"K\x04tQ"


def placed(storage, offset, size, stride):
    return named("torch._utils", "_rebuild_tensor_v2") + b"(" + storage + offset + size + stride + b"\x89NtR"


def exhausting():
    many = b"".join(text(f"t{i}") + placed(STORAGE, b"K\x00", b"J\x00\x00\x00\x01\x85", b"K\x00\x85") for i in range(40))  # 40 times 64 MB from 16 bytes
    shape = b"(K\x01J\x00\x00\x00\x40\x85" + DTYPE + b"\x89" + raw(b"") + b"tb"
    return {
        "a list of lists of lists": b"]" * 100_000 + b"a" * 99_999, "tuples that double": doubled("tuple"),
        "a few tuples that double": doubled("tuple", 60), "lists that double": doubled("list"),
        "dicts that double": doubled("dict"), "a key that doubles": b"}" + doubled("tuple") + b"K\x01s",
        "a set of what doubles": b"\x8f(" + doubled("tuple") + b"\x90",
        "a name that doubles": doubled("tuple") + text("x") + b"\x93", "a size that doubles": placed(STORAGE, b"K\x00", doubled("tuple"), b"K\x01\x85"),
        "a storage's length that doubles": b"(" + text("storage") + named("torch", "FloatStorage") + text("0") + text("cpu") + doubled("tuple") + b"tQ",
        "a list in itself": b"]q\x00h\x00a", "a dict in itself": b"}q\x00" + text("x") + b"h\x00s", "many expanded tensors": b"}(" + many + b"u",
        "an expanded tensor": placed(STORAGE, b"K\x00", b"J\x00\x00\x00\x10\x85", b"K\x00\x85"), "LONG4": b"\x8b\xff\xff\xff\x7f",
        "negative LONG4": b"\x8b\xff\xff\xff\xff",
        "LONG as text": b"L" + b"9" * 100_000 + b"L\n", "BINBYTES8": b"\x8e" + b"\xff" * 7 + b"\x7f", "BINBYTES8 of everything": b"\x8e" + b"\xff" * 8,
        "BINUNICODE8": b"\x8d" + b"\xff" * 7 + b"\x7f", "BYTEARRAY8": b"\x96" + b"\xff" * 7 + b"\x7f", "BINSTRING": b"T\xff\xff\xff\xff",
        "FRAME": b"\x95" + b"\xff" * 8 + b"N",
        "a negative size": placed(STORAGE, b"K\x00", b"J\xff\xff\xff\xff\x85", b"K\x01\x85"), "a negative stride": placed(STORAGE, b"K\x03", b"K\x02\x85",
        b"J\xff\xff\xff\xff\x85"),
        "two lengths of one storage": b"](" + placed(STORAGE, b"K\x00", b"K\x04\x85", b"K\x01\x85") + placed(STORAGE.replace(b"K\x04tQ", b"M\x00\x40tQ"),
        b"K\x00", b"M\x00\x40\x85", b"K\x01\x85") + b"e",
        "a lying storage": placed(STORAGE.replace(b"K\x04tQ", b"M\x00\x40tQ"), b"K\x00", b"M\x00\x40\x85", b"K\x01\x85"), "a huge array": EMPTY + shape,
        "a negative array": EMPTY + shape.replace(b"J\x00\x00\x00\x40", b"J\xff\xff\xff\xff"),
        "an array of many axes": EMPTY + b"(K\x01(" + b"K\x01" * 100 + b"t" + DTYPE + b"\x89" + raw(b"\0" * 4) + b"tb",
        "a size of many axes": call(named("torch", "Size"), b"](" + b"K\x01" * 1000 + b"e"), "popping nothing": b"0000", "an unknown memo": b"h\x07",
        "a tuple of nothing": b"\x87", "a memo that is no number": b"gx\n", "an unending program": b"(" * 50_000, "an opcode that is none": b"\xff",
    }  # fmt: skip


@pytest.mark.parametrize("how", sorted(exhausting()))
def test_a_small_file_cannot_exhaust_the_machine(tmp_path, loaded, how):
    path = tmp_path / "bad.pt"
    contained(path, b"\x80\x02" + exhausting()[how] + b".", "zip")
    began = time.monotonic()
    with watched(tmp_path), pytest.raises(UserError) as refusal:
        import_file(path, tmp_path / "run")
    assert time.monotonic() - began < 3 and len(str(refusal.value)) < 1000


def test_the_same_bytes_are_turned_once(tmp_path, loaded):
    """10,000 storages from one text and one bytes object of 400 kB, and arrays on them: 4 GB, were each made anew."""
    stream = io.BytesIO()
    torch.save(torch.zeros(100_000).untyped_storage(), stream, _use_new_zipfile_serialization=False)
    load = named("torch.storage", "_load_from_bytes") + b"h\x00\x85R"
    encode = named("_codecs", "encode") + b"h\x01" + text("latin1") + b"\x86R"
    path = tmp_path / "bad.pkl"
    path.write_bytes(b"\x80\x02" + raw(stream.getvalue()) + b"q\x000" + text("x" * 400_000) + b"q\x010](" + 10_000 * load + b"e0](" + 10_000 * encode + b"e.")
    assert len(read_tree(path, Names())) == 10_000


def test_zip_bombs_and_paths(tmp_path, loaded):
    path, body = tmp_path / "bad.pt", b"\x80\x02}" + text("x") + placed(STORAGE, b"K\x00", b"K\x04\x85", b"K\x01\x85") + b"s."
    for name in ("../data.pkl", "/data.pkl", "archive/../../data.pkl", "archive\\..\\data.pkl"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, body)
            archive.writestr("archive/data.pkl", body)
            archive.writestr("archive/data/0", b"\0" * 16)
        with watched(tmp_path), pytest.raises(UserError, match=r"data\.pkl"):
            import_file(path, tmp_path / "run")
    bomb = pickle.dumps(["x" * 50_000_000], 2)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bomb)
    with watched(tmp_path), pytest.raises(UserError, match="larger than the file"):
        import_file(path, tmp_path / "run")


def test_entries_on_top_of_one_another(tmp_path, loaded):
    """Two hundred storages in the place of one: their announced sizes may not be more than the file."""
    path, count = tmp_path / "bad.pt", 1 << 16
    size = b"J" + struct.pack("<i", count)
    storages = [STORAGE.replace(text("0"), text(str(i))).replace(b"K\x04tQ", size + b"tQ") for i in range(20)]
    body = b"\x80\x02](" + b"".join(placed(storage, b"K\x00", size + b"\x85", b"K\x01\x85") for storage in storages) + b"e."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", body)
        archive.writestr("archive/data/0", b"\0" * 4 * count)
        first = archive.getinfo("archive/data/0")
        for i in range(1, 20):
            twin = zipfile.ZipInfo(f"archive/data/{i}")
            twin.header_offset, twin.file_size, twin.compress_size, twin.CRC = first.header_offset, first.file_size, first.compress_size, first.CRC
            archive.filelist.append(twin)
            archive.NameToInfo[twin.filename] = twin
    with watched(tmp_path), pytest.raises(UserError):
        import_file(path, tmp_path / "run")


def test_a_sparse_tar_and_links_are_refused(tmp_path, loaded):
    path = tmp_path / "bad.tar"
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
        with tarfile.open(path, "w:") as archive:
            for name in ("storages", "tensors", "pickle"):
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname = kind, "../../etc/passwd"
                archive.addfile(entry)
        with watched(tmp_path), pytest.raises(UserError, match="no ordinary file"):
            import_file(path, tmp_path / "run")


def test_a_damaged_pickle_is_one_clear_error(tmp_path, loaded):
    """Cut anywhere, or with one byte changed: what was written, or a UserError, and nothing else."""
    path = tmp_path / "net.pkl"
    body = b"\x80\x04}" + text("a") + persistent_object(b"}" + text("w") + EMPTY + b"(K\x01K\x02\x85" + DTYPE + b"\x89" + raw(b"\0" * 8) + b"tbs") + b"s."
    path.write_bytes(body)
    assert read_tree(path, Names())["a"].state["w"].tensor.shape == (2,)
    random = np.random.default_rng(0)
    changed = [body[:cut] for cut in range(0, len(body), 4)]
    for _ in range(100):
        other = bytearray(body)
        other[random.integers(len(body))] ^= 1 << random.integers(8)
        changed.append(bytes(other))
    for each in changed:
        path.write_bytes(each)
        with watched(tmp_path), contextlib.suppress(UserError):
            read_tree(path, Names())
