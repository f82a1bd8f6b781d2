"""Projected GANs Converge Faster (Sauer, Chitta, Müller and Geiger, 2021), https://arxiv.org/abs/2111.01007.

The discriminator does not look at pictures but at what a frozen network makes of them: maps at four scales, mixed by random convolutions, with a small
discriminator on each. A network that was trained on many pictures makes the game learn in a fraction of the images. Hinge objective, spectral
normalisation, FastGAN's generator, augmentation of the discriminator's inputs.

Differs from the authors' code: the frozen network is a file that you name (they download EfficientNet-lite's weights); power iterations follow optimizer steps
instead of forward passes. Labels are not used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agon.config import OptimizerConfig, Preset, require
from agon.losses.adversarial import hinge_discriminator, hinge_generator
from agon.two_player import TINY, Layers, TwoPlayerConfig, TwoPlayerGame


@dataclass(frozen=True, kw_only=True)
class Config(TwoPlayerConfig):
    network: Literal["projected"] = "projected"
    latent_dim: int = 256
    width: int = 128
    """Channels of the generator at 128 pixels; 16 times as many at 4."""
    discriminator_width: int = 64
    """Channels of a map's discriminator after its first halving; up to eight times as many later."""
    lite: bool = False
    """One convolution at each of the generator's resolutions instead of two, without noise."""
    features: str = "random"
    """The frozen network: a TorchScript file from (N, 3, H, W) in [-1, 1] to a list of maps, finest first (it is executed), "digits" for the classifier of 8x8
    digits that comes along, or "random" for convolutions that were never trained."""
    features_seed: int = 0
    """Seed of the mixers and of random features, whatever the run's seed."""
    features_width: int = 32
    """Channels of the first map of random features; twice as many with every map."""
    feature_size: int = 0
    """Pictures whose shorter side is below are enlarged to it before the frozen network. 0: they stay."""
    mixing: Literal["none", "channel", "scale"] = "scale"
    """Random mixing of the maps: none, of channels, or of channels and then scales."""
    mixing_width: int = 64
    """Channels of the finest map after mixing; twice as many with every coarser one."""
    spectral_norm: Layers = "both"
    optimizer: OptimizerConfig = OptimizerConfig(lr=2e-4, beta1=0.0, beta2=0.99)
    diffaugment: str = "color,translation,cutout"
    ema_half_life_images: int = 20_000

    def __post_init__(self):
        super().__post_init__()
        for name in ("discriminator_width", "features_width", "mixing_width"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "a number above 0")
        require(self.feature_size >= 0, "feature_size", self.feature_size, "0 or a number of pixels")
        require(bool(self.features), "features", self.features, "a TorchScript file, random or digits")


CPU = {
    "latent_dim": 64, "width": 8, "lite": True, "discriminator_width": 16, "features_width": 16, "mixing_width": 16, "optimizer.lr": 1e-3,
    "optimizer.schedule": "linear", "ema_half_life_images": 10_000, "batch_size": 32,
}  # fmt: skip


class ProjectedGAN(TwoPlayerGame):
    Config = Config
    presets = {
        "digits": Preset(max_size=16, fields=CPU | {"images": 150_000, "base_size": 2, "diffaugment": ""}, note="agon train projectedgan --data digits"),
        "shapes": Preset(max_size=32, fields=CPU | {"images": 60_000, "diffaugment": "translation"}, note="agon train projectedgan --data shapes"),
        "image": Preset(
            fields={"images": 10_000_000, "feature_size": 224}, note="a GPU: agon train projectedgan --data my_pictures/ --features efficientnet.pt",
        ),
        "lite": Preset(
            auto=False, fields={"images": 10_000_000, "feature_size": 224, "lite": True}, note="the same with one convolution at each of the generator's sizes",
        ),
        "tiny": Preset(auto=False, fields=TINY | {
            "width": 1, "discriminator_width": 4, "features_width": 4, "mixing_width": 4, "generator_norm": "none", "discriminator_norm": "none",
            "diffaugment": "",
        }),
    }  # fmt: skip

    def make(self, latent, condition, draws):
        return self.generator(latent, condition, draws)

    def render(self, latent, condition, draws):
        return self.generator(latent, condition, draws)

    def logits(self, outputs):
        return outputs.mean(1)

    def discriminator_terms(self, real, fake, batch):
        return {"adversarial": hinge_discriminator(real, fake)}

    def generator_terms(self, fake, real, batch):
        return {"adversarial": hinge_generator(fake)}
