"""Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks (Zhu, Park, Isola and Efros, 2017), https://arxiv.org/abs/1703.10593.

Learns from two sets of pictures, without pairs, to translate both ways: what was translated there and back must be what it was (L1, weight 10), and a
discriminator of patches for each set says what looks like it. Residual translators with instance norm, 70-pixel PatchGANs, least squares, a pool of 50
earlier fakes for the discriminators; what is of the target set already must stay (L1, weight 0.5 x 10). Adam 2e-4, betas 0.5 and 0.999, batch size 1; from
half of the run on the learning rate falls to 0 along a line. As the authors' PyTorch code: squares without a half, the discriminators' losses halved, the
translators move first.

Differs from the authors' code: the learning rate falls step by step instead of epoch by epoch; with batches larger than 1 the pool is asked before any of the
batch enters it (agon/augment/image_pool.py). The identity term needs equally many channels on both sides and is left out otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from agon.augment.image_pool import ImagePool
from agon.config import OptimizerConfig, Preset, require
from agon.game import Stage, Update
from agon.networks.patch import PatchDiscriminator
from agon.networks.resnet_translator import ResnetTranslator
from agon.translation import TINY, TranslationConfig, TranslationGame
from agon.translation.config import Norm
from agon.translation.objectives import as_translators_weigh

SIDES = ("target", "source")


@dataclass(frozen=True, kw_only=True)
class Config(TranslationConfig):
    blocks: int = 9
    """Residual blocks of a translator (published: 9 for 256 pixels, 6 for 128)."""
    norm: Norm = "instance"
    """Norm in all networks."""
    residual: bool = False
    """What a translator draws is added to the picture, so that what is to stay need not be drawn anew (equally many channels). Not in the paper."""
    patch_layers: int = 3
    """Halvings in a discriminator: patches of 16, 34, 70, 142 or 286 pixels for 1 to 5; 0: single pixels."""
    cycle_weight: float = 10.0
    """Weight of the mean absolute difference between a picture and itself, translated there and back."""
    identity_weight: float = 0.5
    """Weight, times cycle_weight, of the mean absolute difference that a translator makes to pictures of its target set. 0: it is not computed."""
    pool_size: int = 50
    """Earlier fakes that each discriminator is also shown. 0: none."""
    optimizer: OptimizerConfig = OptimizerConfig(lr=2e-4, beta1=0.5, schedule="linear", decay_start=0.5)

    def __post_init__(self):
        super().__post_init__()
        require(self.blocks >= 0, "blocks", self.blocks, "a number not below 0")
        require(0 <= self.patch_layers <= 6, "patch_layers", self.patch_layers, "a number from 0 to 6")
        require(self.cycle_weight >= 0, "cycle_weight", self.cycle_weight, "a number not below 0")
        require(self.identity_weight >= 0, "identity_weight", self.identity_weight, "a number not below 0")
        require(self.pool_size >= 0, "pool_size", self.pool_size, "0 or a number of pictures")


class CycleGAN(TranslationGame):
    Config = Config
    presets = {
        "laptop": Preset(
            max_size=32, note="minutes on a CPU: agon train cyclegan --data shapes --data.only colour=blue --data.input shapes --data.input_only colour=red",
            fields={"images": 14_000, "batch_size": 4, "width": 16, "discriminator_width": 16, "blocks": 3, "patch_layers": 2, "norm": "none", "init": "xavier",
                    "residual": True, "cycle_weight": 5.0, "identity_weight": 0.0, "optimizer.lr": 5e-4, "ema_half_life_images": 1000},
        ),
        "128": Preset(
            max_size=128, fields={"images": 200_000, "blocks": 6}, note="as published for 128 pixels: agon train cyclegan --data my_pictures/ --data.size 128",
        ),
        "image": Preset(
            fields={"images": 266_800}, note="as published for horse2zebra, 200 epochs of 1,334: agon train cyclegan --data horse2zebra/ --data.size 256",
        ),
        # without norm: in front of one a bias has no gradient but rounding, and on a few channels of a few pixels the norm lets rounding grow
        "tiny": Preset(auto=False, fields=TINY | {"blocks": 1, "patch_layers": 1, "pool_size": 4, "norm": "none"}),
    }  # fmt: skip
    pairs = False
    objectives = staticmethod(as_translators_weigh)
    data_options = {"input": "auto", "paired": False}
    directions = ("forward", "backward")
    multiple = 4

    def __init__(self, config, spec):
        super().__init__(config, spec)
        shapes = {"source": self.source_shape, "target": spec.shape}
        width = config.discriminator_width or config.width

        def translator(before: str, after: str) -> nn.Module:
            return ResnetTranslator(shapes[before][0], shapes[after][0], config.width, config.blocks, config.norm)

        self.generator = nn.ModuleDict({"to_target": translator("source", "target"), "to_source": translator("target", "source")})
        self.discriminator = nn.ModuleDict({side: PatchDiscriminator(shapes[side][0], width, config.patch_layers, config.norm) for side in SIDES})
        self.pools = nn.ModuleDict({side: ImagePool(config.pool_size, shapes[side]) for side in SIDES})
        self.start(self.generator, self.discriminator)

    def stages(self):
        return [Stage("train", (Update("generator", self.generator_loss), Update("discriminator", self.discriminator_loss, after=self.store)))]

    @property
    def alike(self) -> bool:
        """Whether both sides have equally many channels."""
        return self.source_shape[0] == self.spec.shape[0]

    @property
    def identity(self) -> bool:
        return bool(self.config.identity_weight) and self.alike

    def translated(self, network: nn.Module, picture: Tensor) -> Tensor:
        return picture + 2 * network(picture) if self.config.residual and self.alike else network(picture)

    def at_once(self, network: Callable[[Tensor], Tensor], *pictures: Tensor) -> tuple[Tensor, ...]:
        """What ``network`` makes of each: in one pass, unless a batch norm would see them together."""
        if self.config.norm == "batch" or len(pictures) == 1:
            return tuple(network(each) for each in pictures)
        return network(torch.cat(pictures)).chunk(len(pictures))

    def there_and_back(self, name: str, given: Tensor, other: Tensor, ctx) -> dict[str, Tensor]:
        """The terms of one direction: ``given`` is translated to the side ``name``, judged there and translated back; ``other`` is of that side."""
        there, back = self.generator[f"to_{name}"], self.generator["to_source" if name == "target" else "to_target"]
        fake, *same = self.at_once(lambda x: self.translated(there, x), given, *([other] if self.identity else []))
        ctx.keep(f"fake_{name}", fake.detach())
        terms = {
            f"adversarial_{name}": self.objective.generator(self.discriminator[name](fake)),
            f"cycle_{name}": self.config.cycle_weight * distance(self.translated(back, fake), given),
        }
        return terms | {f"identity_{name}": self.config.cycle_weight * self.config.identity_weight * distance(each, other) for each in same}

    def generator_loss(self, batch, ctx):
        source, real = batch.source, batch.real
        return self.there_and_back("target", source, real, ctx) | self.there_and_back("source", real, source, ctx)

    def discriminator_loss(self, batch, ctx):
        terms = {}
        for name, real in (("target", batch.real), ("source", batch.source)):
            fake = self.pools[name].query(ctx.take(f"fake_{name}"), ctx.uniform(len(real), 2), ctx.place)
            real_out, fake_out = self.at_once(self.discriminator[name], real, fake.to(real.dtype))
            self.log_logits(real_out, fake_out, ctx, f"discriminator_{name}")
            terms[f"adversarial_{name}"] = self.objective.discriminator(real_out, fake_out)
        return terms

    def store(self, ctx) -> None:
        for pool in self.pools.values():
            pool.settle(ctx.mean_over_ranks)

    def render(self, source, draws, direction="forward"):
        return self.translated(self.generator["to_target" if direction == "forward" else "to_source"], source)


def distance(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean absolute difference."""
    return (made.float() - wanted).abs().mean()
