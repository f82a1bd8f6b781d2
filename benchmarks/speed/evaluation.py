"""A whole evaluation as a user runs it: 10,000 against 10,000 picture files, memory and time: python benchmarks/speed/evaluation.py [--count 10000]
[--out FILE]

Two folders of PNG files of the data set 'shapes' (128x128) are written; then ``agon evaluate --real A --fake B --metrics
fid,kid,precision,recall,density,coverage`` runs twice as a process of its own, with Inception in random weights (numbers mean nothing, costs do not
depend on them). The second time finds the features of both folders on the disk. Reported: peak memory of the process, wall and CPU seconds, all
cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
METRICS = "fid,kid,precision,recall,density,coverage"
BAR_MB = 2000


def write_pictures(folder: Path, start: int, count: int) -> None:
    from PIL import Image

    from agon.data import open_dataset

    folder.mkdir()
    source = open_dataset("shapes", size=128, length=start + count)
    for first in range(0, count, 500):
        rows = np.arange(start + first, start + min(count, first + 500))
        pictures = source.read(rows).real.add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        for row, picture in zip(rows, pictures, strict=True):
            Image.fromarray(picture).save(folder / f"{row:06d}.png", compress_level=1)


def write_weights(path: Path) -> None:
    """Inception's names and shapes with random values of sensible size."""
    from safetensors.torch import save_file

    from agon.metrics.features.inception import shapes

    random, state = torch.Generator().manual_seed(0), {}
    for name, shape in shapes().items():
        if name.endswith("running_var") or (name.endswith("bn.weight")):
            state[name] = torch.ones(shape)
        elif len(shape) > 1:
            state[name] = torch.randn(shape, generator=random) * (2 / np.prod(shape[1:])) ** 0.5
        else:
            state[name] = torch.zeros(shape)
    save_file(state, path)


def evaluate(real: Path, fake: Path, weights: Path, cache: Path, precision: str) -> dict:
    command = [sys.executable, "-m", "agon", "evaluate", "--real", str(real), "--fake", str(fake), "--metrics", METRICS, "--precision", precision,
               "--weights", f"inception={weights}", "--json"]  # fmt: skip
    environment = {**os.environ, "AGON_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, f"the evaluation failed: {' '.join(command)}"
    found = {entry["metric"]: entry["value"] for entry in json.loads(output)["results"] if "value" in entry}
    assert set(found) == set(METRICS.split(",")), found
    return {
        "peak_mb": round(usage.ru_maxrss / 1024), "wall_seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1), "values": found,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--precision", default="bf16", choices=("fp32", "bf16"))
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "evaluation.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_pictures(folder / "real", 0, options.count)
        write_pictures(folder / "fake", options.count, options.count)
        write_weights(folder / "inception.safetensors")
        first, second = (evaluate(folder / "real", folder / "fake", folder / "inception.safetensors", folder / "cache", options.precision) for _ in range(2))
    assert first["values"] == second["values"]
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), platform.machine())
    content = {
        "machine": {"cpu": cpu, "cores": os.cpu_count(), "torch": torch.__version__},
        "command": f"python benchmarks/speed/evaluation.py --count {options.count} --precision {options.precision}", "count": options.count, "bar_mb": BAR_MB,
        "metrics": METRICS, "precision": options.precision, "first": first, "second, features from the disk": second,
    }  # fmt: skip
    options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
