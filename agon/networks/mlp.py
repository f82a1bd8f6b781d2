"""Multi-layer perceptrons (Goodfellow et al., 2014), https://arxiv.org/abs/1406.2661, for points and for pictures of any size.

Differs from the paper: rectifiers instead of maxout and sigmoid layers, as in every later implementation.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from agon.data.source import DataSpec
from agon.layers.fourier import FourierFeatures
from agon.layers.rectifier import Rectifier
from agon.networks.discriminator import with_condition


def activation(name: str) -> nn.Module:
    """``relu`` or ``leaky`` (slope 0.2)."""
    return Rectifier(0.0 if name == "relu" else 0.2)


class MLPGenerator(nn.Module):
    """Latent -> hidden layers -> sample; pictures pass tanh, points do not."""

    def __init__(self, latent_dim: int, hidden: tuple[int, ...], shape: tuple[int, ...], *, bounded: bool, rectifier: str, norm: str):
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((latent_dim, *hidden), hidden, strict=False):
            # a bias before batch norm is cancelled by it, and Adam would turn its rounding noise into full steps
            layers += [nn.Linear(before, after, bias=norm != "batch")]
            layers += [nn.BatchNorm1d(after)] if norm == "batch" else []
            layers += [activation(rectifier)]
        layers += [nn.Linear((latent_dim, *hidden)[-1], math.prod(shape))]
        self.layers = nn.Sequential(*layers, *([nn.Tanh()] if bounded else []))
        self.shape = shape

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.layers(with_condition(latent, condition)).view(len(latent), *self.shape)


class MLPBackbone(nn.Module):
    """Sample (flattened) and condition -> features of the last hidden layer."""

    def __init__(self, in_features: int, hidden: tuple[int, ...], *, condition_dim: int, rectifier: str, fourier: int, fourier_scale: float):
        super().__init__()
        self.fourier = FourierFeatures(in_features, fourier, fourier_scale) if fourier else None
        first = (self.fourier.out_features if fourier else in_features) + condition_dim
        layers: list[nn.Module] = []
        for before, after in zip((first, *hidden), hidden, strict=False):
            layers += [nn.Linear(before, after), activation(rectifier)]
        self.layers = nn.Sequential(*layers)
        self.out_features = (first, *hidden)[-1]

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        x = x.flatten(1)
        if self.fourier is not None:
            x = self.fourier(x)
        return self.layers(with_condition(x, condition))


def generator(config, spec: DataSpec, condition_dim: int) -> MLPGenerator:
    return MLPGenerator(
        config.latent_dim + condition_dim, config.generator_hidden, spec.shape,
        bounded=spec.kind == "image", rectifier=config.rectifier, norm=config.generator_norm if spec.kind == "image" else "none",
    )  # fmt: skip


def backbone(config, spec: DataSpec, condition_dim: int) -> MLPBackbone:
    return MLPBackbone(
        math.prod(spec.shape), config.discriminator_hidden,
        condition_dim=condition_dim, rectifier=config.rectifier, fourier=config.fourier_features, fourier_scale=config.fourier_scale,
    )  # fmt: skip
