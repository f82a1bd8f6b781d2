"""Thumbnails: pictures averaged down to at most 16 pixels a side, as plain vectors; points and other arrays as they are.

No weights: for distances in pixels (near copies, sliced and exact Wasserstein distances). It keeps colours and layout and loses all that is sharp.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from agon.data.source import to_float
from agon.errors import UserError
from agon.metrics.features.base import Extractor

NAMES = {"thumbnail": "pictures averaged down to 16 pixels a side, points as they are (no weights)"}
MAX_SIDE = 16  # pictures are compared pixel by pixel at no more than this side


class Thumbnail(Extractor):
    """``layers["features"]`` is 0 until the first samples were seen: the length follows from their shape."""

    name = "thumbnail"
    kind = "*"

    def __init__(self) -> None:
        self.layers = {"features": 0}
        self.protocol = {"resize": f"area average to at most {MAX_SIDE} pixels a side", "precision": "fp32"}

    def run(self, samples: Tensor, layers: Sequence[str] = ("features",)) -> dict[str, Tensor]:
        """uint8 (N, C, H, W) or float32 (N, *shape) -> float32 (N, D); pictures in [-1, 1], others in the data's units."""
        if not isinstance(samples, Tensor):
            raise UserError("Samples of variable length have no thumbnail. Expected pictures or arrays of one shape: choose another extractor or metric.")
        vectors = flatten(to_float(samples))
        known = self.layers["features"]
        if known not in (0, vectors.shape[1]):
            raise UserError(
                "Thumbnails of {found} numbers cannot be compared with thumbnails of {known}. Expected one shape, or sides of {side} pixels or more.",
                found=vectors.shape[1], known=known, side=MAX_SIDE,
            )  # fmt: skip
        self.layers["features"] = vectors.shape[1]
        return {layer: vectors for layer in layers}


def flatten(samples: Tensor) -> Tensor:
    """float32 (N, *shape) -> (N, D); pictures of more than MAX_SIDE pixels a side are averaged down to it first."""
    if samples.ndim == 4 and max(samples.shape[2:]) > MAX_SIDE:
        samples = F.adaptive_avg_pool2d(samples, [min(side, MAX_SIDE) for side in samples.shape[2:]])
    return samples.to(torch.float32).flatten(1)


def open_extractor(name: str = "thumbnail", *, weights: Path | None = None, device: str = "cpu", precision: str = "fp32") -> Thumbnail:
    """Runs on the CPU whatever ``device`` says: there is next to nothing to compute."""
    return Thumbnail()
