"""Feature matching (``feature_matching``, a weight), Salimans et al. 2016, https://arxiv.org/abs/1606.03498, section 3.1.

The generator is to make samples whose mean features in the discriminator (what its head sees) are those of real samples. The paper has it instead of
the adversarial term; here it stands beside it. It compares means over the batch: a batch in parts gives another value than the whole.
"""

from __future__ import annotations

import torch

from agon.game import Terms
from agon.losses.feature_matching import feature_matching
from agon.two_player.option import Option, Turn


class FeatureMatching(Option):
    couples_batch = True

    def __init__(self, weight: float):
        super().__init__()
        self.weight = weight

    def generator_terms(self, turn: Turn) -> Terms:
        features = turn.game.discriminator.features
        with torch.no_grad():
            real_seen = turn.game.seen(turn.game.real(turn.batch), turn.ctx) if turn.real_seen is None else turn.real_seen
            real = features(real_seen, turn.condition)
        return {"feature_matching": self.weight * feature_matching(real, features(turn.fake_seen, turn.condition))}


def option(config, spec) -> FeatureMatching | None:
    return FeatureMatching(config.feature_matching) if config.feature_matching else None
