"""What the style-based games share: a mapping network to w, mixing while training, truncation, noise and mixing when sampling.

StyleGAN, StyleGAN2 and StyleGAN3 each state their networks and regularisation; this says how their latents are handled, and what StyleGAN2 and
StyleGAN3, whose discriminator is one, are configured by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from agon.config import require
from agon.data.source import DataSpec
from agon.errors import UserError
from agon.game import Draws
from agon.two_player.config import Penalty, TwoPlayerConfig
from agon.two_player.game import TwoPlayerGame

NOISES = ("const", "random", "none")
Architecture = Literal["skip", "resnet", "orig"]


@dataclass(frozen=True, kw_only=True)
class StyleConfig(TwoPlayerConfig):
    """With StyleGAN2's mapping network, discriminator and lazy R1."""

    latent_dim: int = 512
    w_dim: int = 512
    """Length of a style, w."""
    mapping_layers: int = 8
    """Layers of the mapping network."""
    mapping_lr: float = 0.01
    """Learning rate of the mapping network as a fraction of the generator's."""
    channel_base: int = 32768
    """Channels at a resolution r are channel_base / r, up to channel_max."""
    channel_max: int = 512
    """Most channels of a layer."""
    clamp: float = 256.0
    """Activations are clamped to +-this (in StyleGAN2's layers times their gain), against overflow in 16 bits. 0: not."""
    discriminator_architecture: Architecture = "resnet"
    """How the discriminator passes from one resolution to the next."""
    discriminator_mapping_layers: int = 8
    """Layers between a class and the discriminator's projection on it."""
    minibatch_std: int = 4
    """Samples whose standard deviation the discriminator sees together. 0: off."""
    minibatch_std_channels: int = 1
    """Channels of that statistic."""
    w_decay: float = 0.995
    """Decay of the mean style that truncation aims at, for each step."""
    penalty: Penalty = "r1"
    penalty_weight: float = 10.0
    """gamma: R1 adds gamma / 2 |grad D|^2 on real samples."""
    penalty_every: int = 16

    def __post_init__(self):
        super().__post_init__()
        for name in ("w_dim", "mapping_layers", "channel_base", "channel_max", "minibatch_std_channels"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "a number above 0")
        for name in ("clamp", "minibatch_std"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        require(0 <= self.w_decay < 1, "w_decay", self.w_decay, "a number in [0, 1)")


class StyleGame(TwoPlayerGame):
    """A game whose generator has ``mapping(latent, condition, truncation, truncation_layers) -> w (N, num_ws, w_dim)`` and
    ``synthesis(w, draws, noise) -> samples``."""

    condition_mode = "own"
    controls = ("truncation", "truncation_layers", "noise", "mix_seed", "mix_layers", "w")
    mixing: float = 0.0
    """Probability that a sample's styles come from two latents while training."""

    def _check(self, config: TwoPlayerConfig, spec: DataSpec) -> None:
        super()._check(config, spec)
        if config.latent_components:
            raise UserError("{game} maps its latents to styles itself. Expected latent_components 0: leave it out.", game=type(self).__name__)

    def make(self, latent: Tensor, condition: Tensor | None, draws: Draws) -> Tensor:
        return self.generator(latent, condition, draws, mixing=self.mixing)

    def render(
        self, latent: Tensor, condition: Tensor | None, draws: Draws, *, truncation: float | None = None, truncation_layers: int | None = None,
        noise: str = "const", mix_seed: int | None = None, mix_layers: str | None = None, w: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """``truncation``: 1 none, 0 the mean picture; ``truncation_layers``: only so many layers, from the coarsest. ``noise``: "const", "random", "none".
        ``mix_seed``, ``mix_layers``: these layers' styles ("4-", "0-3,6") come from that seed. ``w``: (N, num_ws, w_dim) or (N, w_dim) in place of latents."""
        if noise not in NOISES:
            raise UserError("There is no noise mode '{noise}'. Expected one of: {known}.", noise=noise, known=", ".join(NOISES))
        if w is not None and (truncation is not None or truncation_layers is not None):
            raise UserError("Given styles are drawn as they are: truncation has no effect on w. Leave it out, or truncate when they are made (--save-w).")
        if truncation_layers is not None and truncation is None or mix_layers is not None and mix_seed is None:
            raise UserError("truncation_layers says where truncation acts and mix_layers where mix_seed does. Expected truncation or mix_seed, too.")
        truncation = 1.0 if truncation is None else truncation
        mapping, layers = self.generator.mapping, self.generator.num_ws
        w = mapping(latent, condition, truncation, truncation_layers) if w is None else self._given(w, len(latent)).to(latent.device)
        if mix_seed is not None:
            other = self.draw_latent(len(latent), torch.Generator().manual_seed(mix_seed)).to(latent.device)
            chosen = layer_numbers(mix_layers or f"{layers // 2}-", layers).to(w.device)
            w = torch.where(chosen[:, None], mapping(other, condition, truncation, truncation_layers), w)
        return self.generator.synthesis(w, draws if noise == "random" else None, noise)

    @torch.no_grad()
    def mapping(self, latent: Tensor, label: Tensor | None = None, *, truncation: float = 1.0, truncation_layers: int | None = None) -> Tensor:
        """(n, num_ws, w_dim) styles of latents (n, latent_dim); by default labels are drawn uniformly, always the same for one n."""
        device = next(self.generator.parameters()).device
        condition = self._sampling_condition(len(latent), label, None, torch.Generator().manual_seed(0))
        return self.generator.mapping(latent.to(device), None if condition is None else condition.to(device), truncation, truncation_layers)

    @torch.no_grad()
    def styles(self, n: int, *, seed: int, label: Tensor | None = None, **truncation) -> Tensor:
        """(n, num_ws, w_dim) styles of the latents and labels that ``sample`` draws with this seed."""
        generator = torch.Generator().manual_seed(seed)
        latent = self.draw_latent(n, generator)
        condition = self._sampling_condition(n, label, None, generator)
        device = next(self.generator.parameters()).device
        return self.generator.mapping(latent.to(device), None if condition is None else condition.to(device), **truncation)

    @torch.no_grad()
    def from_w(self, w: Tensor, label: Tensor | None = None) -> Tensor:
        """(n, *spec.shape) pictures of styles, (n, num_ws, w_dim) or (n, w_dim), with constant noise, not clamped. ``label`` has no part in it."""
        device = next(self.generator.parameters()).device
        return self.generator.synthesis(self._given(w, len(w)).to(device), None, "const").float()

    def _given(self, w: Tensor, n: int) -> Tensor:
        shape = (self.generator.num_ws, self.generator.w_dim)
        w = w[:, None].expand(-1, shape[0], -1) if w.dim() == 2 else w
        if tuple(w.shape) != (n, *shape):
            raise UserError("w has shape {given}. Expected {n} x {layers} x {length}, or {n} x {length}.",
                            given=tuple(w.shape), n=n, layers=shape[0], length=shape[1])  # fmt: skip
        return w.float()


def layer_numbers(text: str, count: int) -> Tensor:
    """``"0-3,6"``, ``"4-"`` -> (count,) booleans. Raises UserError for anything else."""
    chosen = torch.zeros(count, dtype=torch.bool)
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or last and not last.isdecimal() or int(first) >= count:
            raise UserError("'{text}' names no layers. Expected numbers from 0 to {last} such as 0-3,6 or 4-.", text=text, last=count - 1)
        chosen[int(first) : (int(last) if last else count - 1) + 1 if dash else int(first) + 1] = True
    return chosen
