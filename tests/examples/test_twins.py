"""The single-file twins of ``examples/`` play the library's games: same start, same steps, same weights.

Each side is the other's oracle. They share no code: the twins' networks, losses, loop and averages are written out, the
library's come from its games, networks and trainer. The test feeds the twin what the library's sampler and seeds give:
batches, latents, and the points between real and fake.
"""

import ast
import copy
import dataclasses
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from agon import catalog
from agon.config import build
from agon.data import open_dataset
from agon.data.source import read_run
from agon.networks.sizes import doublings
from agon.train.optimizers import learning_rate
from agon.train.randomness import mix
from agon.train.trainer import Observer, Trainer

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("gan", "dcgan", "wgan_gp")
STEPS = 20
SEED = 3

# What a preset may choose: the twin's functions take it, the test sets it (learning rates), or it moves no weight.
FOLLOWED = {
    "images", "batch_size", "latent_dim", "width", "discriminator_width", "base_size", "generator_hidden",
    "discriminator_hidden", "num_critic", "penalty_weight", "ema_half_life_images", "ema_rampup", "ema_every",
    "discriminator_lr",
    *(f"optimizer.{name}" for name in ("lr", "beta1", "beta2", "lr_final", "schedule", "decay_start", "warmup_images")),
    "seed", "precision", "channels_last", "log_every", "sample_every_images", "checkpoint_every_images",
}  # fmt: skip
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
        unknown = set(preset.fields) - FOLLOWED
        assert not unknown, f"examples/{name}.py does not know {unknown}: teach it, or it plays another game"
        self.config = build(cls.Config, preset.fields, PLAIN)
        torch.manual_seed(SEED)
        self.game, self.records = cls(self.config, self.source.spec), Records()
        self.trainer = Trainer(self.game, self.source, device="cpu", observer=self.records)

    def train(self, steps):
        """Go on to so many steps; returns the loss terms of the last."""
        self.trainer.fit(until=steps * self.config.num_critic * self.config.batch_size)
        assert self.trainer.step == steps
        return self.records.terms[-1]

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
        g = twin.Generator(config.latent_dim, config.generator_hidden)
        return g, twin.Discriminator(config.discriminator_hidden)
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


def pace(config, num_images, opts):
    """Set the learning rates that the preset's schedule has at this moment: the twins' own is constant."""
    for opt, lr in zip(opts, (config.optimizer.lr, config.discriminator_lr or config.optimizer.lr), strict=True):
        scheduled = dataclasses.replace(config.optimizer, lr=lr)
        opt.param_groups[0]["lr"] = learning_rate(scheduled, num_images / config.images, num_images)


def play(name, twin, library, g, d, step, opts):
    """One step of the twin on the library's stream; returns its two numbers."""
    config, reals = library.config, library.batches(step)
    size = config.batch_size
    latents, mixes = [], []
    for ordinal in range(config.num_critic + (name == "wgan_gp")):
        draws = library.draws(step, ordinal)
        latents.append(torch.randn(size, config.latent_dim, generator=draws))
        if ordinal < config.num_critic:  # the last is the generator's turn
            mixes.append(torch.rand(size, generator=draws).view(-1, 1, 1, 1))
    if name != "wgan_gp":  # one latent for both turns
        return twin.train_step(g, d, *opts, reals[0], latents[0])
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


def near(name, mine, theirs, before):
    """Whether one tensor went from ``before`` to the same place on both sides.

    wgan_gp's arithmetic is the same on both sides, so the weights must be, bit for bit: 100 critic steps of Adam
    without momentum blow up any rounding. The other two write cross-entropy as binary_cross_entropy_with_logits, the
    library as softplus (and leaky ReLU as a product): the last bit of a gradient may differ, and Adam, whose first step
    is the gradient's sign, carries that into the weights. Allowed are 1e-5 of the weights and 1e-3 of their way.
    Measured are 2e-6 and 2e-4, while a target of 0.99 for real samples instead of 1 makes 4e-2 of the way.
    """
    if name == "wgan_gp" or not mine.is_floating_point():
        return torch.equal(mine, theirs)
    off, way = (mine - theirs).norm(), (theirs - before).norm()
    return bool(off <= 1e-5 * theirs.norm() and off <= 1e-3 * way)


def follow(library, mine, opts, average):
    """Put the twin where the library stands: weights, batch statistics, the optimizers' memory and the average."""
    theirs = (library.game.generator, library.game.discriminator)
    for own, other, opt, player in zip(mine, theirs, opts, ("generator", "discriminator"), strict=True):
        own.load_state_dict(dict(zip(own.state_dict(), other.state_dict().values(), strict=True)))
        opt.load_state_dict(copy.deepcopy(library.trainer.optimizers[player].torch.state_dict()))
    state = library.trainer.ema.modules["generator"].state_dict()
    average.load_state_dict(dict(zip(average.state_dict(), state.values(), strict=True)))


@pytest.mark.parametrize("name", NAMES)
def test_twenty_steps_reach_the_same_weights(name):
    """After each step. In dcgan the batch norms on both sides of so small a game make up to 2e-2 of a rounding within
    twenty steps (measured between two runs of the twin that differ in how its loss is written): there each step starts where
    the library stands, so that twenty steps are proven one by one.
    """
    library, twin = Library(name), load(name)
    config = library.config
    mine = g, d = networks(name, twin, config, library.source.spec)
    average, opts = copy.deepcopy(g), optimizers(twin, config, g, d)
    sides = (("g", g), ("d", d), ("average", average))
    before, per_step = {}, config.num_critic * config.batch_size
    for step in range(STEPS):
        if step == 0 or name == "dcgan":
            before = {side: copy.deepcopy(network.state_dict()) for side, network in sides}
        pace(config, step * per_step, opts)
        shown = [float(value.detach()) for value in play(name, twin, library, g, d, step, opts)]
        if updated := (step + 1) % config.ema_every == 0:  # the twins' own main does it in every step
            seen, new = (step + 1) * per_step, config.ema_every * per_step
            twin.update_average(average, g, seen, new, config.ema_half_life_images, config.ema_rampup)
        terms = library.train(step + 1)

        game, mean = library.game, library.trainer.ema.modules["generator"]
        for (side, own), other in zip(sides, (game.generator, game.discriminator, mean), strict=True):
            # buffers too: running statistics and count of batches say that the forward passes were the same
            states = [network.state_dict() for network in (own, other)]
            if side == "average":  # its buffers are copies, and the twins leave them
                states = [dict(network.named_parameters()) for network in (own, other)]
            for where, a, b in pairs(*(state.items() for state in states)):
                assert near(name, a, b, before[side][where]), f"{side}.{where}, step {step}: {(a - b).norm()} apart"
                assert side == "average" and not updated or not torch.equal(b, before[side][where])
        np.testing.assert_allclose(shown, logged(name, config, terms), rtol=1e-5, atol=1e-7)
        if name == "dcgan":
            follow(library, mine, opts, average)


def logged(name, config, terms):
    """The two numbers that the twin's step returns, from the library's terms, which are what is minimised."""
    if name == "wgan_gp":
        return -terms["discriminator/wasserstein"], terms["discriminator/penalty"] / config.penalty_weight
    return terms["discriminator/adversarial"], terms["generator/adversarial"]


@pytest.mark.parametrize("name", NAMES)
def test_a_twin_is_one_short_file_of_plain_pytorch(name):
    text = (EXAMPLES / f"{name}.py").read_text()
    assert len(text.splitlines()) <= 150
    nodes = list(ast.walk(ast.parse(text)))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {module.partition(".")[0] for module in imported} <= {"argparse", "copy", "numpy", "torch", "PIL", "sklearn"}


@pytest.mark.parametrize("name", NAMES)
def test_a_twin_trains_and_writes_its_picture(name, tmp_path, capsys):
    load(name).main(steps=2, out=tmp_path / "grid.png")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["step", "2"] and lines[-1] == f"wrote {tmp_path / 'grid.png'}"
    with Image.open(tmp_path / "grid.png") as image:
        assert image.size == (720, 720) and image.mode == "L"  # ten pictures of 8 pixels and a line of 1, eightfold
        assert np.asarray(image).std() > 10


@pytest.mark.parametrize("name", NAMES)
def test_the_grid_shows_each_picture_in_its_place(name, tmp_path):
    pictures = torch.linspace(-1, 1, 6 * 2 * 3).view(6, 1, 2, 3)
    load(name).save_grid(pictures, tmp_path / "grid.png", columns=3, zoom=2)
    with Image.open(tmp_path / "grid.png") as image:
        pixels = np.asarray(image)
    assert pixels.shape == (2 * (2 + 1) * 2, 3 * (3 + 1) * 2)
    for i in range(6):
        top, left = i // 3 * 6, i % 3 * 8
        expected = np.rint((pictures[i, 0].numpy() + 1) * 127.5)
        for y, x in np.ndindex(2, 3):
            assert (pixels[top + 2 * y : top + 2 * y + 2, left + 2 * x : left + 2 * x + 2] == expected[y, x]).all()


@pytest.mark.parametrize("name", NAMES)
def test_an_epoch_shows_no_picture_twice_and_the_next_another_order(name):
    torch.manual_seed(0)
    stream = load(name).batches(torch.arange(10), 3)
    first, second = (torch.cat([next(stream) for _ in range(3)]).tolist() for _ in range(2))
    assert len(set(first)) == len(set(second)) == 9 and set(first + second) <= set(range(10))
    assert first != second
