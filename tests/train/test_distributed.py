"""Two processes on this machine (gloo). Oracles: the plain mean, and one process with the whole batch.

The processes are forked by this very file, run as a script: a process that has computed with torch already must not be forked.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

NO_NORM = {"generator_norm": "none", "discriminator_norm": "none"}  # batch norm sees the batch that its process holds
CASES = {
    "gan": ("gan", {}),
    "cgan": ("cgan", {}),
    "r3gan": ("r3gan", {}),
    "dcgan": ("dcgan", NO_NORM),
    "lsgan": ("lsgan", NO_NORM),
    "acgan": ("acgan", NO_NORM),
    "wgan": ("wgan", NO_NORM | {"num_critic": 2, "weight_clip": 0.05}),
    "sngan": ("sngan", NO_NORM | {"network": "dcgan", "num_critic": 2}),
    "wgan_gp": ("wgan_gp", {"generator_norm": "none", "num_critic": 2}),
    "infogan": ("infogan", NO_NORM),
    "progan": ("progan", {"minibatch_std": 0}),
    "stylegan2": ("stylegan2", {"minibatch_std": 0, "path_length_decay": 1e-9}),
    "stylegan3": ("stylegan3", {"minibatch_std": 0}),
    "biggan": ("biggan", NO_NORM),
    "transgan": ("transgan", {}),
    "adaptive": ("r3gan", {"ada": "bgc", "ada_p": 0.5, "ada_every": 1, "ada_images": 100, "lecam_weight": 0.3}),
    "lazy_r1": ("r3gan", {"penalty": "r1", "penalty_every": 2}),
    "lazy_wgan_gp": ("wgan_gp", {"generator_norm": "none", "num_critic": 1, "penalty_every": 2}),
    "clipped": ("r3gan", {"clip_grad_norm": 0.05, "diffaugment": "color,translation", "instance_noise": 0.1}),
}
STEPS, BAD = 4, 5
COMMON = {"precision": "fp32", "log_every": STEPS, "optimizer.eps": 1e-3}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, __file__, folder], stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True)
    try:
        _, complaints = process.communicate(timeout=250)
    except subprocess.TimeoutExpired:  # ranks that wait for each other for ever
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, complaints[-3000:]
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


@pytest.mark.parametrize("case", CASES)
def test_one_rank_equals_two_equals_four_micro_batches(results, case):
    """Sums of float32 in another order differ in the last bits. Adam's first steps divide a gradient by its own size, which would make
    the sign of such a rest a whole step: an eps of 1e-3 keeps the differences as small as they are, a thousandth of a step of 1e-4 to 1e-3."""
    torch = pytest.importorskip("torch")
    whole, halves, pieces = (results[f"{case}-{variant}-0"] for variant in ("1x8", "2x4", "4x2"))
    start = results[f"{case}-start-0"]
    for name, value in whole["weights"].items():
        expected = torch.tensor(value)
        for other in (halves, pieces):
            torch.testing.assert_close(torch.tensor(other["weights"][name]), expected, rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")
    assert any(value != start["weights"][name] for name, value in whole["weights"].items()), "nothing was trained"
    for name, value in whole["terms"].items():
        for other in (halves, pieces):
            assert other["terms"][name] == pytest.approx(value, rel=2e-3, abs=1e-5), "the log holds the mean over all of the batch"


@pytest.mark.parametrize("case", CASES)
def test_ranks_end_with_the_same_weights(results, case):
    assert results[f"{case}-2x4-0"]["hash"] == results[f"{case}-2x4-1"]["hash"]


@pytest.mark.parametrize("rank", [0, 1])
def test_averages_are_the_plain_mean(results, rank):
    found = results[f"average-{rank}"]
    for name, value in found["expected"].items():
        assert found["averaged"][name] == pytest.approx(value, rel=1e-6), name
    assert found["mean"] == 1.5 and found["untouched"] == rank + 1.0
    assert found["strides_kept"]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_flag_on_one_rank_is_up_on_all_and_the_first_ones_weights_are_everybodys(results, rank):
    assert results[f"average-{rank}"]["any"] == [True, True, False]
    assert results[f"average-{rank}"]["broadcast"] == results["average-0"]["broadcast"]


@pytest.mark.parametrize("rank", [0, 1])
def test_what_is_not_finite_on_one_rank_stops_all_and_is_named_on_all(results, rank):
    assert results[f"bad-{rank}"]["message"].startswith(f"step {BAD}: player left, term pull, first parameter with a non-finite gradient left.")


def test_a_batch_that_two_processes_cannot_share_is_a_users_error(results):
    for rank in (0, 1):
        assert results[f"refused-{rank}"]["message"].startswith("A batch of 9 cannot be shared by 2 processes.")


def test_one_rank_needs_no_process_group():
    import torch

    from agon.train.distributed import Ranks, join

    ranks, value = join(), torch.tensor([3.0])
    assert ranks == Ranks() and ranks.first
    ranks.average([value])
    ranks.barrier()
    assert value == 3 and ranks.mean(value) == 3 and ranks.mean(value) is not value and ranks.any(True, value.device)


# --- in the forked processes ------------------------------------------------------------------------------------------------------------


def train_cases(folder, variants):
    import numpy as np
    import torch

    from agon import catalog
    from agon.config import build
    from agon.data.pairs import open_pairs
    from agon.data.source import ArraySource, DataSpec
    from agon.train.distributed import join
    from agon.train.trainer import Trainer

    ranks, draws = join(), np.random.default_rng(0)
    noise = ArraySource("noise", DataSpec("image", (1, 8, 8), 3), draws.integers(0, 256, (64, 1, 8, 8), dtype=np.uint8), draws.integers(0, 3, 64))
    for case, (game, fields) in CASES.items():
        cls = catalog.load(game)
        recipe = cls.any_input() if cls.needs_input else ""
        source = open_pairs(noise, input=recipe) if recipe else noise
        for variant, more in variants.items():
            config = build(cls.Config, cls.presets["tiny"].fields, {**COMMON, **fields, **more})
            torch.manual_seed(ranks.rank)  # the ranks begin with different weights: the first one's are to count
            trainer = Trainer(cls(config, source.spec), source, ranks=ranks)
            assert not trainer.game.batch_coupled()
            records = [trainer.advance() for _ in range(0 if variant == "start" else STEPS)]
            state = trainer.game.state_dict()
            digest = hashlib.sha256(b"".join(value.numpy().tobytes() for value in state.values())).hexdigest()
            entry = {"weights": {name: value.tolist() for name, value in state.items()}, "hash": digest, "terms": records[-1]["terms"] if records else {}}
            (folder / f"{case}-{variant}-{ranks.rank}.json").write_text(json.dumps(entry))


def average(folder):
    import torch

    from agon.train import distributed

    distributed.BUCKET = 10
    ranks = distributed.join()
    shapes = {"scalar": (), "vector": (3,), "matrix": (4, 5), "empty": (0, 2), "picture": (2, 3, 2, 2), "last": (1,)}
    held = {r: {n: torch.randn(s, generator=torch.Generator().manual_seed(10 * r + i)) for i, (n, s) in enumerate(shapes.items())} for r in (0, 1)}
    mine = {name: value.clone() for name, value in held[ranks.rank].items()}
    mine["picture"] = mine["picture"].contiguous(memory_format=torch.channels_last)
    strides = {name: value.stride() for name, value in mine.items()}
    ranks.average(list(mine.values()))
    value, module = torch.tensor(ranks.rank + 1.0), torch.nn.BatchNorm1d(2)
    mean = float(ranks.mean(value))
    torch.nn.init.constant_(module.weight, ranks.rank)
    module.running_mean += ranks.rank
    module.num_batches_tracked += ranks.rank
    ranks.broadcast(module)
    flags = [ranks.any(ranks.rank == 0, value.device), ranks.any(ranks.rank == 1, value.device), ranks.any(False, value.device)]
    entry = {
        "averaged": {name: value.flatten().tolist() for name, value in mine.items()}, "mean": mean, "untouched": float(value), "any": flags,
        "expected": {name: ((held[0][name] + held[1][name]) / 2).flatten().tolist() for name in shapes},
        "broadcast": {name: value.tolist() for name, value in module.state_dict().items()},
        "strides_kept": strides == {name: value.stride() for name, value in mine.items()},
    }  # fmt: skip
    (folder / f"average-{ranks.rank}.json").write_text(json.dumps(entry))


def fail(folder):
    from train_toy import Spoilt, duel

    from agon.data.sampler import positions
    from agon.errors import UserError
    from agon.train.distributed import join
    from agon.train.trainer import NonFiniteError

    ranks = join()
    ((_, indices),) = positions(8 * BAD, 8, 64, 0)
    try:
        duel(Spoilt(at=int(indices[6])), ranks=ranks).fit()  # seen by the second rank only
    except NonFiniteError as error:
        (folder / f"bad-{ranks.rank}.json").write_text(json.dumps({"message": str(error)}))
    try:
        duel(batch_size=9, ranks=ranks)
    except UserError as error:
        (folder / f"refused-{ranks.rank}.json").write_text(json.dumps({"message": str(error)}))


def two_ranks(folder):
    average(folder)
    fail(folder)
    train_cases(folder, {"2x4": {}})


def main():
    from driver import fork

    folder = Path(sys.argv[1])
    failed = fork(1, lambda: train_cases(folder, {"start": {}, "1x8": {}, "4x2": {"micro_batch_size": 2}})) + fork(2, lambda: two_ranks(folder))
    sys.exit(any(failed))


if __name__ == "__main__":
    main()
