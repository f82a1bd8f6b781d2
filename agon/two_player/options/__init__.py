"""Options that any two-player game takes: each a file, switched on by a field of its configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from agon.two_player.options import ada, apa, class_loss, consistency, diffaugment, feature_matching, latent_optimisation, lecam

if TYPE_CHECKING:
    from agon.data.source import DataSpec
    from agon.two_player.config import TwoPlayerConfig

PARTS = (diffaugment, ada, apa, lecam, consistency, feature_matching, latent_optimisation)
"""Modules with ``option(config, spec)``, which returns the option or None where nothing switches it on, in the order in which options act."""


def build_options(config: TwoPlayerConfig, spec: DataSpec, discriminator: nn.Module | None = None) -> nn.ModuleDict:
    """Name -> option, those that ``config`` asks for. Raises UserError where one does not fit the data."""
    built = {part.__name__.rpartition(".")[2]: part.option(config, spec) for part in PARTS}
    built["class_loss"] = class_loss.option(config, spec, discriminator)
    return nn.ModuleDict({name: option for name, option in built.items() if option is not None})
