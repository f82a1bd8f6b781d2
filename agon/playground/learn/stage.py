"""One stage: a game, its trainer, and what can be seen of them at a moment. Looking changes nothing."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agon.data.source import ArraySource, Batch
from agon.losses.adversarial import pair_accuracy
from agon.losses.penalties import gradient_at, gradient_penalty
from agon.playground.learn.choices import BY_NAME, Shared, StageChoice, build_game
from agon.playground.learn.measures import NUM_FAKES, Measures, Reading
from agon.train.checkpoint import optimizer_tensors, restore_optimizer
from agon.train.randomness import mix
from agon.train.trainer import NonFiniteError, Trainer

NUM_SHOWN, NUM_ARROWS, NUM_REAL = 400, 80, 600
HEAT, GRID, CURVE = 48, 17, 65
"""Cells along a side of the heat map, latents along a side of the manifold's grid (along the curve of a single latent number)."""
REACH = 2.0
"""The manifold shows latents between minus and plus this, in standard deviations."""
PLAYERS = {"d": "discriminator", "g": "generator", "b": None}


@dataclass(frozen=True)
class Snapshot:
    """Everything that the next steps depend on."""

    tensors: dict[str, Tensor]
    optimizers: dict[str, tuple[dict[str, Tensor], dict[str, Any]]]
    step: int
    num_images: int
    failure: str


class Stage:
    """``begin_like``: a stage whose networks' weights this one begins with."""

    def __init__(self, shared: Shared, choice: StageChoice, source: ArraySource, measures: Measures, begin_like: Stage | None = None):
        self.shared, self.choice, self.source, self.measures = shared, choice, source, measures
        self.objective, self.failure = BY_NAME[choice.objective], ""
        torch.manual_seed(mix(shared.seed))
        self.game = build_game(shared, choice, source.spec)
        if begin_like is not None:
            for name in ("generator", "discriminator"):
                getattr(self.game, name).load_state_dict(getattr(begin_like.game, name).state_dict())
        self.trainer = Trainer(self.game, source, device="cpu")
        self.scale = torch.tensor(source.spec.std)
        self.shift = torch.tensor(source.spec.mean)
        draws = torch.Generator().manual_seed(mix(shared.seed, 1))
        self.latents = torch.randn(NUM_FAKES, shared.latent_dim, generator=draws)
        self.between = torch.rand(NUM_SHOWN, generator=draws)
        real = source.read(np.resize(torch.randperm(len(source), generator=draws)[:NUM_REAL].numpy(), NUM_REAL)).real
        self.real = real  # in the data's units; the networks play in standard deviations
        self.shown_real = (real[:NUM_SHOWN] - self.shift) / self.scale

    # --- moving -----------------------------------------------------------------------------------------------------------------------

    def step(self, who: str) -> None:
        """A step of ``d``, ``g`` or ``b`` (both); nothing once numbers have stopped being finite (``failure`` says where)."""
        if self.failure:
            return
        try:
            self.trainer.advance(PLAYERS[who])
        except NonFiniteError as error:
            self.failure = str(error)

    def snapshot(self) -> Snapshot:
        optimizers = {}
        for name, optimizer in self.trainer.optimizers.items():
            tensors, plain = optimizer_tensors(optimizer.torch)
            optimizers[name] = ({key: value.clone() for key, value in tensors.items()}, plain)
        tensors = {name: value.clone() for name, value in self.game.state_dict().items()}
        return Snapshot(tensors, optimizers, self.trainer.step, self.trainer.num_images, self.failure)

    def restore(self, snapshot: Snapshot) -> None:
        self.game.load_state_dict(snapshot.tensors)
        for name, (tensors, plain) in snapshot.optimizers.items():
            restore_optimizer(self.trainer.optimizers[name].torch, {key: value.clone() for key, value in tensors.items()}, plain)
        self.trainer.step, self.trainer.num_images, self.failure = snapshot.step, snapshot.num_images, snapshot.failure

    def hashes(self) -> dict[str, str]:
        """SHA-256 (hex) of each player's weights."""
        return {name: hash_of(getattr(self.game, name)) for name in ("generator", "discriminator")}

    # --- looking ----------------------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def fakes(self, latents: Tensor) -> Tensor:
        """(N, Z) -> (N, 2) in standard deviations."""
        return self.game.generator(latents)

    def in_units(self, points: Tensor) -> Tensor:
        return points * self.scale + self.shift

    @torch.no_grad()
    def judged(self, points: Tensor) -> Tensor:
        """(N, 2) in standard deviations -> (N,) what the discriminator says: a probability, a value near 0 or 1, or a score, as the objective has it."""
        outputs = self.game.discriminator(points)
        return torch.sigmoid(outputs) if self.objective.scale == "logit" else outputs

    def numbers(self) -> dict[str, float]:
        """Of the same points at every step. Losses are without penalties."""
        fake = self.fakes(self.latents[:NUM_SHOWN])
        with torch.no_grad():
            real_out, fake_out = self.game.discriminator(self.shown_real), self.game.discriminator(fake)
            batch = Batch(self.shown_real)
            d_loss = sum(self.game.discriminator_terms(real_out, fake_out, batch).values())
            g_loss = sum(self.game.generator_terms(fake_out, real_out, batch).values())
        logit = self.objective.scale == "logit"
        found = {
            "d_loss": d_loss, "g_loss": g_loss, "accuracy": pair_accuracy(real_out, fake_out),
            "d_real": (torch.sigmoid(real_out) if logit else real_out).mean(), "d_fake": (torch.sigmoid(fake_out) if logit else fake_out).mean(),
            "gradient": self.pushes(fake).norm(dim=1).mean(), "gap": real_out.mean() - fake_out.mean(),
            "slope": gradient_penalty(self.game.discriminator, self.shown_real, fake, self.between, 0.0).detach().sqrt(),
        }  # fmt: skip
        if logit:  # the value of the game at this D: at most 2 JS - log 4, and so much at the best D (Goodfellow et al. 2014, theorem 1)
            value = torch.nn.functional.logsigmoid(real_out).mean() + torch.nn.functional.logsigmoid(-fake_out).mean()
            found["d_js"] = (value + math.log(4)) / 2
        return {name: float(value) for name, value in found.items()}

    def pushes(self, fake: Tensor) -> Tensor:
        """(N, 2) minus the gradient of the generator's loss at fakes, in standard deviations."""
        game = self.game

        def loss(points: Tensor) -> Tensor:
            real_out = game.discriminator(self.shown_real[: len(points)]) if game.paired else None
            terms = game.generator_terms(game.discriminator(points), real_out, Batch(self.shown_real[: len(points)]))
            return sum(terms.values())

        return -gradient_at(loss, fake)

    def arrays(self, layers: set[str], heat_points: Tensor) -> dict[str, np.ndarray]:
        """What is drawn, in the data's units, float32: the fakes always, of the rest what ``layers`` names. ``heat_points``: (HEAT * HEAT, 2), in units."""
        fake = self.fakes(self.latents[:NUM_SHOWN])
        found = {"fake": self.in_units(fake).numpy()}
        if "heat" in layers:
            found["heat"] = self._heat(heat_points)
        if "manifold" in layers:
            shape = (CURVE, 2) if self.shared.latent_dim == 1 else (GRID, GRID, 2)
            found["manifold"] = self.in_units(self.fakes(self._latent_grid)).reshape(shape).numpy()
        if "gradients" in layers:
            some = fake[:NUM_ARROWS]
            found["gradients"] = torch.cat([self.in_units(some), self.pushes(some) * self.scale], 1).numpy()
        return {name: np.ascontiguousarray(array, np.float32) for name, array in found.items()}

    def measure(self) -> Reading:
        return self.measures.read(self.in_units(self.fakes(self.latents)).numpy())

    def _heat(self, points: Tensor) -> np.ndarray:
        """(HEAT, HEAT) in 0 to 1, the lowest row first: what D says; for a score, so that 0.5 lies between what it says on real and on fake points."""
        said = self.judged((points - self.shift) / self.scale)
        if self.objective.scale == "score":
            middle = (self.judged(self.shown_real).mean() + self.judged(self.fakes(self.latents[:NUM_SHOWN])).mean()) / 2
            said = 0.5 + (said - middle) / (2 * (said - middle).abs().max().clamp_min(1e-9))
        return said.clamp(0, 1).reshape(HEAT, HEAT).numpy()

    @cached_property
    def _latent_grid(self) -> Tensor:
        """Latents whose first two numbers (or the only one) form a grid, the others 0."""
        if self.shared.latent_dim == 1:
            return torch.linspace(-REACH, REACH, CURVE)[:, None]
        line = torch.linspace(-REACH, REACH, GRID)
        grid = torch.zeros(GRID * GRID, self.shared.latent_dim)
        grid[:, :2] = torch.cartesian_prod(line, line)
        return grid


def hash_of(module: nn.Module) -> str:
    """SHA-256 (hex) over the names and bytes of a module's parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
