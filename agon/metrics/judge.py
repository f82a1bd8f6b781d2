"""Training of the small networks that judge samples (classifiers, forecasters), apart from the trainer of games."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value


def train(
    network: nn.Module, loss: Callable[[Callable[[Tensor], Tensor], Tensor], Tensor], count: int, *, seed: int, steps: int, batch: int, rate: float
) -> None:
    """``steps`` of Adam (Kingma and Ba, 2015, betas 0.9 and 0.999) on ``loss(network, rows)`` of ``batch`` rows of ``count``; the rate falls linearly to 0.

    The same input gives the same network on one machine; the caller's random state is left alone.
    """
    parameters = {name: value.detach() for name, value in network.named_parameters()}
    step = grad_and_value(lambda now, rows: loss(lambda x: functional_call(network, now, (x,)), rows))
    first, second = ({name: torch.zeros_like(value) for name, value in parameters.items()} for _ in range(2))
    generator = torch.Generator().manual_seed(seed)
    for index in range(1, steps + 1):
        slopes, _ = step(parameters, torch.randint(0, count, (min(batch, count),), generator=generator))
        now = rate * (1 - (index - 1) / steps)
        for name, slope in slopes.items():
            first[name] = 0.9 * first[name] + 0.1 * slope
            second[name] = 0.999 * second[name] + 0.001 * slope.square()
            root = (second[name] / (1 - 0.999**index)).sqrt() + 1e-8
            parameters[name] = parameters[name] - now * first[name] / (1 - 0.9**index) / root
    network.load_state_dict(parameters)
