"""LPIPS: how different two pictures look, by the features of an ImageNet classifier.

Zhang et al., 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", https://arxiv.org/abs/1801.03924, equation 1, version 0.1 of the
authors' linear heads: at five depths both pictures' feature vectors are scaled to unit length at every place, their squared differences are weighted per
channel, averaged over the places and added up. Between two folders it is a full-reference metric: fake i belongs to real i (restoration, translation,
reconstruction). How varied the fakes are among themselves is agon/metrics/lpips_diversity.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from agon.data.cache import sha256_of
from agon.errors import Unavailable, UserError
from agon.metrics.features.base import as_rgb
from agon.metrics.features.vgg import ALEXNET, VGG16, Trunk, alexnet, vgg16
from agon.metrics.features.weights import Weights, find, read_state
from agon.metrics.samples import Samples

METRICS = {
    "lpips": "Perceptual distance of each fake from its real picture, VGG16 features (lower is better; 0: the same)",
    "lpips_alex": "Perceptual distance of each fake from its real picture, AlexNet features (lower is better; 0: the same)",
}
KINDS = ("image",)
EXTRACTOR = ""
LAYERS = ()
PAIRED = True
LABELLED = False

SOURCE = "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/"
# Sizes and hashes of the heads are those in the record of the authors' package lpips 0.1.4 on PyPI.
HEADS = {
    "vgg": Weights("lpips-v0.1-vgg.pth", (SOURCE + "vgg.pth",), 7_289, "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
                   "BSD-2-Clause", "Zhang et al., PerceptualSimilarity, v0.1/vgg.pth"),
    "alex": Weights("lpips-v0.1-alex.pth", (SOURCE + "alex.pth",), 6_009, "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
                    "BSD-2-Clause", "Zhang et al., PerceptualSimilarity, v0.1/alex.pth"),
}
TRUNKS: dict[str, tuple[Callable[[], Trunk], Weights]] = {"vgg": (vgg16, VGG16), "alex": (alexnet, ALEXNET)}
NETS = {"lpips": "vgg", "lpips_alex": "alex"}
WIDTHS = {"vgg": (64, 128, 256, 512, 512), "alex": (64, 192, 384, 256, 256)}

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # ImageNet's mean and spread of colours in [-1, 1], rounded as the authors did
TINY = 1e-10  # added to the length that features are divided by
PIXELS = 2**19  # of both sides at a time: VGG16's first maps then take 134 MB


class Lpips(nn.Module):
    """The trunk and one weight per channel at each of its taps. Callable: ``net(x, y)`` is ``lpips_distance(net, x, y)``.

    ``sha256``: of the trunk's and of the heads' file; both go into the protocol.
    """

    def __init__(self, name: str = "vgg") -> None:
        super().__init__()
        self.name, self.sha256 = name, {"trunk": "", "heads": ""}
        self.trunk = TRUNKS[name][0]()
        self.heads = nn.ParameterList([torch.full((width,), 1 / width) for width in WIDTHS[name]])
        self.register_buffer("shift", torch.tensor(SHIFT).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(3, 1, 1), persistent=False)

    def load_heads(self, path: Path) -> Lpips:
        """Takes ``lin0.model.1.weight`` (1, C, 1, 1) ... ``lin4`` of the authors' file. Raises UserError for another file."""
        state = read_state(path)
        for index, head in enumerate(self.heads):
            weight = state.get(f"lin{index}.model.1.weight")
            if weight is None or weight.numel() != head.numel():
                raise UserError("{path} does not hold LPIPS heads for '{net}' (lin{index}.model.1.weight of {width} channels is not there). Expected the "
                                "authors' v0.1/{net}.pth: give that one.", path=path, net=self.name, index=index, width=head.numel())
            head.data.copy_(weight.flatten())
        return self.eval().requires_grad_(False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return lpips_distance(self, x, y)


def lpips_distance(net: Lpips, x: Tensor, y: Tensor) -> Tensor:
    """(N, 3, H, W) each, float in [-1, 1] -> (N,) distances. Differentiable in both pictures, everywhere finite (also where all features are 0).

    A pair's distance does not depend on the other pairs. Pictures are not resized. Raises UserError for other shapes, Unavailable for pictures that are
    too small for the network.
    """
    if x.shape != y.shape or x.ndim != 4 or x.shape[1] != 3:
        raise UserError("LPIPS compares pictures of one size and 3 colours, these are {first} and {second}. Expected (N, 3, H, W) twice: resize one side.",
                        first=tuple(x.shape), second=tuple(y.shape))
    if min(x.shape[2:]) < net.trunk.least:
        raise Unavailable("LPIPS with '{net}' needs pictures of at least {least} pixels a side, these have {height} x {width}. Enlarge both folders first, "
                          "or leave it out of --metrics.", net=net.name, least=net.trunk.least, height=x.shape[2], width=x.shape[3])
    total = x.new_zeros(len(x))
    both = (torch.cat([x, y]) - net.shift) / net.scale
    for head, maps in zip(net.heads, net.trunk.stages(both), strict=True):
        unit = maps / (torch.linalg.vector_norm(maps, dim=1, keepdim=True) + TINY)
        first, second = unit.chunk(2)
        total = total + ((first - second).square() * head[:, None, None]).sum(1).mean((1, 2))
    return total


def open_lpips(name: str = "vgg", *, trunk: Path | None = None, heads: Path | None = None, device: str = "cpu") -> Lpips:
    """LPIPS 0.1 with published weights, frozen. ``name``: "vgg" or "alex"; ``trunk``, ``heads``: torchvision's and the authors' file, looked for as every
    extractor's weights where they are not given. Raises Unavailable where they cannot be had: there is no LPIPS without them.
    """
    if name not in TRUNKS:
        raise UserError("LPIPS has no network '{name}'. Expected one of: {known}.", name=name, known=", ".join(TRUNKS))
    net = Lpips(name)
    trunk, heads = find(TRUNKS[name][1], trunk), find(HEADS[name], heads)
    net.sha256 = {"trunk": sha256_of(trunk), "heads": sha256_of(heads)}
    net.trunk.load(trunk)
    return net.load_heads(heads).to(device)


@torch.no_grad()
def distances(net: Lpips, real: Tensor, fake: Tensor) -> np.ndarray:
    """uint8 (N, 1, 3 or 4, H, W) in 0..255 each -> (N,) float64, in batches of bounded memory."""
    if real.shape[2:] != fake.shape[2:] or len(real) != len(fake):
        raise UserError("LPIPS compares pictures of one size pair by pair, these are {first} and {second}. Resize one side to the other.",
                        first=tuple(real.shape), second=tuple(fake.shape))
    size = max(1, PIXELS // (2 * real.shape[2] * real.shape[3]))
    pieces = zip(real.split(size), fake.split(size), strict=True)
    values = [lpips_distance(net, _signed(net, one), _signed(net, two)).double().cpu().numpy() for one, two in pieces]
    return np.concatenate(values) if values else np.zeros(0)


def _signed(net: Lpips, pictures: Tensor) -> Tensor:
    return as_rgb(pictures).to(net.shift.device).float() / 127.5 - 1


def protocol(net: Lpips) -> dict:
    """What of the network changes the number."""
    return {"network": net.name, "version": "0.1", "resize": "none", "trunk_sha256": net.sha256["trunk"], "heads_sha256": net.sha256["heads"]}


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """Mean over the pairs, each pair's pictures read once for all networks; the error is that of a mean of independent pairs."""
    nets = {name: open_lpips(NETS[name], trunk=samples.weights.get(NETS[name]), heads=samples.weights.get(name), device=samples.device) for name in names}
    values: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for _, real, fake in samples.pairs():
        for name, net in nets.items():
            values[name].append(distances(net, real, fake))
    return [_result(samples, name, net, np.concatenate([np.zeros(0), *values[name]])) for name, net in nets.items()]


def _result(samples: Samples, name: str, net: Lpips, found: np.ndarray) -> dict:
    if not len(found):
        raise Unavailable("There is no pair to compare. LPIPS expects a fake for each real picture: give two folders with the same file names.")
    error = float(found.std(ddof=1) / np.sqrt(len(found))) if len(found) > 1 else None
    return samples.result(
        name,
        float(found.mean()),
        error,
        num_real=len(found),
        num_fake=len(found),
        protocol={**protocol(net), "value": "mean over the pairs", "error": "standard deviation over the pairs / sqrt(pairs)"},
        details={"median": float(np.median(found)), "largest": float(found.max())},
    )
