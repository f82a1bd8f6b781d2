"""Translation from label maps to pictures: does a given segmenter find the labels in the fakes that they were made from?

The FCN score of Isola et al., 2017 (pix2pix), https://arxiv.org/abs/1611.07004, section 3.3; the three numbers are those of Long et al., 2015,
https://arxiv.org/abs/1411.4038, section 5. A pair is a label map (the real side: 8-bit grey, class numbers, 255 = not judged) and the fake made from it.
Scores depend on the segmenter: the real pictures' own score is the ceiling. Of a run that translates label maps the maps are the run's inputs, and the real
pictures' score stands beside as that of a perfect sampler.
"""

from __future__ import annotations

import importlib
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
from agon.metrics.sides import Side

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
SEGMENTERS = {"shapes": "agon.metrics.features.shapes"}
"""Shipped segmenters: the data set they are for -> the module with ``scores`` and the ``SHA256`` of its weights."""


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


def chosen(samples: Samples) -> Any:
    """The segmenter that was given, else of a run the one that is shipped for its data, else None."""
    if samples.segmenter is not None:
        return samples.segmenter
    return samples.name if samples.fake.inputs is not None and samples.name in SEGMENTERS else None


def segmenter_of(segmenter: Any) -> Callable[[Tensor], Tensor]:
    """A callable, the name of a shipped one, or the path of a TorchScript file. Raises Unavailable where there is none."""
    if segmenter is None:
        raise Unavailable("The metrics of translation need a segmenter. Give one: --segmenter shapes, or --segmenter FILE.pt "
                          "(TorchScript: uint8 (N, C, H, W) -> (N, classes, H, W) scores).")
    if not isinstance(segmenter, str | Path):
        return segmenter
    if segmenter in SEGMENTERS:
        return importlib.import_module(SEGMENTERS[segmenter]).scores
    try:
        return torch.jit.load(str(segmenter), map_location="cpu").eval()
    except (RuntimeError, ValueError) as error:
        raise UserError("{path} is not a TorchScript module ({why}). Expected one: save the segmenter with torch.jit.script.", path=segmenter,
                        why=" ".join(str(error).split())[:200]) from None


def scored(segmenter: Callable[[Tensor], Tensor], picture: Tensor) -> Tensor:
    """The segmenter's answer. Raises UserError where it fails: it is the user's own program."""
    try:
        scores = segmenter(picture)
    except UserError:  # of a shipped one, which says itself what is wrong
        raise
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
    if segmenter in SEGMENTERS:
        return f"{segmenter} {importlib.import_module(SEGMENTERS[segmenter]).SHA256}"
    if isinstance(segmenter, str | Path):
        return f"{Path(segmenter).name} {sha256_of(Path(segmenter))}"
    return getattr(segmenter, "__qualname__", type(segmenter).__qualname__)


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """``samples.segmenter``: uint8 (1, C, H, W) -> scores (1, K, H, W), K fixed; the highest decides. Error: delete-one-group jackknife over 50 groups of
    pictures."""
    given = chosen(samples)
    segmenter, maps = segmenter_of(given), maps_of(samples)
    groups, count = counted(samples, maps, samples.fake, segmenter)
    total, used = groups.sum(0), min(count, GROUPS)
    ceiling = counted(samples, maps, samples.real, segmenter)[0].sum(0) if hasattr(samples.fake, "baselines") else None
    results = []
    for name in (name for name in SCORES if name in names):
        left_out = np.array([SCORES[name](total - group) for group in groups[:used] if (total - group).any()])
        error = np.sqrt((used - 1) / used * ((left_out - left_out.mean()) ** 2).sum()) if len(left_out) > 1 else None
        results.append(samples.result(
            name, SCORES[name](total), error, num_real=count, num_fake=count,
            protocol={"classes": len(total), "ignored": IGNORED, "classes_counted": "those present", "segmenter": name_of(given),
                      "error": f"delete-one-group jackknife over {used} groups of pictures"},
            reference=None if ceiling is None else {"perfect_sampler": {"value": SCORES[name](ceiling), "how": "the real pictures of the same maps"}},
            details={"per_class_pixels": total.sum(1).tolist()},
        ))  # fmt: skip
    return results


def maps_of(samples: Samples) -> Side:
    """The label maps: the inputs of a translator's run, else the real side. Raises Unavailable for a translator that starts from something else."""
    inputs = samples.fake.inputs
    if inputs is not None and inputs.form.source_kind != "map":
        raise Unavailable("The metrics of label maps need a run that makes pictures of them, and this one starts from something else ({kind}). Leave them out.",
                          kind=inputs.form.source_kind or "pictures")
    return samples.real if inputs is None else inputs


def counted(samples: Samples, maps: Side, pictures: Side, segmenter: Callable[[Tensor], Tensor]) -> tuple[np.ndarray, int]:
    """((GROUPS, K, K) counts of pixels, [label, found], of groups of pictures; how many pictures)."""
    groups: np.ndarray | None = None
    count = 0
    for label, found, classes in _judged(maps, pictures, segmenter):
        groups = np.zeros((GROUPS, classes, classes), np.int64) if groups is None else groups
        groups[count % GROUPS] += confusion(label, found, classes)
        count += 1
    if groups is None or not groups.sum():
        raise UserError("No pixel of the label maps of '{data}' is to be judged. Expected class numbers, 255 for what is not judged.", data=samples.name)
    return groups, count


@torch.no_grad()
def _judged(maps: Side, pictures: Side, segmenter: Callable[[Tensor], Tensor]) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """(label, found, classes) of each picture. Pairs are matched as in agon/metrics/pairs.py, though a map has one channel and its picture three."""
    own = maps.kind == "input"
    partner = np.arange(maps.count) if own else partners(maps, pictures)
    for rows, labels in maps.pieces():
        labels = labels[:, :1] if own else labels  # a map's second channel are the edges between instances
        if len(rows) and (labels.ndim != 4 or labels.shape[1] != 1):
            raise UserError("Label maps have shape {shape}. Expected 8-bit grey pictures of class numbers: (pictures, 1, height, width).",
                            shape=tuple(labels.shape))
        for row, label in zip(rows, labels[:, 0].numpy(), strict=True):
            scores = scored(segmenter, torch.as_tensor(partner_of(pictures, int(partner[row])))[None])
            if scores.ndim != 4 or scores.shape[2:] != label.shape:
                raise UserError("The segmenter gave {found} for a label map {label}. Expected (1, classes, height, width) scores of the map's size.",
                                found=tuple(scores.shape), label=label.shape)
            yield label, scores[0].argmax(0).cpu().numpy(), scores.shape[1]
