"""Oracles: upfirdn in scipy, bilinear interpolation, and each part written out plainly."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from network_helpers import networks, pictures, randomise
from scipy.signal import convolve2d

from agon.networks.r3gan import Block, Resample

FILTER = np.convolve([1, 2, 1], [1, 1]) / 8


def upfirdn(x, up):
    """Zeros between the pixels and a filter, or a filter and every second pixel; one picture plane (H, W)."""
    kernel = np.outer(FILTER, FILTER)
    if up:
        stuffed = np.zeros((2 * x.shape[0], 2 * x.shape[1]))
        stuffed[::2, ::2] = x
        return 4 * convolve2d(np.pad(stuffed, ((2, 1), (2, 1))), kernel, mode="valid")
    return convolve2d(np.pad(x, 1), kernel, mode="valid")[::2, ::2]


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("size", [(4, 6), (2, 8)])
def test_resample_equals_upfirdn(up, size):
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size)
    found = Resample(3, 3, up=up)(x)
    expected = np.stack([[upfirdn(plane, up) for plane in picture] for picture in x.double().numpy()])
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("up", [True, False])
def test_resample_is_bilinear_interpolation_away_from_the_border(up):
    x = torch.randn(1, 2, 12, 12)
    found = Resample(2, 2, up=up)(x)
    expected = F.interpolate(x, scale_factor=2 if up else 0.5, mode="bilinear", antialias=not up)
    torch.testing.assert_close(found[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], atol=1e-6, rtol=0)


def test_halving_is_the_adjoint_of_doubling():
    """<up x, y> = 4 <x, down y>: the gradients of one are the other."""
    x, y = torch.randn(1, 2, 4, 5), torch.randn(1, 2, 8, 10)
    torch.testing.assert_close((Resample(2, 2, up=True)(x) * y).sum(), 4 * (x * Resample(2, 2, up=False)(y)).sum())


@pytest.mark.parametrize("up", [True, False])
def test_where_the_width_changes_a_1x1_convolution_stands_on_the_small_side(up):
    torch.manual_seed(0)
    layer, plain, x = Resample(3, 5, up=up), Resample(3, 3, up=up), torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(layer(x), F.conv2d(plain(x), layer.conv.weight), atol=1e-5, rtol=1e-5)  # they commute


def test_resample_has_no_weights_and_nothing_in_a_checkpoint():
    layer = Resample(3, 3, up=True)
    assert not list(layer.parameters()) and not layer.state_dict()


def plain_block(block, x, groups):
    """Each group's convolution on its own, as loops."""
    wide = F.leaky_relu(F.conv2d(x, block.conv1.weight) + block.act1.bias.view(1, -1, 1, 1), 0.2)
    share = wide.shape[1] // groups
    parts = [F.conv2d(wide[:, g * share : (g + 1) * share], block.conv2.weight[g * share : (g + 1) * share], padding=1) for g in range(groups)]
    wide = F.leaky_relu(torch.cat(parts, 1) + block.act2.bias.view(1, -1, 1, 1), 0.2)
    return x + F.conv2d(wide, block.conv3.weight)


def test_block_equals_its_formula():
    block = randomise(Block(6, cardinality=4, expansion=2, num_blocks=3))
    x = torch.randn(2, 6, 5, 4)
    torch.testing.assert_close(block(x), plain_block(block, x, 4), atol=1e-5, rtol=1e-5)


def test_block_starts_as_the_identity():
    block, x = Block(8, cardinality=2, expansion=2, num_blocks=3), torch.randn(2, 8, 4, 4)
    assert torch.equal(block(x), x)


def test_weights_start_with_the_fix_up_scale():
    """Leaky gain x num_blocks^(-1/4) / sqrt(fan in) for the two before the last; the last at 0; biases at 0."""
    torch.manual_seed(0)
    block = Block(256, cardinality=8, expansion=2, num_blocks=16)
    gain = math.sqrt(2 / 1.04) * 16 ** (-1 / 4)
    assert block.conv1.weight.std().item() == pytest.approx(gain / math.sqrt(256), rel=0.02)
    assert block.conv2.weight.std().item() == pytest.approx(gain / math.sqrt(64 * 9), rel=0.02)
    assert not block.conv3.weight.any() and not block.act1.bias.any() and not block.act2.bias.any()


@pytest.mark.parametrize("condition_dim", [0, 3])
def test_generator_equals_its_formula(condition_dim):
    generator = randomise(networks(pictures(2, 8, 12), condition_dim, network="r3gan", base_size=4)[0])
    latent, condition = torch.randn(3, 5), torch.eye(3) if condition_dim else None
    whole = latent if condition is None else torch.cat([latent, condition @ generator.embedding.weight.T], 1)
    first, up, last = generator.layers
    x = generator.basis[None] * (whole @ generator.project.weight.T)[:, :, None, None]
    x = plain_block(first, x, 2)
    x = torch.from_numpy(np.stack([[upfirdn(plane, True) for plane in picture] for picture in x.detach().double().numpy()])).float()
    expected = F.conv2d(plain_block(last, x, 2), generator.to_picture.weight)
    assert x.shape[2:] == (8, 12) and generator.basis.shape == (4, 4, 6)
    torch.testing.assert_close(generator(latent, condition), expected, atol=1e-4, rtol=1e-4)


def test_backbone_equals_its_formula():
    backbone = randomise(networks(pictures(2, 8, 12), network="r3gan", base_size=4)[1])
    first, down, last = backbone.layers
    picture = torch.randn(3, 2, 8, 12)
    x = plain_block(first, F.conv2d(picture, backbone.from_picture.weight), 2)
    x = torch.from_numpy(np.stack([[upfirdn(plane, False) for plane in one] for one in x.detach().double().numpy()])).float()
    x = plain_block(last, x, 2)
    expected = (x * backbone.basis.weight[:, 0]).sum((2, 3))
    torch.testing.assert_close(backbone(picture), expected, atol=1e-4, rtol=1e-4)
