"""The translators' training step against a textbook loop, paired: python benchmarks/speed/translation.py [--rounds 5] [--cases pix2pix] [--out FILE]

One training step at batch 1 with the published networks: cyclegan at 128x128 (6 residual blocks, identity, pool), pix2pix at 256x256. The textbook is the
single-file twin of examples/, whose losses tests/examples/test_translation_twins.py holds to Agon's: float32, default layout, Adam as it comes, a forward pass
for each use. Agon runs as shipped, in bf16 and in float32: trainer, data, guard against non-finite numbers and log records included. Each measurement is a
process of its own with one thread; sides alternate within every round, and ratios of images per CPU-second are taken within the round.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]
BARS = {"cyclegan": 1.5, "pix2pix": 1.5}
SIDES = ("textbook", "bf16", "fp32")
SIZE = {"cyclegan": 128, "pix2pix": 256}
FIELDS = {"cyclegan": {"blocks": 6}, "pix2pix": {}}
WARM, COUNTED = 2, 4
LENGTH = 16


def pictures(size: int):
    """(inputs, targets), uint8 arrays of fixed random bytes: the content does not matter for speed."""
    import numpy as np

    return np.random.default_rng(1).integers(0, 256, (2, LENGTH, 3, size, size), dtype=np.uint8)


def agon_step(case: str, precision: str):
    from dataclasses import replace

    import torch

    from agon import catalog
    from agon.config import build
    from agon.data.source import ArraySource, DataSpec
    from agon.train.trainer import Trainer

    class Both(ArraySource):
        def read(self, indices, *, seed=0, epoch=0):
            batch = super().read(indices, seed=seed, epoch=epoch)
            batch.source = given.read(indices).real
            return batch

    inputs, targets = pictures(SIZE[case])
    plain = DataSpec("image", inputs.shape[1:])
    given, source = ArraySource("inputs", plain, inputs), Both("targets", plain, targets)
    source.spec = replace(plain, source_shape=inputs.shape[1:], source_kind="picture", paired=case == "pix2pix")
    cls = catalog.load(case)
    torch.manual_seed(0)
    trainer = Trainer(cls(build(cls.Config, {"precision": precision, **FIELDS[case]}), source.spec), source, device="cpu")
    assert trainer.precision == precision, f"this processor has no native {precision}"
    return lambda i: trainer.advance()


def textbook_step(case: str):
    import torch

    spec = importlib.util.spec_from_file_location(f"twin_{case}", HERE.parents[1] / "examples" / f"{case}.py")
    twin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(twin)
    torch.manual_seed(0)
    inputs, targets = (torch.from_numpy(side).float().div(127.5).sub(1) for side in pictures(SIZE[case]))
    if case == "pix2pix":
        nets = [network.apply(twin.init_weights) for network in (twin.unet(3, 3, 64, 8), twin.patch_discriminator(6, 64, 3))]
        adams = [twin.adam(network) for network in nets]
        return lambda i: twin.train_step(*nets, *adams, inputs[i % LENGTH][None], targets[i % LENGTH][None])
    nets = [twin.translator(3, 64, 6).apply(twin.init_weights) for _ in range(2)]
    nets += [twin.patch_discriminator(3, 64, 3).apply(twin.init_weights) for _ in range(2)]
    adams, pools = (twin.adam(nets[:2]), twin.adam(nets[2:])), (twin.Pool(), twin.Pool())
    return lambda i: twin.train_step(nets, *adams, pools, inputs[i % LENGTH][None], targets[i % LENGTH][None], torch.rand(2, 1, 2))


def work(case: str, side: str) -> None:
    import torch

    torch.set_num_threads(1)
    step = textbook_step(case) if side == "textbook" else agon_step(case, side)
    for i in range(WARM):
        step(i)
    start = time.process_time()
    for i in range(COUNTED):
        step(WARM + i)
    seconds = time.process_time() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"images_per_cpu_second": COUNTED / seconds, "peak_mb": memory}))


def measure(case: str, rounds: int) -> dict:
    seen: dict[str, list[dict]] = {side: [] for side in SIDES}
    for turn in range(rounds):
        for side in SIDES if turn % 2 == 0 else reversed(SIDES):
            done = subprocess.run([sys.executable, __file__, "--work", case, side], capture_output=True, text=True, check=True,
                                  env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
            seen[side].append(json.loads(done.stdout.splitlines()[-1]))
    result: dict = {"case": case, "size": SIZE[case], "bar": BARS[case], "rounds": rounds}
    for side in SIDES:
        speeds = [entry["images_per_cpu_second"] for entry in seen[side]]
        result[side] = {"images_per_cpu_second": round(statistics.median(speeds), 3), "peak_mb": round(statistics.median(e["peak_mb"] for e in seen[side]), 1)}
        if side != "textbook":
            ratios = sorted(a["images_per_cpu_second"] / b["images_per_cpu_second"] for a, b in zip(seen[side], seen["textbook"], strict=True))
            result[side] |= {"ratio_median": round(statistics.median(ratios), 3), "ratio_min": round(ratios[0], 3), "ratio_max": round(ratios[-1], 3)}
    return result


def main() -> None:
    from compare import machine

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", nargs=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", default=",".join(BARS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.work:
        work(*options.work)
        return
    results = {"machine": machine(), "command": "python benchmarks/speed/translation.py", "results": []}
    for case in options.cases.split(","):
        results["results"].append(measure(case, options.rounds))
        print(json.dumps(results["results"][-1]), flush=True)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
