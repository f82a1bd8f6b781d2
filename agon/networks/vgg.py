"""Frozen networks whose maps a perceptual loss compares: VGG-19 from a file (Simonyan & Zisserman, 2015), https://arxiv.org/abs/1409.1556, or random ones.

``Vgg19File`` reads torchvision's ``vgg19-dcbb9e9d.pth`` (574,673,361 bytes, licence BSD-3-Clause) from a path, never from the network, after checking its
SHA-256. ``RandomPyramid`` is the DECLARED SUBSTITUTE where no such file is given: convolutions with orthogonal weights drawn from a seed and never trained.
What it compares are edges and textures at several scales, not things: it says so in its name, and results with it are no results with VGG.

Neither belongs to a player or to a checkpoint: VGG is found again by its path and hash, the random weights are drawn again from their seed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agon.data.cache import sha256_of
from agon.errors import UserError

VGG19_URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
VGG19_SHA256 = "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44"  # as several public repositories record it
BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
"""Width and number of convolutions of VGG-19's five blocks (column E of table 1)."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of colours in 0..1


def layer_names() -> list[str]:
    """conv1_1, relu1_1, conv1_2 ... pool5, in the order of torchvision's ``features``."""
    names = []
    for i, (_, count) in enumerate(BLOCKS, 1):
        for j in range(1, count + 1):
            names += [f"conv{i}_{j}", f"relu{i}_{j}"]
        names.append(f"pool{i}")
    return names


class Vgg19(nn.Module):
    """VGG-19's convolutions up to the last of ``layers``: (N, 3 or 1, H, W) in [-1, 1] -> the maps of ``layers``, in the order of the network.

    ``layers``: "conv5_4" (before the ReLU), "relu3_1" (behind it), "pool2" ... Raises UserError for another name. Names of the state dict are torchvision's.
    """

    def __init__(self, layers: Sequence[str] = ("conv5_4",)):
        super().__init__()
        names = layer_names()
        wrong = [name for name in layers if name not in names]
        if wrong or not layers:
            raise UserError("VGG-19 has no layer '{name}'. Expected conv1_1 to conv5_4, relu1_1 to relu5_4 or pool1 to pool5.", name=wrong[0] if wrong else "")
        self.taps = sorted(names.index(name) for name in set(layers))
        modules: list[nn.Module] = []
        channels = 3
        for name in names[: self.taps[-1] + 1]:
            if name.startswith("conv"):
                width = BLOCKS[int(name[4]) - 1][0]
                modules.append(nn.Conv2d(channels, width, 3, padding=1))
                channels = width
            else:
                modules.append(nn.ReLU() if name.startswith("relu") else nn.MaxPool2d(2))
        self.features = nn.Sequential(*modules)
        for name, value in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(value).view(3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = ((x + 1) / 2 - self.mean) / self.std
        maps = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.taps:
                maps.append(x)
        return maps


class Vgg19File(nn.Module):
    """A :class:`Vgg19` with the weights of a file, read when it is first used, so that a run can be sampled from where the file is not.

    ``path``: torchvision's file; ``sha256``: what it must have. Its weights are outside of parameters, buffers and checkpoints.
    """

    def __init__(self, path: str | Path, layers: Sequence[str] = ("conv5_4",), sha256: str = VGG19_SHA256):
        super().__init__()
        with torch.device("meta"):
            Vgg19(layers)  # to refuse wrong names now
        self.path, self.layers, self.sha256 = Path(path).expanduser(), tuple(layers), sha256
        self.order = [name for name in layer_names() if name in layers]  # of the maps that come
        self._held: list[Vgg19] = []  # in a list: no submodule

    def check(self) -> None:
        """Raises UserError where the file is missing or another one."""
        if not self.path.is_file():
            raise UserError("There is no {path}. Expected VGG-19's weights: fetch them with curl -L -o {path} {url}", path=self.path, url=VGG19_URL)
        got = sha256_of(self.path)
        if got != self.sha256:
            raise UserError("{path} is not the published file: SHA-256 {expected} is expected, it has {got}. Get it anew from {url}",
                            path=self.path, expected=self.sha256, got=got, url=VGG19_URL)  # fmt: skip

    def forward(self, x: Tensor) -> list[Tensor]:
        if not self._held:
            self._held.append(self._load().to(x.device))
        return self._held[0](x)

    def _load(self) -> Vgg19:
        from agon.formats.torch_state import read

        self.check()
        with torch.device("cpu"):
            network = Vgg19(self.layers)
        state = read(self.path)
        network.load_state_dict({name: state[name] for name in network.state_dict()})
        return network.eval().requires_grad_(False)


class RandomPyramid(nn.Module):
    """The declared substitute: (N, C, H, W) in [-1, 1] -> one map a scale, finest first, made by fixed random convolutions.

    Each scale is two 3x3 convolutions with a leaky ReLU of 0.2 between them, then a halving by the mean for the next; widths double from ``width``. The
    kernels are orthogonal and scaled so that the mean square stays about what it is. A function of ``seed`` alone: nothing of it is stored.
    """

    def __init__(self, channels: int = 3, width: int = 32, scales: int = 3, seed: int = 0):
        super().__init__()
        draws = torch.Generator().manual_seed(seed)
        self.scales, before = scales, channels
        for i in range(scales):
            for j in range(2):
                after = width * 2**i
                kernel = torch.empty(after, before * 9, device="cpu")
                nn.init.orthogonal_(kernel, generator=draws)
                gain = 1 / 0.52 if i or j else 1.0  # what a leaky ReLU leaves of a mean square is 0.52
                kernel *= (gain / kernel.square().sum(1).mean()).sqrt()
                self.register_buffer(f"kernel{i}_{j}", kernel.view(after, before, 3, 3), persistent=False)
                before = after

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for i in range(self.scales):
            x = F.leaky_relu(F.conv2d(x, self.get_buffer(f"kernel{i}_0"), padding=1), 0.2)
            x = F.conv2d(x, self.get_buffer(f"kernel{i}_1"), padding=1)
            maps.append(x)
            if min(x.shape[2:]) < 2:
                break
            x = F.avg_pool2d(F.leaky_relu(x, 0.2), 2)
        return maps


def is_random(name: str) -> bool:
    """Whether ``name`` ("random", or "random:SEED") asks for the declared substitute."""
    return re.fullmatch(r"random(:\d+)?", name) is not None


def frozen_features(name: str, channels: int, layers: Sequence[str] = ("conv5_4",), width: int = 32) -> Vgg19File | RandomPyramid:
    """The frozen network that ``name`` asks for: "random" or "random:SEED" (three scales, ``width`` maps first), else the path of VGG-19's weights, whose
    ``layers`` are compared. Raises UserError where VGG would have to look at other than 1 or 3 channels.
    """
    if is_random(name):
        return RandomPyramid(channels, width, seed=int(name.partition(":")[2] or 0))
    if channels not in (1, 3):
        raise UserError("VGG-19 cannot look at pictures of {channels} channels. Expected 1 or 3, or 'random' in its place.", channels=channels)
    return Vgg19File(name, layers)
