"""A run folder, from the first line of its log to the last sample. Oracles: a run that was not disturbed, and bytes compared with bytes."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import agon
from agon import catalog
from agon.config import build
from agon.data.source import ArraySource, DataSpec
from agon.errors import UserError
from agon.run import CHUNK, Run, draw, load, spec_from, train
from agon.train import checkpoint
from agon.train.lock import alone_in
from agon.train.randomness import mix
from agon.train.trainer import NonFiniteError, Trainer

OUTSIDE = Path(__file__).parent / "contract" / "outside_game.py"
CLOCK = {"seconds", "cpu_seconds", "images_per_second", "memory_mb"}
FIELDS = {"preset": "tiny", "precision": "fp32", "images": 240, "sample_every_images": 120, "checkpoint_every_images": 80, "log_every": 4}


def source(events=(), seed=0):
    draws = np.random.default_rng(seed)
    pixels = draws.integers(0, 256, (48, 1, 8, 8), dtype=np.uint8)
    return ArraySource("noise", DataSpec("image", (1, 8, 8), 3, ("a", "b", "c")), pixels, draws.integers(0, 3, 48), events=events)


def go(folder, game="r3gan", data=None, **fields):
    return train(game, data or source(), out=folder, **{**FIELDS, **fields})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return go(tmp_path_factory.mktemp("finished") / "run").folder


@pytest.fixture
def copied(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "run"))


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def log(folder):
    return [{key: value for key, value in record.items() if key not in CLOCK} for record in lines(folder / "log.jsonl")]


def kinds(folder):
    return [event["event"] for event in lines(folder / "events.jsonl") if event["event"] not in ("saved", "health")]


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def weights(folder, images=240):
    tensors, _ = checkpoint.load(folder / "checkpoints" / f"{images:012d}")
    return {f"{file}/{name}": value for file, entry in tensors.items() for name, value in entry.items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def damage(path):
    torn = path / "game.safetensors"
    data = bytearray(torn.read_bytes())
    data[len(data) // 2] ^= 1
    torn.write_bytes(data)


# --- what is in the folder --------------------------------------------------------------------------------------------------------------


def test_the_folder_explains_itself(finished):
    assert {path.name for path in finished.iterdir()} == {"config.json", "log.jsonl", "events.jsonl", "samples", "checkpoints", "report.html", ".lock"}
    assert [path.name for path in sorted((finished / "samples").iterdir())] == [f"{n:012d}.png" for n in (0, 120, 240)]
    assert [path.name for path in sorted((finished / "checkpoints").iterdir())] == [f"{n:012d}" for n in (160, 240)]
    assert {path.name for path in (finished / "checkpoints" / f"{240:012d}").iterdir()} == {
        "game.safetensors", "ema.safetensors", "optimizer-generator.safetensors", "optimizer-discriminator.safetensors", "state.json", "manifest.json",
    }  # fmt: skip
    assert [(record["step"], record["num_images"]) for record in log(finished)] == [(n, 8 * n) for n in range(4, 31, 4)]
    for record in lines(finished / "log.jsonl"):
        assert record["terms"].keys() == {"generator/adversarial", "discriminator/adversarial", "discriminator/penalty"}
        assert all(math.isfinite(value) for value in record["terms"].values()) and record.keys() >= CLOCK and record["stage"] == "train"
    assert kinds(finished) == ["started", "finished"]
    assert [e["num_images"] for e in lines(finished / "events.jsonl") if e["event"] == "saved"] == [80, 160, 240]
    with Image.open(finished / "samples" / f"{240:012d}.png") as picture:
        assert picture.width > picture.height, "ten columns, a row for each of three classes"
    page = (finished / "report.html").read_text()
    facts = re.search(r'<dl class="facts">.*?</dl>', page, flags=re.S)[0]
    assert ">240<" in facts and ">30<" in facts, "the end of the run, not its last logged step, which is 28"


def test_config_round_trip(finished):
    config = json.loads((finished / "config.json").read_text())
    cls = catalog.load("r3gan")
    built = build(cls.Config, config["fields"])
    assert built == build(cls.Config, cls.presets["tiny"].fields, {k: v for k, v in FIELDS.items() if k != "preset"})
    assert spec_from(config["data"]["spec"]) == source().spec
    assert config["game"] == "r3gan" and config["preset"] == "tiny" and config["ranks"] == 1 and config["precision"] == "fp32"
    assert config["data"]["fingerprint"] == source().fingerprint and config["data"]["num_samples"] == 48
    assert config["versions"]["agon"] == agon.__version__ and config["versions"]["torch"] == torch.__version__


def test_steps_bound_images(tmp_path):
    for game, per_step in (("r3gan", 8), ("wgan_gp", 8 * 5)):
        run = train(game, source(), preset="tiny", out=tmp_path / game, steps=3)
        assert run.num_images == 3 * per_step == run.config["fields"]["images"]


def test_one_folder_is_trained_by_one_process(copied):
    before = (copied / "config.json").read_bytes()
    with alone_in(copied), pytest.raises(UserError, match="by another process"):
        go(copied, images=320)
    assert (copied / "config.json").read_bytes() == before  # the other process's length stands
    assert go(copied, images=320).num_images == 320  # the lock went with its holder


def test_minutes_count_from_this_launch(copied, monkeypatch):
    totals = []

    class Watched(agon.run.Logger):
        def __init__(self, *args, total, **options):
            totals.append(total)
            super().__init__(*args, total=total, **options)

    monkeypatch.setattr(agon.run, "Logger", Watched)
    spent = json.loads((copied / "checkpoints" / f"{240:012d}" / "state.json").read_text())["seconds"]
    go(copied, images=320, minutes=2)
    assert spent > 0 and totals[0].seconds == spent + 120


def test_a_step_back_leaves_the_log_as_if_it_had_never_been(finished, tmp_path, monkeypatch):
    """The first time that step 24 (192 images) is tried, a number goes bad; the last checkpoint lies at 160."""
    advance, failed = Trainer.advance, []

    def fail_once(self):
        if self.step == 24 and not failed:
            failed.append(self.num_images)
            raise NonFiniteError("for once")
        return advance(self)

    monkeypatch.setattr(Trainer, "advance", fail_once)
    folder = go(tmp_path / "run", rollbacks=1).folder
    assert failed == [192] and kinds(folder) == ["started", "nonfinite", "rolled back", "finished"]
    before, after = log(finished), log(folder)
    assert [record["step"] for record in after] == [record["step"] for record in before]
    assert after[:5] == before[:5] and after[5:] != before[5:], "other random numbers after the step back"


def test_a_class_by_its_name(finished):
    run = load(finished)
    assert torch.equal(run.sample(3, seed=1, label="b"), run.sample(3, seed=1, label=1))
    for wrong in ("d", "3", ""):
        with pytest.raises(UserError, match="Expected one of: a, b, c"):
            run.sample(3, label=wrong)
    with pytest.raises(UserError, match="0 or more"):
        run.sample(-1)


# --- going on ---------------------------------------------------------------------------------------------------------------------------


class Interrupted(Exception):
    pass


class Failing(ArraySource):
    """Breaks the run off at an image count, as a crash would."""

    def read(self, indices, *, seed=0, epoch=0):
        self.count = getattr(self, "count", 0) + len(indices)
        if self.count > self.allowed:
            raise Interrupted
        return super().read(indices, seed=seed, epoch=epoch)


def break_off(folder, after, **fields):
    whole = source()
    failing = Failing("noise", whole.spec, whole._samples.numpy(), whole.labels)
    assert failing.fingerprint == whole.fingerprint
    failing.allowed = after
    with pytest.raises(Interrupted):
        go(folder, data=failing, **fields)


@pytest.mark.parametrize("after", [40, 128, 200])  # before the first checkpoint, between two, with two there
def test_the_same_command_resumes_as_if_nothing_had_been(finished, tmp_path, after):
    folder = tmp_path / "run"
    break_off(folder, after)
    assert len(log(folder)) >= 1
    go(folder)
    assert same(weights(folder), weights(finished))
    assert log(folder) == log(finished), "no record is missing, doubled or left over"
    assert {name: data for name, data in tree(folder).items() if name.startswith("samples/")} == {
        name: data for name, data in tree(finished).items() if name.startswith("samples/")
    }
    assert kinds(folder) == ["started", "started" if after == 40 else "resumed", "finished"]


def test_a_finished_run_stays_as_it_is_and_goes_on_when_it_is_to_be_longer(copied, finished, tmp_path):
    go(copied)
    assert same(weights(copied), weights(finished)) and log(copied) == log(finished)
    assert kinds(copied) == ["started", "finished", "resumed", "finished"]
    free = {"images": 256, "log_every": 2, "sample_every_images": 8, "checkpoint_every_images": 16, "keep_checkpoints": 3, "rollbacks": 1}
    run = go(copied, **free)
    assert run.num_images == 256 and run.config["fields"]["images"] == 256
    assert len(list((copied / "checkpoints").iterdir())) == 3


@pytest.mark.parametrize(
    "fields, named",
    [({"seed": 5}, "seed was 0, now 5"), ({"batch_size": 4}, "batch_size was 8, now 4"), ({"optimizer.lr": 0.5}, r"optimizer\.lr was .*, now 0\.5"),
     ({"game": "gan"}, "game was r3gan, now gan"), ({"preset": "digits"}, "batch_size was 8, now 64")],
)  # fmt: skip
def test_other_settings_are_refused_by_name_and_nothing_changes(copied, fields, named):
    before = tree(copied)
    with pytest.raises(UserError, match=f"other settings: {named}.*choose another --out"):
        go(copied, **fields)
    assert tree(copied) == before


def test_other_options_of_the_same_data_are_refused(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, pixels in enumerate(source()._samples[:12, 0].numpy()):
        Image.fromarray(pixels).save(pictures / f"{number}.png")

    def attempt(**options):
        return train("gan", pictures, out=tmp_path / "run", preset="tiny", steps=2, data_options={"mirror": True, **options})

    attempt(cache_dir=tmp_path / "cache")
    run = attempt()  # where it is cached is nobody's business
    assert run.config["data"]["options"] == {"mirror": True} and load(run.folder).source.mirror
    with pytest.raises(UserError, match=r"other settings: data\.options was .*True.*, now .*False"):
        attempt(mirror=False)


def test_a_foreign_folder_is_refused_and_untouched(tmp_path):
    folder = tmp_path / "holiday"
    folder.mkdir()
    (folder / "picture.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        go(folder)
    assert tree(folder) == {"picture.txt": b"mine"}
    with pytest.raises(UserError, match="is a file"):
        go(folder / "picture.txt")
    assert tree(folder) == {"picture.txt": b"mine"}


DAMAGED = ["", "{", "[]", "{}", '{"game": "gan"}', '{"game": "gan", "data": {}, "fields": {}}', '{"game": "gan", "data": null, "fields": {}}']


@pytest.mark.parametrize("content", DAMAGED)
def test_a_config_that_cannot_be_read_is_refused_and_kept(copied, content):
    (copied / "config.json").write_text(content)
    before = tree(copied)
    for attempt in (lambda: load(copied), lambda: go(copied)):
        with pytest.raises(UserError, match="cannot be read"):
            attempt()
    assert tree(copied) == before


def test_what_is_no_run_folder_is_said_so(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(UserError, match="is no run folder"):
            load(path)


def test_a_damaged_newest_checkpoint_is_passed_over_with_an_event(copied, finished):
    damage(copied / "checkpoints" / f"{240:012d}")
    assert load(copied).num_images == 160
    go(copied)
    assert kinds(copied) == ["started", "finished", "damaged", "resumed", "finished"]
    (event,) = [event for event in lines(copied / "events.jsonl") if event["event"] == "damaged"]
    assert f"{240:012d}: game.safetensors does not match" in event["message"] and event["num_images"] == 160
    assert same(weights(copied), weights(finished)) and log(copied) == log(finished)


def test_without_a_whole_checkpoint_nothing_is_guessed(copied):
    for path in (copied / "checkpoints").iterdir():
        damage(path)
    with pytest.raises(UserError, match="No checkpoint of .* is whole: 000000000240: .*; 000000000160: "):
        go(copied)
    with pytest.raises(UserError, match="no whole checkpoint yet .*game.safetensors does not match"):
        load(copied).sample(1)
    assert {path.name for path in (copied / "checkpoints").iterdir()} == {f"{n:012d}" for n in (160, 240)}


def test_events_of_the_data_are_told_once(tmp_path):
    happened = [{"event": "skipped", "file": "a.png", "why": "cut off"}, {"why": "no name"}]
    go(tmp_path / "run", data=source(happened), images=16)
    go(tmp_path / "run", data=source(happened), images=24)
    events = lines(tmp_path / "run" / "events.jsonl")
    assert [{k: v for k, v in e.items() if k != "time"} for e in events if e["event"] in ("skipped", "data")] == [
        {"event": "skipped", "num_images": 0, "file": "a.png", "why": "cut off"}, {"event": "data", "num_images": 0, "why": "no name"},
    ]  # fmt: skip


def test_checkpoints_are_not_missed_in_an_earlier_stage(tmp_path):
    """A step of the first stage draws three batches, one of the last a single one."""
    from agon.game import Stage, Update

    cls = catalog.load("gan")

    class Staged(cls):
        def stages(self):
            first = Update("discriminator", self.discriminator_loss, times=3, fresh=True)
            return [Stage("first", (first,), 192), Stage("last", (Update("generator", self.generator_loss),))]

    go(tmp_path / "run", Staged)
    saved = [event["num_images"] for event in lines(tmp_path / "run" / "events.jsonl") if event["event"] == "saved"]
    assert saved == [96, 168, 240]


# --- sampling and measuring -------------------------------------------------------------------------------------------------------------


def test_samples_are_those_of_the_averaged_weights_whoever_opens_the_folder(finished):
    one, other = load(finished), agon.load(finished)
    samples = one.sample(5, seed=3, label=1)
    assert samples.shape == (5, 1, 8, 8) and samples.dtype == torch.float32
    assert torch.equal(samples, other.sample(5, seed=3, label=[1] * 5)) and torch.equal(samples, one.sample(5, seed=3, label=np.ones(5, int)))
    assert not torch.equal(samples, one.sample(5, seed=4, label=1)) and not torch.equal(samples, one.sample(5, seed=3, label=2))
    averaged = {name.removeprefix("ema/generator."): value for name, value in weights(finished).items() if name.startswith("ema/")}
    assert same(averaged, one.game.generator.state_dict()) and not one.game.training


def test_a_run_is_sampled_without_its_data(tmp_path):
    folder = train("gan", source(), out=tmp_path / "run", **FIELDS).folder
    run = load(folder)
    assert run.spec == source().spec and run.sample(3).shape == (3, 1, 8, 8)
    with pytest.raises(UserError, match="noise"):
        run.source  # noqa: B018


def test_many_samples_are_drawn_in_parts(finished):
    run = load(finished)
    labels = torch.arange(2 * CHUNK + 30) % 3
    whole = run.sample(len(labels), seed=7, label=labels)
    parts = [(0, CHUNK, 7), (CHUNK, 2 * CHUNK, mix(7, CHUNK)), (2 * CHUNK, len(labels), mix(7, 2 * CHUNK))]
    for start, stop, seed in parts:
        assert torch.equal(whole[start:stop], run.game.sample(stop - start, seed=seed, label=labels[start:stop]))
    assert len(torch.unique(whole.flatten(1), dim=0)) == len(whole), "no part repeats another"
    assert draw(run.game, 0).shape == (0, 1, 8, 8)


def test_large_pictures_are_drawn_a_few_at_a_time():
    asked = []

    class Painter:
        spec = DataSpec("image", (1, 1024, 2048))

        def sample(self, n, *, seed):
            asked.append((n, seed))
            return torch.zeros(n, 1, 1, 1).expand(n, *self.spec.shape)

    assert draw(Painter(), 5, seed=7).shape == (5, 1, 1024, 2048)
    assert asked == [(2, 7), (2, mix(7, 2)), (1, mix(7, 4))]


def test_a_presets_fp16_is_not_for_a_cpu_unless_it_is_asked_for(tmp_path):
    small = {"steps": 1, "preset": "image", "channel_base": 32, "channel_max": 8, "latent_dim": 8, "w_dim": 8, "mapping_layers": 1, "batch_size": 8}
    small["device"] = "cpu"
    assert train("stylegan2", source(), out=tmp_path / "a", **small).config["precision"] in ("bf16", "fp32")
    assert train("stylegan2", source(), out=tmp_path / "b", precision="fp16", **small).config["precision"] == "fp16"


@pytest.mark.parametrize("labels", [[0, 1], [0] * 4, []])
def test_labels_that_do_not_match_the_samples_are_refused(finished, labels):
    with pytest.raises(UserError, match=f"{len(labels)} labels were given for 3 samples"):
        load(finished).sample(3, label=labels)


def test_evaluate_keeps_the_newest_value_of_each_metric(copied):
    run = go(copied)
    first = run.evaluate(num_samples=40)
    stored = json.loads((copied / "metrics.json").read_text())["results"]
    assert stored == json.loads(json.dumps(first)) and len(stored) >= 2
    for result in stored:
        assert result["num_images"] == 240 and result["num_fake"] == 40 and result["num_real"] == 48 and result["protocol"] and "standard_error" in result
    assert run.evaluate(num_samples=40) == first, "the same numbers again"
    (again,) = run.evaluate([first[0]["metric"]], num_samples=30)
    stored = json.loads((copied / "metrics.json").read_text())["results"]
    assert len(stored) == len(first) and {r["metric"]: r["num_fake"] for r in stored} == {r["metric"]: 40 for r in first} | {again["metric"]: 30}


def test_data_that_have_changed_are_not_measured_against(tmp_path):
    folder = tmp_path / "run"
    run = train("gan", "toy:ring8", out=folder, preset="tiny", steps=2)
    assert load(folder).source.fingerprint == run.source.fingerprint
    config = json.loads((folder / "config.json").read_text())
    config["data"]["fingerprint"] = "0" * 64
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="have changed since it was trained"):
        load(folder).evaluate()


def test_a_measurement_belongs_to_the_weights_that_were_measured(copied):
    run = load(copied)
    with pytest.raises(UserError, match="data from Python"):
        run.evaluate()
    run._source = source()
    run.sample(1)
    go(copied, images=320)
    assert {result["num_images"] for result in run.evaluate(["near_copies"], num_samples=20)} == {240}


def test_data_that_have_changed_are_not_trained_on(copied):
    before = tree(copied)
    with pytest.raises(UserError, match="have changed since it was trained"):
        go(copied, data=source(seed=1))
    assert tree(copied) == before


def test_points_train_into_a_folder_too(tmp_path):
    run = train("gan", "toy:ring8", out=tmp_path / "run", preset="tiny", steps=4)
    assert run.sample(7).shape == (7, 2)
    with Image.open(sorted((run.folder / "samples").iterdir())[-1]) as picture:
        assert picture.size == (512, 512)


# --- games that are given as a class ----------------------------------------------------------------------------------------------------


def test_a_class_of_the_catalog_is_the_game_of_that_name(tmp_path):
    run = go(tmp_path / "run", catalog.load("gan"), images=16)
    assert run.config["game"] == "gan"
    assert go(tmp_path / "run", "gan", images=24).num_images == 24


def test_a_game_from_a_file_can_be_opened_again(tmp_path):
    cls = catalog.load(str(OUTSIDE))
    run = go(tmp_path / "run", cls, images=16)
    assert Path(run.config["game"]) == OUTSIDE and torch.equal(run.sample(2), load(run.folder, game=str(OUTSIDE)).sample(2))


def test_a_run_folder_alone_never_executes_a_file(tmp_path):
    run = go(tmp_path / "run", "gan", images=16)
    evil, proof = tmp_path / "evil.py", tmp_path / "executed"
    evil.write_text(f"open({str(proof)!r}, 'w').write('yes')")
    config = json.loads((run.folder / "config.json").read_text())
    (run.folder / "config.json").write_text(json.dumps(config | {"game": str(evil)}))
    with pytest.raises(UserError, match="opening it executes that file. If you trust it, add --game"):
        load(run.folder).sample(2)
    assert not proof.exists()


def test_a_class_that_nobody_can_find_again_still_samples_after_its_training(tmp_path):
    class Local(catalog.load("gan")):
        pass

    run = go(tmp_path / "run", Local, images=16)
    assert run.sample(2).shape == (2, 1, 8, 8) and isinstance(run.game, Local)
    assert Run(run.folder).config["game"].endswith("Local")


def test_an_unknown_preset_gets_the_nearest(tmp_path):
    with pytest.raises(UserError, match="no preset 'tinny'. Did you mean 'tiny'"):
        go(tmp_path / "run", preset="tinny")
    assert not (tmp_path / "run").exists()
