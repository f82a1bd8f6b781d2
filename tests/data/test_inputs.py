"""Recipes that make inputs of pictures. Oracles: plain recomputation here, symmetries, steps whose slopes are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from agon.data import open_dataset
from agon.data.inputs import names, open_recipe
from agon.data.inputs.edges import outlines, slopes
from agon.errors import UserError

ALL = np.arange


def shapes(**options):
    return open_dataset("shapes", **{"size": 32, "length": 40, **options})


def made(text: str, source, count: int = 40) -> tuple:
    recipe = open_recipe(text, source)
    inputs = recipe.make(source.read(ALL(count)).real, ALL(count), lambda i: torch.Generator().manual_seed(i))
    assert inputs.shape == (count, *recipe.shape) and inputs.dtype == (torch.uint8 if recipe.kind == "map" else torch.float32)
    if recipe.kind == "map":
        assert len(recipe.classes) == len(recipe.colours) == len(set(recipe.colours)) and int(inputs[:, 0].max()) < len(recipe.classes)
    else:
        assert inputs.min() >= -1 and inputs.max() <= 1
    return recipe, inputs


def random_pictures(channels: int, height: int = 13, width: int = 9):
    return torch.rand(4, channels, height, width, generator=torch.Generator().manual_seed(channels)) * 2 - 1


class Pictures:
    """A data set of given pictures."""

    def __init__(self, pictures):
        from agon.data.source import ArraySource, DataSpec

        self.source = ArraySource("some", DataSpec("image", tuple(pictures.shape[1:])), pictures.numpy())


def test_segmentation_depth_and_mask_are_the_data_sets_own() -> None:
    source = shapes(objects=3)
    recipe, maps = made("segmentation", source)
    assert recipe.classes[0] == "background" and recipe.classes[1:] == tuple(open_dataset("shapes").spec.class_names)
    assert np.array_equal(maps, source.segmentation(ALL(40))) and np.array_equal(made("depth", source)[1], source.depth(ALL(40)))
    assert np.array_equal(made("mask", source)[1], source.segmentation(ALL(40)) > 0)


def test_instances_are_told_apart_by_their_edges() -> None:
    """An edge is a pixel whose 3x3 cross holds more than one number (scipy's filters)."""
    source = shapes(objects=4)
    recipe, maps = made("segmentation:instances", source)
    cross = np.array([[[[0, 1, 0], [1, 1, 1], [0, 1, 0]]]], bool)
    numbers = source.instances(ALL(40))
    spread = [pick(numbers, footprint=cross, mode="nearest") for pick in (ndimage.maximum_filter, ndimage.minimum_filter)]
    assert recipe.shape == (2, 32, 32) and np.array_equal(maps[:, 1:], spread[0] != spread[1]) and np.array_equal(maps[:, :1], made("segmentation", source)[1])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_grey_is_luma_over_white(channels: int) -> None:
    pictures = random_pictures(channels)
    found = made("grey", Pictures(pictures).source, 4)[1]
    values = (pictures.double() + 1) * 127.5
    if channels == 4:
        values = (values[:, :3] * values[:, 3:] + 255 * (255 - values[:, 3:])) / 255
    wanted = 0.299 * values[:, 0] + 0.587 * values[:, 1] + 0.114 * values[:, 2] if channels > 1 else values[:, 0]
    assert np.allclose((found[:, 0] + 1) * 127.5, wanted, atol=1e-3)


@pytest.mark.parametrize("bands", [2, 4, 7])
def test_levels_are_bands_of_brightness(bands: int) -> None:
    ramp = (torch.arange(256.0) / 127.5 - 1).view(1, 1, 16, 16)
    recipe, found = made(f"levels:{bands}", Pictures(ramp).source, 1)
    assert found.flatten().tolist() == [min(bands - 1, value * bands // 255) for value in range(256)]
    middle = [int(colour[1:3], 16) for colour in recipe.colours]
    assert all(abs(grey - 255 * (band + 0.5) / bands) <= 0.5 for band, grey in enumerate(middle))
    assert len(made("levels", shapes())[0].classes) == 4


@pytest.mark.parametrize("channels", [1, 3])
def test_slopes_are_sobels_in_the_steepest_channel(channels: int) -> None:
    pictures = random_pictures(channels)
    rows, columns = (np.stack([[ndimage.sobel(plane, axis, mode="nearest") / 16 for plane in picture] for picture in pictures.double().numpy()])
                     for axis in (0, 1))
    best = np.hypot(rows, columns).argmax(1)[:, None]
    for found, wanted in zip(slopes(pictures), (rows, columns), strict=True):
        assert np.allclose(found, np.take_along_axis(wanted, best, 1), atol=1e-6)


@pytest.mark.parametrize("turn", [lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.transpose(-1, -2)])
def test_turned_pictures_have_turned_lines_and_negatives_the_same(turn) -> None:
    pictures = shapes(size=(24, 40)).read(ALL(12)).real
    assert torch.allclose(outlines(turn(pictures)), turn(outlines(pictures)), atol=1e-4) and torch.allclose(outlines(-pictures), outlines(pictures), atol=1e-4)


@pytest.mark.parametrize("part", [0, 0.25, 0.5, 0.8])
def test_a_line_is_one_pixel_wide_wherever_the_step_lies(part: float) -> None:
    """A step of height 1 in x whose middle pixel is covered by ``part``: slopes part/2, 1/2, (1 - part)/2 (central differences), so the ink is known."""
    row = torch.tensor([0, 0, 0, 0, part, 1, 1, 1, 1.0]) * 2 - 1
    ink = (1 - outlines(row.view(1, 1, 1, 9).expand(1, 1, 7, 9))) / 2
    slope = np.array([0, 0, 0, part, 1, 1 - part, 0, 0, 0]) / 2
    beside = np.maximum(np.append(slope[1:], 0), np.append(0, slope[:-1]))
    wanted = np.clip(slope / np.maximum(beside, 1e-6) - 0.5, 0, 1) * np.minimum(1, 2 * slope / 0.25)
    assert np.allclose(ink[0, 0], wanted, atol=1e-5) and 1 <= wanted.sum() < 1.15


def test_faint_steps_fade_and_flat_pictures_are_paper() -> None:
    step = torch.zeros(1, 1, 8, 8)
    step[..., 4:] = 0.25  # an eighth of the range
    for full, ink in ((0.25, 0.25), (0.125, 0.5), (0.0625, 0.5)):  # half of the line lies in the pixel before the step
        assert torch.allclose((1 - outlines(step, full))[..., 4] / 2, torch.tensor(ink))
    assert (outlines(torch.full((1, 3, 8, 8), 0.3)) == 1).all()


def test_lines_go_round_every_shape_whatever_its_brightness() -> None:
    """Green on grey has no edge in luma."""
    source = shapes(size=48, only="colour=green;background=grey")
    lines, maps = made("edges", source)[1], source.segmentation(ALL(40))
    border = ndimage.binary_dilation(maps > 0, np.ones((1, 1, 3, 3))) & ~ndimage.binary_erosion(maps > 0, np.ones((1, 1, 3, 3)))
    ink = (1 - lines.numpy()) / 2
    assert ink[~ndimage.binary_dilation(border, np.ones((1, 1, 3, 3)))].max() < 0.05 and ink[border].mean() > 0.3


def test_inputs_do_not_depend_on_the_batch() -> None:
    source = shapes(objects=2)
    for name in ("segmentation:instances", "depth", "mask", "grey", "levels:5", "edges"):
        recipe, whole = made(name, source)
        part = recipe.make(source.read(np.array([31, 7])).real, np.array([31, 7]), lambda i: torch.Generator())
        assert torch.allclose(part.float(), whole[[31, 7]].float(), atol=1e-6), name


@pytest.mark.parametrize(("text", "words"), [
    ("edges:0", "above 0 and at most 1"), ("edges:wide", "above 0"), ("edges:nan", "above 0"), ("levels:1", "from 2 to 64"), ("levels:2.5", "from 2 to 64"),
    ("segmentation:parts", "no variant 'parts'"), ("depth:3", "depth alone"), ("mask:3", "mask alone"), ("grey:3", "grey alone"),
    ("segmentatoin", "Did you mean 'segmentation'"),
])
def test_wrong_parameters_are_explained(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        open_recipe(text, shapes())


@pytest.mark.parametrize("name", ["segmentation", "depth", "mask"])
def test_data_without_maps_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="'some' does not say. Expected the data set 'shapes'"):
        open_recipe(name, Pictures(random_pictures(3)).source)
    assert name in names()
