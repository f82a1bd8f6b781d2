"""A game of the tests: two linear players on points, whose plan and losses a test states itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from agon.config import OptimizerConfig, Preset, TrainConfig, build
from agon.data.source import ArraySource, Batch, DataSpec
from agon.game import Game, Player, Stage, Update
from agon.train.trainer import Observer, Trainer

SGD = {"optimizer.name": "sgd", "optimizer.beta1": 0.0, "optimizer.lr": 0.125}
"""Plain gradient descent: a step tells its gradient."""


@dataclass(frozen=True, kw_only=True)
class Config(TrainConfig):
    optimizer: OptimizerConfig = OptimizerConfig(lr=0.01)


class Duel(Game):
    """``left`` and ``right`` are linear maps of points; ``anchor`` belongs to nobody. ``plan(game)`` gives the stages."""

    Config = Config
    presets = {"toy": Preset(kind="points", fields={}), "tiny": Preset(kind="points", auto=False, fields={})}
    ema = ("left",)

    def __init__(self, config, spec, plan=None):
        super().__init__(config, spec)
        self.plan = plan
        self.left, self.right, self.anchor = nn.Linear(2, 1), nn.Linear(2, 1), nn.Linear(2, 1)
        self.norm = nn.BatchNorm1d(1)
        self.seen = []

    def players(self):
        return {"left": Player((self.left,), self.config.optimizer), "right": Player((self.right,), self.config.optimizer)}

    def stages(self):
        return self.plan(self) if self.plan else [Stage("train", (Update("left", self.left_loss), Update("right", self.right_loss)))]

    def left_loss(self, batch, ctx):
        self.seen.append(batch.real.clone())
        noise = ctx.normal(len(batch), 1)
        return {"pull": (self.left(batch.real) - self.anchor(batch.real)).square().mean(), "noise": (self.left.weight.sum() * noise).mean()}

    def right_loss(self, batch, ctx):
        return {"push": (self.right(batch.real) - self.left(batch.real)).square().mean()}

    def sample(self, n, *, seed, **conditions):
        return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed)) + self.left.bias.detach()


class Spoilt(ArraySource):
    """Points of which some reads hold an infinity: sample ``at`` is infinite in epoch ``epoch``."""

    def __init__(self, length=64, at=None, epoch=0):
        points = np.random.default_rng(0).normal(size=(length, 2)).astype(np.float32)
        super().__init__("spoilt", DataSpec("points", (2,)), points)
        self.at, self.epoch = at, epoch

    def read(self, indices, *, seed=0, epoch=0):
        real = super().read(indices, seed=seed, epoch=epoch).real
        if epoch == self.epoch and self.at is not None:
            real[torch.from_numpy(np.asarray(indices) == self.at)] = torch.inf
        return Batch(real)


def duel(source=None, *, plan=None, observer: Observer | None = None, cls=Duel, ranks=None, **fields) -> Trainer:
    source = source or Spoilt()
    torch.manual_seed(1)
    config = build(Config, {"batch_size": 8, "precision": "fp32", "log_every": 5, "images": 8000, **fields})
    game = cls(config, source.spec, plan)
    return Trainer(game, source, observer=observer, **({"ranks": ranks} if ranks else {}))


def weights(trainer) -> dict:
    return {name: value.detach().clone() for name, value in trainer.game.state_dict().items()}


def same(one, other, names=None) -> bool:
    return all(torch.equal(one[name], other[name]) for name in names or one)
