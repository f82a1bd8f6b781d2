"""Measuring a run while it trains and afterwards, folders against folders, and the command line's comparison."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import agon
from agon.cli import main
from agon.data import open_dataset
from agon.errors import UserError
from agon.measuring import Measuring, in_rows, measure_folders
from agon.metrics.evaluate import sides
from agon.metrics.sides import PictureFolder

TINY = {"preset": "tiny", "images": 480, "checkpoint_every_images": 240, "sample_every_images": 480}


def events(run, kind):
    lines = (run.folder / "events.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["event"] == kind]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run that was measured four times on its way."""
    folder = tmp_path_factory.mktemp("runs") / "measured"
    return agon.train("r3gan", out=folder, metrics=("fid_digits", "coverage"), metrics_every_images=120, metrics_samples=200, **TINY)


def test_measuring_does_not_change_the_training(measured, tmp_path):
    """The same weights, bit for bit, as without."""
    plain = agon.train("r3gan", out=tmp_path / "plain", **TINY)
    for one, two in zip(plain.game.state_dict().values(), measured.game.state_dict().values(), strict=True):
        assert torch.equal(one, two)


def test_the_history_and_the_best_checkpoint(measured):
    """A line for each measurement; best/ holds the one of the least distance, and what it samples is not what the newest does."""
    lines = [json.loads(line) for line in (measured.folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["num_images"] for line in lines] == [120, 240, 360, 480]
    values = {line["num_images"]: next(r["value"] for r in line["results"] if r["metric"] == "fid_digits") for line in lines}
    assert all({"extractor_sha256", "fingerprint", "agon", "data_options"} <= set(result["protocol"]) for line in lines for result in line["results"])
    best = min(values, key=values.get)
    assert [path.name for path in (measured.folder / "best").iterdir()] == [f"{best:012d}"]
    assert len(events(measured, "measured")) == 8
    again = agon.load(measured.folder, best=True)
    result = again.evaluate(["fid_digits"], num_samples=200)[0]
    assert result["value"] == values[best] and result["num_images"] == best


def test_a_better_value_may_be_a_higher_one(tmp_path):
    run = agon.train("r3gan", out=tmp_path / "r", metrics=("density", "precision"), metrics_every_images=120, metrics_samples=100, **TINY)
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    values = {line["num_images"]: line["results"][1]["value"] for line in lines}  # density has no better: more than 1 is crowding
    top = max(values.values())
    first = next(images for images, value in values.items() if value == top)
    assert [int(path.name) for path in (run.folder / "best").iterdir()] == [first]


def test_a_metric_that_fails_is_an_event_and_no_end(tmp_path):
    """An extractor that raises, and one whose weights are not there: the run goes on to its end."""
    (tmp_path / "bad.py").write_text("def embed(pictures):\n    raise RuntimeError('out of order')\n")
    run = agon.train("r3gan", out=tmp_path / "r", metrics=(f"kid_{tmp_path}/bad.py:embed",), metrics_every_images=240, **TINY)
    assert run.num_images == 480
    failed = events(run, "not measured")
    assert len(failed) == 2 and "out of order" in failed[0]["message"]
    assert not (run.folder / "best").exists()
    with pytest.raises(UserError, match="no best checkpoint"):
        _ = agon.load(run.folder, best=True).game


def test_an_unknown_metric_is_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(UserError, match="Did you mean 'fid_digits'"):
        agon.train("r3gan", out=tmp_path / "r", metrics=("fid_digit",), **TINY)
    assert not (tmp_path / "r").exists()
    with pytest.raises(UserError, match="best_metric"):
        agon.train("r3gan", out=tmp_path / "r", metrics=("kid",), best_metric="coverage", **TINY)


def test_a_resumed_run_measures_what_is_left(tmp_path):
    settings = {**TINY, "metrics": ("coverage",), "metrics_every_images": 120, "metrics_samples": 50}
    agon.train("r3gan", out=tmp_path / "r", steps=None, **{**settings, "images": 240})
    with open(tmp_path / "r" / "metrics.jsonl", "a") as file:
        file.write(json.dumps({"num_images": 360, "results": []}) + "\n" + '{"num_images": 36')  # of a process that was killed after its last checkpoint
    run = agon.train("r3gan", out=tmp_path / "r", **settings)
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["num_images"] for line in lines] == [120, 240, 360, 480] and all(line["results"] for line in lines)


def test_a_folder_of_the_samples_gives_the_runs_numbers(measured, tmp_path):
    """Drawn and saved as PNG, the pictures of a run are as far from the data as the run itself."""
    names = ["fid_digits", "precision_digits", "density_digits"]
    run = agon.load(measured.folder)
    asked = {name: result["value"] for name, result in zip(names, run.evaluate(names, num_samples=300), strict=True)}
    fake = sides(run.sample, run.source, names, num_samples=300, conditional=True).fake
    for start, pictures in fake.chunks():
        for index, picture in enumerate(pictures):
            Image.fromarray(picture[0].numpy()).save(tmp_path / f"{start + index}.png")
    _, results = measure_folders("digits", tmp_path, names)
    for result in results:
        assert result["num_fake"] == 300 and result["protocol"]["fake"]["data"] == str(tmp_path)
    assert results[0]["value"] == pytest.approx(asked["fid_digits"], rel=1e-6)


def save_digits(folder, indices):
    folder.mkdir()
    for number, picture in enumerate(open_dataset("digits").read(indices).real):
        Image.fromarray(((picture[0] + 1) * 127.5).round().to(torch.uint8).numpy()).save(folder / f"{number}.png")
    return folder


def test_two_folders_on_the_command_line(tmp_path, capsys):
    """Halves of the digits: the second evaluation reads kept features; comparing refuses other counts and says so."""
    one, two = save_digits(tmp_path / "one", np.arange(0, 400)), save_digits(tmp_path / "two", np.arange(400, 800))
    command = ["evaluate", "--real", str(one), "--fake", str(two), "--metrics", "kid_random,coverage_random", "--out"]
    assert main([*command, str(tmp_path / "a.json")]) == 0
    assert main([*command, str(tmp_path / "b.json"), "--json"]) == 0
    assert main([*command, str(tmp_path / "c.json"), "-n", "200"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "--compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 0
    assert "within chance" in capsys.readouterr().out
    assert main(["evaluate", "--compare", str(tmp_path / "a.json"), str(tmp_path / "c.json")]) == 1
    assert "num_fake 400 / 200" in capsys.readouterr().out


def test_what_is_missing_is_said_in_a_line_and_the_rest_goes_on(tmp_path, capsys, monkeypatch):
    """Weights that no network brings: the metric says what to do, the others are measured; alone it is an error."""
    monkeypatch.setenv("AGON_WEIGHTS", str(tmp_path / "none"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # a closed port: no network, whatever the machine has
    one, two = save_digits(tmp_path / "one", np.arange(0, 60)), save_digits(tmp_path / "two", np.arange(400, 460))
    command = ["evaluate", "--real", str(one), "--fake", str(two), "--metrics"]
    assert main([*command, "fid,kid_random"]) == 0
    said = capsys.readouterr().out
    assert "not measured" in said.splitlines()[0] and "curl" in said.splitlines()[0] and said.splitlines()[1].startswith("kid_random")
    assert main([*command, "fid"]) == 2
    assert "curl" in capsys.readouterr().err


def test_grey_against_colour_and_a_metric_that_cannot_be(tmp_path, capsys):
    """Both are compared in three colours, the files that cannot be read are named, and a metric that these pictures do not fit stops no other."""
    grey = save_digits(tmp_path / "grey", np.arange(0, 60))
    (tmp_path / "colour").mkdir()
    for index, picture in enumerate(open_dataset("shapes", size=8, length=60).read(np.arange(60)).real):
        Image.fromarray(((picture + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()).save(tmp_path / "colour" / f"{index}.png")
    (grey / "7.png").write_bytes(b"no picture")
    out = tmp_path / "r.json"
    command = ["evaluate", "--real", str(grey), "--fake", str(tmp_path / "colour"), "--out", str(out), "--metrics"]
    assert main([*command, "near_copies,psnr,kid_random,authenticity_random"]) == 0
    said = capsys.readouterr()
    assert "7.png" in said.err and "psnr" in said.out and "not measured" in said.out
    results = json.loads(out.read_text())["results"]
    assert [result["metric"] for result in results] == ["near_copies", "kid_random", "authenticity_random"]
    assert all("7.png" in result["left_out"]["real"][0] and result["num_real"] == 59 for result in results)
    assert results[0]["value"] == 0


def test_an_extractor_of_ones_own_for_points(tmp_path, capsys):
    (tmp_path / "embed.py").write_text("def square(points):\n    return points ** 2\n")
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", random.standard_normal((100, 2)).astype(np.float32))
    command = ["evaluate", "--real", str(tmp_path / "a.npy"), "--fake", str(tmp_path / "b.npy"), "--kind", "points", "--json", "--metrics"]
    assert main([*command, f"frechet_{tmp_path}/embed.py:square,frechet"]) == 0
    own, plain = json.loads(capsys.readouterr().out)["results"]
    assert own["value"] != plain["value"] and own["protocol"]["extractor"].endswith("embed.py:square")


def test_what_is_measured_is_said_while_training(tmp_path, capsys):
    settings = ["--preset", "tiny", "--images", "240", "--out", str(tmp_path / "r"), "--every", "120"]
    assert main(["train", "r3gan", *settings, "--metrics", "fid_digits,kid", "--metrics_samples", "100"]) == 0
    assert "120 images: fid_digits " in capsys.readouterr().err
    assert main(["train", "r3gan", *settings]) == 2
    assert "--metrics too" in capsys.readouterr().err
    assert main(["train", "r3gan", *settings, "--metrics", "modes"]) == 2
    assert "'modes' is for points" in capsys.readouterr().err


def test_wrong_usage_says_what_is_right(tmp_path, capsys):
    for argv, said in [
        ([], "not clear what to measure"),
        (["--real", "digits"], "not clear what to measure"),
        (["--real", "digits", "--fake", "digits", "--best"], "--best has no meaning here: it goes with RUN"),
        ([str(tmp_path), "--captions", "a.txt"], "--captions has no meaning here: it goes with --real, --fake"),
        (["--compare", str(tmp_path), str(tmp_path)], "There are no results"),
        (["--real", "digits", "--fake", "digits", "--metrics", "fidd"], "Did you mean 'fid'"),
        (["--real", "digits", "--fake", "digits", "--metrics", "kid_clip,modes"], "is for points"),
        (["--real", "digits", "--fake", "toy:ring8"], "holds image and"),
        (["--real", "digits", "--fake", "digits", "--weights", "inception"], "Expected EXTRACTOR=PATH"),
    ]:
        assert main(["evaluate", *argv]) == 2
        assert said in capsys.readouterr().err


def test_the_best_is_the_best_of_what_was_measured_alike(tmp_path):
    """A resumed run that measures with fewer samples begins anew: its distances are larger for that alone."""
    config = SimpleNamespace(metrics=("fid_digits",), metrics_every_images=1, best_metric="")
    measuring = Measuring(tmp_path, config, open_dataset("digits"), {})

    def best(num_images, value, num_fake):
        return measuring.record(num_images, [{"metric": "fid_digits", "value": value, "num_real": 100, "num_fake": num_fake, "protocol": {}}])

    assert [best(1, 5.0, 1000), best(2, 6.0, 1000), best(3, 9.0, 100), best(4, 9.5, 100), best(5, 8.0, 100)] == [True, False, True, False, True]


def test_an_option_that_is_not_there_is_refused(measured):
    with pytest.raises(TypeError, match="num_smaples"):
        measured.evaluate(["fid_digits"], num_smaples=20)


def test_a_generators_samples_have_no_pairs(measured):
    with pytest.raises(UserError, match="compares each sample with its own real one"):
        measured.evaluate(["psnr"], num_samples=50)


def test_results_of_another_pair_are_not_kept_in_the_file(tmp_path):
    """--out holds what was just measured, and nothing older."""
    one, two = save_digits(tmp_path / "one", np.arange(0, 60)), save_digits(tmp_path / "two", np.arange(400, 460))
    command = ["evaluate", "--real", str(one), "--fake", str(two), "--out", str(tmp_path / "a.json"), "--metrics"]
    assert main([*command, "kid_random"]) == main([*command, "coverage_random"]) == 0
    assert [result["metric"] for result in json.loads((tmp_path / "a.json").read_text())["results"]] == ["coverage_random"]


def test_captions_are_in_the_order_of_the_names(tmp_path):
    """A folder hands its pictures out by content; a list of captions goes by name as a file of them does."""
    names = [f"{number}.png" for number in range(60)]
    folder = save_digits(tmp_path / "fake", np.arange(60))
    side = PictureFolder(folder)
    assert side.files != sorted(names)
    assert in_rows(sorted(names), side) == side.files
    samples, _ = measure_folders(folder, side, ["kid_random"], captions=sorted(names))
    assert samples.captions == side.files


def test_two_processes_write_one_report(tmp_path):
    """The report reads features that no metric had asked for: the first process computes them without waiting for the other, which has left."""
    one, two = save_digits(tmp_path / "one", np.arange(0, 60)), save_digits(tmp_path / "two", np.arange(400, 460))
    environment = {**os.environ, "PYTHONPATH": str(Path(agon.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "agon", "evaluate", "--real", str(one)]
    command += ["--fake", str(two), "--metrics", "pixel_sliced_wasserstein", "--report"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("pixel_sliced_wasserstein") == 1 and (tmp_path / "collapse.html").exists()
