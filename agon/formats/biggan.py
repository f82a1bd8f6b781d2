"""BigGAN-PyTorch's checkpoints (ajbrock's BigGAN, BigGAN-deep and SAGAN scripts) and StudioGAN's BigGAN, as weights for the games biggan, biggan_deep, sagan.

Nothing beside the weights is needed: widths, resolution, classes, attention, depth and the way conditions enter follow from names and shapes. Both projects
write a file for each network (G.pth, G_ema.pth, D.pth; model=G-..., model=G_ema-..., model=D-...): give the folder, or the generator's file alone.

Spectral norm: BigGAN-PyTorch stores one vector u and takes a power step from it in every pass, v = n(u W), u' = n(W v), sigma = u' W v, also in evaluation;
the pair (u', v) is what Agon stores, and gives the same sigma. StudioGAN (torch.nn.utils.spectral_norm) stores the pair itself. An embedding is a linear
layer's transpose here, and so are its two vectors. Its batch norm adds 1e-4 to variances; BigGAN-PyTorch's 1e-5 unless a config beside says otherwise.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from agon import catalog
from agon.config import build
from agon.data.source import DataSpec
from agon.formats.imported import need
from agon.networks.biggan import DISCRIMINATOR, GENERATOR, HIGHEST, LOWEST, discriminator_stages

ORIGIN = "BigGAN-PyTorch or StudioGAN's BigGAN"
STUDIO = {
    "conv2d0": "conv_sc", "conv2d1": "conv1", "conv2d2": "conv2", "conv1x1_theta": "theta", "conv1x1_phi": "phi", "conv1x1_g": "g", "conv1x1_attn": "o",
}  # fmt: skip
"""StudioGAN's name of a layer inside a block -> BigGAN-PyTorch's."""
STUDIO_OUTSIDE = {"linear0": "linear", "linear1": "linear", "embedding": "embed", "bn4": "output_layer.0", "conv2d5": "output_layer.2"}
"""The same outside blocks."""
ATTENTION = {"query": "theta", "key": "phi", "value": "g", "out": "o"}
BLOCK = {"conv1": "conv1", "conv2": "conv2", "conv3": "conv3", "conv4": "conv4", "shortcut": "conv_sc"}
NORMS = {"norm1": "bn1", "norm2": "bn2", "norm3": "bn3", "norm4": "bn4"}


@dataclass
class Layout:
    """One network's tensors, and what their names say: the prefixes of its residual blocks, and of attention by the block that it follows."""

    state: dict[str, Tensor]
    deep: bool
    studio: bool
    blocks: list[str] = field(default_factory=list)
    attended: dict[str, str] = field(default_factory=dict)


def recognise(names: set[str], meta: dict) -> bool:
    """BigGAN's generator: residual blocks whose norms have a gain and a bias of their own, and an output layer."""
    block = any(re.search(r"(^|\.)blocks\.0\.0\.bn1\.gain\.weight(_orig)?$", name) for name in names)
    return block and any(re.search(r"(^|\.)(output_layer\.2|conv2d5)\.weight(_orig)?$", name) for name in names)


def convert(tree: Any, meta: dict) -> dict:
    """See :mod:`agon.formats.imported`. Raises Unfit for what these games cannot hold."""
    states = list(state_dicts(tree, meta["file"]))
    generators = {"ema" in name.lower(): layout(state) for name, state in states if "output_layer.2.weight" in state}
    judges = [layout(state) for _, state in states if "linear.weight" in state and "output_layer.2.weight" not in state]
    need(generators, "there is no generator in it")
    plain, averaged = generators.get(False), generators.get(True)
    game, fields, spec = configuration(plain or averaged, eps_in(tree))
    judge = judges[0] if judges else None
    if judge is not None:
        fields |= discriminator_fields(judge, fields, spec)
    cls = catalog.load(game)
    with torch.device("meta"):
        made = cls(build(cls.Config, fields), DataSpec("image", spec["shape"], spec["num_classes"]))
    return {
        "game": game, "fields": fields, "spec": spec, "notes": [],
        "generator": None if plain is None else generator_state(plain, list(made.generator.blocks)),
        "ema": None if averaged is None else generator_state(averaged, list(made.generator.blocks)),
        "discriminator": None if judge is None else discriminator_state(judge, [name for name, _ in made.discriminator.backbone.blocks.named_children()]),
    }  # fmt: skip


# --- reading --------------------------------------------------------------------------------------------------------------------------


def state_dicts(tree: Any, name: str) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """(name, {parameter in BigGAN-PyTorch's names: tensor}) of every network in a file's or a folder's content."""
    if not isinstance(tree, dict):
        return
    tensors = {str(key).removeprefix("module."): value for key, value in tree.items() if isinstance(value, Tensor)}
    if any(key.startswith("blocks.0.0.") for key in tensors):
        yield name, {in_biggan_names(key): value for key, value in tensors.items()}
    for key, value in tree.items():
        yield from state_dicts(value, name if key == "state_dict" else str(key))


def in_biggan_names(name: str) -> str:
    """StudioGAN's name of a tensor as BigGAN-PyTorch has it; spectral norm's vectors keep theirs."""
    head, _, leaf = name.rpartition(".")
    if leaf == "sigma":
        return f"{head}.gamma"
    first, _, last = head.rpartition(".")
    leaf = "gain" if (head, leaf) == ("bn4", "weight") else "weight" if leaf == "weight_orig" else leaf
    return f"{first}.{STUDIO.get(last, last)}.{leaf}" if first else f"{STUDIO_OUTSIDE.get(last, last)}.{leaf}"


def layout(state: dict[str, Tensor]) -> Layout:
    """The blocks in their order; attention stands in its block's list (BigGAN-PyTorch), or has one of its own (StudioGAN)."""
    studio = any(name.endswith(".weight_u") for name in state) or "output_layer.0.running_mean" in state
    found = Layout(state, "blocks.0.0.conv4.weight" in state, studio)
    places = {tuple(int(number) for number in name.split(".")[1:3]) for name in state if name.startswith("blocks.")}
    for i, j in sorted(places):
        prefix = f"blocks.{i}.{j}."
        if prefix + "theta.weight" in state:
            found.attended[found.blocks[-1]] = prefix
        else:
            found.blocks.append(prefix)
    return found


def eps_in(tree: Any) -> float | None:
    """The configuration that train.py writes beside the weights (state_dict.pth), where it is at hand."""
    if not isinstance(tree, dict):
        return None
    if isinstance(tree.get("config"), dict) and isinstance(tree["config"].get("BN_eps"), float):
        return tree["config"]["BN_eps"]
    return next((eps for each in tree.values() if (eps := eps_in(each)) is not None), None)


# --- the configuration --------------------------------------------------------------------------------------------------------------


def configuration(found: Layout, eps: float | None) -> tuple[str, dict, dict]:
    """(game, fields, spec) of a generator."""
    state, first = found.state, found.blocks[0]
    times, depth, width, multiples = stages(found)
    gain, top = state[f"{first}bn1.gain.weight"], state[f"{first}conv1.weight"].shape[1]
    base = math.isqrt(state["linear.weight"].shape[0] // top)
    need(base >= 2 and base * base * top == state["linear.weight"].shape[0], "its first layer is not square")
    shared = state.get("shared.weight")
    table = shared is None and not found.studio
    classes = gain.shape[0] if table else 0 if shared is None else shared.shape[0]
    part = 0 if table else gain.shape[1] - (0 if shared is None else shared.shape[1])
    attention = tuple(base << (i // depth + 1) for i, block in enumerate(found.blocks) if block in found.attended)
    fields: dict[str, Any] = {
        "width": width, "multiples": multiples, "base_size": base, "attention": attention, "shared_embedding": not table, "sampling_statistics": "running",
        "norm_eps": 1e-4 if found.studio else eps or 1e-5, "spectral_norm": "both" if vectors(state, "linear") else "discriminator",
    }  # fmt: skip
    if shared is not None:
        fields["embedding_dim"] = shared.shape[1]
    side, first_in = base << times, state["linear.weight"].shape[1]
    spec = {"shape": (state["output_layer.2.weight"].shape[0], side, side), "num_classes": classes}
    if found.deep:
        need(not table and first_in == gain.shape[1], "its first layer does not see the classes and the whole latent")
        return "biggan_deep", fields | {"latent_dim": part, "blocks": depth}, spec
    need(not part or first_in == part, "its latent is not cut into equal parts")
    fields |= {"hierarchical": part > 0, "latent_dim": part * (times + 1) or first_in}
    return "sagan" if table and attention else "biggan", fields, spec


def stages(found: Layout) -> tuple[int, int, int, tuple[int, ...]]:
    """(doublings, blocks at each resolution, width, its multiples where they are not the published ones)."""
    last = "conv4" if found.deep else "conv2"
    channels = [found.state[f"{found.blocks[0]}conv1.weight"].shape[1], *(found.state[f"{block}{last}.weight"].shape[0] for block in found.blocks)]
    for times, multiples in GENERATOR.items():
        depth, rest = divmod(len(found.blocks), times)
        width = channels[-1] // multiples[-1]
        if not rest and depth and channels[::depth] == [m * width for m in multiples] and (found.deep or depth == 1):
            return times, depth, width, ()
    need(not found.deep, "a BigGAN-deep of other widths than the published ones")
    width = math.gcd(*channels)
    return len(found.blocks), 1, width, tuple(each // width for each in channels)


def discriminator_fields(judge: Layout, fields: dict, spec: dict) -> dict[str, Any]:
    """Its width, and the blocks that attention follows where ``attention`` does not say so."""
    times = (spec["shape"][1] // fields["base_size"]).bit_length() - 1
    out = judge.state["linear.weight"].shape[1]
    multiple = DISCRIMINATOR[min(max(times, LOWEST), HIGHEST)][-1]
    need(out % multiple == 0, "the discriminator's widths are no multiples of the published ones")
    depth = fields.get("blocks", 1)
    numbers = tuple(i // depth + 1 for i, block in enumerate(judge.blocks) if block in judge.attended)
    found = {"discriminator_width": out // multiple, "discriminator_attention": ()}
    _, _, attended = discriminator_stages(SimpleNamespace(**fields | found), DataSpec("image", spec["shape"]))
    usual = tuple(i + 1 for i, attends in enumerate(attended[: len(judge.blocks) // depth]) if attends)
    return found if numbers == usual else found | {"discriminator_attention": numbers or (0,)}


# --- the weights -----------------------------------------------------------------------------------------------------------------------


def generator_state(found: Layout, names: list[str]) -> dict[str, Tensor]:
    """``names``: of Agon's blocks and attention, in their order."""
    state, out = found.state, {}
    if "shared.weight" in state:
        out["shared.weight"] = state["shared.weight"].T.contiguous()
    out |= layer(state, "linear", "project")
    out |= blocks_state(found, names)
    out |= {"to_picture.norm.norm.weight": state["output_layer.0.gain"], "to_picture.norm.norm.bias": state["output_layer.0.bias"]}
    return out | statistics(state, "output_layer.0", "to_picture.norm") | layer(state, "output_layer.2", "to_picture.conv")


def discriminator_state(found: Layout, names: list[str]) -> dict[str, Tensor]:
    """The same for a discriminator, whose blocks are a part of its backbone."""
    state, out = found.state, layer(found.state, "linear", "head")
    if "embed.weight" in state:
        out |= layer(state, "embed", "embedding", transposed=True)
    inner = blocks_state(found, [name for name in names if name != "from_picture"])
    if found.deep:
        inner |= layer(state, "input_conv", "blocks.from_picture")
    return out | {f"backbone.{name}": tensor for name, tensor in inner.items()}


def blocks_state(found: Layout, names: list[str]) -> dict[str, Tensor]:
    """All residual blocks and attention, under Agon's ``names`` in their order."""
    theirs = [prefix for block in found.blocks for prefix in (block, found.attended.get(block)) if prefix]
    need(len(theirs) == len(names), "it has another number of blocks than the published networks")
    out: dict[str, Tensor] = {}
    for prefix, name in zip(theirs, names, strict=True):
        attends = prefix in found.attended.values()
        need(attends == name.endswith("_attention"), "attention stands at other places than in the published networks")
        if attends:
            out[f"blocks.{name}.gain"] = found.state[f"{prefix}gamma"].reshape(())
        for ours, its in (ATTENTION if attends else BLOCK).items():
            if f"{prefix}{its}.weight" in found.state:
                out |= layer(found.state, f"{prefix}{its}", f"blocks.{name}.{ours}")
        for ours, its in NORMS.items():
            if f"{prefix}{its}.gain.weight" in found.state:
                out |= conditional_norm(found.state, f"{prefix}{its}", f"blocks.{name}.{ours}", table=not found.studio and "shared.weight" not in found.state)
    return out


def conditional_norm(state: dict[str, Tensor], theirs: str, ours: str, *, table: bool) -> dict[str, Tensor]:
    out = statistics(state, theirs, ours)
    for its, name in (("gain", "gain"), ("bias", "shift")):
        out |= layer(state, f"{theirs}.{its}", f"{ours}.{name}", transposed=table)
    return out


def statistics(state: dict[str, Tensor], theirs: str, ours: str) -> dict[str, Tensor]:
    """Batch norm's: kept by the layer, by one of the authors' own inside it (sums, if its counter says so), or by torch's inside it."""
    for prefix, mean, variance in (("", "stored_mean", "stored_var"), ("bn.", "stored_mean", "stored_var"), ("bn.", "running_mean", "running_var"),
                                   ("", "running_mean", "running_var")):
        if f"{theirs}.{prefix}{mean}" in state:
            count = state.get(f"{theirs}.{prefix}accumulation_counter", torch.zeros(1)).clamp_min(1)
            return {
                f"{ours}.norm.running_mean": state[f"{theirs}.{prefix}{mean}"] / count,
                f"{ours}.norm.running_var": state[f"{theirs}.{prefix}{variance}"] / count,
                f"{ours}.norm.num_batches_tracked": torch.zeros((), dtype=torch.long),
            }  # fmt: skip
    raise KeyError(f"{theirs}.stored_mean")


def layer(state: dict[str, Tensor], theirs: str, ours: str, *, transposed: bool = False) -> dict[str, Tensor]:
    """A convolution, linear layer or (``transposed``) embedding, with spectral norm where it has it."""
    weight, pair = state[f"{theirs}.weight"], vectors(state, theirs)
    whole = weight.T.contiguous() if transposed else weight
    out = {f"{ours}.bias": state[f"{theirs}.bias"]} if f"{theirs}.bias" in state else {}
    if pair is None:
        return out | {f"{ours}.weight": whole}
    left, right = reversed(pair) if transposed else pair
    norm = f"{ours}.parametrizations.weight"
    return out | {f"{norm}.original": whole, f"{norm}.0.left": left, f"{norm}.0.right": right}


def vectors(state: dict[str, Tensor], name: str) -> tuple[Tensor, Tensor] | None:
    """(left, right) with sigma = left' W right as a pass in evaluation has it; None: the layer is not normalised."""
    if f"{name}.weight_u" in state:
        return state[f"{name}.weight_u"], state[f"{name}.weight_v"]
    if f"{name}.u0" not in state:
        return None
    matrix = state[f"{name}.weight"].double().flatten(1)
    right = F.normalize(state[f"{name}.u0"].double().flatten() @ matrix, dim=0)
    return F.normalize(matrix @ right, dim=0).float(), right.float()
