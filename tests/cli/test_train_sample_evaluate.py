"""train, sample and evaluate as a user meets them: what they print, write, refuse, and leave alone."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import agon
from agon import cli

ROOT = Path(agon.__file__).parents[1]
DATA = ["--data", "shapes", "--data.size", "16", "--data.length", "200", "--preset", "tiny"]
CLASSES = ["circle", "square", "triangle", "star", "cross", "ring"]


@pytest.fixture(autouse=True)
def plain(monkeypatch, tmp_path):
    """English, no tracebacks, and a folder of one's own to stand in."""
    monkeypatch.setenv("AGON_LANG", "en")
    monkeypatch.delenv("AGON_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of the conditional game on 200 shapes."""
    folder = tmp_path_factory.mktemp("runs") / "cgan"
    assert cli.main(["train", "cgan", *DATA, "--steps", "4", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    """A finished run of an unconditional game on points."""
    folder = tmp_path_factory.mktemp("runs") / "gan"
    assert cli.main(["train", "gan", "--data", "toy:ring8", "--data.length", "500", "--preset", "tiny", "--steps", "4", "--out", str(folder)]) == 0
    return folder


def contents(folder):
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(Path(folder).rglob("*")) if path.is_file()}


def refused(capsys, *argv, code=2):
    """The one line on stderr of a command that is refused."""
    capsys.readouterr()
    assert cli.main(list(argv)) == code
    out, err = capsys.readouterr()
    assert not out and err.startswith("agon: ") and err.count("\n") == 1 and err.endswith("\n"), (out, err)
    return err


def fields_of(folder):
    return json.loads((folder / "config.json").read_text())["fields"]


# --- train ----------------------------------------------------------------------------------------------------------------------------


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT), "AGON_LANG": "en", "AGON_DEBUG": "", "OMP_NUM_THREADS": "1"}


def test_a_signal_saves_and_leaves_and_the_same_command_goes_on(tmp_path):
    words = ["train", "cgan", *DATA, "--images", "400M", "--log_every", "5", "--out", "run", "--checkpoint_every_images", "1M", "--sample_every_images", "1M"]
    process = subprocess.Popen([sys.executable, "-m", "agon", *words], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, cwd=tmp_path)
    deadline = time.monotonic() + 60
    log = tmp_path / "run" / "log.jsonl"
    while not (log.exists() and log.stat().st_size) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert dict(line.split(maxsplit=1) for line in out.splitlines()).keys() == {"run", "samples", "report"}
    assert "The same command goes on from here." in err and "Traceback" not in err
    (saved,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert int(saved.name) > 0

    words[words.index("400M")] = str(int(saved.name) + 40)
    assert cli.main(words) == 0
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    order = [(e["event"], e["num_images"]) for e in events if e["event"] in ("started", "stopped", "resumed", "finished")]
    assert order == [("started", 0), ("stopped", int(saved.name)), ("resumed", int(saved.name)), ("finished", int(saved.name) + 40)]
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps == sorted(set(steps)) and steps[-1] == int(saved.name) // 8 + 5 - (int(saved.name) // 8) % 5


def test_what_a_finished_run_prints_and_leaves(capsys, tmp_path):
    argv = ["train", "gan", *DATA, "--steps", "3", "--log_every", "1"]
    assert cli.main(argv) == 0
    out, err = capsys.readouterr()
    printed = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert printed["run"] == "runs/gan-shapes" and Path(printed["samples"]).name == "000000000024.png" and "Traceback" not in err
    folder = tmp_path / "runs" / "gan-shapes"
    assert Image.open(printed["samples"]).size[0] > 16 and "<html" in Path(printed["report"]).read_text()
    config = json.loads((folder / "config.json").read_text())
    assert config["game"] == "gan" and config["preset"] == "tiny" and config["data"]["options"] == {"size": 16, "length": 200}
    assert config["command"].split() == ["agon", *argv] and config["fields"]["images"] == 24
    assert [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()] == [1, 2, 3]
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["000000000024"]


def test_only_the_first_of_several_processes_prints(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert cli.main(["train", "gan", *DATA, "--steps", "2", "--out", "run"]) == 0
    assert not capsys.readouterr().out


def test_fields_from_the_command_line_reach_the_game():
    words = ["--discriminator_hidden", "12,10", "--generator-hidden=[9]", "--optimizer.lr", "3e-3", "--optimizer.beta2_final", "none",
        "--label_smoothing=0.1", "--images", "0.016k"]
    assert cli.main(["train", "gan", *DATA, *words, "--ema_half_life_images", "2k", "--channels_last", "false", "--out", "run"]) == 0
    found = fields_of(Path("run"))
    assert found["images"] == 16
    assert found["discriminator_hidden"] == [12, 10] and found["generator_hidden"] == [9] and found["label_smoothing"] == 0.1
    assert found["optimizer"]["lr"] == 3e-3 and found["optimizer"]["beta2_final"] is None and found["ema_half_life_images"] == 2000
    assert found["channels_last"] is False and found["batch_size"] == 8  # the preset's
    tensors = agon.load("run").game.state_dict()
    assert tensors["discriminator.backbone.layers.0.weight"].shape[0] == 12


def test_a_yaml_file_of_fields_stands_between_preset_and_command_line():
    Path("fields.yaml").write_text("batch_size: 4\nimages: 1k\noptimizer:\n  lr: 1e-3\n  beta1: 0.3\ngenerator_hidden: [6, 5]\n")
    assert cli.main(["train", "gan", *DATA, "--config", "fields.yaml", "--optimizer.beta1", "0.2", "--steps", "2", "--out", "run"]) == 0
    found = fields_of(Path("run"))
    assert (found["batch_size"], found["optimizer"]["lr"], found["optimizer"]["beta1"], found["generator_hidden"], found["width"]) == (4, 1e-3, 0.2, [6, 5], 8)
    assert found["images"] == 8  # --steps on the command line goes before images in the file


def test_steps_and_images_together_are_refused(capsys):
    assert cli.main(["train", "gan", *DATA, "--steps", "2", "--images", "16", "--out", "run"]) == 2
    assert "not both" in capsys.readouterr().err and not Path("run").exists()


def test_minutes_end_a_run_early_and_it_goes_on_later(tmp_path):
    argv = ["train", "gan", *DATA, "--steps", "6", "--out", "run"]
    assert cli.main([*argv, "--minutes", "1e-9"]) == 0
    assert [path.name for path in Path("run/checkpoints").iterdir()] == ["000000000008"]
    assert '"stopped"' in Path("run/events.jsonl").read_text()
    assert cli.main(argv) == 0
    assert '"finished"' in Path("run/events.jsonl").read_text().splitlines()[-1]


@pytest.mark.parametrize(
    "argv, words",
    [
        (["dcgn"], "'dcgn'.*'dcgan'"),
        (["gan", "--batchsize", "3"], "no field 'batchsize'.*'--batch_size'"),
        (["gan", "--optimizer.lrate", "3"], "'optimizer.lrate'.*'--optimizer.lr'"),
        (["gan", "--step", "3"], "no field 'step'.*'--steps'"),
        (["gan", "--batch_size", "many"], "'many'.*'batch_size'"),
        (["gan", "--optimizer.lr", "-1"], "-1.*'lr'.*above 0"),
        (["gan", "--batch_size"], "--batch_size has no value"),
        (["gan", "8"], "'8' was not expected"),
        (["gan", "--preset", "tinny"], "no preset 'tinny'.*'tiny'"),
        (["gan", "--images", "lots"], "'lots'.*200k"),
        (["gan", "--steps", "0"], "0 of 'steps'"),
        (["gan", "--minutes", "nan"], "length"),
        (["gan", "--data.OPTION", "9"], "no option 'OPTION'"),
        (["gan", "--compile", "perhaps"], "'perhaps' of 'compile' does not fit. Expected: true/false"),
        (["gan", "--discriminator_lr", "x"], "'x' of 'discriminator_lr' does not fit. Expected: number or none"),
        (["gan", "--generator_hidden", "8,x"], "'x' of 'generator_hidden' does not fit. Expected: list of whole number"),
        (["gan", "--minutes", "soon"], "soon"),
        (["gan", "--device", "abacus"], "'abacus'.*doctor"),
        (["gan", "--data", "digitz"], "'digitz'.*'digits'"),
        (["gan", "--data.lenght", "9"], "'lenght'.*'length'"),
        (["gan", "--data.size", "9by9"], "9by9"),
        (["gan", "--data.size", "["], "size"),
        (["gan", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (["wgan", "--label_smoothing", "0.1"], "smoothing"),
        (["dcgan", "--data.size", "15"], "15x15.*--data.size"),
        (["dcgan", "--penalty", "r1"], "discriminator_norm"),
        (["gan", "--penalty", "r3"], "'r3'.*'penalty'"),
        ([], "game"),
    ],
)
def test_wrong_usage_is_one_line_and_writes_nothing(capsys, tmp_path, argv, words):
    game, rest = argv[:1], argv[1:]
    defaults = [*DATA[:-2], *([] if "--preset" in rest else DATA[-2:])] if game else []
    assert re.search(words, refused(capsys, "train", *game, *defaults, "--out", "run", *rest))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text, words",
    [
        ("batchsize: 3", "no field 'batchsize'.*'--batch_size'"), ("preset: tiny", "no field 'preset'.*'--preset'"),
        ("data: digits", "no field 'data'.*'--data'"),
        ("- 3", "holds no fields"), ("a: [", "cannot be read"), ("batch_size: [3]", "batch_size"), ("", "holds no fields"),
    ],
)  # fmt: skip
def test_a_wrong_file_of_fields_is_one_line(capsys, text, words):
    Path("fields.yaml").write_text(text)
    assert re.search(words, refused(capsys, "train", "gan", *DATA, "--config", "fields.yaml", "--out", "run"))
    assert not Path("run").exists()


def test_a_folder_with_other_files_is_refused_and_left_alone(capsys, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    before = contents(tmp_path)
    assert "holds other files" in refused(capsys, "train", "gan", *DATA, "--steps", "2", "--out", "mine")
    assert contents(tmp_path) == before


def test_a_place_below_a_file_is_one_line(capsys, run):
    Path("file").write_text("mine")
    assert "is a file" in refused(capsys, "train", "gan", *DATA, "--steps", "2", "--out", "file")
    assert "cannot be written: Not a directory" in refused(capsys, "train", "gan", *DATA, "--steps", "2", "--out", "file/run")
    for out in ("file/grid.png", "file/samples"):
        assert "cannot be written: Not a directory" in refused(capsys, "sample", str(run), "--out", out)
    assert Path("file").read_text() == "mine"


def test_a_seed_beyond_all_numbers_is_one_line(capsys, run):
    assert "63 bits" in refused(capsys, "sample", str(run), "--seed", "9" * 30)


def test_a_damaged_metrics_file_is_kept(capsys, run):
    path = run / "metrics.json"
    path.write_text("{")
    try:
        assert "metrics.json cannot be read" in refused(capsys, "evaluate", str(run))
        assert path.read_text() == "{"
    finally:
        path.unlink()


def test_a_game_on_condition_vectors_trains_and_samples(capsys):
    argv = ["train", "cgan", *DATA, "--data.condition", "true", "--steps", "2", "--out", "vectors"]
    assert cli.main(argv) == 0 and cli.main(["sample", "vectors", "-n", "4"]) == 0
    assert cli.main(["evaluate", "vectors", "-n", "20", "--metrics", "near_copies"]) == 0
    assert "conditioned on vectors" in refused(capsys, "sample", "vectors", "--class", "0", "--out", "other.png")


def test_other_settings_or_data_are_refused_and_the_run_left_alone(capsys, run):
    before = contents(run)
    argv = ["train", "cgan", *DATA, "--steps", "4", "--out", str(run)]
    assert re.search(r"optimizer\.lr was 0\.0002, now 0\.01", refused(capsys, *argv, "--optimizer.lr", "0.01"))
    assert re.search(r"seed was 0, now 3", refused(capsys, *argv, "--seed", "3"))
    assert re.search(r"game was cgan, now gan", refused(capsys, "train", "gan", *argv[2:]))
    assert re.search(r"data\.options was.*200.*now.*100", refused(capsys, *argv, "--data.length", "100"))
    assert re.search(r"data was shapes, now toy:ring8", refused(capsys, "train", "cgan", "--data", "toy:ring8", "--data.labelled", "true", *argv[6:]))
    assert contents(run) == before


def test_help_lists_every_game(capsys):
    assert cli.main(["train", "--help"]) == 0
    out = capsys.readouterr().out
    from agon.catalog import games

    assert all(re.search(rf"^  {name} ", out, re.M) for name in games()) and "agon show GAME" in out


# --- sample ---------------------------------------------------------------------------------------------------------------------------


def drawn(path):
    return np.load(path, allow_pickle=False)


def test_the_same_seed_gives_the_same_samples_as_in_python(run):
    for name, seed in (("a.npz", "5"), ("b.npz", "5"), ("c.npz", "6")):
        assert cli.main(["sample", str(run), "-n", "7", "--seed", seed, "--out", name]) == 0
    a, b, c = (drawn(name)["images"] for name in ("a.npz", "b.npz", "c.npz"))
    assert a.shape == (7, 16, 16, 3) and a.dtype == np.uint8 and (a == b).all() and (a != c).any()
    python = agon.load(run).sample(7, seed=5)
    assert np.abs((python.permute(0, 2, 3, 1).numpy() + 1) * 127.5 - a).max() <= 0.51


def test_a_class_by_number_or_name(run, capsys):
    for name, label in (("number.npz", "3"), ("name.npz", "star"), ("other.npz", "circle")):
        assert cli.main(["sample", str(run), "-n", "6", "--class", label, "--out", name]) == 0
    number, name, other = (drawn(f"{which}.npz")["images"] for which in ("number", "name", "other"))
    assert (number == name).all() and (number != other).any()
    python = agon.load(run).sample(6, label=3)
    assert np.abs((python.permute(0, 2, 3, 1).numpy() + 1) * 127.5 - name).max() <= 0.51
    for wrong in ("6", "-1", "hexagon", "²"):
        assert re.search(f"no class '{wrong}'.*{', '.join(CLASSES)}", refused(capsys, "sample", str(run), "--class", wrong, "--out", "x.png"))


def test_nothing_is_overwritten_unless_asked(run, capsys):
    words = ["sample", str(run), "-n", "4", "--seed"]
    assert cli.main([*words, "0"]) == 0
    assert capsys.readouterr().out == "samples.png\n"
    before = contents(".")
    assert "samples.png" in refused(capsys, *words, "1")
    assert contents(".") == before
    assert cli.main([*words, "1", "--overwrite"]) == 0
    assert contents(".") != before


def test_a_folder_of_pictures(run, capsys):
    assert cli.main(["sample", str(run), "-n", "3", "--out", "made"]) == 0
    assert capsys.readouterr().out == "made\n"
    assert [path.name for path in sorted(Path("made").iterdir())] == ["00000.png", "00001.png", "00002.png"]
    assert Image.open("made/00001.png").size == (16, 16)
    before = contents("made")
    refused(capsys, "sample", str(run), "-n", "3", "--out", "made")
    assert contents("made") == before


def test_points_are_sampled_as_numbers(points, capsys):
    assert cli.main(["sample", str(points), "-n", "5", "--out", "points.csv"]) == 0
    rows = [line for line in Path("points.csv").read_text().splitlines() if re.match(r"[-\d]", line)]
    found = np.array([[float(x) for x in row.split(",")] for row in rows])
    np.testing.assert_allclose(found, agon.load(points).sample(5).numpy(), rtol=1e-4, atol=1e-5)
    assert "no classes" in refused(capsys, "sample", str(points), "--class", "1", "--out", "x.csv")


@pytest.mark.parametrize("verb", ["sample", "evaluate"])
def test_what_is_no_run_folder(capsys, verb, run):
    assert re.search("nowhere is no run folder.*agon train", refused(capsys, verb, "nowhere"))
    Path("empty").mkdir()
    assert "no run folder" in refused(capsys, verb, "empty")
    Path("broken").mkdir()
    Path("broken/config.json").write_text("{")
    assert "cannot be read" in refused(capsys, verb, "broken")
    Path("young").mkdir()
    Path("young/config.json").write_bytes((run / "config.json").read_bytes())
    assert "no whole checkpoint" in refused(capsys, verb, "young")
    assert "'abacus'" in refused(capsys, verb, str(run), "--device", "abacus")


def test_how_many_samples(capsys, run):
    assert "-n 1 or more" in refused(capsys, "sample", str(run), "-n", "0")
    assert "-n" in refused(capsys, "sample", str(run), "-n", "few")
    assert not list(Path().iterdir())


# --- evaluate -------------------------------------------------------------------------------------------------------------------------


def test_numbers_with_their_protocol_as_json_and_in_the_run(points, capsys):
    argv = ["evaluate", str(points), "--metrics", "high_quality, modes", "-n", "300"]
    assert cli.main([*argv, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)["results"]
    assert [result["metric"] for result in printed] == ["high_quality", "modes"]
    for result in printed:
        assert result["num_fake"] == 300 and result["protocol"] and "standard_error" in result and result["num_images"] == 32
    assert json.loads((points / "metrics.json").read_text())["results"] == printed

    # the number itself: the share of these very samples within three sigma of a mode
    angle = 2 * np.pi * np.arange(8) / 8
    centres = np.stack([np.cos(angle), np.sin(angle)], 1)
    samples = agon.load(points).sample(300, seed=0).numpy()
    share = (np.linalg.norm(samples[:, None] - centres[None], axis=2).min(1) <= 3 * 0.01).mean()
    assert printed[0]["value"] == pytest.approx(share)

    assert cli.main(argv) == 0
    out = capsys.readouterr().out
    assert re.search(r"^high_quality +\S+", out, re.M) and re.search(rf"^report +{re.escape(str(points))}/report.html$", out, re.M)


def test_a_metric_that_is_not_there_or_too_few_samples(points, capsys):
    before = contents(points)
    assert "'frechet'" in refused(capsys, "evaluate", str(points), "--metrics", "frechett")
    refused(capsys, "evaluate", str(points), "--metrics", "modes", "-n", "1")
    refused(capsys, "evaluate", str(points), "--metrics", ",")
    assert contents(points) == before


def test_a_damaged_checkpoint_is_not_sampled_from(run, capsys, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (weights,) = copy.glob("checkpoints/*/ema.safetensors")
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    assert re.search("no whole checkpoint.*SHA-256", refused(capsys, "sample", str(copy)))
