"""LeCam regularisation (``lecam_weight``, published 0.3 with BigGAN), Tseng et al. 2021, https://arxiv.org/abs/2104.03310.

The discriminator's outputs on either kind of sample are held near the running mean of its outputs on the other. The means are those of the steps
before; until ``lecam_start_images`` (and in the first step) they are simply the last step's, and the term is 0.
"""

from __future__ import annotations

from agon.game import Terms
from agon.layers.running_mean import RunningMean
from agon.losses.lecam import lecam
from agon.two_player.option import Option, Turn


class LeCam(Option):
    def __init__(self, weight: float, decay: float, start_images: int):
        super().__init__()
        self.weight, self.decay, self.start_images = weight, decay, start_images
        self.real, self.fake = RunningMean(decay=decay), RunningMean(decay=decay)

    def discriminator_terms(self, turn: Turn) -> Terms:
        started = turn.ctx.num_images > self.start_images
        real, fake = turn.logits(turn.real_out), turn.logits(turn.fake_out)
        term = lecam(real, fake, self.real.value.clone(), self.fake.value.clone())
        for mean, logits in ((self.real, real), (self.fake, fake)):
            mean.decay = self.decay if started else 0.0
            mean.observe(logits.detach().flatten())
        turn.ctx.log("lecam_gap", self.real.value - self.fake.value)
        return {"lecam": (self.weight if started else 0.0) * term}


def option(config, spec) -> LeCam | None:
    return LeCam(config.lecam_weight, config.lecam_decay, config.lecam_start_images) if config.lecam_weight else None
