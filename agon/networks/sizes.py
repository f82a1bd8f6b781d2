"""Which picture sizes an architecture that doubles its resolution can express."""

from __future__ import annotations

from agon.data.source import DataSpec
from agon.errors import UserError


def doublings(spec: DataSpec, smallest: int = 4) -> tuple[int, tuple[int, int]]:
    """(number of doublings, (height, width) they start from), with as many doublings as leave ``smallest`` pixels or more.

    Raises UserError for data that are no pictures or whose sides cannot be halved even once down to 2 pixels or more.
    """
    if spec.kind != "image":
        raise UserError("This network draws pictures, the data are of kind '{kind}'. Expected pictures, or a game for any data such as gan.", kind=spec.kind)
    _, height, width = spec.shape
    for floor in (smallest, 2):
        times = 0
        while all(side % 2 ** (times + 1) == 0 and side // 2 ** (times + 1) >= floor for side in (height, width)):
            times += 1
        if times:
            return times, (height // 2**times, width // 2**times)
    raise UserError(
        "A network that doubles its resolution cannot draw {height}x{width} pictures. Expected sides that can be halved: "
        "add --data.size {near} to resize, or choose a game for any size such as gan.",
        height=height, width=width, near=f"{max(4, height // 4 * 4)}x{max(4, width // 4 * 4)}",
    )  # fmt: skip
