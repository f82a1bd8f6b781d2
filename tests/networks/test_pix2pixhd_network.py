"""Oracle: the paper's description, written plainly over a list of weights in the order of the authors' code."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from agon.errors import UserError
from agon.networks.pix2pixhd import InstanceEncoder, discriminator, from_global, generator


def randomise(network):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    return network


class Plain:
    """Takes (weight, bias) after (weight, bias) from a list."""

    def __init__(self, parameters):
        self.left = list(parameters)

    def conv(self, x, stride=1, reflect=0, padding=0):
        x = F.pad(x, (reflect,) * 4, mode="reflect") if reflect else x
        return F.conv2d(x, self.left.pop(0), self.left.pop(0), stride, padding)

    def step(self, x, **how):
        return normed(self.conv(x, **how)).clamp_min(0)

    def up(self, x):
        return normed(F.conv_transpose2d(x, self.left.pop(0), self.left.pop(0), 2, 1, 1)).clamp_min(0)

    def residual(self, x):
        return x + normed(self.conv(self.step(x, reflect=1), reflect=1))

    def features(self, x, downs, blocks):
        x = self.step(x, reflect=3)
        for _ in range(downs):
            x = self.step(x, stride=2, padding=1)
        for _ in range(blocks):
            x = self.residual(x)
        for _ in range(downs):
            x = self.up(x)
        return x

    def picture(self, x):
        return self.conv(x, reflect=3).tanh()


def normed(x):
    return (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()


def halved(x):
    """Averages over 3x3, every second one, of what lies inside."""
    h, w = x.shape[2:]
    rows = [[r for r in (i - 1, i, i + 1) if 0 <= r < h] for i in range(0, h, 2)]
    columns = [[c for c in (j - 1, j, j + 1) if 0 <= c < w] for j in range(0, w, 2)]
    return torch.stack([torch.stack([x[:, :, r][:, :, :, c].mean((2, 3)) for c in columns], -1) for r in rows], -2)


@pytest.mark.parametrize("enhancers", [1, 2])
def test_local_enhancer_equals_the_papers_description(enhancers):
    network = randomise(generator(2, 3, network="local", width=2, downs=1, blocks=2, enhancers=enhancers, local_blocks=2))
    x, plain = torch.randn(2, 2, 16, 24), Plain(network.parameters())
    sizes = [x]
    for _ in range(enhancers):
        sizes.append(halved(sizes[-1]))
    features = plain.features(sizes.pop(), 1, 2)
    for _ in range(enhancers):
        y = plain.step(plain.step(sizes.pop(), reflect=3), stride=2, padding=1) + features
        for _ in range(2):
            y = plain.residual(y)
        features = plain.up(y)
    with torch.no_grad():
        torch.testing.assert_close(network(x), plain.picture(features), atol=1e-4, rtol=0)
    assert not plain.left


def test_global_generator_equals_the_papers_description():
    network = randomise(generator(2, 3, width=2, downs=3, blocks=1))
    x, plain = torch.randn(2, 2, 16, 24), Plain(network.parameters())
    with torch.no_grad():
        torch.testing.assert_close(network(x), plain.picture(plain.features(x, 3, 1)), atol=1e-4, rtol=0)


def test_discriminators_judge_the_picture_and_its_halvings():
    network = randomise(discriminator(2, width=3, layers=2))
    x = torch.randn(2, 2, 20, 14)
    with torch.no_grad():
        found = network(x)
        assert len(found) == 3
        for maps, judge in zip(found, network.judges, strict=True):
            plain = Plain(judge.parameters())
            expected = [F.leaky_relu(plain.conv(x, stride=2, padding=2), 0.2)]
            for stride in (2, 1):
                expected.append(F.leaky_relu(normed(plain.conv(expected[-1], stride=stride, padding=2)), 0.2))
            expected.append(plain.conv(expected[-1], padding=2))
            for a, b in zip(maps, expected, strict=True):
                torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
            x = halved(x)


def test_a_trained_global_network_goes_inside():
    """Coarse to fine: what the enhancer adds to its own features is what the global network had before its last convolution."""
    coarse, local = randomise(generator(2, 3, width=4, downs=1, blocks=1)), generator(2, 3, network="local", width=2, downs=1, blocks=1)
    from_global(local, coarse)
    x = torch.randn(1, 2, 8, 12)
    with torch.no_grad():
        assert torch.equal(local.inner(x), coarse.layers[:-3](x))
    with pytest.raises(RuntimeError):
        from_global(local, generator(2, 3, width=2, downs=1, blocks=1))


def test_instances_share_the_mean_of_their_features():
    network = randomise(InstanceEncoder(3, 2, width=2, downs=1))
    picture, instances = torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 1, 8, 8))
    with torch.no_grad():
        found, inner = network(picture, instances), network.body(picture)
    for n, number in itertools.product(range(2), range(3)):
        at = instances[n, 0] == number
        mean = inner[n][:, at].mean(1, keepdim=True)
        torch.testing.assert_close(found[n][:, at], mean.expand(-1, int(at.sum())), atol=1e-5, rtol=1e-5)


def test_small_rectangles_and_refused_sizes():
    for size in ((8, 8), (12, 8), (16, 24)):
        assert generator(2, 1, network="local", width=2, downs=1, blocks=1, local_blocks=1)(torch.randn(1, 2, *size)).shape == (1, 1, *size)
    with pytest.raises(UserError):
        generator(2, 1, network="local", width=2, downs=1, blocks=1)(torch.randn(1, 2, 10, 8))
    with pytest.raises(UserError, match="global or local"):
        generator(2, 1, network="unet")
