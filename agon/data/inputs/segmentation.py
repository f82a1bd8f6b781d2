"""Which class each pixel shows, as the data set itself knows it: for synthesis from label maps (pix2pix, SPADE).

``segmentation``: one channel of class numbers; on ``shapes`` 0 is background and 1 to 6 are the shapes, with the colours of
``agon.data.shapes.MAP_COLOURS`` (black; blue circle, red square, green triangle, yellow star, purple cross, cyan ring). ``segmentation:instances``: a second
channel, 1 where two objects meet or an object ends (agon/data/maps.py), which keeps touching objects of one class apart.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from agon.data.inputs import Recipe
from agon.data.maps import edges_between
from agon.data.source import Source
from agon.errors import UserError


def open_recipe(parameter: str, base: Source) -> Recipe:
    """``parameter``: "" or "instances". Raises UserError for another, and for data without maps."""
    refuse_without_maps("segmentation", base)
    if parameter not in ("", "instances"):
        raise UserError("The input 'segmentation' has no variant '{parameter}'. Expected segmentation or segmentation:instances.", parameter=parameter)

    def make(pictures: Tensor, indices: np.ndarray, generator: Callable[[int], torch.Generator]) -> Tensor:
        channels = [base.segmentation(indices)]  # type: ignore[attr-defined]
        if parameter:
            channels.append(edges_between(base.instances(indices)))  # type: ignore[attr-defined]
        return torch.from_numpy(np.concatenate(channels, axis=1))

    return Recipe("map", (2 if parameter else 1, *base.spec.shape[1:]), make, base.map_classes, base.map_colours)  # type: ignore[attr-defined]


def refuse_without_maps(name: str, base: Source) -> None:
    """Raise UserError where the data set does not know what its pixels show."""
    if not hasattr(base, "segmentation"):
        raise UserError("The input '{name}' needs to know what each pixel shows, and '{data}' does not say. Expected the data set 'shapes', or label maps of "
                        "your own: --data.input FOLDER.", name=name, data=base.name)
