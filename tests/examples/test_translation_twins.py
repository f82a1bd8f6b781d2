"""The single-file twins of the translators play the library's games: the same losses to 1e-6 over six steps from the same weights.

Each side is the other's oracle: they share no code. The test feeds the twin what the library's sampler and seeds give: pictures, dropout, the pool's draws.
"""

import ast
import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from agon import catalog
from agon.config import build
from agon.data.source import ArraySource, DataSpec, read_run
from agon.train.randomness import mix
from agon.train.trainer import Observer, Trainer

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("pix2pix", "cyclegan")
STEPS, SEED, SIDE = 6, 3, 64
PLAIN = {"precision": "fp32", "channels_last": False, "seed": SEED, "log_every": 1, "ema_half_life_images": 0}


def load(name):
    spec = importlib.util.spec_from_file_location(f"twin_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Both(ArraySource):
    """Noise, with other noise to start from."""

    def __init__(self, side, paired):
        given, made = np.random.default_rng(0).integers(0, 256, (2, 20, 3, side, side), dtype=np.uint8)
        super().__init__("noise", DataSpec("image", made.shape[1:]), made)
        self.given = ArraySource("noise", DataSpec("image", given.shape[1:]), given)
        self.spec = replace(self.spec, source_shape=given.shape[1:], source_kind="picture", paired=paired)

    def read(self, indices, *, seed=0, epoch=0):
        batch = super().read(indices, seed=seed, epoch=epoch)
        batch.source = self.given.read(indices).real
        return batch


class Library(Observer):
    """The library's side."""

    def __init__(self, name, side, **fields):
        cls, self.source = catalog.load(name), Both(side, name == "pix2pix")
        self.config = build(cls.Config, {"images": 100, "optimizer.schedule": "constant"}, PLAIN, fields)
        torch.manual_seed(SEED)
        self.game, self.terms = cls(self.config, self.source.spec), {}
        self.trainer = Trainer(self.game, self.source, device="cpu", observer=self)

    def after_step(self, trainer, record):
        self.terms = record["terms"]

    def train(self, steps):
        """Go on to so many steps; returns the loss terms of the last."""
        self.trainer.fit(until=steps * self.config.batch_size)
        return self.terms

    def draws(self, step, ordinal):
        return torch.Generator().manual_seed(mix(SEED, step * self.config.batch_size, ordinal, 0))

    def batch(self, step):
        return read_run(self.source, step * self.config.batch_size, self.config.batch_size, SEED)


def in_order(twin, library):
    """Give the twin's network the library's tensors, matched by their order."""
    state = twin.state_dict()
    twin.load_state_dict(dict(zip(state, (value.clone() for value in library.state_dict().values()), strict=True)))


def by_level(twin, library):
    """Give the twin's nested U-Net the weights of the library's lists."""
    level, depth, number = twin, library.depth, 0
    while level is not None:
        pairs = [(level.down, library.down[number]), (level.up, library.up[depth - 1 - number]), (level.down_norm, library.down_norm[number])]
        pairs += [(level.up_norm, library.up_norm[depth - 1 - number])] if number else []
        for mine, theirs in pairs:
            mine.load_state_dict({name: value.clone() for name, value in theirs.state_dict().items()})
        level, number = level.below, number + 1
    assert number == depth


def assert_the_same(shown, logged):
    assert set(shown) == set(logged)
    for name, value in shown.items():
        assert abs(value - logged[name]) <= 1e-6 * max(1.0, abs(logged[name])), (name, value, logged[name])


@pytest.mark.parametrize("batch_size", [1, 2])
def test_pix2pix_has_the_twin_s_losses(batch_size):
    library, twin = Library("pix2pix", SIDE, width=4, patch_layers=2, batch_size=batch_size), load("pix2pix")
    assert library.game.generator.depth == 6 and library.config.norm == "batch" and library.config.dropout == 0.5
    g, d = twin.unet(3, 3, 4, 6), twin.patch_discriminator(6, 4, 2)
    by_level(g, library.game.generator)
    in_order(d, library.game.discriminator)
    opts = twin.adam(g), twin.adam(d)
    for step in range(STEPS):
        generator, batch = library.draws(step, 0), library.batch(step)

        def drop(x, generator=generator):
            return torch.where(torch.rand(x.shape, generator=generator) < 0.5, 0.0, 2 * x)

        d_loss, adversarial, distance = (float(v.detach()) for v in twin.train_step(g, d, *opts, batch.source, batch.real, drop))
        shown = {"discriminator/adversarial": d_loss, "generator/adversarial": adversarial, "generator/l1": 100 * distance}
        assert_the_same(shown, library.train(step + 1))


def test_cyclegan_has_the_twin_s_losses_with_a_full_pool():
    library, twin = Library("cyclegan", 16, width=4, blocks=2, patch_layers=1, pool_size=2), load("cyclegan")
    nets = [twin.translator(3, 4, 2), twin.translator(3, 4, 2), twin.patch_discriminator(3, 4, 1), twin.patch_discriminator(3, 4, 1)]
    game = library.game
    for mine, theirs in zip(nets, (*(game.generator[f"to_{side}"] for side in ("target", "source")),
                                   *(game.discriminator[side] for side in ("target", "source"))), strict=True):  # fmt: skip
        in_order(mine, theirs)
    opts, pools = (twin.adam(nets[:2]), twin.adam(nets[2:])), (twin.Pool(2), twin.Pool(2))
    swaps = 0
    for step in range(STEPS):
        generator, batch = library.draws(step, 1), library.batch(step)
        draws = [torch.rand(1, 2, generator=generator) for _ in range(2)]
        swaps += sum(float(each[0, 0]) > 0.5 for each in draws) if step >= 2 else 0
        terms = twin.train_step(nets, *opts, pools, batch.source, batch.real, draws)
        shown = {f"{'discriminator' if name.startswith('judge') else 'generator'}/{renamed(name)}": float(value.detach()) for name, value in terms.items()}
        assert_the_same(shown, library.train(step + 1))
    assert 2 <= swaps <= 6  # fakes of the past were shown, and not always
    for pool, side in zip(pools, ("target", "source"), strict=True):
        torch.testing.assert_close(torch.stack(pool.pictures), game.pools[side].pictures, atol=1e-5, rtol=0)


def renamed(name):
    """The twin's sides are a and b; the library names the side that is made, and a cycle by the side on its way."""
    what, side = name.split("_")
    target = (side == "b") != (what == "cycle")
    return f"{'adversarial' if what == 'judge' else what}_{'target' if target else 'source'}"


@pytest.mark.parametrize("name", NAMES)
def test_a_twin_is_one_short_file_of_plain_pytorch(name):
    text = (EXAMPLES / f"{name}.py").read_text()
    assert len(text.splitlines()) <= 150
    nodes = list(ast.walk(ast.parse(text)))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {module.partition(".")[0] for module in imported} <= {"argparse", "numpy", "torch", "PIL", "sklearn"}


@pytest.mark.parametrize("name, rows, side", [("pix2pix", 3, 32), ("cyclegan", 4, 16)])
def test_a_twin_trains_and_writes_its_picture(name, rows, side, tmp_path, capsys):
    load(name).main(steps=2, out=tmp_path / "rows.png")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["step", "2"] and lines[-1] == f"wrote {tmp_path / 'rows.png'}"
    with Image.open(tmp_path / "rows.png") as image:
        assert image.size == (12 * side, rows * side) and np.asarray(image).std() > 10
