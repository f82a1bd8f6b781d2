"""A playground in a process of its own, with small runs, in which no training can be started: python benchmarks/playground/served.py FOLDER [MOST_WAITING]"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


@dataclass
class Server:
    child: subprocess.Popen
    address: str
    token: str


@contextlib.contextmanager
def process(runs: Path, most_waiting: int = 256) -> Iterator[Server]:
    """The server, until the block ends. ``runs``: a folder that is made, with runs of a moment's training."""
    command = [sys.executable, __file__, str(runs), str(most_waiting)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        guard = threading.Timer(180, child.kill)  # a server that says nothing must not hold up the benchmark
        guard.start()
        try:
            found = re.fullmatch(r"(http://[\w.:]+)/\?token=([\w-]+)\n", child.stdout.readline())
            guard.cancel()
            yield Server(child, found[1], found[2])
        finally:
            guard.cancel()
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()


def resident(pid: int) -> float:
    """MB of memory that a process holds now (Linux)."""
    return round(int(re.search(r"VmRSS:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024, 1)


def peak(pid: int) -> float:
    """MB that it held at most."""
    return round(int(re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024, 1)


def main(folder: str, most_waiting: str) -> None:
    import agon
    from agon.playground.desk import Desk
    from agon.playground.serve import launch

    root = Path(folder)
    agon.train("dcgan", data="digits", preset="tiny", steps=2, out=root / "digits")
    agon.train("gan", data="toy:ring8", preset="tiny", steps=4, out=root / "ring")
    (root / "broken").mkdir()
    (root / "broken" / "config.json").write_text("{ this is no JSON", encoding="utf-8")
    made = launch(Desk(root, most_trainings=0, most_waiting=int(most_waiting)))
    print(made.address, flush=True)
    made.serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
