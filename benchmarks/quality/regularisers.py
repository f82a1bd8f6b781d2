"""What R1, path length regularisation and ADA do to a small StyleGAN2: python benchmarks/quality/regularisers.py [--draw]

Five trainings on 16x16 shapes that differ in one thing each, 2 seeds; every 1,000 images a probe on the live networks with fixed samples:

* ``slope``: mean squared gradient of D at 256 real pictures it was trained on (what R1 holds down)
* ``unevenness``: standard deviation of |J^T y| over its mean, at 256 latents (what path length regularisation holds down)
* ``sign``: mean sign of D at those real pictures, ``p``: ADA's probability (100 pictures; ADA holds the sign near its target, 0.6)

Results: benchmarks/results/regularisers.json. --draw makes docs/images/regularisers.png of it (needs matplotlib).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from measure import IMAGES, RESULTS, machine

from agon import catalog
from agon.config import build
from agon.data import open_dataset
from agon.losses import penalties
from agon.train.randomness import mix
from agon.train.trainer import Trainer

IMAGES_SEEN, EVERY, SEEDS = 12_000, 1_000, 2
SMALL = {
    "images": IMAGES_SEEN, "batch_size": 16, "channel_base": 256, "channel_max": 32, "latent_dim": 32, "w_dim": 32, "mapping_layers": 2, "conditional": False,
    "penalty_weight": 0.1, "log_every": 10, "ada_images": 8_000,
}  # fmt: skip
CASES = {
    "R1 and path length": {},
    "without R1": {"penalty": "none"},
    "without path length": {"path_length_weight": 0.0},
    "100 pictures": {},
    "100 pictures, ADA": {"ada": "bgc"},
}
PANELS = {
    "slope": ("mean |grad D|^2 at real pictures", ("R1 and path length", "without R1"), "log"),
    "unevenness": ("deviation of path lengths / mean", ("R1 and path length", "without path length"), "linear"),
    "sign": ("mean sign of D(real)", ("100 pictures", "100 pictures, ADA"), "linear"),
    "p": ("ADA's p", ("100 pictures, ADA",), "linear"),
}


def probe(trainer: Trainer, real: torch.Tensor) -> dict[str, float]:
    game = trainer.game
    game.eval()
    outputs, half = penalties.zero_centred(game.discriminator, real)
    random = torch.Generator().manual_seed(0)
    noise = torch.randn(256, *game.spec.shape, generator=random)
    w = game.generator.mapping(torch.randn(256, game.config.latent_dim, generator=random))
    lengths = penalties.path_lengths(lambda styles: game.generator.synthesis(styles, None, "const"), w, noise).detach()
    game.train()
    p = float(game.options["ada"].augment.p) if "ada" in game.options else 0.0
    return {
        "images": trainer.num_images, "slope": 2 * float(half), "unevenness": float(lengths.std() / lengths.mean()),
        "sign": float(outputs.sign().mean()), "p": p,
    }  # fmt: skip


def run(case: str, seed: int) -> dict:
    length = 100 if case.startswith("100") else 20_000
    source, cls = open_dataset("shapes", size=16, length=length, label="shape"), catalog.load("stylegan2")
    config = build(cls.Config, cls.presets["shapes"].fields, {**SMALL, **CASES[case], "seed": seed})
    torch.manual_seed(mix(seed))
    trainer = Trainer(cls(config, source.spec), source, device="cpu")
    real = source.read(np.arange(256) % length).real
    curve, begun = [probe(trainer, real)], time.process_time()
    while trainer.num_images < IMAGES_SEEN:
        trainer.advance()
        if trainer.num_images // EVERY > curve[-1]["images"] // EVERY:
            curve.append(probe(trainer, real))
    return {"case": case, "seed": seed, "cpu_seconds": round(time.process_time() - begun, 1), "curve": curve}


def draw(results: list[dict]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(PANELS), figsize=(15, 3.4), layout="constrained")
    for axis, (name, (title, cases, scale)) in zip(axes, PANELS.items(), strict=True):
        for case in cases:
            curves = [row["curve"] for row in results if row["case"] == case]
            values = np.array([[point[name] for point in curve] for curve in curves])
            images = [point["images"] / 1000 for point in curves[0]]
            (line,) = axis.plot(images, np.median(values, 0), label=case)
            axis.fill_between(images, values.min(0), values.max(0), alpha=0.2, color=line.get_color())
        axis.set(title=title, xlabel="thousand images", yscale=scale)
        axis.legend(fontsize=8)
    axes[2].axhline(0.6, color="grey", linestyle=":", linewidth=1)
    figure.savefig(IMAGES / "regularisers.png", dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draw", action="store_true", help="only draw what is in the file")
    options = parser.parse_args()
    path = RESULTS / "regularisers.json"
    torch.set_num_threads(1)
    if not options.draw:
        results = []
        for case in CASES:
            for seed in range(SEEDS):
                results.append(run(case, seed))
                last = results[-1]["curve"][-1]
                print(case, seed, {key: round(value, 4) for key, value in last.items()}, file=sys.stderr, flush=True)
                whole = {"machine": machine(), "command": "python benchmarks/quality/regularisers.py", "results": results}
                Path(path).write_text(json.dumps(whole, indent=1) + "\n")
    draw(json.loads(path.read_text())["results"])


if __name__ == "__main__":
    main()
