"""The order of the data: which sample is image number n of the run.

Everything is a function of (seed, epoch, position): nothing depends on the batch size, on the number of workers or ranks, or on
when a run was stopped and resumed. Random bits come from Philox's raw output and from SplitMix64 and not from the methods of
``numpy.random.Generator``, whose streams may change between NumPy versions: a run resumed after an upgrade keeps its order.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

MASK = (1 << 64) - 1


@lru_cache(maxsize=4)
def permutation(seed: int, epoch: int, length: int) -> np.ndarray:
    """The order of epoch ``epoch``: (length,) int64, each index once, read-only (it is shared through the cache)."""
    bits = np.random.Philox(key=np.array([seed & MASK, epoch & MASK], dtype=np.uint64))
    order = np.argsort(bits.random_raw(length), kind="stable").astype(np.int64, copy=False)
    order.setflags(write=False)
    return order


def positions(start: int, count: int, length: int, seed: int) -> list[tuple[int, np.ndarray]]:
    """Where images ``start`` to ``start + count`` of the run come from.

    Image number n lies in epoch n // length and is sample permutation(seed, epoch)[n % length]. Returns [(epoch, indices), ...] in
    order, one entry for each epoch touched; the indices together are ``count`` long.
    """
    assert start >= 0 and count >= 0 and length > 0, (start, count, length)
    pieces = []
    while count > 0:
        epoch, offset = divmod(start, length)
        taken = min(count, length - offset)
        pieces.append((epoch, permutation(seed, epoch, length)[offset:offset + taken]))
        start, count = start + taken, count - taken
    return pieces


def mix(seed: int, epoch: int, indices: np.ndarray) -> np.ndarray:
    """64 random bits for each (seed, epoch, index): (N,) uint64. SplitMix64's finaliser (Steele et al., 2014), three times chained."""
    run = splitmix(np.array([seed & MASK], dtype=np.uint64)) ^ np.uint64(epoch & MASK)
    return splitmix(splitmix(run) ^ np.asarray(indices).astype(np.uint64))


def splitmix(value: np.ndarray) -> np.ndarray:
    """One step of SplitMix64: (N,) uint64 -> (N,) uint64, a bijection."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def coins(seed: int, epoch: int, indices: np.ndarray) -> np.ndarray:
    """One fair coin for each (seed, epoch, index): (N,) bool."""
    return (mix(seed, epoch, indices) >> np.uint64(63)).astype(bool)
