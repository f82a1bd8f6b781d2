"""A training that is started from the page is a real process: it waits, trains, is stopped, resumed and killed, and its run says so each time."""

from __future__ import annotations

import os
import signal
import time

import pytest
from starlette.testclient import TestClient

from agon.playground.app import create_app
from agon.playground.desk import Desk
from agon.playground.guard import Rules
from agon.run import read_config
from agon.train.lock import held

LONG = 120.0
ORDER = {"game": "gan", "data": "toy:ring8", "preset": "tiny", "fields": {"log_every": "1", "batch_size": "8", "sample_every_images": "100000"}}


@pytest.fixture
def client(tmp_path):
    desk = Desk(tmp_path / "runs", most_trainings=1)
    with TestClient(create_app(desk, Rules("token", 80, frozenset(("testserver",)))), headers={"X-Agon-Token": "token"}) as found:
        yield found
        for row in found.get("/api/research/runs").json()["runs"]:
            if row["ours"]:
                found.post(f"/api/research/runs/{row['id']}/stop")


def row(client, run: str) -> dict:
    return next(one for one in client.get("/api/research/runs").json()["runs"] if one["id"] == run)


def until(client, run: str, *states: str, images: int = 0) -> dict:
    """Wait for a state, and for so many images."""
    end = time.monotonic() + LONG
    while (found := row(client, run))["state"] not in states or found["images"] < images:
        assert time.monotonic() < end and found["state"] in ("waiting", "training", *states), found
        time.sleep(0.05)
    return found


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_training_from_its_start_to_its_end(client, tmp_path):
    started = client.post("/api/research/trainings", json=ORDER | {"steps": 200_000, "name": "../../<b>my run</b>"})
    assert started.status_code == 201
    run = started.json()["id"]
    assert row(client, run)["state"] in ("waiting", "training") and row(client, run)["ours"]
    assert "no more than that at once" in client.post("/api/research/trainings", json=ORDER).json()["error"]
    until(client, run, "training", images=1)
    (folder,) = [path for path in (tmp_path / "runs").iterdir() if path.is_dir()]
    assert folder.name == "b-my-run-b" and (tmp_path / "runs" / "b-my-run-b.out.txt").exists()

    assert client.post(f"/api/research/runs/{run}/stop").status_code == 200
    stopped = until(client, run, "stopped")
    assert not stopped["ours"] or row(client, run)["stopping"]
    config = read_config(folder)
    assert config["fields"]["batch_size"] == 8 and config["fields"]["images"] == 200_000 * 8 and (folder / "report.html").exists()

    resumed = resume(client, run)
    assert resumed.status_code == 200
    until(client, run, "training", images=stopped["images"] + 1)
    os.kill(process_of(folder), signal.SIGKILL)
    assert until(client, run, "stale")["why"]
    assert not held(folder)

    assert resume(client, run, images=read_images(folder) + 8 * 20).status_code == 200
    until(client, run, "finished")
    again = read_config(folder)
    assert {**again["fields"], "images": 0} == {**config["fields"], "images": 0} and again["preset"] == config["preset"]


def resume(client, run: str, **more: object):
    """Once the process before has ended: its run says so a little earlier."""
    end = time.monotonic() + LONG
    while (answer := client.post(f"/api/research/runs/{run}/resume", json=more)).status_code == 409:
        assert time.monotonic() < end
        time.sleep(0.05)
    return answer


def read_images(folder) -> int:
    return max(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdecimal())


def process_of(folder) -> int:
    """The process that trains into a folder, by its arguments."""
    for path in os.listdir("/proc"):
        if path.isdecimal():
            try:
                with open(f"/proc/{path}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
            except OSError:
                continue
            if str(folder).encode() in words:
                return int(path)
    raise AssertionError("no process trains there")


def test_a_training_that_is_stopped_before_it_has_begun_is_gone_or_stopped(client):
    run = client.post("/api/research/trainings", json=ORDER).json()["id"]
    assert client.post(f"/api/research/runs/{run}/stop").status_code == 200
    end = time.monotonic() + LONG
    while any(one["ours"] for one in client.get("/api/research/runs").json()["runs"]):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert [one["state"] for one in client.get("/api/research/runs").json()["runs"]] in ([], ["stopped"])


def test_a_training_that_fails_says_why(client, tmp_path):
    run = client.post("/api/research/trainings", json={"game": "pix2pix", "data": "toy:ring8", "steps": 3}).json()["id"]
    failed = until(client, run, "failed")
    assert "toy:ring8" in failed["why"] or "points" in failed["why"], failed["why"]
    assert not any(path.is_dir() for path in (tmp_path / "runs").iterdir())  # nothing is left but what it said
    assert client.post("/api/research/trainings", json={"game": "pix2pix", "data": "toy:ring8", "steps": 3}).json()["id"] != run
