"""Do the metrics order known damage rightly? Real pictures against other real pictures that were damaged in five ways, at three strengths each.

    python benchmarks/quality/truth.py [--data digits,shapes] [--seeds 3]

Half of the pictures are the reals, the other half, damaged, the fakes:

* blur: Gaussian; noise: Gaussian, clipped; dropped: classes that never appear; duplicates: fewer distinct pictures, each repeated; memorised: a part
  of the fakes are copies of reals.

A row of benchmarks/results/truth.json is one metric under one damage: its values at strengths 0 to 3 (median over the seeds: each splits the pictures
anew) and a verdict. "right": every strength is worse than the one before it, by the metric's own direction; "wrong": the strongest damage scores
better than none, beyond the spread of the undamaged values over the seeds; "blind": anything else. A metric that refuses what is left of the samples
(a class gone) is judged by the strengths before. Memorised fakes are better samples to most metrics: only those that look for copies can see it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from agon.data import open_dataset  # noqa: E402
from agon.metrics import catalog  # noqa: E402
from agon.metrics.evaluate import measure  # noqa: E402
from agon.metrics.samples import Samples  # noqa: E402
from agon.metrics.sides import as_stored  # noqa: E402

RESULTS = Path(__file__).resolve().parents[1] / "results" / "truth.json"
STRENGTHS = {
    "blur": (0.5, 0.8, 1.2),  # standard deviation in pixels
    "noise": (0.1, 0.2, 0.4),  # standard deviation, pictures in [-1, 1]
    "dropped": (0.2, 0.5, 0.8),  # share of the classes
    "duplicates": (0.5, 0.1, 0.02),  # distinct pictures, as a share of the fakes
    "memorised": (0.1, 0.4, 1.0),  # share of the fakes
}
FEATURES = (
    "frechet", "fid", "fid_infinity", "kid", "kid_subsets", "precision", "recall", "density", "coverage", "authenticity", "intra_fid", "inception_score",
)  # fmt: skip
PIXELS = ("near_copies", "pixel_sliced_wasserstein", "swd", "spectra", "ms_ssim_diversity", "wasserstein2", "cas")
EXTRACTORS = {"digits": ("digits", "random"), "shapes": ("random",)}
# 448 features need more pictures than these
LEAVE = {"digits": ("fid_infinity_random", "fid_random", "intra_fid_random"), "shapes": ("fid_infinity_random", "intra_fid_random")}
COUNTS = {"digits": 898, "shapes": 1500}


def pictures(data: str) -> tuple[Tensor, np.ndarray]:
    """Float pictures in [-1, 1] and their classes."""
    source = open_dataset("digits") if data == "digits" else open_dataset("shapes", size=32, length=2 * COUNTS["shapes"], label="shape")
    batch = source.read(np.arange(len(source)))
    return batch.real, batch.label.numpy()


def blurred(fake: Tensor, sigma: float) -> Tensor:
    radius = int(np.ceil(3 * sigma))
    line = torch.exp(-(torch.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    line = (line / line.sum()).view(1, 1, 1, -1)
    flat = F.pad(fake.flatten(0, 1)[:, None], [radius] * 4, mode="replicate")
    return F.conv2d(F.conv2d(flat, line), line.transpose(2, 3)).view_as(fake)


def damaged(
    damage: str, strength: float, fake: Tensor, label: np.ndarray, real: Tensor, real_label: np.ndarray, random: np.random.Generator
) -> tuple[Tensor, np.ndarray]:
    """The fakes and their classes after one damage; as many as before."""
    count = len(fake)
    if damage == "blur":
        return blurred(fake, strength), label
    if damage == "noise":
        return (fake + strength * torch.from_numpy(random.standard_normal(fake.shape).astype(np.float32))).clamp(-1, 1), label
    if damage == "memorised":
        copies = random.permutation(count)[: int(strength * count)]
        made, classes = fake.clone(), label.copy()
        made[copies], classes[copies] = real[copies], real_label[copies]
        return made, classes
    if damage == "dropped":
        classes = np.unique(label)
        pool = np.flatnonzero(label >= classes[round(strength * len(classes))])
    else:
        pool = random.permutation(count)[: max(1, int(strength * count))]
    chosen = np.concatenate([random.permutation(pool) for _ in range(-(-count // len(pool)))])[:count]
    return fake[torch.from_numpy(chosen)], label[chosen]


def names_for(data: str) -> list[str]:
    """The metrics that are tried on a data set: those in features with each of its extractors, those in pixels."""
    named = [f"{name}_{extractor}" for extractor in EXTRACTORS[data] for name in FEATURES if not (name == "inception_score" and extractor == "random")]
    return [name for name in [*named, *PIXELS] if name not in LEAVE[data]]


def run(data: str, seed: int) -> dict[tuple[str, int], dict[str, float]]:
    """(damage, step) -> values by metric, for one split of the pictures."""
    samples, labels = pictures(data)
    order = np.random.default_rng(seed).permutation(len(samples))
    count = COUNTS[data]
    real, fake = (samples[torch.from_numpy(part)] for part in (order[:count], order[count : 2 * count]))
    real_label, label = labels[order[:count]], labels[order[count : 2 * count]]
    wanted, found = catalog.asked(names_for(data)), {}
    for damage, strengths in STRENGTHS.items():
        for step, strength in enumerate((0.0, *strengths)):
            if step == 0 and found:
                found[damage, 0] = found["blur", 0]
                continue
            made, classes = (fake, label) if step == 0 else damaged(damage, strength, fake, label, real, real_label, np.random.default_rng([seed, step]))
            both = Samples.of_arrays(*(as_stored(part, "image").numpy() for part in (real, made)), real_label=real_label, fake_label=classes)
            found[damage, step] = {entry["metric"]: entry["value"] for entry in measure(both, wanted) if "value" in entry}
            print(f"{data} seed {seed} {damage} {strength}: {len(found[damage, step])} metrics", flush=True)
    return found


def verdict(name: str, medians: list[float | None], undamaged: list[float]) -> str:
    """ "right", "blind" or "wrong": see the head of this file."""
    values, undamaged = [distance(name, value) for value in medians if value is not None], [distance(name, value) for value in undamaged]
    steps, spread = np.diff(values), np.ptp(undamaged)
    if (steps > 0).all() and values[-1] - values[0] > spread:
        return "right"
    return "wrong" if values[-1] - values[0] < -spread else "blind"


def distance(name: str, value: float) -> float:
    """A value so turned that more is worse."""
    metric = catalog.parse(name).metric
    if metric.name == "density":
        return abs(value - 1)  # more than 1 is crowding, less is straying
    return -value if metric.better == "higher" or metric.name == "authenticity" else value


def rows(data: str, found: list[dict]) -> list[dict]:
    made = []
    for name in names_for(data):
        if name not in found[0]["blur", 0]:
            continue
        undamaged = [one["blur", 0][name] for one in found]
        for damage in STRENGTHS:
            values = [[one[damage, step][name] for one in found if name in one[damage, step]] for step in range(4)]
            medians = [float(np.median(each)) if each else None for each in values]  # None: too few samples were left for it, and it said so
            made.append({"data": data, "metric": name, "damage": damage, "values": medians, "verdict": verdict(name, medians, undamaged)})
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits,shapes")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for data in arguments.data.split(","):
        started = time.process_time()
        made = rows(data, [run(data, seed) for seed in range(arguments.seeds)])
        write(arguments.out, data, made, arguments.seeds, round(time.process_time() - started))


def write(path: Path, data: str, made: list[dict], seeds: int, seconds: int) -> None:
    """One data set's rows into the file; those of others stay."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"results": [], "cpu_seconds": {}}
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), platform.machine())
    others = [row for row in content["results"] if row["data"] != data]
    content = {
        "command": f"python benchmarks/quality/truth.py --seeds {seeds}", "machine": {"cpu": cpu, "cores": os.cpu_count(), "torch": torch.__version__},
        "counts": COUNTS, "strengths": STRENGTHS, "cpu_seconds": {**content["cpu_seconds"], data: seconds},
        "results": sorted([*others, *made], key=lambda row: row["data"]),
    }  # fmt: skip
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
