"""Inception's feature pass and the clean resize, images per CPU-second: python benchmarks/speed/inception.py [--rounds 5] [--compiled] [--out FILE]

Network: Agon's extractor in float32 and bf16 (and compiled, with --compiled) against the usual eager float32 module (convolution, batch norm, ReLU, one
after another, channels first), the same random He-scaled weights, the same resize, 64x64 pictures of the data set 'shapes', batches of 16, one thread.
Sides alternate within every round, forwards and backwards; ratios are taken within the round. Resize: Agon's against Pillow's as clean-fid calls it (per
channel, float mode, clipped, joined), and torch's own antialiased bicubic on uint8 for its speed and its error. FID: two sets of 'shapes', one of them
blurred, in float32, in bf16, and mixed. CPU time is measured, wall time is given beside it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from agon.data import open_dataset  # noqa: E402
from agon.metrics.features import resize  # noqa: E402
from agon.metrics.features.inception import BLOCKS, CHAINS, KINDS, STEM, InceptionExtractor, shapes  # noqa: E402
from agon.metrics.frechet import frechet_distance  # noqa: E402

BARS = {"fp32": 1.4, "bf16": 2.4, "bf16-compiled": 3.0, "resize": 5.0}
BATCH = 16


def random_state() -> dict[str, Tensor]:
    generator, made = torch.Generator().manual_seed(0), {}
    for name, shape in shapes().items():
        numbers = torch.randn(shape, generator=generator)
        made[name] = numbers * (math.sqrt(2 / math.prod(shape[1:])) if len(shape) == 4 else 0.02 if name == "fc.weight" else 0.1)
        made[name] = numbers.abs() + 0.5 if name.endswith("running_var") else made[name] + (1 if name.endswith("bn.weight") else 0)
    return made


class Usual(nn.Module):
    """The network as it is usually written."""

    def __init__(self, state: dict[str, Tensor]):
        super().__init__()
        self.table = STEM | {f"{block}.{name}": row for block, rows in BLOCKS.items() for name, row in rows.items()}
        self.layers = nn.ModuleDict()
        for name, (inputs, outputs, kernel, stride, padding) in self.table.items():
            layer = nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False), nn.BatchNorm2d(outputs, eps=1e-3), nn.ReLU(inplace=True))
            layer[0].weight.data = state[f"{name}.conv.weight"]
            for part in ("weight", "bias", "running_mean", "running_var"):
                getattr(layer[1], part).data = state[f"{name}.bn.{part}"]
            self.layers[name.replace(".", "/")] = layer
        self.eval()

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        x = (resize.tensorflow(x) - 128) / 128
        for number, name in enumerate(STEM):
            x = self.layers[name](x)
            x = F.max_pool2d(x, 3, 2) if number in (2, 4) else x
        for block, kind in KINDS.items():
            x = torch.cat([self.chain(block, chain, x) for chain in CHAINS[kind]], 1)
        return F.adaptive_avg_pool2d(x, 1).flatten(1)

    def chain(self, block: str, chain: tuple[str, ...] | None, x: Tensor) -> Tensor:
        if chain is None:
            return F.max_pool2d(x, 3, 2)
        if chain[0] == "branch_pool":
            x = F.max_pool2d(x, 3, 1, 1) if block == "Mixed_7c" else F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        for step in chain:
            parts = [self.layers[f"{block}/{name}"](x) for name in step.split("|")]
            x = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        return x


def compare(sides: dict[str, Callable[[], object]], base: str, images: int, rounds: int) -> dict:
    """CPU and wall seconds of each side, alternating; the ratios to ``base`` of the same round."""
    seen: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    for run in sides.values():
        run()
    for turn in range(rounds):
        for side in sides if turn % 2 == 0 else reversed(sides):
            cpu, wall = time.process_time(), time.perf_counter()
            sides[side]()
            seen[side].append((time.process_time() - cpu, time.perf_counter() - wall))
    result = {}
    for side, times in seen.items():
        result[side] = {"images_per_cpu_second": round(images / statistics.median(cpu for cpu, _ in times), 2),
                        "images_per_second": round(images / statistics.median(wall for _, wall in times), 2)}
        if side != base:
            ratios = sorted(other[0] / own[0] for own, other in zip(times, seen[base], strict=True))
            result[side] |= {"ratio_median": round(statistics.median(ratios), 3), "ratio_min": round(ratios[0], 3), "ratio_max": round(ratios[-1], 3)}
    return result


def pictures(count: int, seed: int, size: int = 64) -> Tensor:
    data = open_dataset("shapes", size=size, seed=seed, length=count)
    return data.read(np.arange(count)).real.add(1).mul(127.5).round().to(torch.uint8)


def network(state: dict[str, Tensor], rounds: int, compiled: bool) -> dict:
    x = pictures(BATCH, 0)
    usual = Usual(state)
    extractors = {name: InceptionExtractor("inception", state, precision=name) for name in ("fp32", "bf16") + ("bf16-compiled",) * compiled}
    sides: dict[str, Callable[[], object]] = {"usual": lambda: usual(x)} | {name: (lambda e=e: e.run(x)) for name, e in extractors.items()}
    cpu, wall = time.process_time(), time.perf_counter()
    if compiled:
        sides["bf16-compiled"]()
    compiling = {"wall_seconds": round(time.perf_counter() - wall, 1), "cpu_seconds_without_the_compiler": round(time.process_time() - cpu, 1)}
    result = {"case": "network", "batch": BATCH, "rounds": rounds, "bars": BARS} | compare(sides, "usual", BATCH, rounds)
    exact = usual(x)
    for name, extractor in extractors.items():
        result[name]["relative_difference_of_features"] = float((extractor.run(x)["features"] - exact).norm() / exact.norm())
    if compiled:
        result["bf16-compiled"]["compilation"] = compiling
    return result


def as_clean_fid(x: np.ndarray) -> list[np.ndarray]:
    """(N, H, W, 3) uint8, picture by picture and channel by channel, as clean-fid does."""
    made = []
    for picture in x:
        planes = [np.asarray(Image.fromarray(picture[:, :, channel].astype(np.float32)).resize((299, 299), Image.Resampling.BICUBIC)).clip(0, 255)
                  for channel in range(3)]
        made.append(np.stack(planes, 2).astype(np.float32))
    return made


def resizing(rounds: int) -> list[dict]:
    results = []
    for size in (32, 64, 128, 256, 512):
        for content in ("shapes", "noise"):
            x = pictures(BATCH, 0, size) if content == "shapes" else torch.randint(0, 256, (BATCH, 3, size, size), dtype=torch.uint8)
            last = x.contiguous(memory_format=torch.channels_last)
            array = np.ascontiguousarray(x.permute(0, 2, 3, 1).numpy())
            sides = {"pillow": lambda array=array: as_clean_fid(array), "agon": lambda x=x: resize.clean(x),
                     "torch_uint8": lambda last=last: F.interpolate(last, size=(299, 299), mode="bicubic", antialias=True),
                     "torch_float32": lambda x=x: F.interpolate(x.float(), size=(299, 299), mode="bicubic", antialias=True).clamp_(0, 255)}
            result = {"case": "resize", "size": size, "pictures": content} | compare(sides, "pillow", BATCH, rounds)
            exact = np.stack(sides["pillow"]()).transpose(0, 3, 1, 2)
            for side in ("agon", "torch_uint8", "torch_float32"):
                result[side]["largest_difference_of_255"] = round(float(np.abs(sides[side]().float().numpy() - exact).max()), 5)
            results.append(result)
    return results


def effect_on_fid(state: dict[str, Tensor], count: int) -> dict:
    """Fréchet distances between ``count`` shapes and as many others, blurred; random weights, so only the differences mean anything."""
    kernel = torch.tensor([1.0, 2, 1]) / 4
    kernel = (kernel[:, None] * kernel).expand(3, 1, 3, 3)
    sets = {"real": pictures(count, 1), "other": pictures(count, 2)}
    sets["blurred"] = F.conv2d(F.pad(sets["other"].float(), (1, 1, 1, 1), mode="replicate"), kernel, groups=3).round().to(torch.uint8)
    moments = {}
    for precision in ("fp32", "bf16"):
        extractor = InceptionExtractor("inception", state, precision=precision)
        for name, x in sets.items():
            features = torch.cat([extractor.run(part)["features"] for part in x.split(64)]).double().numpy()
            moments[precision, name] = features.mean(0), np.cov(features, rowvar=False)

    def distance(first: tuple[str, str], second: tuple[str, str]) -> float:
        return float(frechet_distance(*moments[first], *moments[second]))

    result: dict = {"case": "effect of bf16 on FID", "pictures_each": count}
    for name in ("other", "blurred"):
        exact, rough = distance(("fp32", "real"), ("fp32", name)), distance(("bf16", "real"), ("bf16", name))
        mixed = distance(("fp32", "real"), ("bf16", name))
        result[name] = {"fp32": exact, "bf16": rough, "relative": rough / exact - 1, "real fp32, fake bf16": mixed, "relative when mixed": mixed / exact - 1}
    result["same pictures, fp32 against bf16"] = distance(("fp32", "real"), ("bf16", "real"))
    return result


def machine() -> dict:
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "?")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE).stdout.strip()
    flags = Path("/proc/cpuinfo").read_text().split()
    return {"cpu": cpu, "cores": os.cpu_count(), "threads_used": 1, "avx512_bf16": "avx512_bf16" in flags, "amx_bf16": "amx_bf16" in flags,
            "torch": torch.__version__, "python": platform.python_version(), "pillow": Image.__version__, "commit": commit}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=384, help="pictures in each set for the effect on FID; 0 leaves it out")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    command = "python benchmarks/speed/inception.py" + " --compiled" * options.compiled + f" --rounds {options.rounds} --count {options.count}"
    state = random_state()
    results: dict = {"machine": machine(), "command": command, "results": []}
    results["results"] += resizing(options.rounds)
    results["results"].append(network(state, options.rounds, options.compiled))
    if options.count:
        results["results"].append(effect_on_fid(state, options.count))
    for result in results["results"]:
        print(json.dumps(result), flush=True)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
