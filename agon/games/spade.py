"""Semantic Image Synthesis with Spatially-Adaptive Normalization (Park, Liu, Wang and Zhu, 2019), https://arxiv.org/abs/1903.07291.

Paints pictures from label maps: the map gives every normalised feature its gain and shift at every place, so that it is not washed out. The generator is
judged at two scales, beside the map (hinge), and is to give the discriminator the features that the real picture gives (weight 10), and a frozen
network too, where one is given (weight 10). With an encoder (``encoder=true``) the generator starts from a latent, for which the encoder reads
a distribution off the real picture (KL divergence, summed, weight 0.05): many pictures for one map. Spectral norm in both players, Adam with betas 0 and 0.9,
learning rates 1e-4 and 4e-4.

Differs from the authors' code: the discriminator judges the pictures that the generator's turn has just made, not new ones of the moved generator; VGG-19 is
given pictures normalised as it was trained; power iterations follow optimizer steps; the learning rate falls step by step; fewer doublings for small pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from agon.config import OptimizerConfig, Preset, require
from agon.game import Draws, Player, Stage, Update
from agon.losses.feature_matching import matched_layers
from agon.losses.kl import kl_to_standard_normal
from agon.networks.sizes import doublings
from agon.networks.spade import FULL, MAX_DOUBLINGS, SPADEEncoder, SPADEGenerator, discriminator
from agon.translation import TINY, TranslationGame
from agon.translation.config import Adversarial, Init, Norm
from agon.translation.eyes import VGG_LAYERS, PerceptualConfig, eyes_of

FALLING = {"optimizer.schedule": "linear", "optimizer.decay_start": 0.5}


@dataclass(frozen=True, kw_only=True)
class Config(PerceptualConfig):
    batch_size: int = 32
    adversarial: Adversarial = "hinge"
    init: Init = "default"
    """Weights at the start: Glorot's normal rule with gain 0.02 (default), N(0, 0.02), orthogonal, or Glorot uniform."""
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-4, beta1=0.0, beta2=0.9)
    discriminator_lr: float | None = 4e-4
    doublings: int = 0
    """How often the generator doubles the resolution; 5, 6 and 7 are the authors' normal, more and most. 0: up to 5, from 4 pixels or more."""
    hidden: int = 128
    """Channels between the map and the gains and shifts."""
    norm: Norm = "batch"
    """What is done to features before the map's gains and shifts: batch norm (as published), instance norm or nothing."""
    scales: int = 2
    """At how many sizes the discriminator judges a picture."""
    patch_layers: int = 3
    """Halvings in each of its networks."""
    feature_weight: float = 10.0
    """Weight of the distance between the discriminator's features of real and made pictures."""
    encoder: bool = False
    """Whether a latent, and an encoder that reads it off real pictures, let one map become many pictures."""
    latent_dim: int = 256
    """Length of the latent, with an encoder."""
    kl_weight: float = 0.05
    """Weight of the encoder's KL divergence, a sum over the latent's numbers and the whole batch (the authors': over each GPU's part, 4 pictures)."""

    def __post_init__(self):
        super().__post_init__()
        require(0 <= self.doublings <= MAX_DOUBLINGS, "doublings", self.doublings, "0 or a number from 1 to 7")
        for name in ("hidden", "scales", "patch_layers", "latent_dim"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "a number above 0")
        for name in ("feature_weight", "perceptual_weight", "kl_weight"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "a number not below 0")


class SPADE(TranslationGame):
    Config = Config
    presets = {
        "shapes": Preset(
            max_size=64, note="minutes on a CPU: agon train spade --data shapes --data.size 64 --data.input segmentation",
            fields={
                "images": 7_500, "batch_size": 4, "width": 8, "discriminator_width": 16, "hidden": 16, "patch_layers": 2, "norm": "instance",
                "feature_weight": 30.0, "optimizer.lr": 1e-3, "discriminator_lr": 1e-3, "ema_half_life_images": 400, **FALLING,
            },
        ),
        "image": Preset(fields={"images": 4_000_000, **FALLING}, note="as ade20k, without VGG-19"),
        "ade20k": Preset(
            auto=False, note="as published: agon train spade --preset ade20k --data ADE20K --data.size 256 --data.input MAPS --vgg_weights vgg19-dcbb9e9d.pth",
            fields=FALLING | {"perceptual": "vgg", "images": 200 * 20_210},
        ),
        "coco": Preset(auto=False, note="as published, COCO-Stuff with instance edges, 256 pixels", fields={"perceptual": "vgg", "images": 100 * 118_287}),
        "cityscapes": Preset(
            auto=False, note="as published: --data.size 256x512, instance edges", fields=FALLING | {"perceptual": "vgg", "images": 200 * 2_975, "doublings": 6},
        ),
        "tiny": Preset(auto=False, fields=TINY | {"doublings": 2, "hidden": 4, "patch_layers": 1, "scales": 1, "discriminator_lr": None}),
    }  # fmt: skip
    takes = ("map",)
    data_options = {"input": "auto", "maps": True}

    def __init__(self, config: Config, spec):
        super().__init__(config, spec)
        times = config.doublings or min(FULL, doublings(spec)[0])
        given, made, latent_dim = self.source_channels, spec.shape[0], config.latent_dim if config.encoder else 0
        self.generator = SPADEGenerator(
            given, made, size=spec.shape[1:], width=config.width, doublings=times, norm=config.norm, hidden=config.hidden, latent_dim=latent_dim,
        )  # fmt: skip
        self.discriminator = discriminator(given + made, width=config.discriminator_width or config.width, layers=config.patch_layers, scales=config.scales)
        side = min(256, max(8, 1 << (max(spec.shape[1:]).bit_length() - 1)))
        self.encoder = SPADEEncoder(made, width=config.width, latent_dim=latent_dim, side=side) if config.encoder else None
        self.multiple, self.fixed_size = 2**times, config.encoder
        self.start(*self.makers(), self.discriminator)
        self.eyes = eyes_of(config, made, VGG_LAYERS)

    def makers(self):
        return (self.generator,) if self.encoder is None else (self.generator, self.encoder)

    def players(self):
        return super().players() | {"generator": Player(self.makers(), self.config.optimizer)}

    def stages(self):
        if self.eyes:
            self.eyes.check()
        turns = (
            Update("generator", self.generator_loss, after=self.follow(*self.makers())),
            Update("discriminator", self.discriminator_loss, after=self.follow(self.discriminator)),
        )
        return [Stage("train", turns)]

    def judge(self, source: Tensor, picture: Tensor) -> list[list[Tensor]]:
        """For each scale the features and, last, the logits of ``picture`` beside ``source``."""
        return self.discriminator(torch.cat([source, picture], 1))

    def generator_loss(self, batch, ctx):
        config, source, terms, latent = self.config, self.encode(batch.source), {}, None
        if self.encoder is not None:
            mean, log_variance = self.encoder(batch.real)
            latent = mean + (0.5 * log_variance).exp() * ctx.normal(*mean.shape)
            terms["kl"] = config.kl_weight * ctx.place[1] * kl_to_standard_normal(mean, log_variance)
        fake = self.generator(source, latent)
        ctx.keep("fake", fake.detach())
        judged = self.judge(source, fake)
        terms["adversarial"] = sum(self.objective.generator(maps[-1]) for maps in judged) / len(judged)
        if config.feature_weight:
            with torch.no_grad():
                wanted = self.judge(source, batch.real)
            terms["feature_matching"] = config.feature_weight * matched_layers(wanted, judged)
        if self.eyes:
            terms["perceptual"] = config.perceptual_weight * self.eyes.difference(fake, batch.real)
        return terms

    def discriminator_loss(self, batch, ctx):
        source, fake = self.encode(batch.source), ctx.take("fake")
        real_out, fake_out = ([maps[-1] for maps in self.judge(source, each)] for each in (batch.real, fake))
        self.log_logits(real_out[0], fake_out[0], ctx)
        return {"adversarial": sum(map(self.objective.discriminator, real_out, fake_out)) / len(real_out)}

    def render(self, source: Tensor, draws: Draws):
        return self.generator(source, draws.normal(len(source), self.config.latent_dim) if self.encoder is not None else None)
