"""The convolutional trunks of ImageNet classifiers that LPIPS reads (VGG16, AlexNet), and VGG16's last maps averaged as an extractor.

Simonyan and Zisserman, 2015, https://arxiv.org/abs/1409.1556 (VGG16 is column D of table 1); Krizhevsky, 2014, https://arxiv.org/abs/1404.5997 (AlexNet's
one-column form). Module and state-dict names are those of torchvision's published files (``features.0.weight`` ...); the classifiers on top are not built.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agon.data.cache import sha256_of
from agon.errors import UserError
from agon.metrics.features.base import Extractor, as_rgb
from agon.metrics.features.weights import Weights, find, read_state

NAMES = {"vgg": "VGG16 trained on ImageNet: the maps of relu5_3, averaged over the picture (512 numbers)"}

# torchvision puts the first eight digits of the SHA-256 into the names; the rest and the sizes are as several public repositories record them.
VGG16 = Weights("vgg16-397923af.pth", ("https://download.pytorch.org/models/vgg16-397923af.pth",), 553_433_881,
                "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0", "BSD-3-Clause (torchvision)", "torchvision, VGG16_Weights.IMAGENET1K_V1")
ALEXNET = Weights("alexnet-owt-7be5be79.pth", ("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",), 244_408_911,
                  "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02", "BSD-3-Clause (torchvision)",
                  "torchvision, AlexNet_Weights.IMAGENET1K_V1")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of colours in 0..1
SIDE = 224  # what the classifiers were trained at
BATCH = 8  # pictures of SIDE at a time: the first maps take 13 MB each


class Trunk(nn.Module):
    """Convolutions up to the last ReLU. ``taps``: indices into ``features`` of the five ReLUs that LPIPS reads; ``least``: pixels a side below which
    the last map is empty.
    """

    def __init__(self, layers: Sequence[nn.Module], taps: tuple[int, ...], least: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*layers)
        self.taps, self.least = taps, least

    def stages(self, x: Tensor) -> Iterator[Tensor]:
        """(N, 3, H, W), normalised -> the maps (N, C, h, w) behind each tap, coarser and coarser. One at a time: nothing earlier is held."""
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.taps:
                yield x

    def forward(self, x: Tensor) -> Tensor:
        """The last map."""
        return self.features(x)

    def load(self, path: Path) -> Trunk:
        """Takes a published file's ``features.*``; the classifier's tensors are passed over. Raises UserError for another network's file."""
        state = {name: value for name, value in read_state(path).items() if name.startswith("features.")}
        try:
            self.load_state_dict(state)
        except RuntimeError as error:
            raise UserError("{path} does not hold this network's weights ({why}). Expected torchvision's file: give that one.", path=path,
                            why=" ".join(str(error).split())[:200]) from None
        return self.eval().requires_grad_(False)


def vgg16() -> Trunk:
    """Thirteen 3x3 convolutions; the taps are relu1_2, 2_2, 3_3, 4_3 and 5_3 of 64, 128, 256, 512 and 512 maps."""
    layers: list[nn.Module] = []
    channels = 3
    for block in ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3):
        layers += [nn.MaxPool2d(2)] if layers else []
        for width in block:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
    return Trunk(layers, (3, 8, 15, 22, 29), least=16)


def alexnet() -> Trunk:
    """Five convolutions, a tap behind each: 64, 192, 384, 256 and 256 maps."""
    convolutions = [nn.Conv2d(3, 64, 11, 4, 2), nn.Conv2d(64, 192, 5, padding=2), nn.Conv2d(192, 384, 3, padding=1), nn.Conv2d(384, 256, 3, padding=1),
                    nn.Conv2d(256, 256, 3, padding=1)]
    layers: list[nn.Module] = []
    for index, convolution in enumerate(convolutions):
        layers += [convolution, nn.ReLU(inplace=True)] + ([nn.MaxPool2d(3, 2)] if index < 2 else [])
    return Trunk(layers, (1, 4, 7, 9, 11), least=31)


class VggFeatures(Extractor):
    """``trunk``'s last map averaged over the picture, of pictures resized to 224 x 224."""

    def __init__(self, trunk: Trunk, sha256: str = "", *, device: str = "cpu", precision: str = "fp32") -> None:
        self.name, self.sha256, self.layers = "vgg", sha256, {"features": 512}
        self.protocol = {"resize": f"bilinear, antialiased, to {SIDE}x{SIDE}", "normalisation": "ImageNet", "pooling": "mean of relu5_3",
                         "precision": precision if precision == "fp32" else "bf16"}
        self.trunk, self.device, self.half = trunk.to(device), torch.device(device), precision != "fp32"
        self.mean, self.std = (torch.tensor(part, device=device).view(3, 1, 1) for part in (MEAN, STD))

    @torch.no_grad()
    def run(self, samples: Tensor, layers: Sequence[str] = ("features",)) -> dict[str, Tensor]:
        """uint8 (N, 1, 3 or 4, H, W) -> {"features": (N, 512)}."""
        parts = [self._run(as_rgb(part).to(self.device)) for part in samples.split(BATCH)]
        return dict.fromkeys(layers, torch.cat(parts) if parts else torch.zeros(0, self.layers["features"]))

    def _run(self, pictures: Tensor) -> Tensor:
        x = pictures.float() / 255
        if x.shape[2:] != (SIDE, SIDE):
            x = F.interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            maps = self.trunk((x - self.mean) / self.std)
        return maps.float().mean((2, 3)).cpu()


def open_extractor(name: str, *, weights: Path | None = None, device: str = "cpu", precision: str = "fp32") -> Extractor:
    """The extractor "vgg". ``weights``: torchvision's vgg16-397923af.pth (or the same tensors as safetensors); ``precision``: fp32 or bf16.

    Raises Unavailable where the weights cannot be had.
    """
    path = find(VGG16, weights)
    return VggFeatures(vgg16().load(path), sha256_of(path), device=device, precision=precision)
