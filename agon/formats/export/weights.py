"""safetensors: one file with the sampler's weights and, in its metadata, all that is needed to build the sampler again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from agon import catalog
from agon.config import build
from agon.errors import UserError
from agon.formats.export.sampler import Sampler
from agon.game import Game
from agon.run import spec_from

KEY = "agon"
FILE = "model.safetensors"
STORED = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def packed(sampler: Sampler, description: dict[str, Any], precision: str = "fp32") -> bytes:
    """The file. ``precision``: of the stored numbers; they are float32 again when the file is loaded. Raises UserError for numbers it cannot hold."""
    tensors = {}
    for name, tensor in sampler.state_dict().items():
        tensors[name] = tensor.detach().to("cpu", STORED[precision] if tensor.is_floating_point() else tensor.dtype, copy=True).contiguous()
        if not torch.isfinite(tensors[name]).all():
            raise UserError(
                "{name} holds numbers that {precision} cannot. Expected smaller ones: use --precision fp32 or bf16.", name=name, precision=precision
            )
    text = json.dumps(description, ensure_ascii=False)
    return save(tensors, {"format": "pt", KEY: text, "sha256": _digest(text, tensors)})


def load_exported(path: str | Path, *, game: str | type[Game] | None = None, device: str = "cpu") -> Sampler:
    """The sampler that ``agon export --to safetensors`` or ``--to hub`` wrote: a module (see :class:`Sampler`), float32, in evaluation mode.

    ``path``: the file, or the folder that holds model.safetensors. ``game``: the file or class of a game from outside Agon, which is executed only when
    named here. Raises UserError for a file that is damaged or not of this kind.
    """
    path = Path(path)
    path = path / FILE if path.is_dir() else path
    description, tensors = _read(path)
    name = description["game"]
    if game is None and name not in catalog.games():
        raise UserError("{path} holds a game from outside Agon, {game}: building it executes that file. If you trust it, pass game=.", path=path, game=name)
    cls = game if isinstance(game, type) else catalog.load(game or name)
    with torch.random.fork_rng(devices=[]):  # the first weights are drawn, and replaced
        sampler = Sampler(cls(build(cls.Config, description["fields"]), spec_from(description["spec"])))
    wrong = sampler.load_state_dict({key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}, strict=False)
    if wrong.missing_keys or wrong.unexpected_keys:
        raise UserError(
            "{path} does not fit this version of {game}: {name} is on one side only. Expected Agon {version}, which wrote it.",
            path=path, game=name, name=[*wrong.missing_keys, *wrong.unexpected_keys][0], version=description["exported_by"],
        )  # fmt: skip
    return sampler.to(device).eval()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(description, tensors by name), the hash checked."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise UserError("There is no file {path}. Expected one that 'agon export --to safetensors' wrote, or the folder of '--to hub'.", path=path) from None
    except (SafetensorError, OSError) as error:
        raise UserError("{path} cannot be read ({why}). Expected a file that 'agon export --to safetensors' wrote.", path=path, why=str(error)) from None
    if KEY not in metadata:
        raise UserError("{path} was not written by Agon: it does not say which game it holds. Expected a file of 'agon export --to safetensors'.", path=path)
    if metadata.get("format") != "pt" or metadata.get("sha256") != _digest(metadata[KEY], tensors):
        raise UserError("{path} is damaged: it does not match its SHA-256. Export or download it again.", path=path)
    return json.loads(metadata[KEY]), tensors


def _digest(text: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
