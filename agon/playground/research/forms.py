"""The form of a game: its typed configuration as a description that a page can draw, and what was typed into it checked by the same rules as a command line."""

from __future__ import annotations

import inspect
import re
import sys
import types
from dataclasses import dataclass, field
from typing import Any, Literal, Union, get_args, get_origin

from fastapi import HTTPException

from agon import catalog
from agon.config import build, fields, flatten, to_dict, type_name
from agon.data.names import DATASETS
from agon.game import Game
from agon.locale import translate

SIZES = {"digits": 8, "shapes": 32, "mnist": 28, "fashion-mnist": 28, "cifar10": 32, "cifar100": 32}
"""The longer side of the pictures of sets that have one: by it the form shows which preset will be chosen."""
LENGTH = "images"
"""The field that says how long a run is: the form has its own place for it."""
ANY_FILE = re.compile(r"[/\\]|\.[A-Za-z]|^[A-Za-z]:")
"""What a text looks like that names a file. Some fields take one and execute it (an extractor of features): from a page or a run folder none is taken."""


@dataclass(frozen=True)
class Wish:
    """A training that is wished for. ``fields``: dotted names with values or texts. One of ``steps``, ``images`` and ``minutes`` bounds it, or none."""

    game: str
    data: str
    preset: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    steps: int | None = None
    images: int | None = None
    minutes: float | None = None
    name: str | None = None


def game_class(name: str) -> type[Game]:
    """The game of a name of the catalog. Raises HTTPException 404 for any other: nothing that a page sends is a file or a module."""
    if name not in catalog.games():
        raise HTTPException(404, translate("There is no such game."))
    return catalog.load(name)


def describe(name: str) -> dict[str, Any]:
    """The form of a game. Raises HTTPException 404."""
    cls = game_class(name)
    text = inspect.cleandoc(sys.modules[cls.__module__].__doc__ or "")
    entry = catalog.describe(name, text)
    presets = [
        {"name": key, "kind": preset.kind, "auto": preset.auto, "max_size": preset.max_size, "note": preset.note,
         "values": {k: to_text(v) for k, v in flatten(preset.fields).items()}}
        for key, preset in cls.presets.items()
    ]
    return {
        "name": name, "title": entry.title, "paper": entry.paper, "url": entry.url, "text": text.partition("\n\n")[2], "needs_input": cls.needs_input,
        "presets": presets, "fields": [_field(cls, *one) for one in fields(cls.Config)],
    }  # fmt: skip


def datasets(allowed: dict[str, Any]) -> list[dict[str, Any]]:
    """The data that a training may be started on: named sets, and the folders of this launch by id."""
    named = [{"id": name, "label": name, "kind": _kind_of(name), "size": SIZES.get(name, 0), "note": translate(text)} for name, (_, text) in DATASETS.items()]
    return [{"id": name, "label": path.name, "kind": "image", "size": 0, "note": str(path)} for name, path in allowed.items()] + named


def check(wish: Wish, allowed: dict[str, Any]) -> dict[str, str]:
    """What is wrong with a wish, by field: empty when it can be started. Raises HTTPException 404 for an unknown game."""
    cls, wrong = game_class(wish.game), {}
    if wish.data not in DATASETS and wish.data not in allowed:
        wrong["data"] = translate("There is no such data here. Choose one of the list, or start agon play with --data FOLDER.")
    if wish.preset and wish.preset not in cls.presets:
        wrong["preset"] = translate("The game has no such preset.")
    elif wish.preset and not wrong and (unfit := _unfit(cls, wish)):
        wrong["preset"] = unfit
    if sum(one is not None for one in (wish.steps, wish.images)) > 1:
        wrong["steps"] = translate("Steps or images, not both.")
    return wrong | _check_fields(cls, wish)


def to_text(value: Any) -> str:
    """A value as a command line takes it: ``build`` reads the same out of it."""
    if isinstance(value, list | tuple):
        return ",".join(to_text(one) for one in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "none" if value is None else repr(value) if isinstance(value, float) else str(value)


def names_a_file(value: Any) -> bool:
    """Whether a field's value, or one of a list, looks like a file's name."""
    if isinstance(value, list | tuple):
        return any(names_a_file(one) for one in value)
    return isinstance(value, str) and bool(ANY_FILE.search(value))


def _check_fields(cls: type[Game], wish: Wish) -> dict[str, str]:
    """Every field alone, so that each error stands beside its field; then all together."""
    base = cls.presets[wish.preset].fields if wish.preset in cls.presets else {}
    kinds, wrong = {name: kind for name, kind, _, _ in fields(cls.Config)}, {}
    for name, value in wish.fields.items():
        if name == LENGTH:
            wrong[name] = translate("The length has a place of its own.")
        elif name in kinds and _is_text(kinds[name]) and names_a_file(value):
            wrong[name] = translate("A file cannot be named here, because some are executed. Use the command line: agon train.")
        elif why := _refused(cls, base, {name: value}):
            wrong[name] = why
    if not wrong and (why := _refused(cls, base, wish.fields | ({LENGTH: wish.images} if wish.images else {}))):
        wrong[""] = why
    return wrong


def _refused(cls: type[Game], *layers: dict[str, Any]) -> str:
    """Why a configuration cannot be; empty if it can."""
    try:
        config = build(cls.Config, *layers)
        if build(cls.Config, {name: to_text(value) for name, value in flatten(to_dict(config)).items()}) != config:
            return translate("This value cannot be written on a command line.")
    except (ValueError, OverflowError, TypeError) as error:  # UserError is a ValueError; a number may be beyond all bounds
        return " ".join(str(error).split())
    return ""


def _unfit(cls: type[Game], wish: Wish) -> str:
    """Whether a preset is for another kind of data than a named set is."""
    kind, wanted = cls.presets[wish.preset].kind, _kind_of(wish.data)
    if kind in ("any", wanted) or wish.data not in DATASETS:
        return ""
    return translate("This preset is for data of kind {kind}, and {data} is of kind {other}.").format(kind=kind, data=wish.data, other=wanted)


def _kind_of(data: str) -> str:
    return "points" if data.startswith("toy:") else "image"


def _is_text(kind: Any) -> bool:
    return kind is str or str in get_args(kind)


def _field(cls: type[Game], name: str, kind: Any, default: Any, text: str) -> dict[str, Any]:
    shape, options, optional = _input(kind)
    return {
        "name": name, "group": name.rpartition(".")[0] or _group(cls, name), "input": shape, "choices": options, "optional": optional,
        "default": to_text(default), "help": translate(text) if text else "", "type": type_name(kind, translate),
    }  # fmt: skip


def _group(cls: type[Game], name: str) -> str:
    """``training``: what every game has; ``game``: the game's own."""
    from agon.config import TrainConfig

    return "training" if name in TrainConfig.__dataclass_fields__ else "game"


def _input(kind: Any) -> tuple[str, list[str], bool]:
    """(number | whole | switch | text | choice | list, the choices, whether it may be none)."""
    parts = [part for part in get_args(kind) if part is not type(None)]
    if get_origin(kind) in (Union, types.UnionType):
        return (*_input(parts[0])[:2], True) if len(parts) == 1 else ("text", [], True)
    if get_origin(kind) is Literal:
        return "choice", [str(part) for part in parts], False
    if get_origin(kind) in (tuple, list):
        return "list", [], False
    return {float: "number", int: "whole", bool: "switch"}.get(kind, "text"), [], False
