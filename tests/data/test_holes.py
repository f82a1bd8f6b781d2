"""Holes. Oracles: the definition (known pixels untouched, nothing where it is missing), plain loops for the geometry, counts over many draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agon.data import open_dataset
from agon.data.inputs.hole import MASKS, near_chain, open_recipe, stroke
from agon.data.source import ArraySource, DataSpec
from agon.errors import UserError


def pictures(shape: tuple[int, int, int], n: int = 6) -> ArraySource:
    return ArraySource("noise", DataSpec("image", shape), np.random.RandomState(0).randint(0, 256, (n, *shape), np.uint8))


def seeded(index: int) -> torch.Generator:
    return torch.Generator().manual_seed(index)


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 20, 48), (4, 33, 17)], ids=str)
def test_known_pixels_stay_and_missing_ones_are_zero(kind: str, shape: tuple[int, int, int]) -> None:
    source = pictures(shape)
    recipe, real = open_recipe(kind, source), source.read(np.arange(6)).real
    made = recipe.make(real, np.arange(6), seeded)
    assert recipe.kind == "hole" and recipe.shape == (shape[0] + 1, *shape[1:]) and made.shape == (6, *recipe.shape) and made.dtype == torch.float32
    picture, mask = made[:, :-1], made[:, -1:]
    assert ((mask == 0) | (mask == 1)).all() and mask.flatten(1).any(1).all() and not mask.flatten(1).all(1).any()
    assert torch.equal(picture, torch.where(mask == 1, torch.zeros(()), real))


def test_the_centre_is_the_middle_half() -> None:
    mask = MASKS["centre"](16, 24, seeded(0))
    assert mask[4:12, 6:18].all() and mask.sum() == 8 * 12


def test_boxes_are_a_quarter_to_a_half_of_a_side() -> None:
    """A single box (a mask that fills its bounding box) must have sides in range; all counts, places and sizes occur."""
    singles, areas = [], []
    for index in range(300):
        mask = MASKS["box"](40, 80, seeded(index))
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        tall, wide = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
        areas.append(float(mask.float().mean()))
        if mask.sum() == tall * wide and tall <= 20 and wide <= 40:
            singles.append((tall, wide))
    assert all(10 <= tall <= 20 and 20 <= wide <= 40 for tall, wide in singles) and {s[0] for s in singles} == set(range(10, 21))
    assert 80 < len(singles) < 150 and max(areas) > 0.4 and min(areas) < 0.1  # one box in a third of all


def test_strokes_are_the_pixels_near_their_chain() -> None:
    """Against a loop over pixels and segments, with the distance by its cases: before the start, past the end, beside."""
    points = torch.tensor([[3.0, 4.0], [15.5, 4.0], [9.0, 14.25], [9.0, 14.25]])
    mask = near_chain(points, 18, 20, 2.5)
    for y in range(18):
        for x in range(20):
            p, near = np.array([x + 0.5, y + 0.5]), np.inf
            for a, b in zip(points[:-1].numpy(), points[1:].numpy(), strict=True):
                ab, ap = b - a, p - a
                if ap @ ab <= 0:
                    d = np.hypot(*ap)
                elif ap @ ab >= ab @ ab:
                    d = np.hypot(*(p - b))
                else:
                    d = abs(ab[0] * ap[1] - ab[1] * ap[0]) / np.hypot(*ab)
                near = min(near, d)
            assert bool(mask[y, x]) == (near <= 2.5), (x, y, near)


def test_strokes_scale_with_the_picture() -> None:
    """The same draws at twice the size cover the same part."""
    small, large = (torch.stack([stroke(side, side, seeded(i)) for i in range(60)]).float().mean((1, 2)) for side in (64, 128))
    assert (small - large).abs().max() < 0.02 and small.std() > 0.02


def test_mixed_holds_boxes_and_strokes() -> None:
    """Among masks of mixed draws some are a union of rectangles, some not; on average more is missing than with strokes alone."""
    means = {kind: np.mean([float(MASKS[kind](32, 32, seeded(i)).float().mean()) for i in range(200)]) for kind in ("box", "free", "mixed")}
    both = means["box"] + means["free"] - means["box"] * means["free"]
    assert abs(means["mixed"] - (means["box"] + means["free"] + both) / 3) < 0.04


def test_masks_depend_on_the_sample_alone() -> None:
    source = open_dataset("photos", split="test", crop=32, input="hole:mixed")
    one, two = (source.read(np.array(which), seed=1, epoch=4).source for which in ([3, 8, 5], [8, 3]))
    assert torch.equal(one[[1, 0]], two) and not torch.equal(one[0, -1], one[1, -1])
    other = open_dataset("photos", split="test", crop=32, input="hole").read(np.array([3, 8, 5]), seed=1, epoch=5).source
    assert not torch.equal(other[:, -1], one[:, -1])


def test_unknown_holes_and_tiny_pictures_are_refused() -> None:
    with pytest.raises(UserError, match="box, centre, free, mixed"):
        open_recipe("circle", pictures((3, 32, 32)))
    with pytest.raises(UserError, match="8 pixels"):
        open_recipe("box", pictures((3, 4, 32)))
