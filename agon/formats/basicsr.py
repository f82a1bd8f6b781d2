"""BasicSR's, Real-ESRGAN's and ESRGAN's checkpoints, as weights for the games esrgan, realesrgan and srgan.

Generators: RRDBNet (x4, x2, x1; also in the names of ESRGAN's two older codes, x4), MSRResNet (x4, x3, x2) and SRVGGNetCompact with PReLU. Discriminators:
UNetDiscriminatorSN and VGGStyleDiscriminator, in a file of their own: give the folder that holds both. Everything follows from names and shapes. A file
holds ``params``, ``params_ema`` or both, or the tensors themselves. Spectral norm's two vectors are what Agon stores, too: the same singular values.

Pictures of these projects are in [0, 1]; so are those inside Agon's games, which take and give [-1, 1].
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from agon.formats.imported import need

ORIGIN = "BasicSR, Real-ESRGAN or ESRGAN"
GENERATORS = (r"body\.0\.rdb1\.conv1\.weight", r"RRDB_trunk\.0\.RDB1\.conv1\.weight", r"model\.1\.sub\.0\.RDB1\.conv1\.0\.weight", r"upconv1\.weight")
FIRST_CODE = {"model.0": "conv_first", "model.3": "conv_up1", "model.6": "conv_up2", "model.8": "conv_hr", "model.10": "conv_last"}
"""Layers outside the trunk, in the names of ESRGAN's first code (a sequence) -> BasicSR's."""
SECOND_CODE = {"trunk_conv": "conv_body", "upconv1": "conv_up1", "upconv2": "conv_up2", "HRconv": "conv_hr"}
"""The same in the names of ESRGAN's second code."""
CROPS = {"esrgan": 128, "realesrgan": 256, "srgan": 96}
"""Side of the crops that each game's authors train on."""
SPECTRAL = {"weight_orig": "parametrizations.weight.original", "weight_u": "parametrizations.weight.0.left", "weight_v": "parametrizations.weight.0.right"}


def recognise(names: set[str], meta: dict) -> bool:
    """A generator of theirs by its layers: the others' are called otherwise."""
    if any(re.search(rf"(^|\.){pattern}$", name) for name in names for pattern in GENERATORS[:3]):
        return True
    plain = {re.sub(r"^.*?(?=(body\.\d|conv_first|upconv|conv_hr|conv_last))", "", name) for name in names}
    if {"body.0.conv1.weight", "upconv1.weight", "conv_hr.weight", "conv_last.weight"} <= plain:
        return True
    return {"body.0.weight", "body.1.weight", "body.2.weight", "body.2.bias"} <= plain and any(re.search(r"(^|\.)params(_ema)?\.", name) for name in names)


def convert(tree: Any) -> dict:
    """See :mod:`agon.formats.imported`. Raises Unfit for what these games cannot hold."""
    states = [(name, renamed(state)) for name, state in state_dicts(tree, "")]
    generators = {name == "params_ema": state for name, state in states if kind_of(state)}
    judges = [state for _, state in states if "conv9.weight" in state or "conv0_0.weight" in state]
    need(generators, "there is no generator in it")
    plain, averaged = generators.get(False), generators.get(True)
    state, judge = plain or averaged, judges[0] if judges else None
    fields, channels, scale = generator_fields(state)
    game = game_of(fields["network"], judge, averaged)
    side = CROPS[game]
    if judge is not None:
        side, further = judged(judge, side)
        fields |= further if game == "esrgan" else {"discriminator_width": len(judge["conv0.weight"])}
    if averaged is not None:
        fields["ema_half_life_images"] = 33_000
    spec = {"shape": (channels, side, side), "num_classes": 0, "source_shape": (channels, side // scale, side // scale), "source_kind": "picture",
            "paired": True}  # fmt: skip
    return {"game": game, "fields": fields, "spec": spec, "generator": plain, "ema": averaged, "discriminator": judge, "notes": []}


# --- reading --------------------------------------------------------------------------------------------------------------------------


def state_dicts(tree: Any, name: str) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """(the name that it is under, tensors by name) of every network in a file's or a folder's content."""
    if not isinstance(tree, dict):
        return
    tensors = {str(key).removeprefix("module."): value for key, value in tree.items() if isinstance(value, Tensor)}
    if tensors:
        yield name, tensors
    for key, value in tree.items():
        yield from state_dicts(value, str(key))


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """In Agon's names, which are BasicSR's but for spectral norm."""
    if "RRDB_trunk.0.RDB1.conv1.weight" in state:
        return {second_code(name): tensor for name, tensor in state.items()}
    if "model.1.sub.0.RDB1.conv1.0.weight" in state:
        need("model.10.weight" in state and "model.13.weight" not in state, "its first code's network enlarges by another factor than 4")
        return {first_code(name): tensor for name, tensor in state.items()}
    if "conv9.weight" in state:
        return {unet_name(name): tensor for name, tensor in state.items()}
    return state


def unet_name(name: str) -> str:
    layer, _, leaf = name.partition(".")
    return f"{layer}.{SPECTRAL.get(leaf, leaf)}"


def first_code(name: str) -> str:
    """model.1.sub.3.RDB2.conv4.0.weight -> body.3.rdb2.conv4.weight; the last of the trunk's sequence is the convolution behind it."""
    inner = re.fullmatch(r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.(weight|bias)", name)
    if inner:
        return "body.{}.rdb{}.conv{}.{}".format(*inner.groups())
    behind = re.fullmatch(r"model\.1\.sub\.\d+\.(weight|bias)", name)
    if behind:
        return f"conv_body.{behind[1]}"
    layer, _, leaf = name.rpartition(".")
    return f"{FIRST_CODE.get(layer, layer)}.{leaf}"


def second_code(name: str) -> str:
    """RRDB_trunk.3.RDB2.conv4.weight -> body.3.rdb2.conv4.weight."""
    name = re.sub(r"^RRDB_trunk\.(\d+)\.RDB(\d)", r"body.\1.rdb\2", name)
    layer, _, leaf = name.rpartition(".")
    return f"{SECOND_CODE.get(layer, layer)}.{leaf}"


def kind_of(state: dict[str, Tensor]) -> str:
    """The network's name as the field ``network`` has it; "" for no generator."""
    if "body.0.rdb1.conv1.weight" in state:
        return "rrdb"
    if "body.0.conv1.weight" in state and "upconv1.weight" in state:
        return "msrresnet"
    return "srvgg" if "body.0.weight" in state and "body.2.weight" in state else ""


# --- what the shapes say --------------------------------------------------------------------------------------------------------------


def generator_fields(state: dict[str, Tensor]) -> tuple[dict[str, Any], int, int]:
    """(fields, channels of a picture, scale)."""
    kind = kind_of(state)
    if kind == "srvgg":
        return srvgg_fields(state)
    out, width = len(state["conv_last.weight"]), len(state["conv_first.weight"])
    blocks = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("body."))
    fields = {"network": kind, "width": width, "blocks": blocks, "base": "published"}
    if kind == "rrdb":
        folded = state["conv_first.weight"].shape[1] / out
        need(folded in (1, 4, 16), f"its input has {folded:g} times as many channels as its output")
        return fields | {"growth": len(state["body.0.rdb1.conv1.weight"])}, out, {1: 4, 4: 2, 16: 1}[int(folded)]
    step = math.isqrt(len(state["upconv1.weight"]) // width)
    return fields, out, 4 if "upconv2.weight" in state else step


def srvgg_fields(state: dict[str, Tensor]) -> tuple[dict[str, Any], int, int]:
    need(state.get("body.1.weight") is not None and state["body.1.weight"].dim() == 1, "its activation is not PReLU")
    width, channels = state["body.0.weight"].shape[:2]
    last = max(int(name.split(".")[1]) for name in state)
    scale = math.isqrt(len(state[f"body.{last}.weight"]) // channels)
    need(len(state[f"body.{last}.weight"]) == channels * scale**2, "its output has other channels than its input")
    return {"network": "srvgg", "width": width, "blocks": last // 2 - 1, "base": "published"}, channels, scale


def game_of(network: str, judge: dict[str, Tensor] | None, averaged: dict[str, Tensor] | None) -> str:
    """By the discriminator where there is one; else Real-ESRGAN's files have averaged weights or its small network."""
    if judge is not None:
        return "realesrgan" if "conv9.weight" in judge else "esrgan"
    if network == "srvgg" or averaged is not None:
        return "realesrgan"
    return {"rrdb": "esrgan", "msrresnet": "srgan"}[network]


def judged(judge: dict[str, Tensor], side: int) -> tuple[int, dict[str, Any]]:
    """(side of the pictures it judges, its fields): of the VGG-style one, whose last map is 4 x 4; the U-Net takes any."""
    if "conv9.weight" in judge:
        return side, {}
    pairs = sum(name.endswith("_1.weight") and name.startswith("conv") for name in judge)
    return 4 * 2**pairs, {"discriminator_width": len(judge["conv0_0.weight"]), "discriminator_norm": "batch"}
