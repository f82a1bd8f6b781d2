"""Analyzing and Improving the Image Quality of StyleGAN (Karras et al., 2020), https://arxiv.org/abs/1912.04958.

A mapping network turns latents into styles, which scale the weights of a convolutional generator; a residual discriminator, R1 every 16th step and path
length regularisation every 4th. Non-saturating logistic objective (section 4; figure 7: skip generator, residual discriminator). With few pictures add
`--ada bgc` (Karras et al. 2020, https://arxiv.org/abs/2006.06676).

Differs from the authors' code: discriminator and generator are trained on the same fakes in a step, made once; whether styles are mixed, and where, is
drawn for each sample and not for the batch; path length is measured on every other sample of the batch, its running mean follows all ranks.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from agon.config import OptimizerConfig, Preset, require
from agon.game import EveryNth, Stage, Update
from agon.layers.running_mean import RunningMean
from agon.losses.adversarial import cross_entropy_discriminator, non_saturating_generator
from agon.losses.penalties import path_lengths
from agon.two_player import TINY
from agon.two_player.style import Architecture, StyleConfig, StyleGame


@dataclass(frozen=True, kw_only=True)
class Config(StyleConfig):
    network: Literal["stylegan2"] = "stylegan2"
    mapping_layers: int = 8
    """Layers of the mapping network (the -ada presets have 2)."""
    generator_architecture: Architecture = "skip"
    """How the generator makes a picture of its resolutions."""
    noise: bool = True
    """Whether each layer adds noise of learnt strength."""
    mixing: float = 0.9
    """Probability that a sample's styles come from two latents."""
    path_length_weight: float = 2.0
    """Weight of path length regularisation. 0: off."""
    path_length_every: int = 4
    """Steps between two path length steps."""
    path_length_decay: float = 0.01
    """How far the mean path length moves towards the batch's."""
    path_length_shrink: int = 2
    """The batch is divided by this for path length."""
    freeze_discriminator: int = 0
    """Resolutions of the discriminator, from the finest, that stay as they are (Mo et al. 2020), to continue from other weights."""
    optimizer: OptimizerConfig = OptimizerConfig(lr=2e-3, beta1=0.0, beta2=0.99)

    def __post_init__(self):
        super().__post_init__()
        for name in ("path_length_every", "path_length_shrink"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "a number above 0")
        for name in ("path_length_weight", "freeze_discriminator"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        require(0 <= self.mixing <= 1, "mixing", self.mixing, "a probability")
        require(0 < self.path_length_decay <= 1, "path_length_decay", self.path_length_decay, "a fraction in (0, 1]")


ADA = {"ada": "bgc", "precision": "fp16", "ema_rampup": 0.05, "images": 25_000_000}
PAPER = ADA | {"optimizer.lr": 2.5e-3, "ema_half_life_images": 20_000, "ema_rampup": 0.0, "minibatch_std": 8}
"""The authors' configurations; micro-batches are what each of their GPUs held, over which minibatch deviation and path length were taken."""
LIGHT = {
    "latent_dim": 64, "w_dim": 64, "mapping_layers": 2, "batch_size": 32, "channel_base": 1024, "channel_max": 64, "optimizer.lr": 4e-3,
    "optimizer.schedule": "linear", "optimizer.decay_start": 0.5, "optimizer.lr_final": 5e-4, "images": 96_000, "ema_half_life_images": 5_000,
    "penalty_weight": 1.0, "path_length_every": 8, "log_every": 20,
}  # fmt: skip
"""Small pictures on a CPU within minutes. Less R1 lets the discriminator run away (docs/log.md)."""
FEW = LIGHT | {"images": 40_000, "conditional": False, "ada": "bgc", "ada_images": 20_000}


class StyleGAN2(StyleGame):
    Config = Config
    smooths_labels = True
    presets = {
        "digits": Preset(max_size=16, fields=LIGHT | {"channel_base": 512}),
        "shapes": Preset(max_size=32, fields=LIGHT | {"conditional": False}, note="agon train stylegan2 --data shapes"),
        "few": Preset(max_size=32, auto=False, fields=FEW, note="a hundred small pictures: agon train stylegan2 --data my_pictures/ --preset few"),
        "image": Preset(fields={"images": 10_000_000, "channel_base": 16384, "mapping_layers": 2, "batch_size": 32, "micro_batch_size": 16, "ada": "bgc",
                                "penalty_weight": 1.0,
                                "precision": "fp16"},
                        note="a GPU: agon train stylegan2 --data my_pictures/ --data.size 256"),
        "config_f": Preset(auto=False, note="the paper's configuration F", fields={
            "images": 25_000_000, "batch_size": 32, "micro_batch_size": 4, "precision": "fp32", "clamp": 0.0, "ema_rampup": 0.0}),
        "paper256": Preset(auto=False, fields=PAPER | {"batch_size": 64, "micro_batch_size": 8, "channel_base": 16384, "penalty_weight": 1.0}),
        "paper512": Preset(auto=False, fields=PAPER | {"batch_size": 64, "micro_batch_size": 8, "penalty_weight": 0.5}),
        "paper1024": Preset(auto=False, fields=PAPER | {
            "batch_size": 32, "micro_batch_size": 4, "optimizer.lr": 2e-3, "penalty_weight": 2.0, "minibatch_std": 4, "ema_half_life_images": 10_000}),
        "cifar": Preset(auto=False, fields=ADA | {
            "images": 100_000_000, "batch_size": 64, "micro_batch_size": 32, "mapping_layers": 2, "optimizer.lr": 2.5e-3, "penalty_weight": 0.01,
            "ema_half_life_images": 500_000, "minibatch_std": 32, "path_length_weight": 0.0, "mixing": 0.0,
            "discriminator_architecture": "orig", "precision": "fp32"}),
        "tiny": Preset(auto=False, fields=TINY | {"w_dim": 8, "mapping_layers": 2, "channel_base": 64, "channel_max": 8, "penalty_every": 2,
                                                  "path_length_every": 2, "optimizer.lr": 2e-3}),
    }  # fmt: skip

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.mixing = config.mixing
        self.generator.mapping.w_avg.decay = config.w_decay
        self.path_length = RunningMean(decay=1 - config.path_length_decay)

    def stages(self):
        (stage,) = super().stages()
        if not self.config.path_length_weight:
            return [stage]
        lazy = Update("generator", self.path_length_loss, every=self.config.path_length_every, after=self.after_path_length)
        return [Stage(stage.name, (*stage.updates, lazy))]

    def players(self):
        players = super().players()
        theirs = players["discriminator"]
        if self.config.freeze_discriminator:
            blocks = [(int(name[1:]), name) for name, _ in self.discriminator.named_children() if name[1:].isdecimal()]
            require(self.config.freeze_discriminator < len(blocks), "freeze_discriminator", self.config.freeze_discriminator, "fewer than the resolutions")
            frozen = {name for _, name in sorted(blocks, reverse=True)[: self.config.freeze_discriminator]}
            moving = tuple(module for name, module in self.discriminator.named_children() if name not in frozen)
            theirs = dataclasses.replace(theirs, modules=(*moving, self.options))
        return players | {"discriminator": theirs}

    def batch_coupled(self):
        return super().batch_coupled() + (["path_length"] if self.config.path_length_weight and self.config.path_length_decay > 1e-6 else [])

    def after_path_length(self, ctx):
        self.path_length.settle(ctx.mean_over_ranks)
        self.after_generator(ctx)

    def discriminator_terms(self, real, fake, batch):
        return {"adversarial": cross_entropy_discriminator(real, fake, self.config.label_smoothing)}

    def generator_terms(self, fake, real, batch):
        return {"adversarial": non_saturating_generator(fake)}

    def path_length_loss(self, batch, ctx):
        """(|J^T y| - a)^2 with a running mean a of the lengths (section 3.2, equation 4)."""
        step = min(self.config.path_length_shrink, len(batch))
        draws = EveryNth(ctx, len(batch), step)
        condition = self.condition(batch)
        latent, noise = self.latent(len(batch), ctx)[::step], ctx.normal(len(batch), *self.spec.shape)[::step]
        w = self.generator.mapping(latent, None if condition is None else condition[::step])
        lengths = path_lengths(lambda styles: self.generator.synthesis(styles, draws, "random"), w, noise)
        # the mean moves before the penalty is formed, as published
        mean = self.path_length.value.lerp(lengths.mean(), self.config.path_length_decay)
        self.path_length.observe(lengths)
        ctx.log("generator/path_length", lengths.mean())
        return {"path_length": self.config.path_length_weight * (lengths - mean).square().mean()}
