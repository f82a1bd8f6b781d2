"""Images per CPU-second of Agon against a textbook loop, paired: python benchmarks/speed/compare.py [--rounds 7] [--cases dcgan,sngan] [--out FILE]

Each measurement is a process of its own with one thread; textbook, Agon in bf16 and Agon in float32 alternate within every round, forwards and
backwards, and the ratio is taken within the round, so that a machine whose speed drifts does not matter. Agon runs as shipped: its trainer, data
reading, guard against non-finite numbers, moving average (the textbook has none) and log records included.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
BARS = {"dcgan": 3.0, "sngan": 2.4, "wgan_gp": 2.2, "gan": 2.0}
SIDES = ("textbook", "bf16", "fp32")
STEPS = {"dcgan": (4, 20), "sngan": (2, 6), "wgan_gp": (5, 30), "gan": (20, 150)}
FIELDS = {
    "dcgan": {"batch_size": 64, "latent_dim": 100, "width": 64},
    "sngan": {"batch_size": 16, "latent_dim": 128, "width": 64, "discriminator_width": 64},
    "wgan_gp": {"batch_size": 64, "network": "mlp", "generator_norm": "none", "optimizer.lr": 2e-4, "optimizer.beta1": 0.5, "optimizer.beta2": 0.999},
    "gan": {"batch_size": 64},
}
SHAPES = {"dcgan": (3, 32, 32), "sngan": (3, 32, 32), "wgan_gp": (1, 28, 28), "gan": (1, 28, 28)}


def agon_step(case: str, precision: str):
    import torch

    from agon import catalog
    from agon.config import build
    from agon.data.source import ArraySource, DataSpec
    from agon.train.trainer import Trainer, images_per_step

    pixels = torch.randint(0, 256, (2048, *SHAPES[case]), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)).numpy()
    source = ArraySource("synthetic", DataSpec("image", SHAPES[case]), pixels)
    cls = catalog.load(case)
    config = build(cls.Config, {"images": 10_000_000, "precision": precision, **FIELDS[case]})
    torch.manual_seed(0)
    trainer = Trainer(cls(config, source.spec), source, device="cpu")
    assert trainer.precision == precision, f"this processor has no native {precision}"
    return lambda i: trainer.advance(), images_per_step(trainer.stages, config.batch_size)


def work(case: str, side: str) -> None:
    import torch

    torch.set_num_threads(1)
    if side == "textbook":
        sys.path.insert(0, str(HERE))
        from textbook import CASES

        step, images, _ = CASES[case]()
    else:
        step, images = agon_step(case, side)
    warm, counted = STEPS[case]
    for i in range(warm):
        step(i)
    start = time.process_time()
    for i in range(counted):
        step(warm + i)
    seconds = time.process_time() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"images_per_cpu_second": images * counted / seconds, "peak_mb": memory}))


def measure(case: str, rounds: int) -> dict:
    seen: dict[str, list[dict]] = {side: [] for side in SIDES}
    for turn in range(rounds):
        for side in SIDES if turn % 2 == 0 else reversed(SIDES):
            done = subprocess.run(
                [sys.executable, __file__, "--work", case, side], capture_output=True, text=True, check=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])},
            )  # fmt: skip
            seen[side].append(json.loads(done.stdout.splitlines()[-1]))
    result: dict = {"case": case, "bar": BARS[case], "rounds": rounds}
    for side in SIDES:
        speeds = [entry["images_per_cpu_second"] for entry in seen[side]]
        result[side] = {"images_per_cpu_second": round(statistics.median(speeds), 1), "peak_mb": round(statistics.median(e["peak_mb"] for e in seen[side]), 1)}
        if side != "textbook":
            ratios = sorted(a["images_per_cpu_second"] / b["images_per_cpu_second"] for a, b in zip(seen[side], seen["textbook"], strict=True))
            result[side] |= {"ratio_median": round(statistics.median(ratios), 3), "ratio_min": round(ratios[0], 3), "ratio_max": round(ratios[-1], 3)}
    return result


def machine() -> dict:
    import torch

    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "?")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE).stdout.strip()
    return {"cpu": cpu, "cores": os.cpu_count(), "threads_used": 1, "torch": torch.__version__, "python": platform.python_version(), "commit": commit}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", nargs=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cases", default=",".join(BARS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.work:
        work(*options.work)
        return
    results = {"machine": machine(), "results": []}
    for case in options.cases.split(","):
        results["results"].append(measure(case, options.rounds))
        print(json.dumps(results["results"][-1]), flush=True)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
