"""Bar of the engine: 60 steps equal 20 steps, kill -9, resume to 60, bit for bit, for every game; with two ranks 24, 8 and 24."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agon import catalog

DRIVER = Path(__file__).with_name("driver.py")
GAMES = list(catalog.games())
AT_ONCE = 4
"""Games that one process goes through, one after the other."""
PARTS = [GAMES[start : start + AT_ONCE] for start in range(0, len(GAMES), AT_ONCE)]


def outcome(ranks, part, folder):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(DRIVER.parents[2]), os.environ.get("PYTHONPATH", "")]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, DRIVER, str(ranks), folder, *PARTS[part]], capture_output=True, text=True, env=environment, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("resumed")


@pytest.mark.parametrize("ranks", [1, 2], ids=["1-rank", "2-ranks"])
@pytest.mark.parametrize("part", range(len(PARTS)), ids=["+".join(part) for part in PARTS])
def test_killed_and_resumed_equals_never_stopped(ranks, part, root):
    for game, entry in outcome(ranks, part, root / f"{ranks}-{part}").items():
        check(game, entry)


def check(game, entry):
    assert set(entry["straight_status"]) == {0} and set(entry["resumed_status"]) == {0}, game
    assert 9 in entry["killed_status"], f"{game} was not killed: the test tests nothing"
    assert len([name for name in entry["left"] if name.isdigit()]) == 1, "one checkpoint, after a third of the steps, was to be left"
    assert entry["resumed"] == entry["straight"], game
