"""Bar: filling holes in photographs that no training has seen, against what needs no training.

    pip install opencv-python-headless                  # for Telea's method; no dependency of Agon
    python benchmarks/quality/inpainting.py             # 3 seeds, preset small; writes benchmarks/results/inpainting.json
    python benchmarks/quality/inpainting.py --seeds 1 --holes box

Trains ``inpainting`` with its preset ``small`` on 64x64 crops of the data set photos (split train: 11 photographs) in a temporary folder, and fills
holes in the crops of the 5 photographs of split test that tile them, with holes of another seed than any training's. Beside it on the same holes: the
mean colour of what is known, and OpenCV's fast marching (Telea, 2004, radius 3), both rounded to 8 bits as our filling is.

``distance``: agon.metrics.features.photos.distance of the completed crop from the true one (its network saw none of the test photographs), lower is
better; ``better_than_telea``: the part of all crops where our distance is lower; ``l1_hole``, ``psnr_hole``: over missing pixels alone, colours in [0, 1].
Standard errors are those of a mean over crops, of the paired difference to Telea where it says so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / "benchmarks" / "results" / "inpainting.json"
SHEET = ROOT / "docs" / "images" / "inpainting-photos.png"
DATA = {"crop": 64, "zoom": 0.4, "input": "hole:mixed", "mirror": True}
HOLES = ("mixed", "box", "free")
TEST_SEED = 20_240_229


def held_out(hole: str):
    """Crops of the test photographs and their holes: (real, source), always the same."""
    from agon.data import open_dataset

    source = open_dataset("photos", split="test", crop=64, input=f"hole:{hole}")
    batch = source.read(np.arange(len(source)), seed=TEST_SEED)
    return batch.real, batch.source


def by_mean(source):
    """The hole filled with the mean of what is known of the crop."""
    picture, mask = source[:, :-1], source[:, -1:]
    mean = picture.sum((2, 3), keepdim=True) / (1 - mask).sum((2, 3), keepdim=True).clamp(min=1)
    return picture + mean * mask


def by_telea(source):
    """OpenCV's inpaint with Telea's method, crop by crop."""
    import cv2
    import torch

    filled = []
    for sample in source:
        pixels = ((sample[:-1] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        made = cv2.inpaint(np.ascontiguousarray(pixels), sample[-1].byte().numpy(), 3, cv2.INPAINT_TELEA)
        filled.append(torch.from_numpy(made).permute(2, 0, 1).float() / 127.5 - 1)
    return torch.stack(filled)


def scores(real, source, made) -> dict[str, np.ndarray]:
    """Per crop: distance, mean absolute and squared error over missing pixels."""
    import torch

    from agon.metrics.features.photos import distance

    mask = source[:, -1:]
    made = torch.where(mask.bool(), ((made.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1, real)
    error = (made - real) / 2 * mask
    count = mask.sum((1, 2, 3)) * real.shape[1]
    with torch.no_grad():
        apart = torch.cat([distance(a, b) for a, b in zip(made.split(32), real.split(32), strict=True)])
    return {"distance": apart.numpy(), "l1_hole": (error.abs().sum((1, 2, 3)) / count).numpy(), "mse_hole": (error.square().sum((1, 2, 3)) / count).numpy()}


def summary(found: dict[str, np.ndarray], telea: dict[str, np.ndarray] | None = None) -> dict:
    many = np.sqrt(len(found["distance"]))
    row = {"distance": float(found["distance"].mean()), "distance_error": float(found["distance"].std(ddof=1) / many),
           "l1_hole": float(found["l1_hole"].mean()), "psnr_hole": float(-10 * np.log10(found["mse_hole"].mean()))}  # fmt: skip
    if telea is not None:
        gain = telea["distance"] - found["distance"]
        row |= {"gain_over_telea": float(gain.mean()), "gain_error": float(gain.std(ddof=1) / many), "better_than_telea": float((gain > 0).mean())}
    return {key: round(value, 6) for key, value in row.items()}


def baselines(holes: list[str]) -> list[dict]:
    rows = []
    for hole in holes:
        real, source = held_out(hole)
        telea = scores(real, source, by_telea(source))
        rows += [{"method": "mean", "hole": hole, **summary(scores(real, source, by_mean(source)), telea)},
                 {"method": "telea", "hole": hole, "crops": len(real), "missing": round(float(source[:, -1].mean()), 4), **summary(telea)}]  # fmt: skip
    return rows


def work(seed: int, holes: list[str], fields: dict) -> list[dict]:
    """Train one seed and measure it."""
    import torch

    torch.set_num_threads(1)
    import agon

    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        run = agon.train("inpainting", "photos", preset="small", out=Path(folder) / "run", device="cpu", data_options=DATA, seed=seed, **fields)
        seconds, rows = time.process_time() - start, []
        for hole in holes:
            real, source = held_out(hole)
            made = torch.cat([run.game.translate(part) for part in source.split(32)])
            rows.append({"method": "inpainting", "hole": hole, "seed": seed, "preset": "small", "cpu_seconds": round(seconds, 1),
                         **summary(scores(real, source, made), scores(real, source, by_telea(source)))})  # fmt: skip
            if seed == 0 and hole == holes[0]:
                show(real, source, made)
    return rows


def show(real, source, made) -> None:
    """A sheet for the page: hole, mean, Telea, ours, truth, of crops spread over the photographs."""
    from agon.data.source import DataSpec
    from agon.media import save_image
    from agon.translation.view import contact_sheet, visible

    chosen = np.linspace(0, len(real) - 1, 26).astype(int)[1:-1]
    part = source[chosen]
    spec = DataSpec("image", tuple(real.shape[1:]), source_shape=tuple(source.shape[1:]), source_kind="hole")
    save_image(contact_sheet([visible(part, spec), by_mean(part), by_telea(part), made[chosen], real[chosen]], groups=3), SHEET, overwrite=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--holes", nargs="+", default=list(HOLES))
    parser.add_argument("--fields", default="{}", help="further fields as JSON, for trials; nothing is written then")
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.seed is not None:
        print(json.dumps(work(options.seed, options.holes, json.loads(options.fields))))
        return
    try:
        rows = baselines(options.holes)
    except ImportError:
        sys.exit("OpenCV is not installed, and Telea's method is one of those compared. Install it: pip install opencv-python-headless")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    for seed in range(options.seeds):
        command = [sys.executable, "-W", "ignore", __file__, "--seed", str(seed), "--fields", options.fields, "--holes", *options.holes]
        finished = subprocess.run(command, capture_output=True, text=True, env=environment)
        if finished.returncode:
            sys.exit(finished.stderr[-2000:])
        rows += json.loads(finished.stdout.splitlines()[-1])
        print(json.dumps(rows[-len(options.holes):], indent=1), flush=True)
    if options.fields == "{}":
        import cv2

        from agon.metrics.features.photos import SHA256

        sys.path.insert(0, str(Path(__file__).parent))
        from measure import machine

        whole = {"machine": {**machine(), "opencv": cv2.__version__}, "command": "python benchmarks/quality/inpainting.py", "extractor_sha256": SHA256,
                 "data": {**DATA, "train": "photos, split train", "test": "photos, split test, crop 64"}, "results": rows}  # fmt: skip
        RESULT.write_text(json.dumps(whole, indent=1) + "\n")
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
