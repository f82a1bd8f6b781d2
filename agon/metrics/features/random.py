"""A fixed random convolutional net: features for any picture, with nothing to download and nothing learnt.

Untrained random filters see edges, colours and textures at several scales, and the Fréchet distance between their statistics follows damage to pictures
(measured: docs/metrics/clip.md). They know no objects: numbers in these features compare models of one data set with each other, never with a published FID.
Naeem et al., 2020, https://arxiv.org/abs/2002.09797, take a randomly initialised VGG16 in the same spirit, for data far from ImageNet.

The weights are not drawn by torch or by numpy's distributions, whose streams may change with the version, but computed from PCG64's raw 64-bit output, which
is fixed: uniform in [-1, 1), the mean of each filter removed so that it sees differences (but for half of the first stage's, which see colours), then scaled
to norm sqrt(2).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agon.errors import UserError
from agon.metrics.features.base import Extractor, as_rgb
from agon.metrics.features.pillow import precision_of

NAMES = {"random": "a fixed random convolutional net: 448 numbers a picture of any size from 8x8, no weights to fetch, knows textures and no objects"}
SEED = 20_140_610  # of the paper that began it all: any other would do
CHANNELS = (32, 48, 48, 48, 48)
LEAST = 8  # pixels
QUIET = 0.01  # variance below which there is nothing to see: an empty picture stays empty


def weights(seed: int = SEED) -> list[np.ndarray]:
    """The filters of each stage, float32 (out, in, 3, 3): the same bits under every version of numpy and torch."""
    source, made, inputs = np.random.PCG64(seed), [], 3
    for stage, outputs in enumerate(CHANNELS):
        raw = source.random_raw(outputs * inputs * 9)
        filters = ((raw >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1).reshape(outputs, inputs, 3, 3)
        edges = filters[outputs // 2 :] if stage == 0 else filters
        edges -= edges.mean((1, 2, 3), keepdims=True)
        filters *= np.sqrt(2 / (filters**2).sum((1, 2, 3), keepdims=True))
        made.append(filters.astype(np.float32))
        inputs = outputs
    return made


class RandomNet(nn.Module):
    """Float (N, 3, H, W) in [-1, 1] -> (N, 448): mean and deviation of each channel after each of five stages, a 3x3 convolution and a ReLU.

    Between two stages the picture is halved (not below 2 pixels), every channel's own mean is taken out, and what is left is brought to one contrast over
    all channels: else the strongest colours would fill every stage, and shapes would hardly count.
    """

    def __init__(self, seed: int = SEED) -> None:
        super().__init__()
        self.filters = nn.ParameterList(nn.Parameter(torch.from_numpy(part), requires_grad=False) for part in weights(seed))

    def forward(self, x: Tensor) -> Tensor:
        found = []
        for index, filters in enumerate(self.filters):
            if index:
                x = F.avg_pool2d(x, 2) if min(x.shape[2:]) >= 4 else x
                x = x - x.mean((2, 3), keepdim=True)
                x = x / (x.square().mean((1, 2, 3), keepdim=True) + QUIET).sqrt()
            x = F.relu(F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), filters))
            found += [x.mean((2, 3)), x.std((2, 3), correction=0)]
        return torch.cat(found, 1)


class Random(Extractor):
    """Pictures to the features of ``RandomNet``. ``sha256``: of the filters' bytes (float32, little-endian)."""

    def __init__(self, seed: int = SEED, *, device: str = "cpu", precision: str = "fp32") -> None:
        self.name, self.device, self.dtype = "random", device, precision_of(precision)
        self.net = RandomNet(seed).eval().to(device)
        self.sha256 = hashlib.sha256(b"".join(part.astype("<f4").tobytes() for part in weights(seed))).hexdigest()
        self.layers = {"features": 2 * sum(CHANNELS)}
        self.protocol = {"resize": "none", "precision": precision, "weights": f"random, untrained (PCG64, seed {seed})"}

    @torch.inference_mode()
    def run(self, samples: Tensor, layers: Sequence[str] = ("features",)) -> dict[str, Tensor]:
        """uint8 (N, 1, 3 or 4, H, W), sides >= 8 -> {"features": float32 (N, 448)}. Raises UserError for smaller pictures."""
        if min(samples.shape[-2:]) < LEAST:
            raise UserError("Pictures of {height}x{width} are too small for the extractor 'random'. Expected at least {least} pixels a side: enlarge "
                            "them, or choose another with 'agon list metrics'.", height=samples.shape[-2], width=samples.shape[-1], least=LEAST)
        pictures = as_rgb(samples).to(self.device).float().div_(127.5).sub_(1)
        with torch.autocast(self.device.split(":")[0], self.dtype, enabled=self.dtype != torch.float32):
            # One at a time on the CPU, where that is as fast and a picture's numbers then are the same bits in any company.
            parts = pictures.split(1) if self.device == "cpu" else [pictures]
            return {"features": torch.cat([self.net(part).float().cpu() for part in parts])}


def open_extractor(name: str, *, weights: Path | None = None, device: str = "cpu", precision: str = "fp32") -> Random:
    """Raises UserError where weights are given: there are none to give."""
    if weights is not None:
        raise UserError("The extractor 'random' takes no weights, and {path} was given. Leave it out, or name the extractor that it belongs to.", path=weights)
    return Random(device=device, precision=precision)
