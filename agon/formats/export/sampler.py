"""The sampling function of a run as one module, without what only training needs: what every target of ``agon export`` holds."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from agon.errors import UserError
from agon.game import Game
from agon.layers.mixture_latent import MixtureLatent
from agon.two_player import TwoPlayerGame

TOLERANCE = 1e-4
"""Largest difference, relative to the largest value, at which two computations of the same samples count as equal."""


class Sampler(nn.Module):
    """(latent (N, Z), and as :attr:`inputs` says label (N,) int64 or condition (N, K), and truncation ()) -> samples (N, *shape) float32.

    Pictures are in [-1, 1], points in the data's units. Nothing inside is random: noise of a style-based generator is its constant one, and where there is
    no such thing, as in FastGAN's, there is none (``noisy``: the game adds some when it samples). ``truncation``: 1 as trained, 0 the mean picture; every
    layer's style is moved. Raises UserError for a game whose samples are not a function of these alone.
    """

    def __init__(self, game: Game):
        super().__init__()
        _check(game)
        self.generator = plain(copy.deepcopy(game.generator)).eval().requires_grad_(False)
        self.styles = hasattr(self.generator, "mapping") and hasattr(self.generator, "synthesis")
        self.pictures, self.classes = game.spec.kind == "image", game.condition_dim if game.takes_labels else 0
        self.condition_dim = game.condition_dim
        if self.classes:  # a table instead of F.one_hot: a class that is not there is an error in every runtime
            self.register_buffer("one_hot", torch.eye(self.classes), persistent=False)
        if not self.pictures:
            self.register_buffer("shift", game.shift.detach().clone())
            self.register_buffer("scale", game.scale.detach().clone())
        self._draw, self.noisy = game.draw_latent, False

    @property
    def inputs(self) -> tuple[str, ...]:
        """What :meth:`forward` takes, in order."""
        given = ("label",) if self.classes else ("condition",) if self.condition_dim else ()
        return ("latent", *given, *(("truncation",) if self.styles else ()))

    def forward(self, latent: Tensor, label: Tensor | None = None, condition: Tensor | None = None, truncation: Tensor | float | None = None) -> Tensor:
        given = {"label": label, "condition": condition, "truncation": truncation}
        for name in ("label", "condition"):
            if (given[name] is None) == (name in self.inputs):
                raise UserError("This sampler takes {inputs}. Give all of these but truncation, and nothing else.", inputs=", ".join(self.inputs))
        condition = self.condition_of(given)
        samples = (self._styled(latent, condition, truncation) if self.styles else self.generator(latent, condition)).float()
        return samples.clamp(-1, 1) if self.pictures else samples * self.scale + self.shift

    def condition_of(self, given: dict[str, Any]) -> Tensor | None:
        """What the generator takes: classes as one-hot vectors, or the condition vectors."""
        return F.embedding(given["label"], self.one_hot) if self.classes else given.get("condition")

    def draw_latent(self, n: int, seed: int = 0) -> Tensor:
        """(n, Z) latents on the CPU, those of ``agon sample`` with this seed."""
        return self._draw(n, torch.Generator().manual_seed(seed))

    def example(self, n: int, seed: int = 0, truncation: float = 1.0) -> dict[str, Tensor]:
        """n random inputs by name, on the sampler's device."""
        draws = torch.Generator().manual_seed(seed)
        made = {"latent": self.draw_latent(n, seed)}
        if self.classes:
            made["label"] = torch.randint(self.classes, (n,), generator=draws)
        elif self.condition_dim:
            made["condition"] = torch.randn(n, self.condition_dim, generator=draws)
        if self.styles:
            made["truncation"] = torch.tensor(truncation)
        device = next(self.generator.parameters()).device
        return {name: value.to(device) for name, value in made.items()}

    def _styled(self, latent: Tensor, condition: Tensor | None, truncation: Tensor | float | None) -> Tensor:
        w = self.generator.mapping(latent, condition)
        if truncation is not None:
            average = self.generator.mapping.w_avg.value
            w = average + truncation * (w - average)
        return self.generator.synthesis(w)


def plain(network: nn.Module) -> nn.Module:
    """The network with every parametrised weight (spectral norm) computed once and put in the parametrisation's place.

    torch's ``remove_parametrizations`` takes the weight off the class, which a deep copy shares with its original; this leaves the class alone.
    """
    for module in network.modules():
        if parametrize.is_parametrized(module):
            values = {name: getattr(module, name).detach().clone() for name in module.parametrizations}
            module.__class__ = parametrize.type_before_parametrizations(module)
            del module.parametrizations
            for name, value in values.items():
                module.register_parameter(name, nn.Parameter(value, requires_grad=False))
    return network


@torch.no_grad()
def difference(made: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest expected value; infinite where anything is not finite."""
    apart = (made.double().cpu() - expected.double().cpu()).abs().max() / expected.double().abs().max().clamp_min(1e-12).cpu()
    return float(apart) if torch.isfinite(apart) else float("inf")


@torch.no_grad()
def checked(game: Game) -> Sampler:
    """The game's sampler, compared with the game itself. Raises UserError where they do not agree."""
    sampler, name = Sampler(game), type(game).__name__
    given = sampler.example(3)
    samples = sampler(**given)
    if not torch.isfinite(samples).all():
        raise UserError("{game} makes samples that are not finite. Expected a run that went well; train it anew, or name another checkpoint.", game=name)
    condition = sampler.condition_of(given)
    drawn = [game._from(given["latent"], condition, torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    sampler.noisy = difference(*drawn) > 0
    expected = drawn[0]
    if sampler.noisy:
        try:  # the form without draws, which a network that adds noise has beside the other
            expected = game.render(given["latent"], condition, None).float()
        except (AttributeError, TypeError):
            expected = torch.full_like(samples, float("inf"))
    found = difference(samples, expected.clamp(-1, 1) if sampler.pictures else expected)
    if found > TOLERANCE:
        raise UserError(
            "{game} cannot be exported: its generator alone makes other samples than the game does (relative difference {found}). "
            "Expected a game whose samples are a function of latent and label. Draw from the run itself: agon sample.",
            game=name, found=f"{found:.2g}",
        )  # fmt: skip
    return sampler


def _check(game: Game) -> None:
    name = type(game).__name__
    if game.needs_input:
        raise UserError("{game} makes pictures from pictures, and export is for what starts from noise. Use the run itself: agon translate.", game=name)
    if not isinstance(game, TwoPlayerGame):
        raise UserError(
            "{game} cannot be exported: it has no single generator that turns latents into samples. Draw from the run itself: agon sample.", game=name
        )
    coupled = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in game.generator.modules())
    if coupled and getattr(game.config, "sampling_statistics", "") == "batch":
        raise UserError(
            "{game} cannot be exported: with sampling_statistics=batch a sample depends on the others drawn with it. "
            "Expected running or standing statistics; draw from the run itself: agon sample.",
            game=name,
        )  # fmt: skip
    inner = game.generator.generator if isinstance(game.generator, MixtureLatent) else None
    if hasattr(inner, "mapping"):
        raise UserError(
            "{game} cannot be exported with latent_components: its styles have a mapping of their own. Draw from the run itself: agon sample.", game=name
        )
