"""Data: ``open_dataset`` turns a name, a folder, a ZIP or a torch Dataset into a ``Source``.

Importing this package does not import torch (``agon list`` and ``agon data check`` come through here); using a source does.
"""

from __future__ import annotations

import difflib
import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agon.config import type_name
from agon.data.names import DATASETS
from agon.errors import UserError
from agon.locale import translate

if TYPE_CHECKING:
    import torch

    from agon.data.source import Batch, DataSpec, Source

__all__ = ["DATASETS", "Batch", "DataSpec", "Source", "open_dataset"]


def __getattr__(name: str) -> Any:
    if name in ("Batch", "DataSpec", "Source"):
        return getattr(importlib.import_module("agon.data.source"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def open_dataset(data: str | Path | torch.utils.data.Dataset | Source, *, size: tuple[int, int] | int | None = None,
                 channels: int | None = None, cache_dir: Path | None = None, input: str | Path | None = None, **options: Any) -> Source:
    """Open any data set.

    ``data``: a name (see ``agon list datasets``), the path of a folder of pictures or of a ZIP of them, a ``torch.utils.data.Dataset``
    or an open ``Source`` (handed back as it is). ``size``: (height, width) in pixels, or one number for a square. ``channels``: 1 grey,
    3 colour, 4 colour with alpha. None leaves either to the data. ``cache_dir``: where decoded pixels and downloads are kept; None is
    $AGON_CACHE, else ~/.cache/agon. ``input``: what a translator starts from: a folder, ``left``, ``right`` or a recipe, and then the
    options of :func:`agon.data.pairs.open_pairs` hold too. ``options`` belong to the data set, e.g. ``split="test"``, ``mirror=True``.

    Raises UserError for what cannot be opened, and for an option that the data set does not have.
    """
    request = {"size": parse_size(size), "channels": parse_channels(channels), "cache_dir": cache_dir}
    if input is not None:
        from agon.data.pairs import open_pairs

        known, pairing = known_options(data, options), option_types(open_pairs)
        mine = {key: value for key, value in options.items() if key in pairing and (key not in known or key in JOINT)}
        check_options(data, open_pairs, mine)
        check_options(data, opener_of(data, options)[0], {k: v for k, v in options.items() if k not in mine and not k.startswith("input_")}, pairing)
        return open_pairs(data, input=str(input), **request, **options)
    if not isinstance(data, (str, Path)):
        from agon.data.source import Source

        if isinstance(data, Source):
            return refuse_changes(data, request, options)
    opener, name = opener_of(data, options)
    check_options(name, opener, options)
    return opener(name, **request, **options)


JOINT = ("mirror", "max_bad")
"""Options of a data set that a pairing takes over: both sides are turned together."""
VARIANTS = {"crop": "crops", "attributes": "attributes"}
"""Options of a folder that have a module of their own."""


def opener_of(data: Any, options: dict) -> tuple[Any, Any]:
    """The function that opens ``data`` and what to hand it."""
    module, name = find(data) if isinstance(data, (str, Path)) else ("wrapped", data)
    if module == "folder":
        module = next((VARIANTS[key] for key in VARIANTS if options.get(key) is not None), module)
    return importlib.import_module(f"agon.data.{module}").open_source, name


def option_types(opener: Any) -> dict[str, Any]:
    """Option -> annotated type."""
    import typing

    return {key: kind for key, kind in typing.get_type_hints(opener).items() if key not in ("name", "data", "return", "options")}


def known_options(data: Any, options: dict) -> set[str]:
    """The options that ``data`` knows when it is opened with ``options``."""
    return set(option_types(opener_of(data, options)[0]))


def with_defaults(data: Any, defaults: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """``options``, and those of a game's ``defaults`` that this data set knows and that were not given."""
    merged = {**defaults, **options}
    if not isinstance(data, (str, Path)):
        from agon.data.source import Source

        if isinstance(data, Source):
            return options
    from agon.data.pairs import open_pairs, pairs_by_itself

    if "paired" not in options and pairs_by_itself(merged.get("input")):
        merged.pop("paired", None)  # a game for unpaired sets takes pairs too, and a recipe makes nothing else
    known = known_options(data, merged) | ({"input", *option_types(open_pairs)} if merged.get("input") else set())
    return {key: value for key, value in merged.items() if key in options or key in known}


def find(data: str | Path) -> tuple[str, Any]:
    """The module that opens ``data`` and what to hand it. A name wins over a folder of the same name; ``./digits`` is the folder."""
    if isinstance(data, str) and data in DATASETS:
        return DATASETS[data][0], data
    from agon.data.files import folder_or_zip

    path = folder_or_zip(data)
    if path is not None:
        return "folder", path
    looks_like_path = isinstance(data, Path) or any(mark in data for mark in (os.sep, "/", "~", ".zip"))
    near = difflib.get_close_matches(str(data), DATASETS, n=1, cutoff=0.5)
    if near and not looks_like_path:
        raise UserError("No data set is called '{name}', and there is no such folder. Did you mean '{near}'? 'agon list datasets' shows "
                        "all names.", name=data, near=near[0])
    raise UserError("There is no folder, .zip or data set '{name}' (looked in {here}). Check the path, or choose a name from "
                    "'agon list datasets'.", name=data, here=Path.cwd())


def parse_size(size: tuple[int, int] | list[int] | int | None) -> tuple[int, int] | None:
    """(height, width), checked."""
    if size is None:
        return None
    pair = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    if len(pair) != 2 or any(isinstance(side, bool) or not isinstance(side, int) or not 1 <= side <= 16384 for side in pair):
        raise UserError("The size {size} cannot be used. Expected one number, or height and width, each from 1 to 16384 pixels, for "
                        "example 64.", size=size)
    return pair[0], pair[1]


def parse_channels(channels: int | None) -> int | None:
    if channels not in (None, 1, 3, 4):
        raise UserError("{channels} channels cannot be made from pictures. Expected 1 (grey), 3 (colour) or 4 (colour and alpha).",
                        channels=channels)
    return channels


def refuse_changes(source: Source, request: dict, options: dict) -> Source:
    """An open source is what it is: silently ignoring a size would train on something else than was asked for."""
    asked = [key for key, value in {**request, **options}.items() if value is not None and key != "cache_dir"]
    if asked:
        raise UserError("The data set '{name}' is open already and cannot take {options}. Give the options where you open it.",
                        name=source.name, options=", ".join(asked))
    return source


def check_options(name: object, opener: Any, options: dict, further: Any = ()) -> None:
    """An option that the data set does not have is an error with the nearest match, not a TypeError; so is a value of a wrong type. ``further``: options
    that exist besides, for the nearest match."""
    kinds = {**dict.fromkeys(further), **option_types(opener)}
    shown = name if isinstance(name, (str, Path)) else type(name).__name__
    for key, value in options.items():
        if key not in kinds:
            near = difflib.get_close_matches(key, kinds, n=1)
            if near:
                raise UserError("The data set '{name}' has no option '{key}'. Did you mean '{near}'?", name=shown, key=key, near=near[0])
            raise UserError("The data set '{name}' has no option '{key}'. It knows: {known}.", name=shown, key=key, known=", ".join(kinds))
        if not fits(value, kinds[key]):
            raise UserError("The option '{key}' of '{name}' cannot be {value}. Expected {kind}.", key=key, name=shown, value=repr(value),
                            kind=type_name(kinds[key], translate))


def fits(value: Any, kind: Any) -> bool:
    """Is ``value`` of an annotated type: bool, int, float, str, Path, None, tuple (lists too), or a union of these?"""
    import typing

    if kind is None:
        return True
    parts = typing.get_args(kind) if typing.get_origin(kind) is not tuple else ()
    if parts:
        return any(fits(value, part) for part in parts)
    if isinstance(value, bool):
        return kind is bool
    wanted = {float: (int, float), type(None): type(None)}.get(kind, (tuple, list) if typing.get_origin(kind) is tuple else kind)
    return isinstance(value, wanted)
