"""Adversarial objectives: one pair of pure functions for each, discriminator's (or critic's) turn and generator's turn.

Every function takes logits of shape (N,) (any shape works; the mean over all elements is returned), computes in float32 whatever it is
given and returns a scalar to minimise. ``smoothing`` is one-sided label smoothing (Salimans et al. 2016, section 3.4): the target of real
samples becomes ``1 - smoothing``, that of fakes stays.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy_discriminator(real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """-log D(x) - log(1 - D(G(z))), D = sigmoid(logit) (Goodfellow et al. 2014, equation 1, as a loss)."""
    real, fake = real.float(), fake.float()
    # softplus(-x) = -log sigmoid(x); a target of 1 - s adds s * x to it
    return F.softplus(-real).mean() + smoothing * real.mean() + F.softplus(fake).mean()


def minimax_generator(fake: Tensor) -> Tensor:
    """log(1 - D(G(z))) (Goodfellow et al. 2014, equation 1): vanishes where the discriminator is sure."""
    return -F.softplus(fake.float()).mean()


def non_saturating_generator(fake: Tensor) -> Tensor:
    """-log D(G(z)) (Goodfellow et al. 2014, section 3)."""
    return F.softplus(-fake.float()).mean()


def least_squares_discriminator(real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """1/2 (D(x) - 1)^2 + 1/2 D(G(z))^2 (Mao et al. 2017, equation 9: a = 0, b = c = 1)."""
    return 0.5 * ((real.float() - (1 - smoothing)).square().mean() + fake.float().square().mean())


def least_squares_generator(fake: Tensor) -> Tensor:
    """1/2 (D(G(z)) - 1)^2 (Mao et al. 2017, equation 9)."""
    return 0.5 * (fake.float() - 1).square().mean()


def wasserstein_critic(real: Tensor, fake: Tensor) -> Tensor:
    """E f(G(z)) - E f(x): minus the estimate of the Wasserstein distance (Arjovsky et al. 2017, equation 3)."""
    return fake.float().mean() - real.float().mean()


def wasserstein_generator(fake: Tensor) -> Tensor:
    """-E f(G(z)) (Arjovsky et al. 2017, algorithm 1)."""
    return -fake.float().mean()


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))) (Lim & Ye 2017; Miyato et al. 2018, equation 17)."""
    return F.relu(1 - real.float()).mean() + F.relu(1 + fake.float()).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """-E D(G(z)) (Miyato et al. 2018, equation 17)."""
    return -fake.float().mean()


def relativistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E softplus(D(G(z)) - D(x)), real and fake in pairs (Jolicoeur-Martineau 2019; Huang et al. 2024, equation 3)."""
    return F.softplus(fake.float() - real.float()).mean()


def relativistic_generator(real: Tensor, fake: Tensor) -> Tensor:
    """E softplus(D(x) - D(G(z))): the discriminator's game with the places changed."""
    return F.softplus(real.float() - fake.float()).mean()


def pair_accuracy(real: Tensor, fake: Tensor) -> Tensor:
    """Fraction of (real, fake) pairs whose real sample has the higher logit; ties count half. 0.5: cannot tell, 1: always tells."""
    difference = real.detach().float() - fake.detach().float()
    return (torch.sign(difference) + 1).mean() / 2
