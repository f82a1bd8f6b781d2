"""Crops of photographs and of folders. Oracles: pictures whose pixels say where they are, Pillow's own reduction of the whole picture, counts and splits."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import agon.data.crops
import agon.data.photos
from agon.data import open_dataset
from agon.data.crops import CropSource, open_source
from agon.data.photos import SPLITS, TEST, TRAIN
from agon.errors import UserError

ALL = np.arange


def coordinates(height: int, width: int) -> np.ndarray:
    """A picture whose first channel is the row and whose second is the column of a pixel."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, 7)], -1).astype(np.uint8)


def corners(source: CropSource, **when: int) -> np.ndarray:
    """Row and column of the first pixel of every crop of pictures of coordinates."""
    pixels = ((source.read(ALL(len(source)), **when).real + 1) * 127.5).round()
    rows = torch.arange(source.crop[0]).view(-1, 1) + pixels[:, 0, :1, :1]
    columns = torch.arange(source.crop[1]).view(1, -1) + pixels[:, 1, :1, :1]
    assert torch.equal(pixels[:, 0], rows.expand_as(pixels[:, 0])) and torch.equal(pixels[:, 1], columns.expand_as(pixels[:, 1]))
    return pixels[:, :2, 0, 0].numpy()


def test_crops_are_parts_of_their_pictures_one_from_each_cell() -> None:
    """100 x 70 pictures hold ceil(100/32) x ceil(70/24) = 4 x 3 crops: rows fall into 4 equal parts of the 69 places, columns into 3 of 47."""
    source = CropSource("grid", [coordinates(100, 70), coordinates(32, 24)], (32, 24))
    assert len(source) == 13 and source.spec.shape == (3, 32, 24)
    found = corners(source, seed=3, epoch=5)
    cells = np.stack([ALL(12) // 3, ALL(12) % 3], 1)
    assert (found[:12] >= np.floor(cells * [69 / 4, 47 / 3])).all() and (found[:12] < (cells + 1) * [69 / 4, 47 / 3]).all()
    assert found[12].tolist() == [0, 0] and source.picture_of(ALL(13)).tolist() == [0] * 12 + [1]


def test_crops_are_a_function_of_seed_epoch_and_index() -> None:
    source = CropSource("grid", [coordinates(200, 180)], (16, 16), mirror=True, zoom=0.5)
    whole = source.read(ALL(len(source)), seed=1, epoch=2).real
    assert torch.equal(source.read(np.array([9, 2, 9]), seed=1, epoch=2).real, whole[[9, 2, 9]])
    others = [source.read(ALL(len(source)), seed=s, epoch=e).real for s, e in ((1, 3), (2, 2))]
    assert all((other != whole).flatten(1).any(1).float().mean() > 0.9 for other in others)


def test_places_are_even_and_reach_both_ends() -> None:
    source = CropSource("grid", [coordinates(60, 90)], (30, 30))
    found = np.concatenate([corners(source, epoch=epoch) for epoch in range(400)])
    assert found.min(0).tolist() == [0, 0] and found.max(0).tolist() == [30, 60]
    assert np.abs(found.mean(0) - [15, 30]).max() < 0.5 and np.abs(found.std(0) - [np.sqrt(31**2 / 12), np.sqrt(61**2 / 12)]).max() < 0.5


def test_half_of_the_crops_are_mirrored() -> None:
    plain, mirrored = (CropSource("grid", [coordinates(200, 200)], (20, 20), mirror=on) for on in (False, True))
    a, b = (source.read(ALL(100)).real for source in (plain, mirrored))
    turned = (a != b).flatten(1).any(1)
    assert 30 < turned.sum() < 70 and torch.equal(b[turned], a[turned].flip(-1)) and torch.equal(b[~turned], a[~turned])


def test_a_zoomed_crop_is_cut_from_the_reduced_picture() -> None:
    """The oracle reduces the whole picture; a crop computed from its own part must be somewhere in it, to a level of rounding."""
    picture = np.random.RandomState(0).randint(0, 256, (64, 96, 3), np.uint8)
    reduced = np.asarray(Image.fromarray(picture).resize((48, 32), Image.Resampling.LANCZOS)).astype(int)
    for place in ((0.0, 0.0), (0.4, 0.7), (0.999, 0.999)):
        crop = agon.data.crops.cut(picture, (16, 16), np.array(place), 0.5).astype(int)
        top, left = int(place[0] * 17), int(place[1] * 33)
        assert np.abs(crop - reduced[top:top + 16, left:left + 16]).max() <= 1
    assert agon.data.crops.cut(picture, (60, 90), np.array([0.9, 0.9]), 0.5).shape == (60, 90, 3)  # no smaller than the crop
    scales = CropSource("one", [picture], (16, 16), zoom=0.5).read(ALL(24)).real
    assert scales.std() < CropSource("one", [picture], (16, 16)).read(ALL(24)).real.std()  # averaged noise is weaker


def test_small_pictures_are_enlarged_and_named() -> None:
    source = CropSource("small", [coordinates(20, 40), coordinates(64, 64)], (32, 32), names=("a", "b"))
    assert [tuple(p.shape) for p in source.pictures] == [(3, 32, 64), (3, 64, 64)] and source.read(ALL(len(source))).real.shape[1:] == (3, 32, 32)
    (event,) = source.events
    assert event["event"] == "enlarged" and event["pictures"] == 1 and event["first"] == "a"


@pytest.mark.parametrize(("crop", "zoom", "why"), [(4, 1.0, "4 x 4"), (32, 0.0, "zoom is 0"), (32, 2.0, "zoom is 2")])
def test_senseless_crops_are_refused(crop: int, zoom: float, why: str) -> None:
    with pytest.raises(UserError, match=why):
        open_dataset("photos", crop=crop, zoom=zoom)


def test_train_and_test_share_no_photograph() -> None:
    assert not TRAIN.keys() & TEST.keys() and not {e[2] for e in TRAIN.values()} & {e[2] for e in TEST.values()}
    assert not any("motorcycle_right" in entry[2] for entry in SPLITS["all"].values())
    assert sum(not entry[3] for entry in TEST.values()) >= 4
    train, test = (open_dataset("photos", split=split, crop=64) for split in ("train", "test"))
    assert train.names == tuple(TRAIN) and test.names == tuple(TEST) and not train.events and train.fingerprint != test.fingerprint
    for name, picture in zip(SPLITS["all"], train.pictures + test.pictures, strict=True):
        grey = bool((picture == picture[:1]).all())
        assert grey == SPLITS["all"][name][3] and min(picture.shape[1:]) >= 300 and picture.float().std() > 10, name
    colour = open_dataset("photos", split="test", grey=False, size=(40, 80))
    assert "camera" not in colour.names and colour.spec.shape == (3, 40, 80)
    assert open_dataset("photos", split="test", channels=1).read(ALL(2)).real.shape == (2, 1, 96, 96)


def test_without_scikit_image_the_split_stays_and_the_command_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    real = agon.data.photos.importlib.util.find_spec

    def without(*names: str):
        def find(name: str) -> ModuleSpec | None:
            return None if name in names else real(name)
        return find

    monkeypatch.setattr(agon.data.photos.importlib.util, "find_spec", without("skimage"))
    train, test = (open_dataset("photos", split=split) for split in ("train", "test"))
    assert train.names == ("flower",) and test.names == ("china",)
    (event,) = train.events
    assert event["event"] == "missing" and "pip install scikit-image" in event["why"] and "astronaut" in event["photographs"]
    monkeypatch.setattr(agon.data.photos.importlib.util, "find_spec", without("skimage", "sklearn"))
    with pytest.raises(UserError, match="pip install scikit-learn scikit-image"):
        open_dataset("photos")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "pictures"
    (place / "deep").mkdir(parents=True)
    for name, (height, width) in {"a.png": (40, 60), "b.png": (33, 35), "deep/c.png": (64, 32)}.items():
        Image.fromarray(coordinates(height, width)).save(place / name)
    return place


def test_a_folder_of_any_sizes_is_cropped_and_kept_in_the_cache(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_dataset(folder, crop=32, cache_dir=tmp_path / "cache", max_bad=0.3)
    assert [tuple(p.shape) for p in source.pictures] == [(3, 40, 60), (3, 33, 35), (3, 64, 32)] and source.names == ("a.png", "b.png", "deep/c.png")
    assert len(source) == 2 * 2 + 2 * 2 + 2 * 1 and torch.equal(source.pictures[2], torch.from_numpy(coordinates(64, 32)).permute(2, 0, 1))
    corners(source)
    monkeypatch.setattr(agon.data.crops, "decode", None)
    again = open_dataset(folder, crop=24, cache_dir=tmp_path / "cache")
    assert again.fingerprint == source.fingerprint and again.spec.shape == (3, 24, 24)


def test_bad_files_are_named_and_damage_is_mended(folder: Path, tmp_path: Path) -> None:
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:60])
    source = open_source(folder, crop=32, cache_dir=tmp_path / "cache", max_bad=0.3)
    assert [event["file"] for event in source.events if event["event"] == "skipped"] == ["broken.png"] and len(source.names) == 3
    with pytest.raises(UserError, match=r"broken\.png"):
        open_source(folder, crop=32, cache_dir=tmp_path / "cache")
    (pixels,) = (tmp_path / "cache" / "pixels").glob("*.npy")
    content = bytearray(pixels.read_bytes())
    content[-5] ^= 1
    pixels.write_bytes(content)
    mended = open_source(folder, crop=32, cache_dir=tmp_path / "cache", max_bad=0.3)
    assert any("damaged" in event.get("why", "") for event in mended.events) and mended.fingerprint == source.fingerprint


def test_what_fits_nowhere_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache: small sets stay in memory with a word, large ones are refused."""
    (tmp_path / "file").write_text("no folder")
    with pytest.warns(UserWarning, match="kept in memory"):
        source = open_source(folder, crop=32, cache_dir=tmp_path / "file")
    corners(source)
    monkeypatch.setattr(agon.data.crops, "MEMORY_BYTES", 1000)
    with pytest.raises(UserError, match="AGON_CACHE"):
        open_source(folder, crop=32, cache_dir=tmp_path / "file")
