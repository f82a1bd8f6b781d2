"""LOGAN: Latent Optimisation for Generative Adversarial Networks (``latent_step``, published 0.9), Wu et al. 2019, https://arxiv.org/abs/1912.00953.

Before both turns each latent takes one natural-gradient step towards what the discriminator rates higher: ``latent_step`` g / (``latent_damping`` +
|g|^2). The step itself is not differentiated (the paper's second-order terms are left out), and the moved latents are not clipped to [-1, 1]:
they are normal here, uniform in the paper. Samples are drawn without the step.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from agon.losses import penalties
from agon.two_player.option import Option


class LatentOptimisation(Option):
    def __init__(self, step: float, damping: float):
        super().__init__()
        self.step, self.damping = step, damping

    def latent(self, latent: Tensor, generate: Callable[[Tensor], Tensor], game, condition: Tensor | None) -> Tensor:
        def critic(z: Tensor) -> Tensor:
            return game.logits(game.discriminator.forward(generate(z), condition))

        return penalties.latent_step(critic, latent, self.step, self.damping)


def option(config, spec) -> LatentOptimisation | None:
    return LatentOptimisation(config.latent_step, config.latent_damping) if config.latent_step else None
