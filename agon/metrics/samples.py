"""What every metric works on: real and fake samples side by side, and their features, computed once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from agon.data.source import Batch, Source
from agon.errors import UserError
from agon.metrics.features import Extractor, extractor_for

MAX_REAL = 10_000  # more reals than this cost time and change nothing that the standard errors would show
MAX_TRAINING = 100_000  # of which near copies are sought
MAX_SIDE = 16  # pictures are compared pixel by pixel at no more than this side
FEW = 20  # with fewer samples no metric here means anything
READ = 1_000  # samples read or drawn at a time

Draw = Callable[..., Tensor]


@dataclass
class Samples:
    """``source``: the real data. ``fake``: (N, *spec.shape) float32. ``fake_label``: the classes asked for, None if
    unconditional.
    """

    source: Source
    fake: Tensor
    fake_label: Tensor | None = None
    seed: int = 0

    @cached_property
    def real(self) -> Tensor:
        """(M, *spec.shape) float32: every real sample, or MAX_REAL of them, always the same ones."""
        return read(self.source, choose(len(self.source))).real

    @cached_property
    def extractor(self) -> Extractor | None:
        return extractor_for(self.source.name, self.source.spec)

    def require_extractor(self, metric: str) -> Extractor:
        """The extractor, or a UserError that says what fits instead."""
        if self.extractor is None:
            raise UserError(
                "The metric '{metric}' needs a feature extractor, and none fits the data set '{data}' of shape "
                "{shape}. Leave out --metrics to get those that fit.",
                metric=metric,
                data=self.source.name,
                shape=tuple(self.source.spec.shape),
            )
        return self.extractor

    @cached_property
    def features(self) -> tuple[np.ndarray, np.ndarray]:
        """(real, fake): (M, F) and (N, F) float64 features."""
        extractor = self.require_extractor("features")
        return extractor.features(self.real), extractor.features(self.fake)

    @cached_property
    def vectors(self) -> tuple[np.ndarray, np.ndarray]:
        """(real, fake): (M, D) and (N, D) float32: points as they are, pixels flattened, big pictures averaged down."""
        return flatten(self.real), flatten(self.fake)

    @cached_property
    def training(self) -> np.ndarray:
        """(M, D) float32 vectors of the whole training set (of MAX_TRAINING samples of a larger one), in ``vectors``'
        form.
        """
        indices = choose(len(self.source), MAX_TRAINING)
        return np.concatenate([flatten(self.source.read(part).real) for part in pieces(indices)])

    def protocol(self, **more: object) -> dict:
        """What was compared with what; the metric adds how."""
        extractor = self.extractor
        return {
            "data": self.source.name,
            "fingerprint": self.source.fingerprint,
            "conditional": self.fake_label is not None,
            "seed": self.seed,
            **({} if extractor is None else {"extractor": extractor.name, "extractor_sha256": extractor.sha256}),
            **more,
        }

    def result(
        self,
        metric: str,
        value: float,
        standard_error: float,
        *,
        num_real: int,
        num_fake: int,
        protocol: dict,
        reference: dict | None = None,
        details: dict | None = None,
        warnings: tuple[str, ...] = (),
    ) -> dict:
        """One entry of metrics.json."""
        entry = {
            "metric": metric,
            "value": float(value),
            "standard_error": float(standard_error),
            "num_real": int(num_real),
            "num_fake": int(num_fake),
            "protocol": self.protocol(**protocol),
            "reference": reference or {},
        }
        return {
            **entry,
            **({"details": details} if details else {}),
            **({"warnings": list(warnings)} if warnings else {}),
        }


def choose(length: int, most: int = MAX_REAL) -> np.ndarray:
    """All indices, or ``most`` of them drawn with a fixed seed (the reals must not depend on the evaluation's seed)."""
    return (
        np.arange(length) if length <= most else np.sort(np.random.default_rng(0).choice(length, most, replace=False))
    )


def read(source: Source, indices: np.ndarray) -> Batch:
    """``source.read`` in pieces of bounded size."""
    return Batch.join([source.read(part) for part in pieces(indices)])


def pieces(indices: np.ndarray) -> list[np.ndarray]:
    """The indices, READ at a time."""
    return [indices[start : start + READ] for start in range(0, len(indices), READ)]


def draw_all(draw: Draw, source: Source, count: int, *, seed: int, label: Tensor | None) -> Tensor:
    """(count, *spec.shape) float32 on the CPU. Drawn in pieces of READ with seeds derived from ``seed``; pictures
    clamped to [-1, 1].
    """
    parts = []
    for index, start in enumerate(range(0, count, READ)):
        size = min(READ, count - start)
        piece_seed = int(np.random.SeedSequence([seed, index]).generate_state(1)[0]) % 2**31
        part = None if label is None else label[start : start + size]
        parts.append(draw(size, seed=piece_seed, label=part).detach().to("cpu", torch.float32))
        if tuple(parts[-1].shape) != (size, *source.spec.shape):
            raise UserError(
                "The generator's samples have shape {found}, expected {expected} as in the data set '{data}'. "
                "Evaluate against the data set it was trained on.",
                found=tuple(parts[-1].shape),
                expected=(size, *source.spec.shape),
                data=source.name,
            )
    fake = torch.cat(parts)
    if not bool(torch.isfinite(fake).all()):
        raise UserError(
            "The generator's samples contain values that are not finite: {count} of {total} samples. Expected finite "
            "numbers: evaluate an earlier checkpoint.",
            count=int((~torch.isfinite(fake).flatten(1).all(1)).sum()),
            total=count,
        )
    return fake.clamp(-1, 1) if source.spec.kind == "image" else fake


def flatten(samples: Tensor) -> np.ndarray:
    """(N, D) float32; pictures of more than MAX_SIDE pixels a side are averaged down to it first."""
    if samples.ndim == 4 and max(samples.shape[2:]) > MAX_SIDE:
        samples = F.adaptive_avg_pool2d(samples, [min(side, MAX_SIDE) for side in samples.shape[2:]])
    return samples.flatten(1).numpy()
