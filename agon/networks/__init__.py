"""Architectures, one family per file.

Each file offers ``generator(config, spec, condition_dim)`` and ``backbone(config, spec, condition_dim)``. A generator maps
(latent (N, Z), condition (N, K) or None) to samples (N, *spec.shape), in [-1, 1] for pictures. A backbone maps (samples, condition or
None) to features (N, out_features); :class:`agon.networks.discriminator.Discriminator` puts a head on it.
"""

from __future__ import annotations

from importlib import import_module

from torch import nn

from agon.data.source import DataSpec


def build_generator(config, spec: DataSpec, condition_dim: int) -> nn.Module:
    """The generator that ``config.network`` names ("auto": an MLP for points)."""
    return _family(config, spec).generator(config, spec, condition_dim)


def build_backbone(config, spec: DataSpec, condition_dim: int) -> nn.Module:
    """The discriminator's backbone that ``config.network`` names; ``condition_dim`` > 0 if it shall take the condition as an input."""
    return _family(config, spec).backbone(config, spec, condition_dim)


def _family(config, spec: DataSpec):
    return import_module(f"agon.networks.{'mlp' if spec.kind == 'points' else config.network}")
