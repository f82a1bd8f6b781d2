"""pix2pix's and CycleGAN's state dicts: https://github.com/junyanz/pytorch-CycleGAN-and-pix2pix (``latest_net_G.pth``, ``latest_net_D.pth``, and
``latest_net_G_A.pth``, ``G_B``, ``D_A``, ``D_B``; the generator's file, or a folder of one checkpoint's files).

A folder with both G_A and G_B is a cyclegan, whose D_A judges what G_A makes. Any other generator, one direction of a CycleGAN too, is a pix2pix: with a
U-Net or a residual network. Old files hold running statistics of instance norms, which the networks do not use: they are dropped. What a file does not say,
the size of the pictures, is taken to be the usual: as many pixels as the U-Net halves away, 256 for a residual network.
"""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from agon.formats.imported import need

ORIGIN = "pix2pix and CycleGAN (junyanz)"
RESNET, UNET = "model.10.conv_block.1.weight", "model.model.1.model.1.weight"
FILE = re.compile(r"(.*)_net_(G|D|G_A|G_B|D_A|D_B)")
SIZE = 256
State = dict[str, Tensor]


def recognise(names: set[str], meta: dict) -> bool:
    """By the first residual block where two halvings put it, or the second level of the U-Net; blurred convolutions are CUT's."""
    return any(name.endswith((RESNET, UNET)) for name in names) and not any(name.endswith(".filt") for name in names)


def convert(tree: dict) -> dict[str, Any]:
    parts = networks(tree)
    if {"G_A", "G_B"} <= parts.keys():
        return cyclegan(parts)
    found = [name for name in ("G", "G_A", "G_B") if name in parts]
    need(found, "it holds no generator")
    fields, state, channels, size = generator(parts[found[0]])
    judge, notes = parts.get("D") if found[0] == "G" else None, []
    if judge is not None:
        more, judged, seen = discriminator(judge)
        fits = seen == sum(channels) and more.pop("norm", fields["norm"]) == fields["norm"]
        fields |= more if fits else {}
        notes += [] if fits else ["the discriminator is left out: it does not see input and picture together, or has another norm"]
        judge = judged if fits else None
    if found[0] != "G" or fields["network"] == "resnet" and fields.get("dropout") == 0.0:
        notes.append("one direction of a CycleGAN, or a pix2pix with residual blocks: imported as the latter")
    return {
        "game": "pix2pix", "fields": fields, "spec": spec(channels, size, paired=True), "generator": state, "ema": None, "discriminator": judge, "notes": notes,
    }  # fmt: skip


def cyclegan(parts: dict[str, State]) -> dict[str, Any]:
    (fields, there, channels, size), (others, back, reverse, _) = generator(parts["G_A"]), generator(parts["G_B"])
    need(fields == others and channels == reverse[::-1], "its two generators differ")
    need(fields["network"] == "resnet", "its generators are U-Nets")
    fields = {name: fields[name] for name in ("width", "blocks", "norm")}
    states, notes = {"to_target": there, "to_source": back}, []
    judges = {}
    if {"D_A", "D_B"} <= parts.keys():
        (more, target, seen), (same, source, seen_too) = discriminator(parts["D_A"]), discriminator(parts["D_B"])
        fits = more == same and (seen, seen_too) == channels[::-1] and more.pop("norm", fields["norm"]) == fields["norm"]
        judges, fields = ({"target": target, "source": source}, fields | more) if fits else ({}, fields)
        notes += [] if fits else ["the discriminators are left out: they differ, or have another norm than the generators"]
    return {
        "game": "cyclegan", "fields": fields, "spec": spec(channels, size, paired=False), "generator": joined(states), "ema": None,
        "discriminator": joined(judges) or None, "notes": notes,
    }  # fmt: skip


def spec(channels: tuple[int, int], size: int, *, paired: bool) -> dict[str, Any]:
    given, made = channels
    return {"shape": (made, size, size), "source_shape": (given, size, size), "source_kind": "picture", "paired": paired}


def joined(states: dict[str, State]) -> State:
    return {f"{part}.{name}": value for part, state in states.items() for name, value in state.items()}


def networks(tree: dict) -> dict[str, State]:
    """"G", "D", "G_A" ... -> its tensors, of a state dict or of a folder's {name of the file: state dict}; of several epochs the latest."""
    if not any(isinstance(value, dict) for value in tree.values()):
        return {"G": tensors(tree)}
    named = {stem: match for stem in tree if (match := FILE.fullmatch(stem))}
    need(named, "its files are not named like latest_net_G.pth")
    epochs = {match[1] for match in named.values()}
    numbered = [epoch for epoch in epochs if epoch.isdigit()]
    chosen = "latest" if "latest" in epochs else max(numbered, key=int) if numbered else min(epochs)
    return {match[2]: tensors(tree[stem]) for stem, match in named.items() if match[1] == chosen}


def tensors(state: dict) -> State:
    """Without the prefix of DataParallel, and without running statistics where there is no gain: instance norms do not use them."""
    flat = {str(name).removeprefix("module."): value for name, value in state.items() if isinstance(value, Tensor)}
    unused = ("running_mean", "running_var", "num_batches_tracked")
    return {name: value for name, value in flat.items()
            if not name.endswith(unused) or flat.get(f"{name.rpartition('.')[0]}.weight") is not None}  # fmt: skip


def generator(state: State) -> tuple[dict[str, Any], State, tuple[int, int], int]:
    """(fields, tensors under Agon's names, channels (in, out), pixels a side)."""
    return unet(state) if UNET in state else resnet(state)


def moved(state: State, there: str, here: str) -> State:
    """The tensors of one layer under its new name."""
    return {f"{here}.{name.removeprefix(f'{there}.')}": value for name, value in state.items() if name.rpartition(".")[0] == there}


def unet(state: State) -> tuple[dict[str, Any], State, tuple[int, int], int]:
    """Levels are nested: in the outermost, what is below stands at 1, in the others at 3 (activation, convolution, norm before it)."""
    depth = max(name.count("model.") for name in state) - 1
    need(2 <= depth <= 10, "its U-Net has no depth that is known")
    found: State = {}
    prefix = "model.model"
    for level in range(depth):
        first, last = level == 0, level == depth - 1
        found |= moved(state, f"{prefix}.{0 if first else 1}", f"down.{level}")
        found |= {} if first or last else moved(state, f"{prefix}.2", f"down_norm.{level}")
        up = 3 if first or last else 5
        found |= moved(state, f"{prefix}.{up}", f"up.{depth - 1 - level}")
        found |= {} if first else moved(state, f"{prefix}.{up + 1}", f"up_norm.{depth - 1 - level}")
        prefix += ".1.model" if first else ".3.model"
    need(len(found) == len(state), "its U-Net has layers that are not known")
    first, last = found["down.0.weight"], found[f"up.{depth - 1}.weight"]
    fields = {"network": "unet", "width": len(first), "depth": depth, "norm": norm_of(state, "model.model.1.model.2")}
    return fields, found, (first.shape[1], last.shape[1]), 2**depth


def resnet(state: State) -> tuple[dict[str, Any], State, tuple[int, int], int]:
    """A Sequential whose numbers are Agon's, but for those inside the residual blocks: padding, convolution, norm, activation (, dropout), and again."""
    blocks = {int(match[1]) for name in state if (match := re.fullmatch(r"model\.(\d+)\.conv_block\.1\.weight", name))}
    need(blocks == set(range(10, 10 + len(blocks))), "its residual blocks are not where two halvings put them")
    dropout, found = any(".conv_block.6.weight" in name and value.dim() == 4 for name, value in state.items()), {}
    inside = {"1": "conv1", "2": "norm1", "6" if dropout else "5": "conv2", "7" if dropout else "6": "norm2"}
    for name, value in state.items():
        parts = name.split(".")
        if parts[2] == "conv_block":
            parts[2:4] = [inside[parts[3]]]
        found[".".join(["layers", *parts[1:]])] = value
    last = max(int(name.split(".")[1]) for name in found)
    fields = {"network": "resnet", "width": len(state["model.1.weight"]), "blocks": len(blocks), "norm": norm_of(state, "model.2"), "dropout": 0.0}
    return fields, found, (state["model.1.weight"].shape[1], len(found[f"layers.{last}.weight"])), SIZE


def discriminator(state: State) -> tuple[dict[str, Any], State, int]:
    """(fields, tensors under Agon's names, channels it sees). A Sequential: convolution and activation, then threes with a norm, then a convolution."""
    pixel = any(name.startswith("net.") for name in state)
    numbers = sorted({int(name.split(".")[1]) for name in state})
    head = "net" if pixel else "model"
    convolutions = [number for number in numbers if state[f"{head}.{number}.weight"].dim() == 4]
    found: State = {}
    for stage, number in enumerate(convolutions):
        found |= moved(state, f"{head}.{number}", f"stages.{stage}.0") | moved(state, f"{head}.{number + 1}", f"stages.{stage}.1")
    first = state[f"{head}.{convolutions[0]}.weight"]
    fields = {"patch_layers": 0 if pixel else len(convolutions) - 2, "discriminator_width": len(first)}
    return fields | {"norm": norm_of(state, f"{head}.{convolutions[1] + 1}")}, found, first.shape[1]


def norm_of(state: State, where: str) -> str:
    """Batch norms have gains, instance norms are not in a state dict at all."""
    return "batch" if f"{where}.weight" in state else "instance"
