"""Image-to-Image Translation with Conditional Adversarial Networks (Isola, Zhu, Zhou and Efros, 2017), https://arxiv.org/abs/1611.07004.

Learns from pairs what a picture or a map is to become: near its target (L1, weight 100) and, together with what it was made from, real to a discriminator of
patches. U-Net and 70-pixel PatchGAN, cross-entropy; Adam 2e-4, betas 0.5 and 0.999, batch size 1. As the authors' PyTorch code: the discriminator's loss is
halved and it moves first, dropout is the only noise, and a picture is translated as in training, with dropout and the batch statistics of that picture.

As options the networks and losses of pix2pixHD (Wang et al., 2018, https://arxiv.org/abs/1711.11585): ``network`` global or local (coarse to fine), several
``scales`` of the discriminator with ``feature_weight``, and a perceptual term; preset ``pix2pixhd``.

Differs from the authors' code: the learning rate falls linearly from half of the run on, step by step instead of epoch by epoch; maps come as one channel
for each class, not as colours; any size; a residual network, other objectives and norms by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from agon.config import OptimizerConfig, Preset, require
from agon.game import RecordedDraws, Stage, Update
from agon.losses.feature_matching import matched_layers
from agon.losses.penalties import r1
from agon.networks import pix2pixhd
from agon.networks.multiscale import MultiscaleDiscriminator
from agon.networks.patch import PatchDiscriminator
from agon.networks.resnet_translator import ResnetTranslator
from agon.networks.unet import UNet, fitting_depth
from agon.translation import TINY, TranslationGame
from agon.translation.config import Adversarial, Norm
from agon.translation.eyes import VGG_LAYERS, PerceptualConfig, eyes_of
from agon.translation.objectives import as_translators_weigh

Judged = list[list[Tensor]]


@dataclass(frozen=True, kw_only=True)
class Config(PerceptualConfig):
    adversarial: Adversarial = "bce"
    network: Literal["unet", "resnet", "global", "local"] = "unet"
    """The generator: a U-Net, the residual network of CycleGAN, or pix2pixHD's global network or that with local enhancers around it."""
    depth: int = 0
    """How often the U-Net halves its map. 0: as often as the pictures' sides allow, at most 8 times (256 pixels)."""
    blocks: int = 9
    """Residual blocks of the residual network."""
    downs: int = 4
    """Halvings of the global network before its blocks."""
    enhancers: int = 1
    """Local enhancers around the global network, each of twice its resolution."""
    norm: Norm = "batch"
    """Norm in the generator."""
    discriminator_norm: Literal["same", "batch", "instance", "none"] = "same"
    """Norm in the discriminator: the generator's, or another."""
    dropout: float = 0.5
    """Share of the U-Net's inner maps that is set to 0."""
    noisy_translation: bool = True
    """Whether dropout and batch statistics are those of training when pictures are translated (as the paper has it), each picture for itself."""
    patch_layers: int = 3
    """Halvings in the discriminator: patches of 16, 34, 70, 142 or 286 pixels for 1 to 5; 0: single pixels."""
    spectral_norm: bool = False
    """Whether the discriminator's weights are divided by their largest singular value."""
    penalty_weight: float = 0.0
    """Weight (gamma) of R1 on the targets (Mescheder et al. 2018), which keeps the players from circling. 0: off."""
    scales: int = 0
    """Sizes at which discriminators of their own judge a picture, as pix2pixHD's; their terms are added. 0: pix2pix's one discriminator."""
    l1_weight: float = 100.0
    """Weight of the mean absolute difference from the target."""
    feature_weight: float = 0.0
    """Weight of the difference between the discriminator's features of targets and made pictures (pix2pixHD: 10). 0: off."""
    optimizer: OptimizerConfig = OptimizerConfig(lr=2e-4, beta1=0.5, schedule="linear", decay_start=0.5)

    def __post_init__(self):
        super().__post_init__()
        require(self.depth == 0 or 2 <= self.depth <= 10, "depth", self.depth, "0 or a number from 2 to 10")
        require(self.blocks >= 0, "blocks", self.blocks, "a number not below 0")
        require(0 <= self.dropout < 1, "dropout", self.dropout, "a fraction in [0, 1)")
        require(0 <= self.patch_layers <= 6, "patch_layers", self.patch_layers, "a number from 0 to 6")
        for name in ("l1_weight", "penalty_weight", "feature_weight", "perceptual_weight", "scales", "downs", "enhancers"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "a number not below 0")


class Pix2Pix(TranslationGame):
    Config = Config
    presets = {
        "laptop": Preset(
            max_size=64, note="minutes on a CPU: agon train pix2pix --data shapes --data.size 64 --data.input segmentation",
            fields={
                "images": 10_000, "batch_size": 4, "width": 24, "discriminator_width": 24, "patch_layers": 2, "dropout": 0.0, "norm": "none",
                "init": "xavier", "l1_weight": 10.0, "feature_weight": 10.0, "penalty_weight": 100.0, "optimizer.lr": 5e-4, "discriminator_lr": 2e-4,
                "ema_half_life_images": 1000,
            },
        ),
        "image": Preset(
            fields={"images": 80_000}, note="as published for facades, 200 epochs of 400 pairs: agon train pix2pix --data my_pairs/ --data.size 256",
        ),
        "pix2pixhd": Preset(
            auto=False, note="as published: agon train pix2pix --preset pix2pixhd --data PICTURES --data.size 512x1024 --data.input MAPS --data.maps true "
            "--vgg_weights vgg19-dcbb9e9d.pth; then the same with --network local --width 32 --data.size 1024x2048 --from RUN",
            fields={"images": 595_000, "network": "global", "scales": 3, "adversarial": "lsgan", "norm": "instance", "l1_weight": 0.0, "feature_weight": 10.0,
                    "perceptual": "vgg"},
        ),
        "tiny": Preset(auto=False, fields=TINY | {"depth": 2, "patch_layers": 1}),
    }  # fmt: skip
    takes = ("picture", "map")
    objectives = staticmethod(as_translators_weigh)
    data_options = {"input": "auto"}

    def __init__(self, config, spec):
        super().__init__(config, spec)
        given, made, width = self.source_channels, spec.shape[0], config.discriminator_width or config.width
        self.judged_by = config.norm if config.discriminator_norm == "same" else config.discriminator_norm
        self.generator, self.multiple = self.network(given, made)
        if config.scales:
            further = {"layers": config.patch_layers, "scales": config.scales, "norm": self.judged_by}
            self.discriminator = MultiscaleDiscriminator(given + made, width=width, **further)
        else:
            self.discriminator = PatchDiscriminator(given + made, width, config.patch_layers, self.judged_by)
        self.eyes = eyes_of(config, made, VGG_LAYERS)
        self.start(self.generator)
        self.start(self.discriminator, spectral_norm=config.spectral_norm)

    def network(self, given: int, made: int) -> tuple[nn.Module, int]:
        """The generator, and what the sides of its pictures must be multiples of."""
        config = self.config
        if config.network == "unet":
            depth = config.depth or fitting_depth(self.spec.shape[1:], 8)
            return UNet(given, made, config.width, depth, config.norm, config.dropout), 2**depth
        if config.network == "resnet":
            return ResnetTranslator(given, made, config.width, config.blocks, config.norm), 4
        further = {"width": config.width, "downs": config.downs, "blocks": config.blocks, "enhancers": config.enhancers, "norm": config.norm}
        enhancers = config.enhancers if config.network == "local" else 0
        return pix2pixhd.generator(given, made, network=config.network, init=config.init, **further), 2 ** (config.downs + enhancers)

    def stages(self):
        if self.eyes:
            self.eyes.check()
        followed = self.follow(self.discriminator) if self.config.spectral_norm else None
        return [Stage("train", (Update("discriminator", self.discriminator_loss, after=followed), Update("generator", self.generator_loss)))]

    def make(self, source: Tensor, draws) -> Tensor:
        return self.generator(source, draws) if self.config.network == "unet" else self.generator(source)

    def judge(self, source: Tensor, *pictures: Tensor) -> list[Judged]:
        """What the discriminator finds in each of ``pictures`` beside ``source``: for each scale the maps of its layers, the logits last. Batch norm sees
        real and fake apart, as in the authors' code, the others see them at once."""
        pairs = [torch.cat([source, picture], 1) for picture in pictures]
        if self.judged_by == "batch":
            return [self.maps(pair) for pair in pairs]
        both = self.maps(torch.cat(pairs))
        return [[[maps.chunk(len(pairs))[i] for maps in scale] for scale in both] for i in range(len(pairs))]

    def maps(self, pair: Tensor) -> Judged:
        return self.discriminator(pair) if self.config.scales else [self.discriminator.features(pair)]

    def discriminator_loss(self, batch, ctx):
        source = self.encode(batch.source)
        draws = RecordedDraws(ctx) if ctx.split else ctx
        with torch.set_grad_enabled(not ctx.split):  # parts of a batch would keep all their graphs until the generator's turn
            fake = self.make(source, draws)
        ctx.keep(*("draws", draws.again()) if ctx.split else ("fake", fake))
        real, made = self.judge(source, batch.real, fake.detach())
        self.log_logits(real[0][-1], made[0][-1], ctx)
        terms = {"adversarial": sum(self.objective.discriminator(a[-1], b[-1]) for a, b in zip(real, made, strict=True))}
        if self.config.penalty_weight:
            terms["penalty"] = self.config.penalty_weight * r1(lambda picture: self.verdict(source, picture), batch.real)
        return terms

    def verdict(self, source: Tensor, picture: Tensor) -> Tensor:
        """(N,): the mean logit of a picture's patches."""
        return sum(scale[-1].mean((1, 2, 3)) for scale in self.maps(torch.cat([source, picture], 1)))

    def generator_loss(self, batch, ctx):
        source, fake = self.encode(batch.source), ctx.take("fake")
        if fake is None:
            fake = self.make(source, ctx.take("draws"))
        (made,), config = self.judge(source, fake), self.config
        terms = {"adversarial": sum(self.objective.generator(scale[-1]) for scale in made)}
        if config.l1_weight:
            terms["l1"] = config.l1_weight * (fake.float() - batch.real).abs().mean()
        if config.feature_weight:
            with torch.no_grad():  # behind the pass with gradients: autocast keeps the first cast of a weight
                (wanted,) = self.judge(source, batch.real)
            terms["feature_matching"] = config.feature_weight * matched_layers(wanted, made)
        if self.eyes:
            terms["perceptual"] = config.perceptual_weight * self.eyes.difference(fake, batch.real)
        return terms

    def render(self, source, draws):
        if not self.config.noisy_translation:
            return self.make(source, None)
        with own_statistics(self.generator):
            return torch.cat([self.make(one, draws) for one in source.split(1)])


@contextmanager
def own_statistics(network: nn.Module) -> Iterator[None]:
    """Batch norms take the statistics of what they are given, and keep no trace of it."""
    norms = [each for each in network.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    before = [(each.training, each.track_running_stats) for each in norms]
    for each in norms:
        each.training, each.track_running_stats = True, False
    try:
        yield
    finally:
        for each, (training, tracking) in zip(norms, before, strict=True):
            each.training, each.track_running_stats = training, tracking
