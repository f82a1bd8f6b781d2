"""Oracles: the schedules' formulas and Adam, AdamW, RMSprop and SGD in numpy."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from agon.config import OptimizerConfig
from agon.game import Player, Stage, Update
from agon.train.optimizers import PlayerOptimizer, build_optimizers, learning_rate


@pytest.mark.parametrize("progress", [0.0, 0.1, 0.5, 0.75, 1.0, 1.5])
@pytest.mark.parametrize("start", [0.0, 0.5])
def test_linear_cosine_and_geometric(progress, start):
    t = min(1.0, max(0.0, (progress - start) / (1 - start)))
    expected = {"linear": 0.3 - 0.2 * t, "cosine": 0.1 + 0.2 * math.cos(math.pi * t / 2) ** 2,
        "geometric": math.exp((1 - t) * math.log(0.3) + t * math.log(0.1))}
    for schedule, rate in expected.items():
        config = OptimizerConfig(lr=0.3, lr_final=0.1, decay_start=start, schedule=schedule)
        assert learning_rate(config, progress, 0) == pytest.approx(rate)


def test_constant_halving_and_warm_up():
    assert learning_rate(OptimizerConfig(lr=0.3), 0.9, 10**6) == 0.3
    halving = OptimizerConfig(lr=0.8, schedule="halving", halve_every_images=100)
    assert [learning_rate(halving, 0, n) for n in (0, 99, 100, 199, 350)] == [0.8, 0.8, 0.4, 0.4, 0.1]
    warm = OptimizerConfig(lr=0.5, warmup_images=100)
    assert [learning_rate(warm, 0, n) for n in (0, 49, 99, 5000)] == pytest.approx([0.005, 0.25, 0.5, 0.5])
    both = OptimizerConfig(lr=1.0, schedule="linear", warmup_images=100)
    assert learning_rate(both, 0.5, 49) == pytest.approx(0.25)


def player(config, shape=(3, 2)):
    module = nn.ParameterList([nn.Parameter(torch.linspace(-1, 1, math.prod(shape)).view(shape))])
    return Player((module,), config), module[0]


def updates(*each):
    return [Stage("train", tuple(Update("p", None, every=every, times=times) for every, times in each))]


@pytest.mark.parametrize(
    "plan, ratio",
    [
        ([(1, 1)], 1), ([(1, 1), (16, 1)], 16 / 17), ([(1, 1), (4, 1)], 4 / 5), ([(4, 1)], 1),
        ([(1, 5), (4, 1)], 20 / 21),  # twenty ordinary steps for a lazy one
        ([(1, 1), (4, 1), (8, 1)], 8 / 11),  # eight ordinary ones, two and one lazy
    ],
)  # fmt: skip
def test_lazy_steps_slow_rate_and_betas_down(plan, ratio):
    who, _ = player(OptimizerConfig(lr=0.4, beta1=0.5, beta2=0.99))
    optimizer = build_optimizers({"p": who}, updates(*plan), fused=False)["p"]
    assert optimizer.schedule(0.0, 0) == 0.4
    (group,) = optimizer.torch.param_groups
    assert group["lr"] == pytest.approx(0.4 * ratio)
    assert group["betas"] == pytest.approx((0.5**ratio, 0.99**ratio))


def test_a_player_is_not_slowed_by_anothers_lazy_steps():
    who, _ = player(OptimizerConfig(lr=0.4))
    stages = [Stage("train", (Update("p", None), Update("q", None), Update("q", None, every=4)))]
    built = build_optimizers({"p": who, "q": player(OptimizerConfig(lr=0.4))[0]}, stages, fused=False)
    for optimizer in built.values():
        optimizer.schedule(0.0, 0)
    assert built["p"].torch.param_groups[0]["lr"] == 0.4 and built["q"].torch.param_groups[0]["lr"] == pytest.approx(0.32)


def test_beta2_follows_a_cosine():
    who, _ = player(OptimizerConfig(beta1=0.0, beta2=0.9, beta2_final=0.99))
    optimizer = PlayerOptimizer(who, every=0, fused=False)
    for progress, expected in ((0.0, 0.9), (0.5, 0.945), (1.0, 0.99), (1 / 3, 0.99 - 0.09 * 0.75)):
        optimizer.schedule(progress, 0)
        assert optimizer.torch.param_groups[0]["betas"] == pytest.approx((0.0, expected))


def numpy_steps(config, start, gradients):
    """Textbook updates (Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019; Hinton's RMSprop; momentum)."""
    w, m, v = start.astype(np.float64), 0.0, 0.0
    for t, g in enumerate(gradients, 1):
        if config.name == "adamw":
            w = w * (1 - config.lr * config.weight_decay)
        else:
            g = g + config.weight_decay * w
        if config.name == "sgd":
            m = g if t == 1 else config.beta1 * m + g
            w = w - config.lr * m
        elif config.name == "rmsprop":
            v = config.beta2 * v + (1 - config.beta2) * g**2
            w = w - config.lr * g / (np.sqrt(v) + config.eps)
        else:
            m, v = config.beta1 * m + (1 - config.beta1) * g, config.beta2 * v + (1 - config.beta2) * g**2
            w = w - config.lr * (m / (1 - config.beta1**t)) / (np.sqrt(v / (1 - config.beta2**t)) + config.eps)
    return w


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop", "sgd"])
def test_steps_equal_numpy(name, decay, fused):
    config = OptimizerConfig(name=name, lr=0.03, beta1=0.6, beta2=0.9, eps=1e-3, weight_decay=decay)
    who, weight = player(config)
    start, optimizer = weight.detach().numpy().copy(), PlayerOptimizer(who, every=0, fused=fused)
    gradients = np.random.default_rng(0).normal(size=(5, 3, 2))
    for gradient in gradients:
        weight.grad = torch.tensor(gradient, dtype=torch.float32)
        optimizer.schedule(0.5, 0)
        optimizer.step()
    np.testing.assert_allclose(weight.detach().numpy(), numpy_steps(config, start, gradients), atol=2e-6)


def test_a_step_uses_the_scheduled_rate():
    who, weight = player(OptimizerConfig(name="sgd", lr=1.0, beta1=0.0, schedule="linear"))
    optimizer, start = PlayerOptimizer(who, every=0, fused=False), weight.detach().clone()
    weight.grad = torch.ones_like(weight)
    optimizer.schedule(0.75, 0)
    optimizer.step()
    torch.testing.assert_close(weight.detach(), start - 0.25)
