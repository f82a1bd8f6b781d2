"""Label maps from files. Oracles: the numbers that were written, Pillow's own nearest resampling, scipy's filters, counts by hand."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from agon.data.maps import UNKNOWN, decode_map, edges_between, open_maps, palette_of, spread
from agon.data.pictures import BadPicture, fit
from agon.errors import UserError

RANDOM = np.random.default_rng(0)
NUMBERS = RANDOM.integers(0, 4, (10, 14)).astype(np.uint8)
COLOURS = np.array([[70, 130, 180], [128, 64, 128], [0, 0, 0], [255, 255, 255]], np.uint8)
PALETTE = {"sky": "#4682b4", "road": [128, 64, 128], "tree": "#000000", "wall": [255, 255, 255]}


def encoded(image: Image.Image, kind: str = "PNG", **how) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def indexed(numbers: np.ndarray, colours: np.ndarray = COLOURS) -> Image.Image:
    image = Image.fromarray(numbers).convert("L")
    image = image.copy()
    image.putpalette(np.vstack([colours, np.zeros((256 - len(colours), 3), np.uint8)]).tobytes())
    return image


def grey(numbers: np.ndarray, bits: int) -> bytes:
    """A grey PNG of 1, 2 or 4 bits, written by hand (Pillow writes none of 2 and 4)."""
    import struct
    import zlib

    per = 8 // bits
    padded = np.pad(numbers, ((0, 0), (0, -numbers.shape[1] % per)))
    packed = sum(padded[:, place::per].astype(np.uint8) << (8 - bits * (place + 1)) for place in range(per)).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", numbers.shape[1], numbers.shape[0], bits, 0, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts)


WRITTEN = {
    "indexed": encoded(indexed(NUMBERS)), "indexed, 4 bits": encoded(indexed(NUMBERS), bits=4), "gif": encoded(indexed(NUMBERS), "GIF"),
    "grey": encoded(Image.fromarray(NUMBERS)), "16 bits": encoded(Image.fromarray(NUMBERS.astype(np.uint16))), "2 bits": grey(NUMBERS, 2),
    "4 bits": grey(NUMBERS, 4), "tiff": encoded(Image.fromarray(NUMBERS), "TIFF"),
    "grey and alpha": encoded(Image.merge("LA", [Image.fromarray(NUMBERS), Image.fromarray(NUMBERS * 60)])),
    "transparent index": encoded(indexed(NUMBERS), transparency=1),
}


@pytest.mark.parametrize("data", WRITTEN.values(), ids=WRITTEN)
def test_the_number_is_the_class(data: bytes) -> None:
    found = decode_map(data)
    assert found.dtype == np.uint8 and np.array_equal(found, NUMBERS[None])


def test_one_bit_is_two_classes() -> None:
    assert np.array_equal(decode_map(grey(NUMBERS % 2, 1)), NUMBERS[None] % 2)


@pytest.mark.parametrize("data", [encoded(Image.fromarray(COLOURS[NUMBERS])), encoded(Image.fromarray(COLOURS[NUMBERS]), "WEBP", lossless=True),
                                  encoded(Image.fromarray(np.dstack([COLOURS[NUMBERS], NUMBERS * 60]))),
                                  encoded(indexed((NUMBERS + 1) % 4, np.roll(COLOURS, 1, 0))),
                                  encoded(Image.fromarray(np.kron(COLOURS[NUMBERS], np.ones((8, 8, 1), np.uint8))), "JPEG", quality=95)],
                         ids=["colour", "webp", "alpha", "indexed in another order", "jpeg"])
def test_colours_are_matched_to_the_palette(data: bytes, tmp_path) -> None:
    """Whatever the index of a colour in the file; a JPEG's colours are only near."""
    path = tmp_path / "palette.json"
    path.write_text(json.dumps(PALETTE))
    for palette in (PALETTE, path):
        found = decode_map(data, palette, NUMBERS.shape)
        assert np.array_equal(found, NUMBERS[None])


def test_other_numbers_are_named() -> None:
    assert np.array_equal(decode_map(encoded(Image.fromarray(NUMBERS * 9 + 7)), {"d": 34, "b": 16, "a": 7, "c": 25})[0], np.array([2, 1, 3, 0])[NUMBERS])
    assert (decode_map(encoded(Image.fromarray((NUMBERS == 1).astype(np.uint16) * 1000)), {"far": 1000})[0] == np.where(NUMBERS == 1, 0, UNKNOWN)).all()


@pytest.mark.parametrize("size", [(5, 7), (20, 28), (7, 7), (16, 4), (10, 14), (3, 40)])
def test_maps_are_cut_as_pictures_are(size: tuple[int, int]) -> None:
    """The box that pictures are resampled from, given to Pillow's own nearest."""
    numbers = RANDOM.integers(0, 250, (10, 14)).astype(np.uint8)
    boxes = []

    class Spy:
        size = (14, 10)

        def resize(self, *_, box, **__):
            boxes.append(box)

    fit(Spy(), size)
    image = Image.fromarray(numbers)
    wanted = np.asarray(image.resize(size[::-1], Image.Resampling.NEAREST, box=boxes[0])) if boxes[0:] and size != (10, 14) else numbers
    assert np.array_equal(decode_map(encoded(image), None, size)[0], wanted)


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the file's left is the picture's top
    assert np.array_equal(decode_map(encoded(indexed(NUMBERS), exif=exif))[0], np.rot90(NUMBERS, -1))


@pytest.mark.parametrize(("data", "palette", "error", "words"), [
    (encoded(Image.fromarray(COLOURS[NUMBERS])), None, UserError, "nothing says which class.*#"),
    (encoded(Image.fromarray(NUMBERS), "JPEG"), None, BadPicture, "as PNG"),
    (b"", None, BadPicture, "empty"), (WRITTEN["indexed"][:70], None, BadPicture, "."), (b"hello", None, BadPicture, "not a picture"),
    (WRITTEN["grey"], {"a": 0, "b": "#000000"}, UserError, "cannot be used"),
    (WRITTEN["grey"], {"a": "red"}, UserError, "at: a"), (WRITTEN["grey"], {}, UserError, "1 to 254"),
    (WRITTEN["grey"], {"a": [0, 0, 0], "b": "#000000"}, UserError, "a, b one colour"), (WRITTEN["grey"], "nowhere.json", UserError, "No such file"),
    (WRITTEN["grey"], {"a": [0, 0, 256]}, UserError, "at: a"), (WRITTEN["grey"], {"a": True}, UserError, "at: a"),
])
def test_what_cannot_be_read_is_explained(data: bytes, palette, error, words: str) -> None:
    with pytest.raises(error, match=words):
        decode_map(data, palette)


@pytest.fixture
def folder(tmp_path):
    """Three grey maps of 8x8 with classes 0 to 2; b.png has two pixels of 255 and three of 9."""
    root = tmp_path / "maps"
    (root / "sub").mkdir(parents=True)
    for name in ("a.png", "b.png", "sub/c.png"):
        numbers = RANDOM.integers(0, 3, (8, 8)).astype(np.uint8)
        numbers[0, :3] = 0, 1, 2
        if name == "b.png":
            numbers[4, :2], numbers[5, :3] = 255, 9
        Image.fromarray(numbers).save(root / name)
    (root / "notes.txt").write_text("mine")
    return root


def opened(root, tmp_path, **how):
    return open_maps(root, size=how.pop("size", (8, 8)), cache_dir=tmp_path / "cache", **how)


def written(root, name: str) -> np.ndarray:
    return np.asarray(Image.open(root / name))


def test_unknown_classes_are_named_and_counted(folder, tmp_path) -> None:
    with pytest.raises(UserError, match=r"in 1 of 3 files \(2 kinds: 9: 3 pixels in 1 files, first b.png; 255: 2 pixels in 1 files, first b.png\)"):
        opened(folder, tmp_path, classes=3)
    with pytest.raises(UserError, match=r"2 kinds: 9: 3 pixels"):
        opened(folder, tmp_path, classes=9)
    with pytest.raises(UserError, match=r"1 kinds: 255: 2 pixels"):
        opened(folder, tmp_path)  # nothing says that 9 is none
    skipped = opened(folder, tmp_path, classes=3, unknown="skip")
    assert skipped.files == ["a.png", "sub/c.png"] and skipped.classes == ("0", "1", "2") and np.array_equal(skipped.pixels[1, 0], written(folder, "sub/c.png"))
    assert [event["why"] for event in skipped.events if event.get("file") == "b.png"] == ["has pixels of no known class: 255 (2 pixels), 9 (3 pixels)"]
    kept = opened(folder, tmp_path, classes=3, unknown="class")
    numbers = written(folder, "b.png")
    assert kept.classes == ("0", "1", "2", "unknown") and np.array_equal(kept.pixels[1, 0], np.where(numbers > 2, 3, numbers)) and len(kept.colours) == 4
    assert {(event["class"], event["pixels"], event["files"]) for event in kept.events} == {("9", 3, 1), ("255", 2, 1)}
    assert len({skipped.fingerprint, kept.fingerprint, opened(folder, tmp_path, unknown="class").fingerprint}) == 3


def test_classes_are_counted_up_to_the_highest(folder, tmp_path) -> None:
    maps = opened(folder, tmp_path, unknown="class")
    assert maps.classes == (*map(str, range(10)), "unknown") and (maps.pixels[1, 0, 4, :2] == 10).all()


def test_the_second_opening_reads_the_cache_and_gives_the_same(folder, tmp_path, monkeypatch) -> None:
    first = opened(folder, tmp_path, unknown="class")
    monkeypatch.setattr("agon.data.maps.raw_values", lambda *_: 1 / 0)
    second = opened(folder, tmp_path, unknown="class")
    assert np.array_equal(first.pixels, second.pixels) and (first.fingerprint, first.events) == (second.fingerprint, second.events)
    with pytest.raises(ZeroDivisionError):
        opened(folder, tmp_path, unknown="class", palette={"a": 0})


def test_masks_of_black_and_white_are_two_classes(tmp_path) -> None:
    root = tmp_path / "masks"
    root.mkdir()
    for name in "ab":
        Image.fromarray((NUMBERS > 1).astype(np.uint8) * 255).save(root / f"{name}.png")
    maps = opened(root, tmp_path, size=(10, 14))
    assert maps.classes == ("0", "1") and np.array_equal(maps.pixels[0, 0], NUMBERS > 1)


def test_palettes_name_and_colour_the_classes(tmp_path) -> None:
    root = tmp_path / "maps"
    root.mkdir()
    Image.fromarray(COLOURS[NUMBERS]).save(root / "colour.png")
    indexed(NUMBERS).save(root / "indexed.png")
    (root / "bad.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(UserError, match="#4682b4"):
        opened(root, tmp_path, size=(10, 14))
    (root / "palette.json").write_text(json.dumps(PALETTE))
    maps = opened(root, tmp_path, size=(10, 14))
    assert maps.classes == tuple(PALETTE) and maps.colours == ("#4682b4", "#804080", "#000000", "#ffffff") and (maps.pixels == NUMBERS).all()
    assert [event["file"] for event in maps.events] == ["bad.png"]
    with pytest.raises(UserError, match=rf"2 of 2 files \(1 kinds: #ffffff: {2 * (NUMBERS == 3).sum()} pixels in 2 files"):
        opened(root, tmp_path, size=(10, 14), palette={key: value for key, value in PALETTE.items() if key != "wall"})
    with pytest.raises(UserError, match="names 4 classes, and classes is 5"):
        opened(root, tmp_path, classes=5)


def test_an_indexed_files_own_palette_colours_its_classes(tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "maps.zip", "w") as archive:
        archive.writestr("m.png", WRITTEN["indexed"])
    maps = opened(tmp_path / "maps.zip", tmp_path, size=None)
    assert maps.colours == ("#4682b4", "#804080", "#000000", "#ffffff") and maps.pixels.shape == (1, 1, 10, 14)


def test_instances_become_edges(folder, tmp_path) -> None:
    """Matched by name whatever the ending and order; an edge is a pixel whose cross of five holds two numbers."""
    root = tmp_path / "instances"
    (root / "sub").mkdir(parents=True)
    numbers = {name: RANDOM.integers(0, 3, (8, 8)).astype(np.uint16) * 300 for name in ("sub/c", "b", "a", "aa")}
    for name, array in numbers.items():
        Image.fromarray(array).save(root / f"{name}.tif")
    maps = opened(folder, tmp_path, unknown="class", instances=root)
    cross = ndimage.generate_binary_structure(2, 1)
    for row, name in enumerate(("a", "b", "sub/c")):
        wanted = ndimage.maximum_filter(numbers[name], footprint=cross) != ndimage.minimum_filter(numbers[name], footprint=cross)
        assert np.array_equal(maps.pixels[row, 1], wanted)
    assert not edges_between(np.full((2, 1, 4, 4), 7)).any()
    (root / "a.tif").unlink()
    with pytest.raises(UserError, match="1 of 3 label maps have no instance map in .*: a.png"):
        opened(folder, tmp_path, unknown="class", instances=root)


@pytest.mark.parametrize("how", [{"unknown": "ignore"}, {"classes": 300}, {"classes": -1}])
def test_wrong_wishes_are_explained(folder, tmp_path, how: dict) -> None:
    with pytest.raises(UserError, match="refuse, class or skip, and classes from 0"):
        opened(folder, tmp_path, **how)


def test_colours_of_unnamed_classes_differ() -> None:
    assert len(set(spread(40))) == 40 and spread(40)[:5] == spread(5) and palette_of({"a": 3, "b": 1}).colours() == spread(2)
