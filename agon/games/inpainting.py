"""Free-Form Image Inpainting with Gated Convolution (Yu et al., 2019), https://arxiv.org/abs/1806.03589, section 3.

Fills holes of any form in pictures. A generator of gated convolutions fills coarsely, then finely; the finer filling, pasted into the hole, is judged
together with the mask by a spectrally normalised patch discriminator with the hinge. With m the mask (1 missing), x the picture and c, f the two fillings,

    generator:      |c - x| * reconstruction_weight + |f - x| * reconstruction_weight - D(f m + x (1 - m), m) * adversarial_weight
    discriminator:  max(0, 1 - D(x, m)) + max(0, 1 + D(f m + x (1 - m), m))

``network=context_encoder`` is the older method (Pathak et al., 2016, https://arxiv.org/abs/1604.07379, equations 1 to 3): an encoder with a narrow middle,
squared error in the hole alone and cross-entropy, weighted 0.999 and 0.001; it has one size. Its discriminator is the same here, without spectral norm.

Differs from the authors' code: the mask is each sample's own, ``known_weight`` lets the reconstruction look at the hole more than at what is known, and the
refinement's contextual attention can be left out (``attention``), and both stages can add to a smooth interpolation (``smooth``): the preset for small
pictures does both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from agon.config import OptimizerConfig, Preset, require
from agon.errors import UserError
from agon.game import Stage, Update
from agon.networks.context_encoder import ContextEncoder
from agon.networks.gated import GatedInpainter, PatchCritic, paste, reach
from agon.translation import TINY, TranslationConfig, TranslationGame
from agon.translation.config import Adversarial, Init, Norm


@dataclass(frozen=True, kw_only=True)
class Config(TranslationConfig):
    images: int = 16_000_000
    batch_size: int = 16
    network: Literal["gated", "context_encoder"] = "gated"
    """Gated convolutions in two stages, or an encoder with a narrow middle."""
    width: int = 48
    """Channels of the generator's first layer (gated: before the gate, a multiple of 4)."""
    discriminator_width: int = 64
    discriminator_layers: int = 6
    """Convolutions of stride 2 in the discriminator."""
    spectral_norm: bool = True
    """Whether the discriminator's weights are divided by their largest singular value."""
    attention: bool = True
    """Whether the refinement copies patches of features from outside the hole (gated; sides must then be multiples of 8)."""
    smooth: bool = False
    """Whether the stages add to a smooth interpolation of the known pixels instead of making the hole from nothing (gated; published: no)."""
    dilations: tuple[int, ...] = (2, 4, 8, 16)
    """Of the dilated convolutions, on maps of a quarter of the picture's size (gated)."""
    bottleneck: int = 4000
    """Numbers in the middle of the context encoder."""
    norm: Norm = "batch"
    """Norm of the context encoder; the gated network has none."""
    adversarial: Adversarial = "hinge"
    reconstruction: Literal["l1", "l2"] = "l1"
    """Distance of a filling to the picture: absolute or squared."""
    reconstruction_weight: float = 1.0
    """Weight of the reconstruction (of both stages each)."""
    known_weight: float = 1.0
    """Weight of known pixels in the reconstruction, where a missing one has 1."""
    adversarial_weight: float = 1.0
    """Weight of the discriminator's verdict in the generator's loss."""
    init: Init = "default"
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-4)

    def __post_init__(self):
        super().__post_init__()
        require(self.network != "gated" or self.width % 4 == 0, "width", self.width, "a multiple of 4 with network=gated")
        require(1 <= self.discriminator_layers <= 8, "discriminator_layers", self.discriminator_layers, "a number from 1 to 8")
        require(self.bottleneck >= 1, "bottleneck", self.bottleneck, "a number above 0")
        for field in ("reconstruction_weight", "known_weight", "adversarial_weight"):
            require(getattr(self, field) >= 0, field, getattr(self, field), "a number not below 0")


class Inpainting(TranslationGame):
    Config = Config
    takes = ("hole",)
    data_options = {"input": "hole:mixed", "mirror": True}
    presets = {
        "small": Preset(
            max_size=128,
            fields={"images": 24_000, "batch_size": 8, "width": 24, "discriminator_width": 32, "discriminator_layers": 4, "attention": False, "smooth": True,
                    "dilations": (2, 4, 2, 4), "known_weight": 0.1, "adversarial_weight": 0.3, "optimizer.lr": 2e-4, "discriminator_lr": 5e-4,
                    "optimizer.schedule": "linear", "optimizer.decay_start": 0.5, "ema_half_life_images": 1000},
            note="agon train inpainting --data photos --data.crop 64 --data.zoom 0.4",
        ),
        "published": Preset(fields={}, note="Places2 at 256x256 as published: agon train inpainting --data PHOTOS --data.crop 256 (for a GPU)"),
        "context_encoder": Preset(
            auto=False,
            fields={"network": "context_encoder", "width": 64, "adversarial": "bce", "reconstruction": "l2", "reconstruction_weight": 0.999,
                    "adversarial_weight": 0.001, "known_weight": 0.0, "spectral_norm": False, "init": "normal", "optimizer.lr": 2e-3,
                    "discriminator_lr": 2e-4, "batch_size": 64},
            note="agon train inpainting --data PHOTOS --data.crop 128 --data.input hole:centre --preset context_encoder",
        ),
        "tiny": Preset(auto=False, fields=TINY | {"attention": False, "discriminator_layers": 2, "bottleneck": 8}),
    }  # fmt: skip

    def __init__(self, config: Config, spec):
        super().__init__(config, spec)
        channels, size = spec.shape[0], spec.shape[1:]
        if config.network == "gated":
            self.multiple = 8 if config.attention else 4
            self.reach = None if config.attention or config.smooth else reach(config.dilations)
            self.generator = GatedInpainter(channels, config.width, config.attention, config.smooth, config.dilations)
        else:
            self.fixed_size = True
            self.generator = ContextEncoder(size, channels, config.width, config.bottleneck, config.norm)
        if any(side % self.multiple for side in size):
            raise UserError("Pictures of {height} x {width} do not fit: sides must be multiples of {multiple}. Choose --data.size or --data.crop so.",
                            height=size[0], width=size[1], multiple=self.multiple)  # fmt: skip
        self.discriminator = PatchCritic(channels + 1, config.discriminator_width or config.width, config.discriminator_layers)
        self.start(self.generator)
        self.start(self.discriminator, spectral_norm=config.spectral_norm)

    def stages(self):
        followed = self.follow(self.discriminator) if self.config.spectral_norm else None
        return [Stage("train", (Update("discriminator", self.discriminator_loss, after=followed), Update("generator", self.generator_loss)))]

    def discriminator_loss(self, batch, ctx):
        fillings = self.fill(batch.source)
        if not ctx.split:  # with its graph: the generator's turn needs no second pass
            ctx.keep("fillings", fillings)
        real, fake = self.judge(torch.cat([batch.real, paste(batch.source, fillings[-1].detach())]), batch.source[:, -1:].repeat(2, 1, 1, 1)).chunk(2)
        self.log_logits(real, fake, ctx)
        return {"adversarial": self.objective.discriminator(real, fake)}

    def generator_loss(self, batch, ctx):
        fillings = ctx.take("fillings") or self.fill(batch.source)
        mask = batch.source[:, -1:]
        terms = {name: self.config.reconstruction_weight * self.difference(filling, batch.real, mask)
                 for name, filling in zip(("fine", "coarse"), reversed(fillings), strict=False)}  # fmt: skip
        verdict = self.judge(paste(batch.source, fillings[-1]), mask)
        return terms | {"adversarial": self.config.adversarial_weight * self.objective.generator(verdict)}

    def fill(self, source: Tensor) -> tuple[Tensor, ...]:
        """One filling (N, C, H, W) a stage of the network, the final one last."""
        made = self.generator(source)
        return made if isinstance(made, tuple) else (made,)

    def judge(self, pictures: Tensor, mask: Tensor) -> Tensor:
        """The discriminator's logits of whole pictures, which knows where they were filled."""
        return self.discriminator(torch.cat([pictures, mask], 1))

    def difference(self, made: Tensor, real: Tensor, mask: Tensor) -> Tensor:
        """Mean difference of the missing and, with ``known_weight``, the known pixels, each sample's weights adding up to 1."""
        error = made.float() - real
        error = (error.abs() if self.config.reconstruction == "l1" else error.square()).mean(1, keepdim=True)
        weight = mask + self.config.known_weight * (1 - mask)
        return ((error * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3)).clamp(min=1)).mean()

    def render(self, source, draws, **controls):
        """The hole filled, every known pixel as it was."""
        return paste(source, self.fill(source)[-1])
