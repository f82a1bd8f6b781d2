"""Oracles: the published stack written out, receptive fields measured by the gradient, and closed forms of sizes."""

import pytest
import torch
import torch.nn.functional as F
from network_helpers import randomise

from agon.errors import UserError
from agon.networks.patch import PatchDiscriminator, smallest_side


def plain(net, x, kind):
    convolutions = [stage[0] for stage in net.stages]
    strides = [2] * net.num_layers + [1, 1] if net.num_layers else [1, 1, 1]
    for i, (conv, stride) in enumerate(zip(convolutions, strides, strict=True)):
        x = F.conv2d(x, conv.weight, conv.bias, stride=stride, padding=1 if net.num_layers else 0)
        if i == len(strides) - 1:
            return x
        if i and kind != "none":
            over = (0, 2, 3) if kind == "batch" else (2, 3)
            x = (x - x.mean(over, keepdim=True)) / (x.var(over, unbiased=False, keepdim=True) + 1e-5).sqrt()
            if kind == "batch":
                x = x * net.stages[i][1].weight.view(1, -1, 1, 1) + net.stages[i][1].bias.view(1, -1, 1, 1)
        x = torch.where(x > 0, x, 0.2 * x)


@pytest.mark.parametrize("layers", [0, 1, 3])
@pytest.mark.parametrize("kind", ["batch", "instance", "none"])
def test_it_is_the_published_stack(layers, kind):
    torch.manual_seed(0)
    net, x = randomise(PatchDiscriminator(3, 4, layers, kind)), torch.randn(2, 3, 32, 40)
    torch.testing.assert_close(net(x), plain(net, x, kind), atol=1e-5, rtol=1e-5)
    x = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(net(x), plain(net, x, kind), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(net(x[:1]), plain(net, x[:1], kind), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layers, field", [(0, 1), (1, 16), (2, 34), (3, 70), (4, 142), (5, 286), (6, 574)])
def test_a_logit_sees_as_many_pixels_as_published(layers, field):
    net = PatchDiscriminator(1, 1, layers, "none")
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(0.05)  # all positive: no path can cancel
    side = max(8, 2 * field)
    x = torch.rand(1, 1, side, side, requires_grad=True)
    logits = net(x)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    seen = (x.grad[0, 0] != 0).any(1).nonzero()
    assert (seen.max() - seen.min() + 1).item() == field


@pytest.mark.parametrize("layers", range(7))
def test_the_smallest_side_gives_one_logit_and_less_is_refused(layers):
    net, least = PatchDiscriminator(1, 1, layers, "instance"), smallest_side(layers)
    assert net(torch.randn(1, 1, least, least)).shape == ((1, 1, 1, 1) if layers else (1, 1, 2, 2))
    with pytest.raises(UserError, match=f"sides of {least} pixels"):
        net(torch.randn(1, 1, least - 1, 4 * least))


def test_biases_stand_where_the_authors_have_them():
    def biases(layers, kind):
        return [stage[0].bias is not None for stage in PatchDiscriminator(3, 2, layers, kind).stages]

    assert biases(3, "batch") == [True, False, False, False, True]
    assert biases(3, "instance") == [True] * 5
    assert biases(0, "batch") == [True, False, False]


def test_features_are_what_each_stage_hands_on():
    torch.manual_seed(0)
    net, x = PatchDiscriminator(3, 4, 3, "instance"), torch.randn(2, 3, 64, 48)
    features = net.features(x)
    assert [tuple(f.shape[1:]) for f in features] == [(4, 32, 24), (8, 16, 12), (16, 8, 6), (32, 7, 5), (1, 6, 4)]
    torch.testing.assert_close(features[-1], net(x))
    torch.testing.assert_close(net.stages[2](features[1]), features[2])
