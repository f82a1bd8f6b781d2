"""scikit-learn's ``load_digits``: 1,797 real handwritten digits, 8x8, 17 grey levels, nothing to download.

Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits" (UCI, 1998, https://doi.org/10.24432/C50P49), of which
scikit-learn ships the test set. Pixels 0..16 become x / 8 - 1 in [-1, 1], exactly.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from agon.data.source import ArraySource, DataSpec
from agon.errors import UserError


def open_source(name: str, *, size: tuple[int, int] | None = None, channels: int | None = None, cache_dir: Path | None = None,
                split: str = "all", labelled: bool = True, mirror: bool = False) -> ArraySource:
    """``split``: "train" (1,198), "test" (599: every third picture, index % 3 == 2, in the order of the file) or "all" (1,797).

    The split is the one by which the classifier of agon/metrics/features/digits.py was trained: it has never seen "test".
    Returns (N, 1, 8, 8) float32 pictures; ``size`` enlarges them (Lanczos, clipped to [-1, 1]), ``channels`` repeats the grey.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UserError("The data set 'digits' is part of scikit-learn, which is not installed. Install it: "
                        'pip install "agon-gan[demo]" (or: pip install scikit-learn).') from error
    if split not in ("all", "train", "test"):
        raise UserError("The data set 'digits' has no split '{split}'. Expected all, train or test.", split=split)
    bunch = load_digits()
    held_out = np.arange(len(bunch.target)) % 3 == 2
    chosen = {"all": np.full_like(held_out, True), "train": ~held_out, "test": held_out}[split]
    pictures = (bunch.images[chosen] / 8.0 - 1.0).astype(np.float32)[:, None]
    pictures = repeat_grey(enlarge(pictures, size), channels)
    classes = tuple(str(digit) for digit in range(10)) if labelled else ()
    spec = DataSpec("image", pictures.shape[1:], len(classes), classes)
    return ArraySource(name, spec, pictures, bunch.target[chosen], mirror=mirror)


def enlarge(pictures: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """(N, 1, H, W) float32 in [-1, 1] at another size, whole picture kept (a digit must not be cropped), Pillow's Lanczos in float."""
    if size is None or size == pictures.shape[2:]:
        return pictures
    from PIL import Image

    resized = [np.asarray(Image.fromarray(picture[0]).resize(size[::-1], Image.Resampling.LANCZOS)) for picture in pictures]
    return np.clip(np.stack(resized), -1.0, 1.0)[:, None]


def repeat_grey(pictures: np.ndarray, channels: int | None) -> np.ndarray:
    """(N, 1, H, W) in [-1, 1] -> 1, 3 or 4 channels (alpha is opaque)."""
    if channels in (None, 1):
        return pictures
    repeated = np.repeat(pictures, channels, axis=1)
    repeated[:, 3:] = 1.0
    return repeated
