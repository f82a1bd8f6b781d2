"""Oracles: the official layout written out as one list of layers, and what a mixing head must not mix."""

import pytest
import torch
from network_helpers import randomise
from torch import nn

from agon.game import SeededDraws
from agon.networks.patch_sampler import PatchSampler
from agon.networks.stargan import StarGANDiscriminator, StarGANGenerator


def official_layers(width, inputs, blocks):
    """The layers of yunjey/stargan's generator in their order; a residual block is a list of its own."""
    def norm(c):
        return nn.InstanceNorm2d(c, affine=True, track_running_stats=True)

    layers = [nn.Conv2d(inputs, width, 7, padding=3, bias=False), norm(width), nn.ReLU()]
    for c in (width, 2 * width):
        layers += [nn.Conv2d(c, 2 * c, 4, 2, 1, bias=False), norm(2 * c), nn.ReLU()]
    c = 4 * width
    for _ in range(blocks):
        layers.append(nn.ModuleList([nn.Conv2d(c, c, 3, padding=1, bias=False), norm(c), nn.ReLU(), nn.Conv2d(c, c, 3, padding=1, bias=False), norm(c)]))
    for c in (4 * width, 2 * width):
        layers += [nn.ConvTranspose2d(c, c // 2, 4, 2, 1, bias=False), norm(c // 2), nn.ReLU()]
    return nn.ModuleList([*layers, nn.Conv2d(width, 3, 7, padding=3, bias=False), nn.Tanh()])


def run(layers, x):
    for layer in layers:
        x = x + run(layer, x) if isinstance(layer, nn.ModuleList) else layer(x)
    return x


def test_generator_is_the_official_list_of_layers_in_both_modes():
    official = randomise(official_layers(4, 5, 2), 0.2)
    ours = StarGANGenerator(3, 2, width=4, blocks=2, norm="running")
    ours.load_state_dict(dict(zip(ours.state_dict(), official.state_dict().values(), strict=True)))
    x, domain = torch.rand(3, 3, 12, 16) * 2 - 1, torch.eye(2)[[0, 1, 1]]
    seen = torch.cat([x, domain[:, :, None, None] * torch.ones(12, 16)], 1)
    training = ours(x, domain)  # moves the averages
    torch.testing.assert_close(training, run(official, seen), atol=1e-5, rtol=0)
    evaluated = ours.eval()(x, domain)
    torch.testing.assert_close(evaluated, run(official.eval(), seen), atol=1e-5, rtol=0)
    assert (training - evaluated).abs().max() > 0.01
    plain = StarGANGenerator(3, 2, width=4, blocks=2)  # without averages: as in training, always
    plain.load_state_dict(dict(ours.named_parameters()))
    torch.testing.assert_close(plain.eval()(x, domain), training, atol=1e-5, rtol=0)


def test_without_norms_relus_leak_and_a_residual_starts_at_the_picture():
    ours = StarGANGenerator(2, 3, width=4, blocks=1, downsamplings=1, norm="none", residual=True)
    x, domain = torch.rand(2, 2, 6, 8) * 2 - 1, torch.eye(3)[[0, 2]]
    assert torch.equal(ours(x, domain), x)
    first, down, conv1, conv2, up, last = randomise(ours, 0.2).parameters()
    conv, leak = nn.functional.conv2d, nn.LeakyReLU(0.2)
    h = leak(conv(torch.cat([x, domain[:, :, None, None] * torch.ones(6, 8)], 1), first, padding=3))
    h = leak(conv(h, down, stride=2, padding=1))
    h = h + conv(leak(conv(h, conv1, padding=1)), conv2, padding=1)
    h = leak(nn.functional.conv_transpose2d(h, up, stride=2, padding=1))
    torch.testing.assert_close(ours(x, domain), x + 2 * torch.tanh(conv(h, last, padding=3) / 2))


@pytest.mark.parametrize("size, stages", [((8, 8), 2), ((16, 28), 3), ((128, 128), 6), ((3, 9), 1)])
def test_discriminator_is_strided_convolutions_and_two_heads(size, stages):
    ours = randomise(StarGANDiscriminator(3, 4, size, width=1), 0.3)
    x = torch.randn(2, 3, *size)
    h = x
    weights = list(ours.parameters())
    for i in range(stages):
        h = nn.functional.leaky_relu(nn.functional.conv2d(h, weights[2 * i], weights[2 * i + 1], 2, 1), 0.01)
    source, classes = ours(x)
    torch.testing.assert_close(source, nn.functional.conv2d(h, weights[-2], padding=1)[:, 0])
    torch.testing.assert_close(classes, torch.einsum("nchw,kchw->nk", h, weights[-1]))
    assert h.shape[2:] == (size[0] >> stages, size[1] >> stages)


def test_projected_patches_are_those_of_their_places():
    sampler = randomise(PatchSampler([3, 5], 4))
    maps = [torch.randn(2, 3, 6, 4), torch.randn(2, 5, 3, 2)]
    where = sampler.positions(maps, 8, SeededDraws(torch.Generator().manual_seed(0)))
    assert [tuple(each.shape) for each in where] == [(2, 8), (2, 6)]
    assert all(len(set(row.tolist())) == len(row) and max(row) < x[0, 0].numel() for each, x in zip(where, maps, strict=True) for row in each)
    assert not torch.equal(where[0][0], where[0][1])
    for head, x, places, out in zip(sampler.heads, maps, where, sampler(maps, where), strict=True):
        for n in range(2):
            for p, place in enumerate(places[n].tolist()):
                vector = head(x[n, :, place // x.shape[3], place % x.shape[3]])
                torch.testing.assert_close(out[n, p], vector / vector.norm())
