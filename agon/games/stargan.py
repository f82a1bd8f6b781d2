"""StarGAN: Unified Generative Adversarial Networks for Multi-Domain Image-to-Image Translation (Choi et al., 2018), https://arxiv.org/abs/1711.09020.

One generator translates between all domains: it is given a picture and the domain (a class, or a vector of attributes) that it is to get. The discriminator
also names the domain of real pictures (equation 2), which the generator's pictures must be taken for (equation 3); a second translation, back to where a
picture came from, must give it again (equation 4, L1, weight 10); the adversarial game is Wasserstein's with a gradient penalty (equation 8, weight 10), five
critic steps to one of the generator's. As published: the networks, Adam 1e-4 with betas 0.5 and 0.999, batch size 16, 200,000 critic steps, a learning rate
that is constant over the first half and falls along a line over the second.

As the authors' code (yunjey/stargan): several attributes are classified each by itself, the cross-entropies summed; the penalty is on the sum of the source
map; a test pass normalises each picture by its own statistics. Differs: the class to be translated to is drawn uniformly, where theirs is that of another
picture of the batch (an attribute vector is another picture's here too); theirs lowers the learning rate once in 1,000 steps by a 100,000th, that is hardly
at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from agon.config import OptimizerConfig, Preset, nearest, require
from agon.errors import UserError
from agon.game import Stage, Update
from agon.losses.penalties import gradient_penalty
from agon.networks.stargan import StarGANDiscriminator, StarGANGenerator
from agon.translation import TINY, TranslationConfig, TranslationGame
from agon.translation.config import Adversarial, Init


@dataclass(frozen=True, kw_only=True)
class Config(TranslationConfig):
    images: int = 3_200_000
    batch_size: int = 16
    adversarial: Adversarial = "wgan"
    init: Init = "default"
    blocks: int = 6
    """Residual blocks of the generator."""
    downsamplings: int = 2
    """Halvings in the generator before the blocks."""
    stages: int = 6
    """Halvings in the discriminator, at most as many as leave the sides 2 pixels."""
    norm: Literal["instance", "running", "none"] = "instance"
    """Norm in the generator: each picture by its own statistics, in sampling by running averages, or none, which keeps flat colours apart."""
    residual: bool = False
    """What the generator draws is added to the picture, so that what is to stay need not be drawn anew. Not in the paper."""
    class_weight: float = 1.0
    """Weight of the classification terms in both turns."""
    reconstruction_weight: float = 10.0
    """Weight of the mean absolute difference between a picture and itself, translated there and back."""
    penalty_weight: float = 10.0
    """Weight of the gradient penalty. 0: it is not computed."""
    num_critic: int = 5
    """Discriminator steps for each generator step, each on a new batch."""
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-4, beta1=0.5, schedule="linear", decay_start=0.5)

    def __post_init__(self):
        super().__post_init__()
        for name in ("blocks", "downsamplings", "class_weight", "reconstruction_weight", "penalty_weight"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "a number not below 0")
        require(self.downsamplings <= 6, "downsamplings", self.downsamplings, "a number from 0 to 6")
        require(1 <= self.stages <= 10, "stages", self.stages, "a number from 1 to 10")
        require(self.num_critic >= 1, "num_critic", self.num_critic, "a number of steps, 1 or more")


class StarGAN(TranslationGame):
    """``label`` (classes) or ``condition`` (attribute vectors of 0 and 1) say what a picture is to get; of ``attributes`` only those that are to change."""

    Config = Config
    presets = {
        "shapes": Preset(
            max_size=32, note="minutes on a CPU: agon train stargan --data shapes --data.label colour --data.only colour=red,yellow,green,blue",
            fields={"images": 50_000, "batch_size": 8, "width": 16, "discriminator_width": 32, "blocks": 3, "downsamplings": 0, "stages": 3, "norm": "none",
                    "residual": True, "adversarial": "lsgan", "penalty_weight": 0.0, "num_critic": 1, "class_weight": 0.1, "reconstruction_weight": 1.0,
                    "optimizer.lr": 5e-4, "discriminator_lr": 1e-3, "ema_half_life_images": 1000},
        ),
        "celeba": Preset(fields={}, note="as published, 128x128: agon train stargan --data img_align_celeba/ --data.size 128 --data.mirror true "
                         "--data.attributes list_attr_celeba.txt --data.use Black_Hair,Blond_Hair,Brown_Hair,Male,Young"),
        "tiny": Preset(auto=False, fields=TINY | {"blocks": 1, "num_critic": 2}),
    }  # fmt: skip
    takes = ("",)
    pairs = False
    controls = ("attributes",)

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.by_attributes = bool(spec.condition_names)
        self.domains = len(spec.condition_names) or spec.num_classes
        if self.domains < (1 if self.by_attributes else 2):
            raise UserError("StarGAN translates between domains, and the data have {count}. Expected two or more classes (a folder with one sub-folder "
                            "for each), or attributes: --data.attributes TABLE.", count=self.domains)  # fmt: skip
        self.takes_labels, self.multiple = not self.by_attributes, 2**config.downsamplings
        channels, size = spec.shape[0], spec.shape[1:]
        if any(side % self.multiple or side < 2 * self.multiple for side in size):
            raise UserError("StarGAN cannot translate {height}x{width} pictures with {count} halvings. Expected sides that are multiples of {multiple}, "
                            "twice it or more: add --data.size or lower downsamplings.", height=size[0], width=size[1], count=config.downsamplings,
                            multiple=self.multiple)  # fmt: skip
        self.generator = StarGANGenerator(channels, self.domains, width=config.width, blocks=config.blocks, downsamplings=config.downsamplings,
                                          norm=config.norm, residual=config.residual)  # fmt: skip
        self.discriminator = StarGANDiscriminator(channels, self.domains, size, width=config.discriminator_width or config.width, stages=config.stages)
        self.start(self.generator, self.discriminator)

    def stages(self):
        turns = self.config.num_critic
        return [Stage("train", (Update("discriminator", self.discriminator_loss, times=turns, fresh=turns > 1), Update("generator", self.generator_loss)))]

    # --- domains ----------------------------------------------------------------------------------------------------------------------

    def vectors(self, domain: Tensor) -> Tensor:
        """(N, domains) float32: attribute vectors as they are, classes as one-hot vectors."""
        return domain.float() if self.by_attributes else F.one_hot(domain, self.domains).float()

    def own(self, batch) -> Tensor:
        """The domain of each picture: (N, domains) attributes or (N,) classes."""
        return batch.condition if self.by_attributes else batch.label

    def wanted(self, batch, ctx) -> Tensor:
        """The domain that each is to get: another picture's attributes, or a class drawn uniformly."""
        return batch.wanted if self.by_attributes else self.drawn(len(batch), ctx)

    def drawn(self, n: int, draws) -> Tensor:
        return (draws.uniform(n) * self.domains).long().clamp(max=self.domains - 1)

    def classification(self, logits: Tensor, domain: Tensor) -> Tensor:
        """Cross-entropy of the class, or of every attribute by itself, summed over attributes; the mean over the batch."""
        if self.by_attributes:
            return F.binary_cross_entropy_with_logits(logits, domain.float(), reduction="sum") / len(logits)
        return F.cross_entropy(logits, domain)

    # --- the objective ----------------------------------------------------------------------------------------------------------------

    def discriminator_loss(self, batch, ctx):
        config, real, wanted = self.config, batch.real, self.wanted(batch, ctx)
        shared = config.num_critic == 1 and not ctx.split  # then the generator's turn goes on with these
        with torch.set_grad_enabled(shared):
            made = self.generator(real, self.vectors(wanted))
        if shared:
            ctx.keep("made", (wanted, made))
        fake = made.detach().to(real.dtype)
        source, classes = self.discriminator(torch.cat([real, fake]))
        real_source, fake_source = source.chunk(2)
        named = classes[: len(real)]
        terms = {
            "adversarial": self.objective.discriminator(real_source, fake_source),
            "classes": config.class_weight * self.classification(named, self.own(batch)),
        }
        if config.penalty_weight:
            terms["penalty"] = config.penalty_weight * gradient_penalty(lambda x: self.discriminator.forward(x)[0], real, fake, ctx.uniform(len(real)))
        self.log_logits(real_source, fake_source, ctx)
        if ctx.logging:
            ctx.log("discriminator/class_accuracy", self.right(named, self.own(batch)))
        return terms

    def generator_loss(self, batch, ctx):
        config, real = self.config, batch.real
        kept = ctx.take("made")
        wanted = self.wanted(batch, ctx) if kept is None else kept[0]
        made = self.generator(real, self.vectors(wanted)) if kept is None else kept[1]
        source, classes = self.discriminator(made)
        again = self.generator(made, self.vectors(self.own(batch)))
        if ctx.logging:
            ctx.log("generator/class_accuracy", self.right(classes, wanted))
        return {
            "adversarial": self.objective.generator(source),
            "classes": config.class_weight * self.classification(classes, wanted),
            "reconstruction": config.reconstruction_weight * (again.float() - real).abs().mean(),
        }

    def right(self, logits: Tensor, domain: Tensor) -> Tensor:
        """Fraction of classes, or of attributes, that the logits name."""
        return ((logits > 0) == (domain > 0.5) if self.by_attributes else logits.argmax(1) == domain).float().mean()

    # --- translating ------------------------------------------------------------------------------------------------------------------

    def render(self, source, draws, condition=None, attributes=None):
        if attributes is not None:
            condition = self.changed(source, attributes)
        if condition is None:
            condition = self.vectors(self.drawn(len(source), draws)) if not self.by_attributes else self.one_turned(source, draws)
        if condition.shape != (len(source), self.domains):
            raise UserError("Wanted domains of shape {shape} do not fit. Expected {count} numbers for each of {pictures} pictures.",
                            shape=tuple(condition.shape), count=self.domains, pictures=len(source))  # fmt: skip
        return self.generator(source, condition.float())

    def read(self, source: Tensor) -> Tensor:
        """(N, domains) attributes, 0 or 1, as the discriminator sees them."""
        seen = F.interpolate(source, self.spec.shape[1:], mode="bilinear", align_corners=False, antialias=True)
        return (self.discriminator(seen)[1] > 0).float()

    def changed(self, source: Tensor, attributes: str) -> Tensor:
        """What the pictures are seen to have, with those of ``attributes`` set: "Male,-Smiling" (a minus: not to have it)."""
        names = self.spec.condition_names
        vectors = self.read(source) if self.by_attributes else torch.zeros(len(source), 0)
        for word in attributes.split(","):
            name = word.strip().lstrip("+-")
            if name not in names:
                raise UserError("There is no attribute '{name}'. Did you mean '{near}'? This game knows: {known}.", name=name,
                                near=nearest(name, list(names)), known=", ".join(names) or "none, but classes")  # fmt: skip
            vectors[:, names.index(name)] = 0.0 if word.strip().startswith("-") else 1.0
        return vectors

    def one_turned(self, source: Tensor, draws) -> Tensor:
        """What the pictures are seen to have, but for one attribute each, drawn uniformly."""
        turned = F.one_hot(self.drawn(len(source), draws), self.domains)
        return (self.read(source) - turned.float()).abs()
