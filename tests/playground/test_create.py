"""What the Create room makes is what the command line and Python make, byte for byte; what it saves says how it was made."""

from __future__ import annotations

import io
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

import agon
from agon import cli
from agon.errors import UserError
from agon.media import grid, png
from agon.playground.app import create_app
from agon.playground.create import draw, keepsake
from agon.playground.create.draw import Cell
from agon.playground.desk import Desk
from agon.playground.guard import Rules
from agon.playground.library import id_of

STATE = "#create?run=x&seed=3&locked=1:77"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("create") / "runs"
    options = {"steps": 2, "preset": "tiny", "data": "digits"}
    agon.train("dcgan", out=root / "plain", **options)
    agon.train("acgan", out=root / "classes", **options)
    agon.train("stylegan2", out=root / "styles", **options)
    agon.train("gan", out=root / "ring", **options | {"data": "toy:ring8"})
    agon.train("pix2pix", out=root / "edges", **options | {"data": "shapes"}, data_options={"size": (32, 32), "input": "edges", "length": 32})
    return root


@pytest.fixture(scope="module")
def client(folder):
    desk = Desk(folder)
    rules = Rules("token", 80, frozenset(("testserver",)))
    with TestClient(create_app(desk, rules), headers={"X-Agon-Token": "token"}) as found:
        found.ids = {entry.name: entry.id for entry in desk.library.entries()}
        yield found


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


# --- the same bytes everywhere --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "words", "asked"),
    [
        ("plain", [], {}),
        ("classes", ["--class", "3"], {"label": 3}),
        ("styles", ["--truncation", "0.5", "--noise", "none"], {"controls": {"truncation": 0.5, "noise": "none"}}),
        ("ring", [], {}),
    ],
)
def test_a_sample_is_the_file_of_the_command_line_and_of_python(client, folder, tmp_path, run, words, asked):
    out = tmp_path / "x.png"
    assert cli.main(["sample", str(folder / run), "-n", "6", "--seed", "9", *words, "--out", str(out)]) == 0
    answer = client.post("/api/sample", json={"run": client.ids[run], "n": 6, "seed": 9, **asked})
    assert answer.status_code == 200 and answer.content == out.read_bytes()
    if run == "classes":
        assert answer.content == png(grid(agon.load(folder / run).sample(6, seed=9, label=3)))


@pytest.mark.parametrize(("run", "form"), [("plain", "npz"), ("ring", "npz"), ("ring", "csv")])
def test_numbers_are_the_files_of_the_command_line(client, folder, tmp_path, run, form):
    out = tmp_path / f"x.{form}"
    assert cli.main(["sample", str(folder / run), "-n", "5", "--seed", "2", "--out", str(out)]) == 0
    assert client.post("/api/sample", json={"run": client.ids[run], "n": 5, "seed": 2, "form": form}).content == out.read_bytes()


def test_a_translation_is_the_file_of_the_command_line(client, folder, tmp_path):
    picture = tmp_path / "in.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 36, 3), dtype=np.uint8)).save(picture)
    assert cli.main(["translate", str(folder / "edges"), str(picture), "--derive", "--out", str(tmp_path / "out.png")]) == 0
    answer = client.post("/api/translate", params={"run": client.ids["edges"], "derive": True}, content=picture.read_bytes())
    assert answer.status_code == 200 and answer.content == (tmp_path / "out.png").read_bytes()


def test_an_example_can_be_translated_and_is_the_runs_own_input(client, folder):
    shown = client.get("/api/create/inputs", params={"run": client.ids["edges"], "index": 2}).content
    run = agon.load(folder / "edges")
    made = client.post("/api/translate", params={"run": client.ids["edges"]}, content=shown)
    expected = run.translate(run.inputs(16, seed=0)[2:3])
    difference = np.abs(pixels(made.content).astype(int) - pixels(png(expected[0])).astype(int))
    assert made.status_code == 200 and difference.max() <= 1  # the example went through 8 bits


# --- cells, ways, walks ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", ["plain", "classes", "styles"])
def test_a_cell_is_the_sample_of_its_seed_whatever_its_neighbours(folder, run):
    opened = agon.load(folder / run)
    made = draw.pictures(opened, [Cell(seed) for seed in (5, 1, 99)], {})
    alone = torch.cat([opened.sample(1, seed=seed) for seed in (5, 1, 99)])
    assert (made.float() - (alone + 1) * 127.5).abs().max() < 0.6


def test_a_strip_holds_the_cells_below_each_other(client, folder):
    answer = client.post("/api/create/cells", json={"run": client.ids["classes"], "cells": [{"seed": 4, "label": 1}, {"seed": 4, "label": 2}]})
    strip, run = pixels(answer.content), agon.load(folder / "classes")
    assert answer.headers["X-Agon-Cell"] == "8x8" and strip.shape == (16, 8)
    for index, label in enumerate((1, 2)):
        expected = (run.sample(1, seed=4, label=label)[0, 0] + 1) * 127.5
        assert np.abs(strip[8 * index : 8 * index + 8] - expected.numpy()).max() < 1


@pytest.mark.parametrize("run", ["plain", "classes", "styles"])
def test_a_way_begins_and_ends_at_its_cells(folder, run):
    opened = agon.load(folder / run)
    ends = draw.pictures(opened, [Cell(1), Cell(2)], {})
    way = draw.between(opened, Cell(1), Cell(2), [0.0, 0.5, 1.0], {})
    assert (way[[0, 2]].float() - ends.float()).abs().max() <= 1
    assert not torch.equal(way[1], way[0]) or torch.equal(ends[0], ends[1])


def test_slerp_stays_on_the_sphere_and_halves_the_angle():
    first, last = torch.tensor([[3.0, 0.0, 0.0]]), torch.tensor([[0.0, 5.0, 0.0]])
    middle = draw.slerp(first, last, torch.tensor([[0.5]]))
    assert torch.allclose(middle, torch.tensor([[4.0, 4.0, 0.0]]) / 2**0.5)  # a length of 4, at 45 degrees
    assert torch.allclose(draw.slerp(first, last, torch.tensor([[0.0], [1.0]])), torch.cat([first, last]), atol=1e-6)
    assert torch.equal(draw.slerp(first, -first, torch.tensor([[0.25]])), first / 2)


@pytest.mark.parametrize(("loop", "frames"), [(True, 12), (False, 7), (True, 3), (False, 2)])
def test_a_walk_has_as_many_frames_as_asked_and_passes_its_cells(folder, loop, frames):
    run = agon.load(folder / "plain")
    made = list(draw.walk(run, [Cell(1), Cell(2), Cell(3)], frames, loop, {}))
    ends = draw.pictures(run, [Cell(1), Cell(3)], {})
    assert len(made) == frames and all(frame.shape == (8, 8, 3) for frame in made)
    assert np.abs(made[0][..., 0].astype(int) - ends[0, 0].numpy()).max() <= 1
    with pytest.raises(UserError, match="at least 3"):
        list(draw.walk(run, [Cell(1), Cell(2), Cell(3)], 2, True, {}))
    if not loop and frames > 2:
        assert np.abs(made[-1][..., 0].astype(int) - ends[1, 0].numpy()).max() <= 1


def finished(client, asked):
    job = client.post("/api/create/walk", json=asked)
    assert job.status_code == 202, job.text
    for _ in range(600):
        state = client.get(f"/api/jobs/{job.json()['id']}").json()
        if state["state"] in ("done", "failed", "cancelled"):
            return state
        time.sleep(0.05)
    raise AssertionError(state)


@pytest.mark.parametrize("form", ["gif", "mp4"])
def test_a_film_can_be_read_and_brings_its_state_back(client, form):
    pytest.importorskip("av")
    asked = {"run": client.ids["plain"], "seeds": [{"seed": 1}, {"seed": 2}], "frames": 9, "form": form, "scale": 3, "state": STATE + "&x=" + "y" * 700}
    state = finished(client, asked)
    assert state["state"] == "done" and state["progress"] == 1
    film = client.get(f"/api/jobs/{state['id']}/result").content
    if form == "gif":
        with Image.open(io.BytesIO(film)) as made:
            assert made.size == (24, 24) and 1 < made.n_frames <= 9  # equal neighbours are one longer frame
    else:
        import av

        with av.open(io.BytesIO(film)) as made:
            assert sum(1 for _ in made.decode(video=0)) == 9
    kept = client.post("/api/create/restore", content=film).json()
    assert kept == {"state": asked["state"], "run": client.ids["plain"], "name": "plain", "why": ""}


# --- what is kept in files ------------------------------------------------------------------------------------------------------------


def test_a_sheet_brings_its_state_back_and_shows_the_same_pixels(client, folder):
    cells = [{"seed": seed} for seed in (1, 2, 3, 4)]
    answer = client.post("/api/create/sheet", json={"run": client.ids["plain"], "cells": cells, "columns": 2, "state": STATE})
    made = draw.pictures(agon.load(folder / "plain"), [Cell(seed) for seed in (1, 2, 3, 4)], {})
    assert (pixels(answer.content) == pixels(png(grid(made, columns=2)))).all()
    assert client.post("/api/create/restore", content=answer.content).json()["state"] == STATE
    with Image.open(io.BytesIO(answer.content)) as picture:
        picture.load()
        assert picture.text["agon"].startswith("agon-state:")
    place, names = 8, []
    while place < len(answer.content):  # every chunk has its length and its sum
        length, name = struct.unpack_from(">I4s", answer.content, place)
        body = answer.content[place + 4 : place + 8 + length]
        assert struct.unpack_from(">I", answer.content, place + 8 + length)[0] == zlib.crc32(body)
        names, place = [*names, name], place + 12 + length
    assert names[-2:] == [b"iTXt", b"IEND"]


def test_one_cell_is_saved_in_its_own_size(client):
    answer = client.post("/api/create/sheet", json={"run": client.ids["plain"], "cells": [{"seed": 1}], "columns": 0, "state": STATE})
    assert pixels(answer.content).shape == (8, 8)


@pytest.mark.parametrize(
    "content",
    [b"x", png(torch.zeros(1, 4, 4)), b"agon-state:" + b"A" * 20_000 + b".", b"agon-state:e30=.", b"agon-state:!!.", b"GIF89a\x21\xfe\xff", b"agon-state:WzFd.",
     keepsake.note(state="https://evil.example").encode(), keepsake.note(state=7).encode()],
)  # fmt: skip
def test_a_file_without_a_state_of_ours_says_so(client, content):
    answer = client.post("/api/create/restore", content=content).json()
    assert answer["state"] is None and "how it was made" in answer["why"]


def test_a_state_that_is_too_long_is_refused():
    with pytest.raises(UserError, match="too long"):
        keepsake.note(state="#create" + "x" * 13_000)


# --- what is refused ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "asked", "status", "said"),
    [
        ("sample", {"run": "nobody"}, 404, "no such run"),
        ("sample", {"run": "../../etc/passwd"}, 404, "no such run"),
        ("sample", {"run": "plain", "n": 257}, 422, "n"),
        ("sample", {"run": "plain", "seed": -1}, 422, "seed"),
        ("sample", {"run": "plain", "form": "csv"}, 400, "CSV"),
        ("sample", {"run": "plain", "label": 3}, 400, "no class"),
        ("sample", {"run": "classes", "label": 30}, 400, "30"),
        ("create/cells", {"run": "plain", "cells": [{"seed": 1, "label": 3}]}, 400, "no classes"),
        ("create/cells", {"run": "classes", "cells": [{"seed": 1, "label": 33}]}, 400, "33"),
        ("sample", {"run": "plain", "controls": {"truncation": 0.5}}, 400, "truncation"),
        ("sample", {"run": "styles", "controls": {"w": 1}}, 400, "'w'"),
        ("sample", {"run": "styles", "controls": {"truncation": "const"}}, 400, "truncation"),
        ("sample", {"run": "plain", "plain": False}, 400, "state"),
        ("create/between", {"run": "ring", "from": {"seed": 1}, "to": {"seed": 2}}, 400, "no way"),
        ("create/between", {"run": "edges", "from": {"seed": 1}, "to": {"seed": 2}}, 400, "no way"),
        ("create/walk", {"run": "plain", "seeds": [{"seed": 1}]}, 422, "seeds"),
    ],
)
def test_what_cannot_be_is_refused_with_a_word(client, path, asked, status, said):
    answer = client.post(f"/api/{path}", json=asked | {"run": client.ids.get(asked["run"], asked["run"])})
    assert answer.status_code == status and said in answer.json()["error"]


@pytest.mark.parametrize(("content", "status"), [(b"no picture", 400), (b"", 400), (b"%PDF-1.4", 400), (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 400)])
def test_what_is_no_picture_is_refused(client, content, status):
    answer = client.post("/api/translate", params={"run": client.ids["edges"]}, content=content)
    assert answer.status_code == status and answer.json()["error"]


def test_a_run_that_translates_nothing_says_so(client):
    picture = png(torch.zeros(3, 8, 8))
    assert "agon sample" in client.post("/api/translate", params={"run": client.ids["plain"]}, content=picture).json()["error"]


def test_runs_are_described_and_broken_ones_say_what_is_wrong(client, folder):
    (folder / "broken").mkdir(exist_ok=True)
    (folder / "broken" / "config.json").write_text("{")
    listed = {run["name"]: run for run in client.get("/api/create/runs").json()["runs"]}
    assert "cannot be read" in listed["broken"]["error"] and listed["plain"]["shape"] == [1, 8, 8] and not listed["plain"]["error"]
    assert client.get(f"/api/create/runs/{listed['broken']['id']}").status_code == 400
    styles = client.get(f"/api/create/runs/{client.ids['styles']}").json()
    assert [each["name"] for each in styles["controls"]] == ["truncation", "noise"] and styles["classes"] == [str(number) for number in range(10)]
    edges = client.get(f"/api/create/runs/{client.ids['edges']}").json()
    assert edges["needs_input"] and edges["derive"] and not edges["can_walk"]
    assert client.ids["plain"] == id_of(folder.resolve() / "plain")
