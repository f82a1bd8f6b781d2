"""Train the small net that names the pixels of the data set ``shapes``, and write it with its protocol.

    python scripts/train_shapes_judge.py [--out agon/metrics/features/shapes.safetensors]

Data: ``shapes`` of seed 1000, two in three pictures with one object and the others with two or three, drawn at 64 or 32 pixels; what is measured is ``shapes``
of seed 0 (the one that games train on), which no step sees. A generator's pictures are not drawn by a program, so half of the training pictures are made worse
first: blurred (standard deviation up to 0.9 pixels), tinted and faded, noisy, or saved as JPEG. Cross-entropy per pixel, AdamW, the rate rising over 100 steps
and falling by a half cosine to 0. The weights are rounded to float16 before they are measured. About nine minutes on one core.
"""

import argparse
import hashlib
import io
import json
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from agon.data import open_dataset
from agon.metrics.features import shapes as judge
from agon.metrics.segmentation import confusion, miou

TRAIN_SEED, TEST_SEED = 1000, 0
SIZES = (64, 32, 64)


def worse(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """(N, 3, H, W) in [-1, 1] -> the same pictures, half of them blurred, tinted, noisy or saved as JPEG."""
    count = len(pictures)

    def drawn(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *(shape or (1, 1, 1)), generator=generator)

    chosen = drawn(0, 1) < 0.5
    sigma = drawn(0.2, 0.9).flatten()
    taps = torch.exp(-(torch.arange(-2.0, 3.0)[None] ** 2) / (2 * sigma[:, None] ** 2))
    taps = (taps / taps.sum(1, keepdim=True)).repeat_interleave(3, 0)
    planes = F.pad(pictures, (2, 2, 2, 2), mode="replicate").reshape(1, -1, pictures.shape[2] + 4, pictures.shape[3] + 4)
    planes = F.conv2d(F.conv2d(planes, taps[:, None, :, None], groups=3 * count), taps[:, None, None, :], groups=3 * count)
    changed = torch.where(drawn(0, 1) < 0.5, planes.reshape(pictures.shape), pictures)
    changed = changed * drawn(0.85, 1.1) + drawn(-0.15, 0.15, 3, 1, 1)
    changed = changed + drawn(0, 0.1) * torch.randn(pictures.shape, generator=generator)
    changed = torch.where(drawn(0, 1) < 0.25, as_jpeg(changed.clamp(-1, 1)), changed)
    return torch.where(chosen, changed.clamp(-1, 1), pictures)


def as_jpeg(pictures: Tensor, quality: int = 60) -> Tensor:
    """(N, 3, H, W) in [-1, 1] through JPEG."""
    rows = ((pictures + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    back = []
    for row in rows:
        file = io.BytesIO()
        Image.fromarray(row).save(file, "JPEG", quality=quality)
        back.append(np.asarray(Image.open(file)))
    return torch.from_numpy(np.stack(back)).permute(0, 3, 1, 2).float() / 127.5 - 1


def train(*, seed: int, steps: int, batch: int, rate: float) -> judge.ShapesNet:
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    net = judge.ShapesNet().train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) / 100) * 0.5 * (1 + np.cos(np.pi * step / steps)))
    sources = {(size, objects): open_dataset("shapes", size=size, objects=objects, seed=TRAIN_SEED, length=10_000_000, label=None)
               for size in set(SIZES) for objects in (1, 2, 3)}
    start = time.process_time()
    for step in range(steps):
        size, objects = SIZES[step % len(SIZES)], (1, 1, 2, 1, 1, 3)[step // 3 % 6]
        source, rows = sources[size, objects], np.arange(step * batch, (step + 1) * batch)
        pictures, maps = source.read(rows).real, torch.from_numpy(source.segmentation(rows)[:, 0]).long()
        loss = F.cross_entropy(judge.scores_of(net, worse(pictures, generator)), maps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            print(f"step {step + 1} loss {loss.item():.4f} CPU {time.process_time() - start:.0f} s", flush=True)
    return net.eval()


@torch.no_grad()
def measured(net: judge.ShapesNet, *, size: int, objects: int = 1, count: int = 1000, spoilt: bool = False) -> float:
    """Mean intersection over union on pictures that no step saw."""
    source = open_dataset("shapes", size=size, objects=objects, seed=TEST_SEED, label=None, length=50_000)
    counts = np.zeros((judge.CLASSES, judge.CLASSES), np.int64)
    generator = torch.Generator().manual_seed(0)
    for rows in np.array_split(np.arange(count), max(1, count // 100)):
        pictures = source.read(rows).real
        pictures = worse(pictures, generator) if spoilt else pictures
        counts += confusion(source.segmentation(rows)[:, 0].ravel(), judge.scores_of(net, pictures).argmax(1).numpy().ravel(), judge.CLASSES)
    return round(miou(counts), 5)


def main() -> None:
    """Train, round, measure, save."""
    from safetensors.torch import save_file

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("agon/metrics/features/shapes.safetensors"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=6500)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    net = train(seed=arguments.seed, steps=arguments.steps, batch=arguments.batch, rate=arguments.rate)
    state = {name: value.half().contiguous() if value.is_floating_point() else value for name, value in net.state_dict().items()
             if not name.endswith("num_batches_tracked")}
    net.load_state_dict({name: value.float() for name, value in state.items()}, strict=False)
    report = {f"miou_{name}": measured(net, **how) for name, how in {
        "64": {"size": 64}, "32": {"size": 32}, "64_spoilt": {"size": 64, "spoilt": True}, "64_three_objects": {"size": 64, "objects": 3}}.items()}
    report |= {"num_held_out": 1000, "split": f"trained on shapes seed {TRAIN_SEED}, measured on seed {TEST_SEED}", "seed": arguments.seed,
               "steps": arguments.steps, "batch": arguments.batch, "script": "scripts/train_shapes_judge.py", "license": "Apache-2.0"}
    # One metadata entry: safetensors writes several in a random order, so the file's hash would change.
    save_file(state, arguments.out, metadata={"protocol": json.dumps(report, sort_keys=True)})
    report["file_sha256"] = hashlib.sha256(arguments.out.read_bytes()).hexdigest()
    report["file_bytes"] = arguments.out.stat().st_size
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
