"""The numbers from features against the usual implementations, paired: python benchmarks/speed/metrics.py [--rounds 3] [--out FILE]

``frechet``: the distance between two Gaussians of 2,048 features against ``scipy.linalg.sqrtm`` of the product of their covariances (itself not timed).
``prdc``: precision, recall, density and coverage of 10,000 against 10,000 samples of 2,048 features against the authors' package (prdc 0.2: scikit-learn's
distances, three full matrices), for features as they come (float32). One thread on both sides (the authors' 8 joblib threads are set to 1), CPU time; the
sides alternate and the figure is the median of the rounds' ratios. Peak memory is that of a process for each side that holds the features and does nothing
else, above what it held before.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from compare import machine  # noqa: E402

FEATURES, COUNT = 2048, 10_000
BARS = {"frechet": 15.0, "prdc": 3.0}


def features(count: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """(count, FEATURES) float32 with a spectrum that falls by e^-5, not negative, as pooled features of a network are."""
    random = np.random.default_rng(seed)
    drawn = random.standard_normal((count, FEATURES), np.float32) * np.exp(-np.arange(FEATURES, dtype=np.float32) / 400)
    return np.abs(drawn + shift).astype(np.float32)


def frechet_sides() -> dict:
    import scipy.linalg

    from agon.metrics.frechet import Gaussian, frechet_distance

    one, two = Gaussian(features(5000, 0)), Gaussian(features(5000, 1, 0.02))
    statistics_of = (one.mean, one.covariance, two.mean, two.covariance)
    product = statistics_of[1] @ statistics_of[3]
    difference = one.mean - two.mean
    rest = difference @ difference + np.trace(statistics_of[1]) + np.trace(statistics_of[3])
    return {
        "agon": lambda: frechet_distance(*statistics_of),
        "usual": lambda: float(rest - 2 * np.trace(scipy.linalg.sqrtm(product)).real),
    }


def prdc_sides() -> dict:
    from prdc import prdc as theirs

    from agon.metrics.prdc import prdc

    distances = theirs.sklearn.metrics.pairwise_distances
    theirs.sklearn.metrics.pairwise_distances = lambda *points, n_jobs, **how: distances(*points, n_jobs=1, **how)
    real, fake = features(COUNT, 0), features(COUNT, 1, 0.02)

    def usual() -> dict:
        with contextlib.redirect_stdout(sys.stderr):
            return {name: float(value) for name, value in theirs.compute_prdc(real, fake, nearest_k=5).items()}

    return {"agon": lambda: prdc(real, fake), "usual": usual}


CASES = {"frechet": frechet_sides, "prdc": prdc_sides}


def measure(case: str, rounds: int) -> dict:
    sides = CASES[case]()
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    values = {}
    for index in range(rounds):
        for side in list(sides) if index % 2 else reversed(list(sides)):
            start = time.process_time()
            values[side] = sides[side]()
            seconds[side].append(time.process_time() - start)
    ratios = sorted(usual / agon for usual, agon in zip(seconds["usual"], seconds["agon"], strict=True))
    return {
        "case": case, "bar": BARS[case], "rounds": rounds, "median": round(statistics.median(ratios), 2),
        "min": round(ratios[0], 2), "max": round(ratios[-1], 2),
        "cpu_seconds": {side: [round(value, 2) for value in found] for side, found in seconds.items()}, "values": values,
        "peak_mb_beyond_features": {side: peak_memory(case, side) for side in sides},
    }  # fmt: skip


def peak_memory(case: str, side: str) -> float:
    """MB beyond the features, of a process that does nothing but this side once."""
    done = subprocess.run([sys.executable, __file__, "--memory", case, side], capture_output=True, text=True, check=True)
    return float(done.stdout)


def once_for_memory(case: str, side: str) -> None:
    run = CASES[case]()[side]

    def held(what: str) -> int:
        return int(re.search(rf"{what}:\s*(\d+)", Path("/proc/self/status").read_text())[1])

    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = held("VmRSS")
    run()
    print(round((held("VmHWM") - before) / 1024, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", default="frechet,prdc")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory:
        once_for_memory(*options.memory)
        return
    results = {"machine": machine(), "results": [measure(case, options.rounds) for case in options.cases.split(",")]}
    print(json.dumps(results["results"], indent=1))
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
