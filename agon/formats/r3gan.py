"""R3GAN's pickles: https://github.com/brownvc/R3GAN (``network-snapshot-*.pkl``: ``G``, ``D`` and ``G_ema``, pickled by their classes' names).

Widths, blocks and groups of every stage are read off the weights' shapes, names as in agon/formats/r3gan_names.py. The filters are checked to be [1, 2, 1] with
[1, 1], and left out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from agon.formats.imported import need
from agon.formats.persistent import module_state
from agon.formats.r3gan_names import from_official, official_fields, official_names
from agon.formats.torch_state import Held

ORIGIN = "R3GAN (brownvc)"
NETWORKS = ("G_ema", "G", "D")
TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8


def recognise(names: set[str], meta: dict) -> bool:
    return any(name.endswith("MainLayers.0.Layers.0.Basis") for name in names)


def convert(tree: Any) -> dict[str, Any]:
    states = {name: plain(tree[name]) for name in NETWORKS if tree.get(name) is not None}
    first = states.get("G_ema") or states.get("G")
    need(first is not None, "it has no generator")
    fields = official_fields(first)
    classes = first["EmbeddingLayer.weight"].shape[1] if "EmbeddingLayer.weight" in first else 0
    tables = official_names(fields["widths"], fields["stage_blocks"], bool(classes))
    made: dict[str, dict[str, Tensor] | None] = dict.fromkeys(NETWORKS)
    notes = []
    for name, state in states.items():
        network = "discriminator" if name == "D" else "generator"
        try:
            made[name] = from_official(network, state, tables[network])
        except KeyError:
            need(name == "D", "its stages are not of blocks with a change of resolution between them")
            notes.append("the discriminator is left out: its stages are not the generator's")
    side = 4 << (len(fields["widths"]) - 1)
    return {
        "game": "r3gan", "fields": fields, "spec": {"shape": [first["AggregationLayer.Layer.weight"].shape[0], side, side], "num_classes": classes},
        "generator": made["G"], "ema": made["G_ema"], "discriminator": made["D"], "notes": notes,
    }  # fmt: skip


def plain(network: Any) -> dict[str, Tensor]:
    """A network's weights without the wrapper's prefix and the filters."""
    state = module_state(network) if isinstance(network, Held) else network
    state = {name.removeprefix("Model."): value for name, value in state.items() if isinstance(value, Tensor)}
    for name in [name for name in state if name.endswith("Kernel")]:
        given = state.pop(name).float()
        good = given.numel() == 16 and torch.allclose(given.reshape(4, 4), torch.outer(TAPS, TAPS), atol=1e-6)
        need(good, "its resampling filter is not [1, 2, 1]")
    return state
