"""CLIP score: how well each picture fits its own caption.

Hessel et al., 2021, "CLIPScore: A Reference-free Evaluation Metric for Image Captioning", https://arxiv.org/abs/2104.08718, section 3: w * max(cos(image,
text), 0) with w = 2.5 and CLIP ViT-B/32, the caption read as "A photo depicts ...", averaged over the pictures. Two others are in use and do not compare with
it: torchmetrics' 100 * max(cos, 0) and the plain cosine, both without the words in front; the cosine here, with them, is in the details. Published numbers
seldom say which: ask for the prompt and the factor.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from agon.errors import Unavailable, UserError
from agon.metrics.samples import Samples

METRICS = {"clip_score": "How well each picture fits its caption: 2.5 max(cos, 0) of CLIP embeddings (higher is better)"}
KINDS = ("image",)
EXTRACTOR = "clip"
LAYERS = ("features",)

FACTOR = 2.5
PROMPT = "A photo depicts "
SHIFTS = 20  # derangements of the captions for the score of mismatched pairs


def cosines(image_embeddings: np.ndarray, text_embeddings: np.ndarray) -> np.ndarray:
    """(N, D), (N, D) -> (N,) float64, row by row. Raises UserError unless the shapes are the same."""
    image, text = np.asarray(image_embeddings, np.float64), np.asarray(text_embeddings, np.float64)
    if image.shape != text.shape or image.ndim != 2:
        raise UserError("Embeddings of shape {image} and {text} cannot be compared. Expected (N, D) twice, one text a picture, from one CLIP: give "
                        "those.", image=image.shape, text=text.shape)
    lengths = np.linalg.norm(image, axis=1) * np.linalg.norm(text, axis=1)
    return (image * text).sum(1) / np.maximum(lengths, np.finfo(np.float64).tiny)


def clip_score(image_embeddings: np.ndarray, text_embeddings: np.ndarray, *, factor: float = FACTOR) -> np.ndarray:
    """(N,): factor * max(cos, 0) of each picture with its own text (their equation). The metric is the mean."""
    return factor * np.maximum(cosines(image_embeddings, text_embeddings), 0)


def read_captions(path: Path) -> list[str]:
    """One caption a line, UTF-8, empty lines at the end left out; the order is the pictures'. Raises UserError where there is no such file or a line within
    is empty."""
    try:
        captions = Path(path).read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError("The captions {path} cannot be read ({why}). Expected a UTF-8 text file, one caption a line, in the pictures' order.",
                        path=path, why=error) from None
    for number, caption in enumerate(captions, 1):
        if not caption.strip():
            raise UserError("Line {number} of {path} is empty. Expected one caption a line, in the pictures' order: fill it.", number=number, path=path)
    return captions


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """The mean over the fakes, its standard error, and beside it the mean for captions of other pictures. Raises Unavailable without captions or their
    tokenizer."""
    captions = getattr(samples, "captions", None)
    if captions is None:
        raise Unavailable("CLIP score needs a caption for each picture, and none were given. Expected a text file, one caption a line: run with "
                          "--captions FILE.")
    if not hasattr(samples.extractor, "text"):
        raise Unavailable("CLIP score needs an extractor that reads texts too, and {name} does not. Run with clip_score or clip_score_clip-l14.",
                          name=samples.extractor.name)
    image = samples.features("features")[1]
    if len(captions) != len(image):
        raise UserError("There are {captions} captions for {pictures} pictures. Expected one each, in the pictures' order: mend the file.",
                        captions=len(captions), pictures=len(image))
    text = samples.extractor.text([PROMPT + caption for caption in captions]).numpy()
    scores = clip_score(image, text)
    details = {"cosine": float(cosines(image, text).mean()), "share_below_zero": float((scores == 0).mean())}
    reference = {}
    if len(captions) > 1:
        reference = {"mismatched": {"value": mismatched(image, text), "how": "each picture with another one's caption, mean over random shifts"}}
    error = float(scores.std(ddof=1) / np.sqrt(len(scores))) if len(scores) > 1 else None
    return [samples.result("clip_score", float(scores.mean()), error, num_real=0, num_fake=len(scores), reference=reference, details=details,
                           protocol={"factor": FACTOR, "prompt": PROMPT, "clipped_at": 0, "error": "standard deviation / sqrt(N)"})]  # fmt: skip


def mismatched(image: np.ndarray, text: np.ndarray) -> float:
    """The mean score of pictures with captions that are not theirs: what no correspondence at all scores with these very pictures and texts."""
    random = np.random.default_rng(0)
    order = random.permutation(len(text))
    shifts = random.choice(np.arange(1, len(text)), min(SHIFTS, len(text) - 1), replace=False)
    return float(np.mean([clip_score(image[order], text[np.roll(order, shift)]).mean() for shift in shifts]))
