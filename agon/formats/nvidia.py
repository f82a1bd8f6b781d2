"""NVIDIA's pickles of StyleGAN2-ADA-PyTorch and StyleGAN3: https://github.com/NVlabs/stylegan2-ada-pytorch, https://github.com/NVlabs/stylegan3.

A dict of ``G``, ``D`` and ``G_ema``, objects of persistent classes of which only the state is read (agon/formats/persistent.py). The layers' own attributes say
what the configuration was, whatever the defaults of the repository's version. The names of the weights are those of Agon's networks, but for the running
means (``mapping.w_avg`` is ``mapping.w_avg.value`` here); filters are checked to be the ones that Agon makes, and left out.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from agon.data.source import DataSpec
from agon.formats.imported import need
from agon.formats.persistent import module_state, part
from agon.formats.torch_state import Held
from agon.networks.stylegan3 import schedule

ORIGIN = "StyleGAN2-ADA and StyleGAN3 in PyTorch (NVIDIA)"
NETWORKS = ("G_ema", "G", "D")
TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8


def recognise(names: set[str], meta: dict) -> bool:
    tree = meta["tree"]
    held = isinstance(tree, dict) and any(isinstance(tree.get(name), Held) for name in NETWORKS)
    return held and any(name.endswith(("synthesis.b4.const", "synthesis.input.freqs")) for name in names)


def convert(tree: dict) -> dict[str, Any]:
    networks = {name: tree[name] for name in NETWORKS if isinstance(tree.get(name), Held)}
    generator = networks.get("G_ema") or networks.get("G")
    need(generator is not None, "it has no generator")
    third = "synthesis.input.freqs" in module_state(generator)
    fields, notes = (stylegan3 if third else stylegan2)(generator), []
    found = {
        "game": "stylegan3" if third else "stylegan2", "fields": fields, "notes": notes, "discriminator": None,
        "spec": {"shape": [generator.state["img_channels"]] + 2 * [generator.state["img_resolution"]], "num_classes": generator.state["c_dim"]},
        "generator": state_of(networks["G"]) if "G" in networks else None, "ema": state_of(networks["G_ema"]) if "G_ema" in networks else None,
    }  # fmt: skip
    if "D" in networks:
        theirs, why = discriminator(networks["D"], fields, third)
        if why:
            notes.append(f"the discriminator is left out: {why}")
        else:
            fields |= theirs
            found["discriminator"] = state_of(networks["D"])
            rescale_mapping(found["discriminator"], networks["D"], fields["mapping_lr"])
    return found


def mapping(network: Held) -> dict[str, Any]:
    """Fields of the mapping network to w."""
    own, first = part(network, "mapping"), part(network, "mapping", "fc0")
    w_dim = network.state["w_dim"]
    need(network.state["z_dim"] > 0, "its generator takes no latent")
    need(first.get("activation") == "lrelu", "its mapping network does not use leaky rectifiers")
    lengths = {first["out_features"], part(network, "mapping", "embed").get("out_features", w_dim)}
    need(lengths == {w_dim}, "its mapping network has layers of other lengths than w")
    return {
        "latent_dim": network.state["z_dim"], "w_dim": w_dim, "mapping_layers": own["num_layers"], "mapping_lr": float(first["bias_gain"]),
        "w_decay": float(own["w_avg_beta"]),
    }  # fmt: skip


def stylegan2(network: Held) -> dict[str, Any]:
    """Fields of the generator."""
    sides = resolutions(network.state["img_resolution"])
    state = module_state(network)
    first, block = part(network, "synthesis", "b4", "conv1"), part(network, "synthesis", f"b{sides[-1]}")
    need(first["activation"] == "lrelu", "its layers do not use leaky rectifiers")
    base, most = channels({side: state[f"synthesis.b{side}.conv1.weight"].shape[0] for side in sides})
    return mapping(network) | {
        "channel_base": base, "channel_max": most, "clamp": float(first["conv_clamp"] or 0), "generator_architecture": block["architecture"],
        "noise": bool(first["use_noise"]), "base_size": 4,
    }  # fmt: skip


def stylegan3(network: Held) -> dict[str, Any]:
    """Fields of the alias-free generator; its plan of frequencies is held against Agon's layer by layer."""
    own = part(network, "synthesis")
    layers = [part(network, "synthesis", name) for name in own["layer_names"]]
    given = own["_init_kwargs"].state if isinstance(own.get("_init_kwargs"), Held) else own.get("_init_kwargs") or {}
    fields = mapping(network) | {
        "channel_base": int(given.get("channel_base", 32768)), "channel_max": int(given.get("channel_max", 512)), "generator_channels": 1,
        "num_layers": own["num_layers"], "num_critical": own["num_critical"], "margin": own["margin_size"], "output_scale": float(own["output_scale"]),
        "kernel": layers[0]["conv_kernel"], "radial": bool(layers[0]["down_radial"]), "clamp": float(layers[0]["conv_clamp"] or 0), "base_size": 4,
    }  # fmt: skip
    check_plan(layers, fields, network.state["img_resolution"], network.state["img_channels"])
    return fields


def check_plan(layers: list[dict], fields: dict, side: int, colours: int) -> None:
    """Raise Unfit where a layer's band or filter is not what Agon's schedule says."""
    bands = schedule(SimpleNamespace(**fields), DataSpec("image", (colours, side, side)))
    need(len(bands) == len(layers), "its layers are of another number than it says")
    for band, layer in zip(bands, layers, strict=True):
        same = all(abs(float(layer[name]) - value) < 1e-6 * max(1.0, abs(value)) for name, value in
                   (("out_cutoff", band.cutoff), ("out_half_width", band.half_width), ("out_sampling_rate", band.rate)))  # fmt: skip
        taps = 6 * layer["up_factor"] if layer["up_factor"] > 1 and not layer["is_torgb"] else 1
        rate = max(layer["in_sampling_rate"], layer["out_sampling_rate"]) * (1 if layer["is_torgb"] else 2)
        need(same and layer["up_taps"] == taps and layer["tmp_sampling_rate"] == rate, "its layers have other frequencies or filters than the published ones")


def discriminator(network: Held, fields: dict, third: bool) -> tuple[dict[str, Any], str]:
    """(fields of the discriminator, why it does not fit beside this generator or "")."""
    sides = resolutions(network.state["img_resolution"])
    state, last = module_state(network), part(network, f"b{sides[-1]}")
    base, most = channels({side: state[f"b{side}.conv0.weight"].shape[0] for side in sides[1:]} | {4: state["b4.conv.weight"].shape[0]})
    group = part(network, "b4", "mbstd")
    found = {
        "discriminator_architecture": last["architecture"], "minibatch_std_channels": max(1, int(group.get("num_channels", 1))),
        "minibatch_std": int(group.get("group_size") or 1 << 20) if group else 0,
    }  # fmt: skip
    if network.state["c_dim"]:
        own, first = part(network, "mapping"), part(network, "mapping", "fc0")
        need(first.get("activation") == "lrelu", "its discriminator's mapping does not use leaky rectifiers")
        found["discriminator_mapping_layers"] = own["num_layers"]
    if third and base and fields["channel_base"] % base == 0 and fields["channel_max"] == most * (fields["channel_base"] // base):
        found |= {"generator_channels": fields["channel_base"] // base, "channel_base": base, "channel_max": most}
    elif (base, most) != (fields["channel_base"], fields["channel_max"]):
        return {}, f"its channels ({base} / side, at most {most}) are not the generator's ({fields['channel_base']}, {fields['channel_max']})"
    clamp = float(part(network, f"b{sides[-1]}", "conv0").get("conv_clamp") or 0)
    if clamp != fields["clamp"]:
        return {}, f"it clamps at {clamp:g}, the generator at {fields['clamp']:g}"
    return found, ""


def rescale_mapping(state: dict[str, Tensor], network: Held, lr: float) -> None:
    """Where its mapping's learning rate is another than the generator's, the factor goes into the weights: the function stays the same."""
    factor = float(part(network, "mapping", "fc0").get("bias_gain", lr)) / lr
    for name in state:
        if factor != 1 and name.startswith("mapping.fc"):
            state[name] = state[name] * factor


def state_of(network: Held) -> dict[str, Tensor]:
    """The weights by Agon's names."""
    return named(module_state(network))


def named(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The authors' state dict by Agon's names."""
    found = {}
    for name, value in state.items():
        last = name.rpartition(".")[2]
        if last == "resample_filter":
            given = value.float()
            expected = torch.outer(TAPS, TAPS) if given.dim() == 2 else TAPS
            need(given.shape == expected.shape and torch.allclose(given, expected, atol=1e-6), "its resampling filter is not [1, 3, 3, 1]")
        elif last in ("w_avg", "magnitude_ema"):
            found[f"{name}.value"] = value
        elif last not in ("up_filter", "down_filter"):
            found[name] = value
    return found


def resolutions(side: int) -> list[int]:
    """[4, 8 ... side]."""
    need(isinstance(side, int) and 8 <= side <= 4096 and side & (side - 1) == 0, "its pictures' side is no power of two from 8 to 4096")
    return [4 << i for i in range(side.bit_length() - 2)]


def channels(widths: dict[int, int]) -> tuple[int, int]:
    """(base, most) with width = min(base / side, most) at every side."""
    most = max(widths.values())
    base = max((width * side for side, width in widths.items() if width < most), default=most * max(widths))
    need(all(width == min(base // side, most) for side, width in widths.items()), "its layers have other widths than min(base / side, most)")
    return base, most
