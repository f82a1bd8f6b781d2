"""Voxels: scipy's labels and Wasserstein distance as oracles, boxes with known overlaps."""

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from agon.metrics import voxels
from agon.metrics.marginals import wasserstein_1d
from agon.metrics.samples import Samples

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("density", [0.0, 0.05, 0.2, 0.3, 0.5, 1.0])
def test_pieces_are_scipys(density):
    grid = RANDOM.random((9, 12, 7)) < density
    label, count = ndimage.label(grid)
    expected = sorted(np.bincount(label.ravel())[1:].tolist(), reverse=True)
    assert voxels.pieces(grid).tolist() == expected and len(expected) == count


def test_a_long_snake_is_one_piece():
    grid = np.zeros((40, 40, 1), bool)
    grid[::2] = True
    for row in range(1, 39, 2):
        grid[row, -1 if row % 4 == 1 else 0] = True
    assert voxels.pieces(grid).tolist() == [int(grid.sum())]


@pytest.mark.parametrize("counts", [(50, 50), (50, 73), (1, 9)])
def test_the_distance_on_the_line_is_scipys(counts):
    x, y = RANDOM.standard_normal(counts[0]).round(1), 2 * RANDOM.standard_normal(counts[1]).round(1)
    assert wasserstein_1d(x, y) == pytest.approx(stats.wasserstein_distance(x, y), rel=1e-12)


def boxes(count, side=5, seed=0, pieces=1):
    """Cubes of about ``side`` voxels in grids of 16, or so many of them in corners."""
    random = np.random.default_rng(seed)
    grids = np.zeros((count, 16, 16, 16), np.float32)
    for grid in grids:
        size = side + random.integers(0, 2)
        for start in [(0, 0, 0), (16 - size, 16 - size, 16 - size), (0, 0, 16 - size)][:pieces]:
            grid[tuple(slice(one, one + size) for one in start)] = 1
    return grids


def test_overlap_by_hand():
    real, fake = np.zeros((3, 4, 4, 4), bool), np.zeros((3, 4, 4, 4), bool)
    real[0, :2], fake[0, 1:3] = True, True
    real[1, 0], fake[1, 3] = True, True
    assert voxels.voxel_iou(real, fake).tolist() == [1 / 3, 0, 1]
    samples = Samples.of_arrays(torch.from_numpy(real).float()[:, None], torch.from_numpy(fake).float()[:, None], kind="voxels")
    (entry,) = voxels.measure(samples, ["voxel_iou"])
    assert entry["value"] == pytest.approx(4 / 9) and entry["standard_error"] == pytest.approx(np.std([1 / 3, 0, 1], ddof=1) / np.sqrt(3))


def test_statistics_see_size_and_pieces_apart():
    names = ["occupancy", "components", "largest_component"]

    def measure(fake):
        samples = Samples.of_arrays(torch.from_numpy(boxes(20)), torch.from_numpy(fake), kind="voxels")
        return {entry["metric"]: entry for entry in voxels.measure(samples, names)}

    larger, split = measure(boxes(20, side=7)), measure(boxes(20, seed=1, pieces=3))
    assert larger["components"]["value"] == 0 and larger["occupancy"]["value"] > 0.05
    assert split["components"]["value"] == 2 and split["largest_component"]["value"] == pytest.approx(2 / 3)
    assert larger["occupancy"]["details"]["mean_real"] == pytest.approx(boxes(20).mean(), rel=1e-6)
    assert larger["occupancy"]["details"]["variance_real"] == pytest.approx(boxes(20).mean((1, 2, 3)).var(ddof=1), rel=1e-4)
    same = measure(boxes(20))
    assert all(same[name]["value"] == 0 for name in names)
    assert same["occupancy"]["reference"]["perfect_sampler"]["value"] > 0
