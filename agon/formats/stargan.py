"""StarGAN's checkpoints (https://github.com/yunjey/stargan: ``200000-G.ckpt`` and ``200000-D.ckpt``, state dicts) as weights for the game stargan.

Give the folder with both, or one generator's file. Widths, blocks and the number of domains are read off the weights' shapes, the pictures' size off the
discriminator's class head (six halvings of a square; without a discriminator 128 pixels are taken). Nothing says what the domains are: eight are taken for
the authors' classes of facial expression, any other number for attributes, five for those of their command line. The running statistics of instance norm are
left out, since the authors' test pass does not use them. The model of two sets at once, whose generator is told more domains than its discriminator names, is
refused.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import Tensor

from agon.formats.imported import Unfit, need

ORIGIN = "StarGAN (yunjey)"
ATTRIBUTES = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young")
EXPRESSIONS = 8
SIDE = 128
UNUSED = ("running_mean", "running_var", "num_batches_tracked")


def recognise(names: set[str], meta: dict) -> bool:
    return any(name.endswith("main.9.main.3.weight") for name in names) or any(is_discriminator(names, name.removesuffix("conv2.weight")) for name in names
                                                                              if name.endswith("conv2.weight"))  # fmt: skip


def is_discriminator(names: Any, start: str = "") -> bool:
    return all(f"{start}{name}" in names for name in ("main.0.weight", "main.2.bias", "conv1.weight", "conv2.weight"))


def convert(tree: Any) -> dict[str, Any]:
    states = [{name.removeprefix("module."): value for name, value in each.items()} for each in state_dicts(tree)]
    judges = [state for state in states if is_discriminator(state)]
    makers = [state for state in states if "main.9.main.3.weight" in state]
    need(len(makers) == 1 and len(judges) <= 1, "it does not hold one generator and at most one discriminator")
    generator, fields, channels, domains = made_generator(makers[0])
    discriminator, side, notes = None, SIDE, ["the file does not say what its domains are"]
    if judges:
        discriminator, stages, head = made_discriminator(judges[0])
        if head[0] != domains:
            raise Unfit(f"its generator is told {domains} numbers and its discriminator names {head[0]} domains: a model of two data sets at once")
        need(head[2] == head[3], "its class head is not square")
        fields |= {"stages": stages, "discriminator_width": judges[0]["main.0.weight"].shape[0]}
        side = head[2] << stages
    else:
        notes.append(f"pictures are taken to be of {SIDE} pixels")
    names = () if domains == EXPRESSIONS else ATTRIBUTES if domains == len(ATTRIBUTES) else tuple(f"attribute {i}" for i in range(domains))
    spec = {"shape": [channels, side, side], "num_classes": 0 if names else domains, "condition_dim": len(names), "condition_names": names}
    return {"game": "stargan", "fields": fields, "spec": spec, "generator": generator, "ema": None, "discriminator": discriminator, "notes": notes}


def state_dicts(tree: Any) -> list[dict[str, Tensor]]:
    """The state dicts in a file or a folder of files."""
    if any(isinstance(value, Tensor) for value in tree.values()):
        return [{name: value for name, value in tree.items() if isinstance(value, Tensor)}]
    return [state for value in tree.values() if isinstance(value, dict) for state in state_dicts(value)]


def made_generator(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any], int, int]:
    """(weights by Agon's names, fields, channels, domains)."""
    blocks = sum(name.endswith("main.3.weight") and name.count(".") == 4 for name in state)
    first, last = state["main.0.weight"], state[f"main.{15 + blocks}.weight"]
    need(first.shape[1] > last.shape[0], "its generator is told no domain")
    tables = {"main.0.": "first.0.", "main.1.": "first.1."}
    for i, start in enumerate((3, 6)):
        tables |= {f"main.{start}.": f"down.{i}.0.", f"main.{start + 1}.": f"down.{i}.1."}
    for i in range(blocks):
        tables |= {f"main.{9 + i}.main.{place}.": f"blocks.{i}.{name}." for place, name in ((0, "conv1"), (1, "norm1"), (3, "conv2"), (4, "norm2"))}
    for i, start in enumerate((9 + blocks, 12 + blocks)):
        tables |= {f"main.{start}.": f"up.{i}.0.", f"main.{start + 1}.": f"up.{i}.1."}
    tables[f"main.{15 + blocks}."] = "last."
    fields = {"width": first.shape[0], "blocks": blocks, "norm": "instance", "downsamplings": 2}
    return renamed(state, tables), fields, last.shape[0], first.shape[1] - last.shape[0]


def made_discriminator(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], int, tuple[int, ...]]:
    """(weights by Agon's names, stages, shape of the class head)."""
    stages = sum(name.startswith("main.") and name.endswith(".weight") for name in state)
    widths = [state[f"main.{2 * i}.weight"].shape[0] for i in range(stages)]
    need(all(after == 2 * before for before, after in pairwise(widths)), "its discriminator does not double its widths")
    tables = {f"main.{2 * i}.": f"stages.{i}.0." for i in range(stages)} | {"conv1.": "source.", "conv2.": "classes."}
    return renamed(state, tables), stages, tuple(state["conv2.weight"].shape)


def renamed(state: dict[str, Tensor], tables: dict[str, str]) -> dict[str, Tensor]:
    made = {}
    for name, value in state.items():
        start, _, part = name.rpartition(".")
        if part not in UNUSED:
            made[tables[f"{start}."] + part] = value
    return made
