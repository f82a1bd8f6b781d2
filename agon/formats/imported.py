"""Other projects' checkpoints as Agon's runs: a file is read (agon/formats/torch_state.py, which executes nothing), recognised by the names of its tensors,
converted by the module of its origin, loaded strictly into the game's own networks, and written as a run folder, whole or not at all.

A converter is a file of this folder with ``ORIGIN = "..."`` (a literal), ``recognise(names, meta) -> bool`` and ``convert(tree) -> dict`` of ``game``,
``fields``, ``spec`` ({"shape": (C, H, W), "num_classes": K} and other fields of a DataSpec), ``generator``, ``discriminator`` and ``ema`` (name -> tensor, or
None: not in it), ``networks`` (the game's other parts by name, if any) and ``notes``. ``names``: the dotted names of all tensors; ``meta``: {"tree": ...,
"file": its name, "classes": of the objects in it}. ``convert`` takes the tree, or (tree, meta) where it asks for both. It raises UserError, or :class:`Unfit`
for what Agon's networks cannot express.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

import agon
from agon import catalog
from agon.config import build, to_dict
from agon.data.cache import sha256_of
from agon.data.source import DataSpec
from agon.errors import UserError, writing
from agon.formats.persistent import Names
from agon.formats.torch_state import MAX_DEPTH, MAX_NAMES, Held, printable, read_tree
from agon.game import Game
from agon.run import slug
from agon.train import checkpoint

FOLDER = Path(__file__).parent
ENDINGS = (".safetensors", ".pkl", ".pth", ".pt", ".ckpt", ".bin", ".tar")
SHOWN = 8
"""Names that an error lists."""
MAX_SIDE, MAX_CLASSES, MAX_CHANNELS = 4096, 100_000, 16
MAX_FILES = 16
MAX_NUMBER, MAX_WORD = 1 << 21, 100  # of a field
MAX_GROWTH, MAX_FREE = 20, 10_000_000  # numbers that networks may have, for each in the file and beside


class Unfit(Exception):
    """Weights that Agon's networks cannot hold exactly: an English reason."""


@dataclasses.dataclass
class Imported:
    """What came of a file."""

    run: Path
    origin: str
    game: str
    shape: tuple[int, ...]
    num_classes: int
    notes: list[str]


def import_file(path: str | Path, out: str | Path | None = None, *, game: str | None = None, class_names: tuple[str, ...] = ()) -> Imported:
    """Turn a checkpoint (or a folder of a checkpoint's files) into the run folder ``out`` (default runs/<game>-<file>). ``game``: train it on as this game,
    whose networks must be the same. Raises UserError, and then nothing has been written."""
    path = Path(path)
    tree = read_any(path)
    names, classes = contents(tree, path)
    meta = {"tree": tree, "file": path.name, "classes": classes}
    module = recognised(names, meta, path)
    with converting(path, module.ORIGIN):
        found = module.convert(*(tree, meta)[: len(inspect.signature(module.convert).parameters)])
        made = built(found, game or found["game"], class_names, path)
        filled = filled_with(made, found, path)
    folder = Path(out) if out else Path("runs") / slug(f"{game or found['game']}-{path.stem}")
    notes = [*found.get("notes", []), *filled.pop("notes")]
    digest = "" if path.is_dir() else sha256_of(path)
    description = describe(made, game or found["game"], {"file": path.name, "sha256": digest, "origin": module.ORIGIN, "notes": notes})
    write_run(folder, description, filled)
    return Imported(folder, module.ORIGIN, description["game"], made.spec.shape, made.spec.num_classes, notes)


@contextmanager
def converting(path: Path, origin: str) -> Iterator[None]:
    """Turn what a converter or a configuration cannot make sense of into what the file is not."""
    try:
        yield
    except UserError:
        raise
    except Unfit as error:
        raise UserError("{path} comes from {origin} and cannot be imported exactly: {why}. It was not imported.", path=path, origin=origin,
                        why=printable(str(error))) from None
    except (LookupError, ValueError, TypeError, AttributeError, RuntimeError, ArithmeticError, MemoryError) as error:
        raise UserError("{path} looks like a checkpoint of {origin}, and is not one ({why}). Expected the file as that project's training wrote it.", path=path,
                        origin=origin, why=printable(f"{type(error).__name__}: {error}")) from None


def read_any(path: Path) -> Any:
    """A file's content, or a folder's as {name of the file: content}."""
    if not path.exists():
        raise UserError("There is no file {path}. Expected a checkpoint, such as network-snapshot-025000.pkl or G_ema.pth.", path=path)
    if not path.is_dir():
        with writing(path):
            return read_safetensors(path) if path.suffix == ".safetensors" else read_tree(path, Names())
    files = sorted(each for each in path.iterdir() if each.suffix in ENDINGS and each.is_file())
    if not 0 < len(files) <= MAX_FILES:
        raise UserError("{path} holds {count} files that may be checkpoints. Expected the files of one checkpoint (1 to {most}): name a file.", path=path,
                        count=len(files), most=MAX_FILES)
    return {each.stem: read_any(each) for each in files}


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Tensors by name, of another project's file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            if "agon" in (file.metadata() or {}):
                raise UserError("{path} was written by agon export. Expected another project's checkpoint; this one is opened in Python: "
                                "agon.formats.export.load_exported(PATH).", path=path)  # fmt: skip
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError("{path} is no readable safetensors file ({why}). Get it anew.", path=path, why=printable(str(error))) from None


def contents(tree: Any, path: Path) -> tuple[set[str], set[str]]:
    """(dotted names of all tensors, names of the classes of all objects); a module's ``_parameters``, ``_buffers`` and ``_modules`` are not parts of names."""
    names, classes, seen, todo = set(), set(), {}, [("", tree, 0)]
    while todo:
        prefix, item, depth = todo.pop()
        if isinstance(item, Tensor):
            names.add(prefix[:-1])
            continue
        if depth > 4 * MAX_DEPTH or len(seen) > MAX_NAMES:
            raise UserError("{path} is nested too deeply, or holds too many names, for a checkpoint. It was not imported.", path=path)
        if id(item) in seen or not isinstance(item, dict | list | tuple | Held):
            continue
        seen[id(item)] = item
        if isinstance(item, Held):
            classes.add(item.name)
            item = item.state
        for key, value in item.items() if isinstance(item, dict) else enumerate(item):
            hidden = key in ("_parameters", "_buffers", "_modules")
            todo.append((prefix if hidden else f"{prefix}{str(key)[:200]}.", value, depth + 1))
    return names, classes


def converters() -> list[ModuleType]:
    """The modules of this folder that begin with an ORIGIN, found without importing the others."""
    found = [path.stem for path in sorted(FOLDER.glob("*.py")) if re.search(r'^ORIGIN = "', path.read_text(encoding="utf-8"), re.MULTILINE)]
    return [import_module(f"agon.formats.{name}") for name in found]


def recognised(names: set[str], meta: dict, path: Path) -> ModuleType:
    """The converter whose layout this is."""
    known = converters()
    for module in known:
        if module.recognise(names, meta):
            return module
    some = ", ".join(sorted(names)[:3]) or "no tensors"
    raise UserError("{path} is of no layout that is known (it holds {some}). Expected a checkpoint of one of: {known}.", path=path, some=some,
                    known="; ".join(module.ORIGIN for module in known))


def built(found: dict, game: str, class_names: tuple[str, ...], path: Path) -> Game:
    """The game with fresh networks of the inferred configuration."""
    shape, classes = tuple(int(side) for side in found["spec"]["shape"]), int(found["spec"].get("num_classes") or 0)
    if len(shape) != 3 or not 0 < shape[0] <= MAX_CHANNELS or not all(0 < side <= MAX_SIDE for side in shape[1:]) or not 0 <= classes <= MAX_CLASSES:
        raise UserError("{path} is for pictures of {shape} with {classes} classes, which cannot be.", path=path, shape=shape, classes=classes)
    if class_names and len(class_names) != classes:
        raise UserError("{given} class names were given and {path} has {classes} classes. Expected one name for each.", given=len(class_names), path=path,
                        classes=classes)
    further = {name: value for name, value in found["spec"].items() if name not in ("shape", "num_classes")}
    cls, spec = catalog.load(game), DataSpec("image", shape, classes, tuple(class_names), **further)
    config = build(cls.Config, plain(found))
    with torch.device("meta"):  # no memory, before the file's own tensors say that they are of these sizes
        outline = cls(config, spec)
    for name, state in states_in(found).items():
        compare(getattr(outline, "generator" if name == "ema" else name), state, name, path)
    asked, given = (sum(tensor.numel() for tensor in each) for each in (outline.parameters(), tensors_of(found)))
    need(asked <= MAX_GROWTH * given + MAX_FREE, "its networks would be far larger than the file")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return cls(config, spec)


def states_in(found: dict) -> dict[str, dict[str, Tensor]]:
    """Part of the game, or ``ema`` -> its tensors by name, of those that the file has."""
    parts = {name: found[name] for name in ("generator", "ema", "discriminator") if found.get(name) is not None}
    return parts | (found.get("networks") or {})


def tensors_of(found: dict) -> list[Tensor]:
    return [tensor for state in states_in(found).values() for tensor in state.values()]


def plain(found: dict) -> dict[str, Any]:
    """The fields, after checking that they are small plain values: they come from the file, and networks will be built by them."""
    most = len(tensors_of(found))
    for name, value in found["fields"].items():
        for each in value if isinstance(value, list | tuple) else (value,):
            good = each is None or isinstance(each, bool) or isinstance(each, float) and math.isfinite(each) or isinstance(each, str) and len(each) < MAX_WORD
            counted = most if "layers" in name or "blocks" in name else MAX_NUMBER
            need(good or isinstance(each, int) and 0 <= each <= counted, f"{name} cannot be what it says")
    return found["fields"]


def filled_with(game: Game, found: dict, path: Path) -> dict[str, Any]:
    """Load the weights strictly; returns what a checkpoint holds, and notes on what was not there."""
    notes = []
    generator, averaged = found.get("generator") or found.get("ema"), found.get("ema") or found.get("generator")
    if generator is None:
        raise UserError("{path} holds no generator. Expected one: this file alone cannot make samples.", path=path)
    if found.get("ema") is None:
        notes.append("the file has no averaged generator: its generator stands for it")
    if found.get("generator") is None:
        notes.append("the file has only the averaged generator: training would go on from it")
    load(game.generator, averaged, "generator", path)
    ema = {f"generator.{name}": tensor.clone() for name, tensor in game.generator.state_dict().items()}
    load(game.generator, generator, "generator", path)
    if found.get("discriminator") is None:
        notes.append("the file has no discriminator that fits: it begins anew")
    else:
        load(game.discriminator, found["discriminator"], "discriminator", path)
    for name, state in (found.get("networks") or {}).items():
        load(getattr(game, name), state, name, path)
    return {"game": game.state_dict(), "ema": ema, "notes": notes}


def load(network: nn.Module, given: dict[str, Tensor], what: str, path: Path) -> None:
    """Load a state, all of it and nothing else."""
    compare(network, given, what, path)
    broken = [name for name, tensor in given.items() if tensor.is_floating_point() and not torch.isfinite(tensor).all()]
    if broken:
        raise UserError("The {what} in {path} holds numbers that are not finite, in {names}. It was not imported.", what=what, path=path,
                        names=", ".join(broken[:SHOWN]))
    expected = network.state_dict()
    network.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in given.items()})


def compare(network: nn.Module, given: dict[str, Tensor], what: str, path: Path) -> None:
    """Raise UserError with the names that are missing, too many or of another shape."""
    expected = network.state_dict()
    wrong = [f"{name} is missing" for name in expected if name not in given]
    wrong += [f"{name} is too many" for name in given if name not in expected]
    wrong += [f"{name} has {tuple(given[name].shape)}, not {tuple(tensor.shape)}" for name, tensor in expected.items()
              if name in given and given[name].shape != tensor.shape]
    if wrong:
        raise UserError("The {what} in {path} does not fit Agon's: {wrong}. It was not imported.", what=what, path=path,
                        wrong=printable("; ".join(wrong[:SHOWN]), 1000) + (f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""))


def describe(game: Game, name: str, origin: dict[str, Any]) -> dict[str, Any]:
    """config.json of an imported run."""
    return json.loads(json.dumps({
        "game": name, "preset": "imported", "seed": game.config.seed,
        "data": {"name": "imported", "path": None, "options": {}, "num_samples": 0, "fingerprint": "", "spec": dataclasses.asdict(game.spec)},
        "fields": to_dict(game.config), "device": "cpu", "precision": game.config.precision, "ranks": 1,
        "versions": {"agon": agon.__version__, "torch": torch.__version__, "python": platform.python_version(), "platform": sys.platform},
        "command": None, "imported": origin,
    }))  # fmt: skip


def write_run(folder: Path, description: dict[str, Any], tensors: dict[str, dict[str, Tensor]]) -> None:
    """The run folder, made beside its place and renamed, so that it is whole or not there."""
    with writing(folder):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError("{folder} is there already. Expected a new folder: choose another --out.", folder=folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        pending = Path(tempfile.mkdtemp(prefix=".importing-", dir=folder.parent))
    try:
        state = {"step": 0, "num_images": 0, "rollbacks": 0, "seconds": 0.0, "cpu_seconds": 0.0, "imported": True}
        checkpoint.save(pending / "checkpoints", 0, tensors, state, keep=2)
        (pending / "config.json").write_text(json.dumps(description, indent=1, ensure_ascii=False), encoding="utf-8")
        pending.chmod(0o755)  # a temporary folder is its maker's alone
        if folder.exists():
            folder.rmdir()
        pending.rename(folder)
    except BaseException:
        shutil.rmtree(pending, ignore_errors=True)
        raise


def need(condition: Any, why: str) -> None:
    """Raise :class:`Unfit`, for converters."""
    if not condition:
        raise Unfit(why)
