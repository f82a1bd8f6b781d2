"""The trainer of the networks that judge, against torch's optimizer."""

import numpy as np
import torch

from agon.metrics.judge import train
from agon.metrics.series import network_of


def test_adam_is_torchs():
    """The same steps as torch.optim.Adam under a linear schedule, on a network of the same weights."""
    x, steps = torch.from_numpy(np.random.default_rng(0).standard_normal((8, 6, 2))).float().cumsum(1), 40
    ours, theirs = network_of(2, 2, 0), network_of(2, 2, 0)
    train(ours, lambda net, rows: (net(x[:, :-1]) - x[:, 1:]).square().mean() + 0 * rows.sum(), 8, seed=0, steps=steps, batch=8, rate=1e-2)
    optimizer = torch.optim.Adam(theirs.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for _ in range(steps):
        optimizer.zero_grad()
        (theirs(x[:, :-1]) - x[:, 1:]).square().mean().backward()
        optimizer.step()
        schedule.step()
    for name, value in ours.state_dict().items():
        assert torch.allclose(value, theirs.state_dict()[name], atol=2e-4), name


def test_rows_are_drawn_by_the_seed_alone():
    """Every row comes up, batches differ, and the caller's random state is left as it was."""
    seen = []

    def loss(network, rows):
        seen.append(rows.tolist())
        return network(torch.zeros(1, 2, 2)).square().sum()

    before = torch.get_rng_state()
    for _ in range(2):
        train(network_of(2, 2, 0), loss, 10, seed=3, steps=20, batch=4, rate=1e-3)
    assert torch.equal(before, torch.get_rng_state())
    assert seen[:20] == seen[20:] and {len(rows) for rows in seen} == {4} and set(sum(seen, [])) == set(range(10)) and seen[0] != seen[1]
