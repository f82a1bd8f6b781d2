"""StyleGAN2 as a state dict: StudioGAN's (https://github.com/POSTECH-CVLab/PyTorch-StudioGAN, one file for each network), or torch.save of NVIDIA's network.

The names are the authors'; a state dict has no attributes, so the configuration is read off names and shapes, and two things are taken as their defaults:
the mapping's learning rate, 0.01, and no clamp. StudioGAN's BigGAN is agon/formats/biggan.py's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from agon.formats.imported import need
from agon.formats.nvidia import channels, named, resolutions

ORIGIN = "StyleGAN2's state dict (StudioGAN, NVIDIA)"
MAX_LEVELS = 6


def recognise(names: set[str], meta: dict) -> bool:
    return any(name.endswith("synthesis.b4.const") for name in names) and not meta["classes"]


def convert(tree: Any, meta: dict) -> dict[str, Any]:
    generators, judges = {}, []
    for name, state in states(tree, meta["file"]):
        if "synthesis.b4.const" in state:
            generators["ema" in name.lower()] = named(state)
        elif "b4.conv.weight" in state:
            judges.append(named(state))
    first = generators.get(True) or generators.get(False)
    need(first is not None, "it has no generator")
    fields, spec = generator(first)
    notes = ["the mapping's learning rate (0.01) and the clamp (none) are taken as usual: a state dict does not tell them"]
    judge = None
    if judges:
        theirs = discriminator(judges[0], fields)
        judge = judges[0] if theirs else None
        fields |= theirs
    return {
        "game": "stylegan2", "fields": fields, "spec": spec, "generator": generators.get(False), "ema": generators.get(True), "discriminator": judge,
        "notes": notes,
    }  # fmt: skip


def states(tree: Any, name: str, level: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """(name, state) of every network in it."""
    if not isinstance(tree, dict) or level > MAX_LEVELS:
        return
    own = {str(key).removeprefix("module."): value for key, value in tree.items() if isinstance(value, Tensor)}
    if own:
        yield name, own
    for key, value in tree.items():
        yield from states(value, name if key == "state_dict" else str(key), level + 1)


def generator(state: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(fields, spec)."""
    sides = resolutions(max(int(match[1]) for name in state if (match := re.match(r"synthesis\.b(\d+)\.", name))))
    base, most = channels({side: state[f"synthesis.b{side}.conv1.weight"].shape[0] for side in sides})
    classes = state["mapping.embed.weight"].shape[1] if "mapping.embed.weight" in state else 0
    w_dim, before = state["mapping.fc0.weight"].shape
    colours = len(state[f"synthesis.b{sides[-1]}.torgb.bias"])
    fields = {
        "latent_dim": before - (w_dim if classes else 0), "w_dim": w_dim, "mapping_layers": depth(state),
        "mapping_lr": 0.01, "channel_base": base, "channel_max": most, "clamp": 0.0, "base_size": 4, "noise": "synthesis.b4.conv1.noise_strength" in state,
        "generator_architecture": "resnet" if "synthesis.b8.skip.weight" in state else "skip" if "synthesis.b4.torgb.weight" in state else "orig",
    }  # fmt: skip
    return fields, {"shape": [colours, sides[-1], sides[-1]], "num_classes": classes}


def discriminator(state: dict[str, Tensor], fields: dict[str, Any]) -> dict[str, Any]:
    """Fields of a discriminator, {} where it is not the authors' or not as wide as the generator."""
    sides = sorted(int(name[1:].split(".")[0]) for name in state if re.fullmatch(r"b\d+\.conv1\.weight", name))
    strange = [name for name in state if not re.match(r"b\d+\.(fromrgb|conv0|conv1|skip|conv|fc|out)\.|mapping\.", name)]
    if strange or not sides or "b4.out.weight" not in state:
        return {}
    widths = {side: state[f"b{side}.conv0.weight"].shape[0] for side in sides} | {4: state["b4.conv.weight"].shape[0]}
    if channels(widths) != (fields["channel_base"], fields["channel_max"]):
        return {}
    planes = state["b4.conv.weight"].shape[1] - widths[4]
    return {
        "discriminator_architecture": "resnet" if f"b{sides[0]}.skip.weight" in state else "skip" if "b4.fromrgb.weight" in state else "orig",
        "minibatch_std": 4 if planes else 0, "minibatch_std_channels": max(1, planes),
        "discriminator_mapping_layers": max(1, depth(state)),
    }  # fmt: skip


def depth(state: dict[str, Tensor]) -> int:
    """Layers of a mapping network."""
    return sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", name)) for name in state)
