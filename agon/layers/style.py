"""What the generators of StyleGAN2 and 3 are made of (Karras et al., 2020), https://arxiv.org/abs/1912.04958, section 2.2 and appendix B.

Normalisation by the second moment, the mapping network, style mixing, the modulated convolution, and bias with the scaled leaky rectifier. Against the
published formulation of the modulated convolution (the weight copied and scaled for each sample, a convolution with groups), the activations are scaled
before and after one convolution that all samples share: conv(x s) d, d = (sum over i of s_i^2 sum over the kernel of W^2 + 1e-8)^-1/2, which is the
same number with less work. Styles and their norms are float32 also under autocast.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agon.layers.equalized import EqualizedLinear
from agon.layers.rectifier import rectify
from agon.layers.resample import conv_up
from agon.layers.running_mean import RunningMean

SLOPE, GAIN = 0.2, math.sqrt(2)


def normalise_second_moment(x: Tensor) -> Tensor:
    """x / sqrt(mean of x^2 over dimension 1 + 1e-8)."""
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def bias_act(x: Tensor, bias: Tensor | None = None, gain: float = 1.0, clamp: float = 0.0, scaled: bool = False) -> Tensor:
    """leaky ReLU(x + bias, 0.2) * sqrt(2) * gain, cut to [-clamp * gain, clamp * gain] (0: not cut). ``bias``: (C,), along dimension 1.

    ``scaled``: x comes with the factor sqrt(2) * gain already in it (the rectifier commutes with positive factors), not so the bias.
    """
    if not scaled:
        x = x * (GAIN * gain)
    if bias is not None:
        x = x + (bias * (GAIN * gain)).to(x.dtype).view(-1, *[1] * (x.ndim - 2))
    x = rectify(x, SLOPE)
    return x.clamp(-clamp * gain, clamp * gain) if clamp else x


class MappingNetwork(nn.Module):
    """(latent (N, Z), condition (N, K) or None) -> w (N, num_ws, w_dim), or (N, w_dim) if ``num_ws`` is 0.

    The latent and the embedded condition are normalised apart and joined; ``latent_dim`` 0: the condition alone (a discriminator's). ``w_avg`` follows the
    mean of w in training; ``decay``: 0.995 in StyleGAN2 and ADA, 0.998 in StyleGAN3's code.
    """

    def __init__(self, latent_dim: int, condition_dim: int, w_dim: int, num_ws: int, layers: int = 8, lr_multiplier: float = 0.01, decay: float = 0.995):
        super().__init__()
        self.latent_dim, self.condition_dim, self.w_dim, self.num_ws, self.layers = latent_dim, condition_dim, w_dim, num_ws, layers
        self.embed = EqualizedLinear(condition_dim, w_dim) if condition_dim else None
        before = latent_dim + (w_dim if condition_dim else 0)
        for i in range(layers):
            setattr(self, f"fc{i}", EqualizedLinear(before if i == 0 else w_dim, w_dim, lr_multiplier=lr_multiplier))
        self.w_avg = RunningMean(w_dim, decay=decay) if num_ws else None

    def forward(
        self, latent: Tensor | None, condition: Tensor | None = None, truncation: float = 1.0, truncation_layers: int | None = None, observe: bool = True
    ) -> Tensor:
        """``truncation``: 1 none, 0 the mean w, in the first ``truncation_layers`` (None: all). ``observe``: whether w counts for ``w_avg`` in training."""
        w = self._map(latent, condition)
        if self.w_avg is None:
            return w
        if self.training and observe:
            self.w_avg.observe(w)
        w = w[:, None].expand(-1, self.num_ws, -1)
        if truncation == 1:
            return w
        moved = torch.lerp(self.w_avg.value.to(w.dtype), w, truncation)
        return moved if truncation_layers is None else torch.cat([moved[:, :truncation_layers], w[:, truncation_layers:]], 1)

    def _map(self, latent: Tensor | None, condition: Tensor | None) -> Tensor:
        given = [part for part in (latent, condition) if part is not None][0]
        dtype = next(self.parameters()).dtype
        with torch.autocast(given.device.type, enabled=False):
            parts = [normalise_second_moment(latent.to(dtype))] if self.latent_dim else []
            if self.embed is not None:
                parts.append(normalise_second_moment(self.embed(condition.to(dtype))))
            x = torch.cat(parts, 1)
            for i in range(self.layers):
                x = rectify(getattr(self, f"fc{i}")(x, GAIN), SLOPE)
        return x


def mixed(w: Tensor, other: Tensor, drawn: Tensor, mixing: float, layers: int) -> Tensor:
    """Styles (N, num_ws, w_dim) of which a sample, with probability ``mixing``, takes those from a random layer on (uniform in 1 ... layers - 1) from
    ``other``. ``drawn``: (N, 2) uniform numbers, each sample's coin and crossover (the authors draw one of each for a batch)."""
    coin, place = drawn.unbind(1)
    crossover = torch.where(coin < mixing, 1 + (place * (layers - 1)).long(), layers)
    return torch.where((torch.arange(w.shape[1], device=w.device) < crossover[:, None])[:, :, None], w, other)


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    style: Tensor,
    *,
    demodulate: bool = True,
    padding: int | None = None,
    up_kernel: Tensor | None = None,
    gain: float = 1.0,
    input_gain: Tensor | float = 1.0,
) -> Tensor:
    """Convolve each sample (N, I, H, W) with the weight (O, I, k, k) scaled by its style (N, I) per input channel -> (N, O, H', W').

    ``demodulate``: the scaled weight is divided by its norm per output channel. ``padding``: None is k // 2. ``up_kernel``: double the size with this
    filter (:func:`agon.layers.resample.conv_up`). ``gain`` multiplies the result. ``input_gain`` multiplies x without counting for the norm.
    """
    half = computes_in_half(x)
    with torch.autocast(x.device.type, enabled=False):
        if half and demodulate:  # as the authors do: demodulation undoes it, and no sum of products leaves the range of 16 bits
            weight = weight / (weight.abs().amax((1, 2, 3), keepdim=True) * math.sqrt(weight[0].numel()))
            style = style / style.abs().amax(1, keepdim=True)
        demodulation = demodulation_of(weight, style) * gain if demodulate else None
        scale = style * input_gain * (1.0 if demodulate else gain)
    x = x * scale.to(x.dtype)[:, :, None, None]
    x = F.conv2d(x, weight, padding=weight.shape[2] // 2 if padding is None else padding) if up_kernel is None else conv_up(x, weight, up_kernel)
    return x if demodulation is None else x * demodulation.to(x.dtype)[:, :, None, None]


def computes_in_half(x: Tensor) -> bool:
    """Whether a convolution of x would be computed in float16, whose largest number is 65504."""
    kind = x.device.type
    return (torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype) == torch.float16


def demodulation_of(weight: Tensor, style: Tensor) -> Tensor:
    """(N, O): 1 / norm of each output channel's weight under each sample's style."""
    return (style.square() @ weight.square().sum((2, 3)).T + 1e-8).rsqrt()
