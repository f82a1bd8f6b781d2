"""Bar: enlarging photographs that no training has seen four times, against bicubic interpolation.

    python benchmarks/quality/super_resolution.py                         # srgan, 3 seeds, preset small; writes benchmarks/results/super_resolution.json
    python benchmarks/quality/super_resolution.py --games srgan esrgan    # more games of one file
    python benchmarks/quality/super_resolution.py --seeds 1 --fields '{"images": 8000}'

Trains on crops of the data set photos (split train: 11 photographs) in a temporary folder and enlarges the five photographs of split test, whole, reduced by
the recipe downscale:4 (or the game's own), through the run's ``translate``: once with the weights at the end of the pre-training stage, once with the last.

Of each photograph, after rounding to 8 bits: ``psnr``: of the luma (BT.601, 16 to 235), ``psnr_rgb``: of the colours, both without 4 pixels at the border,
as BasicSR measures; ``distance``: agon.metrics.features.photos.distance from the true photograph (its network saw none of split test), lower is better;
``spectrum``: root mean square over rings of the difference of the radial log-power spectra, in dB, and ``spectrum_high``: the signed mean difference above 1/8
cycle a pixel, where the input holds nothing (0: as much detail as in the truth; below: too smooth). Rows hold means over the five.

Bars: ``pretraining`` has at least 0.5 dB more psnr than bicubic; ``final`` has at most 2 dB less, a lower distance and a lower spectrum.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / "benchmarks" / "results" / "super_resolution.json"
SHEET = ROOT / "docs" / "images"
SCALE, BORDER, CHECKPOINTS = 4, 4, 8
HIGH = 0.5 / SCALE  # cycles a pixel


def photographs():
    """(name, the photograph (1, C, H, W) in [-1, 1], reduced) of split test, sides cut to multiples of the scale."""
    from agon.data import open_dataset
    from agon.data.inputs.downscale import reduced
    from agon.data.source import to_float

    source = open_dataset("photos", split="test")
    for name, picture in zip(source.names, source.pictures, strict=True):
        height, width = (side // SCALE * SCALE for side in picture.shape[1:])
        real = to_float(picture[None, :, :height, :width])
        yield name, real, reduced(real, SCALE)


def scores(real, made) -> dict[str, float]:
    """What the head of this file says, of one photograph."""
    import torch

    from agon.metrics.features.photos import distance

    made = ((made + 1) * 127.5).round().clamp(0, 255) / 127.5 - 1
    with torch.no_grad():
        apart = float(distance(made, real)[0])
    difference, high = spectral_difference(luma(real), luma(made))
    return {"psnr": psnr(luma(made)[:, None], luma(real)[:, None]), "psnr_rgb": psnr((made + 1) * 127.5, (real + 1) * 127.5), "distance": apart,
            "spectrum": float(difference.square().mean().sqrt()), "spectrum_high": float(difference[high].mean())}


def luma(pictures):
    """(N, 3, H, W) in [-1, 1] -> (N, H, W): BT.601's luma, 16 to 235."""
    return 16 + ((pictures + 1) / 2 * pictures.new_tensor([65.481, 128.553, 24.966]).view(3, 1, 1)).sum(1)


def psnr(a, b) -> float:
    inner = (slice(None), slice(None), slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    return float(10 * (255**2 / (a[inner].double() - b[inner].double()).square().mean()).log10())


def spectral_difference(real, made):
    """((K,) dB by which the rings of ``made`` exceed those of ``real``, (K,) which of them lie above HIGH)."""
    from agon.metrics.features.spectrum import ROUNDING, radial_power, rings

    a, b = (10 * (radial_power(x) + ROUNDING).log10()[0] for x in (real, made))
    return b - a, rings(*real.shape[1:])[1] > HIGH


def summary(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(sum(row[key] for row in rows) / len(rows), 4) for key in rows[0]}


def measured(run) -> tuple[dict[str, float], list]:
    """Means over the photographs, and what the run made of them."""
    made = [run.translate(small) for _, _, small in photographs()]
    return summary([scores(real, each) for (_, real, _), each in zip(photographs(), made, strict=True)]), made


def bicubic() -> list:
    from agon.networks.rrdb import enlarge

    return [enlarge(small, SCALE, "bicubic").clamp(-1, 1) for _, _, small in photographs()]


def work(game: str, seed: int, fields: dict) -> list[dict]:
    """Train one seed and measure both stages."""
    import torch

    torch.set_num_threads(1)
    import agon
    from agon import catalog
    from agon.config import build

    preset = catalog.load(game).presets["small"].fields | fields
    config = build(catalog.load(game).Config, preset)
    boundary = round(config.pretrain * config.images)
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        whole, first = Path(folder) / "whole", Path(folder) / "first"
        keep = {"checkpoint_every_images": boundary // 2, "keep_checkpoints": 2 * -(-config.images // boundary) + 2}
        agon.train(game, "photos", preset="small", out=whole, device="cpu", seed=seed, **{**fields, **keep})
        seconds = time.process_time() - start
        shutil.copytree(whole, first)
        stored = sorted(path for path in (first / "checkpoints").iterdir() if path.is_dir())
        for path in stored:
            if int(path.name) > boundary:
                shutil.rmtree(path)
        early, late = agon.load(first, "cpu"), agon.load(whole, "cpu")
        rows, pictures = [], []
        for stage, run in (("pretraining", early), ("final", late)):
            found, made = measured(run)
            pictures.append(made)
            rows.append({"method": game, "stage": stage, "seed": seed, "images": run.num_images, "cpu_seconds": round(seconds, 1), **found})
    if seed == 0 and not fields:
        show(game, pictures)
    return rows


def show(game: str, pictures: list[list], side: int = 120) -> None:
    """A sheet for the page: a part of each photograph, bicubic | pre-trained | final | truth."""
    import torch

    from agon.media import save_image

    rows = []
    for (_, real, _), *others in zip(photographs(), bicubic(), *pictures, strict=True):
        top, left = (real.shape[2] - side) // 2, (real.shape[3] - side) // 2
        rows.append(torch.cat([each[..., top : top + side, left : left + side] for each in (*others, real)], 3))
    save_image(torch.cat(rows, 2)[0], SHEET / f"{game}-photos.png", overwrite=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", default=["srgan"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fields", default="{}", help="further fields as JSON, for trials; nothing is written then")
    parser.add_argument("--work", nargs=2, metavar=("GAME", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        print(json.dumps(work(options.work[0], int(options.work[1]), json.loads(options.fields))))
        return
    rows = [{"method": "bicubic", **summary([scores(real, made) for (_, real, _), made in zip(photographs(), bicubic(), strict=True)])}]
    print(json.dumps(rows[0]), flush=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    for game, seed in [(game, seed) for game in options.games for seed in range(options.seeds)]:
        command = [sys.executable, "-W", "ignore", __file__, "--work", game, str(seed), "--fields", options.fields]
        finished = subprocess.run(command, capture_output=True, text=True, env=environment)
        if finished.returncode:
            sys.exit(finished.stderr[-2000:])
        rows += json.loads(finished.stdout.splitlines()[-1])
        print(json.dumps(rows[-2:], indent=1), flush=True)
    if options.fields == "{}":
        write(rows)


def write(rows: list[dict]) -> None:
    """Rows of games that were not measured this time stay."""
    from agon.metrics.features.photos import SHA256

    sys.path.insert(0, str(Path(__file__).parent))
    from measure import machine

    names = {row["method"] for row in rows}
    before = json.loads(RESULT.read_text())["results"] if RESULT.is_file() else []
    whole = {"machine": machine(), "command": "python benchmarks/quality/super_resolution.py", "extractor_sha256": SHA256,
             "data": {"train": "photos, split train", "test": "photos, split test, whole photographs, downscale:4"},
             "results": rows + [row for row in before if row["method"] not in names]}  # fmt: skip
    RESULT.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
