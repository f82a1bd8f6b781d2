"""``evaluate``: draw samples, run the metrics that fit, and write the protocol beside every number."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

import agon
from agon.data.source import Source
from agon.errors import UserError
from agon.metrics.features import extractor_for
from agon.metrics.modes import mixture_of
from agon.metrics.names import METRICS
from agon.metrics.samples import FEW, Draw, Samples, choose, draw_all, read

POINTS = 2_500  # PacGAN's count for mixtures
PICTURES = 2_000  # where no extractor fits


def evaluate(
    draw: Draw,
    source: Source,
    metrics: Sequence[str] | None = None,
    *,
    num_samples: int | None = None,
    seed: int = 0,
    conditional: bool = False,
) -> list[dict]:
    """Measure the generator ``draw`` against ``source``; the same arguments give the same numbers.

    ``draw(n, seed=, label=)`` returns (n, *spec.shape) float32. ``metrics``: names (see ``agon list metrics``); None
    takes those that fit. ``num_samples``: None takes as many as there are real samples where an extractor fits, else
    2,500 points or up to 2,000 pictures. ``seed`` draws the fakes and nothing else. ``conditional``: ``draw`` takes
    labels; it is then asked for classes in the proportions of the real data.

    Returns one entry a metric: metric, value, standard_error, num_real, num_fake, protocol, reference
    (``perfect_sampler``: what samples of the real distribution score at the same counts), and where there is more to
    say, details and warnings. Raises UserError for an unknown metric, one that does not fit, or too few samples.
    """
    names = fitting(source, conditional) if metrics is None else check_names(metrics)
    count = default_count(source) if num_samples is None else num_samples
    if min(count, len(source)) < FEW:
        raise UserError(
            "{num_fake} samples against {num_real} real ones are too few for any metric. Expected at least {least} of "
            "each.",
            num_fake=count,
            num_real=len(source),
            least=FEW,
        )
    label = choose_labels(source, count) if conditional else None
    samples = Samples(source, draw_all(draw, source, count, seed=seed, label=label), label, seed)
    results = {}
    for module in dict.fromkeys(METRICS[name][0] for name in names):
        asked = [name for name in names if METRICS[name][0] == module]
        for result in importlib.import_module(module).measure(samples, asked):
            result["protocol"]["agon"] = agon.__version__
            results[result["metric"]] = result
    return [results[name] for name in names]


def fitting(source: Source, conditional: bool) -> list[str]:
    """The metrics that fit a data set."""
    if mixture_of(source) is not None:
        return ["modes", "high_quality", "reverse_kl"]
    if source.spec.kind == "points":
        return ["sliced_wasserstein"]
    if source.spec.kind != "image":
        raise UserError(
            "There is no metric for data of the kind '{kind}'. Expected image or points.", kind=source.spec.kind
        )
    if extractor_for(source.name, source.spec) is None:
        return ["pixel_sliced_wasserstein", "near_copies"]
    names = ["frechet", "kid", "precision", "recall", "density", "coverage", "near_copies"]
    return [*names[:-1], "accuracy", names[-1]] if conditional else names


def check_names(metrics: Sequence[str]) -> list[str]:
    """The names, each once; unknown ones are refused with the nearest match."""
    for name in metrics:
        if name not in METRICS:
            near = difflib.get_close_matches(name, METRICS, n=1, cutoff=0)
            raise UserError(
                "There is no metric '{name}'. Did you mean '{near}'? 'agon list metrics' shows all.",
                name=name,
                near=near[0],
            )
    if not metrics:
        raise UserError(
            "No metric was named. Leave out --metrics to get those that fit, or choose from 'agon list metrics'."
        )
    return list(dict.fromkeys(metrics))


def default_count(source: Source) -> int:
    """How many fakes are drawn unless the user says."""
    if source.spec.kind == "points":
        return POINTS
    return len(source) if extractor_for(source.name, source.spec) is not None else min(len(source), PICTURES)


def choose_labels(source: Source, count: int) -> Tensor:
    """(count,) classes in the proportions of the real data: its own labels in a fixed random order, repeated as need
    be.
    """
    label = read(source, choose(len(source))).label
    if label is None:
        raise UserError(
            "The data set '{data}' has no labels, so no classes can be asked for. Evaluate without labels, or choose "
            "a labelled data set.",
            data=source.name,
        )
    order = np.random.default_rng(0).permutation(len(label))
    return label[torch.from_numpy(np.resize(order, count))]
