"""``evaluate``: draw samples, run the metrics that fit, and write the protocol beside every number."""

from __future__ import annotations

import copy
import importlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

import agon
from agon.data.source import Source
from agon.errors import Unavailable, UserError
from agon.metrics import catalog
from agon.metrics.catalog import Asked
from agon.metrics.feature_store import FeatureStore
from agon.metrics.features import OWN, fitting, open_extractor
from agon.metrics.features.base import Extractor
from agon.metrics.modes import mixture_of
from agon.metrics.samples import FEW, MAX_REAL, Samples
from agon.metrics.sides import Draw, DrawSide, InColour, Side, SourceSide, choose
from agon.metrics.together import agree
from agon.metrics.translated import HOW, Inputs, default_pairs, ends, translations

POINTS = 2_500  # PacGAN's count for mixtures
PICTURES = 2_000  # where no large network is to judge


def evaluate(draw: Draw, source: Source, metrics: Sequence[str] | None = None, *, device: str = "cpu", precision: str = "fp32",
             weights: Mapping[str, Any] | None = None, **how: Any) -> list[dict]:  # fmt: skip
    """Measure the generator ``draw`` against ``source``: :func:`measure` of :func:`sides`. The same arguments give the same numbers."""
    samples = sides(draw, source, metrics, **how)
    return measure(samples, None if metrics is None else catalog.asked(metrics), device=device, precision=precision, weights=weights)


def sides(
    draw: Draw, source: Source, metrics: Sequence[str] | None = None, *, num_samples: int | None = None, num_real: int | None = MAX_REAL, seed: int = 0,
    conditional: bool = False, generator: Any = None, inputs: Inputs | None = None, direction: str | None = None, segmenter: Any = None,
    about: Mapping[str, Any] | None = None, cache_dir: Path | None = None, cached: bool = True,
) -> Samples:  # fmt: skip
    """The data and a generator's samples, as streams; nothing is drawn yet.

    ``draw(n, seed=, label=)`` returns (n, *spec.shape) float32. ``metrics``: names (see ``agon list metrics``), perhaps with an extractor's
    (kid_dinov2); None takes those that fit. ``num_samples``: None takes as many as there are real samples where a network judges, else 2,500 points
    or up to 2,000 pictures. ``num_real``: at most so many reals, always the same ones; None takes all. ``seed`` draws the fakes and nothing else.
    ``conditional``: ``draw`` takes labels; it is then asked for classes in the proportions of the real data. ``generator``: the object behind
    ``draw``, for metrics of its latents. ``about``: what else belongs into the protocol.

    ``inputs``: of a translator: what it starts from in a batch of the data; ``draw`` then takes ``source`` too, and ``direction`` where it is given
    ("backward": from the targets to the inputs). Of data in pairs as many reals are taken as fakes, those that the fakes belong to. ``segmenter``: of
    :func:`between`.

    Raises UserError for an unknown metric or too few samples.
    """
    real_from, starts = (source, source) if inputs is None else ends(source, direction)
    wanted = None if metrics is None else catalog.asked(metrics)
    names = None if wanted is None else {each.extractor for each in wanted}
    real = SourceSide(real_from, choose(len(real_from), len(real_from) if num_real is None else num_real))
    count = default_count(real, names, real.count if starts is source else min(MAX_REAL, len(starts))) if num_samples is None else num_samples
    pairs = inputs is not None and starts.spec.paired
    if pairs:
        real = SourceSide(real_from, choose(len(real_from), min(real.count, count)))
        count = real.count
    if min(count, real.count) < (1 if pairs and only_pairs(wanted) else FEW):
        raise too_few(count, real.count)
    label = choose_labels(real, count) if conditional else None
    about = dict(about or {}) | ({"direction": direction} if direction else {})
    if inputs is None:
        fake = DrawSide(draw, source.spec, count, seed=seed, label=label)
    else:
        fake = translations(draw, real, starts, inputs, count, seed=seed, direction=direction, label=label)
    return Samples(real, fake, seed, generator=generator, segmenter=segmenter, about=about, store=FeatureStore(cache_dir, cached=cached))


def only_pairs(wanted: list[Asked] | None) -> bool:
    """Does nothing that was asked for (or, where nothing was, would have to be) look at more than pairs? A single pair is then enough."""
    return wanted is None or all(each.metric.paired for each in wanted)


def between(
    real: Side, fake: Side, metrics: Sequence[str] | None = None, *, seed: int = 0, captions: list[str] | None = None, segmenter: Any = None,
    cache_dir: Path | None = None, cached: bool = True,
) -> Samples:  # fmt: skip
    """Two sets of samples, such as two folders (agon/metrics/sides.py, agon/metrics/files.py), for :func:`measure`. Raises UserError unless they are
    of one kind."""
    if real.kind != fake.kind:
        raise UserError(
            "'{real}' holds {real_kind} and '{fake}' {fake_kind}, which cannot be compared. Expected two sets of one kind.",
            real=real.name, fake=fake.name, real_kind=real.kind, fake_kind=fake.kind,
        )  # fmt: skip
    few = 1 if metrics is not None and only_pairs(catalog.asked(metrics)) else FEW
    if min(real.count, fake.count) < few:
        raise too_few(fake.count, real.count)
    real, fake = in_common_channels(real, fake)
    fake = renumbered(fake, real.classes)
    about = {"fake": {"data": fake.name, "fingerprint": fake.fingerprint}}
    return Samples(real, fake, seed, captions=captions, segmenter=segmenter, about=about, store=FeatureStore(cache_dir, cached=cached))


def in_common_channels(real: Side, fake: Side) -> tuple[Side, Side]:
    """Grey pictures against coloured ones (or with alpha): both in three colours, as every network sees them."""
    depths = {side.channels for side in (real, fake)}
    return (real, fake) if real.kind != "image" or len(depths) == 1 else (InColour(real), InColour(fake))


def renumbered(fake: Side, classes: tuple[str, ...]) -> Side:
    """The side with its labels in the numbering of ``classes``, by name, those not in it behind; without labels where none is in it."""
    if fake.label is None or not classes or not fake.classes or fake.classes == classes:
        return fake
    together = tuple(dict.fromkeys([*classes, *fake.classes]))
    fake, theirs = copy.copy(fake), fake.classes
    if len(together) == len(classes) + len(theirs):
        warnings.warn(f"no class of {fake.name} ({', '.join(theirs[:5])}) is one of the real samples ({', '.join(classes[:5])}): its classes are left out",
                      stacklevel=3)
        fake.label, fake.classes = None, ()
    else:
        fake.label, fake.classes = np.array([together.index(name) for name in theirs])[fake.label], together
    return fake


def measure(
    samples: Samples, wanted: list[Asked] | None = None, *, device: str = "cpu", precision: str = "fp32", weights: Mapping[str, Any] | None = None,
) -> list[dict]:  # fmt: skip
    """One entry a metric, in the order asked: metric, value, standard_error, num_real, num_fake, protocol, reference (``perfect_sampler``: what
    samples of the real distribution score at the same counts), and where there is more to say, details and warnings.

    A metric that cannot be had here and now (weights, a library, too few samples, samples that do not fit it) is an entry of ``metric`` and
    ``unavailable``, the reason and what mends it; where nothing that was asked for can be measured, the first reason is raised. ``left_out``: files
    that could not be read.
    """
    samples = replace(samples, weights=dict(weights or {}), device=device)
    given = wanted is not None
    wanted = default_metrics(samples) if wanted is None else wanted
    for each in wanted:
        check_kind(each, samples.name, samples.kind, samples.spec)
    opened = {name: try_to_open(name, weights, device, precision) for name in dict.fromkeys(extractor_of(each, samples) for each in wanted) if name}
    entries: dict[str, dict] = {}
    failures: dict[str, UserError] = {}
    ready = []
    for each in wanted:
        failure = failure_of(each, samples, opened.get(extractor_of(each, samples)))
        ready, failures = (ready, failures | {each.name: failure}) if failure else ([*ready, each], failures)
    failures |= collect(samples, ready, opened)
    ready = [each for each in ready if each.name not in failures]
    for (_, extractor), group in groupby(sorted(ready, key=lambda each: where(each, samples)), key=lambda each: where(each, samples)):
        found, failed = measure_with_baselines(list(group), samples.reading(opened.get(extractor)))
        entries, failures = entries | found, failures | failed
    wrong = [error for error in failures.values() if given or not isinstance(error, Unavailable)]
    if not entries and wrong:
        raise wrong[0]
    left_out = {name: list(side.left_out) for name, side in (("real", samples.real), ("fake", samples.fake)) if side.left_out}
    if left_out:
        entries = {name: {**entry, "left_out": left_out} for name, entry in entries.items()}
    missing = {name: {"metric": name, "unavailable": str(error)} for name, error in failures.items()}
    return [(entries | missing)[each.name] for each in wanted if each.name in entries or each.name in missing]


def measure_group(group: list[Asked], samples: Samples) -> tuple[dict[str, dict], dict[str, UserError]]:
    """Metrics of one file in one extractor's features, together; where one cannot be had, each by itself, so that the others can."""
    try:
        found = importlib.import_module(group[0].metric.module).measure(samples, [each.metric.name for each in group])
    except UserError as error:
        if len(group) == 1:
            return {}, {group[0].name: error}
        parts = [measure_group([each], samples) for each in group]
        return {k: v for found, _ in parts for k, v in found.items()}, {k: v for _, failed in parts for k, v in failed.items()}
    by_base = {result["metric"]: result for result in found}
    return {each.name: named(by_base[each.metric.name], each) for each in group if each.metric.name in by_base}, {}


def measure_with_baselines(group: list[Asked], samples: Samples) -> tuple[dict[str, dict], dict[str, UserError]]:
    """``measure_group``; beside a translator's metrics of pairs, what the baselines score by the same metric (``reference``)."""
    found, failed = measure_group(group, samples)
    paired = [each for each in group if each.metric.paired and each.name in found]
    for name, side in getattr(samples.fake, "baselines", {}).items() if paired else ():
        for metric, result in measure_group(paired, replace(samples, fake=side))[0].items():
            found[metric]["reference"] |= {name: {"value": result["value"], "how": HOW[name]}}
    return found, failed


def where(each: Asked, samples: Samples) -> tuple[str, str]:
    """What is measured together: one file's metrics in one extractor's features."""
    return each.metric.module, extractor_of(each, samples)


def extractor_of(each: Asked, samples: Samples) -> str:
    """The extractor's name; "data" is resolved here."""
    return fitting(samples.name, samples.kind, samples.spec) if each.extractor == "data" else each.extractor


def named(result: dict, each: Asked) -> dict:
    """The entry under the name that was asked for, with Agon's version."""
    return {**result, "metric": each.name, "protocol": {**result["protocol"], "agon": agon.__version__}}


def try_to_open(name: str, weights: Mapping[str, Any] | None, device: str, precision: str) -> Extractor | Unavailable:
    try:
        return agree(lambda: open_extractor(name, weights=weights, device=device, precision=precision))
    except Unavailable as error:
        return error


def failure_of(each: Asked, samples: Samples, extractor: Extractor | Unavailable | None) -> Unavailable | None:
    """Why a metric cannot be measured, None where it can."""
    if isinstance(extractor, Unavailable):
        return extractor
    if extractor is not None:
        check_extractor(each, samples, extractor)
    if each.metric.paired and isinstance(samples.fake, DrawSide):
        return Unavailable(
            "The metric '{metric}' compares each sample with its own real one, and a generator's samples have none. Leave it out, or compare two folders "
            "with the same file names: --real, --fake.",
            metric=each.name,
        )
    if each.metric.paired and samples.fake.inputs is not None and samples.fake.aligned is None:
        return Unavailable(
            "The metric '{metric}' compares each translation with its own target, and the inputs and targets of '{data}' do not belong together. Leave it out, "
            "or evaluate on pairs: --data, --data.paired true.",
            metric=each.name, data=samples.name,
        )
    if each.metric.labelled and samples.fake.label is None:
        return Unavailable(
            "The metric '{metric}' needs samples with classes, and these have none (a generator that is not conditional, a folder without sub-folders). "
            "Leave the metric out, or train a game with labels, for instance r3gan.",
            metric=each.name,
        )
    return None


def collect(samples: Samples, ready: list[Asked], opened: Mapping[str, Any]) -> dict[str, UserError]:
    """All features that the metrics will read, in one pass over each side; where that fails, a pass for each extractor, so that one need not stop the others.

    Returns why metrics cannot be measured, by name.
    """
    names = list(dict.fromkeys(extractor_of(each, samples) for each in ready if extractor_of(each, samples)))
    try:
        collect_features(samples, ready, opened)
        return {}
    except UserError as error:
        if len(names) == 1:
            return {each.name: error for each in ready if extractor_of(each, samples) == names[0]}
    parts = [collect(samples, [each for each in ready if extractor_of(each, samples) == name], opened) for name in names]
    return {metric: why for part in parts for metric, why in part.items()}


def collect_features(samples: Samples, ready: list[Asked], opened: Mapping[str, Any]) -> None:
    needed = [(opened[extractor_of(each, samples)], layer) for each in ready if extractor_of(each, samples) for layer in each.metric.layers]
    needed = [(extractor, layer) for extractor, layer in needed if layer in extractor.layers]
    for side in (samples.real, samples.fake) if needed else ():
        samples.store.collect(side, needed)


def check_kind(each: Asked, name: str, kind: str, spec: Any) -> None:
    """Refuse a metric for another kind of data, and one that reads features where there are none."""
    if kind not in each.metric.kinds and "*" not in each.metric.kinds:
        raise UserError(
            "The metric '{metric}' is for {kinds}, and '{data}' holds {kind}. Leave out --metrics to get those that fit.",
            metric=each.name, kinds=" or ".join(each.metric.kinds), data=name, kind=kind,
        )  # fmt: skip
    if each.extractor == "data" and not fitting(name, kind, spec):
        raise UserError(
            "The metric '{metric}' reads features, and no extractor is known for {kind}. Name one of yours: {metric}_my_net.py:function, "
            "or leave out --metrics.",
            metric=each.name, kind=kind,
        )  # fmt: skip


def check_extractor(each: Asked, samples: Samples, extractor: Extractor) -> None:
    """Refuse an extractor for another kind of data."""
    if extractor.kind not in ("*", samples.kind):
        raise UserError(
            "The extractor of '{metric}' is for {expected}, and '{data}' holds {kind}. Choose another: agon list extractors.",
            metric=each.name, expected=extractor.kind, data=samples.name, kind=samples.kind,
        )  # fmt: skip


def default_metrics(samples: Samples) -> list[Asked]:
    """The metrics that fit, where none is named."""
    if samples.kind == "points":
        names = ["modes", "high_quality", "reverse_kl"] if mixture_of(samples.source) is not None else ["sliced_wasserstein"]
    elif samples.kind == "image":
        names = default_pairs(samples) if samples.fake.aligned is not None else []
        if min(samples.real.count, samples.fake.count) >= FEW:
            names += [name for name in default_image_metrics(samples) if not (names and name == "near_copies")]  # a right translation is a copy
    else:
        names = [name for name, metric in catalog.metrics().items() if samples.kind in metric.kinds and not metric.paired and not metric.labelled]
    return [catalog.parse(name) for name in names]


def default_image_metrics(samples: Samples) -> list[str]:
    """In the features of the data's own small network or of Inception, where its weights are at hand; else in a fixed random network's, and in pixels."""
    names = ["precision", "recall", "density", "coverage"]
    if samples.spec is not None and (samples.name, tuple(samples.spec.shape)) in OWN:
        return ["frechet", "kid", *names, *(["accuracy"] if samples.fake.label is not None else []), "near_copies"]
    if inception_at_hand():
        return ["fid", "kid", *names, "inception_score", "spectra"]
    pixels = ["pixel_sliced_wasserstein", "spectra"] if samples.spec is not None and samples.fake.spec is not None else []
    return [*(f"{name}_random" for name in ("frechet", "kid", *names)), *pixels, "near_copies"]


def default_extractor(samples: Samples, *, device: str = "cpu", precision: str = "fp32", weights: Mapping[str, Any] | None = None) -> Extractor | None:
    """What judges pictures where nothing is said: the data's own small network, Inception if its weights are at hand or given, else the fixed random
    network."""
    if samples.kind != "image":
        return None
    name = fitting(samples.name, samples.kind, samples.spec)
    if name == "inception" and not (weights or {}).get(name) and not inception_at_hand():
        name = "random"
    return open_extractor(name, weights=weights, device=device, precision=precision)


def inception_at_hand() -> bool:
    """Whether Inception's weights are on this machine: nothing large is fetched that nobody asked for."""
    from agon.metrics.features import inception, weights

    return weights.at_hand(inception.WEIGHTS)


def default_count(real: SourceSide, extractors: set[str] | None, most: int) -> int:
    """How many fakes are drawn unless the user says; ``most``: as many as there are reals, or inputs."""
    if real.kind == "points":
        return POINTS
    judged = (real.name, tuple(real.spec.shape)) in OWN or bool(extractors and extractors - {"", "thumbnail", "spectrum", "random"})
    return most if judged or (extractors is None and inception_at_hand()) else min(most, PICTURES)


def choose_labels(real: Side, count: int) -> np.ndarray:
    """(count,) classes in the proportions of the real data: its own labels in a fixed random order, repeated as need be."""
    if real.label is None:
        raise UserError(
            "The data set '{data}' has no labels, so no classes can be asked for. Evaluate without labels, or choose a labelled data set.", data=real.name
        )
    return np.resize(np.asarray(real.label)[np.random.default_rng(0).permutation(len(real.label))], count)


def too_few(num_fake: int, num_real: int) -> UserError:
    return UserError(
        "{num_fake} samples against {num_real} real ones are too few for any metric. Expected at least {least} of each.",
        num_fake=num_fake, num_real=num_real, least=FEW,
    )  # fmt: skip
