"""A game whose generator starts from a picture, a label map or a picture with a hole, not from noise."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agon.data.inputs import is_recipe
from agon.data.source import Batch, DataSpec
from agon.errors import UserError
from agon.game import Context, Draws, Game, Player, SeededDraws
from agon.layers import spectral
from agon.layers.init import initialise
from agon.losses.adversarial import pair_accuracy
from agon.translation.config import TranslationConfig
from agon.translation.objectives import OBJECTIVES, Objective


class TranslationGame(Game):
    """One file states the networks, the losses and how a picture is translated (:meth:`render`)."""

    ema = ("generator",)
    needs_input = True
    takes: ClassVar[tuple[str, ...]] = ("picture",)
    """Kinds of input it can start from (``DataSpec.source_kind``); "" for a game that starts from the pictures themselves."""
    pairs: ClassVar[bool] = True
    """Whether a sample and its input must show the same scene."""
    directions: ClassVar[tuple[str, ...]] = ("forward",)
    """Ways in which it can translate; the first is the default."""
    objectives: ClassVar[Callable[[str], Objective]] = staticmethod(OBJECTIVES.__getitem__)
    """Name -> objective, in the scale that the game's paper has it in."""
    multiple: int = 1
    """What the sides of an input must be multiples of. Others are padded, and the result is cut."""
    reach: int | None = None
    """Pixels of the input round a place that the output there depends on; None: the whole picture. What is bounded can be made in tiles."""
    fixed_size: bool = False
    """Whether only pictures of the size it was trained on can be translated."""

    def __init__(self, config: TranslationConfig, spec: DataSpec):
        super().__init__(config, spec)
        self._check(spec)

    # --- what each game states --------------------------------------------------------------------------------------------------------

    @abstractmethod
    def render(self, source: Tensor, draws: Draws, **controls: Any) -> Tensor:
        """(N, C, H, W) pictures from encoded inputs (:meth:`encode`), in evaluation mode. ``controls``: ``direction``, ``condition`` (one-hot or vector) and
        those of :attr:`controls`, where they were given or apply."""

    def players(self) -> dict[str, Player]:
        """Discriminator and generator; a game with others says so."""
        return {"discriminator": Player((self.discriminator,), self.discriminator_optimizer()), "generator": Player((self.generator,), self.config.optimizer)}

    # --- pieces for the games ---------------------------------------------------------------------------------------------------------

    @property
    def objective(self) -> Objective:
        """The adversarial objective that the configuration names, in the scale of the game."""
        return self.objectives(self.config.adversarial)

    @property
    def source_channels(self) -> int:
        """Channels of an encoded input: one for each class of a map (and one for the edges), else those of the picture."""
        if self.spec.source_kind == "map":
            return len(self.spec.source_classes) + self.spec.source_shape[0] - 1
        return self.source_shape[0]

    @property
    def source_shape(self) -> tuple[int, ...]:
        """(C, H, W) of an input as the data give it."""
        return self.spec.source_shape or self.spec.shape

    @property
    def scale(self) -> int:
        """Pixels of the output for one of the input, along a side."""
        return self.spec.shape[1] // self.source_shape[1]

    def discriminator_optimizer(self):
        return dataclasses.replace(self.config.optimizer, lr=self.config.discriminator_lr or self.config.optimizer.lr)

    def start(self, *networks: nn.Module, spectral_norm: bool = False) -> None:
        """Give networks their first weights; ``spectral_norm``: divide them by their largest singular value (follow it by :meth:`follow` after each step)."""
        for network in networks:
            initialise(network, self.config.init)
            if spectral_norm:
                spectral.spectral_normalise(network)

    def follow(self, *networks: nn.Module):
        """An ``Update.after`` that takes a power iteration of every spectrally normalised weight of ``networks``."""
        return lambda ctx: [spectral.iterate(network) for network in networks] and None

    def encode(self, source: Tensor) -> Tensor:
        """Inputs as a network takes them: (N, source_channels, H, W) float32, maps as one-hot classes and the edges."""
        if self.spec.source_kind != "map":
            return source
        classes = F.one_hot(source[:, 0].long(), len(self.spec.source_classes)).movedim(3, 1).float()
        return torch.cat([classes, source[:, 1:].float()], 1) if source.shape[1] > 1 else classes

    def inputs(self, batch: Batch) -> Tensor:
        """What translation starts from: the batch's inputs, or the pictures themselves."""
        return batch.real if batch.source is None else batch.source

    def log_logits(self, real: Tensor, fake: Tensor, ctx: Context, name: str = "discriminator") -> None:
        """Note a discriminator's mean logits and how often it is right about pairs of patches."""
        if ctx.logging:
            ctx.log(f"{name}/real_logit", real.mean())
            ctx.log(f"{name}/fake_logit", fake.mean())
            ctx.log(f"{name}/accuracy", pair_accuracy(real.flatten(), fake.flatten()))

    @classmethod
    def any_input(cls) -> str:
        """A recipe by which any pictures become inputs that this game can start from; "" where it starts from the pictures themselves."""
        wanted = cls.data_options.get("input", "auto")
        if "" in cls.takes:
            return ""
        if is_recipe(wanted):
            return wanted
        return {"picture": "grey", "map": "levels:4", "hole": "hole:box"}[cls.takes[0]]

    # --- translating ------------------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def translate(self, source: Tensor, *, seed: int = 0, label: Tensor | None = None, condition: Tensor | None = None, direction: str | None = None,
                  **controls: Any) -> Tensor:  # fmt: skip
        """(N, C, scale * H, scale * W) float32 in [-1, 1] from inputs (N, C', H, W) of any size: in [-1, 1], class numbers or with a hole, as the data were.
        ``label``: (N,) wanted classes, or ``condition``: (N, K) wanted attributes, of a game between domains. Raises UserError for what does not fit."""
        given = self._controls(len(source), label, condition, direction, controls)
        device = next(self.parameters()).device
        source = self._checked(source, given.get("direction")).to(device)
        height, width = source.shape[2:]
        padded = padded_to(source, self.multiple)
        was_training = self.training
        self.eval()
        given = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in given.items()}
        drawn = SeededDraws(torch.Generator().manual_seed(seed), device)
        made = self.render(self.encode(padded) if given.get("direction", self.directions[0]) == self.directions[0] else padded, drawn, **given)
        self.train(was_training)
        scale = made.shape[2] // padded.shape[2]
        return made[:, :, : height * scale, : width * scale].float().clamp(-1, 1)

    def sample(self, n: int, *, seed: int, source: Tensor | None = None, **controls: Any) -> Tensor:
        """(n, *spec.shape): :meth:`translate` of ``source`` (n, *source_shape), which must be given."""
        if source is None or len(source) != n:
            raise UserError("{game} makes pictures from pictures, and {count} inputs were given for {n}. Expected source, one input for each; on the command "
                            "line: agon translate RUN INPUT.", game=type(self).__name__, count=0 if source is None else len(source), n=n)  # fmt: skip
        return self.translate(source, seed=seed, **controls)

    def _controls(self, n: int, label: Tensor | None, condition: Tensor | None, direction: str | None, controls: dict) -> dict[str, Any]:
        for name in controls:
            if name not in self.controls:
                raise UserError("{game} cannot be asked for {name}. Expected some of: {known}.", game=type(self).__name__, name=name,
                                known=", ".join(("direction", "label", *self.controls)))  # fmt: skip
        if direction is not None and direction not in self.directions:
            raise UserError("{game} does not translate {direction}. Expected one of: {known}.", game=type(self).__name__, direction=direction,
                            known=", ".join(self.directions))  # fmt: skip
        given = dict(controls) | ({"direction": direction} if direction is not None and len(self.directions) > 1 else {})
        if label is not None and not self.takes_labels:
            raise UserError("{game} has no classes to choose from. Leave the class out.", game=type(self).__name__)
        if label is not None:
            wrong = label[(label < 0) | (label >= self.spec.num_classes)]
            if len(wrong):
                raise UserError("There is no class {label}. Expected a number from 0 to {last}.", label=int(wrong[0]), last=self.spec.num_classes - 1)
            condition = F.one_hot(label.long().cpu(), self.spec.num_classes).float()
        return given | ({"condition": condition} if condition is not None else {})

    def _checked(self, source: Tensor, direction: str | None) -> Tensor:
        expected = self.source_shape if direction in (None, self.directions[0]) else self.spec.shape
        if source.dim() != 4 or source.shape[1] != expected[0]:
            raise UserError("Inputs of shape {shape} do not fit. Expected (N, {channels}, height, width).", shape=tuple(source.shape), channels=expected[0])
        if self.fixed_size and tuple(source.shape[1:]) != tuple(expected):
            raise UserError("Inputs of shape {shape} do not fit: this network has one size. Expected (N, {expected}).", shape=tuple(source.shape),
                            expected=", ".join(map(str, expected)))  # fmt: skip
        if self.spec.source_kind == "map" and len(source) and int(source[:, 0].max()) >= len(self.spec.source_classes):
            raise UserError("A map holds the class {number}, and {count} classes are known. Expected numbers from 0 to {last}.",
                            number=int(source[:, 0].max()), count=len(self.spec.source_classes), last=len(self.spec.source_classes) - 1)  # fmt: skip
        return source

    def _check(self, spec: DataSpec) -> None:
        name = type(self).__name__
        if spec.kind != "image":
            raise UserError("{game} is played on pictures, not on {kind}. Expected a folder of pictures or a data set of pictures.", game=name, kind=spec.kind)
        if spec.source_kind not in self.takes:
            if not spec.source_kind:
                raise UserError("{game} makes pictures from something, and the data say nothing of what. Add --data.input with a folder of inputs, left, "
                                "right, or a recipe such as edges or grey.", game=name)  # fmt: skip
            raise UserError("{game} cannot start from a {kind}. Expected: {known}. Choose another --data.input.", game=name, kind=spec.source_kind,
                            known=", ".join(self.takes) if any(self.takes) else "pictures without --data.input")  # fmt: skip
        if self.pairs and not spec.paired:
            raise UserError("{game} learns from pairs, and these pictures do not belong together. Expected pairs (--data.paired true), or a game for unpaired "
                            "sets such as cyclegan.", game=name)  # fmt: skip


def padded_to(source: Tensor, multiple: int) -> Tensor:
    """``source`` with its right and bottom edges repeated until both sides are multiples of ``multiple``; mirrored where there is enough of it."""
    down, right = (-side % multiple for side in source.shape[2:])
    if not (down or right):
        return source
    mode = "reflect" if down < source.shape[2] and right < source.shape[3] and source.is_floating_point() else "replicate"
    return F.pad(source.float(), (0, right, 0, down), mode=mode).to(source.dtype)
