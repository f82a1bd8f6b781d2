"""agon.cli: the command line as a user meets it, mostly in processes of its own."""

import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import agon
from agon import catalog, cli
from agon.cli import doctor, show

ROOT = Path(agon.__file__).parents[1]
ENGLISH = {**os.environ, "AGON_LANG": "en", "PYTHONPATH": str(ROOT), "COLUMNS": "120", "AGON_DEBUG": ""}


def run(*argv, **more):
    return subprocess.run(
        [sys.executable, "-m", "agon", *argv], capture_output=True, text=True, env={**ENGLISH, **more}, timeout=120
    )


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("AGON_LANG", "en")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("AGON_DEBUG", raising=False)


def test_help_names_every_verb_with_the_head_of_its_file():
    done = run("--help")
    assert done.returncode == 0 and not done.stderr
    for path in sorted(cli.FOLDER.glob("*.py")):
        if not path.name.startswith("_"):
            first = path.read_text(encoding="utf-8").lstrip('"').split("\n")[0].rstrip('"')
            assert re.search(rf"^  {path.stem} +{re.escape(first)}$", done.stdout, re.M)
    order = re.findall(r"^  (\w+) ", done.stdout, re.M)
    assert [verb for verb in cli.ORDER if verb in order] == order[: len(cli.ORDER)]


@pytest.mark.parametrize(
    "argv",
    [["--help"], ["--version"], ["list", "games"], ["list", "datasets"], *([verb, "--help"] for verb in cli.ORDER)],
)
def test_help_and_listings_need_nothing_heavy(argv):
    code = (
        f"import sys; from agon.cli import main; code = main({argv!r}); print('HEAVY', code, "
        f"sorted({{'torch', 'pydantic', 'numpy', 'PIL'}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENGLISH, timeout=60)
    assert done.stdout.splitlines()[-1] == "HEAVY 0 []", done.stdout + done.stderr


def test_version_is_the_packages():
    assert run("--version").stdout == f"agon {agon.__version__}\n"


def test_list_as_json_is_the_catalog(capsys):
    from agon.data.names import DATASETS

    assert cli.main(["list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert sorted(found) == ["datasets", "extractors", "games", "inputs", "metrics"]
    assert [entry["name"] for entry in found["games"]] == list(catalog.games())
    assert {entry["name"]: entry["summary"] for entry in found["datasets"]} == {
        name: text for name, (_, text) in DATASETS.items()
    }
    assert {"fid", "kid", "precision"} <= {entry["name"] for entry in found["metrics"]} and {"inception", "digits"} <= {e["name"] for e in found["extractors"]}
    assert cli.main(["list", "games"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert all(entry.name in text and entry.paper in text for entry in catalog.games().values())


def test_show_has_every_field_with_its_default(capsys):
    assert cli.main(["show", "r3gan", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    game = catalog.load("r3gan")
    names = {field["name"].partition(".")[0] for field in found["fields"]}
    assert names == {field.name for field in fields(game.Config)} and set(found["presets"]) == set(game.presets)
    values = {field["name"]: field["default"] for field in found["fields"]}
    assert values["batch_size"] == game.Config().batch_size and values["optimizer.lr"] == game.Config().optimizer.lr
    assert {field["name"]: field for field in found["fields"]}["precision"]["type"] == "bf16 | fp16 | fp32"
    assert all(field["help"] for field in found["fields"] if field["name"] in ("batch_size", "seed", "optimizer.lr"))
    assert cli.main(["show", "r3gan"]) == 0
    text = capsys.readouterr().out
    assert (
        found["url"] in text
        and all(f"--{name} " in text for name in values)
        and all(f"  {name}  (" in text for name in game.presets)
    )


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (float, "number"),
        (int, "whole number"),
        (bool, "true/false"),
        (float | None, "number or none"),
        (tuple[int, ...], "list of whole number"),
        (dict, "dict"),
    ],
)
def test_types_are_said_in_words(kind, expected):
    assert show.type_name(kind) == expected


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["lst"], ["'lst'", "Perhaps you meant 'list'"]),
        (["frobnicate"], ["'frobnicate'", "Expected one of: train"]),
        (["list", "gamez"], ["gamez", "agon list --help"]),
        (["show"], ["game", "agon show --help"]),
        (["show", "r3gn"], ["Perhaps you meant 'r3gan'"]),
        (["doctor", "--jsn"], ["--jsn", "agon doctor --help"]),
    ],
)
def test_wrong_usage_is_one_line_and_2(capsys, argv, words):
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("agon: ") and err.count("\n") == 1
    assert all(word in err for word in words), err


def test_no_verb_at_all_shows_the_help(capsys):
    assert cli.main([]) == 2 and "agon VERB" in capsys.readouterr().out


@pytest.fixture
def verb(tmp_path, monkeypatch):
    """A verb file of our own making: returns a function that writes its body and runs it."""
    monkeypatch.setattr(cli, "FOLDER", tmp_path)
    monkeypatch.setattr(cli, "__path__", [str(tmp_path)])

    def go(body):
        name = f"probe{len(list(tmp_path.iterdir()))}_{os.getpid()}"
        (tmp_path / f"{name}.py").write_text(f'"""Probe."""\nimport sys\ndef main(argv):\n    {body}\n')
        sys.modules.pop(f"agon.cli.{name}", None)
        return cli.main([name])

    return go


def test_a_failure_is_one_line_with_the_place_of_its_traceback(capsys, verb):
    assert verb("raise RuntimeError('the disk\\nburns')") == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "RuntimeError: the disk" in err
    path = Path(re.search(r"traceback is in (\S+?)\.?\n", err)[1])
    assert "Traceback" in path.read_text() and "burns" in path.read_text()
    path.unlink()


def test_the_traceback_itself_where_asked(capsys, verb, monkeypatch):
    monkeypatch.setenv("AGON_DEBUG", "1")
    assert verb("raise RuntimeError('boom')") == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("return 0", 0),
        ("return None", 0),
        ("return 143", 143),
        ("raise KeyboardInterrupt", 130),
        ("sys.exit(3)", 3),
        ("sys.exit()", 0),
        ("sys.exit('no')", 1),
    ],
)
def test_exit_codes(verb, body, code):
    assert verb(body) == code


def test_a_closed_pipe_is_quiet():
    command = f"{sys.executable} -m agon list --json | true; exit ${{PIPESTATUS[0]}}"
    for _ in range(3):
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=ENGLISH, timeout=60)
        assert done.stderr == "" and done.returncode in (0, 141)  # 0: everything was written before the reader left


def test_doctor_knows_this_machine(capsys):
    import torch

    assert cli.main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (
        found["agon"] == agon.__version__
        and found["python"] == platform.python_version()
        and found["torch"]["version"] == torch.__version__
    )
    assert 0 < found["cores"] <= os.cpu_count() and found["disk_free_gb"] > 0 and found["ready"] is True
    assert found["torch"]["devices"][-1]["device"] == "cpu"
    if found["memory_gb"] is not None and Path("/proc/meminfo").exists():
        total = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) * 1024 / 1e9
        assert found["memory_gb"] <= total + 0.1
    assert cli.main(["doctor"]) == 0
    assert "Agon can train here." in capsys.readouterr().out


def test_doctor_names_what_is_missing_and_the_command(monkeypatch, capsys):
    monkeypatch.setitem(doctor.NEEDED, "not_a_module", ("not-a-package", "training"))
    monkeypatch.setitem(doctor.OPTIONAL, "nor_this_one", ("nor-this", "nothing"))
    assert cli.main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "not-a-package is not installed" in out and f"{sys.executable} -m pip install not-a-package" in out
    assert "pip install nor-this" in out and "cannot train here" in out
    stops = {problem["mend"].split()[-1]: problem["stops"] for problem in doctor.examine()["problems"]}
    assert stops["not-a-package"] is True and stops["nor-this"] is False


def test_the_command_line_speaks_chinese():
    assert re.search("[\u4e00-\u9fff]", run("--help", AGON_LANG="zh_CN").stdout)
    done = run("lst", AGON_LANG="zh_CN")
    assert done.returncode == 2 and re.search("[\u4e00-\u9fff]", done.stderr) and "'list'" in done.stderr
