"""What the Research room answers about runs that are whole, damaged, growing or dead, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from agon.data.names import DATASETS
from agon.playground.app import create_app
from agon.playground.desk import Desk
from agon.playground.guard import Rules
from agon.playground.research import status
from agon.playground.research.forms import names_a_file
from agon.playground.research.trainings import again
from agon.playground.routes.research import Detail, GameForm, Grids, LogPart, Offer, Rows
from agon.run import read_config
from agon.train.lock import alone_in

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def root(tmp_path, small_runs) -> Path:
    shutil.copytree(small_runs, tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def client(root):
    desk = Desk(root, most_trainings=0)
    with TestClient(create_app(desk, Rules("token", 80, frozenset(("testserver",)))), headers={"X-Agon-Token": "token"}) as found:
        yield found


def rows(client) -> dict[str, dict]:
    """By name, once all logs are read."""
    while True:
        found = Rows.model_validate_json(client.get("/api/research/runs").content)
        if not any(row.reading for row in found.runs):
            return {row.name: row.model_dump() for row in found.runs}


def detail(client, name: str) -> dict:
    return Detail.model_validate_json(client.get(f"/api/research/runs/{rows(client)[name]['id']}").content).model_dump()


def event(folder: Path, kind: str, **more: object) -> None:
    with open(folder / "events.jsonl", "a") as file:
        file.write(json.dumps({"time": "2026-01-01T00:00:00+00:00", "event": kind, "num_images": 7, **more}) + "\n")


# ---- what a run is ---------------------------------------------------------------------------------------------------


def test_the_list_says_of_each_run_what_its_files_say(client, root):
    found = rows(client)
    assert set(found) == {"digits", "ring", "broken"}
    config = read_config(root / "digits")
    digits = found["digits"]
    assert (digits["game"], digits["data"], digits["preset"], digits["total"]) == ("dcgan", "digits", "tiny", config["fields"]["images"])
    assert digits["state"] == "finished" and digits["images"] == config["fields"]["images"] and not digits["problems"]
    assert found["broken"]["state"] == "stale" and "config.json cannot be read" in found["broken"]["problems"][0]


def test_the_state_follows_the_lock_and_the_last_event(client, root):
    folder = root / "ring"
    for kind, state in (("resumed", "stale"), ("stopped", "stopped"), ("nonfinite", "failed"), ("rolled back", "stale"), ("finished", "finished"),
                        ("saved", "finished"), ("health", "finished")):  # fmt: skip
        event(folder, kind)
        assert rows(client)["ring"]["state"] == state, kind
        with alone_in(folder):
            assert rows(client)["ring"]["state"] == "training"
    event(folder, "resumed")
    assert rows(client)["ring"]["state"] == "stale" and "nobody is training it" in rows(client)["ring"]["why"]


def test_an_imported_run_has_finished(client, root):
    folder = root / "ring"
    config = json.loads((folder / "config.json").read_text())
    config["data"]["fingerprint"] = ""
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "events.jsonl").unlink()
    assert rows(client)["ring"]["state"] == "finished"


def test_a_name_is_text_and_never_a_path(client, root):
    shutil.copytree(root / "ring", root / EVIL)
    row = rows(client)[EVIL]
    assert row["name"] == EVIL and set(row["id"]) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
    assert client.get(f"/api/research/runs/{row['id']}").status_code == 200
    for name in (EVIL, "..", "ring", "..%2f..%2fetc", "%2e%2e", str(root / "ring").replace("/", "%2f")):
        for path in ("", "/log", "/samples", "/samples/0.png"):
            assert client.get(f"/api/research/runs/{name}{path}").status_code in (404, 405, 422)


@pytest.mark.parametrize("name", ["config.json", "log.jsonl", "events.jsonl", "metrics.json", "metrics.jsonl", "samples"])
@pytest.mark.parametrize("content", ["", "null", "[]", "{", "[" * 50_000, '{"results": [1, {"metric": 3}, {"metric": "fid", "value": "x"}]}',
                                     '{"a": NaN, "b": 1e999, "c": "\\ud800", "fields": [], "data": 5, "game": {}}', "\udcff", '"text"', None])  # fmt: skip
def test_damaged_files_never_fail(client, root, name, content):
    path = root / "ring" / name
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
    found = rows(client)
    if name == "config.json" and content is None:
        assert "ring" not in found  # then it is no run
        return
    assert detail(client, "ring")["state"] in ("finished", "stale")
    if name in ("config.json", "metrics.json") and content != '"text"' and (name == "config.json" or content in ("", "{", "\udcff", None)):
        assert found["ring"]["problems"]
    for part, model in (("/log", LogPart), ("/samples", Grids)):
        model.model_validate_json(client.get(f"/api/research/runs/{found['ring']['id']}{part}").content)


def test_answers_are_sent_once(client, root):
    first = client.get("/api/research/runs")
    rows(client)
    first = client.get("/api/research/runs")
    same = client.get("/api/research/runs", headers={"If-None-Match": first.headers["etag"]})
    assert same.status_code == 304 and not same.content
    event(root / "ring", "stopped")
    assert client.get("/api/research/runs", headers={"If-None-Match": first.headers["etag"]}).status_code == 200


def test_the_log_is_sent_from_where_it_was_left(client, root):
    run = rows(client)["ring"]["id"]
    (root / "ring" / "log.jsonl").write_text(json.dumps({"num_images": 5, "step": 1, "terms": {"generator/adversarial": 0.5}}) + "\n")
    whole = client.get(f"/api/research/runs/{run}/log").json()
    assert whole["count"] == len(whole["columns"]["step"]) > 0 and not whole["rewound"]
    line = {"num_images": 10**9, "step": 10**6, "terms": {"generator/adversarial": "NaN"}}
    with open(root / "ring" / "log.jsonl", "a") as file:
        file.write(json.dumps(line) + "\n" + '{"num_images": 10')
    part = client.get(f"/api/research/runs/{run}/log", params={"after": whole["at"], "known": whole["stamp"]}).json()
    assert part["columns"]["num_images"] == [10**9] and part["columns"]["terms"]["generator/adversarial"] == [None] and not part["rewound"]


def test_sample_grids_are_the_files(client, root):
    run = rows(client)["digits"]["id"]
    images = client.get(f"/api/research/runs/{run}/samples").json()["images"]
    files = sorted((root / "digits" / "samples").glob("*.png"))
    assert images == [int(path.stem) for path in files] and images
    answer = client.get(f"/api/research/runs/{run}/samples/{images[-1]}.png")
    assert answer.content == files[-1].read_bytes() and answer.headers["content-type"] == "image/png"
    assert client.get(f"/api/research/runs/{run}/samples/{images[-1]}.png", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    for wrong, code in (("1", 404), ("-1", 422), ("..%2fconfig", 404), ("x", 422), (str(10**13), 422)):
        assert client.get(f"/api/research/runs/{run}/samples/{wrong}.png").status_code in (code, 404)


def test_measurements_keep_their_error_and_their_protocol(client, root):
    result = {"metric": "kid", "value": 0.5, "standard_error": 0.1, "num_real": 10, "num_fake": 20, "num_images": 7, "protocol": {"extractor": "digits"},
              "reference": {"perfect_sampler": {"value": 0.01, "standard_deviation": 0.002}}}  # fmt: skip
    (root / "ring" / "metrics.json").write_text(json.dumps({"results": [result, {"metric": "bad", "value": None}, 3]}))
    (root / "ring" / "metrics.jsonl").write_text(json.dumps({"num_images": 7, "results": [result]}) + '\n{"num_images"')
    found = detail(client, "ring")
    wanted = {"metric": "kid", "value": 0.5, "standard_error": 0.1, "perfect": 0.01, "perfect_deviation": 0.002, "better": "lower", "num_real": 10,
              "num_fake": 20, "num_images": 7, "protocol": {"extractor": "digits"}}  # fmt: skip
    assert found["metrics"] == [wanted] and found["history"] == [{"num_images": 7, "results": [wanted]}]


# ---- forms -----------------------------------------------------------------------------------------------------------


def test_the_form_of_every_game_is_its_configuration(client):
    from agon import catalog
    from agon.config import build, field_names

    offer = Offer.model_validate_json(client.get("/api/research/games").content)
    assert [game.name for game in offer.games] == list(catalog.games()) and {data.id for data in offer.data} == set(DATASETS)
    for game in offer.games:
        form = GameForm.model_validate_json(client.get(f"/api/research/games/{game.name}").content)
        config = catalog.load(game.name).Config
        assert [one.name for one in form.fields] == field_names(config)
        assert build(config, {one.name: one.default for one in form.fields}) == config()  # what the form shows is what holds
        for one in form.fields:
            assert one.help and (one.input != "choice" or one.default in one.choices)
        for preset in form.presets:
            assert build(config, preset.values) == build(config, catalog.load(game.name).presets[preset.name].fields)


@pytest.mark.parametrize("name", ["nothing", "..", "os", "agon.games.gan", "_x", "gan.py"])
def test_only_games_of_the_catalog_have_a_form(client, name):
    assert client.get(f"/api/research/games/{name}").status_code in (404, 422)
    assert client.post("/api/research/check", json={"game": name, "data": "digits"}).status_code in (404, 422)


@pytest.mark.parametrize(
    ("order", "field", "words"),
    [
        ({"fields": {"batch_size": "many"}}, "batch_size", "whole number"),
        ({"fields": {"optimizer.lr": -1}}, "optimizer.lr", "above 0"),
        ({"fields": {"optimizer.lr": "1e-4", "optimizer.beta1": 7}}, "optimizer.beta1", "[0, 1)"),
        ({"fields": {"precision": "fp8"}}, "precision", "bf16 | fp16 | fp32"),
        ({"fields": {"batch_sise": 3}}, "batch_sise", "batch_size"),
        ({"fields": {"images": 3}}, "images", "place of its own"),
        ({"fields": {"metrics": "kid_/tmp/net.py:embed"}}, "metrics", "executed"),
        ({"fields": {"metrics": ["kid_net.pt"]}}, "metrics", "executed"),
        ({"data": "/etc"}, "data", "no such data"),
        ({"data": "../x"}, "data", "no such data"),
        ({"preset": "none"}, "preset", "no such preset"),
        ({"data": "toy:ring8", "preset": "digits"}, "preset", "points"),
        ({"steps": 3, "images": 4}, "steps", "not both"),
        ({"fields": {"batch_size": 10**30}}, "batch_size", "does not fit"),
        ({"fields": {"optimizer.schedule": "halving"}}, "optimizer.schedule", "halve_every_images"),
    ],
)
def test_an_error_stands_beside_its_field_and_nothing_is_started(client, root, order, field, words):
    before = sorted(root.iterdir())
    whole = {"game": "gan", "data": "digits"} | order
    answer = client.post("/api/research/check", json=whole)
    assert list(answer.json()["fields"]) == [field] and words in answer.json()["fields"][field]
    started = client.post("/api/research/trainings", json=whole)
    assert started.status_code == 400 and started.json()["fields"] == answer.json()["fields"] and started.json()["error"]
    assert sorted(root.iterdir()) == before


def test_texts_that_name_files_are_known():
    assert all(map(names_a_file, ["/x", "a/b", "a\\b", "net.pt", "kid_net.py:embed", "C:net", ["kid", "fid_x.ts"]]))
    assert not any(map(names_a_file, ["kid", "color,translation", "conv1_2:0.1,conv5_4:1", "0.5", 3, None, ["fid_digits", "kid"], "downscale:4"]))


# ---- going on with a run ---------------------------------------------------------------------------------------------


def test_the_arguments_of_a_resumed_run_build_its_configuration(root):
    import agon
    from agon.config import build
    from agon.games.gan import GAN

    agon.train("gan", data="toy:ring8", preset="tiny", steps=2, out=root / "own", metrics=("modes",), label_smoothing=0.1, **{"optimizer.lr": 3e-4})
    config = read_config(root / "own")
    words = again(config)
    given = dict(word.removeprefix("--").split("=", 1) for word in words if "=" in word)
    assert words[:5] == ["gan", "--data", "toy:ring8", "--preset", "tiny"]
    assert build(GAN.Config, GAN.presets["tiny"].fields, given) == build(GAN.Config, config["fields"])
    assert {"optimizer.lr", "label_smoothing", "metrics", "images"} <= set(given)
    assert dict(word.removeprefix("--").split("=", 1) for word in again(config, 999) if "=" in word) == given | {"images": "999"}


@pytest.mark.parametrize(
    "change",
    [
        {"game": "/tmp/evil.py"}, {"game": "os"}, {"game": None}, {"preset": "gone"}, {"fields": []}, {"data": 3}, {"fields": {"nonsense": 1}},
        {"fields": {"metrics": ["kid_evil.py:embed"], "best_metric": ""}}, {"fields": {"batch_size": -1}}, {"data": {"name": "--help", "path": None}},
        {"data": {"name": "mine", "path": "no/such/folder"}}, {"data": {"name": "mine", "path": "/no/such/folder"}}, {"data": {"name": "mine", "path": ["x"]}},
        {"data": {"name": "digits", "options": {"--out": "x"}}}, {"data": {"name": "digits", "options": {"OPTION": "x"}}},
        {"data": {"name": "digits", "options": {"input": "segmentation:/tmp/evil.pt"}}},
    ],
)  # fmt: skip
def test_a_run_from_anybody_starts_nothing_that_executes_or_is_not_there(client, root, change):
    folder = root / "ring"
    config = json.loads((folder / "config.json").read_text()) | {"command": f"touch {root}/executed"}
    (folder / "config.json").write_text(json.dumps(config | change))
    event(folder, "stopped")
    row = rows(client)["ring"]
    answer = client.post(f"/api/research/runs/{row['id']}/resume", json={})
    assert answer.status_code == 400 and answer.json()["error"] and not (root / "executed").exists()
    assert [path.name for path in root.glob("*.out.txt")] == []


def test_what_is_not_trained_from_here_is_not_stopped(client, root):
    run = rows(client)["ring"]["id"]
    assert "not being trained" in client.post(f"/api/research/runs/{run}/stop").json()["error"]
    with alone_in(root / "ring"):
        answer = client.post(f"/api/research/runs/{run}/stop")
        assert answer.status_code == 409 and "was not started from this page" in answer.json()["error"]
        assert client.post(f"/api/research/runs/{run}/resume", json={}).status_code == 409
    assert client.post("/api/research/runs/none/stop").status_code == 404


def test_too_many_trainings_are_refused(client):
    answer = client.post("/api/research/trainings", json={"game": "gan", "data": "toy:ring8"})  # most_trainings is 0 here
    assert answer.status_code == 409 and answer.json()["error"]


def test_small_files_are_read_again_when_they_change(root):
    folders = status.Folders()
    first = folders.small(root / "ring", "en")
    assert folders.small(root / "ring", "en") is first
    event(root / "ring", "stopped")
    assert folders.small(root / "ring", "en").events[-1]["event"] == "stopped"
