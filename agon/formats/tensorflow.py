"""NVIDIA's TensorFlow pickles: ProGAN, StyleGAN and StyleGAN2 (https://github.com/NVlabs/stylegan2 ...): a tuple (G, D, Gs) of networks.

A network is a name, its arguments (``static_kwargs``), its variables as NumPy arrays and its parts (``components``); the source text beside them is dropped
unread. Kernels are (k, k, in, out). In StyleGAN2 those of convolutions that double are turned round (a transposed convolution here), and styles count from 1:
their biases gain 1. ProGAN's and StyleGAN's tables of names stand beside their networks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from agon.formats.imported import need
from agon.formats.nvidia import channels, resolutions
from agon.formats.persistent import Array, dict_of
from agon.formats.torch_state import MAX_DEPTH, Held
from agon.networks import progan, stylegan

ORIGIN = "ProGAN, StyleGAN and StyleGAN2 in TensorFlow (NVIDIA)"


def recognise(names: set[str], meta: dict) -> bool:
    tree = meta["tree"]
    return isinstance(tree, tuple | list) and len(tree) == 3 and all(isinstance(each, Held) and each.name == "tensorflow.Network" for each in tree)


def convert(tree: Any) -> dict[str, Any]:
    networks = {name: Network(held) for name, held in zip(("G", "D", "Gs"), tree, strict=True)}
    variables = networks["Gs"].variables
    if "synthesis/4x4/Conv/mod_weight" in variables:
        return stylegan2(networks)
    need("4x4/Dense/weight" in variables or "synthesis/4x4/Const/StyleMod/weight" in variables, "its variables are of no network that is known")
    return progressive(networks, styled="4x4/Dense/weight" not in variables)


class Network:
    """Arguments and variables (name -> tensor, parts' names before a slash) of a pickled network."""

    def __init__(self, held: Held):
        self.variables: dict[str, Tensor] = {}
        self.arguments = dict(dict_of(held.state.get("static_kwargs")))
        self._collect("", held, 0)
        self.resolution, self.colours = self.arguments.get("resolution", 1024), self.arguments.get("num_channels", 3)
        self.labels = self.arguments.get("label_size", 0)

    def _collect(self, prefix: str, held: Held, depth: int) -> None:
        need(depth < MAX_DEPTH and isinstance(held, Held), "its parts are nested too deeply")
        for name, value in held.state["variables"]:
            need(isinstance(value, Array | int | float), "a variable that is no array")
            self.variables[prefix + name] = value.tensor if isinstance(value, Array) else torch.tensor(float(value))
        for name, inner in dict_of(held.state.get("components")).items():
            for argument, value in dict_of(inner.state.get("static_kwargs")).items():
                self.arguments.setdefault(argument, value)
            self._collect(f"{prefix}{name}/", inner, depth + 1)

    def get(self, name: str, default: Any) -> Any:
        value = self.arguments.get(name)
        return default if value is None else value


def common(network: Network) -> dict[str, Any]:
    return {"latent_dim": network.get("latent_size", 512), "base_size": 4}


def spec(network: Network) -> dict[str, Any]:
    return {"shape": [network.colours, network.resolution, network.resolution], "num_classes": network.labels}


# --- StyleGAN2 --------------------------------------------------------------------------------------------------------------------------

def stylegan2(networks: dict[str, Network]) -> dict[str, Any]:
    main = networks["Gs"]
    need(main.get("nonlinearity", "lrelu") == main.get("mapping_nonlinearity", "lrelu") == "lrelu", "its layers do not use leaky rectifiers")
    need(list(main.get("resample_kernel", [1, 3, 3, 1])) == [1, 3, 3, 1], "its resampling filter is not [1, 3, 3, 1]")
    need(main.get("fmap_decay", 1.0) == 1.0, "its channels do not halve with every doubling")
    sides = resolutions(main.resolution)
    base, most = channels({side: main.variables[f"synthesis/{side}x{side}/{'Conv1' if side > 4 else 'Conv'}/weight"].shape[3] for side in sides})
    fields = common(main) | {
        "w_dim": main.get("dlatent_size", 512), "mapping_layers": main.get("mapping_layers", 8), "mapping_lr": float(main.get("mapping_lrmul", 0.01)),
        "w_decay": float(main.get("w_avg_beta", main.get("dlatent_avg_beta", 0.995))), "channel_base": base, "channel_max": most,
        "clamp": float(main.get("conv_clamp", 0)), "generator_architecture": architecture(main, "ToRGB"), "noise": bool(main.get("use_noise", True)),
    }  # fmt: skip
    judge, notes = None, []
    try:
        judge, theirs = discriminator2(networks["D"], fields)
        fields |= theirs
    except (KeyError, ValueError) as error:
        notes.append(f"the discriminator is left out: {str(error)[:100]}")
    return {
        "game": "stylegan2", "fields": fields, "spec": spec(main), "generator": generator2(networks["G"]), "ema": generator2(main), "discriminator": judge,
        "notes": notes,
    }  # fmt: skip


def architecture(network: Network, name: str) -> str:
    """What its arguments say, or "orig" where a picture's layer is counted by lod."""
    default = "resnet" if name == "FromRGB" else "skip"
    return "orig" if any(re.search(rf"{name}_lod\d+/", variable) for variable in network.variables) else network.get("architecture", default)


def conv(value: Tensor) -> Tensor:
    """(k, k, in, out) -> (out, in, k, k)."""
    return value.permute(3, 2, 0, 1)


def turned(value: Tensor) -> Tensor:
    return conv(value.flip(0, 1))


def raised(value: Tensor) -> Tensor:
    return value + 1


def dense(value: Tensor) -> Tensor:
    return value.T


def same(value: Tensor) -> Tensor:
    return value


def plane(value: Tensor) -> Tensor:
    return value[0, 0]


GENERATOR: list[tuple[str, str, Callable[[Tensor], Tensor]]] = [
    (r"dlatent_avg", "mapping.w_avg.value", same), (r"mapping/LabelEmbed/weight", "mapping.embed.weight", dense),
    (r"mapping/LabelEmbed/bias", "mapping.embed.bias", same),
    (r"mapping/Dense(\d+)/weight", r"mapping.fc\1.weight", dense), (r"mapping/Dense(\d+)/bias", r"mapping.fc\1.bias", same),
    (r"synthesis/4x4/Const/const", "synthesis.b4.const", lambda value: value[0]),
    (r"synthesis/(\d+)x\d+/Conv0_up/weight", r"synthesis.b\1.conv0.weight", turned), (r"synthesis/(\d+)x\d+/Skip/weight", r"synthesis.b\1.skip.weight", turned),
    (r"synthesis/(\d+)x\d+/LAYER/weight", r"synthesis.b\1.NAME.weight", conv), (r"synthesis/(\d+)x\d+/LAYER/bias", r"synthesis.b\1.NAME.bias", same),
    (r"synthesis/(\d+)x\d+/LAYER/noise_strength", r"synthesis.b\1.NAME.noise_strength", same),
    (r"synthesis/(\d+)x\d+/LAYER/mod_weight", r"synthesis.b\1.NAME.affine.weight", dense),
    (r"synthesis/(\d+)x\d+/LAYER/mod_bias", r"synthesis.b\1.NAME.affine.bias", raised),
]  # fmt: skip
LAYERS = {"Conv0_up": "conv0", "Conv1": "conv1", "Conv": "conv1", "ToRGB": "torgb"}


def generator2(network: Network) -> dict[str, Tensor]:
    """StyleGAN2's generator by Agon's names."""
    table = []
    for pattern, name, turn in GENERATOR:
        for theirs, ours in LAYERS.items() if "LAYER" in pattern else (("", ""),):
            table.append((pattern.replace("LAYER", theirs), name.replace("NAME", ours), turn))
    found = {}
    for variable, value in by_side(network, "ToRGB").items():
        noise = re.fullmatch(r"synthesis/noise(\d+)", variable)
        if noise:
            number = int(noise[1])  # 0: 4x4; 1, 2: 8x8 ...
            found[f"synthesis.b{4 << (number + 1) // 2}.conv{1 - number % 2}.noise_const"] = plane(value)
        elif variable.rpartition("/")[2] != "lod":
            translated(variable, value, table, found)
    return found


def translated(variable: str, value: Tensor, table: list, found: dict[str, Tensor]) -> None:
    """Add a variable under its new name."""
    for pattern, name, turn in table:
        match = re.fullmatch(pattern, variable)
        if match:
            found[match.expand(name)] = turn(value).contiguous()
            return
    need(False, f"it has a variable of another network, {variable[:100]}")


DISCRIMINATOR: list[tuple[str, str, Callable[[Tensor], Tensor]]] = [
    (r"(\d+)x\d+/FromRGB/weight", r"b\1.fromrgb.weight", conv), (r"(\d+)x\d+/FromRGB/bias", r"b\1.fromrgb.bias", same),
    (r"(\d+)x\d+/Conv0/weight", r"b\1.conv0.weight", conv), (r"(\d+)x\d+/Conv0/bias", r"b\1.conv0.bias", same),
    (r"(\d+)x\d+/Conv1_down/weight", r"b\1.conv1.weight", conv), (r"(\d+)x\d+/Conv1_down/bias", r"b\1.conv1.bias", same),
    (r"(\d+)x\d+/Skip/weight", r"b\1.skip.weight", conv), (r"LabelEmbed/weight", "mapping.embed.weight", dense),
    (r"LabelEmbed/bias", "mapping.embed.bias", same),
    (r"Mapping(\d+)/weight", r"mapping.fc\1.weight", dense), (r"Mapping(\d+)/bias", r"mapping.fc\1.bias", same),
    (r"4x4/Conv/weight", "b4.conv.weight", conv), (r"4x4/Conv/bias", "b4.conv.bias", same), (r"4x4/Dense0/weight", "b4.fc.weight", dense),
    (r"4x4/Dense0/bias", "b4.fc.bias", same), (r"Output/weight", "b4.out.weight", dense), (r"Output/bias", "b4.out.bias", same),
]  # fmt: skip


def discriminator2(network: Network, fields: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(state, fields)."""
    found: dict[str, Tensor] = {}
    for variable, value in by_side(network, "FromRGB").items():
        if variable != "lod":
            translated(variable, value, DISCRIMINATOR, found)
    sides = resolutions(network.resolution)
    widths = {side: found[f"b{side}.conv0.weight"].shape[0] for side in sides[1:]} | {4: found["b4.conv.weight"].shape[0]}
    if channels(widths) != (fields["channel_base"], fields["channel_max"]):
        raise ValueError("its channels are not the generator's")
    factor = float(network.get("mapping_lrmul", 0.1)) / fields["mapping_lr"]
    found = {name: value * factor if name.startswith("mapping.fc") else value for name, value in found.items()}
    group = network.arguments.get("mbstd_group_size", 4)
    return found, {
        "discriminator_architecture": architecture(network, "FromRGB"), "minibatch_std": int(group or 1 << 20),
        "minibatch_std_channels": network.get("mbstd_num_features", 1), "discriminator_mapping_layers": max(1, network.get("mapping_layers", 8)),
    }  # fmt: skip


def by_side(network: Network, layer: str) -> dict[str, Tensor]:
    """Variables where a picture's layer is named by its side, not by its lod; a finished network that grew does not use those of smaller pictures."""
    found = {}
    for name, value in network.variables.items():
        lod = re.search(rf"{layer}_lod(\d+)/", name)
        if not lod:
            found[name] = value
        elif int(lod[1]) == 0:
            found[name.replace(lod[0], f"{network.resolution}x{network.resolution}/{layer}/")] = value
    return found


# --- ProGAN and StyleGAN ----------------------------------------------------------------------------------------------------------------

def progressive(networks: dict[str, Network], *, styled: bool) -> dict[str, Any]:
    main, judge = networks["Gs"], networks["D"]
    need(main.get("fmap_decay", 1.0) == 1.0, "its channels do not halve with every doubling")
    fields = common(main) | {"channel_base": 2 * main.get("fmap_base", 8192), "channel_max": main.get("fmap_max", 512)}
    down = "Conv1_down"
    if styled:
        table = styled_table(main)
        fields |= {"w_dim": main.get("dlatent_size", 512), "mapping_layers": main.get("mapping_layers", 8)}
        fields["w_avg_decay"] = float(main.get("dlatent_avg_beta", 0.995))
    else:
        table = progan.official_generator_names(main.resolution, f"{main.resolution}x{main.resolution}/Conv0_up/weight" in main.variables)
        if f"{main.resolution}x{main.resolution}/Conv1_down/weight" not in judge.variables:
            fields["fused_scale"], down = False, "Conv1"
    state = {name: looked_up(networks[name], table, main.resolution) for name in ("G", "Gs")}
    theirs = progan.official_discriminator_names(main.resolution, down)
    return {
        "game": "stylegan" if styled else "progan", "fields": fields | {"minibatch_std": int(judge.get("mbstd_group_size", 4))}, "spec": spec(main),
        "generator": state["G"], "ema": state["Gs"], "discriminator": looked_up(judge, theirs, main.resolution), "notes": [],
    }  # fmt: skip


def styled_table(main: Network) -> dict[str, Any]:
    """StyleGAN's table of names, with the parts' names as the pickle has them."""
    usual = all(main.get(name, True) for name in ("use_styles", "use_noise", "const_input_layer", "use_instance_norm"))
    need(usual and not main.get("use_pixel_norm", False), "its generator is none of configuration F")
    scale = main.get("fused_scale", "auto")
    table = stylegan.official_generator_names(main.resolution, main.get("mapping_layers", 8), bool(main.labels), None if scale == "auto" else bool(scale))
    return {ours: (theirs.replace("G_synthesis/", "synthesis/").replace("G_mapping/", "mapping/"), turn) for ours, (theirs, turn) in table.items()}


def looked_up(network: Network, table: dict, resolution: int) -> dict[str, Tensor]:
    """The state of a table of names; ``lod`` is how far the growth has come, 0 for a finished network."""
    need(resolution in (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048), "its pictures' side is no power of two")
    found = {ours: turn(network.variables[theirs]).contiguous() for ours, (theirs, turn) in table.items()}
    left = sorted(set(network.variables) - {theirs for theirs, _ in table.values()})
    left = [name for name in left if name.rpartition("/")[2] != "lod" and network.variables[name].dim() > 0]
    need(not left, f"it has variables of another network: {', '.join(left[:5])}")
    return found
