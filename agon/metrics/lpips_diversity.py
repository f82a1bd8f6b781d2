"""LPIPS diversity: how different random pairs of fakes look from each other, within their class where they have one.

Zhu et al., 2017 (BicycleGAN), https://arxiv.org/abs/1711.11586, section 4.3. A collapsed generator scores 0. High is not good by itself: noise is diverse, so
the same number of pairs of reals stands beside it, and the aim is that number. Each picture is in one pair at most: pairs are then independent, and the mean's
error is theirs.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from agon.errors import Unavailable
from agon.metrics.lpips import Lpips, distances, open_lpips, protocol
from agon.metrics.samples import Samples
from agon.metrics.sides import Side

METRICS = {"lpips_diversity": "Mean perceptual distance (LPIPS, VGG16) between random pairs of fakes, within a class where they have one (0: collapsed)"}
KINDS = ("image",)
EXTRACTOR = ""
LAYERS = ()
PAIRED = False
LABELLED = False

PAIRS = 500  # the mean's error is then about 0.005
HELD = 2**28  # bytes of pictures that wait for their partner; more pairs than that are measured in several passes
TOGETHER = 32  # pairs handed over at a time


def disjoint_pairs(count: int, most: int = PAIRS, label: np.ndarray | None = None) -> np.ndarray:
    """(P, 2) indices, P <= ``most``, no index twice, both of one class where ``label`` (count,) is given. Always the same ones for the same arguments."""
    random = np.random.default_rng([0, count])
    order = random.permutation(count)
    groups = [order] if label is None else [order[label[order] == number] for number in np.unique(label)]
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *(group[: len(group) // 2 * 2].reshape(-1, 2) for group in groups)])
    return random.permutation(pairs)[:most]


def diversity(net: Lpips, side: Side, pairs: np.ndarray) -> np.ndarray:
    """(P,) distances of ``pairs`` (P, 2) of a side's pictures; the stream passes once for every HELD bytes of them. Pairs with an unreadable file are left out.

    Raises Unavailable where the pictures differ in size.
    """
    if side.spec is None:
        raise Unavailable("The pictures of '{data}' differ in size, so LPIPS cannot compare them with each other. Bring them to one size first.",
                          data=side.name)
    step = max(1, HELD // (2 * int(np.prod(side.spec.shape))))
    parts = [_block(net, side, pairs[start : start + step]) for start in range(0, len(pairs), step)]
    return np.concatenate([np.zeros(0), *parts])


def _block(net: Lpips, side: Side, pairs: np.ndarray) -> np.ndarray:
    held: dict[int, Tensor] = {}
    wanted = np.unique(pairs)
    for start, chunk in side.chunks():
        here = wanted[(wanted >= start) & (wanted < start + len(chunk))]
        held.update({int(index): chunk[int(index) - start].clone() for index in here})
    whole = [(one, two) for one, two in pairs.tolist() if one in held and two in held]
    values = [np.zeros(0)]
    for start in range(0, len(whole), TOGETHER):
        first, second = ([held.pop(pair[place]) for pair in whole[start : start + TOGETHER]] for place in (0, 1))
        values.append(distances(net, torch.stack(first), torch.stack(second)))
    return np.concatenate(values)


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """Mean over up to PAIRS disjoint random pairs of fakes; beside it the same of the reals."""
    pairs = disjoint_pairs(samples.fake.count, label=samples.fake.label)
    if len(pairs) < 2:
        raise Unavailable("LPIPS diversity needs at least 2 pairs of fakes (of one class each, where they have classes), there are {count} fakes. Draw more "
                          "with -n.", count=samples.fake.count)
    net = open_lpips("vgg", trunk=samples.weights.get("vgg"), heads=samples.weights.get("lpips"), device=samples.device)
    found = diversity(net, samples.fake, pairs)
    return [
        samples.result(
            names[0],
            *_mean(found),
            num_real=samples.real.count,
            num_fake=samples.fake.count,
            protocol={
                **protocol(net),
                "pairs": len(found),
                "within_class": samples.fake.label is not None,
                "value": "mean over disjoint random pairs of fakes",
                "error": "standard deviation over the pairs / sqrt(pairs)",
            },
            reference=_of_reals(samples, net, len(found)),
        )
    ]


def _of_reals(samples: Samples, net: Lpips, count: int) -> dict:
    within = samples.fake.label is not None
    label = samples.real.label if within else None
    pairs = disjoint_pairs(samples.real.count, count, label)
    if len(pairs) < 2 or (within and label is None) or samples.real.spec is None:
        return {}
    value, error = _mean(diversity(net, samples.real, pairs))
    how = f"{len(pairs)} disjoint random pairs of reals{' of one class' if within else ''}; the deviation is that of such a mean"
    return {"perfect_sampler": {"value": value, "standard_deviation": error, "how": how}}


def _mean(values: np.ndarray) -> tuple[float, float]:
    if len(values) < 2:
        raise Unavailable("Fewer than 2 pairs of pictures could be read. LPIPS diversity expects 2 or more: give more pictures.")
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
