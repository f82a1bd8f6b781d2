"""``agon data check``: the report against a folder whose content is known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agon.cli import main as agon_command
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
    for words in ("13 pictures, 1 bad", "a (2), b (11)", "20x20 (12)", "b/cut.png is cut off", "--data.size 16x16 (height x width), 3 channels", "txt (1)"):
        assert words in text


def test_a_set_that_training_would_refuse_is_code_1(folder: Path, capsys: pytest.CaptureFixture) -> None:
    for number in range(5):
        (folder / f"a/bad{number}.png").write_bytes(b"x")
    assert main(["check", str(folder)]) == 1 and "training would stop: 6 bad files, 1 are put up with" in capsys.readouterr().out
    for path in folder.rglob("*.*"):
        path.write_bytes(b"x")
    assert main(["check", str(folder)]) == 1 and "training would stop: no picture can be read" in capsys.readouterr().out


def test_splits_would_stop_training_and_the_report_says_so(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (folder / "a").rename(folder / "train")
    (folder / "b").rename(folder / "test")
    assert main(["check", str(folder)]) == 1 and "look like splits" in capsys.readouterr().out
    with pytest.raises(UserError, match="look like splits"):
        open_dataset(folder, cache_dir=tmp_path / "c")


def nothing(root: Path) -> Path:
    root.mkdir()
    return root


def only_a_zip(root: Path) -> Path:
    with zipfile.ZipFile(nothing(root) / "inner.zip", "w") as archive:
        archive.writestr("1.png", b"x")
    return root


def an_empty_zip(root: Path) -> Path:
    zipfile.ZipFile(root.with_suffix(".zip"), "w").close()
    return root.with_suffix(".zip")


def no_zip(root: Path) -> Path:
    root.with_suffix(".zip").write_bytes(b"PK\3\4and no more")
    return root.with_suffix(".zip")


def a_file(root: Path) -> Path:
    Image.new("L", (4, 4)).save(root.with_suffix(".png"))
    return root.with_suffix(".png")


@pytest.mark.parametrize(("make", "words"), [
    (nothing, "(other files: 0)"), (only_a_zip, "(other files: 1 zip)"), (an_empty_zip, "No picture could be found"),
    (no_zip, "cannot be opened as a ZIP"), (a_file, "is a single file"), (lambda root: root, "There is no folder or .zip"),
    (lambda root: Path("~no-such-user-here"), "There is no folder or .zip"), (lambda root: root.parent / ("x" * 300), "cannot be looked at"),
])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_what_cannot_be_checked_is_one_line_and_code_2(tmp_path: Path, capsys: pytest.CaptureFixture, make: object, words: str, form: list[str]) -> None:
    """Through the whole command, whose last resort for any other exception is code 1."""
    assert agon_command(["data", "check", str(make(tmp_path / "f")), *form]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1 and words in shown.err, shown.err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="takes a child process that can give up its rights")
def test_locked_places_are_one_line(folder: Path) -> None:
    """As a user without rights: a locked folder, a locked parent, a locked ZIP; a locked file in a folder is a bad file."""
    folder.parent.chmod(0o755)
    (folder / "b" / "cut.png").unlink()  # so that one bad file remains, which is put up with
    (folder / "a" / "1.png").chmod(0)
    locked = folder.parent / "locked"
    (locked / "inner").mkdir(parents=True)
    (folder.parent / "p.zip").write_bytes(b"x")
    (folder.parent / "p.zip").chmod(0)
    locked.chmod(0)
    found = {}
    for name in ("pictures", "locked", "locked/inner", "p.zip"):
        found[name] = as_nobody(folder.parent, name)
    locked.chmod(0o755)
    assert found["pictures"][0] == 0 and "a/1.png cannot be read (Permission denied)" in found["pictures"][1]
    for name in ("locked", "locked/inner", "p.zip"):
        code, text = found[name]
        assert code == 2 and "Permission denied" in text and text.count("\n") == 1, (name, text)


def as_nobody(root: Path, name: str) -> tuple[int, str]:
    """(exit code, output) of `agon data check` in a child that has given up root; everything is imported before."""
    import agon.data.check  # noqa: F401

    Image.init()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.dup2(writing, 1)
            os.dup2(writing, 2)
            sys.stdout, sys.stderr = (os.fdopen(number, "w") for number in (1, 2))
            os.chdir(root)
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            code = agon_command(["data", "check", name])
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        finally:
            os._exit(99)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


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


def test_pairs_are_counted_and_those_without_a_partner_named(tmp_path, capsys):
    for folder, names in (("A", range(12)), ("B", range(11))):
        (tmp_path / folder).mkdir()
        for name in names:
            Image.new("RGB", (16, 16), (20 * name, 0, 0)).save(tmp_path / folder / f"{name}.png")
    assert agon_command(["data", "check", str(tmp_path / "B"), "--input", str(tmp_path / "A"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["pairs"] == 11 and [entry["file"] for entry in report["left_out"]] == ["11.png"] and report["usable"]
    for name in range(5):
        (tmp_path / "B" / f"{name}.png").unlink()
    assert agon_command(["data", "check", str(tmp_path / "B"), "--input", str(tmp_path / "A")]) == 1
    text = capsys.readouterr().out
    assert "6 pairs" in text and "6 files are left out" in text and "0.png has no partner" in text
