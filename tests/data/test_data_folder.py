"""Folders, ZIPs and the cache. Oracles: the arrays that were written (lossless files), counts of decodes, and damage done on purpose."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import agon.data.folder
from agon.data import open_dataset
from agon.data.cache import PixelWriter, load_pixels, read_record, write_record
from agon.data.files import classes_of
from agon.errors import UserError

random = np.random.RandomState(3)


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def picture(height: int = 8, width: int = 8) -> np.ndarray:
    return random.randint(0, 256, (height, width, 3), dtype=np.uint8)


def fill(folder: Path, names: list[str], height: int = 8, width: int = 8) -> dict[str, np.ndarray]:
    arrays = {name: picture(height, width) for name in names}
    for name, array in arrays.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(array))
    return arrays


def pack(path: Path, members: dict[str, bytes], **options: object) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def pixels_of(source: object) -> np.ndarray:
    return np.rint((source.read(np.arange(len(source))).real.numpy() + 1) * 127.5).transpose(0, 2, 3, 1)


CLASSES = ["cats/1.png", "cats/deep/2.png", "dogs/1.png", "dogs/x y.png"]


def test_sub_folders_are_classes_and_pixels_are_kept(tmp_path: Path) -> None:
    arrays = fill(tmp_path / "f", CLASSES)
    source = open_dataset(str(tmp_path / "f"), cache_dir=tmp_path / "c")
    assert source.spec.class_names == ("cats", "dogs") and source.files == CLASSES
    assert source.read(np.arange(4)).label.tolist() == [0, 0, 1, 1]
    assert np.array_equal(pixels_of(source), np.stack([arrays[name] for name in CLASSES]))
    assert open_dataset(tmp_path / "f", cache_dir=tmp_path / "c", labelled=False).spec.num_classes == 0


def test_a_zip_is_the_same_set_as_the_folder(tmp_path: Path) -> None:
    fill(tmp_path / "f", CLASSES)
    members = {f"wrapped/{name}": (tmp_path / "f" / name).read_bytes() for name in CLASSES}
    archive = pack(tmp_path / "f.zip", {**members, "__MACOSX/._1.png": b"x", "wrapped/inner.zip": b"PK", "wrapped/notes.txt": b"n"})
    folder, zipped = open_dataset(tmp_path / "f", cache_dir=tmp_path / "c"), open_dataset(archive, cache_dir=tmp_path / "c")
    assert np.array_equal(pixels_of(folder), pixels_of(zipped)) and zipped.spec == folder.spec
    assert zipped.fingerprint == folder.fingerprint
    assert [event["other_files"] for event in zipped.events if event["event"] == "opened"] == [2]


def test_hostile_zips(tmp_path: Path) -> None:
    good = {f"{n}.png": png(picture()) for n in range(12)}
    hostile = {"../out.png": png(picture()), "/abs.png": png(picture()), "a/../../b.png": png(picture()), "C:\\x.png": png(picture())}
    source = open_dataset(pack(tmp_path / "a.zip", {**good, **hostile}), cache_dir=tmp_path / "c", max_bad=0.5)
    skipped = {event["file"]: event["why"] for event in source.events if event["event"] == "skipped"}
    assert set(skipped) == {"../out.png", "/abs.png", "a/../../b.png", "C:/x.png"} and all("leads out" in why for why in skipped.values())
    assert len(source) == 12 and sorted(os.listdir(tmp_path)) == ["a.zip", "c"]

    zeros = bytes(40 << 20)
    bomb = pack(tmp_path / "b.zip", {**good, "bomb.bmp": zeros}, compression=zipfile.ZIP_DEFLATED)
    source = open_dataset(bomb, cache_dir=tmp_path / "c")
    assert ["decompression bomb" in event["why"] for event in source.events if event["event"] == "skipped"] == [True]

    with pytest.raises(UserError, match="cannot be opened as a ZIP"):
        (tmp_path / "d.zip").write_bytes(bomb.read_bytes()[:100])
        open_dataset(tmp_path / "d.zip", cache_dir=tmp_path / "c")


def test_a_zip_that_unpacks_to_gigabytes_is_refused_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agon.data.files.TOTAL_BYTES", 1 << 20)  # the rule at a size that a test can write
    archive = pack(tmp_path / "a.zip", {f"{n}.bmp": bytes(1 << 20) for n in range(4)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match="times as much"):
        open_dataset(archive, cache_dir=tmp_path / "c")


def test_encrypted_members_are_refused_by_name(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", {f"{n}.png": png(picture()) for n in range(12)})
    data = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + offset] |= 1  # the flag that says "encrypted", in the local header and in the directory
    archive.write_bytes(data)
    source = open_dataset(archive, cache_dir=tmp_path / "c")
    assert [(event["file"], "encrypted" in event["why"]) for event in source.events if event["event"] == "skipped"] == [("0.png", True)]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_comes_twice_means_the_last(tmp_path: Path) -> None:
    old, new = picture(), picture()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, array in (("1.png", old), ("2.png", old), ("1.png", new)):
            archive.writestr(name, png(array))
    source = open_dataset(tmp_path / "a.zip", cache_dir=tmp_path / "c")
    assert source.files == ["1.png", "2.png"] and np.array_equal(pixels_of(source), np.stack([new, old]))


def test_names_that_are_no_text_stay_apart(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    arrays = {name: picture() for name in (b"caf\xe8.png", b"caf\xe9.png")}
    for name, array in arrays.items():
        Path(os.fsdecode(os.fsencode(tmp_path / "f") + b"/" + name)).write_bytes(png(array))
    source = open_dataset(tmp_path / "f", cache_dir=tmp_path / "c")
    assert source.files == ["caf\\xe8.png", "caf\\xe9.png"] and np.array_equal(pixels_of(source), np.stack(list(arrays.values())))


def test_a_damaged_member_is_named(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", {f"{n}.png": png(picture()) for n in range(12)})
    data = bytearray(archive.read_bytes())
    data[data.index(b"IDAT") + 10] ^= 1
    archive.write_bytes(data)
    skipped = [event for event in open_dataset(archive, cache_dir=tmp_path / "c").events if event["event"] == "skipped"]
    assert len(skipped) == 1 and "CRC" in skipped[0]["why"]


@pytest.mark.parametrize(("names", "classes", "labels"), [
    (["a.png", "b.png"], (), None),
    (["x/a.png", "x/b.png"], (), None),
    (["x/y/a.png", "x/z/b.png"], ("y", "z"), [0, 1]),
    (["b/1.png", "a/1.png", "b/c/2.png"], ("a", "b"), [1, 0, 1]),
    (["a/1.png", "2.png"], (), None),
])
def test_classes_from_names(names: list[str], classes: tuple[str, ...], labels: list[int] | None) -> None:
    found = classes_of(names)
    assert found[:2] == (classes, labels) and bool(found[2]) == (names == ["a/1.png", "2.png"])


def test_splits_are_no_classes(tmp_path: Path) -> None:
    fill(tmp_path / "f", ["train/1.png", "test/1.png"])
    with pytest.raises(UserError, match="look like splits"):
        open_dataset(tmp_path / "f", cache_dir=tmp_path / "c")


@pytest.mark.parametrize(("sizes", "expected"), [
    ([(20, 30)] * 3, (20, 30)), ([(20, 30), (25, 90)], (16, 16)), ([(500, 400)] * 2, (64, 64)), ([(65, 64)], (64, 64)),
    ([(5, 9), (9, 5)], (8, 8)), ([(130, 40), (33, 90), (70, 70)], (32, 32)),
])
def test_the_default_size(tmp_path: Path, sizes: list[tuple[int, int]], expected: tuple[int, int]) -> None:
    for number, (height, width) in enumerate(sizes):
        fill(tmp_path / "f", [f"{number}.png"], height, width)
    source = open_dataset(tmp_path / "f", cache_dir=tmp_path / "c")
    assert source.spec.shape[1:] == expected
    changed = [event["pictures"] for event in source.events if event["event"] == "resized"]
    assert changed == ([len(sizes)] if set(sizes) != {expected} else [])


def test_grey_folders_have_one_channel(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    grey_palette = Image.fromarray(picture()[..., 0])
    grey_palette.putpalette(np.repeat(np.arange(255, -1, -1, dtype=np.uint8), 3).tobytes())
    grey_palette.save(tmp_path / "f" / "p.png")
    (tmp_path / "f" / "g.png").write_bytes(png(picture()[..., 0]))
    assert open_dataset(tmp_path / "f", cache_dir=tmp_path / "c").spec.shape == (1, 8, 8)
    assert open_dataset(tmp_path / "f", channels=3, cache_dir=tmp_path / "c").spec.shape == (3, 8, 8)
    (tmp_path / "f" / "c.png").write_bytes(png(picture()))
    assert open_dataset(tmp_path / "f", cache_dir=tmp_path / "c").spec.shape == (3, 8, 8)


class Counter:
    """Counts real calls and passes them on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: object, name: str):
        self.calls, self.original = 0, getattr(module, name)
        monkeypatch.setattr(module, name, self)

    def __call__(self, *args: object, **options: object) -> object:
        self.calls += 1
        return self.original(*args, **options)


def settle(folder: Path, seconds: float = 5) -> None:
    """Make the files look as if written some time ago: waiting would be slow, and ctime cannot be set."""
    for path in folder.rglob("*"):
        os.utime(path, (time.time() - seconds, time.time() - seconds))


def test_a_second_opening_decodes_nothing_and_a_settled_one_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "f", CLASSES)
    decodes = Counter(monkeypatch, agon.data.folder, "decode")
    scans = Counter(monkeypatch, agon.data.folder, "scan")
    monkeypatch.setattr("agon.data.files.time.time_ns", lambda: int((time.time() + 10) * 1e9))  # ten seconds later: the stamps are settled
    first = open_dataset(tmp_path / "f", cache_dir=tmp_path / "c")
    assert (decodes.calls, scans.calls) == (4, 1)
    second = open_dataset(tmp_path / "f", cache_dir=tmp_path / "c")
    assert (decodes.calls, scans.calls) == (4, 1)
    assert np.array_equal(pixels_of(first), pixels_of(second))
    assert first.fingerprint == second.fingerprint and first.events == second.events and first.spec == second.spec
    open_dataset(tmp_path / "f", size=16, cache_dir=tmp_path / "c")
    assert decodes.calls == 8


@pytest.mark.parametrize("change", ["content", "same size and time", "name", "added", "removed"])
def test_every_change_of_the_folder_is_noticed(tmp_path: Path, change: str) -> None:
    folder = tmp_path / "f"
    (folder).mkdir()
    for name in ("a.bmp", "b.bmp", "c.bmp"):
        Image.fromarray(picture()).save(folder / name)
    before = open_dataset(folder, cache_dir=tmp_path / "c")
    path, stat = folder / "a.bmp", (folder / "a.bmp").stat()
    if change == "name":
        path.rename(folder / "z.bmp")
    elif change == "added":
        Image.fromarray(picture()).save(folder / "d.bmp")
    elif change == "removed":
        path.unlink()
    else:
        Image.fromarray(picture()).save(path)
        if change == "same size and time":
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
            assert path.stat().st_size == stat.st_size
    after = open_dataset(folder, cache_dir=tmp_path / "c")
    assert not np.array_equal(pixels_of(before), pixels_of(after))
    expected = np.stack([np.asarray(Image.open(folder / name)) for name in sorted(os.listdir(folder))])
    assert np.array_equal(pixels_of(after), expected)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "record", "gone", "shape"])
def test_a_damaged_cache_is_found_and_made_again(tmp_path: Path, damage: str) -> None:
    fill(tmp_path / "f", CLASSES)
    good = pixels_of(open_dataset(tmp_path / "f", cache_dir=tmp_path / "c"))
    (entry,), (record,) = (tmp_path / "c" / "pixels").glob("*.npy"), (tmp_path / "c" / "pixels").glob("*.json")
    data = bytearray(entry.read_bytes())
    if damage == "flip":
        data[-3] ^= 4
    elif damage == "cut":
        data = data[:-10]
    elif damage == "empty":
        data = b""
    elif damage == "shape":
        data = data.replace(b"(4, 3, 8, 8)", b"(4, 3, 4,16)")
    if damage == "record":
        record.write_bytes(record.read_bytes().replace(b'"files"', b'"filez"'))
    elif damage == "gone":
        entry.unlink()
    else:
        entry.write_bytes(data)
    again = open_dataset(tmp_path / "f", cache_dir=tmp_path / "c")
    assert np.array_equal(pixels_of(again), good)
    assert any(event["event"] == "cache" and "damaged" in event["why"] for event in again.events)
    healed = open_dataset(tmp_path / "f", cache_dir=tmp_path / "c")
    assert np.array_equal(pixels_of(healed), good) and not any(event["event"] == "cache" for event in healed.events)


def test_a_cache_that_cannot_be_written_costs_a_warning(tmp_path: Path) -> None:
    fill(tmp_path / "f", CLASSES)
    good = open_dataset(tmp_path / "f", cache_dir=tmp_path / "c")
    (tmp_path / "file").write_bytes(b"")  # a file where the folder should be: fails for root too, unlike a permission
    with pytest.warns(UserWarning, match="AGON_CACHE"):
        source = open_dataset(tmp_path / "f", cache_dir=tmp_path / "file")
    assert np.array_equal(pixels_of(source), pixels_of(good)) and source.fingerprint == good.fingerprint
    assert any(event["event"] == "cache" and "memory" in event["why"] for event in source.events)


def test_a_disk_that_fills_up_midway_loses_nothing(tmp_path: Path) -> None:
    """A real limit: RLIMIT_FSIZE makes the write fail part-way, as a full disk does."""
    import resource
    import signal

    blocks = [random.randint(0, 256, (50, 3, 8, 8), dtype=np.uint8) for _ in range(6)]
    old, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, old[1]))
        with PixelWriter(tmp_path, "key", (3, 8, 8)) as writer:
            for block in blocks:
                writer.append(block)
            pixels = writer.finish({})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert np.array_equal(pixels, np.concatenate(blocks)) and "cannot be written" in writer.why
    assert list((tmp_path / "pixels").iterdir()) == []


def test_a_disk_that_fills_up_at_the_very_end_leaves_no_half_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pixels are in place and their record cannot be written; a record of older pixels must not vouch for them."""
    old, new = (random.randint(0, 256, (4, 3, 8, 8), dtype=np.uint8) for _ in range(2))
    for pixels in (old, new):
        with PixelWriter(tmp_path, "key", (3, 8, 8)) as writer:
            writer.append(pixels)
            assert np.array_equal(writer.finish({}), pixels)
        monkeypatch.setattr("agon.data.cache.write_record", no_space)
    assert "No space left" in writer.why
    assert list((tmp_path / "pixels").iterdir()) == [] and load_pixels(tmp_path, "key") == (None, {}, "")


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_killed_process_leaves_nothing_for_good(tmp_path: Path) -> None:
    """Its temporary file is removed a day later; that of a process that lives is not touched."""
    (tmp_path / "pixels").mkdir()
    old, young = tmp_path / "pixels" / ".writing-old", tmp_path / "pixels" / ".writing-young"
    for path, age in ((old, 2 * 86_400), (young, 600)):
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age, time.time() - age))
    with PixelWriter(tmp_path, "key", (1, 2, 2)) as writer:
        writer.append(np.zeros((3, 1, 2, 2), np.uint8))
        writer.finish({})
    assert not old.exists() and young.exists()


def test_two_processes_that_build_one_entry_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Every order of their steps: both hold the right pixels, and what lies on the disk afterwards is verified and theirs."""
    pixels = random.randint(0, 256, (40, 3, 8, 8), dtype=np.uint8)
    with PixelWriter(tmp_path, "key", (3, 8, 8)) as one, PixelWriter(tmp_path, "key", (3, 8, 8)) as two:
        for start in (0, 20):
            one.append(pixels[start:start + 20])
            two.append(pixels[start:start + 20])
        first = one.finish({"who": 1})
        assert load_pixels(tmp_path, "key")[1] == {"who": 1}
        second = two.finish({"who": 2})
    loaded, meta, why = load_pixels(tmp_path, "key")
    assert all(np.array_equal(found, pixels) for found in (first, second, loaded)) and (meta, why, one.why, two.why) == ({"who": 2}, "", "", "")
    assert sorted(path.name for path in (tmp_path / "pixels").iterdir()) == ["key.json", "key.npy"]


def test_four_processes_write_and_read_one_entry(tmp_path: Path) -> None:
    """Real processes, each writing the entry 20 times and reading it in between: whatever is read is right, and no writing fails."""
    code = ("import sys, pathlib, numpy as np\nfrom agon.data.cache import PixelWriter, load_pixels\n"
            "folder, pixels = pathlib.Path(sys.argv[1]), np.random.RandomState(5).randint(0, 256, (200, 3, 16, 16), dtype=np.uint8)\n"
            "for _ in range(20):\n"
            "    with PixelWriter(folder, 'key', (3, 16, 16)) as writer:\n"
            "        writer.append(pixels)\n"
            "        assert np.array_equal(writer.finish({}), pixels) and not writer.why, writer.why\n"
            "    found = load_pixels(folder, 'key')[0]\n"
            "    assert found is None or np.array_equal(found, pixels)\n")
    running = [subprocess.Popen([sys.executable, "-c", code, tmp_path], stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate()[1] for process in running] == [""] * 4
    assert load_pixels(tmp_path, "key")[0] is not None and sorted(path.name for path in (tmp_path / "pixels").iterdir()) == ["key.json", "key.npy"]


def test_a_file_that_changes_between_the_two_readings_is_not_cached_as_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "f", CLASSES)
    original = agon.data.folder.plan_size

    def meanwhile(*arguments: object) -> tuple[int, int]:
        fill(tmp_path / "f", CLASSES[:1])
        return original(*arguments)

    monkeypatch.setattr(agon.data.folder, "plan_size", meanwhile)
    with pytest.raises(UserError, match=r"cats/1\.png in .* changed or vanished"):
        open_dataset(tmp_path / "f", cache_dir=tmp_path / "c")
    assert list((tmp_path / "c" / "pixels").iterdir()) == []


def test_a_file_that_once_could_not_be_read_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk or network that fails for a moment must not brand a good file as bad for good."""
    fill(tmp_path / "f", [f"{number}.png" for number in range(12)])
    monkeypatch.setattr("agon.data.files.time.time_ns", lambda: int((time.time() + 10) * 1e9))
    path, away = tmp_path / "f" / "3.png", tmp_path / "away.png"
    original = agon.data.folder.scan

    def meanwhile(listing: object) -> object:
        path.rename(away)  # listed already, and gone when it is to be read
        try:
            return original(listing)
        finally:
            away.rename(path)

    monkeypatch.setattr(agon.data.folder, "scan", meanwhile)
    assert len(open_dataset(tmp_path / "f", cache_dir=tmp_path / "c")) == 11
    monkeypatch.setattr(agon.data.folder, "scan", original)
    assert not list((tmp_path / "c").glob("stamps/*"))
    assert len(open_dataset(tmp_path / "f", cache_dir=tmp_path / "c")) == 12


@pytest.mark.parametrize("change", ["RULES", "readable_formats"])
def test_new_rules_look_at_old_files_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """A newer Pillow may read what was a bad file: a stamp must not hide it."""
    fill(tmp_path / "f", CLASSES)
    monkeypatch.setattr("agon.data.files.time.time_ns", lambda: int((time.time() + 10) * 1e9))
    scans = Counter(monkeypatch, agon.data.folder, "scan")
    open_dataset(tmp_path / "f", cache_dir=tmp_path / "c")
    open_dataset(tmp_path / "f", cache_dir=tmp_path / "c")
    assert scans.calls == 1
    monkeypatch.setattr(agon.data.folder, change, {"RULES": 10_000, "readable_formats": lambda: ("PNG",)}[change])
    open_dataset(tmp_path / "f", cache_dir=tmp_path / "c")
    assert scans.calls == 2


def test_a_writer_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), PixelWriter(tmp_path, "key", (1, 2, 2)) as writer:
        writer.append(np.zeros((3, 1, 2, 2), np.uint8))
        raise KeyboardInterrupt
    assert list((tmp_path / "pixels").iterdir()) == [] and load_pixels(tmp_path, "key") == (None, {}, "")


def test_large_caches_are_mapped_and_spot_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agon.data.cache.BLOCK", 1000)
    monkeypatch.setattr("agon.data.cache.WHOLE_BYTES", 10_000)
    monkeypatch.setattr("agon.data.cache.SPOT_BLOCKS", 5)
    pixels = random.randint(0, 256, (100, 3, 8, 8), dtype=np.uint8)
    with PixelWriter(tmp_path, "key", (3, 8, 8)) as writer:
        for start in range(0, 100, 7):
            writer.append(pixels[start:start + 7])
        assert isinstance(writer.finish({"a": 1}), np.memmap)
    loaded, meta, why = load_pixels(tmp_path, "key")
    assert isinstance(loaded, np.memmap) and np.array_equal(loaded, pixels) and (meta, why) == ({"a": 1}, "")
    assert torch.from_numpy(loaded)[3].numpy().tobytes() == pixels[3].tobytes()
    path = tmp_path / "pixels" / "key.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # the last block is always among those looked at
    path.write_bytes(data)
    assert load_pixels(tmp_path, "key")[0] is None


def test_records_survive_only_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "r.json"
    write_record(path, {"a": [1, "é"]})
    assert read_record(path) == {"a": [1, "é"]} and read_record(tmp_path / "none.json") is None
    text = path.read_bytes()
    for position in range(0, len(text), 3):
        path.write_bytes(text[:position])
        assert read_record(path) is None
    path.write_text(json.dumps({"sha256": "0", "value": {}}))
    assert read_record(path) is None


def test_the_cache_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "f", CLASSES)
    monkeypatch.setenv("AGON_CACHE", str(tmp_path / "there"))
    open_dataset(tmp_path / "f")
    assert list((tmp_path / "there" / "pixels").glob("*.npy"))


def test_mirroring_a_folder(tmp_path: Path) -> None:
    fill(tmp_path / "f", CLASSES)
    plain, mirrored = (open_dataset(tmp_path / "f", cache_dir=tmp_path / "c", mirror=mirror) for mirror in (False, True))
    many = np.zeros(400, np.int64)
    turned = [torch.equal(mirrored.read(many[:1], epoch=epoch).real, plain.read(many[:1]).real.flip(-1)) for epoch in range(200)]
    assert 60 < sum(turned) < 140


@pytest.mark.parametrize(("make", "words"), [
    (lambda root: (root / "f").mkdir(), "No picture could be found"),
    (lambda root: (root / "f").write_bytes(b"x"), "single file"),
    (lambda root: None, "There is no folder"),
])
def test_nothing_to_open(tmp_path: Path, make: object, words: str) -> None:
    make(tmp_path)
    with pytest.raises(UserError, match=words):
        open_dataset(tmp_path / "f", cache_dir=tmp_path / "c")
