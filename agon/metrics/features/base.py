"""What an extractor is: samples -> vectors, one row a sample, whatever else is in the batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from agon.errors import UserError


class Extractor(ABC):
    """A map from single samples to vectors, and all that changes its numbers.

    ``name``: as users write it ("inception-clean"). ``sha256``: of the weights, "" where there are none. ``layers``: what it gives, by name, and how long each
    vector is; "features" is always there, classifiers have "logits" too. ``protocol``: resize, precision and the like, as plain JSON; it goes into the protocol
    of every number and into the cache's key.
    """

    name: str
    sha256: str = ""
    kind: str = "image"
    layers: dict[str, int]
    protocol: dict[str, Any]

    @abstractmethod
    def run(self, samples: Tensor, layers: Sequence[str] = ("features",)) -> dict[str, Tensor]:
        """``samples``: pictures as uint8 (N, C, H, W) in 0..255, else float32 (N, *shape). Returns float32 (N, layers[name]) on the CPU for each name asked.

        A row depends on its own sample alone (within 1e-6 of the features' scale): neither the batch's size nor its order matters.
        """


def as_rgb(pictures: Tensor) -> Tensor:
    """(N, 1, 3 or 4, H, W) uint8 -> (N, 3, H, W) uint8: grey is repeated, alpha is laid over white (as agon/data/pictures.py does)."""
    channels = pictures.shape[1]
    if channels == 3:
        return pictures
    if channels == 1:
        return pictures.expand(-1, 3, -1, -1)
    if channels == 4:
        alpha = pictures[:, 3:].float() / 255
        return (pictures[:, :3].float() * alpha + 255 * (1 - alpha)).round_().to(torch.uint8)
    raise UserError("Pictures of {channels} channels cannot be judged. Expected 1 (grey), 3 (colour) or 4 (colour and alpha).", channels=channels)
