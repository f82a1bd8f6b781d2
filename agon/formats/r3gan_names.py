"""The names under which the authors' R3GAN networks (Huang et al., 2024), https://arxiv.org/abs/2501.05441, keep what :mod:`agon.networks.r3gan` keeps.

Theirs: ``MainLayers.STAGE.Layers.INDEX``, from the generator's lowest resolution up and the discriminator's highest down; a stage of the generator begins
with its change of resolution, one of the discriminator ends with it. Their runs put ``Model.`` before every name. All tensors are the same but one: the
discriminator's class embedding is ours divided by the root of its length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

BLOCK = {
    "conv1.weight": "LinearLayer1.Layer.weight", "conv2.weight": "LinearLayer2.Layer.weight", "conv3.weight": "LinearLayer3.Layer.weight",
    "act1.bias": "NonLinearity1.Bias", "act2.bias": "NonLinearity2.Bias",
}  # fmt: skip
EMBEDDING = "EmbeddingLayer.weight"
FIXED = ".Resampler.Kernel"


def official_names(widths: Sequence[int], stage_blocks: Sequence[int], conditional: bool) -> dict[str, dict[str, str]]:
    """Our names -> theirs of ``generator`` and ``discriminator``. ``widths``, ``stage_blocks``: from the lowest resolution up."""
    return {"generator": _generator(widths, stage_blocks, conditional), "discriminator": _discriminator(widths[::-1], stage_blocks[::-1], conditional)}


def official_fields(generator: Mapping[str, Tensor]) -> dict[str, object]:
    """The fields of the game's configuration that their generator's state tells of. Raises KeyError where it is not one of theirs."""
    state = _bare(generator)
    widths, blocks, groups = [], [], []
    while f"MainLayers.{len(widths)}.Layers.1.LinearLayer1.Layer.weight" in state:
        stage = f"MainLayers.{len(widths)}.Layers"
        wide, narrow = state[f"{stage}.1.LinearLayer1.Layer.weight"].shape[:2]
        widths.append(narrow)
        blocks.append(next(n for n in range(1, len(state)) if f"{stage}.{n + 1}.LinearLayer1.Layer.weight" not in state))
        groups.append(wide // state[f"{stage}.1.LinearLayer2.Layer.weight"].shape[1])
    embedding = state.get(EMBEDDING)
    embedding_dim = 0 if embedding is None else embedding.shape[0]
    fields = {
        "network": "r3gan", "widths": tuple(widths), "stage_blocks": tuple(blocks), "cardinalities": tuple(groups), "expansion": wide // narrow, "base_size": 4,
        "latent_dim": state["MainLayers.0.Layers.0.LinearLayer.weight"].shape[1] - embedding_dim, "conditional": bool(embedding_dim),
    }  # fmt: skip
    return fields | ({"embedding_dim": embedding_dim} if embedding_dim else {})


def from_official(network: str, theirs: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Our state of ``network`` ("generator" or "discriminator") from theirs. ``names``: its part of :func:`official_names`.

    Raises KeyError for a tensor that is missing or left over.
    """
    state = _bare(theirs)
    result = {ours: state.pop(name) for ours, name in names.items()}
    if state:
        raise KeyError(f"unknown tensors: {', '.join(sorted(state)[:3])}")
    if network == "discriminator" and "embedding.weight" in result:
        result["embedding.weight"] = result["embedding.weight"] * math.sqrt(len(result["embedding.weight"]))
    return result


def _bare(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the runs' prefix and the constant resampling filters."""
    return {name.removeprefix("Model."): value for name, value in state.items() if not name.endswith(FIXED)}


def _blocks(ours: int, stage: int, first: int, count: int, prefix: str) -> dict[str, str]:
    """``count`` residual blocks, our layers from ``ours`` on, theirs from ``first`` on."""
    return {f"{prefix}layers.{ours + i}.{mine}": f"MainLayers.{stage}.Layers.{first + i}.{name}" for i in range(count) for mine, name in BLOCK.items()}


def _generator(widths: Sequence[int], stage_blocks: Sequence[int], conditional: bool) -> dict[str, str]:
    first = "MainLayers.0.Layers.0"
    names = {"basis": f"{first}.Basis", "project.weight": f"{first}.LinearLayer.weight", "to_picture.weight": "AggregationLayer.Layer.weight"}
    layer = 0
    for stage, count in enumerate(stage_blocks):
        if stage:
            if widths[stage] != widths[stage - 1]:
                names[f"layers.{layer}.conv.weight"] = f"MainLayers.{stage}.Layers.0.LinearLayer.Layer.weight"
            layer += 1
        names |= _blocks(layer, stage, 1, count, "")
        layer += count
    return names | ({"embedding.weight": EMBEDDING} if conditional else {})


def _discriminator(widths: Sequence[int], stage_blocks: Sequence[int], conditional: bool) -> dict[str, str]:
    names, layer = {"backbone.from_picture.weight": "ExtractionLayer.Layer.weight"}, 0
    for stage, count in enumerate(stage_blocks):
        names |= _blocks(layer, stage, 0, count, "backbone.")
        layer += count
        if stage + 1 < len(widths):
            if widths[stage] != widths[stage + 1]:
                names[f"backbone.layers.{layer}.conv.weight"] = f"MainLayers.{stage}.Layers.{count}.LinearLayer.Layer.weight"
            layer += 1
    last = f"MainLayers.{len(widths) - 1}.Layers.{stage_blocks[-1]}"
    names |= {"backbone.basis.weight": f"{last}.Basis.weight", "head.weight": f"{last}.LinearLayer.weight"}
    return names | ({"embedding.weight": EMBEDDING} if conditional else {})
