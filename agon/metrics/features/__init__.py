"""Extractors: samples -> vectors. One architecture a file; which one fits a data set is decided here, by the data's name and shape."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agon.metrics.features.base import Extractor

OWN = {("digits", (1, 8, 8)): "digits"}
"""Data sets that have a small network of their own: (name, shape) -> extractor."""


BY_KIND = {"image": "inception", "points": "thumbnail", "video": "i3d-torchscript", "audio": "vggish"}
"""The extractor of a kind of data; points are their own features. The other kinds have none."""


def fitting(name: str, kind: str, spec: Any) -> str:
    """The extractor of a data set: its own small network where there is one, else its kind's, "" where there is none."""
    own = OWN.get((name, tuple(spec.shape))) if spec is not None else None
    return own or BY_KIND.get(kind, "")


def open_extractor(
    name: str, *, weights: Mapping[str, str | Path] | None = None, device: str = "cpu", precision: str = "fp32",
) -> Extractor:  # fmt: skip
    """Open an extractor by its name or a user's file. ``weights``: extractor -> local file, for those that need one.

    Raises UserError for an unknown name, Unavailable where its weights cannot be had.
    """
    from agon.metrics.catalog import extractors, is_own

    if is_own(name):
        from agon.metrics.features.own import open_extractor as opened

        return opened(name, device=device, precision=precision)
    module = importlib.import_module(extractors()[name][0])
    given = (weights or {}).get(name) or (weights or {}).get(getattr(module, "SAME_WEIGHTS", {}).get(name, name))
    return module.open_extractor(name, weights=None if given is None else Path(given).expanduser(), device=device, precision=precision)
