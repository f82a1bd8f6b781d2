"""Points in the plane whose distribution is known: the usual test of mode collapse.

``toy:ring8`` and ``toy:grid25`` follow PacGAN (Lin et al., 2018, https://arxiv.org/abs/1712.04086, section 4.1 and its code): equal
mixtures of Gaussians, 100,000 fixed training samples. ``toy:swissroll`` is the spiral of WGAN-GP's toy code (Gulrajani et al., 2017):
scikit-learn's swiss roll without its height, noise 0.25, divided by 7.5.

The numbers come from ``numpy.random.RandomState``, whose stream is frozen for good: the samples are the same on every version.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from agon.data.source import ArraySource, DataSpec
from agon.errors import UserError

SEED = 20180605
SWISSROLL_SCALE = 7.5


class ToySource(ArraySource):
    """(N, 2) float32 points.

    ``centers``: (M, 2) float64 centres of the modes, None where there are none (swissroll). ``sigma``: the standard deviation of a
    mode along each axis. ``labels``: (N,) the mode (0 to M - 1) that each point was drawn from, None for swissroll.
    """

    def __init__(self, name: str, spec: DataSpec, points: np.ndarray, labels: np.ndarray | None,
                 centers: np.ndarray | None, sigma: float):
        super().__init__(name, spec, points, labels)
        self.centers, self.sigma = centers, sigma


def open_source(name: str, *, size: tuple[int, int] | None = None, channels: int | None = None, cache_dir: Path | None = None,
                length: int = 100_000, labelled: bool = False) -> ToySource:
    """``length``: number of points. ``labelled=True`` hands out the mode of each point as its class."""
    if size is not None or channels is not None:
        raise UserError("'{name}' consists of points, which have neither size nor channels. Leave both out.", name=name)
    if not isinstance(length, int) or length < 1:
        raise UserError("'{name}' cannot have length {length}. Expected a whole number of points, at least 1.", name=name, length=length)
    if name == "toy:swissroll":
        if labelled:
            raise UserError("'toy:swissroll' has no modes that could be labels. Use toy:ring8 or toy:grid25, or leave labelled out.")
        return ToySource(name, DataSpec("points", (2,)), swissroll(length), None, None, 0.25 / SWISSROLL_SCALE)
    centers, sigma = mixture(name)
    points, modes = mixture_samples(centers, sigma, length)
    classes = tuple(f"mode {index}" for index in range(len(centers))) if labelled else ()
    return ToySource(name, DataSpec("points", (2,), len(classes), classes), points, modes, centers, sigma)


def mixture(name: str) -> tuple[np.ndarray, float]:
    """The (M, 2) centres and the sigma of a mixture by its name."""
    if name == "toy:ring8":
        angle = 2.0 * np.pi * np.arange(8) / 8.0
        return np.stack([np.cos(angle), np.sin(angle)], axis=1), 0.01
    assert name == "toy:grid25", name
    line = np.array([-4.0, -2.0, 0.0, 2.0, 4.0])
    return np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2), 0.05


def mixture_samples(centers: np.ndarray, sigma: float, length: int, seed: int = SEED) -> tuple[np.ndarray, np.ndarray]:
    """``length`` points of the equal mixture: (N, 2) float32 and the mode of each, (N,) int64. Also the perfect sampler of the metrics."""
    random = np.random.RandomState(seed)
    modes = random.randint(0, len(centers), size=length)
    return (centers[modes] + sigma * random.standard_normal((length, 2))).astype(np.float32), modes.astype(np.int64)


def swissroll(length: int, seed: int = SEED) -> np.ndarray:
    """``length`` points of the spiral: (N, 2) float32, radius 1.5 pi / 7.5 to 4.5 pi / 7.5. Also the perfect sampler of the metrics."""
    random = np.random.RandomState(seed)
    angle = 1.5 * np.pi * (1.0 + 2.0 * random.uniform(size=length))
    spiral = np.stack([angle * np.cos(angle), angle * np.sin(angle)], axis=1)
    return ((spiral + 0.25 * random.standard_normal((length, 2))) / SWISSROLL_SCALE).astype(np.float32)
