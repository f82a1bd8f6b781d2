"""Real and fake samples that belong together, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

import numpy as np
import torch
from torch import Tensor

from agon.errors import UserError
from agon.metrics.sides import Side

BATCH = 32


def matched(real: Side, fake: Side) -> Iterator[tuple[int, Tensor | list, Tensor | list]]:
    """(start, real, fake): samples with one file name (without its ending) are a pair, in the order of the reals; sides without names go by position.

    Raises UserError where a sample has no partner or where a pair's shapes differ.
    """
    partner = partners(real, fake)
    start = 0
    for rows, ours in real.pieces():
        if not len(rows):
            continue
        theirs = [partner_of(fake, int(partner[row])) for row in rows]
        for begin in range(0, len(rows), BATCH):
            left, right = ours[begin : begin + BATCH], theirs[begin : begin + BATCH]
            yield start + begin, left, right if isinstance(ours, list) else stacked(left, right)
        start += len(rows)


def partners(real: Side, fake: Side) -> np.ndarray:
    """(real.count,) positions in ``fake``. Where the reals are some of more, fakes may be left over."""
    if fake.aligned is real:
        return np.arange(real.count)
    if (real.files is None) != (fake.files is None):
        named, other = (real, fake) if fake.files is None else (fake, real)
        raise UserError(
            "The samples of '{named}' have file names and those of '{other}' have none, so it is not known which belong together. Expected two folders "
            "with the same file names.",
            named=named.name, other=other.name,
        )  # fmt: skip
    if real.files is None or fake.files is None:
        if real.count != fake.count:
            raise UserError(
                "{num_real} real samples cannot be paired with {num_fake} fake ones. Expected as many of each, in the same order, or files of the same names.",
                num_real=real.count, num_fake=fake.count,
            )  # fmt: skip
        return np.arange(real.count)
    key = str if set(real.files) <= set(fake.files) else stem
    known, ours = {key(name): position for position, name in enumerate(fake.files)}, {key(name) for name in real.files}
    for side, keys in ((real, ours), (fake, known)):
        if len(keys) < side.count:
            raise UserError("Several files of '{data}' have one name but for their endings, so they cannot be paired with others. Expected one each: rename "
                            "or remove the others.", data=side.name)
    missing = [name for name in real.files if key(name) not in known]
    if missing or (len(known) != len(ours) and not real.cut):
        example = missing[0] if missing else next(name for name in fake.files if key(name) not in ours)
        raise UserError(
            "'{real}' and '{fake}' cannot be compared pair by pair: {example} has no partner. Expected the same file names in both ({num_real} and "
            "{num_fake} files).",
            real=real.name, fake=fake.name, example=example, num_real=len(real.files), num_fake=len(fake.files),
        )  # fmt: skip
    return np.array([known[key(name)] for name in real.files])


def stem(name: str) -> str:
    """A file's name without its ending, with its folder."""
    return str(PurePosixPath(name).with_suffix(""))


def partner_of(side: Side, position: int) -> Tensor:
    """A single sample of a side. Raises UserError for a damaged one."""
    sample = side.one(position)
    if sample is None:
        raise UserError(
            "Sample {position} of '{data}' cannot be read, so its pair cannot be compared. Mend or remove the file.", position=position, data=side.name
        )
    return sample


def stacked(real: Tensor, fake: list[Tensor]) -> Tensor:
    """The fakes as one tensor of the reals' shape."""
    for theirs in fake:
        if theirs.shape != real.shape[1:]:
            raise UserError(
                "A pair differs in shape: {real} and {fake}. Expected pictures of one size and one number of channels: resize one side.",
                real=tuple(real.shape[1:]), fake=tuple(theirs.shape),
            )  # fmt: skip
    return torch.stack(fake)
