"""DCGAN's and MLP networks and the discriminator's heads against their formulas."""

import math

import pytest
import torch
import torch.nn.functional as F
from network_helpers import networks, pictures, randomise
from torch import nn

from agon.data.source import DataSpec
from agon.layers.minibatch import MinibatchDiscrimination
from agon.networks.discriminator import MODES, Discriminator, with_condition, with_planes


def normalised(x):
    dims = (0, *range(2, x.dim()))
    return (x - x.mean(dims, keepdim=True)) / (x.var(dims, unbiased=False, keepdim=True) + 1e-5).sqrt()


def test_dcgan_equals_the_usual_stack():
    generator, backbone = (randomise(network) for network in networks(pictures(2, 16, 32), network="dcgan"))
    # the projection is a transposed convolution of a 1x1 picture, its rows ordered by row, column, channel
    first = generator.project.weight.view(4, 8, 8, 5).permute(3, 2, 0, 1)
    weights = [first, *(p for p in generator.parameters() if p.dim() == 4)]
    latent = torch.randn(6, 5)
    assert [tuple(w.shape) for w in weights] == [(5, 8, 4, 8), (8, 4, 4, 4), (4, 2, 4, 4)]
    norms = [p for p in generator.parameters() if p.dim() == 1]
    x = F.conv_transpose2d(latent[:, :, None, None], weights[0])
    for i, weight in enumerate(weights[1:]):
        x = (normalised(x) * norms[2 * i].view(1, -1, 1, 1) + norms[2 * i + 1].view(1, -1, 1, 1)).relu()
        x = F.conv_transpose2d(x, weight, stride=2, padding=1)
    torch.testing.assert_close(generator(latent), x.tanh(), atol=1e-4, rtol=1e-3)

    first, second = (p for p in backbone.parameters() if p.dim() == 4)
    gain, shift = (p for p in backbone.parameters() if p.dim() == 1)
    picture = torch.randn(6, 2, 16, 32)
    y = F.leaky_relu(F.conv2d(picture, first, stride=2, padding=1), 0.2)  # no norm after the pictures
    y = normalised(F.conv2d(y, second, stride=2, padding=1)) * gain.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)
    torch.testing.assert_close(backbone(picture), F.leaky_relu(y, 0.2).permute(0, 2, 3, 1).flatten(1), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("norm, kind", [("batch", nn.BatchNorm2d), ("instance", nn.InstanceNorm2d), ("none", None)])
def test_a_convolution_has_a_bias_only_where_no_norm_cancels_it(norm, kind):
    generator, backbone = networks(pictures(1, 16, 16), network="dcgan", generator_norm=norm, discriminator_norm=norm)
    for network, norms in ((generator, 2), (backbone, 1)):
        layers = list(network.modules())
        assert sum(kind is not None and isinstance(m, kind) for m in layers) == (norms if kind else 0)
        assert all((m.bias is not None) == (norm == "none") for m in layers if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear))


@pytest.mark.parametrize("rectifier, slope", [("relu", 0.0), ("leaky", 0.2)])
def test_mlp_equals_its_formula(rectifier, slope):
    fields = {"network": "mlp", "rectifier": rectifier, "generator_norm": "none", "generator_hidden": (7, 6), "discriminator_hidden": (8, 4)}
    generator, backbone = (randomise(network) for network in networks(pictures(2, 3, 5), 3, **fields))
    condition = torch.eye(3)[[0, 2]]

    def play(network, x):
        w = list(network.parameters())
        for weight, bias in zip(w[0:4:2], w[1:4:2], strict=True):
            x = F.leaky_relu(x @ weight.T + bias, slope)
        return x, w

    latent, picture = torch.randn(2, 5), torch.randn(2, 2, 3, 5)
    hidden, w = play(generator, torch.cat([latent, condition], 1))
    torch.testing.assert_close(generator(latent, condition), (hidden @ w[4].T + w[5]).tanh().view(2, 2, 3, 5))
    features, _ = play(backbone, torch.cat([picture.flatten(1), condition], 1))
    torch.testing.assert_close(backbone(picture, condition), features)


def test_mlp_with_batch_norm_has_no_bias_that_it_would_cancel():
    generator, _ = networks(pictures(1, 4, 4), network="mlp", generator_norm="batch", generator_hidden=(7, 6))
    linear = [m for m in generator.modules() if isinstance(m, nn.Linear)]
    assert [m.bias is None for m in linear] == [True, True, False]
    assert sum(isinstance(m, nn.BatchNorm1d) for m in generator.modules()) == 2


def test_fourier_features_stand_before_an_mlp_that_judges_points():
    _, backbone = networks(DataSpec("points", (2,)), 3, fourier_features=6, fourier_scale=0.5, discriminator_hidden=(8,))
    x, condition = torch.randn(4, 2), torch.eye(3)[[0, 1, 2, 2]]
    phase = 2 * math.pi * x @ backbone.fourier.frequencies
    first = torch.cat([x, phase.sin(), phase.cos(), condition], 1)
    linear = backbone.layers[0]
    torch.testing.assert_close(backbone(x, condition), F.leaky_relu(first @ linear.weight.T + linear.bias, 0.2))


# --- heads ----------------------------------------------------------------------------------------------------------------------------


class Features(nn.Module):
    """A backbone that hands out its input, and what it was told."""

    out_features = 4

    def forward(self, x, condition=None):
        return x if condition is None else x + 100 * condition.sum(1, keepdim=True)


def head(mode, **more):
    torch.manual_seed(0)
    return randomise(Discriminator(Features(), mode, 3, **more))


CONDITION, X = torch.eye(3)[[2, 0, 1, 1, 0]], torch.linspace(-1, 1, 20).view(5, 4)


def test_heads_equal_their_formulas():
    d = head("none")
    linear = X @ d.head.weight[0] + d.head.bias
    torch.testing.assert_close(d(X, CONDITION), linear)  # the condition is not looked at
    d = head("concat")
    torch.testing.assert_close(d(X, CONDITION), (X + 100) @ d.head.weight[0] + d.head.bias)
    d = head("projection")
    torch.testing.assert_close(d(X, CONDITION), X @ d.head.weight[0] + d.head.bias + ((CONDITION @ d.embedding.weight.T) * X).sum(1))
    d = head("bilinear", embedding_dim=6, bias=False)
    torch.testing.assert_close(d(X, CONDITION), ((X @ d.head.weight.T) * (CONDITION @ d.embedding.weight.T)).sum(1) / math.sqrt(6))
    d = head("auxiliary")
    torch.testing.assert_close(d(X, CONDITION), X @ d.head.weight.T + d.head.bias)
    assert d(X).shape == (5, 1 + 3)


@pytest.mark.parametrize("mode", MODES)
def test_logits_are_float32_under_autocast(mode):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = head(mode)(X, CONDITION)
    assert out.dtype == torch.float32 and out.shape == ((5, 4) if mode == "auxiliary" else (5,))


def test_minibatch_features_reach_the_head():
    d = head("none", minibatch_kernels=7)
    assert isinstance(d.minibatch, MinibatchDiscrimination) and d.head.in_features == 11
    torch.testing.assert_close(d(X), d.minibatch(X) @ d.head.weight[0] + d.head.bias)
    assert not torch.allclose(d(X)[:2], d(X[:2]))  # the company matters


def test_conditions_as_planes_and_as_columns():
    x = torch.randn(2, 3, 4, 5)
    found = with_planes(x, torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert found.shape == (2, 5, 4, 5) and torch.equal(found[:, :3], x)
    assert (found[1, 4] == 4).all() and (found[0, 3] == 1).all()
    assert with_planes(x, None) is x and with_condition(x, None) is x
    assert with_condition(torch.zeros(2, 3).bfloat16(), torch.ones(2, 2)).dtype == torch.bfloat16
    assert with_condition(torch.zeros(2, 3), torch.ones(2, 2))[0].tolist() == [0, 0, 0, 1, 1]
