"""Train the small network whose distance compares photographs (agon/metrics/features/photos.py), and write it with its protocol.

    python scripts/train_photos_extractor.py [--out agon/metrics/features/photos.safetensors]

Data: 64x64 crops of the 11 training photographs of the data set 'photos' (mirrored, from the photograph reduced by a random factor of 0.4 to 1), each left
as it is or degraded in one of five ways with a strength uniform in [0, 1]: Gaussian blur, Gaussian noise, reduction and bicubic enlargement, JPEG, a
rectangle replaced by a smooth filling. The net learns from which photograph the crop is (cross-entropy), what was done to it (cross-entropy) and how strongly
(squared error), and that of two strengths of one degradation the stronger one is farther from the clean crop in the distance itself (softplus of the
difference of the logarithms). AdamW, learning rate 2e-3 falling to 0 by a half cosine.

The photographs of the test split are only measured: does the distance order four strengths of blur, noise, JPEG and reduction, on every crop?
"""

from __future__ import annotations

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

from agon.data.photos import open_source
from agon.data.source import read_run
from agon.metrics.features.photos import KINDS, PhotosNet, between

SIDE = 64


def blur(pictures: Tensor, sigma: float) -> Tensor:
    """Gaussian blur, mirrored borders."""
    reach = max(1, int(3 * sigma + 0.5))
    taps = torch.exp(-torch.arange(-reach, reach + 1, dtype=torch.float32).square() / (2 * sigma * sigma))
    taps = (taps / taps.sum()).repeat(pictures.shape[1], 1, 1, 1)
    padded = F.pad(pictures, (reach,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(padded, taps, groups=len(taps)), taps.transpose(2, 3), groups=len(taps))


def jpeg(picture: Tensor, quality: int) -> Tensor:
    """(3, H, W) in [-1, 1] through a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(((picture + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()).save(buffer, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1).float() / 127.5 - 1


def reduce(pictures: Tensor, factor: float) -> Tensor:
    """Smaller by ``factor`` and back, bicubic with antialiasing."""
    size = pictures.shape[-2:]
    small = F.interpolate(pictures, [max(2, round(side / factor)) for side in size], mode="bicubic", antialias=True)
    return F.interpolate(small, size, mode="bicubic")


def fill_hole(picture: Tensor, fraction: float, place: tuple[float, float]) -> Tensor:
    """A square of ``fraction`` of the side replaced by the mean of what surrounds it, its border blended over two pixels."""
    side = picture.shape[-1]
    width = max(2, round(fraction * side))
    top, left = (int(where * (side - width + 1)) for where in place)
    mask = torch.zeros(1, 1, side, side)
    mask[..., top:top + width, left:left + width] = 1
    known = picture[None] * (1 - mask)
    reach = max(width / 3, 1.0)
    filling = blur(known, min(reach, side / 7)) / blur(1 - mask, min(reach, side / 7)).clamp(min=1e-3)
    soft = blur(mask, 0.7)
    return (picture[None] * (1 - soft) + filling * soft)[0]


def degrade(picture: Tensor, kind: int, strength: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [-1, 1] -> the same with degradation KINDS[kind]; strength 0 is weak and not nothing."""
    name = KINDS[kind]
    if name == "blur":
        return blur(picture[None], 0.4 + 2.6 * strength)[0]
    if name == "noise":
        return picture + 0.02 * 15**strength * torch.randn(picture.shape, generator=generator)
    if name == "reduced":
        return reduce(picture[None], 1.3 + 4.7 * strength)[0]
    if name == "jpeg":
        return jpeg(picture, round(90 - 85 * strength))
    if name == "hole":
        return fill_hole(picture, 0.15 + 0.45 * strength, tuple(torch.rand(2, generator=generator).tolist()))
    return picture


def pairs(clean: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Clean crops -> (strong, weak, kinds, strengths of both): the same degradation and the same draws, twice."""
    count = len(clean)
    kinds = torch.randint(len(KINDS), (count,), generator=generator)
    strong = torch.rand(count, generator=generator)
    weak = strong * torch.rand(count, generator=generator) * 0.8
    made: list[list[Tensor]] = [[], []]
    for index in range(count):
        seed = int(torch.randint(2**31, (), generator=generator))
        for side, strength in enumerate((strong[index], weak[index])):
            made[side].append(degrade(clean[index], int(kinds[index]), float(strength), torch.Generator().manual_seed(seed)))
    return torch.stack(made[0]).clamp(-1, 1), torch.stack(made[1]).clamp(-1, 1), kinds, strong, weak


def loss_of(net: PhotosNet, clean: Tensor, owners: Tensor, generator: torch.Generator) -> Tensor:
    strong, weak, kinds, *strengths = pairs(clean, generator)
    photograph, kind, strength = net(torch.cat([strong, weak]))
    damaged = kinds != 0
    told = F.cross_entropy(photograph, owners.repeat(2)) + F.cross_entropy(kind, kinds.repeat(2))
    told = told + 4 * ((strength - torch.cat(strengths)).square() * damaged.repeat(2)).mean()
    far, near = (between(net, side[damaged], clean[damaged]) for side in (strong, weak))
    return told + F.softplus(4 * ((near + 1e-6).log() - (far + 1e-6).log())).mean()


def train(seed: int, steps: int, batch: int) -> tuple[PhotosNet, float]:
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    source = open_source("photos", split="train", crop=SIDE, mirror=True, zoom=0.4)
    assert len(source.names) == 11 and not source.events, f"all photographs are needed: {source.events}"
    net = PhotosNet()
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    begun = time.process_time()
    for step in range(steps):
        clean, owners = crops(source, step * batch, batch, seed)
        loss = loss_of(net, clean, owners, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(step, round(loss.item(), 3), round(time.process_time() - begun, 1), flush=True)
    return net.eval(), time.process_time() - begun


def crops(source, start: int, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Crops ``start`` to ``start + count`` and the photographs they are from."""
    from agon.data.sampler import positions

    owners = np.concatenate([source.picture_of(indices) for _, indices in positions(start, count, len(source), seed)])
    return read_run(source, start, count, seed).real, torch.from_numpy(owners)


LADDERS = {
    "blur": [lambda x, s=s: blur(x, s) for s in (0.5, 1.0, 1.7, 2.6)],
    "noise": [lambda x, s=s: x + s * torch.randn(x.shape, generator=torch.Generator().manual_seed(5)) for s in (0.04, 0.1, 0.2, 0.35)],
    "jpeg": [lambda x, q=q: torch.stack([jpeg(one, q) for one in x]) for q in (80, 50, 25, 8)],
    "reduced": [lambda x, f=f: reduce(x, f) for f in (1.5, 2, 3, 4)],
}


@torch.no_grad()
def ordered(net: PhotosNet) -> dict[str, float]:
    """Of the test photographs' crops (96x96): the fraction of neighbouring strengths that the distance puts in the right order."""
    source = open_source("photos", split="test", crop=96)
    clean = source.read(np.arange(len(source))).real
    found = {}
    for name, ladder in LADDERS.items():
        steps = torch.stack([torch.cat([between(net, part, step(part).clamp(-1, 1)) for part in clean.split(16)]) for step in ladder])
        found[name] = round(float((steps[1:] > steps[:-1]).float().mean()), 4)
        found[f"{name}_mean"] = [round(value, 5) for value in steps.mean(1).tolist()]
    return found


def main() -> None:
    """Train, measure on the test photographs, save."""
    from safetensors.torch import save_file

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("agon/metrics/features/photos.safetensors"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--batch", type=int, default=16)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    net, seconds = train(arguments.seed, arguments.steps, arguments.batch)
    report = {
        "ordered": ordered(net), "seed": arguments.seed, "steps": arguments.steps, "batch": arguments.batch, "script": "scripts/train_photos_extractor.py",
        "data": open_source("photos", split="train").fingerprint, "split": "photos, split train (11 photographs)", "license": "Apache-2.0",
    }
    state = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    # One metadata entry: safetensors writes several in a random order, so the file's hash would change.
    save_file(state, arguments.out, metadata={"protocol": json.dumps(report, sort_keys=True)})
    print(json.dumps({**report, "cpu_seconds": round(seconds), "sha256": hashlib.sha256(arguments.out.read_bytes()).hexdigest(),
                      "bytes": arguments.out.stat().st_size}, indent=2))


if __name__ == "__main__":
    main()
