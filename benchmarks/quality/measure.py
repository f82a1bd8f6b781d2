"""Train and evaluate, one row for each run, in the forms that benchmarks/tables.py reads. Runs already in the file are not repeated.

    python benchmarks/quality/measure.py digits      bar 1: r3gan on digits, conditional (60 CPU-s) and unconditional (180 CPU-s), 3 seeds
    python benchmarks/quality/measure.py precision   bar 3: the conditional runs of digits in float32, 3 seeds: what bf16 costs in quality
    python benchmarks/quality/measure.py mixtures    bar 2: r3gan on ring and grid, 5 seeds; every other game, one seed, the same CPU budget
    python benchmarks/quality/measure.py games       every game on digits with its own preset, one seed
    python benchmarks/quality/measure.py shapes      the games that draw pictures on 32x32 shapes, at most 600 CPU-seconds each, one seed
    python benchmarks/quality/measure.py few         stylegan2 on 100 shapes, with ADA and without, 3 seeds

Each training is a process of its own with one thread. Where a budget of CPU-seconds is set the training ends there, whatever
it has reached; schedules belong to the preset's number of images. The pictures of seed 0 that the games' pages show (docs/images) are drawn here too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
IMAGES = ROOT / "docs" / "images"
GAMES = ("gan", "cgan", "dcgan", "lsgan", "wgan", "wgan_gp", "acgan", "sngan", "r3gan")
PICTURE_GAMES = ("sagan", "biggan", "biggan_deep", "progan", "stylegan", "stylegan2", "stylegan3", "transgan", "projectedgan", "infogan")
SHAPES_METRICS = ["fid_random", "kid_random", "precision_random", "recall_random", "coverage_random"]
"""In the features of a fixed random convolutional net: no weights for such pictures are published."""
MIXTURES = ("toy:ring8", "toy:grid25")


def row(game: str, data: str, seed: int, budget: float, setting: str = "", **fields) -> dict:
    return {"game": game, "data": data, "seed": seed, "budget": budget, "setting": setting, "fields": fields}


def plan(name: str) -> list[dict]:
    """The runs of one file."""
    if name == "digits":
        conditional = [row("r3gan", "digits", seed, 60, "conditional, 60 CPU-seconds") for seed in range(3)]
        return conditional + [row("r3gan", "digits", s, 180, "unconditional, 180 CPU-seconds", conditional=False, images=640_000) for s in range(3)]
    if name == "precision":
        return [row("r3gan", "digits", seed, 0, "conditional, float32 throughout", precision="fp32") for seed in range(3)]
    if name == "mixtures":
        ours = [row("r3gan", data, seed, 120) for data in MIXTURES for seed in range(5)]
        others = [(game, 5_000_000 if game in ("wgan", "wgan_gp", "sngan") else 3_600_000) for game in GAMES if game not in ("r3gan", "cgan", "acgan")]
        return ours + [row(game, data, 0, 120, images=images) for game, images in others for data in MIXTURES]  # about the whole budget each
    if name == "shapes":
        return [row(game, "shapes", 0, 600) for game in PICTURE_GAMES]
    if name == "few":
        ways = (("with ADA", "bgc"), ("without", ""))
        return [row("stylegan2", "shapes", seed, 600, f"100 pictures, {way}", ada=ada) | {"length": 100} for way, ada in ways for seed in range(3)]
    return [row(game, "digits", 0, 120 if game in GAMES else 600) for game in (*GAMES, *PICTURE_GAMES)]


def open_data(task: dict):
    """The data of a task; shapes are 32x32 with their shape for a label."""
    from agon.data import open_dataset

    if task["data"] != "shapes":
        return open_dataset(task["data"])
    return open_dataset("shapes", size=32, label="shape", length=task.get("length", 20_000), seed=1 if task.get("fresh") else 0)


def work(task: dict) -> dict:
    """Train until the end or the budget, evaluate with the averaged weights."""
    import torch

    torch.set_num_threads(1)
    from agon import catalog
    from agon.config import build
    from agon.media import save_image
    from agon.metrics.evaluate import evaluate
    from agon.run import draw, snapshot
    from agon.train.randomness import mix
    from agon.train.trainer import Trainer

    source, cls = open_data(task), catalog.load(task["game"])
    preset = "few" if task["name"] == "few" else cls.preset_for(source.spec)
    config = build(cls.Config, cls.presets[preset].fields, {**task["fields"], "seed": task["seed"]})
    torch.manual_seed(mix(config.seed))
    trainer = Trainer(cls(config, source.spec), source, device="cpu")
    start = time.process_time()
    while trainer.num_images < config.images and (not task["budget"] or time.process_time() - start < task["budget"]):
        trainer.advance()
    seconds = time.process_time() - start
    with trainer.averaged() as game:
        conditional = bool(getattr(game, "condition_dim", 0))
        # few pictures are measured against many fresh ones: what counts is the distribution they come from
        real = open_data({**task, "length": 5_000, "fresh": True}) if task["name"] == "few" else source
        metrics, count = (SHAPES_METRICS, 2_000) if task["data"] == "shapes" else (None, None)

        def sample(n, *, seed=0, **given):
            return draw(game, n, seed=seed, **given)

        results = evaluate(sample, real, metrics, num_samples=count, conditional=conditional)
        if task["name"] == "few":
            results += evaluate(sample, source, ["near_copies_thumbnail"], num_samples=count, conditional=conditional)
        if task["seed"] == 0 and task["name"] in ("games", "mixtures", "shapes", "few"):
            way = {"few": "-few-" + ("ada" if task["fields"].get("ada") else "plain")}.get(task["name"], "")
            save_image(snapshot(game, source), IMAGES / f"{task['game']}-{task['data'].removeprefix('toy:')}{way}.png", overwrite=True)
    kept = ("metric", "value", "standard_error", "num_real", "num_fake", "reference")
    return {
        **task, "preset": preset, "cpu_seconds": round(seconds, 1), "images": trainer.num_images, "of_images": config.images, "precision": trainer.precision,
        "command": f"python benchmarks/quality/measure.py {task['name']}", "metrics": [{k: r[k] for k in kept if k in r} for r in results],
    }  # fmt: skip


def machine() -> dict:
    import torch

    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "?")
    return {"cpu": cpu, "cores": os.cpu_count(), "threads_used": 1, "torch": torch.__version__, "python": platform.python_version()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=("digits", "precision", "mixtures", "games", "shapes", "few"))
    parser.add_argument("--only", help="these games alone, comma-separated")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--again", action="store_true", help="repeat runs that are in the file")
    options = parser.parse_args()
    if options.task:
        print(json.dumps(work(json.loads(options.task))))
        return
    path = RESULTS / f"{options.name}.json"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    for task in plan(options.name):
        if (options.only and task["game"] not in options.only.split(",")) or (find(task, rows_in(path)) and not options.again):
            continue
        command = [sys.executable, "-W", "ignore", __file__, options.name, "--task", json.dumps({**task, "name": options.name})]
        finished = subprocess.run(command, capture_output=True, text=True, env=environment)
        if finished.returncode:
            sys.exit(f"{task}: {finished.stderr[-2000:]}")
        done = json.loads(finished.stdout.splitlines()[-1])
        values = {m["metric"]: round(m["value"], 4) for m in done["metrics"]}
        print(json.dumps({k: done[k] for k in ("game", "data", "seed", "setting", "cpu_seconds", "images")} | values), flush=True)
        keep(path, options.name, done)


def rows_in(path: Path) -> list[dict]:
    return json.loads(path.read_text())["results"] if path.exists() else []


def find(task: dict, rows: list[dict]) -> dict | None:
    return next((row for row in rows if all(row.get(k) == v for k, v in task.items())), None)


def keep(path: Path, name: str, done: dict) -> None:
    """Put a row into the file, in the plan's order, beside those that are there by now (another process may be at it, too)."""
    rows = [done] + [row for row in rows_in(path) if any(row.get(k) != done.get(k) for k in ("game", "data", "seed", "setting"))]
    ordered = [row for task in plan(name) if (row := find(task, rows))]
    whole = {"machine": machine(), "command": f"python benchmarks/quality/measure.py {name}", "results": ordered}
    path.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
