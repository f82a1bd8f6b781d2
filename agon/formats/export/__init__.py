"""``agon export``: a run's sampling function for other programs.

safetensors: weights that :func:`load_exported` turns into a module again. onnx, torch: a graph for any batch, compared with the run before it is written.
hub: a folder for the Hugging Face Hub, with a model card. Nothing is uploaded, and nothing that exists is replaced unless asked.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import agon
from agon import catalog
from agon.config import nearest
from agon.errors import UserError, writing
from agon.formats.export.card import card, command, without_paths
from agon.formats.export.graph import needed, onnx_graph, torch_program
from agon.formats.export.sampler import Sampler, checked
from agon.formats.export.weights import FILE, STORED, load_exported, packed
from agon.measuring import RESULTS, read_results
from agon.media import grid, png, scatter, write_atomically
from agon.run import GRID_CLASSES, GRID_COLUMNS, Run

__all__ = ["TARGETS", "Exported", "Sampler", "export", "load_exported"]

TARGETS = ("safetensors", "onnx", "torch", "hub")
CHUNK = 64


@dataclass(frozen=True)
class Exported:
    """What was written: ``difference`` is the largest relative one between a graph and the run (None: no graph)."""

    path: Path
    inputs: tuple[str, ...]
    difference: float | None = None


def export(run: Run, to: str, out: str | Path, *, precision: str = "fp32", overwrite: bool = False) -> Exported:
    """Write the sampling function of ``run`` to ``out``, a file, or a folder for ``hub``. ``precision``: of the stored weights (safetensors, hub).

    Raises UserError for an unknown target, a game that cannot be exported, a graph that differs from the run, and an ``out`` that exists.
    """
    out = Path(out).expanduser()
    check(to, out, precision, overwrite)
    sampler = checked(run.game)
    about = describe(run, sampler)
    if to == "hub":
        _write_folder(out, _hub(run, sampler, about, precision), overwrite)
        return Exported(out, sampler.inputs)
    if to == "safetensors":
        content, found = packed(sampler, about, precision), None
    else:
        content, found = (onnx_graph if to == "onnx" else torch_program)(sampler, about)
    write_atomically(out, content)
    return Exported(out, sampler.inputs, found)


def check(to: str, out: Path, precision: str = "fp32", overwrite: bool = False) -> None:
    """Refuse what cannot be, before anything is loaded."""
    if to not in TARGETS:
        raise UserError(
            "There is no export target '{target}'. Did you mean '{near}'? Expected one of: {known}.",
            target=to, near=nearest(to, list(TARGETS)), known=", ".join(TARGETS),
        )  # fmt: skip
    if precision not in STORED:
        raise UserError("There is no precision '{precision}'. Expected one of: {known}.", precision=precision, known=", ".join(STORED))
    if precision != "fp32" and to in ("onnx", "torch"):
        raise UserError("A graph for {target} is exported in fp32, in which it is compared with the run. Leave --precision out.", target=to)
    if to == "onnx":
        needed()
    with writing(out):
        if to == "hub":
            if out.exists() and not out.is_dir():
                raise UserError("{path} is a file. Expected a folder for the model card and the weights. Choose another --out.", path=out)
            if out.is_dir() and any(out.iterdir()) and not overwrite:
                raise UserError("The folder {path} is not empty and nothing in it is replaced. Choose another --out, or add --overwrite.", path=out)
        elif out.is_dir():
            raise UserError("{path} is a folder. Expected the name of a file. Add a file name, or choose another --out.", path=out)
        elif out.exists() and not overwrite:
            raise UserError("{path} exists already and is not replaced. Choose another --out, remove it, or add --overwrite.", path=out)


def describe(run: Run, sampler: Sampler) -> dict[str, Any]:
    """What travels with the weights, as plain JSON without paths of this machine: enough to build the sampler again and to say where it comes from."""
    config, known = run.config, catalog.games()
    entry = known.get(config["game"])
    default = "draw_latent" not in vars(type(run.game)) and not getattr(run.game.config, "latent_components", 0)
    data = config["data"]
    about = {
        "format": 1, "library": "agon", "game": config["game"], "preset": config["preset"], "seed": config["seed"],
        "paper": {"paper": entry.paper if entry else "", "url": entry.url if entry else ""},
        "num_images": run._loaded, "noise_left_out": sampler.noisy,
        "inputs": list(sampler.inputs), "latent_dim": sampler.draw_latent(1).shape[1],
        "latent": "each number drawn from N(0, 1)" if default else "as the game draws them",
        "data": {"name": data["name"], "num_samples": data.get("num_samples", 0), "fingerprint": data["fingerprint"]},
        "spec": dataclasses.asdict(run.spec), "fields": portable(config["fields"]), "precision": config.get("precision", ""),
        "versions": {name: version for name, version in config.get("versions", {}).items() if name in ("agon", "torch", "python")},
        "exported_by": agon.__version__,
    }  # fmt: skip
    return {**without_paths(json.loads(json.dumps(about))), "command": command(config.get("command"))}


def portable(fields: dict[str, Any]) -> dict[str, Any]:
    """A run's fields without those that name a file, such as a frozen network that judges: only training needs them, and elsewhere they are not there."""
    whole = {name: portable(value) if isinstance(value, dict) else value for name, value in fields.items()}
    return {name: value for name, value in whole.items() if not isinstance(value, str) or without_paths(value) == value and not Path(value).is_file()}


@torch.no_grad()
def picture(run: Run, sampler: Sampler) -> Tensor:
    """(C, H, W) uint8: samples of seed 0, a row for each of the first classes; points as a scatter plot."""
    rows = min(sampler.classes, GRID_CLASSES)
    n = 2000 if not sampler.pictures else rows * GRID_COLUMNS if rows else 64
    given = sampler.example(n)
    if rows and sampler.pictures:
        given["label"] = torch.arange(rows, device=given["label"].device).repeat_interleave(GRID_COLUMNS)
    made = [
        sampler(**{name: value if name == "truncation" else value[start : start + CHUNK] for name, value in given.items()}).cpu()
        for start in range(0, n, CHUNK)
    ]
    samples = torch.cat(made)
    return grid(samples, columns=GRID_COLUMNS if rows else 8) if sampler.pictures else scatter(samples)


def _hub(run: Run, sampler: Sampler, about: dict[str, Any], precision: str) -> dict[str, bytes]:
    results = without_paths(read_results(run.folder / RESULTS))
    files = {
        FILE: packed(sampler, about, precision),
        "config.json": json.dumps(about, indent=1, ensure_ascii=False).encode(),
        "samples.png": png(picture(run, sampler)),
        "README.md": card(about, results).encode(),
    }
    return files | ({"metrics.json": json.dumps({"results": results}, indent=1, ensure_ascii=False).encode()} if results else {})


def _write_folder(folder: Path, files: dict[str, bytes], overwrite: bool) -> None:
    """A new folder appears whole; in one that is there each file is replaced whole."""
    with writing(folder):
        if overwrite and folder.is_dir():
            for name, content in files.items():
                write_atomically(folder / name, content)
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as pending:
            made = Path(pending) / "whole"
            for name, content in files.items():
                write_atomically(made / name, content)
            os.replace(made, folder)  # an empty folder gives way
