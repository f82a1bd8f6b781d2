"""The Game: one paper, stated as who plays, in what order, and for which loss terms.

A game never calls ``backward``, ``step``, ``zero_grad`` or autocast, and knows nothing of devices and ranks. All of that lives once, in
:mod:`agon.train.trainer`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from agon.config import OptimizerConfig, Preset, TrainConfig
from agon.data.source import Batch, DataSpec
from agon.errors import UserError

Terms = dict[str, Tensor]


@dataclass(frozen=True)
class Player:
    """A group of modules moved by one optimizer. Players may share modules."""

    modules: tuple[nn.Module, ...]
    optimizer: OptimizerConfig

    def parameters(self) -> list[nn.Parameter]:
        """Every trainable parameter once, in the order of definition."""
        return list(dict.fromkeys(p for module in self.modules for p in module.parameters() if p.requires_grad))


@dataclass(frozen=True)
class Update:
    """One optimizer step of a player."""

    player: str
    loss: Callable[[Batch, Context], Terms | None]
    """Returns named terms whose sum is minimised (each the mean over the batch it was given), or None to pass."""
    every: int = 1
    """Run in every so-many-th step only (lazy regularisation): gradients are multiplied by it, learning rate and betas corrected."""
    times: int = 1
    """How often in a row (critic steps)."""
    fresh: bool = False
    """Draw a new batch for each of ``times``."""
    after: Callable[[Context], None] | None = None
    """Called after the optimizer step (weight clipping, power iteration, running means)."""


@dataclass(frozen=True)
class Stage:
    """A part of the run. The stage is a function of the clock, so that resuming needs no further state."""

    name: str
    updates: tuple[Update, ...]
    length: int | None = None
    """Images; None: to the end of the run."""
    fresh_optimizers: bool = False
    """Whether the optimizers forget their moments when the stage begins (progressive growing)."""


class Draws(Protocol):
    """Where networks and augmentations get their random numbers from: each sample has its own."""

    def normal(self, n: int, *shape: int) -> Tensor:
        """(n, *shape) standard normal numbers."""
        ...

    def uniform(self, n: int, *shape: int) -> Tensor:
        """(n, *shape) uniform numbers in [0, 1)."""
        ...


class SeededDraws:
    """Draws of one generator, which lives on the CPU so that every device gets the same numbers."""

    def __init__(self, generator: torch.Generator, device: torch.device | str = "cpu"):
        self.generator, self.device = generator, device

    def normal(self, n: int, *shape: int) -> Tensor:
        return torch.randn(n, *shape, generator=self.generator).to(self.device)

    def uniform(self, n: int, *shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=self.generator).to(self.device)


class RecordedDraws:
    """Draws that remember what they gave, so that a pass can be made again with the same numbers (:meth:`again`)."""

    def __init__(self, source: Draws):
        self.source, self.given = source, []

    def normal(self, n: int, *shape: int) -> Tensor:
        return self._note(self.source.normal(n, *shape))

    def uniform(self, n: int, *shape: int) -> Tensor:
        return self._note(self.source.uniform(n, *shape))

    def again(self) -> Draws:
        """The same numbers once more, in their order."""
        return _Replay(self.given)

    def _note(self, numbers: Tensor) -> Tensor:
        self.given.append(numbers)
        return numbers


class EveryNth:
    """Draws for every ``step``-th sample of a batch of ``count``, from draws that know whole batches only."""

    def __init__(self, source: Draws, count: int, step: int):
        self.source, self.count, self.step = source, count, step

    def normal(self, n: int, *shape: int) -> Tensor:
        return self.source.normal(self.count, *shape)[:: self.step][:n]

    def uniform(self, n: int, *shape: int) -> Tensor:
        return self.source.uniform(self.count, *shape)[:: self.step][:n]


class _Replay:
    def __init__(self, given: list[Tensor]):
        self.left = list(given)

    def normal(self, n: int, *shape: int) -> Tensor:
        numbers = self.left.pop(0)
        assert numbers.shape == (n, *shape), (numbers.shape, n, shape)
        return numbers

    uniform = normal


class Context:
    """What a loss may know about the moment: the clock, randomness that does not depend on how the batch is split, and a place to log.

    ``step``, ``num_images``: so far. ``progress``: 0 to 1 within the stage. ``logging``: whether this step's values will be written
    (compute costly statistics only then).
    """

    def __init__(self, *, step: int, num_images: int, progress: float, logging: bool, mean_over_ranks: Callable[[Tensor], Tensor]):
        self.step, self.num_images, self.progress, self.logging = step, num_images, progress, logging
        self.mean_over_ranks = mean_over_ranks
        self._kept: dict[tuple[str, int], list[Any]] = {}
        self.stats: dict[str, Tensor] = {}
        self._generator: torch.Generator | None = None
        self._offset, self._count, self._total, self.split = 0, 1, 1, False

    def begin(self, generator: torch.Generator, offset: int, count: int, total: int, *, split: bool = False) -> None:
        """Called by the trainer before each loss: samples ``offset`` to ``offset + count`` of a batch of ``total`` are up; ``split``: the
        rank's share comes in several parts, to save memory."""
        self._generator, self._offset, self._count, self._total, self.split = generator, offset, count, total, split

    @property
    def place(self) -> tuple[int, int]:
        """(first, total): the samples of this part are numbers ``first`` onwards of a batch of ``total`` over all ranks and parts."""
        return self._offset, self._total

    def normal(self, n: int, *shape: int) -> Tensor:
        """(n, *shape) standard normal numbers: this part's share of one draw for the whole batch, whatever the number of ranks."""
        return self._share(torch.randn, n, shape)

    def uniform(self, n: int, *shape: int) -> Tensor:
        """(n, *shape) uniform numbers in [0, 1), shared like :meth:`normal`."""
        return self._share(torch.rand, n, shape)

    def keep(self, name: str, value: Any) -> None:
        """Hand a tensor (or recorded draws) to a later update of this step for the same part of the batch; several are taken in their order. Its graph comes
        along: detach it unless the later loss is to reach through it, which it can as long as the players in between are others."""
        self._kept.setdefault((name, self._offset), []).append(value)

    def take(self, name: str) -> Any:
        """What :meth:`keep` left for this part of the batch, each once; None if there is nothing (any more)."""
        waiting = self._kept.get((name, self._offset))
        return waiting.pop(0) if waiting else None

    def log(self, name: str, value: Tensor) -> None:
        """Note a scalar tensor; it is read only in steps that are written to the log."""
        if self.logging:
            self.stats[name] = value.detach()

    def _share(self, draw, n: int, shape: tuple[int, ...]) -> Tensor:
        if n % self._count:
            raise ValueError(f"{n} random samples asked for in a batch part of {self._count}: expected a multiple")
        k = n // self._count
        whole = draw(self._total * k, *shape, generator=self._generator, device=self._generator.device)
        return whole[self._offset * k : (self._offset + self._count) * k]


class Game(nn.Module, ABC):
    """Base of every game. A concrete game defines ``Config``, ``presets``, its networks, ``players``, ``stages`` and ``sample``."""

    Config: ClassVar[type[TrainConfig]]
    presets: ClassVar[dict[str, Preset]]
    ema: ClassVar[tuple[str, ...]] = ()
    """Names of the submodules whose moving average is kept and sampled from."""
    takes_labels: bool = False
    """Whether :meth:`sample` can be asked for classes (``label``)."""
    controls: ClassVar[tuple[str, ...]] = ()
    """What else :meth:`sample` takes by name (``truncation`` ...)."""
    needs_input: ClassVar[bool] = False
    """Whether :meth:`sample` must be given inputs (``source``) to start from."""
    data_options: ClassVar[dict[str, Any]] = {}
    """Options of the data that this game wants where the data know them and nothing else was said."""

    def __init__(self, config: TrainConfig, spec: DataSpec):
        super().__init__()
        self.config, self.spec = config, spec

    @abstractmethod
    def players(self) -> dict[str, Player]:
        """Name -> player, in the order of their learning rates in the log."""

    @abstractmethod
    def stages(self) -> list[Stage]:
        """The plan of the run."""

    @abstractmethod
    def sample(self, n: int, *, seed: int, **conditions: Any) -> Tensor:
        """(n, *spec.shape) samples in the data's range, a function of the weights, ``seed`` and the conditions alone."""

    def prepare_to_sample(self) -> None:
        """Called once after the averaged weights are in place (batch statistics may be re-estimated here)."""

    def batch_coupled(self) -> list[str]:
        """Names of layers through which samples of a batch see each other: splitting the batch changes what they compute."""
        return [name for name, module in self.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm) or getattr(module, "couples_batch", False)]

    @classmethod
    def preset_for(cls, spec: DataSpec) -> str:
        """The name of the first preset that fits the data. Raises UserError when none does."""
        size = max(spec.shape[1:]) if spec.kind == "image" else 0
        for name, preset in cls.presets.items():
            if preset.auto and preset.kind == spec.kind and size <= preset.max_size:
                return name
        raise UserError(
            "{game} has no preset for data of kind '{kind}'. Expected one of: {kinds}.",
            game=cls.__name__, kind=spec.kind, kinds=", ".join(sorted({p.kind for p in cls.presets.values()})),
        )  # fmt: skip
