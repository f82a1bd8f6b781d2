"""CPU time of StyleGAN2's step, Agon's networks against the usual formulation: python benchmarks/speed/stylegan2.py [--rounds 7] [--out FILE]

64x64x3, channel_base 8192, batch 8, one thread. A step is what the paper's is on average: the generator's and the discriminator's non-saturating
logistic losses, a 16th of an R1 penalty, a quarter of a path-length penalty on half the batch; gradients only, no optimizer. The objectives are plain
torch on both sides, the usual formulation is tests/networks/stylegan2_plain.py (weights expanded per sample, grouped convolutions, the filter on its
own), with the same weights. The sides alternate within every round in one process, forwards and backwards, and ratios are taken within the round. "fp32"
is float32 in torch's default layout; "bf16" has channels_last and autocast around the losses, its penalties are float32 (as Agon trains). Peak memory
is that of a process of its own per side, every phase run once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn.functional as F

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1]), str(HERE.parents[1] / "tests" / "networks")]

import stylegan2_plain as plain  # noqa: E402
from compare import machine  # noqa: E402

from agon.data.source import DataSpec  # noqa: E402
from agon.game import SeededDraws  # noqa: E402
from agon.networks import stylegan2  # noqa: E402

BARS = {"bf16": 1.8, "fp32": 1.35}
SIDES = ("plain", "fp32", "bf16")
SHARE = {"g_main": 1.0, "d_main": 1.0, "r1": 1 / 16, "path_length": 1 / 4}
BATCH, SIZE = 8, 64


def config(**fields) -> SimpleNamespace:
    usual = {
        "latent_dim": 512, "w_dim": 512, "mapping_layers": 8, "mapping_lr": 0.01, "channel_base": 8192, "channel_max": 512, "base_size": 4, "clamp": 256.0,
        "generator_architecture": "skip", "discriminator_architecture": "resnet", "minibatch_std": 4, "minibatch_std_channels": 1,
        "discriminator_mapping_layers": 8, "noise": True,
    }  # fmt: skip
    return SimpleNamespace(**usual | fields)


class Ours:
    def __init__(self, layout: torch.memory_format):
        torch.manual_seed(0)
        spec = DataSpec("image", (3, SIZE, SIZE))
        self.g, self.d = (make(config(), spec, 0).to(memory_format=layout) for make in (stylegan2.generator, stylegan2.discriminator))
        self.layout, self.draws = layout, SeededDraws(torch.Generator().manual_seed(3))
        self.g_weights, self.d_weights = list(self.g.parameters()), list(self.d.parameters())

    def styles(self, z):
        return self.g.mapping(z)

    def synthesis(self, w):
        return self.g.synthesis(w, self.draws)

    def judge(self, x):
        return self.d(x.contiguous(memory_format=self.layout))


class Plain:
    def __init__(self):
        ours = Ours(torch.contiguous_format)
        self.g = {name: value.clone() for name, value in ours.g.state_dict().items()}
        self.d = {name: value.clone() for name, value in ours.d.state_dict().items()}
        self.names, self.num_ws, self.draws = ours.g.synthesis.blocks, ours.g.num_ws, ours.draws
        self.g_weights = [self.g[name].requires_grad_() for name, _ in ours.g.named_parameters()]
        self.d_weights = [self.d[name].requires_grad_() for name, _ in ours.d.named_parameters()]

    def styles(self, z):
        return plain.mapping(self.g, "mapping.", z, None, 8)[:, None].repeat(1, self.num_ws, 1)

    def synthesis(self, w):
        noise = {}
        for name in self.names:
            for layer in ("conv0", "conv1"):
                side = int(name[1:])
                noise[f"{name}.{layer}"] = self.draws.normal(len(w), 1, side, side)
        return plain.synthesis(self.g, w, self.names, noise, clamp=256.0)

    def judge(self, x):
        return plain.discriminator(self.d, x, None, self.names[::-1], clamp=256.0)


def g_main(nets, z, real):
    F.softplus(-nets.judge(nets.synthesis(nets.styles(z)))).mean().backward(inputs=nets.g_weights)


def d_main(nets, z, real):
    with torch.no_grad():
        fake = nets.synthesis(nets.styles(z))
    (F.softplus(nets.judge(fake)).mean() + F.softplus(-nets.judge(real)).mean()).backward(inputs=nets.d_weights)


def r1(nets, z, real):
    real = real.clone().requires_grad_()
    (slope,) = torch.autograd.grad(nets.judge(real).sum(), real, create_graph=True)
    (slope.square().sum((1, 2, 3)).mean() * 5 * 16).backward(inputs=nets.d_weights)


def path_length(nets, z, real):
    w = nets.styles(z[: BATCH // 2])
    fake = nets.synthesis(w)
    noise = torch.randn(fake.shape, generator=torch.Generator().manual_seed(5)) / math.sqrt(SIZE * SIZE)
    (slope,) = torch.autograd.grad((fake * noise).sum(), w, create_graph=True)
    lengths = slope.square().sum(2).mean(1).sqrt()
    ((lengths - 0.5).square().mean() * 2 * 4).backward(inputs=nets.g_weights)


PHASES = {"g_main": g_main, "d_main": d_main, "r1": r1, "path_length": path_length}


def side(name: str):
    """(networks, whether the losses run in bf16)."""
    return Plain() if name == "plain" else Ours(torch.channels_last)


def phase(name: str, which: str, nets, z, real) -> float:
    """CPU seconds of one phase of a side; its gradients are dropped."""
    half = which == "bf16" and name in ("g_main", "d_main")
    start = time.process_time()
    with torch.autocast("cpu", torch.bfloat16) if half else contextlib.nullcontext():
        PHASES[name](nets, z, real)
    seconds = time.process_time() - start
    for weight in nets.g_weights + nets.d_weights:
        weight.grad = None
    return seconds


def inputs():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(BATCH, 512, generator=generator), torch.rand(BATCH, 3, SIZE, SIZE, generator=generator) * 2 - 1


def memory(which: str) -> None:
    torch.set_num_threads(1)
    nets, (z, real) = side(which), inputs()
    before = peak_kb()
    for name in PHASES:
        phase(name, which, nets, z, real)
    print(json.dumps({"peak_mb": round(peak_kb() / 1024, 1), "before_mb": round(before / 1024, 1)}))


def peak_kb() -> int:
    """This process's own peak: ``getrusage`` begins with the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def measure(rounds: int) -> dict:
    nets, (z, real) = {which: side(which) for which in SIDES}, inputs()
    seen: dict = {which: {name: [] for name in PHASES} for which in SIDES}
    for turn in range(-1, rounds):  # the first is not counted
        for name in PHASES:
            for which in SIDES if turn % 2 == 0 else reversed(SIDES):
                seconds = phase(name, which, nets[which], z, real)
                if turn >= 0:
                    seen[which][name].append(seconds)
    result = {}
    for which in SIDES:
        steps = [sum(SHARE[name] * seen[which][name][i] for name in PHASES) for i in range(rounds)]
        result[which] = {"step_cpu_seconds": round(statistics.median(steps), 3)}
        result[which] |= {name: round(statistics.median(times), 3) for name, times in seen[which].items()}
        seen[which]["step"] = steps
        if which != "plain":
            ratios = {name: sorted(a / b for a, b in zip(seen["plain"][name], seen[which][name], strict=True)) for name in [*PHASES, "step"]}
            result[which] |= {f"ratio_{name}": round(statistics.median(values), 3) for name, values in ratios.items()}
            result[which] |= {"ratio_min": round(ratios["step"][0], 3), "ratio_max": round(ratios["step"][-1], 3), "bar": BARS[which]}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", choices=SIDES)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.memory:
        memory(options.memory)
        return
    torch.set_num_threads(1)
    results = {"machine": machine(), "rounds": options.rounds, "results": measure(options.rounds)}
    for which in SIDES:
        done = subprocess.run(
            [sys.executable, __file__, "--memory", which], capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        results["results"][which] |= json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(results, indent=1))
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
