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
        theirs = [one(fake, int(partner[row])) for row in rows]
        for begin in range(0, len(rows), BATCH):
            left, right = ours[begin : begin + BATCH], theirs[begin : begin + BATCH]
            yield start + begin, left, right if isinstance(ours, list) else stacked(left, right)
        start += len(rows)


def partners(real: Side, fake: Side) -> np.ndarray:
    """(real.count,) positions in ``fake``."""
    if real.files is None or fake.files is None:
        if real.count != fake.count:
            raise UserError(
                "{num_real} real samples cannot be paired with {num_fake} fake ones. Expected as many of each, in the same order, or files of the same names.",
                num_real=real.count, num_fake=fake.count,
            )  # fmt: skip
        return np.arange(real.count)
    known = {stem(name): position for position, name in enumerate(fake.files)}
    missing = [name for name in real.files if stem(name) not in known]
    if missing or len(fake.files) != len(real.files):
        example = missing[0] if missing else next(name for name in fake.files if stem(name) not in {stem(ours) for ours in real.files})
        raise UserError(
            "'{real}' and '{fake}' cannot be compared pair by pair: {example} has no partner. Expected the same file names in both ({num_real} and "
            "{num_fake} files).",
            real=real.name, fake=fake.name, example=example, num_real=len(real.files), num_fake=len(fake.files),
        )  # fmt: skip
    return np.array([known[stem(name)] for name in real.files])


def stem(name: str) -> str:
    """A file's name without its ending, with its folder."""
    return str(PurePosixPath(name).with_suffix(""))


def one(side: Side, position: int) -> Tensor | np.ndarray:
    """A single sample of a side."""
    index = side.piece_of(position)
    rows, samples = side.piece_once(index)
    where = np.flatnonzero(rows == position)
    if not len(where):
        raise UserError(
            "Sample {position} of '{data}' cannot be read, so its pair cannot be compared. Mend or remove the file.", position=position, data=side.name
        )
    return samples[int(where[0])]


def stacked(real: Tensor, fake: list[Tensor]) -> Tensor:
    """The fakes as one tensor of the reals' shape."""
    for theirs in fake:
        if theirs.shape != real.shape[1:]:
            raise UserError(
                "A pair differs in shape: {real} and {fake}. Expected pictures of one size and one number of channels: resize one side.",
                real=tuple(real.shape[1:]), fake=tuple(theirs.shape),
            )  # fmt: skip
    return torch.stack(fake)
