"""Oracles: what a save wrote before a process was killed at each of its file operations, SHA-256, and bytes compared with bytes."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sys

import pytest
import torch
from torch import nn

from agon.config import OptimizerConfig
from agon.errors import UserError
from agon.game import Player
from agon.train import checkpoint
from agon.train.optimizers import PlayerOptimizer

TOUCHING = {
    "open", "write", "flush", "fsync", "close", "mkdir", "rename", "replace", "rmdir", "unlink", "remove", "scandir", "listdir", "stat", "lstat",
    "__exit__", "read",
}  # fmt: skip
"""C functions of which a killed save may die at any call: those that change files, and those around them."""


def content(number):
    generator = torch.Generator().manual_seed(number)
    return {"game": {"weight": torch.randn(30, 20, generator=generator), "count": torch.tensor(number)}, "ema": {"weight": torch.randn(7, generator=generator)}}


def save(folder, number, keep=2):
    return checkpoint.save(folder, number, content(number), {"step": number, "extra": {"text": "x" * number}}, keep=keep)


def assert_holds(path, number):
    tensors, state = checkpoint.load(path)
    assert state["step"] == number and tensors.keys() == content(number).keys()
    for name, entry in content(number).items():
        assert tensors[name].keys() == entry.keys()
        assert all(torch.equal(tensors[name][key], value) for key, value in entry.items())


def snapshot(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def rubbish(folder):
    return [path.name for path in folder.iterdir() if not path.name.isdigit()]


def child(work):
    """The wait status of a forked child that does ``work``: 0 if it went through, 2 << 8 after an OSError."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except OSError:
            code = 2
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def die_at(n, work):
    """Do ``work`` and die by SIGKILL just before its ``n``-th call of a function that touches files."""
    calls = 0

    def count(frame, event, function):
        nonlocal calls
        if event == "c_call" and function.__name__ in TOUCHING:
            calls += 1
            if calls == n:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)


@pytest.fixture
def filled(tmp_path):
    folder = tmp_path / "checkpoints"
    save(folder, 1)
    save(folder, 2)
    return folder


def check_after_a_death(folder, new):
    """The last checkpoint is the old or the new one, and nothing that claims to be one is not."""
    newest, complaints = checkpoint.latest(folder)
    assert newest is not None and not complaints
    number = int(newest.name)
    assert number in (2, new)
    assert_holds(newest, number)
    for path in folder.iterdir():
        assert not path.name.isdigit() or not checkpoint.problem(path)
    assert len([path for path in folder.iterdir() if path.name.isdigit()]) >= 2, "one to fall back to must be left"
    return number


def test_killed_at_every_file_operation_of_a_save(filled, tmp_path):
    outcomes, n, done = [], 0, False
    while not done:
        n += 1
        folder = tmp_path / "trial"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(filled, folder)
        status = child(lambda: die_at(n, lambda: save(folder, 3)))  # noqa: B023
        done = status == 0
        assert done or status == signal.SIGKILL
        outcomes.append(check_after_a_death(folder, 3))
        if n % 3 == 0 or done:  # the next save works, and sweeps away what the dead one left
            save(folder, 4)
            assert_holds(folder / f"{4:012d}", 4)
            assert not rubbish(folder) and len(list(folder.iterdir())) == 2
    assert n > 40, "the kills did not reach into the save: the test tests nothing"
    assert set(outcomes) == {2, 3} and outcomes == sorted(outcomes), "once the new one is there, it stays"


@pytest.mark.parametrize("number, limit", [(3, 1), (3, 700), (3, 2400), (3000, 2700)])  # the last one reaches the second file
def test_killed_in_the_middle_of_a_file(filled, number, limit):
    before = snapshot(filled)

    def work():
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # the kernel writes up to the limit, then kills
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        save(filled, number)

    assert os.WTERMSIG(child(work)) == signal.SIGXFSZ
    assert check_after_a_death(filled, number) == 2
    torn = [path.stat().st_size for path in filled.glob(".writing-*/*")]
    assert max(torn) == limit, "no file was torn: the test tests nothing"
    assert {name: data for name, data in snapshot(filled).items() if not name.startswith(".")} == before
    save(filled, number + 1)
    assert not rubbish(filled)


@pytest.mark.parametrize("number, limit", [(3, 0), (3, 1), (3, 700), (3, 2400), (3000, 2700)])
def test_a_full_disk_is_an_error_and_nothing_is_lost(filled, number, limit):
    before = snapshot(filled)

    def work():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        save(filled, number)

    assert child(work) == 2 << 8, "expected an OSError"
    assert snapshot(filled) == before and not rubbish(filled)
    assert check_after_a_death(filled, number) == 2


@pytest.mark.parametrize("file", ["game.safetensors", "ema.safetensors", "state.json", "manifest.json"])
def test_every_flipped_bit_is_found(filled, file):
    path = filled / f"{2:012d}" / file
    whole = path.read_bytes()
    places = range(len(whole)) if len(whole) < 900 else sorted(random.Random(0).sample(range(len(whole)), 300))
    for place in places:
        bit = place % 8
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
        assert checkpoint.problem(path.parent), f"bit {bit} of byte {place}: {whole[max(0, place - 20) : place + 20]!r}"
    with pytest.raises(UserError, match="is damaged"):
        checkpoint.load(path.parent)
    newest, complaints = checkpoint.latest(filled)
    assert_holds(newest, 1)
    assert len(complaints) == 1 and complaints[0].startswith(f"{2:012d}: ")
    path.write_bytes(whole)
    assert not checkpoint.problem(path.parent)


@pytest.mark.parametrize("file", ["game.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("harm", ["missing", "empty", "cut", "longer"])
def test_a_file_that_is_missing_or_cut_is_found(filled, file, harm):
    path = filled / f"{2:012d}" / file
    whole = path.read_bytes()
    path.unlink()
    if harm != "missing":
        path.write_bytes({"empty": b"", "cut": whole[:-1], "longer": whole + b" "}[harm])
    assert checkpoint.problem(path.parent)
    assert checkpoint.latest(filled)[0].name == f"{1:012d}"


def test_a_file_that_the_manifest_does_not_know_is_not_loaded(filled):
    shutil.copy(filled / f"{1:012d}" / "game.safetensors", filled / f"{2:012d}" / "other.safetensors")
    assert_holds(filled / f"{2:012d}", 2)


def test_nothing_there_is_no_checkpoint_and_no_complaint(tmp_path):
    assert checkpoint.latest(tmp_path / "nowhere") == (None, [])
    assert checkpoint.latest(tmp_path) == (None, [])


@pytest.mark.parametrize("keep", [2, 3])
def test_so_many_whole_ones_stay(tmp_path, keep):
    for number in range(1, 7):
        save(tmp_path, number, keep=keep)
        assert sorted(int(path.name) for path in tmp_path.iterdir()) == list(range(max(1, number - keep + 1), number + 1))


def test_a_damaged_one_does_not_count_among_the_kept(filled):
    damaged = filled / f"{2:012d}" / "state.json"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    save(filled, 3)
    assert {path.name for path in filled.iterdir() if not checkpoint.problem(path)} == {f"{1:012d}", f"{3:012d}"}
    save(filled, 4)
    assert sorted(path.name for path in filled.iterdir()) == [f"{3:012d}", f"{4:012d}"]


def test_saving_the_same_moment_again_keeps_a_whole_one_and_replaces_a_damaged_one(filled):
    before = snapshot(filled)
    save(filled, 2)
    assert snapshot(filled) == before
    for _ in range(2):  # the same process, twice
        torn = filled / f"{2:012d}" / "game.safetensors"
        torn.write_bytes(torn.read_bytes()[:-1])
        save(filled, 2)
        assert snapshot(filled) == before and not rubbish(filled)


def optimizer(name, channels_last):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 1, 3), nn.BatchNorm2d(1))
    module = module.to(memory_format=torch.channels_last) if channels_last else module
    module.register_parameter("temperature", nn.Parameter(torch.tensor(1.5)))  # no dimension: as the optimizer's own step counter
    return module, PlayerOptimizer(Player((module,), OptimizerConfig(name=name, lr=0.01, weight_decay=0.1)), every=0, fused=name.startswith("adam"))


def steps(module, player, numbers):
    for number in numbers:
        generator = torch.Generator().manual_seed(number)
        for parameter in module.parameters():
            parameter.grad = torch.empty_like(parameter).copy_(torch.randn(parameter.shape, generator=generator))
        player.schedule(number / 10, number)
        player.step()


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "rmsprop"])
def test_an_optimizer_goes_on_bit_for_bit(tmp_path, name, channels_last):
    module, straight = optimizer(name, channels_last)
    steps(module, straight, range(3))
    tensors, plain = checkpoint.optimizer_tensors(straight.torch)
    path = checkpoint.save(tmp_path, 3, {"weights": module.state_dict(), "optimizer": tensors}, plain, keep=2)

    other, resumed = optimizer(name, channels_last)
    loaded, state = checkpoint.load(path)
    other.load_state_dict(loaded["weights"])
    checkpoint.restore_optimizer(resumed.torch, loaded["optimizer"], state)
    compared = 0
    for mine, theirs in zip(module.parameters(), other.parameters(), strict=True):
        for key, value in straight.torch.state[mine].items():
            if isinstance(value, torch.Tensor):
                back = resumed.torch.state[theirs][key]
                assert torch.equal(value, back) and value.stride() == back.stride() and value.dtype == back.dtype, key
                compared += 1
    assert compared >= 7
    if channels_last and name == "adam":
        moment = resumed.torch.state[other[0].weight]["exp_avg"]
        assert moment.is_contiguous(memory_format=torch.channels_last) and not moment.is_contiguous()
    steps(module, straight, range(3, 6))
    steps(other, resumed, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(module.state_dict().values(), other.state_dict().values(), strict=True))


def test_how_a_step_is_computed_is_not_taken_from_the_machine_that_saved(tmp_path):
    module, fused = optimizer("adam", False)
    steps(module, fused, range(2))
    tensors, plain = checkpoint.optimizer_tensors(fused.torch)
    other = PlayerOptimizer(Player((module,), OptimizerConfig(lr=0.01)), every=0, fused=False)
    checkpoint.restore_optimizer(other.torch, tensors, plain)
    assert not other.torch.param_groups[0]["fused"] and other.torch.param_groups[0]["lr"] == fused.torch.param_groups[0]["lr"]


def test_what_an_optimizer_of_unequal_parameters_holds_is_refused(tmp_path):
    module, player = optimizer("adam", False)
    steps(module, player, range(1))
    tensors, plain = checkpoint.optimizer_tensors(player.torch)
    smaller = PlayerOptimizer(Player((nn.Linear(1, 1),), OptimizerConfig()), every=0, fused=False)
    with pytest.raises((ValueError, IndexError)):
        checkpoint.restore_optimizer(smaller.torch, tensors, plain)


def test_tensors_that_share_memory_and_every_dtype_come_back(tmp_path):
    shared = torch.arange(6.0).view(2, 3)
    entry = {
        "one": shared, "two": shared, "turned": shared.t(), "half": shared.bfloat16(), "bits": shared > 2, "whole": shared.long(), "none": torch.empty(0, 4),
        "last": torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
    }  # fmt: skip
    tensors, _ = checkpoint.load(checkpoint.save(tmp_path, 0, {"game": entry, "empty": {}}, {}, keep=2))
    assert tensors["empty"] == {} and tensors["game"].keys() == entry.keys()
    assert all(torch.equal(tensors["game"][name], value) and tensors["game"][name].dtype == value.dtype for name, value in entry.items())
