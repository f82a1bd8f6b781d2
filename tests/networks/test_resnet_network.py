"""Oracles: the blocks as published, written out (the shortcut on the large side), and affine maps for each class."""

import pytest
import torch
import torch.nn.functional as F
from network_helpers import networks, pictures, randomise

from agon.layers.init import initialise
from agon.layers.spectral import spectral_normalise
from agon.networks.resnet import ConditionalBatchNorm, DiscriminatorBlock, GeneratorBlock, conv_then_pool, spread, up_then_conv


def plain_norm(norm, x, label=None):
    """Batch statistics and one gain and shift for each class."""
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
    x = (x - mean) / (variance + 1e-5).sqrt()
    if label is None:
        return x * norm.norm.weight.view(1, -1, 1, 1) + norm.norm.bias.view(1, -1, 1, 1)
    channels = x.shape[1]
    table = norm.embed.weight  # (2 C, K)
    return torch.stack([one * table[:channels, y].view(-1, 1, 1) + table[channels:, y].view(-1, 1, 1) for one, y in zip(x, label, strict=True)])


@pytest.mark.parametrize("classes", [0, 3])
def test_conditional_batch_norm_is_an_affine_map_for_each_class(classes):
    norm, label = randomise(ConditionalBatchNorm(5, classes)), [2, 0, 0, 1]
    x = 3 * torch.randn(4, 5, 3, 2) + 1
    found = norm(x, torch.eye(3)[label] if classes else None)
    torch.testing.assert_close(found, plain_norm(norm, x, label if classes else None), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("scheme", ["default", "normal", "orthogonal", "xavier"])
@pytest.mark.parametrize("spectral", [False, True])
def test_every_class_starts_with_gain_one_and_shift_zero(scheme, spectral):
    generator, _ = networks(pictures(3, 8, 8), 4, network="resnet")
    initialise(generator, scheme)
    if spectral:
        spectral_normalise(generator)
    norms = [m for m in generator.modules() if isinstance(m, ConditionalBatchNorm)]
    assert norms
    for norm in norms:
        x = torch.randn(4, norm.norm.num_features, 3, 3)
        torch.testing.assert_close(norm(x, torch.eye(4)), F.batch_norm(x, None, None, training=True))


@pytest.mark.parametrize("after", [4, 6])
def test_generator_block_is_the_published_one(after):
    block, label = randomise(GeneratorBlock(4, after, 3)), [1, 2]
    x, condition = torch.randn(2, 4, 3, 5), torch.eye(3)[label]

    def up(x):
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    y = F.conv2d(up(plain_norm(block.norm1, x, label).relu()), block.conv1.weight, block.conv1.bias, padding=1)
    y = F.conv2d(plain_norm(block.norm2, y, label).relu(), block.conv2.weight, block.conv2.bias, padding=1)
    expected = y + F.conv2d(up(x), block.shortcut.weight, block.shortcut.bias)
    torch.testing.assert_close(block(x, condition), expected, atol=1e-4, rtol=1e-4)


def plain_discriminator_block(block, x):
    y = x if block.first else x.relu()
    y = F.conv2d(y, block.conv1.weight, block.conv1.bias, padding=1).relu()
    y = F.conv2d(y, block.conv2.weight, block.conv2.bias, padding=1)
    shortcut = x
    if block.shortcut is not None:  # on the large side, as published for all but the first block
        shortcut = F.conv2d(x, block.shortcut.weight, block.shortcut.bias)
    if block.down:
        y, shortcut = F.avg_pool2d(y, 2), F.avg_pool2d(shortcut, 2)
    return y + shortcut


@pytest.mark.parametrize("size", [(4, 6), (5, 3), (2, 2)])
def test_one_strided_convolution_is_a_convolution_and_resampling(size):
    torch.manual_seed(0)
    conv, x = torch.nn.Conv2d(3, 5, 3, padding=1), torch.randn(2, 3, *size)
    torch.testing.assert_close(conv_then_pool(x, conv), F.avg_pool2d(conv(x), 2), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(up_then_conv(x, conv), conv(F.interpolate(x, scale_factor=2)), atol=1e-6, rtol=1e-5)
    grown = torch.tensor([[0, 1, 2], [3, 4, 5], [6, 7, 8]])[None, None].float()
    assert spread(grown)[0, 0].tolist() == [[0, 1, 3, 2], [3, 8, 12, 7], [9, 20, 24, 13], [6, 13, 15, 8]]


@pytest.mark.parametrize("before, after, down, first",
    [(3, 4, True, True), (4, 4, True, False), (4, 4, False, False), (4, 6, False, False), (4, 6, True, False)])
def test_discriminator_block_is_the_published_one(before, after, down, first):
    block = randomise(DiscriminatorBlock(before, after, down=down, first=first))
    for size in ((6, 8), (7, 5), (2, 3)):
        x = torch.randn(2, before, *size)
        torch.testing.assert_close(block(x), plain_discriminator_block(block, x), atol=1e-5, rtol=1e-5)
    assert (block.shortcut is None) == (before == after and not down)
    assert block.conv1.out_channels == (after if first else before)


def test_backbone_sums_over_positions():
    backbone = randomise(networks(pictures(2, 16, 8), network="resnet")[1])
    picture = x = torch.randn(3, 2, 16, 8)
    for block in backbone.blocks:
        x = plain_discriminator_block(block, x)
    torch.testing.assert_close(backbone(picture), x.relu().sum((2, 3)), atol=1e-4, rtol=1e-4)


def test_published_halvings():
    """32 pixels: two halvings and two blocks at 8 pixels; 64 pixels: five halvings."""
    for size, downs in ((32, [True, True, False, False]), (64, [True] * 5)):
        backbone = networks(pictures(3, size, size), network="resnet", width=16, discriminator_width=16)[1]
        assert [block.down for block in backbone.blocks] == downs
        assert [block.first for block in backbone.blocks] == [True] + [False] * (len(downs) - 1)


def test_generator_ends_in_norm_relu_conv_tanh():
    generator = randomise(networks(pictures(3, 8, 8), 3, network="resnet")[0])
    latent, label = torch.randn(4, 5), [0, 1, 1, 2]
    (block,) = generator.blocks
    x = block((latent @ generator.project.weight.T + generator.project.bias).view(4, 4, 4, 4), torch.eye(3)[label])
    x = F.batch_norm(x, None, None, generator.norm.weight, generator.norm.bias, training=True).relu()
    expected = F.conv2d(x, generator.to_picture.weight, generator.to_picture.bias, padding=1).tanh()
    torch.testing.assert_close(generator(latent, torch.eye(3)[label]), expected, atol=1e-5, rtol=1e-4)
