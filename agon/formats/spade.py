"""SPADE's state dicts: https://github.com/NVlabs/SPADE (``latest_net_G.pth``, ``latest_net_D.pth``, ``latest_net_E.pth``; a folder of them, or the first).

The two convolutions to gamma and beta become one, gamma first. Spectral norms are ``weight_orig``, ``weight_u`` and ``weight_v``; files of torch 1.0 have no
``weight_v`` but the divided weight, which says what it was divided by. What a file does not say (whether the generator is the paper's ``normal`` or ``more``,
and whether the last channel of its maps is instances' edges) is known for the published numbers of channels and else as by default; the notes tell.
"""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from torch import Tensor

from agon.formats.imported import need

ORIGIN = "SPADE (NVlabs)"
KNOWN = {184: (183, True, 5, (256, 256)), 36: (35, True, 6, (256, 512)), 151: (151, False, 5, (256, 256))}
"""Channels of the maps -> classes, whether instances' edges follow them, doublings and size: COCO-Stuff, Cityscapes and ADE20K as published."""
OUTSIDE = {"fc": "start", "head_0": "head", "conv_img": "to_picture", "fc_mu": "mean", "fc_var": "log_variance"}
INSIDE = {
    "conv_0": "conv1", "conv_1": "conv2", "conv_s": "shortcut", "norm_0": "norm1", "norm_1": "norm2", "norm_s": "norm_shortcut", "param_free_norm": "norm",
}  # fmt: skip


def recognise(names: set[str], meta: dict) -> bool:
    return any(name.endswith("G_middle_0.norm_0.mlp_gamma.weight") for name in names)


def networks_in(tree: Any) -> dict[str, dict[str, Tensor]]:
    """``G``, ``D`` and ``E`` -> its tensors, of a state dict or a folder's {file name: state dict}."""
    marks = {"G": "head_0.conv_0.bias", "D": "discriminator_0.model0.0.weight", "E": "fc_mu.weight"}
    found = {}
    for state in [tree, *tree.values()]:
        if isinstance(state, dict):
            flat = {str(name).removeprefix("module."): value for name, value in state.items() if isinstance(value, Tensor)}
            found |= {kind: flat for kind, mark in marks.items() if mark in flat}
    return found


# --- the weights -----------------------------------------------------------------------------------------------------------------------


def generator_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The generator's tensors under Agon's names."""
    out = {}
    for name, value in weights(state).items():
        if ".mlp_beta." in name or name.rpartition(".")[2].startswith("_"):
            continue
        if ".mlp_gamma." in name:
            value = torch.cat([value, state[name.replace(".mlp_gamma.", ".mlp_beta.")]])
        out[renamed(name)] = value
    for name in [name for name in out if name.endswith("norm.running_mean")]:
        out.setdefault(name.replace("running_mean", "num_batches_tracked"), torch.zeros((), dtype=torch.long))
    return out


def renamed(name: str) -> str:
    name = re.sub(r"^G_middle_(\d)\.", r"middle.\1.", name)
    name = re.sub(r"^up_(\d)\.", r"ups.\1.", name)
    name = name.replace(".mlp_shared.0.", ".shared.").replace(".mlp_gamma.", ".modulation.")
    first, dot, rest = name.partition(".")
    return OUTSIDE.get(first, first) + dot + ".".join(INSIDE.get(part, part) for part in rest.split("."))


def discriminator_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    last = max(int(name.split(".")[1].removeprefix("model")) for name in state)
    out = {}
    for name, value in weights(state).items():
        scale, layer, rest = re.fullmatch(r"discriminator_(\d+)\.model(\d+)\.(?:0\.)+(.*)", name).groups()
        out[f"judges.{scale}." + (f"head.{rest}" if int(layer) == last else f"convs.{layer}.{rest}")] = value
    return out


def encoder_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    out = {}
    for name, value in weights(state).items():
        first, _, rest = name.partition(".")
        out[f"{OUTSIDE[first]}.{rest}" if first in OUTSIDE else f"convs.{int(first.removeprefix('layer')) - 1}.{rest.removeprefix('0.')}"] = value
    return out


def weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Spectral norms' tensors under Agon's names, all others as they are."""
    out = {name: value for name, value in state.items() if not re.search(r"\.weight_(orig|u|v)$", name)}
    for name in [name for name in state if name.endswith(".weight_orig")]:
        layer = name.removesuffix(".weight_orig")
        whole, left, divided = state[name], state[f"{layer}.weight_u"], out.pop(f"{layer}.weight", None)
        right = state.get(f"{layer}.weight_v")
        if right is None:
            need(divided is not None, "a spectral norm has neither its second vector nor its divided weight")
            pulled = left.double() @ whole.double().flatten(1)
            largest = (whole.double() * divided).sum() / divided.double().square().sum()
            right = (pulled * largest / pulled.square().sum()).float()  # so that left' W right is what they divided by
        norm = f"{layer}.parametrizations.weight"
        out |= {f"{norm}.original": whole, f"{norm}.0.left": left, f"{norm}.0.right": right}
    return out


# --- the configuration --------------------------------------------------------------------------------------------------------------


def convert(tree: Any) -> dict[str, Any]:
    states = networks_in(tree)
    need("G" in states, "it has no generator")
    first, notes = states["G"], []
    need("head_0.conv_0.weight_orig" in first, "its generator has no spectral norms")
    need(first["head_0.norm_0.mlp_gamma.weight"].shape[-1] == 3, "its maps are not read by 3x3 convolutions")
    fields, spec = configuration(first, notes)
    if "D" in states and "discriminator_0.model1.0.0.weight_orig" not in states["D"]:
        notes.append("the discriminator is left out: it has no spectral norms")
        del states["D"]
    if "D" in states:
        names = {tuple(name.split(".")[:2]) for name in states["D"]}
        scales = len({scale for scale, _ in names})
        fields |= {"scales": scales, "patch_layers": len(names) // scales - 2, "discriminator_width": len(states["D"]["discriminator_0.model0.0.weight"])}
    made = {"game": "spade", "fields": fields, "spec": spec, "notes": notes, "ema": None, "generator": generator_state(first),
            "discriminator": discriminator_state(states["D"]) if "D" in states else None}  # fmt: skip
    if fields["encoder"]:
        made["networks"] = {"encoder": encoder_state(states["E"])} if "E" in states else {}
        notes += [] if "E" in states else ["the file has no encoder: it begins anew"]
    return made


def configuration(state: dict[str, Tensor], notes: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(fields, spec) of a generator; ``notes`` gets what was guessed."""
    channels = state["head_0.norm_0.mlp_shared.0.weight"].shape[1]
    classes, edges, times, size = KNOWN.get(channels, (channels, False, 5, (256, 256)))
    if "up_4.conv_0.bias" in state:
        times, size = 7, size if channels in KNOWN else (256, 512)
    if channels not in KNOWN:
        notes.append(f"the file does not say what its {channels} channels are: taken for classes without instances' edges, {times} doublings")
    out, width = state["conv_img.weight"].shape[:2]
    latent = state["fc.weight"].dim() == 2
    if latent:
        places = len(state["fc.bias"]) // len(state["head_0.conv_0.bias"])
        rows = next((rows for rows in range(math.isqrt(places), 0, -1) if places % rows == 0), 1)
        size = (rows << times, places // rows << times)
    fields = {
        "width": width << (times == 7), "doublings": times, "hidden": len(state["head_0.norm_0.mlp_shared.0.bias"]), "encoder": latent,
        "norm": "batch" if "head_0.norm_0.param_free_norm.running_mean" in state else "instance",
    } | ({"latent_dim": state["fc.weight"].shape[1]} if latent else {})  # fmt: skip
    spec = {
        "shape": (out, *size), "source_shape": (1 + edges, *size), "source_kind": "map", "paired": True,
        "source_classes": tuple(f"class {i}" for i in range(classes)),
    }  # fmt: skip
    return fields, spec
