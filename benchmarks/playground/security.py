"""Does anything that is asked make the server fail: python benchmarks/playground/security.py [--number 260] [--seed 0] [--out FILE]

A server process of its own, with small runs that are there (of images and of points, and a broken one), is sent the requests that schemathesis makes from its
description: for each operation ``--number``, three fifths valid and two fifths not, and bodies by hand that are no good JSON, all with the token. The bar: at
least 5,000 requests, none answered with 500 or above, none left without an answer, none answered in a way that the description does not know. No training can
be started meanwhile. Memory is the server process's, at the start and at the end.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "speed"), str(HERE.parents[1] / "tests" / "playground"), str(HERE.parents[1])]

from compare import machine  # noqa: E402
from served import process, resident  # noqa: E402

BAR = 5000


def measure(number: int, seed: int) -> dict:
    import requests
    from fuzzing import Fuzzer, Known

    with tempfile.TemporaryDirectory() as folder, process(Path(folder) / "runs") as server:

        def ask(path: str) -> dict:
            return requests.get(server.address + path, headers={"X-Agon-Token": server.token}, timeout=60).json()

        document, known, begun, before = ask("/openapi.json"), Known.of(ask), time.perf_counter(), resident(server.child.pid)
        fuzzer = Fuzzer(server.address, server.token, known, number=number, start=seed)
        report = fuzzer.run(document)
        by_hand = report.by_hand
        return {
            "bar": BAR, "cases": report.cases - by_hand, "cases_by_hand": by_hand, "operations": len(report.operations), "seed": seed,
            "statuses": {str(status): count for status, count in sorted(report.statuses.items())},
            "faults": report.faults[:20], "num_faults": len(report.faults),
            "surprises": dict(report.surprises.most_common(20)), "seconds": round(time.perf_counter() - begun, 1),
            "memory_mb": {"start": before, "end": resident(server.child.pid)}, "alive": server.child.poll() is None,
        }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=260)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    command = f"python benchmarks/playground/security.py --number {options.number} --seed {options.seed}"
    schemathesis = subprocess.run([sys.executable, "-c", "import schemathesis as s; print(s.__version__)"], capture_output=True, text=True, check=True)
    result = {"machine": machine(), "command": command, "schemathesis": schemathesis.stdout.strip(), **measure(options.number, options.seed)}
    print(json.dumps(result, indent=1))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    good = result["cases"] >= BAR and not result["num_faults"] and not result["surprises"] and result["alive"]
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
