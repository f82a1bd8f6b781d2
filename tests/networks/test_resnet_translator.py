"""Oracles: the published translator written out, filters as explicit weighted sums, CUT's feature indices."""

import pytest
import torch
import torch.nn.functional as F
from network_helpers import randomise

from agon.errors import UserError
from agon.layers.instance_norm import InstanceNorm
from agon.networks.resnet_translator import BlurDown, ResnetTranslator


def plain_norm(x, layer):
    over = (2, 3) if isinstance(layer, InstanceNorm) else (0, 2, 3)
    if isinstance(layer, torch.nn.Identity):
        return x
    x = (x - x.mean(over, keepdim=True)) / (x.var(over, unbiased=False, keepdim=True) + 1e-5).sqrt()
    return x * layer.weight.view(1, -1, 1, 1) + layer.bias.view(1, -1, 1, 1) if over[0] == 0 else x


def mirrored(x, pad):
    """Reflection by indices: -1 is 1, H is H - 2."""
    def index(side):
        where = torch.arange(-pad, side + pad).abs()
        return torch.where(where >= side, 2 * (side - 1) - where, where)

    return x[:, :, index(x.shape[2])][:, :, :, index(x.shape[3])]


def blur_and_halve(x):
    taps, x = torch.tensor([1.0, 2.0, 1.0]), mirrored(x, 1)
    height, width = x.shape[2] - 2, x.shape[3] - 2
    total = sum(taps[i] * taps[j] * x[:, :, i : i + height, j : j + width] for i in range(3) for j in range(3))
    return total[:, :, ::2, ::2] / 16


def double(x):
    """Zeros between the pixels (edges repeated), then [1, 3, 3, 1] x [1, 3, 3, 1] / 16."""
    n, c, h, w = x.shape
    x = F.pad(x, (1, 1, 1, 1), mode="replicate")
    sparse = torch.zeros(n, c, 2 * h + 4, 2 * w + 4)
    sparse[:, :, ::2, ::2] = x
    sparse, taps = F.pad(sparse, (1, 1, 1, 1)), torch.tensor([1.0, 3.0, 3.0, 1.0])
    total = sum(taps[i] * taps[j] * sparse[:, :, i + 1 : i + 1 + 2 * h, j + 1 : j + 1 + 2 * w] for i in range(4) for j in range(4))
    return total / 16


def plain(net, x, blocks, antialias):
    """(picture, [every value the published Sequential passes through])."""
    layers = iter(net.layers)
    values = []

    def step(y):
        values.append(y)
        return y

    def conv(x, **how):
        layer = next(layers)
        return step(F.conv2d(x, layer.weight, layer.bias, **how))

    def norm_and_relu(x):
        x = step(plain_norm(x, next(layers)))
        next(layers)
        return step(x.relu())

    def pad3(x):
        next(layers)
        return step(mirrored(x, 3))

    x = norm_and_relu(conv(pad3(x)))
    for _ in range(net.downs):
        x = norm_and_relu(conv(x, stride=1 if antialias else 2, padding=1))
        if antialias:
            next(layers)
            x = step(blur_and_halve(x))
    for _ in range(blocks):
        block = next(layers)
        y = plain_norm(F.conv2d(mirrored(x, 1), block.conv1.weight, block.conv1.bias), block.norm1).relu()
        x = step(x + plain_norm(F.conv2d(mirrored(y, 1), block.conv2.weight, block.conv2.bias), block.norm2))
    for _ in range(net.downs):
        if antialias:
            next(layers)
            x = conv(step(double(x)), padding=1)
        else:
            layer = next(layers)
            x = step(F.conv_transpose2d(x, layer.weight, layer.bias, stride=2, padding=1, output_padding=1))
        x = norm_and_relu(x)
    return conv(pad3(x)).tanh(), values


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("norm, downs, size", [("instance", 2, (12, 16)), ("batch", 1, (8, 6)), ("none", 2, (8, 8))])
def test_it_is_the_published_network(norm, downs, size, antialias):
    torch.manual_seed(0)
    net = randomise(ResnetTranslator(2, 3, 3, 2, norm, downs, antialias), 0.2)
    x = torch.randn(2, 2, *size)
    expected, _ = plain(net, x, 2, antialias)
    torch.testing.assert_close(net(x), expected, atol=1e-4, rtol=1e-4)
    net = net.to(memory_format=torch.channels_last)
    torch.testing.assert_close(net(x.contiguous(memory_format=torch.channels_last)), expected, atol=1e-4, rtol=1e-4)


def test_features_are_numbered_as_in_cut():
    torch.manual_seed(0)
    net, x = randomise(ResnetTranslator(3, 3, 3, 6, antialias=True), 0.2), torch.randn(1, 3, 16, 24)
    wanted = [0, 4, 8, 12, 16]
    _, values = plain(net, x, 6, antialias=True)
    found = net.features(x, wanted)
    assert [tuple(f.shape[1:]) for f in found] == [(3, 22, 30), (6, 16, 24), (12, 8, 12), (12, 4, 6), (12, 4, 6)]
    for feature, index in zip(found, wanted, strict=True):
        torch.testing.assert_close(feature, values[index], atol=1e-4, rtol=1e-4)


def test_nothing_behind_the_last_feature_is_computed():
    net = ResnetTranslator(3, 3, 2, 1)
    called = []
    for index, layer in enumerate(net.layers):
        layer.register_forward_hook(lambda *_, index=index: called.append(index))
    net.features(torch.randn(1, 3, 8, 8), [1, 4])
    assert called == [0, 1, 2, 3, 4]


def test_the_low_pass_filter_keeps_a_constant_and_removes_the_finest_stripes():
    blur, stripes = BlurDown(2), torch.tensor([1.0, -1.0]).repeat(8)
    torch.testing.assert_close(blur(torch.full((1, 2, 8, 16), 3.0)), torch.full((1, 2, 4, 8), 3.0))
    torch.testing.assert_close(blur(stripes.expand(1, 2, 8, 16)), torch.zeros(1, 2, 4, 8))


@pytest.mark.parametrize("shape", [(1, 5, 7, 6), (3, 5, 7, 6)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_instance_norm_is_torch_s_with_its_gradient(shape, layout):
    torch.manual_seed(0)
    x = (3 * torch.randn(shape) + 2).to(memory_format=layout).requires_grad_()
    found, expected, weight = InstanceNorm(5)(x), torch.nn.InstanceNorm2d(5)(x), torch.randn(shape)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    gradients = [torch.autograd.grad((y * weight).sum(), x)[0] for y in (found, expected)]
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-5)


def test_sizes_that_do_not_come_back_are_refused():
    net = ResnetTranslator(3, 3, 2, 1)
    assert net(torch.randn(1, 3, 8, 12)).shape == (1, 3, 8, 12)
    for size in ((10, 8), (4, 8)):
        with pytest.raises(UserError, match="multiples of 4, 8 pixels or more"):
            net(torch.randn(1, 3, *size))
