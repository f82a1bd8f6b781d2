"""Oracles: the formula over maps that the test makes, gradients, the relativistic average written with sigmoids."""

import pytest
import torch

from agon.losses.perceptual import map_distance, perceptual
from agon.losses.relativistic_average import relativistic_average_discriminator, relativistic_average_generator


def features(x):
    return [x, (3 * x[:, :, ::2]).square()]


def test_is_the_weighted_sum_of_mean_differences():
    torch.manual_seed(0)
    fake, real = torch.randn(2, 3, 4, 5, requires_grad=True), torch.randn(2, 3, 4, 5, requires_grad=True)
    a, b = features(fake), features(real)
    expected = 0.5 * (a[0] - b[0]).abs().mean() + 2 * (a[1] - b[1]).abs().mean()
    torch.testing.assert_close(perceptual(features, fake, real, [0.5, 2.0]), expected)
    expected = (a[0] - b[0]).square().mean() + (a[1] - b[1]).square().mean()
    torch.testing.assert_close(perceptual(features, fake, real, distance="l2"), expected)
    perceptual(features, fake, real).backward()
    assert fake.grad.abs().sum() > 0 and real.grad is None
    assert perceptual(features, fake.bfloat16(), real).dtype == torch.float32
    assert perceptual(features, real, real).item() == 0


def test_wrong_use_is_refused():
    maps = [torch.zeros(1, 1, 2, 2)]
    with pytest.raises(ValueError, match="l1"):
        map_distance(maps, maps, distance="cosine")
    with pytest.raises(ValueError):
        map_distance(maps, maps, [1.0, 2.0])


def test_relativistic_average():
    torch.manual_seed(0)
    real, fake = torch.randn(6, 1, dtype=torch.float64, requires_grad=True), torch.randn(6, 1, dtype=torch.float64, requires_grad=True)

    def cross(x, wanted):
        p = torch.sigmoid(x.float())
        return -(wanted * p.log() + (1 - wanted) * (1 - p).log()).mean()

    d = cross(real - fake.detach().mean(), 1) / 2 + cross(fake - real.detach().mean(), 0) / 2
    got = relativistic_average_discriminator(real, fake)
    torch.testing.assert_close(got, d)
    for a, b in zip(torch.autograd.grad(got, (real, fake)), torch.autograd.grad(d, (real, fake)), strict=True):
        torch.testing.assert_close(a, b)
    g = cross(real.detach() - fake.mean(), 0) / 2 + cross(fake - real.detach().mean(), 1) / 2
    got = relativistic_average_generator(real, fake)
    torch.testing.assert_close(got, g)
    torch.testing.assert_close(torch.autograd.grad(got, fake)[0], torch.autograd.grad(g, fake)[0])
    with pytest.raises(RuntimeError):
        torch.autograd.grad(relativistic_average_generator(real, fake), real)
