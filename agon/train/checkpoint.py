"""Checkpoints that are either whole or not there.

``checkpoints/<images>/`` holds safetensors files, ``state.json`` and, written last, ``manifest.json`` with the SHA-256 of each. All is
written into a temporary folder, synchronised to the disk, and renamed. A checkpoint whose files do not match its manifest is never loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from agon.errors import UserError

MANIFEST, STATE = "manifest.json", "state.json"
PENDING = ".writing-"
DAMAGED = ".damaged-"
LEAVING = ".leaving-"


class Mismatch(ValueError):
    """A file is not what the manifest says."""


def save(folder: Path, num_images: int, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any], *, keep: int) -> Path:
    """Write ``folder/<num_images>/`` with one safetensors file for each entry of ``tensors``; returns its path.

    A whole checkpoint of the same moment is left as it is. The oldest ones are removed once ``keep`` verified ones remain. Raises OSError
    if the disk does not take it (the previous checkpoints are untouched).
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in (PENDING, DAMAGED, LEAVING):  # by a process that died in the middle of it
        for path in folder.glob(f"{left}*"):
            shutil.rmtree(path)
    final = folder / f"{num_images:012d}"
    if final.exists():
        if not problem(final):
            return final
        final.rename(folder / f"{DAMAGED}{final.name}")
    pending = folder / f"{PENDING}{num_images:012d}"
    pending.mkdir()
    try:
        manifest = {"format": 1, "num_images": num_images, "files": {}}
        for name in (*tensors, STATE):  # one at a time: only one file's bytes are in memory
            file = name if name == STATE else f"{name}.safetensors"
            content = json.dumps(state, indent=1).encode() if name == STATE else save_tensors(_storable(tensors[name]))
            _write(pending / file, content)
            manifest["files"][file] = {"bytes": len(content), "sha256": _sha256(content)}
        _write(pending / MANIFEST, _sealed(manifest))
        _sync_folder(pending)
        pending.rename(final)
        _sync_folder(folder)
    except BaseException:
        shutil.rmtree(pending, ignore_errors=True)
        raise
    why = problem(final)
    if why:
        raise OSError(f"the checkpoint {final} does not read back as it was written ({why}): is the disk failing?")
    _rotate(folder, final, keep)
    return final


def latest(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest whole checkpoint, and what is wrong with newer ones."""
    complaints = []
    for path in sorted(_finished(folder), reverse=True):
        why = problem(path)
        if not why:
            return path, complaints
        complaints.append(f"{path.name}: {why}")
    return None, complaints


def problem(path: Path) -> str:
    """What is wrong with the checkpoint at ``path``; empty if every file matches the manifest, and the manifest its own hash."""
    try:
        for _ in _contents(path):
            pass
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return str(error) if isinstance(error, Mismatch) else f"unreadable ({error})"
    return ""


def load(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """(tensors by file name, state) of a checkpoint whose hashes are checked first. Raises UserError for a damaged one."""
    why = problem(path)
    if why:
        raise UserError("The checkpoint {path} is damaged: {why}. Expected files as they were written; use an older one.", path=path, why=why)
    tensors, state = {}, {}
    for name, content in _contents(path):
        if name == STATE:
            state = json.loads(content)
        else:
            tensors[name.removesuffix(".safetensors")] = load_tensors(content)
    return tensors, state


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's state as (tensors, plain JSON): nothing that needs a pickle."""
    whole = optimizer.state_dict()
    tensors, plain = {}, {"groups": whole["param_groups"], "plain": {}}
    for index, entry in whole["state"].items():
        for key, value in entry.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{key}"] = value
            else:
                plain["plain"][f"{index}.{key}"] = value
    return tensors, plain


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
    """The inverse of :func:`optimizer_tensors`; moments take their parameter's memory layout, so that rounding stays the same."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for name, value in {**tensors, **plain["plain"]}.items():
        index, key = name.split(".", 1)
        parameter = parameters[int(index)]
        if isinstance(value, Tensor) and value.shape == parameter.shape and key != "step":
            value = torch.empty_like(parameter).copy_(value)
        state.setdefault(int(index), {})[key] = value
    # how the arithmetic is carried out belongs to this device, not to the one that saved
    here = [{key: group[key] for key in ("fused", "foreach", "capturable") if key in group} for group in optimizer.param_groups]
    groups = [{**group, **own} for group, own in zip(plain["groups"], here, strict=True)]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of each file of a checkpoint, checked as it is read. Raises Mismatch, or what a file that cannot be read raises."""
    raw = (path / MANIFEST).read_bytes()
    manifest = json.loads(raw)
    manifest.pop("sha256")
    if raw != _sealed(manifest):
        raise Mismatch(f"{MANIFEST} does not match its SHA-256")
    for name, entry in manifest["files"].items():
        content = (path / name).read_bytes()
        if _sha256(content) != entry["sha256"]:
            raise Mismatch(f"{name} does not match its SHA-256")
        yield name, content


def _sealed(manifest: dict[str, Any]) -> bytes:
    """A manifest as a file that holds the hash of its own content: one flipped bit in it is found too."""
    digest = _sha256(json.dumps(manifest, indent=1).encode())
    return json.dumps({**manifest, "sha256": digest}, indent=1).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _storable(entry: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in entry.items()}


def _write(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _finished(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and path.name.isdigit()] if folder.is_dir() else []


def _rotate(folder: Path, newest: Path, keep: int) -> None:
    """Remove the oldest, but only behind ``keep`` checkpoints that were read back and found whole; ``newest`` has just been."""
    whole = 0
    for path in sorted(_finished(folder), reverse=True):
        if whole >= keep:
            path.rename(folder / f"{LEAVING}{path.name}")  # so that a half-removed one never looks like a checkpoint
        elif path == newest or not problem(path):
            whole += 1
    for left in (DAMAGED, LEAVING):
        for path in folder.glob(f"{left}*"):
            shutil.rmtree(path)
