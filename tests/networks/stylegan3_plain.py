"""StyleGAN3's generator as its equations read, in float64: weights per sample, zeros put between pixels, filters as two-dimensional arrays, Bessel functions
by their power series."""

import math

import numpy as np
import torch
import torch.nn.functional as F


def series(x, order):
    """I0 (order 0) or J1(x) / x (order 1) by the power series."""
    quarter, term, total = x**2 / 4, np.full_like(x, 1.0 if order == 0 else 0.5), 0.0
    for k in range(1, 80):
        total = total + term
        term = term * (quarter if order == 0 else -quarter) / (k * (k + order))
    return total


def design(taps, cutoff, width, rate, radial):
    """(taps, taps): appendix C.1. Kaiser's formulas for the attenuation and the window."""
    attenuation = 2.285 * (taps - 1) * math.pi * width / (rate / 2) + 7.95
    beta = 0.1102 * (attenuation - 8.7) if attenuation > 50 else 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21) if attenuation > 21 else 0.0
    n = np.arange(taps)
    window = series(beta * np.sqrt(np.maximum(1 - (2 * n / (taps - 1) - 1) ** 2, 0)), 0)
    x = (n - (taps - 1) / 2) / rate
    row = np.sinc(2 * cutoff * x)
    ideal = series(2 * math.pi * cutoff * np.sqrt(x[:, None] ** 2 + x**2), 1) if radial else np.outer(row, row)
    kernel = ideal * np.outer(window, window)
    return torch.from_numpy(kernel / kernel.sum())


def resample(x, kernel, up, down, pads):
    """Zeros between, zeros around (negative: cut), convolution, every ``down``-th pixel."""
    n, c, h, w = x.shape
    wide = x.new_zeros(n, c, h * up, w * up)
    wide[:, :, ::up, ::up] = x
    wide = F.pad(wide, pads)
    flipped = kernel.flip(0, 1)[None, None]
    return F.conv2d(wide.reshape(n * c, 1, *wide.shape[2:]), flipped)[:, :, ::down, ::down].unflatten(0, (n, c)).squeeze(2)


def plan(config, sides):
    """(cutoffs, half-widths, rates, sizes (height, width)) of the layers: section 3.2."""
    shorter = min(sides)
    i = np.arange(config.num_layers + 1)
    exponent = np.minimum(i / (config.num_layers - config.num_critical), 1)
    last = shorter / 2
    cutoff = 2 * (last / 2) ** exponent
    stop = 2**2.1 * (last * 2**0.3 / 2**2.1) ** exponent
    rate = np.array([min(r for r in shorter / 2.0 ** np.arange(12) if r >= min(2 * s, shorter) - 1e-9) for s in stop])
    sizes = [[int(np.ceil(r * side / shorter)) + 2 * config.margin for side in sides] for r in rate]
    sizes[-2:] = [list(sides)] * 2
    return cutoff, np.maximum(stop, rate / 2) - cutoff, rate, sizes


def linear(state, name, x):
    weight = state[name + ".weight"]
    return x @ weight.T / math.sqrt(weight.shape[1]) + state[name + ".bias"]


def fourier(state, w, size, rate, cutoff):
    """The input of one sample: sin(2 pi (f . M p + phase)), M: the style's rotation and translation, then the user's."""
    c, s, x, y = (t := linear(state, "synthesis.input.affine", w)) / t[:2].square().sum().sqrt()
    rotate = torch.stack([c, -s, 0 * c, s, c, 0 * c, 0 * c, 0 * c, 0 * c + 1]).view(3, 3)
    shift = torch.eye(3, dtype=w.dtype)
    shift[0, 2], shift[1, 2] = -x, -y
    m = rotate @ shift @ state["synthesis.input.transform"]
    height, width = size
    place = torch.ones(height, width, 3, dtype=w.dtype)
    place[..., 0] = (torch.arange(width) + 0.5 - width / 2) / rate
    place[..., 1] = (torch.arange(height)[:, None] + 0.5 - height / 2) / rate
    freqs = state["synthesis.input.freqs"]
    turns = (place @ m.T)[..., :2] @ freqs.T + state["synthesis.input.phases"]
    amplitude = (1 - ((freqs @ m[:2, :2]).norm(dim=1) - cutoff) / (rate / 2 - cutoff)).clamp(0, 1)
    mixing = state["synthesis.input.weight"] / math.sqrt(len(freqs))
    return ((torch.sin(2 * math.pi * turns) * amplitude) @ mixing.T).permute(2, 0, 1)


def layer(state, name, x, w, *, last):
    """Weights of one sample (appendix B, figure 4 of the paper), in the authors' order."""
    weight, style = state[name + ".weight"], linear(state, name + ".affine", w)
    if last:
        weight = weight * style[:, None, None] / math.sqrt(weight.shape[1])
    else:
        weight = weight / weight.square().mean((1, 2, 3), keepdim=True).sqrt()
        weight = weight * (style / style.square().mean().sqrt())[:, None, None]
        weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
    weight = weight / state[name + ".magnitude_ema.value"].sqrt()
    return F.conv2d(x[None], weight, padding=weight.shape[2] - 1) + state[name + ".bias"][:, None, None]


def synthesis(state, config, sides, w):
    """w (N, num_ws, w_dim) float64 -> pictures (N, C, H, W). ``state``: names to float64 tensors."""
    cutoff, half, rate, sizes = plan(config, sides)
    names = sorted({n.split(".")[1] for n in state if n.startswith("synthesis.L")}, key=lambda n: int(n[1 : n.index("_")]))
    pictures = []
    for styles in w:
        x = fourier(state, styles[0], sizes[0], rate[0], cutoff[0])
        for i, name in enumerate(names):
            p, last = max(i - 1, 0), i == config.num_layers
            x = layer(state, f"synthesis.{name}", x, styles[i + 1], last=last)[0]
            if last:
                x = x.clamp(-config.clamp, config.clamp) if config.clamp else x
                continue
            fast = 2 * max(rate[p], rate[i])
            up, down = int(fast / rate[p]), int(fast / rate[i])
            pads = []
            for into, out in zip(reversed(x.shape[1:]), reversed(sizes[i]), strict=True):
                total = (out - 1) * down + 1 - into * up + 6 * up - 1 + 6 * down - 1
                pads += [(total + up) // 2, total - (total + up) // 2]
            x = up**2 * resample(x[None], design(6 * up, cutoff[p], 2 * half[p], fast, False), up, 1, pads)
            x = math.sqrt(2) * torch.where(x > 0, x, 0.2 * x)
            x = x.clamp(-config.clamp, config.clamp) if config.clamp else x
            radial = config.radial and i < config.num_layers - config.num_critical
            x = resample(x, design(6 * down, cutoff[i], 2 * half[i], fast, radial), 1, down, [0, 0, 0, 0])[0]
        pictures.append(x * config.output_scale)
    return torch.stack(pictures)


def mapping(state, z, condition, layers):
    """z (N, Z) -> w (N, w_dim)."""
    x = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    if condition is not None:
        y = linear(state, "mapping.embed", condition)
        x = torch.cat([x, y / (y.square().mean(1, keepdim=True) + 1e-8).sqrt()], 1)
    for i in range(layers):
        weight, bias = state[f"mapping.fc{i}.weight"], state[f"mapping.fc{i}.bias"]
        x = x @ weight.T * 0.01 / math.sqrt(x.shape[1]) + 0.01 * bias
        x = math.sqrt(2) * torch.where(x > 0, x, 0.2 * x)
    return x
