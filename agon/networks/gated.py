"""DeepFill v2's networks for filling holes (Yu et al., 2019), https://arxiv.org/abs/1806.03589.

A gated convolution makes twice as many channels as it gives: one half, through an ELU, is multiplied by the sigmoid of the other, so that every place learns
how far to trust what it sees; ordinary convolutions see the missing pixels as black ones. Two stages: a coarse one with dilated convolutions, whose result is
pasted into the hole, and a refinement with a second branch that copies patches of features from outside the hole (contextual attention, Yu et al., 2018,
https://arxiv.org/abs/1801.07892). The discriminator (SN-PatchGAN) has 6 spectrally normalised 5x5 convolutions of stride 2; the hinge judges every element
of its last map.

Layout: layers, widths, dilations and inputs of the authors' released TensorFlow code (``build_inpaint_net``, ``build_sn_patch_gan_discriminator``), where
``width`` counts channels before the gate (48). Differs: convolutions of stride 2 pad both sides alike (TensorFlow pads right and below only), and the last
map of the discriminator has no leaky ReLU, which would make the hinge's margin of fakes five times as wide. The weights start so that 17 gated convolutions
in a row pass a signal on (with Glorot's every gate takes half of it away: nothing was learnt in hundreds of steps).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agon.layers.strided import strided

RATE, PATCH, SHARPNESS = 2, 3, 10.0
LEAST_NORM = 1e-4
SLOPE = 0.2
SMOOTHING = 4
GAIN = 2.24
"""With weights of variance GAIN^2 / fan-in the mean square stays from one gated convolution to the next: E[elu(g z)^2] E[sigmoid(g z)^2] = 1 for normal z."""


class GatedConv(nn.Module):
    """(N, C, H, W) -> (N, channels // 2, H / stride, W / stride): activation(a) * sigmoid(b) of the two halves of a convolution's ``channels``.

    ``up``: the map is doubled (nearest) before. ``kernel`` is odd.
    """

    def __init__(self, inputs: int, channels: int, kernel: int = 3, stride: int = 1, dilation: int = 1, *, up: bool = False, activation=F.elu):
        super().__init__()
        self.up, self.activation = up, activation
        self.conv = nn.Conv2d(inputs, channels, kernel, stride, dilation * (kernel // 2), dilation)
        with torch.no_grad():
            self.conv.weight.mul_(GAIN * math.sqrt(3))  # the layer's own start is uniform with variance 1 / (3 fan-in)
            self.conv.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        if self.up:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        feature, gate = self.conv(x).chunk(2, 1)
        return self.activation(feature) * torch.sigmoid(gate)


def chain(inputs: int, *layers: tuple[int, dict]) -> nn.Sequential:
    """Gated convolutions one after the other: (channels, further arguments) each."""
    made = []
    for channels, how in layers:
        made.append(GatedConv(inputs, channels, **how))
        inputs = channels // 2
    return nn.Sequential(*made)


def decoder(inputs: int, width: int, channels: int) -> nn.Sequential:
    """Features at a quarter of the size -> a picture before its tanh, (N, channels, 4 h, 4 w)."""
    layers = chain(inputs, (4 * width, {}), (4 * width, {}), (2 * width, {"up": True}), (2 * width, {}), (width, {"up": True}), (width // 2, {}))
    return nn.Sequential(*layers, nn.Conv2d(width // 4, channels, 3, padding=1))


class GatedInpainter(nn.Module):
    """(N, C + 1, H, W): a picture with 0 in its hole, and the mask (1 missing) -> (coarse, fine), (N, C, H, W) in [-1, 1] each.

    Sides are multiples of 4, with ``attention`` of 8. ``width``: a multiple of 4; 48 is published. ``dilations``: of the last convolutions of each encoder.

    ``smooth``: both stages add to a picture, the first to :func:`smooth_filling`, which it also sees in the hole, the second to what the first has made (then
    without tanh: slightly beyond [-1, 1]); the second sees the mask, too. The published stages make theirs from nothing: where there are minutes and not days
    to learn in, most of them would go into finding out the mean colour.
    """

    def __init__(self, channels: int = 3, width: int = 48, attention: bool = True, smooth: bool = False,
                 dilations: Sequence[int] = (2, 4, 8, 16)):  # fmt: skip
        super().__init__()
        self.smooth, half = smooth, {"stride": 2}
        dilated = [(4 * width, {"dilation": rate}) for rate in dilations]
        seen = channels + 1 if smooth else channels
        self.coarse = chain(
            channels + 2, (width, {"kernel": 5}), (2 * width, half), (2 * width, {}), (4 * width, half), (4 * width, {}), (4 * width, {}), *dilated
        )
        self.coarse_out = decoder(2 * width, width, channels)
        self.fine = chain(
            seen, (width, {"kernel": 5}), (width, half), (2 * width, {}), (2 * width, half), (4 * width, {}), (4 * width, {}), *dilated
        )
        self.patches = self.patches_out = None
        if attention:
            self.patches = chain(
                seen, (width, {"kernel": 5}), (width, half), (2 * width, {}), (4 * width, half), (4 * width, {}), (4 * width, {"activation": F.relu})
            )
            self.patches_out = chain(2 * width, (4 * width, {}), (4 * width, {}))
        self.fine_out = decoder(4 * width if attention else 2 * width, width, channels)
        if smooth:  # nothing is added at first: random additions do harm, and the quickest way out of it is to close the gates for good
            for head in (self.coarse_out[-1], self.fine_out[-1]):
                nn.init.zeros_(head.weight)
                nn.init.zeros_(head.bias)

    def forward(self, source: Tensor) -> tuple[Tensor, Tensor]:
        picture, mask = source[:, :-1], source[:, -1:]
        if self.smooth:
            picture = smooth_filling(source)
        # A channel of ones beside the mask: only there does the padding outside the picture differ from a known black pixel.
        first = self.coarse_out(self.coarse(torch.cat([picture, torch.ones_like(mask), mask], 1)))
        first = picture + first if self.smooth else torch.tanh(first)
        pasted = paste(source, first)
        looked = torch.cat([pasted, mask], 1) if self.smooth else pasted
        features = self.fine(looked)
        if self.patches is not None:
            hole = F.interpolate(mask, features.shape[2:], mode="nearest")
            features = torch.cat([features, self.patches_out(contextual_attention(self.patches(looked), hole))], 1)
        second = self.fine_out(features)
        return first, pasted + second if self.smooth else torch.tanh(second)


def reach(dilations: Sequence[int]) -> int:
    """Pixels each way that the finer filling depends on, without attention and smooth start: per stage 30 for the plain convolutions, 4 for each dilation."""
    return 2 * (30 + 4 * sum(dilations))


def paste(source: Tensor, made: Tensor) -> Tensor:
    """The known pixels of ``source`` (N, C + 1, H, W) and, in the hole, those of ``made`` (N, C, H, W)."""
    mask = source[:, -1:]
    return source[:, :-1] * (1 - mask) + made * mask


def smooth_filling(source: Tensor) -> Tensor:
    """(N, C + 1, H, W) -> (N, C, H, W): the picture, and in its hole a smooth continuation. 0 where nothing is known at all.

    Means of known pixels over ever larger squares fill the hole from the coarsest on (a pull-push pyramid; Gortler et al., 1996); at each size some steps of
    averaging with the neighbours bring it near the harmonic function, whose every missing pixel is the mean of those round it.
    """
    known = 1 - source[:, -1:]
    levels = [(source[:, :-1] * known, known)]
    while max(levels[-1][1].shape[2:]) > 1:
        levels.append(tuple(F.avg_pool2d(part, 2, ceil_mode=True) for part in levels[-1]))
    colours, weight = levels.pop()
    filled = colours / weight.clamp(min=1e-6)
    for colours, weight in reversed(levels):
        fixed, there = colours / weight.clamp(min=1e-6), (weight > 0).to(weight.dtype)
        filled = F.interpolate(filled, weight.shape[2:], mode="bilinear", align_corners=False)
        for _ in range(SMOOTHING):
            filled = fixed * there + filled * (1 - there)
            filled = F.avg_pool2d(F.pad(filled, (1, 1, 1, 1), mode="replicate"), 3, 1)
        filled = fixed * there + filled * (1 - there)
    return filled


def contextual_attention(features: Tensor, hole: Tensor) -> Tensor:
    """Every place made anew of patches from outside the hole: (N, C, H, W), ``hole`` (N, 1, H, W) of 0 and 1 -> (N, C, H, W); sides are even.

    At half the size 3x3 patches are compared (cosine of the known with the plain others), the scores of neighbouring pairs added up along rows and columns,
    and softmaxed with sharpness 10; 4x4 patches of full size are then pasted with these weights, overlaps averaged. A patch that touches the hole is copied
    nowhere; a picture without any other gives 0.
    """
    small = features[:, :, ::RATE, ::RATE]
    height, width = small.shape[2:]
    looked = F.unfold(small, PATCH, padding=1)
    lengths = torch.linalg.vector_norm(looked.float(), dim=1, keepdim=True).clamp(min=LEAST_NORM)
    scores = torch.einsum("ncb,ncf->nbf", looked.float() / lengths, looked.float())
    for shape in ((height, width), (width, height)):
        scores = swapped(along_diagonal(scores), shape)
    known = (F.unfold(hole[:, :, ::RATE, ::RATE].float(), PATCH, padding=1).sum(1) == 0).float().unsqueeze(2)
    weights = torch.softmax(scores * known * SHARPNESS, 1) * known
    copied = F.unfold(features, 2 * RATE, padding=RATE // 2, stride=RATE).float()
    made = F.fold(copied @ weights, features.shape[2:], 2 * RATE, padding=RATE // 2, stride=RATE) / RATE**2
    return made.to(features.dtype)


def along_diagonal(scores: Tensor) -> Tensor:
    """(N, B, F) -> s[b, f] + s[b - 1, f - 1] + s[b + 1, f + 1], 0 outside: pairs of neighbours that agree support each other."""
    total = scores.clone()
    total[:, 1:, 1:] += scores[:, :-1, :-1]
    total[:, :-1, :-1] += scores[:, 1:, 1:]
    return total


def swapped(scores: Tensor, shape: tuple[int, int]) -> Tensor:
    """Both axes of (N, h w, h w) re-ordered from row by row to column by column: (N, w h, w h)."""
    height, width = shape
    return scores.unflatten(2, (height, width)).unflatten(1, (height, width)).permute(0, 2, 1, 4, 3).reshape(scores.shape)


class PatchCritic(nn.Module):
    """SN-PatchGAN: a picture and its mask (N, C, H, W) -> (N, 4 * width, H / 2^layers, W / 2^layers) logits, rounded up; normalise it spectrally.

    ``width``: 64 is published, with 6 layers of 64, 128, then 256 channels.
    """

    def __init__(self, channels: int = 4, width: int = 64, layers: int = 6):
        super().__init__()
        widths = [channels, *(width * min(2**index, 4) for index in range(layers))]
        self.convs = nn.ModuleList(nn.Conv2d(before, after, 5, 2, 2) for before, after in zip(widths, widths[1:], strict=False))
        for conv in self.convs:
            nn.init.xavier_uniform_(conv.weight)
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs[:-1]:
            x = F.leaky_relu(strided(conv, x), SLOPE)
        return strided(self.convs[-1], x)
