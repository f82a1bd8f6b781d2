"""The photographs' network: how different two pictures look, and features (64) of pictures of any size, without anything downloaded.

A small convolutional net trained by scripts/train_photos_extractor.py on crops of the training photographs of the data set 'photos' to tell, of a crop,
from which photograph it is, what was done to it (blur, noise, reduction, JPEG, a filled hole) and how strongly. ``distance`` compares two pictures as LPIPS
does (Zhang et al., 2018, https://arxiv.org/abs/1801.03924, equation 1), with its own features and equal weights: at five depths both feature vectors are
scaled to unit length at every place; their squared differences are averaged over the places and over the depths.

It is a declared substitute where ImageNet weights cannot be had, no LPIPS: its numbers compare methods under this file (``SHA256``) and with nothing else.
The photographs of the test split took no part in its training.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agon.errors import UserError
from agon.metrics.features.base import Extractor, as_rgb

NAMES = {"photos": "a small network for photographs, shipped with Agon: told crops of 11 photographs and what was done to them apart (64 features)"}

WEIGHTS = Path(__file__).with_name("photos.safetensors")
SHA256 = "ce1de59998bffe77834a8267bdc5beab6faff8d70e6a4ca23edf61cb3cda6020"
KINDS = ("clean", "blur", "noise", "reduced", "jpeg", "hole")
WIDTHS = (24, 32, 48, 64, 64)
LEAST = 16  # pixels a side: the last map then is 2 x 2
TINY = 1e-4  # added to the length that features are divided by: where nothing is to be seen, nothing is magnified


class PhotosNet(nn.Module):
    """Five 3x3 convolutions with batch norm (24, 32, 48, 64, 64 channels; the second, third and fourth halve the map), one hidden vector, three heads.

    ``forward``: pictures (N, 3, H, W) in [-1, 1] -> logits of the photograph (N, 11), of what was done (N, 6) and its strength (N,).
    """

    def __init__(self, photographs: int = 11) -> None:
        super().__init__()
        strides = (1, 2, 2, 2, 1)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False, padding_mode="reflect"), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.1))
            for inputs, outputs, stride in zip((3, *WIDTHS), WIDTHS, strides, strict=False)
        )
        self.photograph, self.kind, self.strength = nn.Linear(64, photographs), nn.Linear(64, len(KINDS)), nn.Linear(64, 1)

    def maps(self, pictures: Tensor) -> list[Tensor]:
        """The output of every stage, (N, C, H', W') each."""
        found = []
        for stage in self.stages:
            pictures = stage(pictures)
            found.append(pictures)
        return found

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pooled = self.maps(pictures)[-1].mean((2, 3))
        return self.photograph(pooled), self.kind(pooled), self.strength(pooled).squeeze(1)


def between(net: PhotosNet, a: Tensor, b: Tensor) -> Tensor:
    """``distance`` under any network of the kind: (N, 3, H, W) in [-1, 1] twice -> (N,)."""
    total = a.new_zeros(len(a))
    for maps in net.maps(torch.cat([a, b])):
        unit = maps / (torch.linalg.vector_norm(maps, dim=1, keepdim=True) + TINY)
        first, second = unit.chunk(2)
        total = total + (first - second).square().sum(1).mean((1, 2))
    return total / len(WIDTHS)


def distance(a: Tensor, b: Tensor) -> Tensor:
    """How different the pictures look: (N, 3, H, W) float in [-1, 1] each, at least 16 pixels a side -> (N,) in [0, 4], 0 for equal pictures.

    Differentiable in both; the network is frozen, in float32 and moved to the pictures' device. A pair's distance does not depend on the other pairs. Grey
    pictures: repeat the channel. Raises UserError for other shapes.
    """
    if a.shape != b.shape or a.ndim != 4 or a.shape[1] != 3 or min(a.shape[2:]) < LEAST:
        raise UserError("The photographs' distance compares pictures of one size, 3 colours and at least {least} pixels a side; these are {first} and "
                        "{second}. Expected (N, 3, H, W) twice: resize one side.", least=LEAST, first=tuple(a.shape), second=tuple(b.shape))
    with torch.autocast(a.device.type, enabled=False):
        return between(on_device(str(a.device)), a.float(), b.float())


class PhotosFeatures(Extractor):
    """The shipped network as an extractor: layer "features" (64), the last maps averaged over the picture.

    ``trained``: how the net was trained and what it reached on crops it had not seen. Raises UserError where the weights are missing or are not the bytes
    that were shipped.
    """

    name = "photos"
    layers = {"features": 64}
    protocol = {"resize": "none", "precision": "fp32"}
    cached = False
    batch = 64

    def __init__(self, weights: Path = WEIGHTS, sha256: str = SHA256) -> None:
        from safetensors.torch import load

        content = read_checked(weights, sha256)
        self.sha256 = sha256
        self.trained = json.loads(json.loads(content[8:8 + int.from_bytes(content[:8], "little")])["__metadata__"]["protocol"])
        self.net = PhotosNet().eval().requires_grad_(False)
        self.net.load_state_dict(load(content))

    @torch.no_grad()
    def run(self, samples: Tensor, layers: Sequence[str] = ("features",)) -> dict[str, Tensor]:
        """``samples`` (N, C, H, W): uint8 in 0..255 of 1, 3 or 4 channels, or float32 in [-1, 1] of 3."""
        pictures = as_rgb(samples).float() / 127.5 - 1 if samples.dtype == torch.uint8 else samples.float()
        if pictures.shape[1] != 3 or min(pictures.shape[2:]) < LEAST:
            raise UserError("The photographs' network cannot read samples of shape {shape}. Expected (N, 3, H, W) with at least {least} pixels a side.",
                            shape=tuple(samples.shape), least=LEAST)
        features = F.adaptive_avg_pool2d(self.net.maps(pictures.cpu())[-1], 1).flatten(1)
        return {name: {"features": features}[name] for name in layers}


def open_extractor(name: str, *, weights: Path | None = None, device: str = "cpu", precision: str = "fp32") -> PhotosFeatures:
    """The shipped network; it is too small for a device or a precision to matter."""
    return shipped()


@cache
def shipped() -> PhotosFeatures:
    """The network, read once per process."""
    return PhotosFeatures()


@cache
def on_device(device: str) -> PhotosNet:
    """The shipped network on a device."""
    if device == "cpu":
        return shipped().net
    moved = PhotosNet().eval().requires_grad_(False)
    moved.load_state_dict(shipped().net.state_dict())
    return moved.to(device)


def read_checked(path: Path, sha256: str) -> bytes:
    """The file's bytes, after their hash was found right (hashed and used are the same bytes, not two readings)."""
    if not path.is_file():
        raise UserError("The weights of the photographs' network are missing: {path}. Expected the file that comes with Agon. Install it again: "
                        "pip install --force-reinstall agon-gan.", path=path)
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise UserError("The weights of the photographs' network {path} are damaged: SHA-256 {found}, expected {expected}. Install Agon again: "
                        "pip install --force-reinstall agon-gan.", path=path, found=found, expected=sha256)
    return content
