"""Resampling with a low-pass filter, and convolutions that change the resolution with one.

``upfirdn2d``: put up - 1 zeros after each pixel, pad (negative: crop), convolve with the filter, keep every down-th pixel. The conventions of
StyleGAN2 (Karras et al., 2020, https://arxiv.org/abs/1912.04958, appendix B) and its published code, which these functions equal: upsampling pads
((k + up - 1) // 2, (k - up) // 2), downsampling ((k - down + 1) // 2, (k - down) // 2), and a convolution's own padding is added
to that once, before both. The zeros are never multiplied: up is a transposed convolution, down a strided one, a one-dimensional filter is applied
along one axis and then the other. All of it is differentiable as often as one likes.

Without such a filter, nearest upsampling and a 3x3 convolution are one transposed 4x4 convolution of stride 2, a 3x3 convolution and the mean of 2x2 one 4x4
convolution of stride 2: ``double_then_conv`` and ``conv_then_halve``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Pair = tuple[int, int]
Padding = tuple[int, int, int, int]


def fir(taps: Sequence) -> Tensor:
    """A filter of sum 1, float32: (k,) stands for its outer product and is applied separably, (kh, kw) is taken as it is."""
    kernel = torch.as_tensor(taps, dtype=torch.float32)
    return kernel / kernel.sum()


def upfirdn2d(x: Tensor, kernel: Tensor, up: int = 1, down: int = 1, padding: Padding = (0, 0, 0, 0), gain: float = 1.0, flip: bool = False) -> Tensor:
    """(N, C, H, W) -> (N, C, (H up + top + bottom - kh) // down + 1, ...). ``padding``: left, right, top, bottom, in pixels after ``up``.

    ``flip``: correlate instead of convolve. ``gain`` multiplies the result once, also with a separable filter.
    """
    kernel = kernel.to(x.dtype)
    if flip:
        kernel = kernel.flip(tuple(range(kernel.ndim)))
    left, right, top, bottom = padding
    if kernel.ndim == 2:
        return _filter(x, kernel * gain, (up, up), (down, down), padding)
    x = _filter(x, kernel[None] * gain, (1, up), (1, down), (left, right, 0, 0))
    return _filter(x, kernel[:, None], (up, 1), (down, 1), (0, 0, top, bottom))


def _filter(x: Tensor, kernel: Tensor, up: Pair, down: Pair, padding: Padding) -> Tensor:
    """Convolve every channel with a (kh, kw) kernel; ``up`` and ``down`` by axis (y, x)."""
    kernel = kernel.flip(0, 1)
    if torch.is_grad_enabled() and x.requires_grad and not torch.compiler.is_compiling():
        return _UpFirDown.apply(x, kernel, up, down, padding)
    return _correlate(x, kernel, up, down, padding)


class _UpFirDown(torch.autograd.Function):
    """Linear, and its adjoint is one of its kind: torch's double backward of a convolution with groups goes through the channels one by one."""

    @staticmethod
    def forward(ctx, x, kernel, up, down, padding):
        ctx.kernel, ctx.up, ctx.down, ctx.padding, ctx.size = kernel, up, down, padding, x.shape[2:]
        return _correlate(x, kernel, up, down, padding)

    @staticmethod
    def backward(ctx, output):
        pads: list[int] = []
        for axis in (1, 0):
            size, before, up, down = ctx.kernel.shape[axis], ctx.padding[2 - 2 * axis], ctx.up[axis], ctx.down[axis]
            pads += [size - 1 - before, ctx.size[axis] * up - output.shape[2 + axis] * down + before - up + 1]
        return _UpFirDown.apply(output, ctx.kernel.flip(0, 1), ctx.down, ctx.up, tuple(pads)), None, None, None, None


def _correlate(x: Tensor, kernel: Tensor, up: Pair, down: Pair, padding: Padding) -> Tensor:
    if x.device.type == "cpu" and x.shape[1] >= 8:
        x = x.contiguous(memory_format=torch.channels_last)  # many times faster there
    with torch.autocast(x.device.type, enabled=False):
        if up == (1, 1):
            return _strided(x, kernel, down, padding)
        x = _polyphase(x, kernel, up, padding)
        return x if down == (1, 1) else x[:, :, :: down[0], :: down[1]]


def _strided(x: Tensor, kernel: Tensor, down: Pair, padding: Padding) -> Tensor:
    left, right, top, bottom = padding
    if left != right or top != bottom or left < 0 or top < 0:
        x, left, top = F.pad(x, padding), 0, 0
    channels = x.shape[1]
    return F.conv2d(x, kernel.expand(channels, 1, *kernel.shape), stride=down, padding=(top, left), groups=channels)


def _polyphase(x: Tensor, kernel: Tensor, up: Pair, padding: Padding) -> Tensor:
    """Each of the up x up interleaved outputs is a convolution of the input with every up-th tap."""
    channels, size, pads = x.shape[1], x.shape[2:], ((padding[2], padding[3]), (padding[0], padding[1]))
    whole = [size[i] * up[i] + sum(pads[i]) - kernel.shape[i] + 1 for i in (0, 1)]
    out = torch.empty((len(x), channels, *whole), dtype=x.dtype, device=x.device, memory_format=_layout(x))
    for row in range(min(up[0], whole[0])):
        for column in range(min(up[1], whole[1])):
            starts = [(pads[i][0] - phase) % up[i] for i, phase in enumerate((row, column))]
            taps = kernel[starts[0] :: up[0], starts[1] :: up[1]]
            part = out[:, :, row :: up[0], column :: up[1]]
            if not taps.numel():
                part.zero_()
                continue
            around: list[int] = []
            for i, phase in ((1, column), (0, row)):
                before = (pads[i][0] - phase - starts[i]) // up[i]
                around += [before, part.shape[2 + i] + taps.shape[i] - 1 - before - size[i]]
            part.copy_(_cut(x, taps, around, part.shape[2:]))
    return out


def _cut(x: Tensor, taps: Tensor, around: list[int], size: torch.Size) -> Tensor:
    """Correlation padded by left, right, top, bottom; the convolution's own padding and a view spare the copy that uneven padding costs."""
    left, right, top, bottom = around
    wide, high = max(left, right, 0), max(top, bottom, 0)
    y = F.conv2d(x, taps.expand(x.shape[1], 1, *taps.shape), padding=(high, wide), groups=x.shape[1])
    return y[:, :, high - top : high - top + size[0], wide - left : wide - left + size[1]]


def _layout(x: Tensor) -> torch.memory_format:
    return torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous() else torch.contiguous_format


def _pads(kernel: Tensor, up: int, down: int, extra: tuple[int, int] = (0, 0)) -> Padding:
    """The conventional padding, plus a convolution's own ((y, x), on both sides)."""
    pads: list[int] = []
    for size, own in ((kernel.shape[-1], extra[1]), (kernel.shape[0], extra[0])):
        before, after = own, own
        if up > 1 or down == 1:  # filter2d is upsampling by 1
            before, after = before + (size + up - 1) // 2, after + (size - up) // 2
        if down > 1:
            before, after = before + (size - down + 1) // 2, after + (size - down) // 2
        pads += [before, after]
    return pads[0], pads[1], pads[2], pads[3]


def filter2d(x: Tensor, kernel: Tensor, gain: float = 1.0, flip: bool = False) -> Tensor:
    """(N, C, H, W) filtered, of the same size."""
    return upfirdn2d(x, kernel, padding=_pads(kernel, 1, 1), gain=gain, flip=flip)


def upsample2d(x: Tensor, kernel: Tensor, up: int = 2, gain: float = 1.0, flip: bool = False) -> Tensor:
    """(N, C, H, W) -> (N, C, up H, up W), of the same brightness."""
    return upfirdn2d(x, kernel, up=up, padding=_pads(kernel, up, 1), gain=gain * up**2, flip=flip)


def downsample2d(x: Tensor, kernel: Tensor, down: int = 2, gain: float = 1.0, flip: bool = False) -> Tensor:
    """(N, C, H, W) -> (N, C, H / down, W / down)."""
    return upfirdn2d(x, kernel, down=down, padding=_pads(kernel, 1, down), gain=gain, flip=flip)


def conv_up(x: Tensor, weight: Tensor, kernel: Tensor, gain: float = 1.0) -> Tensor:
    """Double the size, filter and convolve (N, I, H, W) with (O, I, k, k) -> (N, O, 2H, 2W), padding k // 2.

    The weight is convolved, not correlated (StyleGAN2's up-convolutions are transposed convolutions with the weight as it is).
    """
    size = weight.shape[2]
    if size == 1:
        return upsample2d(F.conv2d(x, weight), kernel, gain=gain)
    left, right, top, bottom = _pads(kernel, 2, 1, (size // 2, size // 2))
    x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    return upfirdn2d(x, kernel, padding=(left - size + 1, right - size + 2, top - size + 1, bottom - size + 2), gain=4 * gain)


def conv_down(x: Tensor, weight: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    """Filter, correlate (N, I, H, W) with (O, I, k, k) and halve the size -> (N, O, H/2, W/2), padding k // 2."""
    size = weight.shape[2]
    if size == 1:
        return F.conv2d(downsample2d(x, kernel), weight, bias)
    x = upfirdn2d(x, kernel, padding=_pads(kernel, 1, 2, (size // 2, size // 2)))
    return F.conv2d(x, weight, bias, stride=2)


def spread(weight: Tensor) -> Tensor:
    """(O, I, 3, 3) -> (O, I, 4, 4): the kernel summed over the four positions of a 2x2 block."""
    return sum(F.pad(weight, (dx, 1 - dx, dy, 1 - dy)) for dy in (0, 1) for dx in (0, 1))


def double_then_conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A 3x3 convolution (O, I, 3, 3) of the nearest upsampling of x."""
    # a transposed convolution wants (I, O, ...) and applies the kernel unflipped where the convolution correlates
    return F.conv_transpose2d(x, spread(weight).transpose(0, 1).flip(2, 3), bias, stride=2, padding=1)


def conv_then_halve(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The 2x2 means of a 3x3 convolution of x."""
    return F.conv2d(x, spread(weight) / 4, bias, stride=2, padding=1)
