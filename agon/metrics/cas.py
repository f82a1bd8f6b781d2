"""Classification accuracy score: a classifier is trained on labelled fakes alone and tested on real samples.

Ravuri and Vinyals, 2019, "Classification Accuracy Score for Conditional Generative Models", https://arxiv.org/abs/1905.10887. It falls with everything that a
classifier would have needed: classes that are confused, modes of a class that are missing. Theirs trains a ResNet-50 on 256-pixel fakes; here a small
convolutional net sees pictures averaged down to 32 pixels a side, for a fixed number of steps with fixed seeds, so the numbers are comparable with each other
and not with theirs. The same net trained on one half of the reals and tested on the other stands beside it. Blind to fine detail.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agon.errors import Unavailable
from agon.metrics.bootstrap import perfect, share_error
from agon.metrics.judge import train
from agon.metrics.samples import Samples
from agon.metrics.sides import Side

METRICS = {"cas": "Classification accuracy score: a small net trained on the fakes names the reals (higher is better)"}
KINDS = ("image",)
EXTRACTOR = ""
LABELLED = True

SIDE = 32  # pixels at most
MOST = 20_000  # pictures a side
STEPS, BATCH, RATE = 400, 64, 2e-3


class SmallNet(nn.Module):
    """Three 3x3 convolutions (32, 64, 64 channels; the last two halve, above 16 pixels the first too), a linear map of 4x4 places to K logits. Group norm: no
    sample depends on its batch."""

    def __init__(self, channels: int, height: int, width: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 32, 3, 2 if min(height, width) > 16 else 1, 1), nn.GroupNorm(8, 32), nn.ReLU(),
            nn.Conv2d(32, 64, 3, 2, 1), nn.GroupNorm(8, 64), nn.ReLU(),
            nn.Conv2d(64, 64, 3, 2, 1), nn.GroupNorm(8, 64), nn.ReLU(), nn.AdaptiveAvgPool2d((min(4, height), min(4, width))), nn.Flatten(),
        )  # fmt: skip
        self.classes = nn.Linear(64 * min(4, height) * min(4, width), classes)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.classes(self.body(pictures))


def train_classifier(pictures: Tensor, labels: Tensor, classes: int, *, steps: int = STEPS, seed: int = 0) -> SmallNet:
    """``pictures`` (N, C, H, W) uint8, ``labels`` (N,) in 0 .. classes - 1. The same input gives the same net on one machine; the caller's random state is
    left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = SmallNet(pictures.shape[1], *pictures.shape[2:], classes).to(memory_format=torch.channels_last)

    def loss(network: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        return F.cross_entropy(network(scaled(pictures[rows])), labels[rows], label_smoothing=0.05)

    train(net, loss, len(pictures), seed=seed, steps=steps, batch=BATCH, rate=RATE)
    return net.eval()


@torch.no_grad()
def predict(net: nn.Module, pictures: Tensor) -> Tensor:
    """(N,) classes of (N, C, H, W) uint8 pictures."""
    return torch.cat([net(scaled(part)).argmax(1) for part in pictures.split(512)])


def scaled(pictures: Tensor) -> Tensor:
    return pictures.float().div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)


def cas(fake: Tensor, fake_label: Tensor, real: Tensor, real_label: Tensor, classes: int, *, steps: int = STEPS) -> Tensor:
    """(M,) bool: which of the reals a net trained on the fakes names rightly. Pictures uint8 of one shape, labels int64."""
    return predict(train_classifier(fake, fake_label, classes, steps=steps), real) == real_label


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """Accuracy over the reals; beside it that of two nets, each trained on one half of the reals and tested on the other."""
    for side, what in ((samples.real, "real"), (samples.fake, "generated")):
        if side.label is None:
            raise Unavailable(
                "The metric 'cas' needs classes on both sides, and the {what} samples have none. Use folders with a sub-folder a class.", what=what
            )
    (real, real_label), (fake, fake_label) = small(samples.real), small(samples.fake)
    if real.shape[1] != fake.shape[1]:
        raise Unavailable("The real pictures have {real} channels and the generated ones {fake}. Expected the same: convert one of the folders.",
                          real=real.shape[1], fake=fake.shape[1])  # fmt: skip
    fake = F.adaptive_avg_pool2d(fake.float(), real.shape[2:]).round().to(torch.uint8) if fake.shape != real.shape else fake
    classes = int(max(real_label.max(), fake_label.max())) + 1
    right = cas(fake, fake_label, real, real_label, classes, steps=STEPS)
    value = float(right.double().mean())
    order = torch.from_numpy(np.random.default_rng(5).permutation(len(real)))
    one, two = order[: len(order) // 2], order[len(order) // 2 :]
    floor = [float(cas(real[a], real_label[a], real[b], real_label[b], classes, steps=STEPS).double().mean()) for a, b in ((one, two), (two, one))]
    return [
        samples.result(
            "cas",
            value,
            share_error(value, len(real)),
            num_real=len(real),
            num_fake=len(fake),
            protocol={
                "classifier": "agon small net",
                "side": list(real.shape[2:]),
                "steps": STEPS,
                "batch": BATCH,
                "value": "accuracy on the reals of a net trained on the fakes",
                "error": "binomial over the reals, sqrt(p (1 - p) / n) with Jeffreys' p (training again is not in it)",
            },
            reference={"perfect_sampler": perfect(floor, "the same net trained on one half of the reals and tested on the other, both ways")},
            details={"per_class": [float(right[real_label == label].double().mean()) if (real_label == label).any() else None for label in range(classes)]},
        )
    ]


def small(side: Side) -> tuple[Tensor, Tensor]:
    """Up to MOST pictures (uint8, averaged down to SIDE where they are larger) and their labels: random ones, always the same."""
    label = torch.from_numpy(np.asarray(side.label, np.int64))
    chosen = np.ones(len(label), bool)
    chosen[np.random.default_rng(6).permutation(len(label))[MOST:]] = False
    parts, labels, shape = [], [], None
    for rows, pictures in side.pieces():  # rows: a damaged file has none, and its label goes with it
        rows, pictures = rows[chosen[rows]], pictures[torch.from_numpy(chosen[rows])]
        if not len(rows):
            continue
        shape = [min(SIDE, size) for size in pictures.shape[2:]] if shape is None else shape
        if list(pictures.shape[2:]) != shape:
            pictures = F.adaptive_avg_pool2d(pictures.float(), shape).round().to(torch.uint8)
        parts.append(pictures)
        labels.append(label[torch.from_numpy(rows)])
    return torch.cat(parts), torch.cat(labels)
