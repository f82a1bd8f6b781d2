"""Training Generative Adversarial Networks with Limited Data (Karras et al., 2020), https://arxiv.org/abs/2006.06676, appendix B: the pipeline of
augmentations whose probability adapts to how much the discriminator overfits.

Six groups, in this order: ``blit`` (mirror, quarter turns, whole-pixel shifts), ``geom`` (scale, rotation, stretch, shift), ``color`` (brightness,
contrast, luma flip, hue, saturation), ``filter`` (gains of four frequency bands), ``noise`` and ``cutout``. All of a picture's geometric changes are one
affine map, carried out by one resampling: twofold upsampling with the sym6 wavelet filter, bilinear sampling, downsampling with the mirrored filter. The
wavelet is orthogonal: where the map is the identity (p = 0), the two cancel up to rounding.

Equal to the published code in every value for a single picture. In a batch that code pads every picture by what the most demanding one needs, and the
rim of the others depends on it; here each picture gets what it would get alone, so that a batch may be split. Pictures smaller than the filter
bank's reach, which the published code refuses, are mirrored as often as it takes. Bilinear sampling is linear in the picture, hence its derivative is
the transposed operation and its second derivative sampling again: :class:`_Sample` says so, where PyTorch knows no second derivative on every device.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agon.errors import UserError
from agon.layers.resample import fir, upfirdn2d

GROUPS = {"blit": (7, 0), "geom": (7, 4), "color": (7, 3), "filter": (4, 4), "noise": (1, 1), "cutout": (3, 0)}
"""How many uniform and normal numbers each sample needs for each group (noise also one normal number for each value of the picture)."""

SETS = {
    "bg": ("blit", "geom"),
    "bgc": ("blit", "geom", "color"),
    "bgcf": ("blit", "geom", "color", "filter"),
    "bgcfn": ("blit", "geom", "color", "filter", "noise"),
    "bgcfnc": tuple(GROUPS),
}
"""The published combinations; ``bgc`` is the recommended one."""

SYM2 = (-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025)
SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466, 0.787641141030194,
    0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
"""Low-pass filters of the symlet wavelets (Daubechies 1992)."""

REACH = len(SYM6) // 4
"""Pixels on each side that one filter of the resampling needs."""

POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)
"""Share of natural pictures' power in each of the four bands, from low to high (a spectrum of 1/f)."""


def check_set(transforms: str) -> tuple[str, ...]:
    """``"bgc"`` or ``"blit,noise"`` -> names of groups, in the order in which they are applied. Raises UserError for an unknown one."""
    chosen = set()
    for name in filter(None, (part.strip() for part in transforms.split(","))):
        if name not in SETS and name not in GROUPS:
            raise UserError("There is no set of augmentations '{name}'. Expected some of: {known}.", name=name, known=", ".join((*GROUPS, *SETS)))
        chosen.update(SETS.get(name, (name,)))
    return tuple(group for group in GROUPS if group in chosen)


class AdaptiveAugment(nn.Module):
    """(images (N, C, H, W) in [-1, 1], draws) -> the same shape and type, each transformation with probability ``p`` (a buffer; p is not bounded by 1).

    ``transforms``: names of :data:`GROUPS` or :data:`SETS`, separated by commas. Colours need 1 or 3 channels (UserError). Twice differentiable.
    """

    def __init__(self, transforms: str, p: float = 0.0):
        super().__init__()
        self.groups = check_set(transforms)
        self.register_buffer("p", torch.tensor(float(p)))
        self.register_buffer("lowpass", fir(SYM6), persistent=False)
        self.register_buffer("bands", torch.tensor(filter_bank(), dtype=torch.float32), persistent=False)

    def forward(self, images: Tensor, draws) -> Tensor:
        check_channels(self.groups, images.shape[1])
        with torch.autocast(images.device.type, enabled=False):  # positions and filters need all their digits
            x = images if images.dtype == torch.float64 else images.float()
            numbers = _Numbers(draws, self.groups, x, self.p)
            if "blit" in self.groups or "geom" in self.groups:
                x = resample(x, self._geometry(numbers, *x.shape[2:]), self.lowpass)
            if "color" in self.groups:
                x = recolour(x, numbers)
            if "filter" in self.groups:
                x = amplify(x, band_gains(numbers), self.bands.to(x.dtype))
            if "noise" in self.groups:
                sigma = numbers.gated(numbers.normal().abs() * 0.1, 0.0)
                x = x + draws.normal(*x.shape).to(x.dtype) * sigma[:, None, None, None]
            if "cutout" in self.groups:
                x = x * cutout_mask(numbers, *x.shape[2:])
            return x.to(images.dtype)

    def _geometry(self, numbers: _Numbers, height: int, width: int) -> Tensor:
        """(N, 2, 3): where a position of the result lies in the picture, both in pixels from the centre."""
        place = torch.eye(3, device=self.p.device, dtype=numbers.dtype)[None, :2]
        if "blit" in self.groups:
            place = _then(place, _stretch(1 - 2 * numbers.gated((numbers.uniform() * 2).floor(), 0.0), 1.0))
            place = _then(place, _turn(numbers.gated((numbers.uniform() * 4).floor(), 0.0) * (math.pi / 2)))
            shift_x, shift_y = ((numbers.uniform() * 2 - 1) * 0.125 for _ in range(2))
            gate = numbers.gate()
            place = _then(place, _shift(-(torch.where(gate, shift_x, 0.0) * width).round(), -(torch.where(gate, shift_y, 0.0) * height).round()))
        if "geom" in self.groups:
            place = _then(place, self._general(numbers, height, width))
        return place

    def _general(self, numbers: _Numbers, height: int, width: int) -> Tensor:
        # a picture is turned before or after the stretch: with probability p at least once
        p_turn = 1 - (1 - self.p).clamp(0, 1).sqrt()
        scale = numbers.gated(torch.exp2(numbers.normal() * 0.2), 1.0)
        place = _then(_stretch(1 / scale, 1 / scale), _turn(numbers.gated((numbers.uniform() * 2 - 1) * math.pi, 0.0, p_turn)))
        stretch = numbers.gated(torch.exp2(numbers.normal() * 0.2), 1.0)
        place = _then(place, _stretch(1 / stretch, stretch))
        place = _then(place, _turn(numbers.gated((numbers.uniform() * 2 - 1) * math.pi, 0.0, p_turn)))
        shift_x, shift_y = (numbers.normal() * 0.125 for _ in range(2))
        gate = numbers.gate()
        return _then(place, _shift(-torch.where(gate, shift_x, 0.0) * width, -torch.where(gate, shift_y, 0.0) * height))


def check_channels(groups: tuple[str, ...], channels: int) -> None:
    """Raises UserError where the pictures have no colours that could be changed."""
    if "color" in groups and channels not in (1, 3):
        raise UserError(
            "Augmenting colours needs pictures of 1 or 3 channels, and these have {channels}. Expected sets without color, such as bg.",
            channels=channels,
        )  # fmt: skip


class _Numbers:
    """Each sample's random numbers, handed out in the order of the published code; as many whatever the probabilities."""

    def __init__(self, draws, groups: tuple[str, ...], like: Tensor, p: Tensor):
        uniforms, normals = (sum(GROUPS[group][i] for group in groups) for i in (0, 1))
        self.dtype, self.p = like.dtype, p
        self._uniform = iter(draws.uniform(len(like), uniforms).to(like.dtype).unbind(1) if uniforms else ())
        self._normal = iter(draws.normal(len(like), normals).to(like.dtype).unbind(1) if normals else ())

    def uniform(self) -> Tensor:
        return next(self._uniform)

    def normal(self) -> Tensor:
        return next(self._normal)

    def gate(self, p: Tensor | None = None) -> Tensor:
        """(N,) whether to change each sample: with probability ``p``, by default the module's."""
        return self.uniform() < (self.p if p is None else p)

    def gated(self, value: Tensor, neutral: float, p: Tensor | None = None) -> Tensor:
        return torch.where(self.gate(p), value, neutral)


# --- geometry ---------------------------------------------------------------------------------------------------------------------------


def _rows(first: tuple, second: tuple) -> Tensor:
    """(N, 2, 3) from two rows of numbers and (N,) tensors."""
    like = next(entry for entry in (*first, *second) if isinstance(entry, Tensor))
    entries = [entry if isinstance(entry, Tensor) else torch.full_like(like, entry) for entry in (*first, *second)]
    return torch.stack(entries, 1).reshape(-1, 2, 3)


def _shift(x: Tensor, y: Tensor) -> Tensor:
    return _rows((1.0, 0.0, x), (0.0, 1.0, y))


def _stretch(x: Tensor, y: Tensor | float) -> Tensor:
    return _rows((x, 0.0, 0.0), (0.0, y, 0.0))


def _turn(angle: Tensor) -> Tensor:
    return _rows((angle.cos(), -angle.sin(), 0.0), (angle.sin(), angle.cos(), 0.0))


def _then(outer: Tensor, inner: Tensor) -> Tensor:
    """The affine map ``outer`` after ``inner``. By hand: a matrix product may run in TF32, which loses a third of a pixel."""
    linear = (outer[:, :, :2, None] * inner[:, None]).sum(2)
    return torch.cat([linear[..., :2], linear[..., 2:] + outer[..., 2:]], 2)


def resample(x: Tensor, place: Tensor, lowpass: Tensor) -> Tensor:
    """Pictures (N, C, H, W) whose values at a position, in pixels from the centre, are those at ``place`` (N, 2, 3) of it; mirrored beyond the rim."""
    height, width = x.shape[2:]
    x, (shift_x, shift_y) = _upsampled(x, place, lowpass)
    linear, offset = place[..., :2], place[..., 2]
    # in half pixels; the filters' centres lie between them
    offset = 2 * offset + offset.new_tensor([shift_x, shift_y]) + 0.5 * linear.sum(2) - 0.5
    across, down = (torch.arange(size, device=x.device, dtype=x.dtype) + 0.5 - size / 2 for size in (2 * (width + 2 * REACH), 2 * (height + 2 * REACH)))
    grid = linear[:, None, None, :, 0] * across[:, None] + linear[:, None, None, :, 1] * down[:, None, None] + offset[:, None, None]
    x = _Sample.apply(x, grid * grid.new_tensor([2 / x.shape[3], 2 / x.shape[2]]))
    crop = (len(lowpass) - 1) // 2 - 2 * REACH
    return upfirdn2d(x, lowpass, down=2, padding=(crop,) * 4, flip=True)


def _upsampled(x: Tensor, place: Tensor, lowpass: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """The pictures mirrored by what they need and twice as large; how much more was put on the left (above) than on the right (below)."""
    height, width = x.shape[2:]
    half = place.new_tensor([(width - 1) / 2, (height - 1) / 2])
    extent = (place[..., :2].abs() * half).sum(2)  # of the corners' images, around the offset
    margins = torch.cat([extent - place[..., 2], extent + place[..., 2]], 1) + (2 * REACH - half).repeat(2)
    margins = margins.clamp_min(0).minimum((2 * half).repeat(2)).ceil()  # left, above, right, below
    needed = margins.long().tolist()
    left, above, right, below = (max(column) for column in zip(*needed, strict=True))
    x = F.pad(x, (left, right, above, below), mode="reflect")
    if any(row != needed[0] for row in needed):  # nothing beyond a picture's own margin
        across = _within(left + right + width, left - margins[:, 0], right - margins[:, 2])
        down = _within(above + below + height, above - margins[:, 1], below - margins[:, 3])
        x = x * (down[:, None, :, None] & across[:, None, None, :]).to(x.dtype)
    size = len(lowpass)
    x = upfirdn2d(x, lowpass, up=2, padding=((size + 1) // 2, (size - 2) // 2) * 2, gain=4)
    return x, (left - right, above - below)


def _within(size: int, before: Tensor, after: Tensor) -> Tensor:
    """(N, size): not among the first ``before`` or the last ``after``."""
    position = torch.arange(size, device=before.device)
    return (position >= before[:, None]) & (position < size - after[:, None])


class _Sample(torch.autograd.Function):
    """Bilinear sampling of (N, C, H, W) at ``grid`` (N, H', W', 2), in units of half the size from the centre; 0 outside. No gradient for the grid."""

    @staticmethod
    def forward(ctx, x: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.size = x.shape
        return F.grid_sample(x, grid, align_corners=False)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return _Spread.apply(gradient, *ctx.saved_tensors, ctx.size), None


class _Spread(torch.autograd.Function):
    """The transposed operation."""

    @staticmethod
    def forward(ctx, gradient: Tensor, grid: Tensor, size: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        anything = gradient.new_zeros(1).expand(size)  # only its shape matters
        return torch.ops.aten.grid_sampler_2d_backward(gradient, anything, grid, 0, 0, False, [True, False])[0]

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _Sample.apply(gradient, *ctx.saved_tensors), None, None


# --- colour -----------------------------------------------------------------------------------------------------------------------------


def recolour(x: Tensor, numbers: _Numbers) -> Tensor:
    """Brightness, contrast, luma flip, hue and saturation of (N, 1 or 3, H, W).

    With the projection P on the grey axis, contrast c, flip f = -1, angle t and saturation s the published matrices multiply to
    c (f P + s (cos t (1 - P) + sin t K)), K the cross product with the axis; brightness b becomes the offset c f b. One channel keeps the grey axis.
    """
    brightness = numbers.gated(numbers.normal() * 0.2, 0.0)
    contrast = numbers.gated(torch.exp2(numbers.normal() * 0.5), 1.0)
    luma = contrast * (1 - 2 * numbers.gated((numbers.uniform() * 2).floor(), 0.0))
    angle = numbers.gated((numbers.uniform() * 2 - 1) * math.pi, 0.0)[:, None, None]
    chroma = (contrast * numbers.gated(torch.exp2(numbers.normal()), 1.0))[:, None, None]
    offset = (brightness * luma)[:, None, None, None]
    if x.shape[1] == 1:
        return x * luma[:, None, None, None] + offset
    grey = x.new_full((3, 3), 1 / 3)
    cross = x.new_tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    matrix = luma[:, None, None] * grey + chroma * (angle.cos() * (torch.eye(3).to(grey) - grey) + angle.sin() * cross)
    return (matrix @ x.flatten(2)).reshape(x.shape) + offset


# --- frequency bands --------------------------------------------------------------------------------------------------------------------


def filter_bank() -> np.ndarray:
    """(4, taps): symmetric filters that pass [0, 1/8], [1/8, 1/4], [1/4, 1/2] and [1/2, 1] of the frequencies and add up to the identity."""
    low = np.array(SYM2)
    high = low * np.array([1, -1, 1, -1])
    low, high = np.convolve(low, low[::-1]) / 2, np.convolve(high, high[::-1]) / 2
    bank = [np.ones(1)]
    for _ in range(3):
        wider = []
        for taps in bank:
            sparse = np.zeros(2 * len(taps) - 1)
            sparse[::2] = taps
            wider.append(np.convolve(sparse, low))
        bank = [*wider, np.pad(high, (len(wider[0]) - len(high)) // 2)]
    return np.stack(bank)


def band_gains(numbers: _Numbers) -> Tensor:
    """(N, 4): each band made stronger or weaker, then all scaled to the power that a natural picture had (a product over the bands changed)."""
    amplified = torch.stack([numbers.gated(torch.exp2(numbers.normal()), 1.0) for _ in POWER], 1)
    power = 1 + amplified.new_tensor(POWER) * (amplified.square() - 1)
    return amplified / power.sqrt().prod(1, keepdim=True)


def amplify(x: Tensor, gains: Tensor, bands: Tensor) -> Tensor:
    """Filter (N, C, H, W) along both axes with ``gains`` (N, B) times the bank ``bands`` (B, taps), mirrored at the rim.

    As products with one matrix for each axis and picture: a grouped convolution with a filter of its own for every channel is slower to derive twice.
    """
    down, across = (torch.einsum("nb,bij->nij", gains, _as_matrices(bands, size))[:, None] for size in x.shape[2:])
    return down @ x @ across.transpose(2, 3)


def _as_matrices(bands: Tensor, size: int) -> Tensor:
    """(B, size, size) from (B, taps): the correlation of ``size`` values mirrored at both ends, as often as the filter reaches beyond."""
    taps = bands.shape[1]
    period = max(1, 2 * (size - 1))
    source = (torch.arange(size, device=bands.device)[:, None] + torch.arange(taps, device=bands.device) - taps // 2) % period
    source = torch.minimum(source, period - source) if size > 1 else source
    return bands.new_zeros(len(bands), size, size).scatter_add(2, source.expand(len(bands), -1, -1), bands[:, None].expand(-1, size, -1))


def cutout_mask(numbers: _Numbers, height: int, width: int) -> Tensor:
    """(N, 1, H, W): 0 in a rectangle of half of each side centred anywhere, 1 elsewhere."""
    size = numbers.gated(torch.full((), 0.5, device=numbers.p.device, dtype=numbers.dtype), 0.0)
    outside = []
    for length in (width, height):
        centre = numbers.uniform()[:, None]
        position = (torch.arange(length, device=centre.device, dtype=centre.dtype) + 0.5) / length
        outside.append((position - centre).abs() >= size[:, None] / 2)
    return (outside[0][:, None, None, :] | outside[1][:, None, :, None]).to(numbers.dtype)
