"""Several processes that measure together: what fails on one fails on all, so that none waits for another that has gone its own way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch.distributed as dist

from agon.errors import Unavailable, UserError

Result = TypeVar("Result")


def agree(work: Callable[[], Result]) -> Result:
    """What ``work`` returns on this process; where it fails on one, every process raises.

    The failure of the first process that had one is raised on all: Unavailable and UserError as such, anything else as a RuntimeError. ``work`` may
    exchange tensors only where that, too, is inside ``agree``.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return work()
    result, problem = None, None
    try:
        result = work()
    except Exception as error:
        if getattr(error, "agreed", False):
            raise
        problem = error
    said = None if problem is None else (isinstance(problem, Unavailable), isinstance(problem, UserError), type(problem).__name__, str(problem))
    first = next((each for each in gathered(said) if each is not None), None)
    if first is None:
        return result
    unavailable, known, name, text = first
    error = (Unavailable if unavailable else UserError)("{why}", why=text) if known else RuntimeError(f"{name}: {text}")
    error.agreed = True
    raise error from problem


def gathered(value: Any) -> list[Any]:
    """A small value of every process, on all of them, in the order of the ranks."""
    if not dist.is_initialized():
        return [value]
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, value)
    return found
