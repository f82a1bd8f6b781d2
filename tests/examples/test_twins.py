"""The single-file twins of ``examples/`` play the library's games: same start, same steps, same weights.

Each side is the other's oracle. They share no code: the twins' networks, losses, loop and averages are written out, the library's
come from its games, its networks and its trainer. The test feeds the twin what the library's sampler and seeds give: batches,
latents, and the points between real and fake.
"""

import ast
import copy
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from agon import catalog
from agon.config import build, fields
from agon.data import open_dataset
from agon.data.sampler import read_run
from agon.networks.sizes import doublings
from agon.train.randomness import mix
from agon.train.trainer import Observer, Trainer

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("gan", "dcgan", "wgan_gp")
STEPS = 20
SEED = 3

# What the preset may choose and a twin can follow: its functions take it, or it is the length of the run.
FOLLOWED = {
    "images", "batch_size", "latent_dim", "width", "discriminator_width", "base_size", "generator_hidden", "discriminator_hidden",
    "num_critic", "penalty_weight", "ema_half_life_images", "ema_rampup", "optimizer.lr", "optimizer.beta1", "optimizer.beta2", "discriminator_lr",
}  # fmt: skip
# What changes no weight, or only the arithmetic's precision and order.
INDIFFERENT = {"seed", "precision", "channels_last", "compile", "micro_batch_size", "log_every", "sample_every_images", "checkpoint_every_images", "keep_checkpoints"}
PLAIN = {"precision": "fp32", "channels_last": False, "seed": SEED, "log_every": 1}


def load(name):
    spec = importlib.util.spec_from_file_location(f"twin_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Records(Observer):
    def __init__(self):
        self.terms = []

    def after_step(self, trainer, record):
        self.terms.append(record["terms"])


class Library:
    """The library's side, with the preset that digits get."""

    def __init__(self, name):
        cls, self.source = catalog.load(name), open_dataset("digits")
        preset = cls.presets[cls.preset_for(self.source.spec)]
        unknown = set(preset.fields) - FOLLOWED - INDIFFERENT
        assert not unknown, f"examples/{name}.py does not know {unknown}: teach it, or it no longer plays the preset's game"
        self.config = build(cls.Config, preset.fields, PLAIN)
        torch.manual_seed(SEED)
        self.game = cls(self.config, self.source.spec)

    def train(self, steps):
        records = Records()
        self.trainer = Trainer(self.game, self.source, device="cpu", observer=records)
        self.trainer.fit(until=steps * self.config.num_critic * self.config.batch_size)
        assert self.trainer.step == steps
        return records.terms

    def draws(self, step, ordinal):
        """The random numbers of the step's update number ``ordinal``."""
        num_images = step * self.config.num_critic * self.config.batch_size
        return torch.Generator().manual_seed(mix(SEED, num_images, ordinal, 0))

    def batches(self, step):
        count, size = self.config.num_critic, self.config.batch_size
        return [read_run(self.source, (step * count + turn) * size, size, SEED).real for turn in range(count)]


def networks(name, twin, config, spec):
    """The twin's two networks at the preset's sizes, drawn from the same seed."""
    torch.manual_seed(SEED)
    if name == "gan":
        return twin.Generator(config.latent_dim, config.generator_hidden), twin.Discriminator(config.discriminator_hidden)
    doubled, _ = doublings(spec, config.base_size)
    factors = [2**i for i in range(doubled)]
    judge = twin.Critic if name == "wgan_gp" else twin.Discriminator
    g = twin.Generator(config.latent_dim, tuple(config.width * factor for factor in reversed(factors)))
    d = judge(tuple((config.discriminator_width or config.width) * factor for factor in factors))
    if name == "dcgan":
        g.apply(twin.init_weights)
        d.apply(twin.init_weights)
    return g, d


def optimizers(twin, config, g, d):
    betas = (config.optimizer.beta1, config.optimizer.beta2)
    return twin.adam(g, config.optimizer.lr, betas), twin.adam(d, config.discriminator_lr or config.optimizer.lr, betas)


def play(name, twin, library, g, d, step, opts):
    """One step of the twin on the library's stream; returns its two numbers."""
    config, reals = library.config, library.batches(step)
    size = config.batch_size
    if name != "wgan_gp":
        return twin.train_step(g, d, *opts, reals[0], torch.randn(size, config.latent_dim, generator=library.draws(step, 0)))
    latents, mixes = [torch.randn(size, config.latent_dim, generator=library.draws(step, 0))], []
    for ordinal in range(1, 1 + config.num_critic):
        draws = library.draws(step, ordinal)
        if ordinal > 1:  # the first critic step judges what the generator's turn made
            latents.append(torch.randn(size, config.latent_dim, generator=draws))
        mixes.append(torch.rand(size, generator=draws).view(-1, 1, 1, 1))
    return twin.train_step(g, d, *opts, reals, latents, mixes, config.penalty_weight)


def pairs(mine, theirs):
    """(name, twin's tensor, library's tensor), matched by order; the shapes must be the same without reshaping."""
    mine, theirs = list(mine), list(theirs)
    assert [tensor.shape for _, tensor in mine] == [tensor.shape for _, tensor in theirs]
    return [(name, a.detach(), b.detach()) for (name, a), (_, b) in zip(mine, theirs, strict=True)]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_draws_the_same_weights_bit_for_bit(name):
    library, twin = Library(name), load(name)
    g, d = networks(name, twin, library.config, library.source.spec)
    for mine, theirs in ((g, library.game.generator), (d, library.game.discriminator)):
        for _, a, b in pairs(mine.state_dict().items(), theirs.state_dict().items()):
            assert torch.equal(a, b)


@pytest.mark.parametrize("name", NAMES)
def test_twenty_steps_reach_the_same_weights(name):
    library, twin = Library(name), load(name)
    g, d = networks(name, twin, library.config, library.source.spec)
    average, opts, losses = copy.deepcopy(g), optimizers(twin, library.config, g, d), []
    per_step = library.config.num_critic * library.config.batch_size
    for step in range(STEPS):
        losses.append([float(value.detach()) for value in play(name, twin, library, g, d, step, opts)])
        twin.update_average(average, g, (step + 1) * per_step, per_step, library.config.ema_half_life_images, library.config.ema_rampup)
    terms = library.train(STEPS)
    worst = {}
    for label, mine, theirs in (
        ("generator", g.named_parameters(), library.game.generator.named_parameters()),
        ("discriminator", d.named_parameters(), library.game.discriminator.named_parameters()),
        ("average", average.named_parameters(), library.trainer.ema.modules["generator"].named_parameters()),
        ("g buffers", g.named_buffers(), library.game.generator.named_buffers()),
        ("d buffers", d.named_buffers(), library.game.discriminator.named_buffers()),
    ):
        for pname, a, b in pairs(mine, theirs):
            if not a.is_floating_point():
                assert torch.equal(a, b), pname
                continue
            worst[label + " " + pname] = ((a - b).abs().max().item(), ((a - b).abs() / b.abs().clamp_min(1e-12)).max().item(), b.abs().max().item())
    for k, v in worst.items():
        print(k, v)
    print(losses[-1], terms[-1])
