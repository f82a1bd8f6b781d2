"""TransGAN's networks (Jiang, Chang & Wang, 2021), https://arxiv.org/abs/2102.07074, section 3, for any size that can be halved.

Generator: Transformer blocks at every resolution; between resolutions pixels are shuffled (a quarter of the channels, twice the side). Discriminator: patches
of two sizes, joined after the finer ones have been attended to and pooled, then a class token whose last state is judged. Every block but the class token's
adds a learned bias for each relative position; the discriminator's add noise of a learned strength, from 0, to what they attend to. No output activation.
Maps of more than ``whole`` tokens a side are attended to in windows ("grid self-attention", equation 4). Parameters as published: CIFAR-10
83,312,495 and 10,210,400; STL-10 at 48 pixels (pixel norm) 168,466,623 and 10,341,536.

Differs: where a picture needs more than ``pixel_shuffles`` doublings, the first ones are bicubic and keep their width, as in the paper's
networks for 128 pixels and more; their third patch size is left out. The noise is drawn for every sample while training and is absent otherwise.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agon.data.source import DataSpec
from agon.errors import UserError
from agon.game import Draws
from agon.networks.sizes import doublings


class PixelNorm(nn.Module):
    """x / sqrt(mean over channels of x^2 + 1e-8) (Karras et al. 2018), tokens (N, T, C)."""

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float() if x.element_size() < 4 else x
        return (wide * torch.rsqrt(wide.square().mean(2, keepdim=True) + 1e-8)).to(x.dtype)


def norm(name: str, width: int) -> nn.Module:
    """``layer`` or ``pixel``."""
    return nn.LayerNorm(width) if name == "layer" else PixelNorm()


def relative_positions(height: int, width: int) -> Tensor:
    """(h w, h w) index of the offset between two tokens, from 0 to (2 h - 1)(2 w - 1) - 1."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    down = rows.reshape(-1, 1) - rows.reshape(1, -1) + height - 1
    right = columns.reshape(-1, 1) - columns.reshape(1, -1) + width - 1
    return down * (2 * width - 1) + right


def window_of(grid: tuple[int, int], whole: int, window: int) -> tuple[int, int]:
    """The whole grid where no side is above ``whole``, else the largest (height, width) up to ``window`` that tiles it."""
    if max(grid) <= whole:
        return grid
    return tuple(next(n for n in range(min(side, window), 0, -1) if side % n == 0) for side in grid)


class Attention(nn.Module):
    """Multi-head self-attention of the tokens (N, h w, C) of a grid, in windows; ``grid`` None: of any tokens, without relative positions.

    Plain matrix products: the fused kernels have no double backward, which the gradient penalty needs.
    """

    def __init__(self, width: int, heads: int, grid: tuple[int, int] | None, window: tuple[int, int] | None, noisy: bool):
        super().__init__()
        self.heads, self.grid, self.window = heads, grid, window
        self.qkv, self.project = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.noise_strength = nn.Parameter(torch.zeros(())) if noisy else None
        if self.window:
            height, breadth = self.window
            self.table = nn.Parameter(torch.empty((2 * height - 1) * (2 * breadth - 1), heads))
            nn.init.trunc_normal_(self.table, std=0.02)
            self.register_buffer("positions", relative_positions(height, breadth), persistent=False)

    def forward(self, x: Tensor, draws: Draws | None = None) -> Tensor:
        if self.noise_strength is not None and draws is not None:
            x = x + draws.normal(len(x), x.shape[1], 1).to(x.dtype) * self.noise_strength.to(x.dtype)
        if self.window is None:
            return self.attend(x)
        return self.join(self.attend(self.split(x)), len(x))

    def attend(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        q, k, v = self.qkv(x).view(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) / math.sqrt(width // self.heads)
        if self.window is not None:
            scores = scores + self.table[self.positions].permute(2, 0, 1)
        return self.project((scores.softmax(-1).to(v.dtype) @ v).transpose(1, 2).reshape(n, tokens, width))

    def split(self, x: Tensor) -> Tensor:
        """(N, h w, C) -> (N windows, tokens of a window, C)."""
        (height, width), (inner, across) = self.grid, self.window
        x = x.view(len(x), height // inner, inner, width // across, across, -1)
        return x.transpose(2, 3).reshape(-1, inner * across, x.shape[-1])

    def join(self, x: Tensor, n: int) -> Tensor:
        (height, width), (inner, across) = self.grid, self.window
        x = x.view(n, height // inner, width // across, inner, across, -1)
        return x.transpose(2, 3).reshape(n, height * width, x.shape[-1])


class Block(nn.Module):
    """x + attention(norm x), then x + MLP(norm x) with four times the width and GELU."""

    def __init__(self, width: int, heads: int, normalise: str, grid: tuple[int, int] | None, window: tuple[int, int] | None, noisy: bool = False):
        super().__init__()
        self.norm1, self.norm2 = norm(normalise, width), norm(normalise, width)
        self.attention = Attention(width, heads, grid, window, noisy)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, draws: Draws | None = None) -> Tensor:
        x = x + self.attention(self.norm1(x), draws)
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Stage(nn.Module):
    """The blocks of one resolution, tokens (N, h w, C), with a learned position added before them."""

    def __init__(self, depth: int, width: int, heads: int, config, grid: tuple[int, int], noisy: bool = False):
        super().__init__()
        window = window_of(grid, config.whole, config.window)
        self.position = nn.Parameter(torch.empty(1, math.prod(grid), width))
        nn.init.trunc_normal_(self.position, std=0.02)
        self.blocks = nn.ModuleList(Block(width, heads, config.norm, grid, window, noisy) for _ in range(depth))

    def forward(self, x: Tensor, draws: Draws | None = None) -> Tensor:
        x = x + self.position.to(x.dtype)
        for block in self.blocks:
            x = block(x, draws)
        return x


def to_map(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """(N, h w, C) -> (N, C, h, w)."""
    return x.transpose(1, 2).reshape(len(x), x.shape[2], *grid)


def to_tokens(x: Tensor) -> Tensor:
    """(N, C, h, w) -> (N, h w, C)."""
    return x.flatten(2).transpose(1, 2)


def stage_name(grid: tuple[int, int]) -> str:
    return f"b{min(grid)}"


class TransGANGenerator(nn.Module):
    """(N, Z) -> (N, C, H, W), not bounded."""

    def __init__(self, config, spec: DataSpec):
        super().__init__()
        times, base = doublings(spec, config.base_size)
        self.shuffled = [i >= times - config.pixel_shuffles for i in range(times)]
        width, self.grids = config.width, [(base[0] * 2**i, base[1] * 2**i) for i in range(times + 1)]
        self.project = nn.Linear(config.latent_dim, math.prod(base) * width)
        for i, grid in enumerate(self.grids):
            width //= 4 if i and self.shuffled[i - 1] else 1
            if width % config.heads or not width:
                raise UserError(
                    "A width of {width} leaves no whole number of channels for {heads} heads after {shuffles} pixel shuffles. Expected a multiple of {unit}: "
                    "change width, heads or pixel_shuffles.",
                    width=config.width, heads=config.heads, shuffles=sum(self.shuffled), unit=config.heads * 4 ** sum(self.shuffled),
                )  # fmt: skip
            depth = config.depth[min(i, len(config.depth) - 1)]
            self.add_module(stage_name(grid), Stage(depth, width, config.heads, config, grid))
        self.to_picture = nn.Conv2d(width, spec.shape[0], 1)
        nn.init.xavier_uniform_(self.to_picture.weight)

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        x = self.project(latent).view(len(latent), math.prod(self.grids[0]), -1)
        for i, grid in enumerate(self.grids):
            if i:
                x = to_map(x, self.grids[i - 1])
                x = F.pixel_shuffle(x, 2) if self.shuffled[i - 1] else F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False)
                x = to_tokens(x)
            x = self.get_submodule(stage_name(grid))(x)
        return self.to_picture(to_map(x, self.grids[-1]))


class TransGANDiscriminator(nn.Module):
    """(N, C, H, W) -> logits (N,).

    ``draws``: where the noise in its blocks comes from; the game hands its own over at the start of every loss. None: no noise.
    """

    def __init__(self, config, spec: DataSpec):
        super().__init__()
        channels, height, width = spec.shape
        doublings(spec, config.base_size)  # refuses what is no picture or has odd sides
        patch = next(n for n in range(config.patch, 0, -1) if height % (2 * n) == width % (2 * n) == 0)
        whole = config.discriminator_width
        part = whole // 4
        self.fine_grid, self.coarse_grid = (height // patch, width // patch), (height // (2 * patch), width // (2 * patch))
        self.from_fine, self.from_coarse = nn.Conv2d(channels, whole - part, patch, patch), nn.Conv2d(channels, part, 2 * patch, 2 * patch)
        depth, heads = config.discriminator_depth, config.discriminator_heads
        self.add_module(stage_name(self.fine_grid), Stage(depth, whole - part, heads, config, self.fine_grid, True))
        self.add_module(stage_name(self.coarse_grid), Stage(depth, whole, heads, config, self.coarse_grid, True))
        self.token = nn.Parameter(torch.empty(1, 1, whole))
        self.last, self.norm, self.head = Block(whole, heads, config.norm, None, None, True), norm(config.norm, whole), nn.Linear(whole, 1)
        self.draws: Draws | None = None
        self.initialise()

    def initialise(self) -> None:
        """Truncated normals of 0.02 for all but the patches' convolutions, which are Glorot uniform."""
        nn.init.trunc_normal_(self.token, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for convolution in (self.from_fine, self.from_coarse):
            nn.init.xavier_uniform_(convolution.weight)

    def features(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """(N, width): the class token after the last block."""
        draws = self.draws if self.training else None
        fine, coarse = to_tokens(self.from_fine(x)), to_tokens(self.from_coarse(x))
        fine = self.get_submodule(stage_name(self.fine_grid))(fine, draws)
        fine = to_tokens(F.avg_pool2d(to_map(fine, self.fine_grid), 2))
        x = self.get_submodule(stage_name(self.coarse_grid))(torch.cat([fine, coarse.to(fine.dtype)], 2), draws)
        x = torch.cat([self.token.to(x.dtype).expand(len(x), -1, -1), x], 1)
        return self.norm(self.last(x, draws))[:, 0]

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.head(self.features(x)).float().squeeze(1)


def generator(config, spec: DataSpec, condition_dim: int) -> TransGANGenerator:
    return TransGANGenerator(config, spec)


def discriminator(config, spec: DataSpec, condition_dim: int) -> TransGANDiscriminator:
    return TransGANDiscriminator(config, spec)
