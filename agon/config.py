"""Typed configuration: frozen dataclasses that are validated, overridden by dotted names, and stored as JSON.

A game's configuration is one flat dataclass (nested where a group belongs together, ``optimizer.lr``) that inherits the fields every
training has from :class:`TrainConfig`. Nothing here imports torch, so that help and errors come at once.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import inspect
import math
import textwrap
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from agon.errors import UserError
from agon.locale import translate


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    name: Literal["adam", "adamw", "rmsprop", "sgd"] = "adam"
    """Which optimizer of torch.optim (beta1 is the momentum of sgd; beta2 is rmsprop's smoothing)."""
    lr: float = 2e-4
    """Learning rate at the start."""
    beta1: float = 0.5
    """Decay of the first moment (Radford et al. 2016 use 0.5, most later work 0)."""
    beta2: float = 0.999
    """Decay of the second moment at the start."""
    beta2_final: float | None = None
    """Decay of the second moment at the end, reached along a cosine (R3GAN: 0.9 to 0.99). None: constant."""
    eps: float = 1e-8
    """Added to the root of the second moment."""
    weight_decay: float = 0.0
    """L2 (adam, sgd, rmsprop) or decoupled (adamw) weight decay."""
    schedule: Literal["constant", "linear", "cosine", "geometric", "halving"] = "constant"
    """How the learning rate falls: to lr_final along a line, a cosine or by equal factors, from decay_start to the end, or halved every halve_every_images."""
    decay_start: float = 0.0
    """Fraction of the run after which the decay to lr_final begins (CycleGAN: 0.5), in [0, 1)."""
    lr_final: float = 0.0
    """Learning rate at the end of a linear, cosine or geometric decay."""
    halve_every_images: int = 0
    """For schedule=halving: the learning rate halves every so many images."""
    warmup_images: int = 0
    """The learning rate rises from 0 over so many images."""

    def __post_init__(self):
        require(0 < self.lr < math.inf, "lr", self.lr, "a finite number above 0")
        require(0 <= self.beta1 < 1, "beta1", self.beta1, "a number in [0, 1)")
        require(0 <= self.beta2 < 1, "beta2", self.beta2, "a number in [0, 1)")
        require(self.beta2_final is None or self.name in ("adam", "adamw"), "beta2_final", self.beta2_final, "none, or the optimizer adam or adamw")
        require(self.beta2_final is None or 0 <= self.beta2_final < 1, "beta2_final", self.beta2_final, "a number in [0, 1)")
        require(0 <= self.decay_start < 1, "decay_start", self.decay_start, "a fraction in [0, 1)")
        require(self.lr_final >= 0, "lr_final", self.lr_final, "a number not below 0")
        require(self.eps >= 0, "eps", self.eps, "a number not below 0")
        require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "a number not below 0")
        require(self.warmup_images >= 0, "warmup_images", self.warmup_images, "0 (off) or a number of images")
        if self.schedule == "geometric":
            require(self.lr_final > 0, "lr_final", self.lr_final, "a number above 0 with schedule=geometric")
        if self.schedule == "halving":
            require(self.halve_every_images > 0, "halve_every_images", self.halve_every_images, "a number of images above 0 with schedule=halving")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What every training has, whatever the game. Time is counted in real images drawn."""

    images: int = 1_000_000
    """Length of the run in real images drawn (schedules reach their end here). On the command line also --steps, or 200k, 25M."""
    batch_size: int = 64
    """Samples in one optimizer step, over all ranks and micro-batches together."""
    micro_batch_size: int = 0
    """Samples that go through the networks at once on a rank; gradients accumulate over the rest. 0: all of the rank's share."""
    seed: int = 0
    """Seed of everything: weights, latents, the data's order."""
    precision: Literal["bf16", "fp16", "fp32"] = "bf16"
    """What networks compute in (weights and gradient penalties stay float32). bf16 falls back to fp32, with a word, where the processor has none."""
    channels_last: bool = True
    """Keep pictures in the memory layout that convolutions like best."""
    compile: bool = False
    """torch.compile the networks (penalties always run the eager ones: compiled code has no double backward)."""
    clip_grad_norm: float = 0.0
    """Scale gradients down to at most this global norm. 0: off."""
    ema_half_life_images: int = 10_000
    """Half-life of the generator's moving average, in images (Karras et al. 2018). 0: no averaging."""
    ema_rampup: float = 0.05
    """The half-life is at most this fraction of the images seen so far, so that the beginning is forgotten (Karras et al. 2020)."""
    ema_every: int = 4
    """Update the moving average every so many steps, with the decay that corresponds (every step costs 4 % of a small network's time)."""
    log_every: int = 50
    """Steps between two lines of log.jsonl. Values are fetched from the device only then."""
    sample_every_images: int = 0
    """Images between two sample grids. 0: twenty over the run."""
    checkpoint_every_images: int = 0
    """Images between two checkpoints. 0: ten over the run. One is always written at the end and on a signal."""
    keep_checkpoints: int = 2
    """How many verified checkpoints stay on the disk, at least 2."""
    metrics: tuple[str, ...] = ()
    """Numbers to measure while training, on the averaged weights: names of 'agon list metrics', such as fid_digits or kid,coverage."""
    metrics_every_images: int = 0
    """Images between two measurements (on the command line also --every). 0: ten over the run."""
    metrics_samples: int = 0
    """Samples drawn for a measurement. 0: the metrics' own default."""
    best_metric: str = ""
    """The metric whose best checkpoint is kept in best/. Empty: the first of metrics of which lower or higher is better."""
    rollbacks: int = 0
    """How often a run that met a non-finite loss or gradient goes back to its last checkpoint and on with other randomness. 0: it stops."""

    def __post_init__(self):
        require(self.images > 0, "images", self.images, "a number above 0")
        require(self.batch_size > 0, "batch_size", self.batch_size, "a number above 0")
        require(self.micro_batch_size >= 0, "micro_batch_size", self.micro_batch_size, "0 or a number of samples")
        require(self.ema_half_life_images >= 0, "ema_half_life_images", self.ema_half_life_images, "0 (off) or a number of images")
        require(self.ema_rampup >= 0, "ema_rampup", self.ema_rampup, "0 (off) or a fraction above 0")
        require(self.sample_every_images >= 0, "sample_every_images", self.sample_every_images, "0 or a number of images")
        require(self.checkpoint_every_images >= 0, "checkpoint_every_images", self.checkpoint_every_images, "0 or a number of images")
        require(self.log_every > 0, "log_every", self.log_every, "a number of steps above 0")
        require(self.ema_every > 0, "ema_every", self.ema_every, "a number of steps above 0")
        require(self.keep_checkpoints >= 2, "keep_checkpoints", self.keep_checkpoints, "2 or more: one may turn out damaged")
        require(self.metrics_every_images >= 0, "metrics_every_images", self.metrics_every_images, "0 or a number of images")
        require(self.metrics_samples >= 0, "metrics_samples", self.metrics_samples, "0 or a number of samples")
        require(self.best_metric in ("", *self.metrics), "best_metric", self.best_metric, "one of metrics")
        require(self.rollbacks >= 0, "rollbacks", self.rollbacks, "0 or more")
        require(self.clip_grad_norm >= 0, "clip_grad_norm", self.clip_grad_norm, "0 (off) or a norm above 0")


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Named overrides of a game's configuration, kept in the game's file."""

    fields: dict[str, Any]
    """Dotted field name -> value."""
    kind: str = "image"
    """The kind of data it is for ("image", "points", "any")."""
    max_size: int = 1 << 30
    """Chosen by itself for pictures whose longer side is at most this (the first fitting preset wins)."""
    auto: bool = True
    """Whether it may be chosen by itself."""
    note: str = ""
    """The command, what it costs and what it reached."""


def require(condition: bool, field: str, value: object, expected: str) -> None:
    """Raise the error of a field whose value is out of range, beside the field's definition."""
    if not condition:
        raise UserError("The value {value} of '{field}' is out of range. Expected {expected}.", value=value, field=field, expected=translate(expected))


def build(config_class: type, *layers: dict[str, Any]):
    """A ``config_class`` from its defaults and layers of dotted overrides, the later ones winning; values may be strings.

    Raises UserError for an unknown field (with the nearest match), a value of the wrong type or out of range.
    """
    tree = to_dict(config_class())
    kinds = _kinds(config_class)
    for layer in layers:
        for name, value in flatten(layer).items():
            _place(kinds, tree, name, value)
    return _validate(config_class, tree)


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration as plain JSON types; ``build(type(config), to_dict(config)) == config``."""
    return dataclasses.asdict(config)


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"optimizer": {"lr": 1}}`` -> ``{"optimizer.lr": 1}``."""
    flat = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def nearest(word: str, known: list[str]) -> str:
    """The most similar of ``known``, for an error message; the first of them when nothing is similar."""
    matches = difflib.get_close_matches(word, known, n=1, cutoff=0.0)
    return matches[0] if matches else ""


def field_names(config_class: type) -> list[str]:
    """All dotted field names, in the order of definition."""
    return [name for name, _, _, _ in fields(config_class)]


def fields(config_class: type, prefix: str = "", default: Any = None):
    """Yield (dotted name, type, default, help) for every leaf field."""
    hints, docs = get_type_hints(config_class), field_docs(config_class)
    default = config_class() if default is None else default
    for field in dataclasses.fields(config_class):
        kind, value = hints[field.name], getattr(default, field.name)
        if dataclasses.is_dataclass(kind):
            yield from fields(kind, f"{prefix}{field.name}.", value)
        else:
            yield prefix + field.name, kind, value, docs.get(field.name, "")


@functools.cache
def field_docs(config_class: type) -> dict[str, str]:
    """The string under each field, inherited ones included."""
    docs: dict[str, str] = {}
    for cls in reversed(config_class.__mro__):
        if not dataclasses.is_dataclass(cls):
            continue
        try:
            body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0].body
        except (OSError, TypeError, SyntaxError):  # a class made at run time has no source: no help, no failure
            continue
        for node, after in zip(body, body[1:], strict=False):
            if isinstance(node, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                docs[node.target.id] = " ".join(str(after.value.value).split())
    return docs


def type_name(kind: Any, word: Callable[[str], str] = str) -> str:
    """A type as a user would write it: ``number``, ``whole number``, ``true/false``, ``a | b``, ``... or none``. ``word`` translates."""
    simple = {float: "number", int: "whole number", bool: "true/false", str: "text", type(None): "none"}
    origin = get_origin(kind)
    if origin is Literal:
        return " | ".join(str(value) for value in get_args(kind))
    if origin in (Union, types.UnionType):
        return f" {word('or')} ".join(type_name(each, word) for each in get_args(kind))
    if origin in (tuple, list):
        return f"{word('list of')} " + " ".join(type_name(each, word) for each in get_args(kind) if each is not Ellipsis)
    return word(simple[kind]) if kind in simple else getattr(kind, "__name__", str(kind))


def parse_count(text: str | int) -> int:
    """``"200k"`` -> 200000, ``"1.5M"`` -> 1500000; raises UserError otherwise."""
    scale = {"k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
    word = str(text).strip().lower().replace("_", "").replace(",", "")
    try:
        value = float(word[:-1]) * scale[word[-1]] if word and word[-1] in scale else float(word)
        if not value.is_integer():
            raise ValueError
        return int(value)
    except (ValueError, OverflowError):
        raise UserError("'{text}' is no count. Expected a whole number such as 20000, 200k or 1.5M.", text=text) from None


@functools.cache
def _kinds(config_class: type) -> dict[str, Any]:
    return {name: kind for name, kind, _, _ in fields(config_class)}


def _place(kinds: dict[str, Any], tree: dict[str, Any], name: str, value: Any) -> None:
    if name not in kinds:
        raise UserError(
            "There is no field '{field}'. Did you mean '{near}'? All fields: agon show GAME.", field=name, near=nearest(name, list(kinds))
        )
    *groups, leaf = name.split(".")
    for group in groups:
        tree = tree[group]
    tree[leaf] = _from_text(kinds[name], value) if isinstance(value, str) else value


@functools.cache
def _adapter(config_class: type):
    from pydantic import TypeAdapter

    return TypeAdapter(config_class)


def _validate(config_class: type, tree: dict[str, Any]):
    from pydantic import ValidationError

    try:
        return _adapter(config_class).validate_python(tree)
    except ValidationError as error:
        first = error.errors()[0]
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, UserError):
            raise cause from None
        # pydantic also names the member of a union or tuple that did not fit: the field is the longest part that is one
        kinds, place = _kinds(config_class), [str(part) for part in first["loc"]]
        field = next(name for end in range(len(place), 0, -1) if (name := ".".join(place[:end])) in kinds)
        raise UserError(
            "The value {value} of '{field}' does not fit. Expected: {expected}.",
            value=repr(first["input"]), field=field, expected=type_name(kinds[field], translate),
        ) from None  # fmt: skip


def _from_text(kind: Any, text: str) -> Any:
    """A word of a command line or file, where its field's type says more: ``none`` for None, ``64,64`` for a tuple, ``200k`` for a count."""
    if type(None) in get_args(kind) and text.strip().lower() in ("none", "null"):
        return None
    if get_origin(kind) is tuple:
        return text.strip("()[] ").replace(",", " ").split()
    if kind is int:
        try:
            return parse_count(text)
        except UserError:  # the type's own error names the field
            return text
    return text
