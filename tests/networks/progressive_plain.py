"""ProGAN and StyleGAN written plainly, as an oracle: float64, one operation a line, every resolution computed at every lod and mixed afterwards.

Variables are asked for by the authors' names and have their layouts; the first use draws them. A fused up-convolution is the gradient of a strided one.
"""

import math

import torch
import torch.nn.functional as F

ROOT2 = math.sqrt(2)


class Variables(dict):
    """name -> float64 values, drawn when first asked for."""

    def __init__(self, seed=0):
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def get(self, name, *shape):
        if name not in self:
            self[name] = torch.randn(shape, generator=self.generator, dtype=torch.float64)
        assert tuple(self[name].shape) == shape, (name, shape)
        return self[name]


def lrelu(x):
    return torch.maximum(x, 0.2 * x)


def over_features(x):
    return x / (x.pow(2).mean(dim=1, keepdim=True) + 1e-8).sqrt()


def repeat(x, factor=2):
    return x.repeat_interleave(factor, 2).repeat_interleave(factor, 3)


def pool(x, factor=2):
    n, c, h, w = x.shape
    return x.reshape(n, c, h // factor, factor, w // factor, factor).mean((3, 5))


def bias(v, place, x):
    return x + v.get(f"{place}/bias", x.shape[1]).reshape(1, -1, *[1] * (x.dim() - 2))


def dense(v, place, x, out, gain):
    x = x.reshape(len(x), -1)
    return x @ (v.get(f"{place}/weight", x.shape[1], out) * gain / math.sqrt(x.shape[1]))


def correlate(x, weight):
    """weight: (k, k, in, out)."""
    return F.conv2d(F.pad(x, [weight.shape[0] // 2] * 4), weight.permute(3, 2, 0, 1))


def conv(v, place, x, out, kernel=3, gain=ROOT2):
    return correlate(x, v.get(f"{place}/weight", kernel, kernel, x.shape[1], out) * gain / math.sqrt(kernel * kernel * x.shape[1]))


def shifted_sum(weight):
    """(3, 3, ...) -> (4, 4, ...): each tap added at the four places of a 2x2 square."""
    wide = torch.zeros(4, 4, *weight.shape[2:], dtype=weight.dtype)
    for dy in (0, 1):
        for dx in (0, 1):
            wide[dy : dy + 3, dx : dx + 3] += weight
    return wide


def transposed(x, weight):
    """The gradient of a convolution of stride 2 with (4, 4, out, in) kernels."""
    n, _, h, w = x.shape
    start = torch.zeros(n, weight.shape[2], 2 * h, 2 * w, dtype=x.dtype, requires_grad=True)
    forward = F.conv2d(start, weight.permute(3, 2, 0, 1), stride=2, padding=1)
    return torch.autograd.grad(forward, start, x, create_graph=True)[0]


def mix(fine, coarse, amount):
    return fine + (coarse - fine) * min(max(amount, 0.0), 1.0)


def channels(level, base, most):
    """Of the resolution 4 * 2^level."""
    return min(base // (4 << level), most)


def progan_generator(v, latent, *, levels, base, most, colours=3, lod=0.0, fused=True):
    """Pictures of the full size, 4 * 2^levels."""
    x = over_features(latent)
    images = None
    for level in range(levels + 1):
        width, side = channels(level, base, most), 4 << level
        if level == 0:
            x = dense(v, "4x4/Dense", x, width * 16, ROOT2 / 4).reshape(-1, width, 4, 4)
            x = over_features(lrelu(bias(v, "4x4/Dense", x)))
            x = over_features(lrelu(bias(v, "4x4/Conv", conv(v, "4x4/Conv", x, width))))
        else:
            place = f"{side}x{side}/Conv0_up" if fused else f"{side}x{side}/Conv0"
            if fused:
                weight = v.get(f"{place}/weight", 3, 3, width, x.shape[1]) * ROOT2 / math.sqrt(9 * x.shape[1])
                x = transposed(x, shifted_sum(weight))
            else:
                x = conv(v, place, repeat(x), width)
            x = over_features(lrelu(bias(v, place, x)))
            x = over_features(lrelu(bias(v, f"{side}x{side}/Conv1", conv(v, f"{side}x{side}/Conv1", x, width))))
        name = f"ToRGB_lod{levels - level}"
        picture = bias(v, name, conv(v, name, x, colours, kernel=1, gain=1))
        images = picture if images is None else mix(picture, repeat(images), lod - (levels - level))
    return images


def blur(x):
    taps = torch.tensor([1.0, 2.0, 1.0], dtype=x.dtype) / 4
    kernel = (taps[:, None] * taps[None, :]).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(x, [1] * 4), kernel, groups=x.shape[1])


def discriminator(v, x, *, levels, base, most, outputs, lod=0.0, group=4, blurred=False, fused=True):
    """(N, outputs) for pictures of the full size."""
    image = x

    def from_picture(picture, level):
        name = f"FromRGB_lod{levels - level}"
        return lrelu(bias(v, name, conv(v, name, picture, channels(level, base, most), kernel=1)))

    x = from_picture(image, levels)
    for level in range(levels, 0, -1):
        place = f"{4 << level}x{4 << level}"
        x = lrelu(bias(v, f"{place}/Conv0", conv(v, f"{place}/Conv0", x, channels(level, base, most))))
        x = blur(x) if blurred else x
        if fused:
            x = lrelu(bias(v, f"{place}/Conv1_down", pool(conv(v, f"{place}/Conv1_down", x, channels(level - 1, base, most)))))
        else:
            x = pool(lrelu(bias(v, f"{place}/Conv1", conv(v, f"{place}/Conv1", x, channels(level - 1, base, most)))))
        image = pool(image)
        x = mix(x, from_picture(image, level - 1), lod - (levels - level))
    if group:
        n, c, h, w = x.shape
        spread = torch.empty(n, dtype=x.dtype)
        for first in range(n // group):
            members = list(range(first, n, n // group))
            spread[members] = (x[members].var(0, correction=0) + 1e-8).sqrt().mean()
        x = torch.cat([x, spread[:, None, None, None].expand(n, 1, h, w)], 1)
    x = lrelu(bias(v, "4x4/Conv", conv(v, "4x4/Conv", x, channels(0, base, most))))
    x = lrelu(bias(v, "4x4/Dense0", dense(v, "4x4/Dense0", x, min(base // 2, most), ROOT2)))
    return bias(v, "4x4/Dense1", dense(v, "4x4/Dense1", x, outputs, 1))


def mapping(v, latent, label=None, *, layers, width, rate=0.01):
    """(N, width) styles."""
    x = latent
    if label is not None:
        x = torch.cat([x, label @ v.get("G_mapping/LabelConcat/weight", label.shape[1], latent.shape[1])], 1)
    x = over_features(x)
    for i in range(layers):
        x = dense(v, f"G_mapping/Dense{i}", x, width, ROOT2) * rate
        x = lrelu(x + rate * v.get(f"G_mapping/Dense{i}/bias", width))
    return x


def synthesis(v, w, *, levels, base, most, colours=3, lod=0.0, fused_from=128):
    """Pictures of the full size from styles (N, 2 levels + 2, w_dim), with the stored noise."""

    def end(x, place, number):
        x = x + v.get(f"G_synthesis/noise{number}", 1, 1, *x.shape[2:]) * v.get(f"{place}/Noise/weight", x.shape[1]).reshape(1, -1, 1, 1)
        x = lrelu(bias(v, place, x))
        x = x - x.mean((2, 3), keepdim=True)
        x = x / (x.pow(2).mean((2, 3), keepdim=True) + 1e-8).sqrt()
        style = bias(v, f"{place}/StyleMod", dense(v, f"{place}/StyleMod", w[:, number], 2 * x.shape[1], 1))
        style = style.reshape(len(x), 2, x.shape[1], 1, 1)
        return x * (style[:, 0] + 1) + style[:, 1]

    images, x = None, None
    for level in range(levels + 1):
        width, side = channels(level, base, most), 4 << level
        place = f"G_synthesis/{side}x{side}"
        if level == 0:
            x = end(v.get(f"{place}/Const/const", 1, width, 4, 4).expand(len(w), -1, -1, -1), f"{place}/Const", 0)
            x = end(conv(v, f"{place}/Conv", x, width), f"{place}/Conv", 1)
        else:
            if side >= fused_from:
                weight = v.get(f"{place}/Conv0_up/weight", 3, 3, x.shape[1], width) * ROOT2 / math.sqrt(9 * x.shape[1])
                x = transposed(x, shifted_sum(weight.transpose(2, 3)))
            else:
                x = conv(v, f"{place}/Conv0_up", repeat(x), width)
            x = end(blur(x), f"{place}/Conv0_up", 2 * level)
            x = end(conv(v, f"{place}/Conv1", x, width), f"{place}/Conv1", 2 * level + 1)
        name = f"G_synthesis/ToRGB_lod{levels - level}"
        picture = bias(v, name, conv(v, name, x, colours, kernel=1, gain=1))
        images = picture if images is None else mix(picture, repeat(images), lod - (levels - level))
    return images
