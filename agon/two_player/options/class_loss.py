"""Class losses in an embedding of the discriminator's features, in place of its other use of the class: ContraGAN's and ReACGAN's.

``class_loss``: contrastive (ContraGAN) or d2d_ce (ReACGAN). Embedding and proxies move with the discriminator, which minimises the loss on real samples;
the generator minimises it on its own. The loss compares the samples of a batch: parts of a batch give another value than the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from agon.errors import UserError
from agon.losses.class_contrast import conditional_contrastive, data_to_data_cross_entropy
from agon.networks.discriminator import Discriminator
from agon.two_player.option import Option, Turn

if TYPE_CHECKING:
    from agon.data.source import DataSpec
    from agon.two_player.config import TwoPlayerConfig

LOSSES = {"contrastive": (conditional_contrastive, 1.0), "d2d_ce": (data_to_data_cross_entropy, 0.5)}
"""Name -> (function, published temperature)."""


class ClassLoss(Option):
    """An embedding of the features by a linear layer, and one proxy a class."""

    couples_batch = True

    def __init__(self, config: TwoPlayerConfig, num_classes: int, num_features: int):
        super().__init__()
        self.loss, published = LOSSES[config.class_loss]
        self.weight, self.temperature = config.class_weight, config.class_temperature or published
        self.embed = nn.Linear(num_features, config.class_embedding_dim, bias=False)
        self.proxies = nn.Embedding(num_classes, config.class_embedding_dim)

    def discriminator_terms(self, turn: Turn) -> dict[str, Tensor]:
        return {"class": self.weight * self._of(turn.real_seen, turn)}

    def generator_terms(self, turn: Turn) -> dict[str, Tensor]:
        return {"class": self.weight * self._of(turn.fake_seen, turn)}

    def _of(self, samples: Tensor, turn: Turn) -> Tensor:
        features = turn.game.discriminator.features(samples, turn.condition)
        return self.loss(self.embed(features), self.proxies.weight, turn.batch.label, self.temperature)


def option(config: TwoPlayerConfig, spec: DataSpec, discriminator: nn.Module) -> ClassLoss | None:
    if config.class_loss == "none":
        return None
    if not (spec.num_classes and config.conditional):
        raise UserError("class_loss compares classes, and the data have none (or conditional is false). Set class_loss to none.")
    if not isinstance(discriminator, Discriminator):
        raise UserError("class_loss needs a discriminator with the common head, and that of {network} has its own. Set class_loss to none.",
                        network=config.network)  # fmt: skip
    return ClassLoss(config, spec.num_classes, discriminator.head.in_features)
