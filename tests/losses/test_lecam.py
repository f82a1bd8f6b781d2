"""Oracles: the published formula with numpy, the case in which it is the paper's, and what it does to a discriminator's logits."""

import numpy as np
import torch

from agon.losses.lecam import lecam


def test_formula():
    real, fake = torch.randn(2, 50, generator=torch.Generator().manual_seed(0)).unbind()
    expected = np.mean(np.maximum(0, real.numpy() + 0.3) ** 2) + np.mean(np.maximum(0, 0.7 - fake.numpy()) ** 2)
    np.testing.assert_allclose(lecam(real, fake, 0.7, torch.tensor(-0.3)).item(), expected, rtol=1e-6)


def test_a_discriminator_that_tells_gets_the_papers_squares():
    real, fake = torch.rand(20) + 1, -torch.rand(20) - 1
    expected = (real + 1.5).square().mean() + (fake - 1.5).square().mean()
    torch.testing.assert_close(lecam(real, fake, 1.5, -1.5), expected)


def test_logits_are_drawn_together_and_never_apart():
    real, fake = torch.tensor([3.0, -3.0], requires_grad=True), torch.tensor([-3.0, 3.0], requires_grad=True)
    lecam(real.bfloat16(), fake.bfloat16(), 1.0, -1.0).backward()
    assert real.grad[0] > 0 and fake.grad[0] < 0 and real.grad[1] == 0 and fake.grad[1] == 0
    assert lecam(real.bfloat16(), fake.bfloat16(), 1.0, -1.0).dtype == torch.float32
