"""InfoGAN: Interpretable Representation Learning by Information Maximizing Generative Adversarial Nets (Chen et al., 2016), https://arxiv.org/abs/1606.03657.

A part of the latent is a code, one category and some numbers, that the discriminator's second head must be able to read from the sample: without any label a
category comes to mean a digit, a number its slant (equation 6: the code's mutual information with the sample, bounded from below). The head learns with the
discriminator, the generator is paid for codes that can be read.

Differs from the paper: one categorical code; numbers are judged by squared error, a Gaussian of fixed width; the networks are DCGAN's for any size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from agon.config import Preset, require
from agon.errors import UserError
from agon.losses.adversarial import cross_entropy_discriminator, non_saturating_generator
from agon.two_player import POINTS, SMALL, TINY, Init, TwoPlayerConfig, TwoPlayerGame
from agon.two_player.option import Option, Turn


@dataclass(frozen=True, kw_only=True)
class Config(TwoPlayerConfig):
    latent_dim: int = 74
    """Length of the latent, of which the last numbers are the code: a one-hot category, then the numbers (the paper's MNIST: 62 + 10 + 2)."""
    categories: int = 10
    """Values of the categorical code."""
    numbers: int = 2
    """Continuous codes, uniform in [-1, 1]."""
    category_weight: float = 1.0
    """Weight of the category's cross-entropy (lambda)."""
    number_weight: float = 0.1
    """Weight of the numbers' squared error."""
    init: Init = "normal"
    conditional: bool = False
    """There is nothing to condition on: the code takes the labels' place."""

    def __post_init__(self):
        super().__post_init__()
        require(self.categories >= 2, "categories", self.categories, "a number of values, 2 or more")
        require(self.numbers >= 0, "numbers", self.numbers, "0 or more")
        require(self.latent_dim > self.categories + self.numbers, "latent_dim", self.latent_dim, "more than categories and numbers together")
        require(not self.latent_components, "latent_components", self.latent_components, "0: a code cannot be drawn from a mixture")


class Information(Option):
    """Reads the code from the discriminator's further outputs, (N, 1 + categories + numbers)."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config

    def discriminator_terms(self, turn: Turn):
        return self._terms(turn)

    def generator_terms(self, turn: Turn):
        return self._terms(turn)

    def _terms(self, turn: Turn):
        config = self.config
        code, read = turn.latent[:, -config.categories - config.numbers :], turn.fake_out[:, 1:]
        category, numbers = code[:, : config.categories].argmax(1), code[:, config.categories :]
        terms = {"category": config.category_weight * F.cross_entropy(read[:, : config.categories], category)}
        turn.ctx.log("category_accuracy", (read[:, : config.categories].argmax(1) == category).float().mean())
        if config.numbers:
            terms["numbers"] = config.number_weight * (read[:, config.categories :] - numbers).square().mean()
        return terms


class InfoGAN(TwoPlayerGame):
    Config = Config
    smooths_labels = True
    controls = ("category", "numbers")
    presets = {
        "digits": Preset(max_size=16, fields=SMALL | {"latent_dim": 28}),
        "shapes": Preset(max_size=32, fields=SMALL | {"images": 130_000, "base_size": 4, "latent_dim": 76}),
        "image": Preset(fields={"images": 5_000_000}, note="agon train infogan --data my_pictures/"),
        "toy": Preset(kind="points", fields=POINTS),
        "tiny": Preset(kind="any", auto=False, fields=TINY | {"categories": 3, "numbers": 1}),
    }

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.options["information"] = Information(config)

    def head(self):
        return "auxiliary", self.config.categories + self.config.numbers

    def latent(self, n, ctx):
        config = self.config
        return self._joined(ctx.normal(n, config.latent_dim - config.categories - config.numbers), ctx.uniform(n, 1 + config.numbers))

    def draw_latent(self, n, draws):
        config = self.config
        noise = torch.randn(n, config.latent_dim - config.categories - config.numbers, generator=draws)
        return self._joined(noise, torch.rand(n, 1 + config.numbers, generator=draws))

    def _joined(self, noise: Tensor, uniform: Tensor) -> Tensor:
        """(N, latent_dim): noise, the category that the first uniform number chooses as a one-hot vector, the others in [-1, 1]."""
        chosen = (uniform[:, 0] * self.config.categories).long().clamp(max=self.config.categories - 1)
        return torch.cat([noise, F.one_hot(chosen, self.config.categories).to(noise), 2 * uniform[:, 1:] - 1], 1)

    def render(self, latent, condition, draws, *, category: int | None = None, numbers: tuple[float, ...] | None = None):
        """``category``: the same for all samples; ``numbers``: values of the continuous codes, likewise."""
        first = self.config.latent_dim - self.config.categories - self.config.numbers
        latent = latent.clone()
        if category is not None:
            if not (isinstance(category, int) and 0 <= category < self.config.categories):
                raise UserError("There is no category {category}. Expected a number from 0 to {last}.", category=category, last=self.config.categories - 1)
            latent[:, first : first + self.config.categories] = F.one_hot(torch.tensor(category), self.config.categories).to(latent)
        if numbers is not None:
            given = [number for number in (numbers if isinstance(numbers, tuple | list) else (numbers,)) if isinstance(number, int | float)]
            if len(given) != self.config.numbers:
                raise UserError("{given} numbers were given. Expected {count}, one for each continuous code.", given=len(given), count=self.config.numbers)
            latent[:, first + self.config.categories :] = torch.tensor(given).to(latent)
        return super().render(latent, condition, draws)

    def logits(self, outputs):
        return outputs[:, 0]

    def discriminator_terms(self, real, fake, batch):
        return {"adversarial": cross_entropy_discriminator(real[:, 0], fake[:, 0], self.config.label_smoothing)}

    def generator_terms(self, fake, real, batch):
        return {"adversarial": non_saturating_generator(fake[:, 0])}
