"""What every metric works on: a real and a fake side, their features, and the protocol that goes with every number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from agon.errors import UserError
from agon.metrics.feature_store import FeatureStore
from agon.metrics.features.base import Extractor
from agon.metrics.sides import ArraySide, Side, SourceSide, choose

MAX_REAL = 10_000  # more reals than this cost time; a number that is to be compared with a published one says how many it wants
MAX_TRAINING = 100_000  # of which near copies are sought
FEW = 20  # with fewer samples no metric here means anything


@dataclass
class Samples:
    """Two sides under comparison.

    ``real``, ``fake``: streams. ``extractor``: whose features the metric at hand reads, or None. ``training``: the whole training set, where there is
    one. ``generator``: the object behind the fakes, for metrics of its latents. ``captions``: a text for each fake. ``segmenter``: pictures -> label
    maps. ``weights``: local files by extractor; ``device``: where networks run. ``about``: what else belongs into every protocol. ``seed`` draws
    whatever a metric draws of the fakes.
    """

    real: Side
    fake: Side
    seed: int = 0
    extractor: Extractor | None = None
    training: Side | None = None
    generator: Any = None
    captions: list[str] | None = None
    segmenter: Callable[[Tensor], Tensor] | None = None
    weights: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    about: dict[str, Any] = field(default_factory=dict)
    store: FeatureStore = field(default_factory=FeatureStore)

    @classmethod
    def of_arrays(
        cls, real: Any, fake: Any, *, kind: str = "image", real_label: np.ndarray | None = None, fake_label: np.ndarray | None = None,
        extractor: Extractor | None = None, seed: int = 0, **more: Any,
    ) -> Samples:  # fmt: skip
        """Samples that lie in memory: pictures uint8 (N, C, H, W), points and others float32 (N, *shape), or lists."""
        sides = (ArraySide(part, kind, label, name) for part, label, name in ((real, real_label, "real"), (fake, fake_label, "fake")))
        return cls(*sides, extractor=extractor, seed=seed, store=FeatureStore(cached=False), **more)

    @property
    def kind(self) -> str:
        return self.real.kind

    @property
    def spec(self) -> Any:
        return self.real.spec

    @property
    def name(self) -> str:
        return self.real.name

    @property
    def source(self) -> Any:
        """The data set behind the real side, None where there is none."""
        return getattr(self.real, "source", None)

    def reading(self, extractor: Extractor | None) -> Samples:
        """The same samples for a metric that reads this extractor's features."""
        return replace(self, extractor=extractor)

    def features(self, layer: str = "features") -> tuple[np.ndarray, np.ndarray]:
        """(real, fake): (M, F) and (N, F) float32, read-only, perhaps memory-mapped."""
        assert self.extractor is not None, "a metric that reads features says so in EXTRACTOR"
        if layer not in self.extractor.layers:
            raise UserError(
                "The extractor '{extractor}' has no '{layer}', it has {known}. Choose another for this metric, such as inception.",
                extractor=self.extractor.name, layer=layer, known=", ".join(self.extractor.layers),
            )  # fmt: skip
        return self.store.get(self.real, self.extractor, layer), self.store.get(self.fake, self.extractor, layer)

    def labels(self, layer: str = "features") -> tuple[np.ndarray | None, np.ndarray | None]:
        """(real, fake) classes (M,), (N,) of the rows of ``features``, None for a side without: a file that could not be read has neither."""
        assert self.extractor is not None
        return tuple(None if side.label is None else side.label[self.store.rows(side, self.extractor, layer)] for side in (self.real, self.fake))

    def training_side(self) -> Side:
        """The training set (MAX_TRAINING samples of a larger one); the reals, where they are all there is."""
        if self.training is None:
            whole = self.source is not None and len(self.source) > self.real.count
            held = self.store.held
            if whole and id(self.source) not in held:  # one for all metrics, so that its features are computed once
                held[id(self.source)] = SourceSide(self.source, choose(len(self.source), MAX_TRAINING))
            self.training = held[id(self.source)] if whole else self.real
        return self.training

    def training_features(self, layer: str = "features") -> np.ndarray:
        """(M, F) float32 features of ``training_side``."""
        assert self.extractor is not None
        return self.store.get(self.training_side(), self.extractor, layer)

    def pairs(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """(start, real, fake) of equal shape: what stands at one place on both sides belongs together; folders are matched by the files' names."""
        from agon.metrics.pairs import matched

        return matched(self.real, self.fake)

    def protocol(self, **more: object) -> dict:
        """What was compared with what; the metric adds how."""
        extractor = self.extractor
        theirs = {} if extractor is None else {"extractor": extractor.name, "extractor_sha256": extractor.sha256, **extractor.protocol}
        return {
            "data": self.name, "fingerprint": self.real.fingerprint, "conditional": self.fake.label is not None, "seed": self.seed,
            **self.about, **theirs, **more,
        }  # fmt: skip

    def result(
        self, metric: str, value: float, standard_error: float | None, *, num_real: int, num_fake: int, protocol: dict, reference: dict | None = None,
        details: dict | None = None, warnings: tuple[str, ...] = (),
    ) -> dict:  # fmt: skip
        """One entry of metrics.json. ``value`` is finite, or the metric is wrong."""
        assert np.isfinite(value), (metric, value)
        entry = {
            "metric": metric, "value": float(value), "standard_error": None if standard_error is None else float(standard_error),
            "num_real": int(num_real), "num_fake": int(num_fake), "protocol": self.protocol(**protocol), "reference": reference or {},
        }  # fmt: skip
        return {**entry, **({"details": details} if details else {}), **({"warnings": list(warnings)} if warnings else {})}
