"""``agon data check``: the report against a folder whose content is known."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agon.cli.data import main
from agon.data import open_dataset
from agon.errors import UserError

state = np.random.RandomState(2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    for name, size in (("a/1.png", (20, 20)), ("a/2.jpg", (40, 30)), ("b/3.png", (20, 20)), *((f"b/{n}.png", (20, 20)) for n in range(10, 20))):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(state.randint(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(root / name)
    data = (root / "b" / "3.png").read_bytes()
    (root / "b" / "cut.png").write_bytes(data[:len(data) // 2])
    (root / "notes.txt").write_text("x")
    return root


def test_the_report_says_what_is_there(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["check", str(folder), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["pictures"] == 13 and report["classes"] == {"a": 2, "b": 11} and report["usable"]
    assert report["sizes"] == {"20x20": 12, "40x30": 1} and report["formats"] == {"PNG": 12, "JPEG": 1} and report["modes"] == {"RGB": 13}
    assert [(entry["file"], "cut off" in entry["why"]) for entry in report["bad"]] == [("b/cut.png", True)]
    assert report["other_files"] == {"txt": 1}
    assert report["will"] == {"height": 16, "width": 16, "channels": 3, "resized": 13, "enlarged": 0,
                              "how": "scaled to cover, aspect kept, middle cut out (Lanczos)"}


def test_the_report_agrees_with_what_opening_does(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    main(["check", str(folder), "--json", "--size", "24x32", "--channels", "1"])
    report, source = json.loads(capsys.readouterr().out), open_dataset(folder, size=(24, 32), channels=1, cache_dir=tmp_path / "c")
    will = report["will"]
    assert source.spec.shape == (will["channels"], will["height"], will["width"]) == (1, 24, 32)
    assert len(source) == report["pictures"]
    assert np.bincount(source.labels).tolist() == list(report["classes"].values())
    skipped = [{"file": event["file"], "why": event["why"]} for event in source.events if event["event"] == "skipped"]
    assert skipped == report["bad"]
    resized = next(event for event in source.events if event["event"] == "resized")
    assert (resized["pictures"], resized["enlarged"]) == (will["resized"], will["enlarged"]) == (13, 12)


def test_people_read_the_same(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["check", str(folder)]) == 0
    text = capsys.readouterr().out
    for words in ("13 pictures, 1 bad", "a (2), b (11)", "20x20 (12)", "b/cut.png is cut off", "16x16 pixels, 3 channels", "txt (1)"):
        assert words in text


def test_a_set_that_training_would_refuse_is_code_1(folder: Path, capsys: pytest.CaptureFixture) -> None:
    for number in range(5):
        (folder / f"a/bad{number}.png").write_bytes(b"x")
    assert main(["check", str(folder)]) == 1 and "training would stop: 6 bad files, 1 are put up with" in capsys.readouterr().out
    empty = folder.parent / "empty"
    empty.mkdir()
    assert main(["check", str(empty)]) == 1 and "no picture" in capsys.readouterr().out


def test_zips_too(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for path in folder.rglob("*.*"):
            archive.write(path, path.relative_to(folder))
    main(["check", str(tmp_path / "p.zip"), "--json"])
    zipped = json.loads(capsys.readouterr().out)
    main(["check", str(folder), "--json"])
    plain = json.loads(capsys.readouterr().out)
    assert {**zipped, "path": ""} == {**plain, "path": ""}


@pytest.mark.parametrize("arguments", [["check"], ["chek", "x"], ["check", "no/such/folder"], ["check", ".", "--size", "big"], ["check", ".", "--size", "0"]])
def test_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(UserError):
        main(arguments)


def test_torch_is_not_imported(folder: Path) -> None:
    code = (f"import sys; from agon.cli.data import main; main(['check', {str(folder)!r}]); import agon.data.names; "
            "sys.exit('torch' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
