"""Runs trainings in forked children for test_resume.py: torch is imported once, and a child can be killed like a process that dies.

python driver.py RANKS FOLDER GAME...   prints one JSON object: game -> {"straight": hashes, "resumed": hashes, ...}
"""

import json
import os
import signal
import socket
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import agon.run  # noqa: E402
from agon import catalog  # noqa: E402
from agon.config import build  # noqa: E402
from agon.train import trainer as engine  # noqa: E402

PLANS = {1: (27, 60, 20), 2: (11, 24, 8)}
"""Ranks -> (step at which it dies, steps, steps between checkpoints); two ranks share two cores and get fewer."""


def train(folder, game, *, ranks, kill=False, **fields):
    kill_at, steps, between = PLANS[ranks]
    advance = engine.Trainer.advance
    if kill:

        def advance_or_die(self):
            if self.step == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return advance(self)

        engine.Trainer.advance = advance_or_die
    import torch

    torch.set_num_threads(1)
    cls = catalog.load(game)
    steps_images = 8 * getattr(build(cls.Config, cls.presets["tiny"].fields), "num_critic", 1)  # each critic step draws a batch
    recipe = cls.any_input() if cls.needs_input else ""
    options = {"batch_size": 8, "checkpoint_every_images": between * steps_images, "sample_every_images": 10**9, "ema_every": 3, **fields}
    agon.run.train(game, "digits", preset="tiny", out=folder, steps=steps, data_options={"input": recipe} if recipe else None, **options)


def fork(ranks, work):
    """Run ``work`` in ``ranks`` forked children joined as torchrun would; returns their wait statuses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = []
    for rank in range(ranks):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                if ranks > 1:
                    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
                work()
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    return [os.waitpid(child, 0)[1] for child in children]


def hashes(folder):
    """{file: SHA-256} of the newest checkpoint, without what depends on the clock on the wall."""
    newest = max(path for path in (folder / "checkpoints").iterdir() if path.name.isdigit())
    files = json.loads((newest / "manifest.json").read_text())["files"]
    state = json.loads((newest / "state.json").read_text())
    clock = {"seconds", "cpu_seconds"}
    return {name: entry["sha256"] for name, entry in files.items() if name != "state.json"} | {"state": {k: v for k, v in state.items() if k not in clock}}


def losses(folder):
    return [(r["step"], r["num_images"], r["terms"]) for r in map(json.loads, (folder / "log.jsonl").read_text().splitlines())]


def main():
    ranks, root = int(sys.argv[1]), Path(sys.argv[2])
    agon.open_dataset("digits")  # what every child would have to import and read
    result = {}
    for game in sys.argv[3:]:
        straight, broken = root / f"{game}-straight", root / f"{game}-broken"
        entry = {
            "straight_status": fork(ranks, lambda: train(straight, game, ranks=ranks)),  # noqa: B023
            "killed_status": fork(ranks, lambda: train(broken, game, ranks=ranks, kill=True)),  # noqa: B023
            "left": sorted(path.name for path in (broken / "checkpoints").iterdir()),
            "resumed_status": fork(ranks, lambda: train(broken, game, ranks=ranks)),  # noqa: B023
        }
        result[game] = entry | {"straight": [hashes(straight), losses(straight)], "resumed": [hashes(broken), losses(broken)]}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
