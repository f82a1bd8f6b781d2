"""Translation from label maps to pictures: does a given segmenter find the labels in the fakes that they were made from?

The FCN score of Isola et al., 2017 (pix2pix), https://arxiv.org/abs/1611.07004, section 3.3; the three numbers are those of Long et al., 2015,
https://arxiv.org/abs/1411.4038, section 5. A pair is a label map (the real side: 8-bit grey, class numbers, 255 = not judged) and the fake made from it.
Scores depend on the segmenter: the real pictures' own score is the ceiling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agon.data.cache import sha256_of
from agon.errors import Unavailable, UserError
from agon.metrics.pairs import partner_of, partners
from agon.metrics.samples import Samples

METRICS = {
    "miou": "Mean intersection over union of the labels that a segmenter finds in fakes with those they were made from (higher is better)",
    "pixel_accuracy": "Fraction of pixels where a segmenter finds the label that the fake was made from (higher is better)",
    "class_accuracy": "Mean over classes of the fraction of its pixels where a segmenter finds it again in the fake (higher is better)",
}
KINDS = ("image",)
EXTRACTOR = ""
PAIRED = True
LABELLED = False
IGNORED = 255
GROUPS = 50


def confusion(label: np.ndarray, found: np.ndarray, classes: int) -> np.ndarray:
    """(classes, classes) counts of pixels, [label, found]; pixels whose label is 255 are left out. Raises UserError for a class number out of range."""
    judged = label != IGNORED
    label, found = label[judged].astype(np.int64), found[judged].astype(np.int64)
    if len(label) and (min(label.min(), found.min()) < 0 or max(label.max(), found.max()) >= classes):
        raise UserError("Label maps hold the classes {low} to {high}, and the segmenter knows 0 to {last}. Expected class numbers, 255 for what is not judged.",
                        low=min(label.min(), found.min()), high=max(label.max(), found.max()), last=classes - 1)
    return np.bincount(classes * label + found, minlength=classes**2).reshape(classes, classes)


def pixel_accuracy(counts: np.ndarray) -> float:
    """Fraction of pixels found rightly, from (K, K) counts [label, found]."""
    return float(np.trace(counts) / counts.sum())


def class_accuracy(counts: np.ndarray) -> float:
    """Mean over the classes that the labels have of the fraction found again."""
    total = counts.sum(1)
    return float((counts.diagonal()[total > 0] / total[total > 0]).mean())


def miou(counts: np.ndarray) -> float:
    """Mean intersection over union over the classes that labels or predictions have. (pix2pix's script counts absent classes as 0.)"""
    union = counts.sum(0) + counts.sum(1) - counts.diagonal()
    return float((counts.diagonal()[union > 0] / union[union > 0]).mean())


SCORES = {"miou": miou, "pixel_accuracy": pixel_accuracy, "class_accuracy": class_accuracy}


def segmenter_of(samples: Samples) -> Callable[[Tensor], Tensor]:
    """``samples.segmenter``: a callable, or the path of a TorchScript file. Raises Unavailable where there is none."""
    segmenter = getattr(samples, "segmenter", None)
    if segmenter is None:
        raise Unavailable("The metrics of translation need a segmenter. Give one: --segmenter FILE.pt "
                          "(TorchScript: uint8 (N, C, H, W) -> (N, classes, H, W) scores).")
    if not isinstance(segmenter, str | Path):
        return segmenter
    try:
        return torch.jit.load(str(segmenter), map_location="cpu").eval()
    except (RuntimeError, ValueError) as error:
        raise UserError("{path} is not a TorchScript module ({why}). Expected one: save the segmenter with torch.jit.script.", path=segmenter,
                        why=" ".join(str(error).split())[:200]) from None


def scored(segmenter: Callable[[Tensor], Tensor], picture: Tensor) -> Tensor:
    """The segmenter's answer. Raises UserError where it fails: it is the user's own program."""
    try:
        scores = segmenter(picture)
    except Exception as error:  # TorchScript raises many kinds, over many lines, the reason last
        why = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
        raise UserError("The segmenter failed on a picture {shape} ({why}). Expected uint8 (1, C, H, W) -> (1, classes, H, W) scores: mend it.",
                        shape=tuple(picture.shape), why=why[:200]) from None
    if not isinstance(scores, Tensor):
        raise UserError("The segmenter failed on a picture {shape} ({why}). Expected uint8 (1, C, H, W) -> (1, classes, H, W) scores: mend it.",
                        shape=tuple(picture.shape), why=f"it returned {type(scores).__name__}")
    return scores


def name_of(segmenter: Any) -> str:
    """What the protocol says of it: a file's SHA-256 tells which weights, a callable has but a name."""
    if isinstance(segmenter, str | Path):
        return f"{Path(segmenter).name} {sha256_of(Path(segmenter))}"
    return getattr(segmenter, "__qualname__", type(segmenter).__qualname__)


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """``samples.segmenter``: uint8 (1, C, H, W) -> scores (1, K, H, W), K fixed; the highest decides. Error: delete-one-group jackknife over 50 groups of
    pictures."""
    segmenter = segmenter_of(samples)
    groups: np.ndarray | None = None
    count = 0
    for label, found, classes in _judged(samples, segmenter):
        groups = np.zeros((GROUPS, classes, classes), np.int64) if groups is None else groups
        groups[count % GROUPS] += confusion(label, found, classes)
        count += 1
    if groups is None or not groups.sum():
        raise UserError("No pixel of the label maps of '{data}' is to be judged. Expected class numbers, 255 for what is not judged.", data=samples.name)
    total, used = groups.sum(0), min(count, GROUPS)
    results = []
    for name in (name for name in SCORES if name in names):
        left_out = np.array([SCORES[name](total - group) for group in groups[:used] if (total - group).any()])
        error = np.sqrt((used - 1) / used * ((left_out - left_out.mean()) ** 2).sum()) if len(left_out) > 1 else None
        results.append(samples.result(
            name, SCORES[name](total), error, num_real=count, num_fake=count,
            protocol={"classes": len(total), "ignored": IGNORED, "classes_counted": "those present", "segmenter": name_of(samples.segmenter),
                      "error": f"delete-one-group jackknife over {used} groups of pictures"},
            details={"per_class_pixels": total.sum(1).tolist()},
        ))  # fmt: skip
    return results


@torch.no_grad()
def _judged(samples: Samples, segmenter: Callable[[Tensor], Tensor]) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """(label, found, classes) of each picture. Pairs are matched as in agon/metrics/pairs.py, though a map has one channel and its picture three."""
    partner = partners(samples.real, samples.fake)
    for rows, labels in samples.real.pieces():
        if len(rows) and (labels.ndim != 4 or labels.shape[1] != 1):
            raise UserError("Label maps have shape {shape}. Expected 8-bit grey pictures of class numbers: (pictures, 1, height, width).",
                            shape=tuple(labels.shape))
        for row, label in zip(rows, labels[:, 0].numpy(), strict=True):
            scores = scored(segmenter, torch.as_tensor(partner_of(samples.fake, int(partner[row])))[None])
            if scores.ndim != 4 or scores.shape[2:] != label.shape:
                raise UserError("The segmenter gave {found} for a label map {label}. Expected (1, classes, height, width) scores of the map's size.",
                                found=tuple(scores.shape), label=label.shape)
            yield label, scores[0].argmax(0).cpu().numpy(), scores.shape[1]
