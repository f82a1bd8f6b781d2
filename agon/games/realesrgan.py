"""Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data (Wang et al., 2021), https://arxiv.org/abs/2107.10833, section 3.

Enlarges pictures that have been blurred, made noisy and packed more than once: the inputs are made so (recipe ``realesrgan``), and a U-Net with spectral norm
judges every pixel. The generator's loss is

    |G(x) - y'| + distance of a frozen network's maps of G(x) and y' - 0.1 * log D(G(x)),

where y' is the picture y after unsharp masking, and the discriminator's the cross-entropy against y itself. Numbers as in the authors' code,
https://github.com/xinntao/Real-ESRGAN. Differences: the maps are those of random convolutions, the declared substitute, unless ``vgg_weights`` names VGG-19's
file (preset ``published``: conv1_2 to conv5_4 before the ReLU); the first stage (RealESRNet) is part of the same run; no pool of training pairs; a power
iteration follows each step, where the original takes one in every pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from agon.config import Preset
from agon.data.inputs.realesrgan import sharpened
from agon.data.source import Batch
from agon.networks.unet_discriminator import UNetDiscriminatorSN
from agon.translation import TINY
from agon.translation.super_resolution import SuperResolutionConfig, SuperResolutionGame


@dataclass(frozen=True, kw_only=True)
class Config(SuperResolutionConfig):
    network: Literal["msrresnet", "srresnet", "rrdb", "srvgg"] = "rrdb"
    """Generator: ESRGAN's residual dense blocks, SRResNet without norms (BasicSR's), SRGAN's own with batch norm, or Real-ESRGAN's small one."""
    blocks: int = 23
    """Blocks of the generator (srvgg: convolutions)."""
    pixel_weight: float = 1.0
    """Weight of the difference of pixels in the adversarial stage (1 before)."""
    adversarial_weight: float = 0.1
    """Weight of the adversarial term."""
    vgg_layers: str = "conv1_2:0.1,conv2_2:0.1,conv3_4:1,conv4_4:1,conv5_4:1"
    """Layers of VGG-19 that are compared, each with its weight, separated by commas."""
    sharpen: bool = True
    """Whether the generator is to arrive at sharpened pictures (unsharp masking). The discriminator always sees them as they are."""
    ema_half_life_images: int = 33_000
    """Half-life of the generator's moving average, in images (0.999 a step of 48)."""


class RealESRGAN(SuperResolutionGame):
    Config = Config
    data_options = {"input": "realesrgan:4", "crop": 128, "mirror": True}
    presets = {
        "small": Preset(
            note="agon train realesrgan --data photos (8 minutes of one core)",
            fields={"images": 12_800, "batch_size": 8, "pretrain": 0.625, "pretrain_lr": 1e-3, "pretrain_decay": 0.2, "network": "msrresnet", "width": 32,
                    "blocks": 4, "base": "bicubic", "init": "xavier", "discriminator_width": 16, "optimizer.lr": 2e-4, "adversarial_weight": 1e-2,
                    "perceptual_weight": 0.1, "ema_half_life_images": 500},
        ),
        "published": Preset(
            auto=False,
            note="agon train realesrgan --data PHOTOS --data.crop 256 --preset published --vgg_weights vgg19-dcbb9e9d.pth (1.4 million steps of 48: for GPUs)",
            fields={"images": 67_200_000, "batch_size": 48, "pretrain": 0.714, "perceptual": "vgg"},
        ),
        "tiny": Preset(auto=False, fields=TINY | {"blocks": 1, "growth": 2, "perceptual_width": 2, "pretrain": 0.2}),
    }  # fmt: skip

    def __init__(self, config: Config, spec):
        super().__init__(config, spec)
        self.discriminator = UNetDiscriminatorSN(spec.shape[0], config.discriminator_width or config.width)
        self.start(self.generator)

    def target(self, batch: Batch) -> Tensor:
        plain = super().target(batch)
        return sharpened(plain) if self.config.sharpen else plain
