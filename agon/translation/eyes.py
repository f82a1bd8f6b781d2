"""A frozen network that compares pictures for a translator's perceptual loss, in no player and in no checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from agon.errors import UserError
from agon.losses.perceptual import perceptual
from agon.networks.vgg import Vgg19File, frozen_features
from agon.translation.config import TranslationConfig

VGG_LAYERS = {"relu1_1": 1 / 32, "relu2_1": 1 / 16, "relu3_1": 1 / 8, "relu4_1": 1 / 4, "relu5_1": 1.0}
"""Weights of VGG-19's layers in pix2pixHD and SPADE."""


@dataclass(frozen=True, kw_only=True)
class PerceptualConfig(TranslationConfig):
    """Fields of a translator that can have a perceptual loss."""

    perceptual: Literal["none", "random", "vgg"] = "none"
    """Frozen network whose maps are compared: none, random convolutions (the declared substitute, agon/networks/vgg.py), or VGG-19 from vgg_weights."""
    perceptual_weight: float = 10.0
    """Weight of the difference of maps."""
    vgg_weights: str = ""
    """Path of torchvision's vgg19-dcbb9e9d.pth, for perceptual=vgg."""


class Eyes:
    """``kind``: "random" (the declared substitute, agon/networks/vgg.py) or "vgg" (VGG-19 from the file ``weights``). ``layers``: VGG's layer -> weight;
    ``seed`` and ``width``: of the random convolutions."""

    def __init__(self, kind: str, weights: str, channels: int, layers: dict[str, float], *, seed: int = 0, width: int = 32):
        self.kind, self.weights, self.layers = kind, weights, layers
        self.network = frozen_features(f"random:{seed}" if kind == "random" else weights, channels, tuple(layers), width)

    def check(self) -> None:
        """Raise UserError where VGG's file is not there or not whole: when a training begins, not at its second stage, and not to translate."""
        if self.kind == "vgg":
            if not self.weights:
                raise UserError("perceptual is vgg and vgg_weights is empty. Expected the path of torchvision's vgg19-dcbb9e9d.pth, or --perceptual random.")
            self.network.check()

    def difference(self, fake: Tensor, real: Tensor, distance: str = "l1") -> Tensor:
        """How unlike the network finds two batches (N, C, H, W) in [-1, 1], a scalar; ``distance`` of maps: "l1" or "l2". Gradients reach ``fake``."""
        network = self.network.to(fake.device)
        weights = [self.layers[name] for name in network.order] if isinstance(network, Vgg19File) else None
        return perceptual(network, fake.float(), real, weights, distance)


def eyes_of(config: PerceptualConfig, channels: int, layers: dict[str, float], **random: int) -> Eyes | None:
    """What the configuration asks for, None for no perceptual loss. ``random``: seed and width of the random convolutions."""
    wanted = config.perceptual != "none" and config.perceptual_weight
    return Eyes(config.perceptual, config.vgg_weights, channels, layers, **random) if wanted else None
