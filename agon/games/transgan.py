"""TransGAN: Two Pure Transformers Can Make One Strong GAN, and That Can Scale Up (Jiang, Chang and Wang, 2021), https://arxiv.org/abs/2102.07074.

Generator and discriminator are Transformers without a convolution beyond patches and colours; augmentation of the discriminator's inputs
replaces the built-in bias of convolutions. Wasserstein objective with gradient penalty (Gulrajani et al. 2017) and a drift term that keeps D(x) near 0
(Karras et al. 2018), gradients clipped to a norm of 5, four or five discriminator steps a turn.

Differs from the authors' code: the drift term is the mean of D(x)^2, theirs the square of the batch's mean, which would depend on how a batch is split; both
turns have the same batch (theirs doubles the generator's); STL-10's "erase" is cutout. Labels are not used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agon.config import OptimizerConfig, Preset, require
from agon.losses.adversarial import wasserstein_critic, wasserstein_generator
from agon.two_player import TINY, Norm, Penalty, TwoPlayerConfig, TwoPlayerGame


@dataclass(frozen=True, kw_only=True)
class Config(TwoPlayerConfig):
    network: Literal["transgan"] = "transgan"
    latent_dim: int = 256
    width: int = 1024
    """Channels at the generator's first resolution; every pixel shuffle leaves a quarter."""
    discriminator_width: int = 384
    """Channels of the discriminator: three quarters from the finer patches, one from the coarser."""
    base_size: int = 8
    depth: tuple[int, ...] = (5, 4, 2)
    """Blocks of the generator at each resolution, from the lowest up; the last number also for those above."""
    discriminator_depth: int = 3
    """Blocks of the discriminator for each of its two patch sizes."""
    heads: int = 4
    """Attention heads of the generator."""
    discriminator_heads: int = 4
    """Attention heads of the discriminator."""
    patch: int = 2
    """Side, in pixels, of the finer patches (the coarser have twice as much); smaller where the sides cannot be divided by it."""
    whole: int = 48
    """Longest side, in tokens, of a map that is attended to as a whole."""
    window: int = 16
    """Longest side, in tokens, of the windows in which larger maps are attended to."""
    pixel_shuffles: int = 2
    """The last so many doublings shuffle pixels, earlier ones are bicubic."""
    norm: Literal["layer", "pixel"] = "layer"
    """Normalisation in both players (STL-10: pixel)."""
    drift: float = 1e-3
    """Weight of the mean of D(x)^2 on real samples."""
    generator_norm: Norm = "none"
    discriminator_norm: Norm = "none"
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-4, beta1=0.0, beta2=0.99)
    num_critic: int = 4
    penalty: Penalty = "wgan_gp"
    clip_grad_norm: float = 5.0
    diffaugment: str = "translation,cutout,color"
    ema_half_life_images: int = 500_000
    ema_rampup: float = 0.1

    def __post_init__(self):
        super().__post_init__()
        for name in ("discriminator_depth", "heads", "discriminator_heads", "patch", "whole", "window"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "a number above 0")
        require(bool(self.depth) and min(self.depth) >= 1, "depth", self.depth, "numbers above 0, such as 5,4,2")
        unit = 4 * self.discriminator_heads
        require(self.discriminator_width % unit == 0 < self.discriminator_width, "discriminator_width", self.discriminator_width,
                "a multiple of four times discriminator_heads")  # fmt: skip
        require(self.pixel_shuffles >= 0, "pixel_shuffles", self.pixel_shuffles, "0 or more")
        require(self.drift >= 0, "drift", self.drift, "0 or more")


CPU = {
    "latent_dim": 64, "heads": 2, "discriminator_heads": 2, "discriminator_width": 64, "discriminator_depth": 1, "base_size": 4, "num_critic": 4,
    "optimizer.lr": 5e-4, "discriminator_lr": 1e-3, "optimizer.schedule": "linear", "ema_half_life_images": 10_000, "batch_size": 32,
}  # fmt: skip
"""Small Transformers that a CPU trains in minutes. With one discriminator step a turn and equal learning rates the critic falls behind: on digits it rated
fakes above real samples for the whole run, and the Fréchet distance stayed at 9.5."""


class TransGAN(TwoPlayerGame):
    Config = Config
    presets = {
        "digits": Preset(max_size=16, fields=CPU | {
            "images": 200_000, "width": 128, "depth": (2, 1), "pixel_shuffles": 1, "diffaugment": "",
        }, note="agon train transgan --data digits"),
        "shapes": Preset(max_size=32, fields=CPU | {
            "images": 26_000, "width": 256, "depth": (2, 1, 1), "patch": 4, "whole": 8, "window": 8, "num_critic": 2,
            "diffaugment": "translation",
        }, note="agon train transgan --data shapes"),
        "image": Preset(fields={"images": 50_000_000, "micro_batch_size": 16, "patch": 4}, note="a GPU: agon train transgan --data my_pictures/"),
        "cifar10": Preset(auto=False, fields={"images": 128_000_000, "batch_size": 64}, note="agon train transgan --data cifar10 --preset cifar10"),
        "stl10": Preset(auto=False, fields={
            "images": 80_000_000, "batch_size": 32, "base_size": 12, "latent_dim": 512, "depth": (7, 5, 3), "norm": "pixel", "num_critic": 5,
            "ema_rampup": 0.05,
        }, note="48x48: agon train transgan --data stl10 --data.size 48 --preset stl10"),
        "tiny": Preset(auto=False, fields=TINY | {
            "width": 32, "discriminator_width": 16, "depth": (1,), "discriminator_depth": 1, "heads": 1, "discriminator_heads": 2, "patch": 2, "num_critic": 1,
            "diffaugment": "",
        }),
    }  # fmt: skip

    def prepare(self, ctx):
        self.discriminator.draws = ctx

    def _judge(self, real, fake, condition):
        # one pass each, so that a sample's noise is the same however the batch is split
        return self.discriminator(real), self.discriminator(fake)

    def discriminator_terms(self, real, fake, batch):
        terms = {"wasserstein": wasserstein_critic(real, fake)}
        return terms | ({"drift": self.config.drift * real.float().square().mean()} if self.config.drift else {})

    def generator_terms(self, fake, real, batch):
        return {"wasserstein": wasserstein_generator(fake)}
