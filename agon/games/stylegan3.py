"""Alias-Free Generative Adversarial Networks (Karras et al., 2021), https://arxiv.org/abs/2106.12423.

A generator that treats pictures as continuous functions: no layer can make frequencies that its sampling rate cannot hold, so details follow what they
belong to instead of sticking to pixels. Configuration T is equivariant to translation, R to rotation as well (section 3, table 3). Non-saturating logistic
objective with lazy R1 and StyleGAN2's discriminator; no noise, no mixing of styles, no path length.

Differs from the authors' code: discriminator and generator are trained on the same fakes in a step, made once; running means (of w, and of the square of
each layer's input) move once a step for the whole batch. As in that code, R's discriminator sees blurred pictures at first (appendix A.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from agon.config import OptimizerConfig, Preset, require
from agon.losses.adversarial import cross_entropy_discriminator, non_saturating_generator
from agon.networks.stylegan3 import blur, motion
from agon.two_player import TINY
from agon.two_player.style import StyleConfig, StyleGame


@dataclass(frozen=True, kw_only=True)
class Config(StyleConfig):
    network: Literal["stylegan3"] = "stylegan3"
    mapping_layers: int = 2
    num_layers: int = 14
    """Layers of the generator between the Fourier features and the picture."""
    num_critical: int = 2
    """How many of them, at the end, use all frequencies that their sampling rate can hold."""
    margin: int = 10
    """Pixels beyond each edge of the picture that layers keep, so that its edges tell nothing."""
    kernel: int = 3
    """Side of the convolutions: 3 (T) or 1 (R)."""
    radial: bool = False
    """Radially symmetric filters (R), but for the critical layers."""
    output_scale: float = 0.25
    """The last layer's output times this is the picture."""
    channel_base: int = 32768
    """Channels are channel_base / r, up to channel_max; r: pixels in the discriminator, twice the cutoff frequency in the generator."""
    generator_channels: int = 1
    """Factor on channel_base and channel_max in the generator (R: 2)."""
    magnitude_images: float = 20_000
    """Half-life, in images, of the mean square by which a layer's input is divided."""
    w_decay: float = 0.998
    blur_sigma: float = 0.0
    """Blur, in pixels, of what the discriminator sees at the start (R: 10)."""
    blur_fade_images: float = 200_000
    """Images until it has gone."""
    optimizer: OptimizerConfig = OptimizerConfig(lr=2.5e-3, beta1=0.0, beta2=0.99)
    discriminator_lr: float | None = 2e-3
    penalty_weight: float = 8.0
    """gamma: R1 adds gamma / 2 |grad D|^2 on real samples. The authors: 2 at 256 pixels, times 4 with every doubling."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("generator_channels", "kernel", "num_critical"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "a number above 0")
        for name in ("mapping_lr", "magnitude_images", "blur_fade_images", "output_scale"):
            require(getattr(self, name) > 0, name, getattr(self, name), "a number above 0")
        for name in ("margin", "blur_sigma"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        require(self.num_layers > self.num_critical, "num_layers", self.num_layers, f"more than num_critical, {self.num_critical}")


T = {"images": 25_000_000, "batch_size": 32, "ema_half_life_images": 10_000, "ema_rampup": 0.05, "ada": "bgc", "precision": "fp16"}
"""The authors' configurations; the presets' micro-batches are those that they give for one GPU."""
R = T | {"kernel": 1, "radial": True, "generator_channels": 2, "blur_sigma": 10.0}
LIGHT = {
    "latent_dim": 64, "w_dim": 64, "batch_size": 16, "num_layers": 5, "num_critical": 1, "margin": 2, "channel_base": 512, "channel_max": 64,
    "images": 26_000, "ema_half_life_images": 2_000, "magnitude_images": 2_000, "penalty_weight": 0.5, "optimizer.lr": 4e-3, "log_every": 20,
}  # fmt: skip
"""Small pictures on a CPU within minutes."""


class StyleGAN3(StyleGame):
    Config = Config
    smooths_labels = True
    controls = tuple(name for name in StyleGame.controls if name != "noise") + ("rotation", "translation")
    presets = {
        "digits": Preset(max_size=16, fields=LIGHT | {"num_layers": 4, "channel_base": 256, "images": 60_000}),
        "shapes": Preset(max_size=32, fields=LIGHT | {"conditional": False}, note="agon train stylegan3 --data shapes"),
        "image": Preset(fields=T | {"images": 10_000_000, "micro_batch_size": 16, "channel_base": 16384, "penalty_weight": 2.0},
                        note="a GPU: agon train stylegan3 --data my_pictures/ --data.size 256"),
        "t256": Preset(auto=False, fields=T | {"micro_batch_size": 16, "penalty_weight": 2.0}),
        "t512": Preset(auto=False, fields=T | {"micro_batch_size": 8, "penalty_weight": 8.0}),
        "t1024": Preset(auto=False, fields=T | {"micro_batch_size": 4, "penalty_weight": 32.0}),
        "r256": Preset(auto=False, fields=R | {"micro_batch_size": 8, "penalty_weight": 2.0}),
        "r512": Preset(auto=False, fields=R | {"micro_batch_size": 4, "penalty_weight": 8.0}),
        "r1024": Preset(auto=False, fields=R | {"micro_batch_size": 4, "penalty_weight": 32.0}),
        "tiny": Preset(auto=False, fields=TINY | {
            "w_dim": 8, "mapping_layers": 1, "discriminator_mapping_layers": 1, "num_layers": 2, "num_critical": 1, "margin": 1, "channel_base": 32,
            "channel_max": 8, "penalty_every": 2}),
    }  # fmt: skip

    def seen(self, samples, ctx):
        fading = 1 - ctx.num_images / self.config.blur_fade_images
        return super().seen(blur(samples, self.config.blur_sigma * fading) if self.config.blur_sigma and fading > 0 else samples, ctx)

    def render(self, latent, condition, draws, *, rotation: float = 0.0, translation: tuple[float, float] = (0.0, 0.0), **controls) -> Tensor:
        """Besides StyleGAN's controls, ``rotation`` (counter-clockwise, in turns) and ``translation`` (right, down, in shorter sides) of the picture."""
        with self.generator.synthesis.input.moved(motion(rotation, translation)):
            return super().render(latent, condition, draws, **controls)

    def discriminator_terms(self, real, fake, batch):
        return {"adversarial": cross_entropy_discriminator(real, fake, self.config.label_smoothing)}

    def generator_terms(self, fake, real, batch):
        return {"adversarial": non_saturating_generator(fake)}
