"""Oracles: the U-Net as published, written out level by level; invariants of the dropout."""

import pytest
import torch
import torch.nn.functional as F
from network_helpers import randomise

from agon.errors import UserError
from agon.game import SeededDraws
from agon.networks.unet import UNet


def plain_norm(x, kind, layer):
    if kind == "none":
        return x
    over = (0, 2, 3) if kind == "batch" else (2, 3)
    x = (x - x.mean(over, keepdim=True)) / (x.var(over, unbiased=False, keepdim=True) + 1e-5).sqrt()
    return x * layer.weight.view(1, -1, 1, 1) + layer.bias.view(1, -1, 1, 1) if kind == "batch" else x


def plain_level(net, x, level, kind, masks=None):
    """What comes back up to a level: the nested definition of the paper's code (activation, down, what is below, activation, up)."""
    outermost, innermost = level == 0, level == net.depth - 1
    conv, up = net.down[level], net.up[net.depth - 1 - level]
    y = F.conv2d(x if outermost else F.leaky_relu(x, 0.2), conv.weight, conv.bias, stride=2, padding=1)
    if not outermost and not innermost:
        y = plain_norm(y, kind, net.down_norm[level])
    if not innermost:
        y = torch.cat([y, plain_level(net, y, level + 1, kind, masks)], 1)
    y = F.conv_transpose2d(y.relu(), up.weight, up.bias, stride=2, padding=1)
    if outermost:
        return y.tanh()
    y = plain_norm(y, kind, net.up_norm[net.depth - 1 - level])
    if masks and 4 <= level < net.depth - 1:
        y = y * masks[level]
    return y


def build(kind="batch", depth=6, **fields):
    torch.manual_seed(0)
    return randomise(UNet(2, 3, 3, depth, kind, **fields), 0.2)


@pytest.mark.parametrize("kind", ["batch", "instance", "none"])
@pytest.mark.parametrize("depth, size", [(6, (64, 128)), (2, (8, 4))])
def test_it_is_the_published_network_level_by_level(kind, depth, size):
    net, x = build(kind, depth), torch.randn(2, 2, *size)
    expected = plain_level(net, x, 0, kind)
    torch.testing.assert_close(net(x), expected, atol=5e-5, rtol=1e-4)
    channels_last = net.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(channels_last, expected, atol=5e-5, rtol=1e-4)


def test_biases_stand_where_the_authors_have_them():
    for kind, expected in (("batch", False), ("instance", True), ("none", True)):
        net = UNet(3, 3, 4, 6, kind)
        convolutions = [*net.down, *net.up]
        assert [conv.bias is not None for conv in convolutions] == [expected] * (len(convolutions) - 1) + [True]


def test_dropout_is_drawn_per_sample_in_the_middle_blocks_only():
    net, x, seed = build(depth=8), torch.randn(2, 2, 256, 256), 3
    given = []

    class Noted(SeededDraws):
        def uniform(self, n, *shape):
            given.append(super().uniform(n, *shape))
            return given[-1]

    found = net(x, Noted(torch.Generator().manual_seed(seed)))
    assert [tuple(u.shape) for u in given] == [(2, 24, 4, 4), (2, 24, 8, 8), (2, 24, 16, 16)]
    masks = {level: 2.0 * (u >= 0.5) for level, u in zip((6, 5, 4), given, strict=True)}
    torch.testing.assert_close(found, plain_level(net, x, 0, "batch", masks), atol=5e-5, rtol=1e-4)
    assert not torch.allclose(found, net(x))


def test_one_picture_of_the_smallest_size_is_fine_and_running_statistics_serve_after_training():
    net, x = build(depth=5), torch.randn(1, 2, 32, 32)
    for _ in range(200):
        net(x)  # the innermost map is 1x1: it must have no norm
    trained = net(x).detach()
    count = {2: 4, 4: 16, 8: 64, 16: 256}  # running variances are unbiased: undo it, then evaluation on the same picture is training
    with torch.no_grad():
        for norm, side in [*zip(list(net.down_norm)[1:-1], (8, 4, 2), strict=True), *zip(net.up_norm, (2, 4, 8, 16), strict=True)]:
            norm.running_var *= (count[side] - 1) / count[side]
    torch.testing.assert_close(net.eval()(x), trained, atol=1e-3, rtol=1e-3)


def test_a_size_that_cannot_be_halved_is_refused_with_one_that_can():
    with pytest.raises(UserError, match="multiples of 64.*128x64 "):
        build(depth=6)(torch.zeros(1, 2, 130, 40))


def test_it_runs_under_autocast():
    net, x = build("instance"), torch.randn(1, 2, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        half = net(x)
    assert (half.float() - net(x)).abs().max() < 0.1
