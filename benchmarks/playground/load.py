"""Many clients at once: python benchmarks/playground/load.py [--rounds 3] [--out FILE]

A server process of its own with a small run. steady: 50 clients ask for 1,000 samples, 20 each, one after the other. burst: 1,000 samples are asked for at
once, on 500 connections, of a line that holds 256: what finds no room is told so (429) and asks again. In both, every answer must be byte for byte what
``agon sample`` makes of its seed (made here, by the library), and none may be lost. Memory is the server process's: before, and the most it held; bar: 200 MB
more.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "speed"), str(HERE.parents[1])]

from compare import machine  # noqa: E402
from served import peak, process, resident  # noqa: E402

CASES = {"steady": (50, 20), "burst": (500, 2)}
"""Clients, and what each asks for."""
MOST_MB = 200
COUNT, SECONDS = 4, 120


class Client(threading.Thread):
    """Asks for seeds, one after the other, on one connection; asks again where it is told to."""

    def __init__(self, server, run: str, seeds: list[int], start: threading.Barrier):
        super().__init__(daemon=True)
        self.server, self.named, self.seeds, self.barrier = server, run, seeds, start
        self.answers: dict[int, bytes] = {}
        self.waits: list[float] = []
        self.refused, self.faults = 0, []

    def run(self) -> None:
        line = HTTPConnection(urlsplit(self.server.address).netloc, timeout=SECONDS)
        line.connect()
        self.barrier.wait(SECONDS)
        for seed in self.seeds:
            begun = time.perf_counter()
            while True:
                status, content = self.ask(line, seed)
                if status != 429:
                    break
                self.refused += 1
                time.sleep(0.2)
            self.waits.append(1000 * (time.perf_counter() - begun))
            if status == 200:
                self.answers[seed] = content
            else:
                self.faults.append(f"{status}: {content[:200]!r}")
        line.close()

    def ask(self, line: HTTPConnection, seed: int) -> tuple[int, bytes]:
        body = json.dumps({"run": self.named, "n": COUNT, "seed": seed})
        try:
            line.request("POST", "/api/sample", body, {"X-Agon-Token": self.server.token, "Content-Type": "application/json"})
            answer = line.getresponse()
            return answer.status, answer.read()
        except OSError as error:
            return 0, repr(error).encode()


def measure(case: str, rounds: int) -> dict:
    clients, each = CASES[case]
    with tempfile.TemporaryDirectory() as folder, process(Path(folder) / "runs") as server:
        name, expected = made_here(Path(folder) / "runs" / "digits", clients * each)
        once(server, name, [[0]])  # the run is open, as for everybody but the very first
        before, found = resident(server.child.pid), []
        for _ in range(rounds):
            begun = time.perf_counter()
            done = once(server, name, [list(range(client * each, (client + 1) * each)) for client in range(clients)])
            answers = {seed: content for client in done for seed, content in client.answers.items()}
            waits = sorted(wait for client in done for wait in client.waits)
            found.append({
                "seconds": time.perf_counter() - begun, "ms": statistics.median(waits), "ms_p95": waits[int(0.95 * len(waits))],
                "refused": sum(client.refused for client in done), "lost": clients * each - len(answers),
                "mixed_up": sum(content != expected[seed] for seed, content in answers.items()),
                "faults": [fault for client in done for fault in client.faults],
            })  # fmt: skip
        most = peak(server.child.pid)
    spread = {key: spread_of([each[key] for each in found]) for key in ("seconds", "ms", "ms_p95", "refused")}
    return {
        "case": case, "clients": clients, "requests": clients * each, "rounds": rounds, **spread, "lost": sum(each["lost"] for each in found),
        "mixed_up": sum(each["mixed_up"] for each in found), "faults": [fault for each in found for fault in each["faults"]][:5],
        "memory_mb": {"before": before, "most": most, "bar": MOST_MB},
    }  # fmt: skip


def once(server, name: str, seeds: list[list[int]]) -> list[Client]:
    start = threading.Barrier(len(seeds))
    clients = [Client(server, name, some, start) for some in seeds]
    for client in clients:
        client.start()
    for client in clients:
        client.join(SECONDS * 3)
    return clients


def made_here(folder: Path, count: int) -> tuple[str, list[bytes]]:
    """The run's id, and the file of every seed as the library makes it."""
    from agon.media import encoded
    from agon.playground.library import id_of
    from agon.run import Run

    run = Run(folder.resolve(), None)
    return id_of(folder.resolve()), [encoded(run.sample(COUNT, seed=seed), ".png") for seed in range(count)]


def spread_of(values: list[float]) -> dict:
    return {"median": round(statistics.median(values), 1), "min": round(min(values), 1), "max": round(max(values), 1)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result = {"machine": machine(), "command": f"python benchmarks/playground/load.py --rounds {options.rounds}", "results": []}
    for case in CASES:
        result["results"].append(measure(case, options.rounds))
        print(json.dumps(result["results"][-1]), flush=True)
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    return int(any(each["lost"] or each["mixed_up"] or each["memory_mb"]["most"] - each["memory_mb"]["before"] > MOST_MB for each in result["results"]))


if __name__ == "__main__":
    sys.exit(main())
