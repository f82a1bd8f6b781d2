"""Maps, several objects and chosen levels of ``shapes``. Oracles: the pictures' own colours, closed-form geometry, the pictures of one object."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agon.data import open_dataset
from agon.data.shape_scenes import MARGIN, SCALES, coverage
from agon.data.shapes import BACKGROUNDS, COLOURS, LEVELS, MAP_CLASSES, MAP_COLOURS, SHAPES
from agon.errors import UserError

ALL = np.arange


def pixels_of(source, indices):
    return np.rint((source.read(indices).real.numpy() + 1) * 127.5)


def test_a_map_is_where_the_picture_has_the_shapes_colour() -> None:
    """One object: a pixel is more than half the shape's colour exactly where the map says so, and the number is the shape's."""
    source = open_dataset("shapes", size=40, length=200)
    factors, maps = source.factors(ALL(200)), source.segmentation(ALL(200))
    fronts, backs = (np.array(list(table.values()), float)[factors[key]] for table, key in ((COLOURS, "colour"), (BACKGROUNDS, "background")))
    way = fronts - backs
    share = np.einsum("nchw,nc->nhw", pixels_of(source, ALL(200)) - backs[..., None, None], way) / (way**2).sum(1)[:, None, None]
    clear = np.abs(share - 0.5) > 0.02  # 8 bits cannot tell nearer to one half
    assert maps.shape == (200, 1, 40, 40) and maps.dtype == np.uint8
    assert np.array_equal((share > 0.5)[clear], (maps[:, 0] > 0)[clear]) and clear.mean() > 0.99
    assert np.array_equal(maps.max((1, 2, 3)), factors["shape"] + 1)
    assert np.array_equal(source.instances(ALL(200)) > 0, maps > 0) and np.array_equal(source.depth(ALL(200)), np.where(maps > 0, 1, -1))
    assert len(MAP_CLASSES) == len(MAP_COLOURS) == 7 and MAP_CLASSES[1:] == tuple(SHAPES) and len(set(MAP_COLOURS)) == 7


def test_several_objects_lie_one_before_the_other() -> None:
    """Composed here again, pixel by pixel from the coverages, back to front; the front object is that of the picture with one."""
    source, single = (open_dataset("shapes", size=32, length=60, objects=count, condition=True) for count in (3, 1))
    scene = source.scene(ALL(60))
    assert len(scene) == 3 and all(np.array_equal(scene[0][key], value) for key, value in single.factors(ALL(60)).items())
    covers = [coverage(factors, (32, 32)) for factors in scene]
    picture = np.array(list(BACKGROUNDS.values()), float)[scene[0]["background"]][:, :, None, None] * np.ones((1, 1, 32, 32))
    for factors, cover in list(zip(scene, covers, strict=True))[::-1]:
        picture = picture * (1 - cover[:, None]) + np.array(list(COLOURS.values()), float)[factors["colour"]][:, :, None, None] * cover[:, None]
    assert np.abs(pixels_of(source, ALL(60)) - picture).max() <= 0.51
    owner = np.select([cover > 0.5 for cover in covers], [1, 2, 3], 0)
    kinds = np.stack([factors["shape"] + 1 for factors in scene], 1)
    assert np.array_equal(source.instances(ALL(60))[:, 0], owner) and set(np.unique(owner)) == {0, 1, 2, 3}
    found = source.segmentation(ALL(60))[:, 0]
    for number in (1, 2, 3):
        assert np.array_equal(found[owner == number], np.broadcast_to(kinds[:, number - 1, None, None], owner.shape)[owner == number])
    assert np.allclose(source.depth(ALL(60))[:, 0], np.array([-1, 1, 1 / 3, -1 / 3], np.float32)[owner])
    assert torch.equal(source.read(ALL(60)).condition, single.read(ALL(60)).condition) and source.fingerprint != single.fingerprint


def test_objects_are_independent() -> None:
    scene = open_dataset("shapes", length=20_000, objects=3).scene(ALL(20_000))
    table = np.stack([factors[key].astype(float) for factors in scene for key in ("shape", "colour", "x", "y", "scale", "rotation")])
    assert np.abs(np.corrcoef(table) - np.eye(18)).max() < 5 / np.sqrt(20_000)


def test_only_leaves_the_levels_that_are_named_evenly() -> None:
    whole = open_dataset("shapes", length=4000, label="colour+shape")
    only = "colour=blue, red; position=top left,bottom right,middle left;scale=medium;rotation=0-90,270-360"
    some = open_dataset("shapes", length=4000, label="colour+shape", only=only)
    assert some.spec.class_names[:7] == (*(f"red {shape}" for shape in SHAPES), "blue circle") and some.spec.num_classes == 12
    factors, before = some.factors(ALL(4000)), whole.factors(ALL(4000))
    for key, wanted in {"colour": (0, 5), "position": (0, 3, 8), "scale_level": (1,), "rotation_level": (0, 3)}.items():
        found, counts = np.unique(factors[key], return_counts=True)
        assert tuple(found) == wanted and np.abs(counts / 4000 * len(wanted) - 1).max() < 0.1, key
    assert all(np.array_equal(factors[key], before[key]) for key in ("shape", "background"))
    assert np.array_equal(some.labels, (factors["colour"] == 5) * 6 + factors["shape"])
    margin = MARGIN * SCALES[1]
    cell = np.floor((factors["y"] - margin) / (1 - 2 * margin) * 3) * 3 + np.floor((factors["x"] - margin) / (1 - 2 * margin) * 3)
    assert np.array_equal(cell, factors["position"]) and np.ptp(factors["x"][cell == 0]) > 0.9 * (1 - 2 * margin) / 3
    thirds = np.linspace(*SCALES, 4)
    assert factors["scale"].min() >= thirds[1] and factors["scale"].max() <= thirds[2] and np.ptp(factors["scale"]) > 0.95 * (thirds[2] - thirds[1])
    assert np.array_equal(np.floor(factors["rotation"] / (np.pi / 2)), factors["rotation_level"])
    assert some.fingerprint != whole.fingerprint and open_dataset("shapes", length=4000, label="colour+shape", only="").fingerprint == whole.fingerprint


def test_domains_of_one_seed_show_the_same_scenes() -> None:
    """What a translator between colours is to keep can be compared picture by picture."""
    red, blue = (open_dataset("shapes", length=50, only=f"colour={colour}") for colour in ("red", "blue"))
    assert np.array_equal(red.segmentation(ALL(50)), blue.segmentation(ALL(50))) and not torch.equal(red.read(ALL(50)).real, blue.read(ALL(50)).real)


@pytest.mark.parametrize(("options", "words"), [
    ({"objects": 0}, "from 1 to 4"), ({"objects": 5}, "from 1 to 4"), ({"only": "hue=red"}, "no factor 'hue'"),
    ({"only": "colour=red;colour=blue"}, "at most once"), ({"only": "colour=crimson"}, "no level 'crimson'.*pink"),
    ({"only": "colour"}, "no level ''"), ({"objects": "two"}, "whole number"),
])
def test_wrong_options_are_explained(options: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        open_dataset("shapes", **options)


def test_every_level_can_be_named() -> None:
    for factor, levels in LEVELS.items():
        for level in levels:
            assert open_dataset("shapes", length=30, label=factor, only=f"{factor}={level}").spec.class_names == (level,)
