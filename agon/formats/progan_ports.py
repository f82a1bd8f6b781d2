"""ProGAN in PyTorch: https://github.com/facebookresearch/pytorch_GAN_zoo (``netG``, ``netD``, ``avgG``, ``config``) and
https://github.com/akanimax/pro_gan_pytorch from version 3 on (``generator``, ``discriminator``, ``shadow_generator``, each ``conf`` and ``state_dict``).

Both put sqrt(2) into every scale, where the authors give the layers to pictures, the score and (a quarter of it) the first dense layer another gain: that goes
into the weights. pytorch_GAN_zoo multiplies biases by the scale, too, has a bias for each element of the first layer (field ``first_bias``), and takes the
unbiased deviation of a minibatch: a factor of sqrt(4 / 3) for its groups of 4, which goes into the next layer. pro_gan_pytorch does not normalise between
its first two layers (field ``first_norm``). Their minibatch deviations are over neighbouring samples, not over strided ones: the same for exchangeable samples.
Both rectify before they halve (``fused_scale`` false).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor

from agon.formats.imported import need
from agon.formats.nvidia import channels
from agon.formats.persistent import dict_of

ORIGIN = "ProGAN in PyTorch (pytorch_GAN_zoo, pro_gan_pytorch)"
ROOT2 = math.sqrt(2)
GROUPS = "the discriminator's minibatch deviation was over neighbouring samples; here it is over strided ones"


def recognise(names: set[str], meta: dict) -> bool:
    return any(name.endswith(("formatLayer.weight", "formatLayer.module.weight")) for name in names) or any(
        name.endswith("generator.state_dict.rgb_converters.0.weight") for name in names)


def convert(tree: dict) -> dict[str, Any]:
    zoo = any(key in tree for key in ("netG", "avgG"))
    keys = ("netG", "avgG", "netD") if zoo else ("generator", "shadow_generator", "discriminator")
    states = {key: tensors(tree[key] if zoo else tree[key]["state_dict"]) for key in keys if isinstance(tree.get(key), dict)}
    made = [(zoo_generator if zoo else shadow_generator)(states[key]) if key in states else None for key in keys[:2]]
    first = next(state for state in made if state is not None)
    if zoo:
        given = dict_of(tree.get("config"))
        need(not given.get("categoryVectorDim"), "its classes are coded in a way of their own")
    sides = sorted(int(name[1:].split(".")[0]) for name in first if name.endswith("torgb.bias"))
    widths = {side: len(first[f"b{side}.torgb.weight"][0]) for side in sides}
    base, most = channels(widths)
    latent, colours, top = first["b4.dense.weight"].shape[1], len(first["b4.torgb.bias"]), sides[-1]
    fields = {"latent_dim": latent, "channel_base": base, "channel_max": most, "base_size": 4, "minibatch_std": 4, "fused_scale": False}
    fields |= {"first_bias": "element"} if zoo else {"first_norm": False}
    check(fields)
    judge, notes = None, []
    if keys[2] in states:
        judge = (zoo_discriminator if zoo else plain_discriminator)(states[keys[2]])
        fits = judge["b4.fc.weight"].shape[0] == min(base // 2, most) and judge["b4.conv.weight"].shape[1] == widths[4] + 1 and len(judge["b4.out.bias"]) == 1
        notes.append(GROUPS if fits else "the discriminator is left out: its layers are not the published ones")
        judge = judge if fits else None
    lod = {"lod": torch.tensor(0.0)}
    generator, average = (None if state is None else state | lod for state in made)
    return {
        "game": "progan", "fields": fields, "spec": {"shape": [colours, top, top], "num_classes": 0}, "generator": generator, "ema": average,
        "discriminator": None if judge is None else judge | lod, "notes": notes,
    }  # fmt: skip


def check(fields: dict[str, Any]) -> None:
    """Raise Unfit where Agon's ProGAN has not the options that these networks need."""
    from agon import catalog

    known = {each.name for each in dataclasses.fields(catalog.load("progan").Config)}
    need("first_bias" in known or "first_bias" not in fields, "its first layer has a bias for each element, Agon's one for each channel")
    need("first_norm" in known or "first_norm" not in fields, "it does not normalise pixels between its first two layers, Agon's network does")


def tensors(state: dict) -> dict[str, Tensor]:
    return {name.removeprefix("module.").replace(".module.", "."): value.float() for name, value in state.items() if isinstance(value, Tensor)}


def layer(theirs: dict[str, Tensor], there: str, here: str, gain: float = 1.0, zoo: bool = False) -> dict[str, Tensor]:
    """Weight and bias of a layer whose scale is sqrt(2 / fan_in) there; ``gain``: what of it is not in Agon's."""
    weight, bias = theirs[f"{there}.weight"], theirs[f"{there}.bias"]
    return {f"{here}.weight": weight * gain, f"{here}.bias": bias * math.sqrt(2 / weight[0].numel()) if zoo else bias}


# --- pytorch_GAN_zoo --------------------------------------------------------------------------------------------------------------------

def zoo_generator(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    dense = theirs["formatLayer.weight"]
    bias = theirs["formatLayer.bias"] * math.sqrt(2 / dense.shape[1])
    found = {"b4.dense.weight": dense * 4, "b4.bias": bias.view(-1, 4, 4)} | layer(theirs, "groupScale0.0", "b4.conv", zoo=True)
    for k in range(count(theirs, "toRGBLayers")):
        found |= layer(theirs, f"toRGBLayers.{k}", f"b{4 << k}.torgb", ROOT2, zoo=True)
        for i in (0, 1) if k else ():
            found |= layer(theirs, f"scaleLayers.{k - 1}.{i}", f"b{4 << k}.conv{i}", zoo=True)
    return found


def zoo_discriminator(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    found = layer(theirs, "groupScaleZero.0", "b4.conv", zoo=True)
    found["b4.conv.weight"][:, -1] *= math.sqrt(4 / 3)
    found |= layer(theirs, "groupScaleZero.1", "b4.fc", zoo=True) | layer(theirs, "decisionLayer", "b4.out", ROOT2, zoo=True)
    for k in range(count(theirs, "fromRGBLayers")):
        found |= layer(theirs, f"fromRGBLayers.{k}", f"b{4 << k}.fromrgb", zoo=True)
        for i in (0, 1) if k else ():
            found |= layer(theirs, f"scaleLayers.{k - 1}.{i}", f"b{4 << k}.conv{i}", zoo=True)
    return found


def count(theirs: dict[str, Tensor], name: str) -> int:
    """How many numbered layers of a name there are."""
    return len({key.split(".")[1] for key in theirs if key.startswith(f"{name}.")})


# --- pro_gan_pytorch --------------------------------------------------------------------------------------------------------------------

def shadow_generator(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    first = theirs["layers.0.conv_1.weight"]  # of a transposed convolution: (latent, channels, 4, 4)
    found = {"b4.dense.weight": first.permute(1, 2, 3, 0).reshape(-1, len(first)) * 4, "b4.bias": theirs["layers.0.conv_1.bias"]}
    found |= layer(theirs, "layers.0.conv_2", "b4.conv")
    for k in range(count(theirs, "rgb_converters")):
        found |= layer(theirs, f"rgb_converters.{k}", f"b{4 << k}.torgb", ROOT2)
        for i in (0, 1) if k else ():
            found |= layer(theirs, f"layers.{k}.conv_{i + 1}", f"b{4 << k}.conv{i}")
    return found


def plain_discriminator(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    last = count(theirs, "layers") - 1
    found = layer(theirs, f"layers.{last}.conv_1", "b4.conv") | layer(theirs, f"layers.{last}.conv_2", "b4.fc")
    found |= layer(theirs, f"layers.{last}.conv_3", "b4.out", ROOT2)
    for name in ("b4.fc.weight", "b4.out.weight"):
        found[name] = found[name].flatten(1)
    for k in range(last + 1):
        found |= layer(theirs, f"from_rgb.{last - k}.0", f"b{4 << k}.fromrgb")
        for i in (0, 1) if k else ():
            found |= layer(theirs, f"layers.{last - k}.conv_{i + 1}", f"b{4 << k}.conv{i}")
    return found
