"""What BigGAN, BigGAN-deep and SAGAN share: residual networks with attention, whose widths are multiples of one unit; truncation and orthogonal regularisation
of the two BigGANs.

The objective is each game's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from agon.config import OptimizerConfig, require
from agon.game import Draws, Terms
from agon.layers.orthogonal import orthogonality
from agon.networks.biggan import truncated
from agon.two_player.config import Init, Layers, TwoPlayerConfig
from agon.two_player.game import TwoPlayerGame


@dataclass(frozen=True, kw_only=True)
class AttentionConfig(TwoPlayerConfig):
    """With residual networks that attend, spectral norm in both."""

    width: int = 96
    """The unit of all widths (ch in the BigGAN authors' code): 32 pixels have 4 of it everywhere, 128 pixels 16 at first and 1 at last."""
    multiples: tuple[int, ...] = ()
    """The generator's channels at each resolution in units of width. Empty: as published for the number of doublings."""
    shared_embedding: bool = True
    """One embedding of the classes for all norms; false: a gain and shift for each class in every norm."""
    embedding_dim: int = 128
    """Length of that embedding."""
    attention: tuple[int, ...] = (64,)
    """Shorter sides in pixels at which both networks attend to other positions."""
    discriminator_attention: tuple[int, ...] = ()
    """Numbers of the discriminator's blocks, from 1, that attention follows instead (0: none). Empty: those that end at one of those sides."""
    generator_norm: Literal["batch", "none"] = "batch"
    """Normalisation in the generator; gains and shifts stay without."""
    norm_eps: float = 1e-5
    """Added to batch norm's variances (1e-4 in BigGAN's released TensorFlow weights and in StudioGAN)."""
    spectral_norm: Layers = "both"
    discriminator_lr: float | None = 4e-4

    def __post_init__(self):
        super().__post_init__()
        require(all(m >= 1 for m in self.multiples), "multiples", self.multiples, "multiples of width, 1 or more")
        require(self.norm_eps > 0, "norm_eps", self.norm_eps, "a number above 0")


@dataclass(frozen=True, kw_only=True)
class LargeScaleConfig(AttentionConfig):
    """As BigGAN's authors train."""

    init: Init = "orthogonal"
    orthogonal_regularisation: float = 1e-4
    """Weight of orthogonal regularisation of the generator. 0: off."""
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-4, beta1=0.0, beta2=0.999, eps=1e-6)
    num_critic: int = 2

    def __post_init__(self):
        super().__post_init__()
        require(self.orthogonal_regularisation >= 0, "orthogonal_regularisation", self.orthogonal_regularisation, "0 or more")


class LargeScaleGame(TwoPlayerGame):
    """A game whose latents are truncated when sampling, and whose generator's loss may have :meth:`orthogonal` in it."""

    condition_mode = "projection"
    controls = ("truncation",)

    def render(self, latent: Tensor, condition: Tensor | None, draws: Draws, truncation: float | None = None) -> Tensor:
        """``truncation``: latents lie in [-truncation, truncation]; None: they are not truncated."""
        return self.generator(truncated(latent, truncation, self.config.latent_dim), condition)

    def orthogonal(self) -> Terms:
        """Orthogonal regularisation as a term of the generator's loss, if the configuration asks for it."""
        weight = self.config.orthogonal_regularisation
        return {"orthogonal": weight * orthogonality(self.generator)} if weight else {}
