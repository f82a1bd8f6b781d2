"""Oracles: exit codes, what lies in the run folder, and the bytes of a run that nobody stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from driver import hashes

from agon.train import checkpoint
from agon.train.signals import caught_signals

ROOT = Path(__file__).parents[2]
WORDS = ["train", "gan", "--preset", "tiny", "--data", "digits", "--precision", "fp32", "--sample_every_images", "100M"]
SLOW = """
import sys, time
from agon.cli import main
from agon.train.trainer import Trainer
save = Trainer.save
Trainer.save = lambda *args: (print("saving", flush=True), time.sleep(60), save(*args))
sys.exit(main(sys.argv[1:]))
"""
"""A run whose last save takes for ever, on which somebody presses Ctrl-C again."""


def environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]), "OMP_NUM_THREADS": "1"}


def agon(*words, program=("-m", "agon")):
    default = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731 (a shell's background jobs ignore it)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *program, *words], env=environment(), preexec_fn=default, **pipes)


def wait_for_log(process, folder, lines=3):
    """Until the run is under way: a signal before that has its usual effect."""
    until = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < until:
        log = folder / "log.jsonl"
        if log.exists() and log.read_text().count("\n") >= lines:
            return
        time.sleep(0.02)
    raise AssertionError(process.communicate())


def events(folder):
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"])
def test_a_signal_saves_and_leaves_and_the_run_goes_on_to_the_same_bytes(tmp_path, number, code):
    stopped, straight = tmp_path / "stopped", tmp_path / "straight"
    process = agon(*WORDS, "--images", "1M", "--checkpoint_every_images", "100M", "--out", stopped)
    wait_for_log(process, stopped)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    assert "The same command goes on from here" in err and str(stopped) in out
    newest, complaints = checkpoint.latest(stopped / "checkpoints")
    assert newest is not None and not complaints
    last = events(stopped)[-1]
    assert last["event"] == "stopped" and last["signal"] == number and last["num_images"] == int(newest.name) > 0
    images = int(newest.name) + 24

    def train(folder):  # a fixed length: the schedules of this game do not depend on it
        from agon.run import train as run

        never = 100_000_000
        return run("gan", "digits", preset="tiny", out=folder, images=images, precision="fp32", sample_every_images=never, checkpoint_every_images=never)

    assert train(stopped).num_images == train(straight).num_images == images
    assert hashes(stopped) == hashes(straight)
    course = ["started", "stopped", "resumed", "finished"]
    assert [event["event"] for event in events(stopped) if event["event"] in course] == course


def test_a_second_signal_kills_at_once(tmp_path):
    process = agon(*WORDS, "--images", "1M", "--checkpoint_every_images", "100M", "--out", tmp_path / "run", program=("-c", SLOW))
    wait_for_log(process, tmp_path / "run")
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "saving\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM


def test_signals_are_collected_once_and_handlers_put_back():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with caught_signals() as caught:
        assert caught == []
        os.kill(os.getpid(), signal.SIGTERM)
        assert caught == [signal.SIGTERM] and signal.getsignal(signal.SIGTERM) == before[signal.SIGTERM]
        os.kill(os.getpid(), signal.SIGINT)
        assert caught == [signal.SIGTERM, signal.SIGINT]
        if before[signal.SIGINT] is signal.default_int_handler:
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
    assert {number: signal.getsignal(number) for number in before} == before
    with caught_signals() as caught:
        assert signal.getsignal(signal.SIGINT) != before[signal.SIGINT]
    assert {number: signal.getsignal(number) for number in before} == before, "without a signal too"


def test_another_thread_may_train_but_catches_nothing():
    found = []

    def work():
        with caught_signals() as caught:
            found.append(list(caught))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [[]] and signal.getsignal(signal.SIGINT) == before
