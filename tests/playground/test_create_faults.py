"""The Create room with what comes from elsewhere: notes, folders and classes that nobody expects, and what all exports owe."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import agon
from agon.errors import UserError
from agon.media import grid, png, to_uint8
from agon.playground.app import create_app
from agon.playground.create import draw, keepsake
from agon.playground.create.draw import Cell
from agon.playground.desk import Desk
from agon.playground.guard import Rules

TINY = {"steps": 2, "preset": "tiny"}
STATE = "#create?seed=3"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("faults")
    draws = np.random.default_rng(0)
    for name in ("1", "2", "3"):
        (root / "data" / name).mkdir(parents=True)
        for number in range(8):
            Image.fromarray(draws.integers(0, 256, (8, 8), dtype=np.uint8)).save(root / "data" / name / f"{number}.png")
    agon.train("acgan", data=root / "data", out=root / "runs" / "numbered", **TINY)
    agon.train("dcgan", data="digits", out=root / "runs" / "plain", **TINY)
    agon.train("stylegan2", data="digits", out=root / "runs" / "styles", **TINY)
    agon.train("gan", data="toy:ring8", out=root / "runs" / "ring", **TINY)
    return root / "runs"


def opened(root: Path) -> TestClient:
    desk = Desk(root)
    client = TestClient(create_app(desk, Rules("token", 80, frozenset(("testserver",)))), headers={"X-Agon-Token": "token"}, raise_server_exceptions=False)
    client.ids = {entry.name: entry.id for entry in desk.library.entries()}
    return client


@pytest.fixture
def client(folder):
    with opened(folder) as found:
        yield found


@pytest.mark.parametrize("label", [0, 1, 2])
def test_a_class_is_meant_by_its_place_where_names_are_numbers_too(client, folder, label):
    answer = client.post("/api/sample", json={"run": client.ids["numbered"], "n": 3, "seed": 5, "label": label})
    assert answer.content == png(grid(agon.load(folder / "numbered").sample(3, seed=5, label=label)))
    assert len({png(grid(agon.load(folder / "numbered").sample(3, seed=5, label=each))) for each in range(3)}) == 3


def test_noise_that_is_drawn_belongs_to_the_cell_and_not_to_its_place(folder):
    run = agon.load(folder / "styles")
    strengths = [parameter for name, parameter in run.game.generator.named_parameters() if "noise" in name and parameter.numel() == 1]
    assert strengths
    for strength in strengths:
        strength.data.fill_(0.3)
    made = draw.pictures(run, [Cell(7), Cell(8), Cell(9)], {"noise": "random"})
    assert (made[1] == to_uint8(run.sample(1, seed=8, noise="random"))[0]).all()
    assert (made[1] == draw.pictures(run, [Cell(8)], {"noise": "random"})[0]).all()


def test_a_film_of_a_run_that_nobody_had_opened_says_which_checkpoint_it_is_of(client):
    asked = {"run": client.ids["plain"], "seeds": [{"seed": 1}, {"seed": 2}], "frames": 4, "state": STATE}
    job = client.post("/api/create/walk", json=asked).json()["id"]
    for _ in range(600):
        if client.get(f"/api/jobs/{job}").json()["state"] not in ("waiting", "working"):
            break
        time.sleep(0.05)
    answer = client.get(f"/api/jobs/{job}/result")
    assert keepsake.read(answer.content)["images"] == int(answer.headers["X-Agon-Images"]) > 0


@pytest.mark.parametrize(("run", "form"), [("ring", "png"), ("ring", "npz"), ("ring", "csv"), ("plain", "npz")])
def test_every_form_brings_its_state_back_and_holds_the_same_numbers(client, run, form):
    asked = {"run": client.ids[run], "n": 3, "seed": 4, "form": form}
    plain, kept = (client.post("/api/sample", json=asked | more).content for more in ({}, {"plain": False, "state": STATE}))
    found = client.post("/api/create/restore", content=kept).json()
    assert [found[name] for name in ("state", "run", "name")] == [STATE, client.ids[run], run]
    with pytest.raises(UserError, match="how it was made"):
        keepsake.read(plain)
    if form == "npz":
        one, other = (np.load(io.BytesIO(each), allow_pickle=False) for each in (plain, kept))
        assert one.files == other.files and all(np.array_equal(one[name], other[name]) for name in one.files)
    if form == "csv":
        one, other = (np.loadtxt(io.BytesIO(each), delimiter=",", skiprows=1) for each in (plain, kept))
        assert np.array_equal(one, other) and one.shape == (3, 2)


@pytest.mark.parametrize(
    "what", [{"run": []}, {"run": {}}, {"run": 7}, {"state": "#create\ud800"}, {"name": "\ud800"}, {"run": "\udfff"}, {"name": 9}, {"name": ["x"]}]
)  # fmt: skip
def test_a_forged_note_is_refused(client, what):
    text = base64.urlsafe_b64encode(json.dumps({"state": "#create", "run": "x", "name": "x"} | what).encode())
    with pytest.raises(UserError, match="how it was made"):
        keepsake.read(keepsake.MARK + text + b".")
    answer = client.post("/api/create/restore", content=keepsake.MARK + text + b".")
    assert answer.status_code < 500 and not answer.json().get("state")


def test_a_wide_sheet_is_no_wider_than_its_cells(client):
    answer = client.post("/api/create/sheet", json={"run": client.ids["ring"], "cells": [{"seed": 1}], "columns": 64, "state": STATE})
    assert Image.open(io.BytesIO(answer.content)).size[0] < 1000


def as_bytes(folder: bytes) -> None:
    os.mkdir(folder + b"\xff")
    shutil.copy(folder[: folder.rindex(b"/")] + b"/good/config.json", folder + b"\xff/config.json")


def with_config(change):
    def make(folder: bytes) -> None:
        os.mkdir(folder)
        text = Path(os.fsdecode(folder)).parent.joinpath("good", "config.json").read_text()
        Path(os.fsdecode(folder)).joinpath("config.json").write_text(change(text))

    return make


BROKEN = {
    "its name is no text": as_bytes, "deep": with_config(lambda text: "[" * 200_000),
    "its game is no text": with_config(lambda text: json.dumps(json.loads(text) | {"game": "\ud800"})),
    "its game is a number": with_config(lambda text: json.dumps(json.loads(text) | {"game": 7})),
    "its shape is text": with_config(lambda text: text.replace('"shape": [\n        1,', '"shape": [\n        "x",')),
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_a_folder_that_no_one_expects_hides_no_other_run(folder, tmp_path, how):
    root = tmp_path / "runs"
    shutil.copytree(folder / "plain", root / "good")
    try:
        BROKEN[how](os.fsencode(root / "bad"))
    except OSError:
        pytest.skip("this file system has no such names")
    with opened(root) as client:
        listed = client.get("/api/create/runs")
        assert listed.status_code == 200 and len(listed.json()["runs"]) == 2
        for run in listed.json()["runs"]:
            answer = client.get(f"/api/create/runs/{run['id']}")
            assert answer.status_code == (200 if run["name"] == "good" else 400), (run, answer.text)
