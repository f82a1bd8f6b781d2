"""Optimizers and their schedules, as functions of the clock."""

from __future__ import annotations

import math

import torch

from agon.config import OptimizerConfig
from agon.game import Player, Stage


class PlayerOptimizer:
    """A player's optimizer with its schedules; ``lazy`` corrects for updates in every k-th step only (``every``: k, 0 for none)."""

    def __init__(self, player: Player, *, every: float, fused: bool):
        self.config = player.optimizer
        self.parameters = player.parameters()
        # k ordinary steps are followed by one more of the lazy term: k / (k + 1) of the rate keeps the pace (Karras et al. 2020, appendix B)
        self.lazy = every / (every + 1) if every else 1.0
        self.torch = _build(self.config, self.parameters, fused)

    def clear(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def forget(self) -> None:
        """Drop the moments."""
        self.torch.state.clear()

    def step(self, scaler: torch.amp.GradScaler | None = None) -> None:
        if scaler is None:
            self.torch.step()
        else:
            scaler.step(self.torch)
            scaler.update()

    def schedule(self, progress: float, num_images: int) -> float:
        """Set learning rate and betas for this moment; returns the learning rate before the lazy correction."""
        config = self.config
        lr = learning_rate(config, progress, num_images)
        beta2 = config.beta2
        if config.beta2_final is not None:
            beta2 = config.beta2_final + (config.beta2 - config.beta2_final) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2
        for group in self.torch.param_groups:
            group["lr"] = lr * self.lazy
            if "betas" in group:
                group["betas"] = (config.beta1**self.lazy if config.beta1 else 0.0, beta2**self.lazy)
        return lr


def learning_rate(config: OptimizerConfig, progress: float, num_images: int) -> float:
    """The learning rate at a fraction of the run and an image count."""
    lr = config.lr
    fraction = min(1.0, max(0.0, (progress - config.decay_start) / (1 - config.decay_start)))
    if config.schedule in ("linear", "cosine"):
        rest = 1 - fraction if config.schedule == "linear" else (1 + math.cos(math.pi * fraction)) / 2
        lr = config.lr_final + (lr - config.lr_final) * rest
    elif config.schedule == "geometric":
        lr *= (config.lr_final / lr) ** fraction
    elif config.schedule == "halving":
        lr *= 0.5 ** (num_images // config.halve_every_images)
    if config.warmup_images:
        lr *= min(1.0, (num_images + 1) / config.warmup_images)
    return lr


def build_optimizers(players: dict[str, Player], stages: list[Stage], *, fused: bool) -> dict[str, PlayerOptimizer]:
    """One optimizer for each player; lazily regularised players are corrected for it."""
    result = {}
    for name, player in players.items():
        result[name] = PlayerOptimizer(player, every=_ordinary_per_lazy(name, stages), fused=fused)
    return result


def _ordinary_per_lazy(name: str, stages: list[Stage]) -> float:
    """Ordinary optimizer steps for each lazy one of the player (the last stage that has both counts); 0: nothing is lazy."""
    result = 0.0
    for stage in stages:
        mine = [update for update in stage.updates if update.player == name]
        ordinary = sum(update.times for update in mine if update.every == 1)
        lazy = sum(update.times / update.every for update in mine if update.every > 1)
        result = ordinary / lazy if ordinary and lazy else result
    return result


def _build(config: OptimizerConfig, parameters: list[torch.nn.Parameter], fused: bool) -> torch.optim.Optimizer:
    common = {"lr": config.lr, "weight_decay": config.weight_decay}
    if config.name == "sgd":
        return torch.optim.SGD(parameters, momentum=config.beta1, **common)
    if config.name == "rmsprop":
        return torch.optim.RMSprop(parameters, alpha=config.beta2, eps=config.eps, **common)
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(parameters, betas=(float(config.beta1), float(config.beta2)), eps=config.eps, fused=fused, **common)
