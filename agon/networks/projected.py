"""The discriminators of Projected GANs (Sauer et al., 2021), https://arxiv.org/abs/2111.01007, sections 3 and 4, over any frozen network.

A frozen network turns a picture into maps, finest first. Random 1x1 convolutions mix their channels, then, from the coarsest up, maps are enlarged and added
to the next ("cross-scale mixing"), so that every map knows of all coarser ones. These mixers are never trained. On each map stands a small
discriminator of its own: 4x4 convolutions of stride 2 up to a common size, then a 4x4 one to logits at every place. Over EfficientNet-lite's four maps at 224
pixels the discriminators have 10,331,328 parameters. Their weights are meant to be spectrally normalised (field ``spectral_norm``).

What is frozen lives in buffers, or outside of the module, and never among parameters: no player moves it. Sizes: a map is enlarged to the next one's size where
that is not its double; where a map is too small for a halving, it is left out, and the last convolution is no larger than the map.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agon.data.source import DataSpec
from agon.errors import UserError
from agon.layers.rectifier import Rectifier
from agon.networks.dcgan import norm_layer
from agon.networks.fastgan import FastGANGenerator
from agon.networks.sizes import doublings

SHIPPED = Path(__file__).parents[1] / "metrics" / "features" / "digits.safetensors"


class FrozenConv(nn.Module):
    """A convolution whose weight and bias are buffers, drawn as ``nn.Conv2d`` draws them (``gain`` 1) or larger."""

    def __init__(self, before: int, after: int, kernel: int, draws: torch.Generator, *, stride: int = 1, gain: float = 1.0):
        super().__init__()
        self.stride, self.padding = stride, kernel // 2
        bound = 1 / math.sqrt(before * kernel**2)
        for name, shape, scale in (("weight", (after, before, kernel, kernel), gain), ("bias", (after,), 1.0)):
            drawn = torch.rand(shape, generator=draws, device="cpu")
            self.register_buffer(name, (2 * drawn - 1) * bound * scale)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding)


class RandomFeatures(nn.Module):
    """Four 3x3 convolutions with leaky ReLU, never trained: a stand-in where there is no trained network. (N, C, H, W) -> four maps.

    Steps of 2 wherever 4 pixels a side remain (before the first map too, twice at most, above 32 pixels).
    """

    def __init__(self, channels: int, size: tuple[int, int], width: int, draws: torch.Generator):
        super().__init__()
        self.convs, side = nn.ModuleList(), min(size)
        for i in range(4):
            stride = 2 if side >= (8 if i else 64) else 1
            # uniform numbers have a third of their bound's square as variance: this gain keeps that of the features
            self.convs.append(FrozenConv(channels, width * 2**i, 3, draws, stride=stride, gain=math.sqrt(3 * 2 / 1.04)))
            channels, side = width * 2**i, side // stride

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.2)
            maps.append(x)
        return maps


class DigitsFeatures(nn.Module):
    """The three convolutions of the classifier of 8x8 digits that comes with Agon: (N, 1, 8, 8) -> maps of 32, 48 and 64 channels."""

    def __init__(self, spec: DataSpec):
        super().__init__()
        from safetensors.torch import load_file

        if tuple(spec.shape) != (1, 8, 8):
            raise UserError("The features 'digits' read 1x8x8 pictures, these are {shape}. Expected the data set digits, or another file as features.",
                            shape="x".join(map(str, spec.shape)))  # fmt: skip
        state = load_file(SHIPPED, device="cpu")
        for i in range(3):
            gain = state[f"body.{3 * i + 1}.weight"] / torch.sqrt(state[f"body.{3 * i + 1}.running_var"] + 1e-5)
            self.register_buffer(f"weight{i}", state[f"body.{3 * i}.weight"] * gain[:, None, None, None])
            self.register_buffer(f"bias{i}", state[f"body.{3 * i + 1}.bias"] - state[f"body.{3 * i + 1}.running_mean"] * gain)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for i, stride in enumerate((1, 1, 2)):
            x = F.relu(F.conv2d(x, getattr(self, f"weight{i}"), getattr(self, f"bias{i}"), stride, 1))
            maps.append(x)
        return maps


class FileFeatures(nn.Module):
    """A TorchScript file, which is executed because the user named it: (N, 3, H, W) in [-1, 1] -> maps, finest first (a list, tuple or dictionary).

    Its weights stay out of parameters and checkpoints; a fingerprint goes there, so that a run cannot be continued with other features unawares.
    """

    def __init__(self, path: str):
        super().__init__()
        file = Path(path).expanduser()
        if not file.is_file():
            raise UserError("There is no {path}. Expected the features' TorchScript file (net.pt), 'random' or 'digits': set features.", path=file)
        try:
            module = torch.jit.load(str(file), map_location="cpu").eval()
        except RuntimeError as error:
            raise UserError("{path} is not a TorchScript file ({why}). Expected what torch.jit.save writes: save the network so.",
                            path=file, why=str(error).strip().splitlines()[0]) from None  # fmt: skip
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        self.path, self._held = file, [module]  # in a list: no submodule, hence no parameters of ours
        digest = hashlib.sha256(file.read_bytes()).digest()
        self.register_buffer("fingerprint", torch.tensor(list(digest), dtype=torch.uint8, device="cpu"))

    def forward(self, x: Tensor) -> list[Tensor]:
        module = self._held[0].to(x.device)
        maps = module(x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x)
        maps = list(maps.values()) if isinstance(maps, dict) else list(maps) if isinstance(maps, (list, tuple)) else [maps]
        if not maps or any(each.dim() != 4 for each in maps):
            raise UserError("The features {path} gave no maps (N, C, H, W). Expected one or more of them, finest first: return those.", path=self.path)
        return maps

    def _load_from_state_dict(self, state: dict, prefix: str, *rest) -> None:
        theirs = state.get(prefix + "fingerprint")
        if theirs is not None and not torch.equal(theirs.cpu(), self.fingerprint.cpu()):
            raise UserError("{path} is not the file whose features this run was trained with. Expected the same file: put it back.", path=self.path)
        super()._load_from_state_dict(state, prefix, *rest)


class Projector(nn.Module):
    """(N, C, H, W) -> the frozen network's maps, finest first, mixed as ``mixing`` says: not at all, by channels, or by channels and scales."""

    def __init__(self, config, spec: DataSpec):
        super().__init__()
        draws = torch.Generator().manual_seed(config.features_seed)
        side = min(spec.shape[1:])
        self.enlarge = config.feature_size / side if config.feature_size > side else 1.0
        size = tuple(round(n * self.enlarge) for n in spec.shape[1:])
        self.size = size if self.enlarge > 1 else None
        if config.features == "random":
            self.features: nn.Module = RandomFeatures(spec.shape[0], size, config.features_width, draws)
        else:
            self.features = DigitsFeatures(spec) if config.features == "digits" else FileFeatures(config.features)
        self.across, self.scales = nn.ModuleList(), nn.ModuleList()
        with torch.no_grad():
            channels = [each.shape[1] for each in self.maps(torch.zeros(1, *spec.shape, device="cpu"))]
        if config.mixing != "none":
            widths = [config.mixing_width * 2**i for i in range(len(channels))]
            self.across = nn.ModuleList(FrozenConv(a, b, 1, draws) for a, b in zip(channels, widths, strict=True))
        if config.mixing == "scale":
            self.scales = nn.ModuleList(FrozenConv(width, widths[max(0, i - 1)], 1, draws) for i, width in enumerate(widths))
        with torch.no_grad():
            self.shapes = [tuple(each.shape[1:]) for each in self(torch.zeros(1, *spec.shape, device="cpu"))]

    def maps(self, x: Tensor) -> list[Tensor]:
        if self.size is not None:
            x = F.interpolate(x, self.size, mode="bilinear", align_corners=False)
        return self.features(x)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = self.maps(x)
        if self.across:
            maps = [mix(each) for mix, each in zip(self.across, maps, strict=True)]
        if not self.scales:
            return maps
        mixed: list[Tensor] = []
        for i in reversed(range(len(maps))):
            total = maps[i] if not mixed else mixed[0] + maps[i]
            size = maps[i - 1].shape[2:] if i else [2 * n for n in maps[i].shape[2:]]
            mixed.insert(0, self.scales[i](F.interpolate(total, size, mode="bilinear", align_corners=True)))
        return mixed


class MapDiscriminator(nn.Module):
    """(N, C, h, w) -> (N, places) logits. ``halvings``: as many as the size allows up to this."""

    def __init__(self, shape: tuple[int, int, int], halvings: int, width: int, norm: str):
        super().__init__()
        channels, *size = shape
        while halvings and min(size) // 2**halvings < 4:
            halvings -= 1
        layers: list[nn.Module] = []
        for i in reversed(range(halvings)):
            after = max(width, 8 * width // 2**i)
            layers += [nn.Conv2d(channels, after, 4, 2, 1), *norm_layer(norm, after), Rectifier(0.2)]
            channels = after
        self.layers = nn.Sequential(*layers)
        self.head = nn.Conv2d(channels, 1, [min(4, n // 2**halvings) for n in size], bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x)).flatten(1)


class ProjectedDiscriminator(nn.Module):
    """(N, C, H, W) -> logits (N, places of all maps)."""

    def __init__(self, config, spec: DataSpec):
        super().__init__()
        doublings(spec, config.base_size)  # refuses what is no picture
        self.projector = Projector(config, spec)
        shapes, width = self.projector.shapes, config.discriminator_width
        self.maps = nn.ModuleList(MapDiscriminator(shape, len(shapes) - i, width, config.discriminator_norm) for i, shape in enumerate(shapes))

    def train(self, mode: bool = True):
        super().train(mode)
        self.projector.eval()
        return self

    def features(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """(N, F): the mean over places of what the last layers see."""
        return torch.cat([each.layers(m).float().mean((2, 3)) for each, m in zip(self.maps, self.projector(x), strict=True)], 1)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return torch.cat([each(m).float() for each, m in zip(self.maps, self.projector(x), strict=True)], 1)


def generator(config, spec: DataSpec, condition_dim: int) -> FastGANGenerator:
    return FastGANGenerator(config, spec)


def discriminator(config, spec: DataSpec, condition_dim: int) -> ProjectedDiscriminator:
    return ProjectedDiscriminator(config, spec)
