"""DINOv2: self-supervised features, which follow the things in a picture more than its texture.

Oquab et al., 2023, https://arxiv.org/abs/2304.07193; weights by Meta (github.com/facebookresearch/dinov2, Apache-2.0). For FD they were proposed by Stein et
al., 2023, "Exposing flaws of generative model evaluation metrics", https://arxiv.org/abs/2306.04675, whose code (dgm-eval) takes ViT-L/14, squeezes each
picture to 224x224 by Pillow's bicubic on 8 bits and normalises as for ImageNet: so here. The modules carry the names of Meta's files; Hugging Face's layout
is renamed on reading. Features: the class token after the last norm.

The position embeddings are those of 37x37 patches (518 pixels) and are brought to 16x16 with Meta's settings: bicubic (a = -0.75), not antialiased, by the
scale (16 + 0.1) / 37 rather than to a size, which shifts the grid a little. transformers and timm interpolate otherwise, so their features differ at 224.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agon.data.cache import sha256_of
from agon.metrics.features.base import Extractor, as_rgb
from agon.metrics.features.clip import load
from agon.metrics.features.pillow import LINE, normalised, precision_of, squeeze
from agon.metrics.features.weights import Weights, find, read_state

NAMES = {
    "dinov2": "DINOv2 ViT-L/14: 1024 numbers a picture, 224x224; FD-DINOv2's",
    "dinov2-b": "DINOv2 ViT-B/14: 768 numbers a picture",
    "dinov2-s": "DINOv2 ViT-S/14: 384 numbers a picture, the fastest",
}
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE = 224  # pixels


def _weights(model: str, size: int, sha256: str) -> Weights:
    # Meta publishes no hashes: these, and the sizes, are what several independent repositories found (refiners' conversion script, RoMa's and DeDoDe's lock
    # files ...).
    file = f"dinov2_{model}_pretrain.pth"
    url = f"https://dl.fbaipublicfiles.com/dinov2/dinov2_{model}/{file}"
    return Weights(file, (url,), size, sha256, "Apache-2.0", "Meta, github.com/facebookresearch/dinov2")


WEIGHTS = {
    "dinov2": _weights("vitl14", 1_217_586_395, "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428"),
    "dinov2-b": _weights("vitb14", 346_378_731, "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73"),
    "dinov2-s": _weights("vits14", 88_283_115, "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9"),
}


@dataclass(frozen=True)
class DinoConfig:
    """``trained``: the side in pixels that the position embeddings are for; ``patch``: a patch's."""

    width: int
    depth: int
    heads: int
    patch: int = 14
    trained: int = 518


CONFIGS = {"dinov2": DinoConfig(1024, 24, 16), "dinov2-b": DinoConfig(768, 12, 12), "dinov2-s": DinoConfig(384, 12, 6)}


class Attention(nn.Module):
    def __init__(self, config: DinoConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv, self.proj = nn.Linear(config.width, 3 * config.width), nn.Linear(config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Scale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Block(nn.Module):
    def __init__(self, config: DinoConfig) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(config.width, eps=1e-6), nn.LayerNorm(config.width, eps=1e-6)
        self.attn, self.mlp = Attention(config), Mlp(config.width)
        self.ls1, self.ls2 = Scale(config.width), Scale(config.width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class Patches(nn.Module):
    def __init__(self, config: DinoConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.width, config.patch, config.patch)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.proj(pictures).flatten(2).transpose(1, 2)


class DinoNet(nn.Module):
    """Normalised float (N, 3, H, W), sides multiples of ``patch`` -> (N, width): the class token after the norm."""

    def __init__(self, config: DinoConfig) -> None:
        super().__init__()
        self.config, self.grid = config, config.trained // config.patch
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, self.grid**2 + 1, config.width))
        self.mask_token = nn.Parameter(torch.zeros(1, config.width))  # of the training; kept so that the published file fits
        self.patch_embed = Patches(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)

    def positions(self, height: int, width: int) -> Tensor:
        """(1, 1 + height * width, C) for so many patches, as Meta's ``interpolate_pos_encoding`` gives them."""
        if height == width == self.grid:
            return self.pos_embed
        grid = self.pos_embed[:, 1:].unflatten(1, (self.grid, self.grid)).permute(0, 3, 1, 2).float()
        grid = F.interpolate(grid, scale_factor=((height + 0.1) / self.grid, (width + 0.1) / self.grid), mode="bicubic")
        return torch.cat([self.pos_embed[:, :1], grid.flatten(2).transpose(1, 2)], 1)

    def forward(self, pictures: Tensor) -> Tensor:
        height, width = (side // self.config.patch for side in pictures.shape[-2:])
        x = torch.cat([self.cls_token.expand(len(pictures), -1, -1), self.patch_embed(pictures)], 1) + self.positions(height, width)
        for block in self.blocks:
            x = block(x)
        return self.norm(x[:, 0])


RENAMED = (
    ("embeddings.cls_token", "cls_token"), ("embeddings.mask_token", "mask_token"), ("embeddings.position_embeddings", "pos_embed"),
    ("embeddings.patch_embeddings.projection.", "patch_embed.proj."), ("encoder.layer.", "blocks."), ("layernorm.", "norm."),
    (".layer_scale1.lambda1", ".ls1.gamma"), (".layer_scale2.lambda1", ".ls2.gamma"),
    (".attention.output.dense.", ".attention.o_proj."), (".attention.o_proj.", ".attn.proj."),  # the published files', and transformers 5's own
    (".attention.attention.query.", ".attention.q_proj."), (".attention.attention.key.", ".attention.k_proj."),
    (".attention.attention.value.", ".attention.v_proj."),
)  # fmt: skip


def from_hugging_face(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of facebook/dinov2-* (transformers' Dinov2Model, before its version 5 and since) -> Meta's: query, key and value are joined to one matrix."""
    found = {}
    for name, value in state.items():
        name = name.removeprefix("dinov2.")
        for old, new in RENAMED:
            name = name.replace(old, new)
        found[name] = value
    for name in [name for name in found if ".attention.q_proj." in name]:
        parts = [name.replace(".q_proj.", f".{part}_proj.") for part in "qkv"]
        found[name.replace(".attention.q_proj.", ".attn.qkv.")] = torch.cat([found.pop(part) for part in parts])
    return found


class Dinov2(Extractor):
    """Pictures to DINOv2 features. ``weights``: the file; ``config``: the net's form, that of ``name`` if left out."""

    def __init__(self, name: str, weights: Path, *, config: DinoConfig | None = None, device: str = "cpu", precision: str = "fp32") -> None:
        config = config or CONFIGS[name]
        self.name, self.device = name, device
        self.sha256, self.dtype = sha256_of(weights), precision_of(precision)
        self.layers = {"features": config.width}
        self.protocol = {"resize": f"squeeze: {LINE.format(size=SIZE)}", "precision": precision, "output": "class token after the norm"}
        self.net = make(config, read_state(weights), weights).to(device)

    @torch.inference_mode()
    def run(self, samples: Tensor, layers: Sequence[str] = ("features",)) -> dict[str, Tensor]:
        """uint8 (N, 1, 3 or 4, H, W) -> {"features": float32 (N, 384, 768 or 1024)}."""
        pictures = normalised(squeeze(as_rgb(samples), SIZE), MEAN, DEVIATION, self.device)
        with torch.autocast(self.device.split(":")[0], self.dtype, enabled=self.dtype != torch.float32):
            return {"features": self.net(pictures).float().cpu()}


def make(config: DinoConfig, state: dict[str, Tensor], path: Path) -> DinoNet:
    """The net with its weights, in either layout, ready to use."""
    with torch.device("meta"):
        net = DinoNet(config).eval()
    load(net, state if "pos_embed" in state else from_hugging_face(state), path)
    return net


def open_extractor(name: str, *, weights: Path | None = None, device: str = "cpu", precision: str = "fp32") -> Dinov2:
    """Raises Unavailable where the weights are nowhere, UserError where they are not DINOv2's."""
    return Dinov2(name, find(WEIGHTS[name], weights), device=device, precision=precision)
