"""What a run can be asked for, as the page needs to know it."""

from __future__ import annotations

from typing import Any

from agon.data.inputs import is_recipe
from agon.data.source import DataSpec
from agon.errors import UserError
from agon.locale import translate
from agon.playground.library import Entry, as_text
from agon.run import Run, read_config, spec_from

CONTROLS: dict[str, dict[str, Any]] = {
    "truncation": {"label": "Truncation", "min": 0.0, "max": 1.0, "step": 0.01, "default": 1.0},
    "noise": {"label": "Noise", "choices": ["const", "random", "none"], "default": "const"},
    "category": {"label": "Category", "min": 0, "max": 9, "step": 1, "default": None},
    "rotation": {"label": "Rotation", "min": -0.5, "max": 0.5, "step": 0.01, "default": 0.0},
}
"""Controls of games that a page can show, by the names that :attr:`agon.game.Game.controls` uses; others are for the command line."""


def listed(entry: Entry) -> dict[str, Any]:
    """What the run's config.json says, without opening the run. A run that cannot be read has its ``error``."""
    found: dict[str, Any] = {"id": entry.id, "name": entry.name, "game": "", "kind": "", "shape": [], "images": 0, "error": ""}
    try:
        config = read_config(entry.folder)
        spec = spec_from(config["data"]["spec"])
        newest = max((int(path.name) for path in (entry.folder / "checkpoints").glob("*") if path.name.isdecimal()), default=0)
        found |= {"game": as_text(str(config["game"])), "kind": spec.kind, "shape": list(spec.shape), "images": newest}
        if not newest and not (entry.folder / "checkpoints").is_dir():
            found["error"] = translate("There is no checkpoint yet.")
    except (UserError, OSError, AssertionError, TypeError) as error:
        found["error"] = as_text(" ".join(str(error).split()))
    return found


def described(entry: Entry, run: Run) -> dict[str, Any]:
    """All of it, of an opened run."""
    game, spec = run.game, run.spec
    why = "" if game.needs_input else why_no_walk(run)
    return listed(entry) | {
        "controls": [{"name": name, **CONTROLS[name]} | _range(game, name) for name in game.controls if name in CONTROLS],
        "classes": classes(game.takes_labels, spec), "needs_input": game.needs_input, "directions": list(getattr(game, "directions", ())),
        "derive": game.needs_input and is_recipe(str(run.config["data"]["options"].get("input", ""))), "can_walk": not game.needs_input and not why,
        "why_not": why, "forms": ["png", "npz"] + (["csv"] if spec.kind == "points" else []),
    }  # fmt: skip


def classes(takes_labels: bool, spec: DataSpec) -> list[str]:
    """Names to choose from: classes, or the attributes of a game between attributes."""
    if spec.num_classes and takes_labels:
        return list(spec.class_names) or [str(number) for number in range(spec.num_classes)]
    return list(spec.condition_names) if not spec.num_classes else []


def why_no_walk(run: Run) -> str:
    """Why there is no way from one sample to another; "" where there is one."""
    if run.spec.kind != "image":
        return translate("A sample of this run is a point, and the way between two points is a line.")
    if not hasattr(run.game, "from_start"):
        return translate("This game draws no latents that one could walk between.")
    if getattr(run.game.config, "latent_components", 0):
        return translate("The latents of this run come from separate clusters, and there is nothing between them.")
    return ""


def _range(game: Any, name: str) -> dict[str, Any]:
    """What of a control depends on the game. Truncation of styles is none at 1; of latents it is a bound, and None is none."""
    if name == "truncation" and not hasattr(game, "styles"):
        return {"min": 0.05, "max": 2.0, "default": None}
    return {"max": game.config.categories - 1} if name == "category" else {}
