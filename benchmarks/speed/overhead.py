"""What Agon's trainer costs over a bare loop with the same tricks: python benchmarks/speed/overhead.py [--blocks 15] [--out FILE]

The bare loop is written out here for the games dcgan and gan: the same networks, bf16 blocks, fused Adam, no-grad reuse of fakes, gradients of the
mover only, the same moving average; no context, no guard against non-finite numbers, no seeds per step, no log. Both sides live in one process with
one thread and take turns in blocks of steps; the figure is the median over pairs of blocks of CPU time. Peak memory comes from a process for each side.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import torch  # noqa: E402
from compare import FIELDS, SHAPES, agon_step, machine  # noqa: E402

from agon import catalog  # noqa: E402
from agon.config import build  # noqa: E402
from agon.data.source import DataSpec  # noqa: E402
from agon.losses.adversarial import cross_entropy_discriminator, non_saturating_generator  # noqa: E402

STEPS = {"dcgan": 8, "gan": 60}


def bare_step(case: str):
    """One round of the game, by hand."""
    cls = catalog.load(case)
    config = build(cls.Config, {"images": 10_000_000, **FIELDS[case]})
    torch.manual_seed(0)
    game = cls(config, DataSpec("image", SHAPES[case])).to(memory_format=torch.channels_last)
    generator, discriminator = game.generator, game.discriminator
    average = [p.detach().clone() for p in generator.parameters()]
    players = [list(network.parameters()) for network in (generator, discriminator)]
    betas = (config.optimizer.beta1, config.optimizer.beta2)
    adam_g, adam_d = (torch.optim.Adam(p, lr=config.optimizer.lr, betas=betas, fused=True) for p in players)
    pixels = torch.randint(0, 256, (2048, *SHAPES[case]), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    coupled = any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in discriminator.modules())
    batch, order = config.batch_size, torch.randperm(2048)

    def step(i: int) -> None:
        start = i * batch % (2048 - batch)
        real = pixels[order[start : start + batch]].float().div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)
        adam_g.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16):
            fake = generator(torch.randn(batch, config.latent_dim))
            loss = non_saturating_generator(discriminator(fake))
        loss.backward(inputs=players[0])
        adam_g.step()
        fake = fake.detach()
        adam_d.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16):
            if coupled:
                on_real, on_fake = discriminator(real), discriminator(fake)
            else:
                on_real, on_fake = discriminator(torch.cat([real, fake.to(real.dtype)])).chunk(2)
            loss = cross_entropy_discriminator(on_real, on_fake)
        loss.backward(inputs=players[1])
        adam_d.step()
        if i % config.ema_every == 0:
            with torch.no_grad():
                for mean, now in zip(average, players[0], strict=True):
                    mean.lerp_(now, 0.01)

    return step


def seconds(step, first: int, count: int) -> float:
    start = time.process_time()
    for i in range(first, first + count):
        step(i)
    return time.process_time() - start


def measure(case: str, blocks: int) -> dict:
    agon, _ = agon_step(case, "bf16")
    bare, count = bare_step(case), STEPS[case]
    ratios = []
    for block in range(blocks + 1):
        pair = (agon, bare) if block % 2 else (bare, agon)
        spent = {step: seconds(step, block * count, count) for step in pair}
        if block:  # the first is a warm-up
            ratios.append(spent[agon] / spent[bare])
    ratios.sort()
    figures = {"median": round(statistics.median(ratios), 4), "min": round(ratios[0], 4), "max": round(ratios[-1], 4)}
    return {"case": case, "bar": 1.03, "blocks": blocks, **figures, "peak_mb": {side: peak_memory(case, side) for side in ("agon", "bare")}}


def peak_memory(case: str, side: str) -> float:
    """MB of a process that does nothing but some steps of this side."""
    done = subprocess.run([sys.executable, __file__, "--memory", case, side], capture_output=True, text=True, check=True)
    return float(done.stdout)


def steps_for_memory(case: str, side: str) -> None:
    step = agon_step(case, "bf16")[0] if side == "agon" else bare_step(case)
    seconds(step, 0, 2 * STEPS[case])
    status = Path("/proc/self/status").read_text()  # getrusage's peak would begin with that of the parent
    print(round(int(re.search(r"VmHWM:\s*(\d+)", status)[1]) / 1024, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=15)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory:
        steps_for_memory(*options.memory)
        return
    results = {"machine": machine(), "results": [measure(case, options.blocks) for case in STEPS]}
    print(json.dumps(results["results"], indent=1))
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
