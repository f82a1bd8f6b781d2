"""The relativistic average objective (Jolicoeur-Martineau, 2019), https://arxiv.org/abs/1807.00734, equations 3 and 4, as ESRGAN uses it: pure functions.

A sample is judged by how much more real it looks than the average of the other side. Halved, and with the averages held fixed in the discriminator's turn, as
in BasicSR (https://github.com/XPixelGroup/BasicSR, ESRGAN's authors). Averages go over the batch: samples of a batch see each other.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def relativistic_average_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """1/2 E softplus(-(D(x) - E D(G))) + 1/2 E softplus(D(G) - E D(x)); logits of any shape, float32, a scalar."""
    real, fake = real.float(), fake.float()
    return 0.5 * (F.softplus(fake.detach().mean() - real).mean() + F.softplus(fake - real.detach().mean()).mean())


def relativistic_average_generator(real: Tensor, fake: Tensor) -> Tensor:
    """The same game with the places changed; ``real`` gets no gradient, the average of ``fake`` does."""
    real, fake = real.detach().float(), fake.float()
    return 0.5 * (F.softplus(real - fake.mean()).mean() + F.softplus(real.mean() - fake).mean())
