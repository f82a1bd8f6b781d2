"""agon.train.logger: what is written is read back with the json module alone; terminals are real pseudo-terminals."""

import builtins
import fcntl
import importlib.util
import io
import json
import math
import os
import pty
import struct
import termios
import threading

import numpy as np
import pytest
import torch

from agon.train.health import Verdict
from agon.train.logger import Logger, Total, duration, jsonable, losses, read_lines, read_log


def record(images, **more):
    terms = {"discriminator/adversarial": 0.6, "discriminator/r1": 0.1, "generator/adversarial": 0.75}
    base = {"step": images // 64, "num_images": images, "stage": "train", "terms": terms, "stats": {"diversity": 0.9}}
    return {**base, "images_per_second": 1000.0, "seconds": images / 1000, **more}


def strict(line):
    """JSON as the standard has it: NaN and Infinity are no numbers."""

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(line, parse_constant=refuse)


def test_every_line_is_strict_json_and_is_on_disk_at_once(tmp_path):
    logger = Logger(tmp_path, console=False)
    values = {"a": math.nan, "b": math.inf, "c": -math.inf, "d": torch.tensor(0.5), "e": np.float32(0.25), "f": 3}
    logger.log(record(64, terms=values))
    lines = (tmp_path / "log.jsonl").read_text().splitlines()  # before close: flushed
    assert strict(lines[0])["terms"] == {"a": "NaN", "b": "Infinity", "c": "-Infinity", "d": 0.5, "e": 0.25, "f": 3}
    logger.close()
    logger.close()


def test_numbers_come_back_as_they_were(tmp_path):
    generator = np.random.default_rng(0)
    values = {
        str(i): float(v) for i, v in enumerate(generator.normal(size=50) * 10.0 ** generator.integers(-30, 30, 50))
    }
    with Logger(tmp_path, console=False) as logger:
        logger.log(record(64, terms={**values, "nan": math.nan, "low": -math.inf}))
    (back,) = read_log(tmp_path)
    assert {name: back["terms"][name] for name in values} == values
    assert math.isnan(back["terms"]["nan"]) and back["terms"]["low"] == -math.inf and back["stage"] == "train"


def test_jsonable_makes_plain_types_of_anything(tmp_path):
    mixed = {1: [torch.ones(2), (np.int64(3), None, True)], "path": tmp_path, "bf16": torch.tensor(1.5).bfloat16()}
    assert jsonable(mixed) == {"1": [[1.0, 1.0], [3, None, True]], "path": str(tmp_path), "bf16": 1.5}


def test_a_torn_last_line_is_passed_over_and_a_missing_log_is_empty(tmp_path):
    assert read_log(tmp_path) == []
    (tmp_path / "log.jsonl").write_bytes(b'{"num_images": 1}\n{"num_images": 2}\n{"num_im\xe7')
    assert [line["num_images"] for line in read_log(tmp_path)] == [1, 2]


@pytest.mark.parametrize("torn", [b"", b'{"num_images": 999, "st', b'{"num_images": 320}'])
def test_a_resumed_log_equals_an_uninterrupted_one(tmp_path, torn):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    with Logger(whole, console=False) as logger:
        for images in range(64, 641, 64):
            logger.log(record(images))
    with Logger(broken, console=False) as logger:
        for images in range(64, 449, 64):
            logger.log(record(images))
    with open(broken / "log.jsonl", "ab") as file:  # what a kill leaves behind
        file.write(torn)
    with Logger(broken, console=False, resume_at=256) as logger:
        for images in range(320, 641, 64):
            logger.log(record(images))
    assert (broken / "log.jsonl").read_bytes() == (whole / "log.jsonl").read_bytes()
    assert sorted(os.listdir(broken)) == ["events.jsonl", "log.jsonl"]


def test_events_are_history_and_survive_a_resume(tmp_path):
    with Logger(tmp_path, console=False) as logger:
        logger.event("started", seed=0)
        logger.event("saved", num_images=640)
    with open(tmp_path / "events.jsonl", "a") as file:
        file.write('{"event": "sav')
    with Logger(tmp_path, console=False, resume_at=320) as logger:
        logger.event("resumed", num_images=320)
    events = [strict(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [(event["event"], event["num_images"]) for event in events] == [
        ("started", 0),
        ("saved", 640),
        ("resumed", 320),
    ]
    assert all(event["time"].endswith("+00:00") for event in events) and events[0]["seed"] == 0


def test_a_change_of_health_becomes_one_event(tmp_path):
    good, bad = Verdict("balanced", "Balanced.", 0.6, ""), Verdict("collapse suspected", "Collapse.", 0.1, "Go back.")
    with Logger(tmp_path, console=False) as logger:
        for images, verdict in ((64, good), (128, good), (192, bad), (256, bad)):
            logger.log(record(images), verdict)
    with Logger(tmp_path, console=False, resume_at=256) as logger:
        logger.log(record(320), bad)
    found = [(event["num_images"], event["state"], event["number"]) for event in read_lines(tmp_path / "events.jsonl")]
    assert found == [(64, "balanced", 0.6), (192, "collapse suspected", 0.1)]


def test_totals_end_with_the_first_bound():
    assert Total(images=1000).fraction(images=250) == 0.25
    assert Total(images=1000, steps=10, seconds=60).fraction(images=100, steps=9, seconds=30) == 0.9
    assert Total().fraction(images=5) == 0 and Total(images=10).fraction(images=20) == 1


def test_losses_and_durations_are_short():
    names = {
        "discriminator/adversarial": 0.6,
        "discriminator/r1": 0.1,
        "generator/adversarial": 0.75,
        "mapper/x": math.nan,
    }
    assert losses(names) == "D 0.7 G 0.75 mapper nan"
    assert [duration(s) for s in (0, 42.4, 725, 10925)] == ["0:00", "0:42", "12:05", "3:02:05"]


def test_a_pipe_gets_plain_lines_every_tenth(tmp_path, monkeypatch):
    monkeypatch.setenv("AGON_LANG", "en")
    stream = io.StringIO()
    with Logger(tmp_path, total=Total(images=6400), stream=stream) as logger:
        for images in range(64, 6401, 64):
            logger.log(record(images), Verdict("balanced", "Balanced: 60 %.", 0.6, ""))
    lines = stream.getvalue().splitlines()
    assert 10 <= len(lines) <= 12 and "\r" not in stream.getvalue()
    assert lines[-1] == "100%  6,400 images · 1,000/s · 0:00 left · D 0.7 G 0.75  Balanced: 60 %."


def test_time_left_is_that_of_this_process(tmp_path, monkeypatch):
    monkeypatch.setenv("AGON_LANG", "en")
    stream = io.StringIO()
    with Logger(tmp_path, total=Total(images=1000), stream=stream, resume_at=0) as logger:
        # Resumed at 600 after 1,000 slow seconds; now 100 images take 1 s, so the remaining 300 take 3.
        logger.log(record(600, seconds=1000.0))
        logger.log(record(700, seconds=1001.0))
    assert "0:03 left" in stream.getvalue().splitlines()[-1]


def test_quiet_means_quiet(tmp_path, capfd):
    with Logger(tmp_path, console=False, total=Total(images=64)) as logger:
        logger.log(record(64))
        logger.tick(step=1, num_images=64, seconds=1.0)
        logger.say("hello")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("columns", [120, 0])  # a terminal in a container may say that it has no columns
def test_a_terminal_gets_a_bar_with_the_health_under_it(tmp_path, monkeypatch, columns):
    monkeypatch.setenv("AGON_LANG", "en")
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40 if columns else 0, columns, 0, 0))
    seen = bytearray()

    def read():
        while True:
            try:
                chunk = os.read(controller, 4096)
            except OSError:
                return
            seen.extend(chunk)

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(terminal, "w") as stream, Logger(tmp_path, total=Total(images=640), stream=stream) as logger:
        logger.log(record(64), Verdict("balanced", "Balanced: 60 %.", 0.6, ""))
        logger.tick(step=5, num_images=320, seconds=0.3)
        logger.say("a word in between")
        logger.log(record(640), Verdict("collapse suspected", "Collapse suspected: 10 %.", 0.1, "Go back."))
    reader.join(5)
    os.close(controller)
    text = seen.decode()
    assert "100%" in text and "640 images · 1,000/s" in text and "D 0.7 G 0.75" in text
    assert "Collapse suspected: 10 %." in text and "Go back." in text and "a word in between" in text


def test_tensorboard_gets_the_same_numbers(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with Logger(tmp_path, console=False, tensorboard=True) as logger:
        logger.log(record(64))
        logger.log(record(128, terms={"generator/adversarial": 0.5}))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    points = [(point.step, point.value) for point in events.Scalars("generator/adversarial")]
    assert points == [(64, 0.75), (128, 0.5)]


def test_without_tensorboard_the_run_goes_on_with_one_warning(tmp_path, monkeypatch):
    real_import = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == "tensorboard" or name == "torch.utils.tensorboard":
            raise ModuleNotFoundError("No module named 'tensorboard'", name="tensorboard")
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.warns(UserWarning, match="pip install tensorboard") as caught:
        logger = Logger(tmp_path, console=False, tensorboard=True)
        logger.log(record(64))
        logger.log(record(128))
        logger.close()
    assert len(caught) == 1 and len(read_log(tmp_path)) == 2
    assert importlib.util.find_spec("torch") is not None
