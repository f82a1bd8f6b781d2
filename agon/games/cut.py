"""Contrastive Learning for Unpaired Image-to-Image Translation (Park, Efros, Zhang and Zhu, 2020), https://arxiv.org/abs/2007.15651.

Learns from two sets of pictures, without pairs, to translate one way: a patch of the result must be told, among the patches of the picture it was made from,
to belong to the one at its own place (equation 3, features of the generator's first half, temperature 0.07, 256 places in each of five layers), and a
discriminator of patches says what looks like the target set. A picture of the target set must be contrasted with its own translation likewise. FastCUT leaves
that out, weighs contrast tenfold and mirrors half of the pictures before they are translated. As published: a residual translator of nine blocks with
antialiased resampling, a 70-pixel PatchGAN, least squares, Adam 2e-4 with betas 0.5 and 0.999, batch size 1, learning rate constant over the first half,
falling over the second.

As the authors' code: squares without a half, the discriminator's loss halved and moved first, contrast averaged over layers, and, with the identity, over
both pictures. Differs: every picture has its own places and its own mirroring; the discriminator's halvings are not antialiased; weights begin at N(0, 0.02),
theirs much smaller; the learning rate falls step by step. Where the two sets have other numbers of channels, a result is contrasted by its grey.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from agon.config import OptimizerConfig, Preset, require
from agon.errors import UserError
from agon.game import Player, Stage, Update
from agon.losses.patch_nce import patch_nce
from agon.networks.patch import PatchDiscriminator
from agon.networks.patch_sampler import PatchSampler
from agon.networks.resnet_translator import ResnetTranslator
from agon.translation import TINY, TranslationConfig, TranslationGame
from agon.translation.config import Norm
from agon.translation.objectives import as_translators_weigh


@dataclass(frozen=True, kw_only=True)
class Config(TranslationConfig):
    images: int = 533_600
    blocks: int = 9
    """Residual blocks of the translator."""
    norm: Norm = "instance"
    """Norm in both networks."""
    antialias: bool = True
    """Low-pass filters where the translator halves and doubles the resolution."""
    patch_layers: int = 3
    """Halvings in the discriminator: patches of 16, 34, 70, 142 or 286 pixels for 1 to 5; 0: single pixels."""
    adversarial_weight: float = 1.0
    """Weight of the adversarial term in the generator's turn."""
    nce_weight: float = 1.0
    """Weight of the contrast between a result and its source (FastCUT: 10)."""
    nce_layers: tuple[int, ...] = (0, 4, 8, 12, 16)
    """Layers of the translator whose features are contrasted, by their place in its list (0: the padded picture; 4, 8: both widenings; 12 on: the blocks)."""
    nce_identity: bool = True
    """Contrast pictures of the target set with their own translations too (FastCUT: no)."""
    patches: int = 256
    """Places in each layer, at most all of them."""
    patch_width: int = 256
    """Length of the vectors that are compared."""
    temperature: float = 0.07
    """What similarities are divided by."""
    flip: bool = False
    """Mirror half of the pictures before they are translated, and their features back (FastCUT)."""
    optimizer: OptimizerConfig = OptimizerConfig(lr=2e-4, beta1=0.5, schedule="linear", decay_start=0.5)

    def __post_init__(self):
        super().__post_init__()
        for name in ("blocks", "adversarial_weight", "nce_weight"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "a number not below 0")
        require(0 <= self.patch_layers <= 6, "patch_layers", self.patch_layers, "a number from 0 to 6")
        rising = list(self.nce_layers) == sorted(set(self.nce_layers))
        require(bool(self.nce_layers) and rising and self.nce_layers[0] >= 0, "nce_layers", self.nce_layers, "rising numbers of layers, such as 0,4,8,12,16")
        require(self.patches >= 2, "patches", self.patches, "2 or more")
        require(self.patch_width >= 1, "patch_width", self.patch_width, "a number above 0")
        require(self.temperature > 0, "temperature", self.temperature, "a number above 0")


class CUT(TranslationGame):
    Config = Config
    presets = {
        "shapes": Preset(
            max_size=32, note="minutes on a CPU: agon train cut --data shapes --data.only colour=blue --data.input shapes --data.input_only colour=red",
            fields={"images": 16_000, "batch_size": 4, "width": 16, "blocks": 3, "patch_layers": 2, "nce_layers": (0, 4, 8, 12, 14), "patches": 64,
                    "patch_width": 64, "optimizer.lr": 1e-3},
        ),
        "cut": Preset(fields={}, note="as published for horse2zebra, 400 epochs of 1,334: agon train cut --data zebra/ --data.input horse/ --data.size 256"),
        "fastcut": Preset(
            auto=False, note="agon train cut --preset fastcut --data zebra/ --data.input horse/ --data.size 256",
            fields={"images": 266_800, "optimizer.decay_start": 0.75, "nce_weight": 10.0, "nce_identity": False, "flip": True},
        ),
        "tiny": Preset(
            auto=False, fields=TINY | {"blocks": 1, "patch_layers": 1, "norm": "none", "nce_layers": (0, 4, 12), "patches": 8, "patch_width": 8},
        ),
    }  # fmt: skip
    pairs = False
    objectives = staticmethod(as_translators_weigh)
    data_options = {"input": "auto", "paired": False}
    multiple = 4

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.generator = ResnetTranslator(self.source_channels, spec.shape[0], config.width, config.blocks, config.norm, antialias=config.antialias)
        last = len(self.generator.layers) - 1
        if config.nce_layers[-1] >= last:
            raise UserError("The translator has no layer {layer} to contrast. Expected nce_layers below {last}: with fewer blocks, smaller ones.",
                            layer=config.nce_layers[-1], last=last)  # fmt: skip
        self.discriminator = PatchDiscriminator(spec.shape[0], config.discriminator_width or config.width, config.patch_layers, config.norm)
        with torch.no_grad():
            maps = self.generator.features(torch.zeros(1, self.source_channels, 16, 16), config.nce_layers)
        self.sampler = PatchSampler([each.shape[1] for each in maps], config.patch_width)
        self.start(self.generator, self.discriminator, self.sampler)

    def players(self):
        return {
            "discriminator": Player((self.discriminator,), self.discriminator_optimizer()),
            "generator": Player((self.generator, self.sampler), self.config.optimizer),
        }

    def stages(self):
        return [Stage("train", (Update("discriminator", self.discriminator_loss), Update("generator", self.generator_loss)))]

    # --- making and contrasting -------------------------------------------------------------------------------------------------------

    def as_source(self, picture: Tensor) -> Tensor:
        """A picture of the target set with as many channels as a source: itself, or its mean over channels."""
        wanted = self.source_channels
        return picture if picture.shape[1] == wanted else picture.mean(1, keepdim=True).expand(-1, wanted, -1, -1)

    def made(self, picture: Tensor, turn: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """(results, features of the pictures, which get no gradient). ``turn``: (N,) whether to mirror each first."""
        layers = self.config.nce_layers
        if turn is None:
            *keys, out = self.generator.features(picture, (*layers, len(self.generator.layers) - 1))
            return out, [each.detach() for each in keys]
        with torch.no_grad():
            keys = self.generator.features(picture, layers)
        return self.generator(mirrored(picture, turn)), keys

    def contrast(self, out: Tensor, keys: list[Tensor], turn: Tensor | None, ctx) -> Tensor:
        """The mean over layers of the contrast between results and what they were made from."""
        config = self.config
        queries = self.generator.features(self.as_source(out), config.nce_layers)
        if turn is not None:
            queries = [mirrored(each, turn) for each in queries]
        where = self.sampler.positions(keys, config.patches, ctx)
        with torch.no_grad():
            wanted = self.sampler(keys, where)
        pairs = zip(self.sampler(queries, where), wanted, strict=True)
        return torch.stack([patch_nce(query, key, config.temperature) for query, key in pairs]).mean()

    # --- the objective ----------------------------------------------------------------------------------------------------------------

    def discriminator_loss(self, batch, ctx):
        real = batch.real
        turn = ctx.uniform(len(real)) < 0.5 if self.config.flip else None
        with torch.set_grad_enabled(not ctx.split):  # the generator's turn goes on with the same results, unless that takes too much memory
            out, keys = self.made(batch.source, turn)
        ctx.keep("turn", turn)
        if not ctx.split:
            ctx.keep("made", (out, keys))
        real_out, fake_out = self.discriminator(real), self.discriminator(out.detach().to(real.dtype))
        self.log_logits(real_out, fake_out, ctx)
        return {"adversarial": self.objective.discriminator(real_out, fake_out)}

    def generator_loss(self, batch, ctx):
        config, turn = self.config, ctx.take("turn")
        kept = ctx.take("made")
        out, keys = self.made(batch.source, turn) if kept is None else kept
        share = 0.5 if config.nce_identity else 1.0
        terms = {
            "adversarial": config.adversarial_weight * self.objective.generator(self.discriminator(out)),
            "contrast": share * config.nce_weight * self.contrast(out, keys, turn, ctx),
        }
        if config.nce_identity:
            same, same_keys = self.made(self.as_source(batch.real), turn)
            terms["contrast_identity"] = share * config.nce_weight * self.contrast(same, same_keys, turn, ctx)
        return terms

    def render(self, source, draws):
        return self.generator(source)


def mirrored(x: Tensor, turn: Tensor) -> Tensor:
    """(N, C, H, W) with the pictures (or features) of ``turn`` (N,) mirrored left-right."""
    return torch.where(turn.view(-1, 1, 1, 1), x.flip(3), x)
