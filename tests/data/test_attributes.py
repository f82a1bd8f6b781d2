"""Attribute tables. Oracles: the vectors that were written into the table, and counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agon.data.attributes import another, open_source
from agon.errors import UserError

FILES = [f"{i:02d}.png" for i in range(12)]
VECTORS = np.array([[i % 2, i // 6, i % 3 == 0] for i in range(12)], dtype=np.uint8)


def folder_of(path: Path, names: list[str] = FILES) -> Path:
    for i, name in enumerate(names):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 20 * i, np.uint8)).save(path / name)
    return path


def table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def csv_of(names: list[str] = FILES, mark: str = ",", words: tuple[str, str] = ("0", "1")) -> str:
    rows = [mark.join([name, *(words[v] for v in vector)]) for name, vector in zip(names, VECTORS, strict=True)]
    return "\n".join([mark.join(["file", "Hat", "Old", "Beard"]), *rows]) + "\n"


def celeba() -> str:
    rows = [f"{name} " + " ".join(f"{2 * int(v) - 1:2d}" for v in vector) for name, vector in zip(FILES, VECTORS, strict=True)]
    return "12\nHat Old Beard\n" + "\n".join(rows) + "\n"


@pytest.mark.parametrize("text", [csv_of(), csv_of(mark=";"), csv_of(mark="\t", words=("-1", "1")), csv_of(words=("False", "TRUE")), "\ufeff" + celeba()],
                         ids=["csv", "semicolons", "tabs", "words", "celeba"])
def test_every_form_of_table_gives_the_same_vectors(tmp_path: Path, text: str) -> None:
    folder, path = folder_of(tmp_path / "f"), table(tmp_path / "t", text)
    source = open_source(folder, attributes=path, cache_dir=tmp_path / "c")
    batch = source.read(np.arange(12)[::-1])
    assert np.array_equal(batch.condition.numpy(), VECTORS[::-1])
    assert source.spec.condition_names == ("Hat", "Old", "Beard") and source.spec.condition_dim == 3 and source.spec.num_classes == 0
    assert np.allclose(batch.real[:, 0, 0, 0], np.arange(12)[::-1] * 20 / 127.5 - 1)
    some = open_source(folder, attributes=str(path), use="Beard, Hat", cache_dir=tmp_path / "c")
    assert np.array_equal(some.read(np.arange(12)).condition.numpy(), VECTORS[:, [2, 0]]) and some.fingerprint != source.fingerprint


def test_wanted_is_that_of_another_picture_and_a_function_of_seed_epoch_and_index(tmp_path: Path) -> None:
    source = open_source(folder_of(tmp_path / "f"), attributes=table(tmp_path / "t.csv", csv_of()), cache_dir=tmp_path / "c")
    indices = np.arange(12)
    for epoch in range(3):
        others = another(indices, 12, 5, epoch)
        assert np.array_equal(source.read(indices, seed=5, epoch=epoch).wanted.numpy(), VECTORS[others]) and (others != indices).all()
        assert np.array_equal(source.read(indices[4:6], seed=5, epoch=epoch).wanted.numpy(), VECTORS[others[4:6]])
    draws = np.concatenate([another(np.array([3]), 12, 0, epoch) for epoch in range(2200)])
    counts = np.bincount(draws, minlength=12)
    assert counts[3] == 0 and (np.abs(np.delete(counts, 3) - 200) < 75).all()  # five standard deviations of a count of mean 200
    assert another(np.array([0, 0]), 1, 0, 0).tolist() == [0, 0]


def test_rows_find_their_pictures_by_path_else_by_name(tmp_path: Path) -> None:
    names = ["a/1.png", "b/1.png", "a/2.png", "b/3.png", "a/4.png", "b/4.png"]
    text = "file,x\nb/1.png,1\na/1.png,0\n2.png,1\nelsewhere/3.png,1\n4.png,1\n"
    source = open_source(folder_of(tmp_path / "f", names), attributes=table(tmp_path / "t.csv", text), max_bad=0.4, cache_dir=tmp_path / "c")
    read = source.read(np.arange(4)).condition[:, 0].tolist()
    assert dict(zip(source.files, read, strict=True)) == {"a/1.png": 0, "b/1.png": 1, "a/2.png": 1, "b/3.png": 1}
    assert [(event["rows"], event["file"]) for event in source.events if event["event"] == "rows"] == [(1, "4.png")]  # whose?


def test_pictures_without_a_row_are_left_out_and_counted_and_many_are_refused(tmp_path: Path) -> None:
    folder, lines = folder_of(tmp_path / "f"), csv_of().splitlines()
    source = open_source(folder, attributes=table(tmp_path / "t.csv", "\n".join(lines[:5] + lines[6:])), cache_dir=tmp_path / "c")
    assert len(source) == 11 and "04.png" not in source.files
    batch = source.read(np.arange(11))
    assert np.array_equal(batch.condition.numpy(), np.delete(VECTORS, 4, 0))
    assert np.allclose(batch.real[:, 0, 0, 0], np.delete(np.arange(12), 4) * 20 / 127.5 - 1)
    assert [(event["pictures"], event["file"]) for event in source.events if event["event"] == "skipped"] == [(1, "04.png")]
    few = table(tmp_path / "few.csv", "\n".join(lines[:9]))
    with pytest.raises(UserError, match="4 of 12 pictures.*08.png"):
        open_source(folder, attributes=few, cache_dir=tmp_path / "c")
    assert len(open_source(folder, attributes=few, max_bad=0.5, cache_dir=tmp_path / "c")) == 8


@pytest.mark.parametrize("text, use, message", [
    ("", None, "no usable header"),
    ("file,x,x\n", None, "no usable header"),
    ("file,x,y\n00.png,1\n", None, "Line 2 .* 2 columns. Expected 3"),
    ("file,x\n00.png,1\n00.png,0\n", None, "00.png twice, in lines 2 and 3"),
    (csv_of(words=("0", "maybe")), None, "says 'maybe' for"),
    (csv_of(), "Bear", "no column 'Bear'. Did you mean 'Beard'"),
    (csv_of(), ("Hat", "Hat"), "twice"),
])  # fmt: skip
def test_tables_that_cannot_be_used_say_why(tmp_path: Path, text: str, use: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_source(folder_of(tmp_path / "f"), attributes=table(tmp_path / "t.csv", text), use=use, cache_dir=tmp_path / "c")


def test_a_table_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "none", tmp_path / "b"):
        with pytest.raises(UserError, match="cannot be read"):
            open_source(folder_of(tmp_path / "f"), attributes=path, cache_dir=tmp_path / "c")
