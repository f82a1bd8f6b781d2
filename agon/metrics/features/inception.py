"""Inception "2015-12-05", the network of FID, KID and the Inception Score: 2048 features (pool3) and 1008 class scores.

Architecture: Szegedy et al. 2015, https://arxiv.org/abs/1512.00567, in the frozen graph that Google published on 2015-12-05, which is not torchvision's
Inception v3: 1008 classes, average pools that do not count their padding, a maximum pool in the last block, batch norm with epsilon 1e-3, no auxiliary head.
Names are those of pytorch-fid's file (``Mixed_5b.branch1x1.conv.weight``); NVIDIA's TorchScript holds the same weights under TensorFlow's names
(``layers.mixed.conv.weight``), which are translated: its code is not run.

Speed, with the same result in exact arithmetic: batch norm is folded into the convolutions; an average pool in front of a 1x1 convolution is moved behind it,
where there are fewer channels (both are linear); the 1x1 convolutions that read the same tensor are one; everything lies channels-last.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agon.data.cache import sha256_of
from agon.errors import Unavailable, UserError
from agon.metrics.ahead import ahead
from agon.metrics.features import resize
from agon.metrics.features.base import Extractor, as_rgb
from agon.metrics.features.weights import Weights, find, read_state

NAMES = {"inception": "Inception 2015 with TensorFlow's bilinear resize, as torch-fidelity and NVIDIA: FID, KID and IS as published",
         "inception-clean": "Inception 2015 with Pillow's antialiased bicubic resize, as clean-fid",
         "inception-pytorch": "Inception 2015 with PyTorch's bilinear resize, as pytorch-fid"}
RESIZE = {"inception": "299 bilinear, TensorFlow 1", "inception-clean": "299 bicubic antialiased, Pillow float",
          "inception-pytorch": "299 bilinear, half-pixel"}
PRECISIONS = ("fp32", "bf16", "bf16-compiled")
LAYERS = {"features": 2048, "logits": 1008}
BATCH = 16  # pictures in one pass: more gain nothing on a CPU and hold more memory

# SHA-256 and size: the same in more than five independent public repositories, and the file's name carries the hash's beginning. torch-fidelity
# publishes the same bytes as weights-inception-2015-12-05-6726825d.pth.
SAME_WEIGHTS = {"inception-clean": "inception", "inception-pytorch": "inception"}  # one file serves all three

WEIGHTS = Weights(
    "pt_inception-2015-12-05-6726825d.pth",
    ("https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
     "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"),
    95_628_359, "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2", "Apache-2.0",
    "Google's graph of 2015-12-05 (download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz), converted by pytorch-fid")
# The same weights as NVIDIA's TorchScript, for a given path; hash from k-diffusion and several others.
TORCHSCRIPT = Weights(
    "inception-2015-12-05.pt", ("https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt",),
    95_607_719, "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4", "Apache-2.0", "Google's graph of 2015-12-05, converted by NVIDIA")

# The network as a table. A convolution: name: (inputs, outputs, (kernel height, width), stride, (padding height, width)).
Row = tuple[int, int, tuple[int, int], int, tuple[int, int]]


def row(inputs: int, outputs: int, kernel: int | tuple[int, int] = 1, stride: int = 1, same: bool = True) -> Row:
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    return inputs, outputs, (height, width), stride, (height // 2, width // 2) if same and stride == 1 else (0, 0)


STEM = {"Conv2d_1a_3x3": row(3, 32, 3, 2), "Conv2d_2a_3x3": row(32, 32, 3, same=False), "Conv2d_2b_3x3": row(32, 64, 3), "Conv2d_3b_1x1": row(64, 80),
        "Conv2d_4a_3x3": row(80, 192, 3, same=False)}


def block_a(inputs: int, pool: int) -> dict[str, Row]:
    return {"branch1x1": row(inputs, 64), "branch5x5_1": row(inputs, 48), "branch5x5_2": row(48, 64, 5), "branch3x3dbl_1": row(inputs, 64),
            "branch3x3dbl_2": row(64, 96, 3), "branch3x3dbl_3": row(96, 96, 3), "branch_pool": row(inputs, pool)}


def block_b(inputs: int) -> dict[str, Row]:
    return {"branch3x3": row(inputs, 384, 3, 2), "branch3x3dbl_1": row(inputs, 64), "branch3x3dbl_2": row(64, 96, 3), "branch3x3dbl_3": row(96, 96, 3, 2)}


def block_c(inputs: int, inner: int) -> dict[str, Row]:
    return {"branch1x1": row(inputs, 192), "branch7x7_1": row(inputs, inner), "branch7x7_2": row(inner, inner, (1, 7)), "branch7x7_3": row(inner, 192, (7, 1)),
            "branch7x7dbl_1": row(inputs, inner), "branch7x7dbl_2": row(inner, inner, (7, 1)), "branch7x7dbl_3": row(inner, inner, (1, 7)),
            "branch7x7dbl_4": row(inner, inner, (7, 1)), "branch7x7dbl_5": row(inner, 192, (1, 7)), "branch_pool": row(inputs, 192)}


def block_d(inputs: int) -> dict[str, Row]:
    return {"branch3x3_1": row(inputs, 192), "branch3x3_2": row(192, 320, 3, 2), "branch7x7x3_1": row(inputs, 192), "branch7x7x3_2": row(192, 192, (1, 7)),
            "branch7x7x3_3": row(192, 192, (7, 1)), "branch7x7x3_4": row(192, 192, 3, 2)}


def block_e(inputs: int) -> dict[str, Row]:
    return {"branch1x1": row(inputs, 320), "branch3x3_1": row(inputs, 384), "branch3x3_2a": row(384, 384, (1, 3)), "branch3x3_2b": row(384, 384, (3, 1)),
            "branch3x3dbl_1": row(inputs, 448), "branch3x3dbl_2": row(448, 384, 3), "branch3x3dbl_3a": row(384, 384, (1, 3)),
            "branch3x3dbl_3b": row(384, 384, (3, 1)), "branch_pool": row(inputs, 192)}


BLOCKS = {"Mixed_5b": block_a(192, 32), "Mixed_5c": block_a(256, 64), "Mixed_5d": block_a(288, 64), "Mixed_6a": block_b(288), "Mixed_6b": block_c(768, 128),
          "Mixed_6c": block_c(768, 160), "Mixed_6d": block_c(768, 160), "Mixed_6e": block_c(768, 192), "Mixed_7a": block_d(768), "Mixed_7b": block_e(1280),
          "Mixed_7c": block_e(2048)}

# Which chains of convolutions run behind one another, from the block's input; "a|b" are side by side on the same tensor. None: a 3x3 maximum pool of stride 2.
CHAINS = {
    "A": (("branch1x1",), ("branch5x5_1", "branch5x5_2"), ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"), ("branch_pool",)),
    "B": (("branch3x3",), ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"), None),
    "C": (("branch1x1",), ("branch7x7_1", "branch7x7_2", "branch7x7_3"), tuple(f"branch7x7dbl_{number}" for number in range(1, 6)), ("branch_pool",)),
    "D": (("branch3x3_1", "branch3x3_2"), tuple(f"branch7x7x3_{number}" for number in range(1, 5)), None),
    "E": (("branch1x1",), ("branch3x3_1", "branch3x3_2a|branch3x3_2b"), ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3a|branch3x3dbl_3b"),
          ("branch_pool",)),
}
KINDS = dict(zip(BLOCKS, "AAABCCCCDEE", strict=True))


def shapes() -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor of the published state dict (batch norm's counters apart)."""
    found = {}
    table = STEM | {f"{block}.{name}": row for block, rows in BLOCKS.items() for name, row in rows.items()}
    for name, (inputs, outputs, kernel, _, _) in table.items():
        found[f"{name}.conv.weight"] = (outputs, inputs, *kernel)
        found |= {f"{name}.bn.{part}": (outputs,) for part in ("weight", "bias", "running_mean", "running_var")}
    return found | {"fc.weight": (1008, 2048), "fc.bias": (1008,)}


class Conv(nn.Module):
    """A convolution with a bias (batch norm folded in), then ReLU unless it is left to the caller."""

    def __init__(self, weight: Tensor, bias: Tensor, stride: int, padding: tuple[int, int]):
        super().__init__()
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last), requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor, relu: bool = True) -> Tensor:
        y = F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        return F.relu_(y) if relu else y


class Mixed(nn.Module):
    """A block: chains side by side, their outputs joined. ``pool``: "mean" or "max" in front of branch_pool, "" where there is none."""

    def __init__(self, state: dict[str, Tensor], name: str):
        super().__init__()
        self.chains = CHAINS[KINDS[name]]
        self.pool = "" if KINDS[name] in "BD" else "max" if name == "Mixed_7c" else "mean"
        rows = BLOCKS[name]
        folded = {branch: fold(state, f"{name}.{branch}") for branch in rows}
        self.heads = [chain[0] for chain in self.chains if chain and rows[chain[0]][2] == (1, 1) and not (chain[0] == "branch_pool" and self.pool == "max")]
        self.sizes = [rows[head][1] for head in self.heads]
        self.head = Conv(torch.cat([folded[head][0] for head in self.heads]), torch.cat([folded[head][1] for head in self.heads]), 1, (0, 0))
        self.rest = nn.ModuleDict({branch: Conv(*folded[branch], rows[branch][3], rows[branch][4]) for branch in rows if branch not in self.heads})

    def forward(self, x: Tensor) -> Tensor:
        heads = dict(zip(self.heads, self.head(x, relu=False).split(self.sizes, 1), strict=True))
        made = []
        for chain in self.chains:
            if chain is None:
                made.append(F.max_pool2d(x, 3, 2))
                continue
            y = self._head(x, chain[0], heads)
            for step in chain[1:]:
                parts = [self.rest[name](y) for name in step.split("|")]
                y = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
            made.append(y)
        return torch.cat(made, 1)

    def _head(self, x: Tensor, name: str, heads: dict[str, Tensor]) -> Tensor:
        if name not in heads:
            return self.rest[name](F.max_pool2d(x, 3, 1, 1) if name == "branch_pool" else x)
        y = heads[name]
        return F.relu(F.avg_pool2d(y, 3, 1, 1, count_include_pad=False) if name == "branch_pool" else y)


class Inception(nn.Module):
    """Built from a published state dict, folded. Raises UserError where names or shapes are others."""

    def __init__(self, state: dict[str, Tensor]):
        super().__init__()
        check(state)
        self.stem = nn.ModuleList(Conv(*fold(state, name), stride, padding) for name, (_, _, _, stride, padding) in STEM.items())
        self.blocks = nn.Sequential(*(Mixed(state, name) for name in BLOCKS))
        self.fc = nn.Parameter(state["fc.weight"].float(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, 299, 299) in [-1, 1] -> features (N, 2048) float32."""
        first, second, third, fourth, fifth = self.stem
        x = F.max_pool2d(third(second(first(x))), 3, 2)
        x = F.max_pool2d(fifth(fourth(x)), 3, 2)
        return self.blocks(x).float().mean((2, 3))


def fold(state: dict[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    """Weight and bias of convolution and batch norm (epsilon 1e-3) in one, made in float64."""
    weight, scale, shift, mean, variance = (state[f"{name}.{part}"].double() for part in
                                            ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"))
    factor = scale / (variance + 1e-3).sqrt()
    return (weight * factor[:, None, None, None]).float(), (shift - mean * factor).float()


def check(state: dict[str, Tensor]) -> None:
    """Raise UserError where the state dict is not this network's."""
    for name, shape in shapes().items():
        if name not in state or tuple(state[name].shape) != shape:
            raise UserError("These weights are not Inception 2015's: {name} should be there with shape {shape}, found {found}. Expected {file} from {url}.",
                            name=name, shape=shape, found=tuple(state[name].shape) if name in state else "nothing", file=WEIGHTS.file, url=WEIGHTS.urls[0])


def translated(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """NVIDIA's TorchScript names -> pytorch-fid's. Its batch norm has no scale: one.

    There a block is ``layers.mixed_3`` (Mixed_6a) and holds ``conv``, ``tower``, ``tower_1`` and ``tower_2`` in the order of the branches, ``conv_2`` being a
    tower's third convolution; each has ``weight``, ``beta``, ``mean`` and ``var``. Known from public ports of that file; not tried on the file itself.
    """
    made = {"fc.weight": state["output.weight"], "fc.bias": state["output.bias"]}
    for theirs, ours in script_names().items():
        found = {part: state.get(f"layers.{theirs}.{part}") for part in ("weight", "beta", "mean", "var")}
        if any(tensor is None for tensor in found.values()):
            raise UserError("The TorchScript Inception holds no layers.{name} with weight, beta, mean and var. Expected {file}; or use {other}, from {url}.",
                            name=theirs, file=TORCHSCRIPT.file, other=WEIGHTS.file, url=WEIGHTS.urls[0])
        made |= {f"{ours}.conv.weight": found["weight"], f"{ours}.bn.weight": torch.ones_like(found["beta"]), f"{ours}.bn.bias": found["beta"],
                 f"{ours}.bn.running_mean": found["mean"], f"{ours}.bn.running_var": found["var"]}
    return made


def script_names() -> dict[str, str]:
    """Convolutions in NVIDIA's TorchScript -> in pytorch-fid's file."""
    towers = {"A": ("conv", "tower", "tower_1", "tower_2"), "B": ("conv", "tower"), "C": ("conv", "tower", "tower_1", "tower_2"), "D": ("tower", "tower_1")}
    last = dict(zip(BLOCKS["Mixed_7c"], ("conv", "tower_conv", "tower_mixed_conv", "tower_mixed_conv_1", "tower_1_conv", "tower_1_conv_1",
                                         "tower_1_mixed_conv", "tower_1_mixed_conv_1", "tower_2_conv"), strict=True))
    names = {f"conv_{number}" if number else "conv": name for number, name in enumerate(STEM)}
    for number, (block, kind) in enumerate(KINDS.items()):
        mixed = f"mixed_{number}" if number else "mixed"
        if kind == "E":
            names |= {f"{mixed}.{theirs}": f"{block}.{ours}" for ours, theirs in last.items()}
            continue
        for tower, chain in zip(towers[kind], (chain for chain in CHAINS[kind] if chain), strict=True):
            for place, ours in enumerate(chain):
                inner = "" if tower == "conv" else f".conv_{place}" if place else ".conv"
                names[f"{mixed}.{tower}{inner}"] = f"{block}.{ours}"
    return names


def scaled(name: str, pictures: Tensor) -> Tensor:
    """uint8 (N, 3, H, W) -> (N, 3, 299, 299) as the named extractor feeds it: (x - 128) / 128, in pytorch-fid 2 x / 255 - 1."""
    if name == "inception-pytorch":
        return resize.half_pixel(pictures).mul_(2 / 255).sub_(1)
    made = resize.clean(pictures) if name == "inception-clean" else resize.tensorflow(pictures)
    return made.sub_(128).div_(128)


class InceptionExtractor(Extractor):
    """uint8 pictures -> "features" (2048, >= 0) and "logits" (1008, without the bias, as the Inception Score reads them)."""

    def __init__(self, name: str, state: dict[str, Tensor], *, sha256: str = "", device: str = "cpu", precision: str = "fp32"):
        if name not in NAMES or precision not in PRECISIONS:
            raise UserError("There is no extractor '{name}' at precision '{precision}'. Expected one of {names} at one of {precisions}.", name=name,
                            precision=precision, names=", ".join(NAMES), precisions=", ".join(PRECISIONS))
        self.name, self.sha256, self.layers, self.device = name, sha256, dict(LAYERS), torch.device(device)
        self.protocol = {"resize": RESIZE[name], "precision": precision.removesuffix("-compiled")}
        self.dtype = torch.float32 if precision == "fp32" else torch.bfloat16
        self.net = Inception(translated(state) if "output.weight" in state else state).eval().to(self.device)
        for part in (self.net.stem, self.net.blocks):
            part.to(self.dtype)
        self.forward, self.whole = self.net, 0
        if precision == "bf16-compiled":
            if self.device.type == "cpu" and not any(shutil.which(compiler) for compiler in (os.environ.get("CXX", "g++"), "clang++")):
                raise Unavailable("Compiling Inception needs a C++ compiler, and none was found. Install g++ (apt-get install g++), or take precision bf16.")
            self.whole = BATCH  # one shape, one compilation: shorter batches are filled up
            self.forward = torch.compile(self.net, dynamic=False, options={"freezing": True})

    @torch.no_grad()
    def run(self, samples: Tensor, layers: Sequence[str] = ("features",)) -> dict[str, Tensor]:
        """``samples``: uint8 (N, 1, 3 or 4, H, W) -> float32 (N, 2048 or 1008) on the CPU."""
        parts = [self.forward(ready)[:count] for ready, count in ahead(self._ready, samples.split(BATCH))]
        features = torch.cat(parts) if parts else torch.empty(0, LAYERS["features"], device=self.device)
        made = {"features": features, "logits": features @ self.net.fc.T} if "logits" in layers else {"features": features}
        return {layer: made[layer].cpu() for layer in layers}

    @torch.no_grad()
    def _ready(self, pictures: Tensor) -> tuple[Tensor, int]:
        """(network input, how many of it are pictures): what goes on in another thread while the network is at the batch before."""
        x = scaled(self.name, as_rgb(pictures.to(self.device))).contiguous(memory_format=torch.channels_last).to(self.dtype)
        if len(x) < self.whole:
            x = torch.cat([x, x.new_zeros(self.whole - len(x), *x.shape[1:])]).contiguous(memory_format=torch.channels_last)
        return x, len(pictures)


def open_extractor(name: str, *, weights: Path | None = None, device: str = "cpu", precision: str = "fp32") -> InceptionExtractor:
    """``name``: see NAMES. ``weights``: a path to pytorch-fid's or torch-fidelity's file, NVIDIA's TorchScript, or any of them as safetensors.

    ``precision``: "fp32"; "bf16" (about twice as fast on processors that have it, features off by some 0.5 %); "bf16-compiled" (some minutes of compilation,
    then the fastest). Raises Unavailable where the weights cannot be had.
    """
    path = find(WEIGHTS, weights)
    return InceptionExtractor(name, read_state(path), sha256=sha256_of(path), device=device, precision=precision)
