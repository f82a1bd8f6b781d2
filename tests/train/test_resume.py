"""Bar of the engine: 60 steps equal 20 steps, kill -9, resume to 60, bit for bit, for every game, with one rank and with two."""

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


@pytest.fixture(scope="module", params=[1, 2], ids=["1-rank", "2-ranks"])
def outcome(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"ranks{request.param}")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(DRIVER.parents[2]), os.environ.get("PYTHONPATH", "")]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, DRIVER, str(request.param), folder, *GAMES], capture_output=True, text=True, env=environment, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.xdist_group("resume")
@pytest.mark.parametrize("game", GAMES)
def test_killed_and_resumed_equals_never_stopped(outcome, game):
    entry = outcome[game]
    assert set(entry["straight_status"]) == {0} and set(entry["resumed_status"]) == {0}
    assert 9 in entry["killed_status"], "the run was not killed: the test tests nothing"
    assert len([name for name in entry["left"] if name.isdigit()]) == 1, "one checkpoint, at 20 steps, was to be left"
    assert entry["resumed"] == entry["straight"]
