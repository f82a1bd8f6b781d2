"""Recipes: what a translator starts from, made of the picture that it is to arrive at (edges, grey, a smaller picture, a picture with a hole).

A recipe is one file of this folder with ``open_recipe(parameter, base) -> Recipe``; ``--data.input NAME`` or ``NAME:PARAMETER`` names it.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agon.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from agon.data.source import Source

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Recipe:
    """How inputs are made, and their form (the fields ``source_*`` of :class:`agon.data.source.DataSpec`).

    ``make``: pictures (N, C, H, W) in [-1, 1], the indices (N,) of the samples, and a function that gives sample i of these N a
    ``torch.Generator`` of its own -> (N, *shape). Whatever is random comes from those generators.
    """

    kind: str
    shape: tuple[int, int, int]
    make: Callable[[Tensor, np.ndarray, Callable[[int], torch.Generator]], Tensor]
    classes: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()


def names() -> list[str]:
    """Every recipe, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.name.startswith("_"))


def is_recipe(text: str) -> bool:
    """Whether ``text`` names a recipe (with a parameter or without)."""
    return text.partition(":")[0] in names()


def open_recipe(text: str, base: Source) -> Recipe:
    """The recipe ``NAME`` or ``NAME:PARAMETER`` for the pictures of ``base``. Raises UserError for an unknown one and for data it cannot use."""
    name, _, parameter = text.partition(":")
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1, cutoff=0.0)[0]
        raise UserError("There is no input '{name}', as a folder or as a recipe. Expected a folder, left, right, or one of: {known}. Did you mean '{near}'?",
                        name=name, known=", ".join(names()), near=near)
    if base.spec.kind != "image":
        raise UserError("The input '{name}' is made of pictures, and '{data}' holds {kind}. Expected a data set of pictures.",
                        name=name, data=base.name, kind=base.spec.kind)
    return importlib.import_module(f"agon.data.inputs.{name}").open_recipe(parameter, base)
