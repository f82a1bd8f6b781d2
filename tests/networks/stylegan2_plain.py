"""StyleGAN2 as it is usually written: weights copied and modulated for each sample, a convolution with groups, zeros put between pixels, the filter as a
convolution of its own. Plain functions of a state dict with the published names: the oracle of the tests and the other side of the speed benchmark.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F


def upfirdn(x, up=1, down=1, pad=(0, 0), gain=1.0):
    n, c, h, w = x.shape
    x = F.pad(x.reshape(n, c, h, 1, w, 1), (0, up - 1, 0, 0, 0, up - 1)).reshape(n, c, h * up, w * up)
    x = F.pad(x, (pad[0], pad[1], pad[0], pad[1]))
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype, device=x.device)
    kernel = torch.outer(taps, taps) / 64 * gain
    x = F.conv2d(x, kernel.flip(0, 1).repeat(c, 1, 1, 1), groups=c)
    return x[:, :, ::down, ::down]


def dense(state, name, x, lr=1.0, act=False):
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    x = F.linear(x, weight * (lr / math.sqrt(weight.shape[1])), bias * lr)
    return F.leaky_relu(x, 0.2) * math.sqrt(2) if act else x


def normalise(x):
    return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()


def mapping(state, prefix, z, c, layers, lr=0.01):
    parts = [] if z is None else [normalise(z)]
    if c is not None:
        parts.append(normalise(dense(state, f"{prefix}embed", c)))
    x = torch.cat(parts, 1)
    for i in range(layers):
        x = dense(state, f"{prefix}fc{i}", x, lr, act=True)
    return x


def activate(x, bias, gain, clamp):
    x = F.leaky_relu(x + bias[:, None, None], 0.2) * (math.sqrt(2) * gain)
    return x.clamp(-clamp * gain, clamp * gain) if clamp else x


def modulated(x, weight, style, demodulate=True, up=False):
    n, (out, into, k, _) = len(x), weight.shape
    weight = weight[None] * style[:, None, :, None, None]
    if demodulate:
        weight = weight / (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
    x = x.reshape(1, n * into, *x.shape[2:])
    if up:
        x = F.conv_transpose2d(x, weight.transpose(1, 2).reshape(n * into, out, k, k), stride=2, groups=n)
        return upfirdn(x.reshape(n, out, *x.shape[2:]), pad=(1, 1), gain=4)
    x = F.conv2d(x, weight.reshape(n * out, into, k, k), padding=k // 2, groups=n)
    return x.reshape(n, out, *x.shape[2:])


def styled(state, name, x, w, noise, up, gain, clamp):
    x = modulated(x, state[f"{name}.weight"], dense(state, f"{name}.affine", w), up=up)
    if noise is not None:
        x = x + noise * state[f"{name}.noise_strength"]
    return activate(x, state[f"{name}.bias"], gain, clamp)


def synthesis(state, ws, names, noise=None, architecture="skip", clamp=0.0):
    """``names``: "b4", "b8" ...; ``noise``: layer name -> planes that broadcast to (N, 1, H, W), or None."""
    noise = noise or {}
    picture, at = None, 0
    for i, name in enumerate(names):
        prefix, gain = f"synthesis.{name}", 1.0
        if i == 0:
            x = state[f"{prefix}.const"][None].repeat(len(ws), 1, 1, 1)
        else:
            before = x
            x = styled(state, f"{prefix}.conv0", x, ws[:, at], noise.get(f"{name}.conv0"), True, 1.0, clamp)
            at += 1
            gain = math.sqrt(0.5) if architecture == "resnet" else 1.0
        x = styled(state, f"{prefix}.conv1", x, ws[:, at], noise.get(f"{name}.conv1"), False, gain, clamp)
        at += 1
        if i and architecture == "resnet":
            weight = state[f"{prefix}.skip.weight"]
            x = x + upfirdn(F.conv2d(before, weight / math.sqrt(weight.shape[1])), up=2, pad=(2, 1), gain=4 * gain)
        picture = None if picture is None else upfirdn(picture, up=2, pad=(2, 1), gain=4)
        if f"{prefix}.torgb.weight" in state:
            weight = state[f"{prefix}.torgb.weight"]
            style = dense(state, f"{prefix}.torgb.affine", ws[:, at]) / math.sqrt(weight.shape[1])
            own = modulated(x, weight, style, demodulate=False) + state[f"{prefix}.torgb.bias"][:, None, None]
            own = own.clamp(-clamp, clamp) if clamp else own
            picture = own if picture is None else picture + own
    return picture


def judged(state, name, x, down=False, gain=1.0, clamp=0.0):
    weight = state[f"{name}.weight"]
    k = weight.shape[2]
    weight = weight / math.sqrt(weight.shape[1] * k * k)
    x = F.conv2d(upfirdn(x, pad=(k // 2 + 1, k // 2 + 1)), weight, stride=2) if down else F.conv2d(x, weight, padding=k // 2)
    return x * gain if f"{name}.bias" not in state else activate(x, state[f"{name}.bias"], gain, clamp)


def deviation(x, group, planes):
    """Strided groups, written as loops over them."""
    n, c, h, w = x.shape
    while n % group:
        group -= 1
    rows = [None] * n
    for first in range(n // group):
        members = range(first, n, n // group)
        spread = (torch.stack([x[i] for i in members]).var(0, correction=0) + 1e-8).sqrt()
        means = spread.reshape(planes, -1).mean(1)
        for i in members:
            rows[i] = means[:, None, None].expand(planes, h, w)
    return torch.cat([x, torch.stack(rows)], 1)


def discriminator(state, x, c, names, architecture="resnet", clamp=0.0, group=4, planes=1, mapping_layers=8):
    """``names``: "b16", "b8", "b4": from the largest."""
    picture, x = x, None
    for name in names[:-1]:
        if f"{name}.fromrgb.weight" in state:
            own = judged(state, f"{name}.fromrgb", picture, clamp=clamp)
            x = own if x is None else x + own
            picture = upfirdn(picture, down=2, pad=(1, 1)) if architecture == "skip" else None
        gain = math.sqrt(0.5) if architecture == "resnet" else 1.0
        before = x
        x = judged(state, f"{name}.conv1", judged(state, f"{name}.conv0", x, clamp=clamp), down=True, gain=gain, clamp=clamp)
        if architecture == "resnet":
            x = x + judged(state, f"{name}.skip", before, down=True, gain=gain)
    name = names[-1]
    if f"{name}.fromrgb.weight" in state:
        x = x + judged(state, f"{name}.fromrgb", picture)
    x = judged(state, f"{name}.conv", deviation(x, group, planes) if group else x, clamp=clamp)
    x = dense(state, f"{name}.out", dense(state, f"{name}.fc", x.flatten(1), act=True))
    if c is None:
        return x[:, 0]
    mapped = mapping(state, "mapping.", None, c, mapping_layers)
    return (x * mapped).sum(1) / math.sqrt(mapped.shape[1])
