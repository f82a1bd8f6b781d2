"""rosinality's StyleGAN2: https://github.com/rosinality/stylegan2-pytorch (.pt: a dict of ``g_ema``, ``g``, ``d``, ``latent_avg``), and what was made from it.

The same function as the authors' network, its parameters in another arrangement: modulated convolutions have a leading axis of 1, the style networks are a
Sequential, layers are counted and not named by resolution, noise lies beside the layers. Its demodulation adds 1e-8 after the scaling of the weights instead
of before, a relative difference below 1e-8. Training files have no mean of w: it is taken here over a fixed sample.
"""

from __future__ import annotations

import math
import re
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from agon.formats.imported import need
from agon.formats.nvidia import TAPS, channels, resolutions

ORIGIN = "StyleGAN2 in PyTorch by rosinality"
LATENTS = 10_000
MAPPING_LR = 0.01  # lr_mlp, which no file says and no script changes


def recognise(names: set[str], meta: dict) -> bool:
    return any(name.endswith("to_rgbs.0.conv.modulation.weight") for name in names) and any(name.endswith("input.input") for name in names)


def convert(tree: dict) -> dict[str, Any]:
    tree = tree if any(isinstance(tree.get(name), dict) for name in ("g_ema", "g")) else {"g_ema": tree}
    states = {name: tensors(tree[name]) for name in ("g_ema", "g", "d") if isinstance(tree.get(name), dict)}
    average = tree.get("latent_avg")
    made = {name: Generator(states[name], average if isinstance(average, Tensor) else None) for name in ("g_ema", "g") if name in states}
    first = next(iter(made.values()))
    notes = [] if isinstance(average, Tensor) else [f"mapping.w_avg is the mean over {LATENTS} latents: the file has none"]
    judge = None
    if "d" in states:
        judge, widths = discriminator(states["d"])
        if widths != first.widths:
            judge = None
            notes.append("the discriminator is left out: its channels are not the generator's")
    base, most = channels(first.widths)
    fields = {
        "latent_dim": first.w_dim, "w_dim": first.w_dim, "mapping_layers": first.depth, "mapping_lr": MAPPING_LR, "channel_base": base, "channel_max": most,
        "clamp": 0.0, "generator_architecture": "skip", "discriminator_architecture": "resnet", "noise": True, "base_size": 4, "minibatch_std": 4,
    }  # fmt: skip
    colours = first.state[f"synthesis.b{max(first.widths)}.torgb.bias"].numel()
    return {
        "game": "stylegan2", "fields": fields, "spec": {"shape": [colours, max(first.widths), max(first.widths)], "num_classes": 0}, "notes": notes,
        "generator": made["g"].state if "g" in made else None, "ema": made["g_ema"].state if "g_ema" in made else None, "discriminator": judge,
    }  # fmt: skip


def tensors(state: dict) -> dict[str, Tensor]:
    """A state without the prefix of DataParallel and without the blur kernels, which are checked."""
    state = {name.removeprefix("module."): value for name, value in state.items() if isinstance(value, Tensor)}
    for name in [name for name in state if name.endswith("kernel")]:
        given = state.pop(name).float()
        need(given.shape == (4, 4) and torch.allclose(given / given.sum(), torch.outer(TAPS, TAPS), atol=1e-6), "its blur is not [1, 3, 3, 1]")
    return state


class Generator:
    """A generator's state by Agon's names, with its widths by side, w's length and the mapping's depth."""

    def __init__(self, theirs: dict[str, Tensor], average: Tensor | None):
        blocks = len({name.split(".")[1] for name in theirs if name.startswith("to_rgbs.")})
        sides = resolutions(4 << blocks)
        self.depth = len([name for name in theirs if re.fullmatch(r"style\.\d+\.weight", name)])
        self.w_dim = theirs["style.1.weight"].shape[0]
        self.state = {"synthesis.b4.const": theirs.pop("input.input")[0]}
        for i in range(self.depth):
            self._take(theirs, f"style.{i + 1}", f"mapping.fc{i}")
        self._layer(theirs, "conv1", "b4.conv1", 0)
        self._picture(theirs, "to_rgb1", "b4")
        for k, side in enumerate(sides[1:]):
            for i in (0, 1):
                self._layer(theirs, f"convs.{2 * k + i}", f"b{side}.conv{i}", 2 * k + i + 1)
            self._picture(theirs, f"to_rgbs.{k}", f"b{side}")
        self.widths = {side: self.state[f"synthesis.b{side}.conv1.weight"].shape[0] for side in sides}
        self.state["mapping.w_avg.value"] = self._mean() if average is None else average.flatten()
        need(not theirs, f"it has weights of another network: {', '.join(list(theirs)[:5])}")

    def _take(self, theirs: dict[str, Tensor], there: str, here: str) -> None:
        for kind in ("weight", "bias"):
            self.state[f"{here}.{kind}"] = theirs.pop(f"{there}.{kind}")

    def _layer(self, theirs: dict[str, Tensor], there: str, here: str, noise: int) -> None:
        here = f"synthesis.{here}"
        self.state[f"{here}.weight"] = theirs.pop(f"{there}.conv.weight")[0]
        self._take(theirs, f"{there}.conv.modulation", f"{here}.affine")
        self.state[f"{here}.bias"] = theirs.pop(f"{there}.activate.bias").flatten()
        self.state[f"{here}.noise_strength"] = theirs.pop(f"{there}.noise.weight").reshape(())
        side = int(re.search(r"b(\d+)\.", here)[1])
        planes = theirs.pop(f"noises.noise_{noise}", None)  # versions before these buffers drew them every time
        self.state[f"{here}.noise_const"] = torch.zeros(side, side) if planes is None else planes[0, 0]

    def _picture(self, theirs: dict[str, Tensor], there: str, here: str) -> None:
        here = f"synthesis.{here}.torgb"
        self.state[f"{here}.weight"] = theirs.pop(f"{there}.conv.weight")[0]
        self._take(theirs, f"{there}.conv.modulation", f"{here}.affine")
        self.state[f"{here}.bias"] = theirs.pop(f"{there}.bias").flatten()

    def _mean(self) -> Tensor:
        """The mean of w."""
        x = torch.randn(LATENTS, self.w_dim, generator=torch.Generator().manual_seed(0))
        x = x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for i in range(self.depth):
            weight, bias = (self.state[f"mapping.fc{i}.{kind}"].float() * MAPPING_LR for kind in ("weight", "bias"))
            x = F.leaky_relu(F.linear(x, weight / math.sqrt(weight.shape[1]), bias), 0.2) * math.sqrt(2)
        return x.mean(0)


def discriminator(theirs: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[int, int]]:
    """(state by Agon's names, widths by side)."""
    blocks = len({name.split(".")[1] for name in theirs if re.match(r"convs\.\d+\.conv1\.", name)})
    sides = resolutions(4 << blocks)[::-1]
    names = {"convs.0.0.weight": f"b{sides[0]}.fromrgb.weight", "convs.0.1.bias": f"b{sides[0]}.fromrgb.bias"}
    for k, side in enumerate(sides[:-1]):
        there, here = f"convs.{k + 1}", f"b{side}"
        names |= {
            f"{there}.conv1.0.weight": f"{here}.conv0.weight", f"{there}.conv1.1.bias": f"{here}.conv0.bias", f"{there}.conv2.1.weight": f"{here}.conv1.weight",
            f"{there}.conv2.2.bias": f"{here}.conv1.bias", f"{there}.skip.1.weight": f"{here}.skip.weight",
        }  # fmt: skip
    names |= {
        "final_conv.0.weight": "b4.conv.weight", "final_conv.1.bias": "b4.conv.bias", "final_linear.0.weight": "b4.fc.weight",
        "final_linear.0.bias": "b4.fc.bias", "final_linear.1.weight": "b4.out.weight", "final_linear.1.bias": "b4.out.bias",
    }  # fmt: skip
    need(theirs.keys() == names.keys(), f"its discriminator has other layers: {', '.join(sorted(theirs.keys() ^ names.keys())[:5])}")
    state = {here: theirs[there].flatten() if there.endswith("bias") else theirs[there] for there, here in names.items()}
    widths = {side: state[f"b{side}.conv0.weight"].shape[0] for side in sides[:-1]} | {4: state["b4.conv.weight"].shape[0]}
    return state, widths
