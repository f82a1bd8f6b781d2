"""Architectures, one family per file.

Each file offers ``generator(config, spec, condition_dim)``, which maps (latent (N, Z), condition (N, K) or None) to samples (N, *spec.shape), in [-1, 1]
for pictures, and either ``backbone(config, spec, condition_dim)``, which maps (samples, condition or None) to features (N, out_features) and gets a head
from :class:`agon.networks.discriminator.Discriminator`, or, where the head is a part of the paper, ``discriminator(config, spec, condition_dim)``, whole:
(samples, condition or None) to logits (N,), with ``features(samples, condition)`` for what its last layer sees.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from torch import nn

from agon.data.source import DataSpec
from agon.networks.discriminator import Discriminator

ANY_DATA = ("mlp", "dcgan", "resnet", "r3gan")
"""Families of games that also play on points, which always get an MLP."""
WIDEST_EMBEDDING = 768
"""Length of a bilinear head's embedding where the features are longer; R3GAN's are as long as its features, 768."""


def build_generator(config, spec: DataSpec, condition_dim: int) -> nn.Module:
    """The generator that ``config.network`` names."""
    return family(config, spec).generator(config, spec, condition_dim)


def build_discriminator(config, spec: DataSpec, mode: str, condition_dim: int) -> nn.Module:
    """The discriminator of the same family. ``mode``: how a common head takes the condition (agon/networks/discriminator.py)."""
    architecture = family(config, spec)
    if hasattr(architecture, "discriminator"):
        return architecture.discriminator(config, spec, condition_dim)
    backbone = architecture.backbone(config, spec, condition_dim if mode == "concat" else 0)
    return Discriminator(
        backbone, mode, condition_dim, bias=getattr(backbone, "head_bias", True),
        minibatch_kernels=config.minibatch_discrimination, embedding_dim=getattr(backbone, "embedding_dim", min(backbone.out_features, WIDEST_EMBEDDING)),
    )  # fmt: skip


def family(config, spec: DataSpec) -> ModuleType:
    """The file of the architecture."""
    name = "mlp" if spec.kind == "points" and config.network in ANY_DATA else config.network
    return import_module(f"agon.networks.{name}")
