"""What the games of super-resolution share: a pre-training stage on pixels alone, then pixels, a frozen network's maps and a discriminator together.

Networks and losses work on pictures in [0, 1], as BasicSR's and the published weights do; data come and go in [-1, 1].
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from agon.config import OptimizerConfig, require
from agon.data.source import Batch, DataSpec
from agon.errors import UserError
from agon.game import Context, Draws, Player, Stage, Terms, Update
from agon.networks.rrdb import RRDBNet
from agon.networks.srresnet import MSRResNet, SRResNet
from agon.networks.srvgg import SRVGGNetCompact
from agon.translation.config import Adversarial, Init, Norm
from agon.translation.eyes import PerceptualConfig, eyes_of
from agon.translation.game import TranslationGame

BASES = {"msrresnet": "bilinear", "srresnet": "none", "rrdb": "none", "srvgg": "nearest"}
"""What each network's output is added to where it was published."""


@dataclass(frozen=True, kw_only=True)
class SuperResolutionConfig(PerceptualConfig):
    batch_size: int = 16
    """Samples in one optimizer step, over all ranks and micro-batches together."""
    adversarial: Adversarial = "bce"
    """Objective between the players: least squares, cross-entropy, hinge or Wasserstein."""
    init: Init = "default"
    """Weights at the start: as the networks choose (residual branches small), N(0, 0.02), orthogonal, or Glorot uniform."""
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-4, beta1=0.9, beta2=0.99)
    network: Literal["msrresnet", "srresnet", "rrdb", "srvgg"] = "msrresnet"
    """Generator: SRResNet without norms (BasicSR's), SRGAN's own with batch norm, ESRGAN's residual dense blocks, or Real-ESRGAN's small one."""
    blocks: int = 16
    """Residual blocks of the generator (srvgg: convolutions)."""
    growth: int = 32
    """Maps that each dense layer adds (rrdb)."""
    base: Literal["published", "none", "bicubic", "bilinear", "nearest"] = "published"
    """What the generator's output is added to: nothing, or the input enlarged. Bicubic learns fastest."""
    generator_norm: Norm = "batch"
    """Norm of the generator srresnet; the others have none."""
    pretrain: float = 0.5
    """Fraction of the run, at its beginning, that trains the generator on pixels alone, in [0, 1]. 1: no adversarial stage."""
    pretrain_lr: float = 2e-4
    """Learning rate of that stage at its start."""
    pretrain_decay: float = 1.0
    """What the learning rate of that stage has been multiplied by at its end, by equal factors, in (0, 1]."""
    pixel: Literal["l1", "l2"] = "l1"
    """Difference of pixels in [0, 1]: absolute or squared."""
    pixel_weight: float = 1e-2
    """Weight of that difference in the adversarial stage (1 before)."""
    adversarial_weight: float = 1e-3
    """Weight of the adversarial term."""
    perceptual: Literal["none", "random", "vgg"] = "random"
    """Frozen network whose maps are compared: none, random convolutions (the declared substitute, agon/networks/vgg.py), or VGG-19 from vgg_weights."""
    perceptual_weight: float = 1.0
    """Weight of the difference of maps."""
    perceptual_distance: Literal["l1", "l2"] = "l1"
    """Absolute or squared difference of maps."""
    perceptual_seed: int = 0
    """Seed of the random convolutions."""
    perceptual_width: int = 32
    """Maps of the first of the random convolutions."""
    vgg_layers: str = "conv5_4:1"
    """Layers of VGG-19 that are compared, each with its weight, separated by commas."""

    def __post_init__(self):
        super().__post_init__()
        require(self.blocks >= 1, "blocks", self.blocks, "a number above 0")
        require(self.growth >= 1, "growth", self.growth, "a number above 0")
        require(self.perceptual_width >= 1, "perceptual_width", self.perceptual_width, "a number above 0")
        require(0 <= self.pretrain <= 1, "pretrain", self.pretrain, "a fraction in [0, 1]")
        require(self.pretrain_lr > 0, "pretrain_lr", self.pretrain_lr, "a number above 0")
        require(0 < self.pretrain_decay <= 1, "pretrain_decay", self.pretrain_decay, "a factor in (0, 1]")
        for name in ("pixel_weight", "adversarial_weight", "perceptual_weight"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "a number not below 0")
        require(re.fullmatch(r"\w+:[\d.e-]+(,\w+:[\d.e-]+)*", self.vgg_layers) is not None, "vgg_layers", self.vgg_layers, "names and weights: conv5_4:1")

    @property
    def layer_weights(self) -> dict[str, float]:
        """Name -> weight, of ``vgg_layers``."""
        pairs = (part.split(":") for part in self.vgg_layers.split(","))
        return {name: float(weight) for name, weight in pairs}


class SuperResolutionGame(TranslationGame):
    """Subclasses build ``self.discriminator`` (of pictures in [0, 1]) and state the adversarial terms."""

    def __init__(self, config: SuperResolutionConfig, spec: DataSpec):
        super().__init__(config, spec)
        self._check_sizes()
        self.generator = self._network()
        self.eyes = eyes_of(config, spec.shape[0], config.layer_weights, seed=config.perceptual_seed, width=config.perceptual_width)

    # --- the adversarial stage, stated by each game -----------------------------------------------------------------------------------

    def discriminator_terms(self, real: Tensor, fake: Tensor) -> Terms:
        """Named terms from the discriminator's logits."""
        return {"adversarial": self.objective.discriminator(real, fake)}

    def adversarial_term(self, real: Tensor, fake: Tensor) -> Tensor:
        """The adversarial loss of the generator (unweighted) for fake pictures, both in [0, 1]."""
        return self.objective.generator(self.discriminator(fake))

    def target(self, batch: Batch) -> Tensor:
        """What the generator is to arrive at, in [0, 1]; the discriminator is shown the pictures as they are."""
        return to_unit(batch.real)

    # --- who plays, and in what order -------------------------------------------------------------------------------------------------

    def players(self) -> dict[str, Player]:
        config = self.config
        players = {}
        if config.pretrain:
            last = config.pretrain_lr * config.pretrain_decay ** (1 / config.pretrain)  # where the line of the stage would be at the end of the run
            first = dataclasses.replace(config.optimizer, lr=config.pretrain_lr, schedule="geometric", lr_final=last, decay_start=0.0)
            players["pretraining"] = Player((self.generator,), first)
        return players | (super().players() if config.pretrain < 1 else {})

    def stages(self) -> list[Stage]:
        config = self.config
        if config.pretrain < 1 and self.eyes:
            self.eyes.check()
        first = [Stage("pretraining", (Update("pretraining", self.pretraining_loss),), round(config.pretrain * config.images))]
        second = [Stage("adversarial", (Update("generator", self.generator_loss),
                                        Update("discriminator", self.discriminator_loss, after=self.follow(self.discriminator))))]
        return (first if config.pretrain else []) + (second if config.pretrain < 1 else [])

    def pretraining_loss(self, batch: Batch, ctx: Context) -> Terms:
        """Pixels alone."""
        return {"pixel": self.pixels(self.make(batch), self.target(batch))}

    def generator_loss(self, batch: Batch, ctx: Context) -> Terms:
        config, target, fake = self.config, self.target(batch), self.make(batch)
        ctx.keep("fake", fake.detach())
        terms = {"adversarial": config.adversarial_weight * self.adversarial_term(to_unit(batch.real), fake)}
        if config.pixel_weight:
            terms["pixel"] = config.pixel_weight * self.pixels(fake, target)
        if self.eyes:
            terms["perceptual"] = config.perceptual_weight * self.eyes.difference(fake * 2 - 1, target * 2 - 1, config.perceptual_distance)
        return terms

    def discriminator_loss(self, batch: Batch, ctx: Context) -> Terms:
        fake = ctx.take("fake")
        real_out, fake_out = self.discriminator(to_unit(batch.real)), self.discriminator(fake)
        self.log_logits(real_out, fake_out, ctx)
        return self.discriminator_terms(real_out, fake_out)

    # --- pieces -----------------------------------------------------------------------------------------------------------------------

    def make(self, batch: Batch) -> Tensor:
        """Enlarged pictures in [0, 1], float32, not bounded."""
        return self.generator(to_unit(batch.source)).float()

    def pixels(self, fake: Tensor, real: Tensor) -> Tensor:
        return (F.l1_loss if self.config.pixel == "l1" else F.mse_loss)(fake, real)

    def render(self, source: Tensor, draws: Draws, **controls: Any) -> Tensor:
        return self.generator(to_unit(source)).float() * 2 - 1

    @property
    def multiple(self) -> int:
        """The residual dense blocks fold pictures that they enlarge by less than 4."""
        return self.generator.fold if self.config.network == "rrdb" else 1

    @property
    def reach(self) -> int:
        """Pixels of the input that the output depends on, in every direction."""
        config = self.config
        layers = {"msrresnet": 2 * config.blocks + 5, "srresnet": 2 * config.blocks + 12, "srvgg": config.blocks + 3,
                  "rrdb": (15 * config.blocks + 6) * self.multiple}  # fmt: skip
        return layers[config.network]

    def _network(self) -> nn.Module:
        config, channels, out = self.config, self.source_shape[0], self.spec.shape[0]
        base = BASES[config.network] if config.base == "published" else config.base
        common = {"channels": channels, "out_channels": out, "scale": self.scale, "width": config.width, "base": base}
        if config.network == "rrdb":
            return RRDBNet(blocks=config.blocks, growth=config.growth, **common)
        if config.network == "srvgg":
            return SRVGGNetCompact(convs=config.blocks, **common)
        if config.network == "srresnet":
            return SRResNet(blocks=config.blocks, norm=config.generator_norm, **common)
        return MSRResNet(blocks=config.blocks, **common)

    def _check_sizes(self) -> None:
        (inputs, *small), (outputs, *large) = self.source_shape, self.spec.shape
        if [side * self.scale for side in small] != large or inputs not in (1, outputs):
            raise UserError("{game} enlarges by a whole factor, and the inputs are {small}, the pictures {large}. Expected --data.input downscale:4 (or 2, 3).",
                            game=type(self).__name__, small="x".join(map(str, self.source_shape)), large="x".join(map(str, self.spec.shape)))  # fmt: skip


def to_unit(pictures: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1]."""
    return (pictures + 1) / 2
