"""Optimizers and their schedules, as functions of the clock."""

from __future__ import annotations

import math

import torch

from agon.config import OptimizerConfig
from agon.game import Player, Stage


class PlayerOptimizer:
    """A player's optimizer with its schedules; ``lazy`` is the correction for updates that run in every k-th step only."""

    def __init__(self, player: Player, *, every: int, fused: bool):
        self.config = player.optimizer
        self.parameters = player.parameters()
        # k ordinary steps are followed by one more of the lazy term: k / (k + 1) of the rate keeps the pace (Karras et al. 2020, appendix B)
        self.lazy = every / (every + 1) if every > 1 else 1.0
        self.torch = _build(self.config, self.parameters, fused)

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
    if config.schedule in ("linear", "cosine"):
        fraction = min(1.0, max(0.0, (progress - config.decay_start) / (1 - config.decay_start)))
        rest = 1 - fraction if config.schedule == "linear" else (1 + math.cos(math.pi * fraction)) / 2
        lr = config.lr_final + (lr - config.lr_final) * rest
    elif config.schedule == "halving":
        lr *= 0.5 ** (num_images // config.halve_every_images)
    if config.warmup_images:
        lr *= min(1.0, (num_images + 1) / config.warmup_images)
    return lr


def build_optimizers(players: dict[str, Player], stages: list[Stage], *, fused: bool) -> dict[str, PlayerOptimizer]:
    """One optimizer for each player; lazily regularised players are corrected for it."""
    updates = [update for stage in stages for update in stage.updates]
    result = {}
    for name, player in players.items():
        every = [update.every for update in updates if update.player == name]
        lazy = max(every) if every and min(every) == 1 else 1
        result[name] = PlayerOptimizer(player, every=lazy, fused=fused)
    return result


def _build(config: OptimizerConfig, parameters: list[torch.nn.Parameter], fused: bool) -> torch.optim.Optimizer:
    common = {"lr": config.lr, "weight_decay": config.weight_decay}
    if config.name == "sgd":
        return torch.optim.SGD(parameters, momentum=config.beta1, **common)
    if config.name == "rmsprop":
        return torch.optim.RMSprop(parameters, alpha=config.beta2, eps=config.eps, **common)
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(parameters, betas=(float(config.beta1), float(config.beta2)), eps=config.eps, fused=fused, **common)
