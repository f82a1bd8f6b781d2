"""Extractors: pictures -> vectors. Which one fits a data set is decided here, by the data's name and shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from agon.data.source import DataSpec


class Extractor(Protocol):
    """What a metric needs of an extractor. ``sha256`` is that of its weights and goes into every protocol."""

    name: str
    dimension: int
    sha256: str

    def features(self, images: Tensor) -> np.ndarray:
        """(N, C, H, W) in [-1, 1] -> (N, dimension) float64."""


def extractor_for(name: str, spec: DataSpec) -> Extractor | None:
    """The extractor made for a data set, None where there is none (the evaluation then works in pixels or points)."""
    if name == "digits" and tuple(spec.shape) == (1, 8, 8):
        from agon.metrics.features.digits import shipped

        return shipped()
    return None
