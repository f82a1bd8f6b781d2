"""What ``agon evaluate`` prints and refuses before it measures."""

import json
from pathlib import Path

import numpy as np
import pytest

from agon import cli
from agon.cli.evaluate import comparison, table


@pytest.fixture
def texts(monkeypatch, tmp_path):
    """Two files of sentences, and English."""
    monkeypatch.setenv("AGON_LANG", "en")
    monkeypatch.chdir(tmp_path)
    words = np.random.default_rng(0).choice(["a", "cat", "sat", "on", "the", "mat"], (2, 40, 6))
    for name, lines in zip("ab", words, strict=True):
        (tmp_path / f"{name}.txt").write_text("\n".join(map(" ".join, lines)))
    return ["evaluate", "--real", "a.txt", "--fake", "b.txt", "--metrics", "distinct_2"]


def columns(text):
    """Where the numbers end."""
    return {line.index(" ±") for line in text.splitlines()}


def test_a_long_name_moves_the_whole_column():
    results = [{"metric": name, "value": 0.5, "standard_error": 0.1} for name in ("kid", "cross_correlation_distance")]
    assert len(columns(table(results))) == 1 and table(results[:1]).startswith("kid" + " " * 20)
    rows = [{"metric": result["metric"], "values": [1.0, 2.0], "difference": 1.0, "standard_error": 0.5, "beyond_chance": True} for result in results]
    assert len(columns(comparison(rows, {}))) == 1


def test_the_perfect_sampler_stands_beside_the_value_at_its_own_counts(texts, capsys):
    assert cli.main([*texts, "--out", "new/out.json"]) == 0
    (result,) = json.loads(Path("new/out.json").read_text())["results"]
    halves, perfect = result["details"]["halves"], result["reference"]["perfect_sampler"]["value"]
    assert capsys.readouterr().out.rstrip().endswith(f"(halves {halves:.4g}, perfect sampler {perfect:.4g})")


@pytest.mark.parametrize("out", [".", "a.txt/out.json"])
def test_a_place_where_nothing_can_be_written_is_refused_before_measuring(texts, out, capsys):
    assert cli.main([*texts, "--out", out]) == 2
    shown = capsys.readouterr()
    assert not shown.out and "Nothing can be written" in shown.err and shown.err.count("\n") == 1


def test_weights_for_no_extractor_are_a_mistake(texts, capsys):
    assert cli.main([*texts, "--weights", "inceptoin=x.pth"]) == 2
    assert "'inceptoin' is no extractor" in capsys.readouterr().err
    assert cli.main([*texts, "--weights", "lpips_alex=x.pth", "--weights", "inception=x.pth"]) == 0


def test_where_nothing_could_be_measured_the_exit_code_says_so(texts, capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("AGON_WEIGHTS", raising=False)
    for name in "ab":
        np.save(f"{name}.npy", np.random.default_rng(1).standard_normal((20, 16_000)).astype(np.float32))
    assert cli.main(["evaluate", "--real", "a.npy", "--fake", "b.npy", "--kind", "audio"]) == 2  # VGGish's weights are never fetched
    shown = capsys.readouterr()
    assert shown.out.startswith("frechet_audio") and "--weights vggish=PATH" in shown.out
