"""Oracles: numpy, and closed forms for linear networks; feature matching's too."""

import numpy as np
import torch

from agon.losses.consistency import consistency, latent_indifference
from agon.losses.feature_matching import feature_matching


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_consistency_is_the_mean_squared_difference_with_gradients_for_both():
    a, b = drawn(2, 7).requires_grad_().unbind()
    np.testing.assert_allclose(consistency(a, b).item(), np.mean((a.detach().numpy() - b.detach().numpy()) ** 2), rtol=1e-6)
    gradient_a, gradient_b = torch.autograd.grad(consistency(a, b), (a, b))
    torch.testing.assert_close(gradient_a, 2 * (a - b).detach() / 7)
    torch.testing.assert_close(gradient_b, -gradient_a)


def test_latent_indifference_of_a_linear_generator_is_its_mean_squared_column():
    weight, z = drawn(3 * 4 * 4, 5), drawn(1000, 5, seed=1)
    step = 0.05 * drawn(1000, 5, seed=2)
    made, near = ((latent @ weight.T).reshape(-1, 3, 4, 4) for latent in (z, z + step))
    expected = -(0.05**2) * weight.square().sum(1).mean()  # E |W e|^2 / pixels
    torch.testing.assert_close(latent_indifference(made, near), expected, rtol=0.1, atol=0)
    assert latent_indifference(made, made + 1) == -1  # whatever the resolution


def test_feature_matching_sees_means_alone():
    real, fake = drawn(6, 4), drawn(9, 4, seed=1)
    expected = np.mean((real.numpy().mean(0) - fake.numpy().mean(0)) ** 2)
    np.testing.assert_allclose(feature_matching(real, fake).item(), expected, rtol=1e-6)
    assert feature_matching(real, real.flip(0)) < 1e-12
    torch.testing.assert_close(feature_matching(real, real + 2), torch.tensor(4.0))
