"""Progressive growing (Karras et al., 2018), https://arxiv.org/abs/1710.10196, section 2 and appendix A.

One number says how far a network has grown: ``lod``, the level of detail, counts the halvings from the full size. 0 is the full picture, 2 a quarter of each
side; 1.25 plays at half of each side with a quarter of the next coarser picture still mixed in. It is a function of the clock: a stable phase at the first
resolution, then fading in the next and a stable phase of that, in turn. Real pictures are faded like those that are made.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Growth:
    """The plan of a run. ``times``: doublings from ``side`` pixels (the shorter side) to the full size; growing begins at the largest resolution that
    is not above ``start_size``. ``stable_images``, ``fade_images``: real images in a phase of each kind."""

    times: int
    side: int
    start_size: int
    stable_images: int
    fade_images: int

    @property
    def start(self) -> int:
        """The level of detail at the beginning."""
        return min(lod for lod in range(self.times + 1) if lod == self.times or self.side << (self.times - lod) <= self.start_size)

    def lod(self, num_images: int) -> float:
        """The level of detail after so many images."""
        phase = self.stable_images + self.fade_images
        if not phase:
            return 0.0
        index, rest = divmod(num_images, phase)
        faded = max(rest - self.stable_images, 0) / self.fade_images if self.fade_images else 0.0
        return max(self.start - index - faded, 0.0)

    def phases(self) -> list[tuple[str, int | None]]:
        """(name, images) of every phase in its order, named by the shorter side; None: to the end of the run."""
        found: list[tuple[str, int | None]] = []
        for lod in range(self.start, 0, -1):
            found += [(f"{self.side << (self.times - lod)}", self.stable_images), (f"{self.side << (self.times - lod + 1)} fade", self.fade_images)]
        return [phase for phase in found if phase[1]] + [(f"{self.side << self.times}", None)]


def doubled(x: Tensor, times: int = 1) -> Tensor:
    """(N, C, H, W) -> (N, C, 2^times H, 2^times W): every pixel repeated."""
    return F.interpolate(x, scale_factor=2**times, mode="nearest") if times else x


def halved(x: Tensor, times: int = 1) -> Tensor:
    """(N, C, H, W) -> (N, C, H / 2^times, W / 2^times): means of squares."""
    return F.avg_pool2d(x, 2**times) if times else x


def faded(pictures: Tensor, lod: float, enlarge: bool = False) -> Tensor:
    """Real pictures (N, C, H, W) of the full size as they are at ``lod``: halved floor(lod) times, the rest mixed with the next coarser one. ``enlarge``:
    doubled to the full size again."""
    whole = int(lod)
    pictures = halved(pictures, whole)
    pictures = pictures if lod == whole else torch.lerp(pictures, doubled(halved(pictures)), lod - whole)
    return doubled(pictures, whole) if enlarge else pictures


class Progressive(nn.Module):
    """A network that grows: its level of detail lies in the buffer ``lod``, so that checkpoints and averaged copies have it too."""

    lod: Tensor

    def __init__(self, times: int):
        super().__init__()
        self.times = times
        self.register_buffer("lod", torch.zeros(()))
        self._known = (0, None, 0, 0.0)

    def set_lod(self, lod: float) -> None:
        lod = torch.tensor(min(lod, float(self.times)), dtype=torch.float32).item()
        if lod != self.level_of_detail():
            with torch.no_grad():
                self.lod.fill_(lod)
            self._known = (id(self), self.lod, self.lod._version, lod)

    def level_of_detail(self) -> float:
        """``lod`` as a number. Read from the device only if somebody else has written it: reading waits for the device."""
        owner, tensor, version, value = self._known
        if torch.compiler.is_compiling():
            return value
        if owner != id(self) or tensor is not self.lod or version != self.lod._version:  # a deep copy has an identity of its own
            value = float(self.lod)
            self._known = (id(self), self.lod, self.lod._version, value)
        return value

    def position(self) -> tuple[int, float]:
        """(index of the present resolution, 0 the coarsest; how much of the one below is still mixed in)."""
        lod = min(max(self.level_of_detail(), 0.0), float(self.times))  # a state may come from anywhere
        return self.times - int(lod), lod - int(lod)


def set_lod(module: nn.Module, lod: float) -> None:
    """Set the level of detail of every growing network inside ``module``."""
    for part in module.modules():
        if isinstance(part, Progressive):
            part.set_lod(lod)
