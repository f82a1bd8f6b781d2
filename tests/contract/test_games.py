"""What every game must do, whatever it is: parametrised over the catalog and one game from outside the package.

Oracles are invariants: the same seed gives the same weights, a split batch the same gradient, a resumed run the same bytes.
"""

from __future__ import annotations

import ast
import copy
import inspect
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from agon import catalog
from agon.config import build, to_dict
from agon.config import fields as all_fields
from agon.data.pairs import open_pairs
from agon.data.source import ArraySource, DataSpec
from agon.errors import UserError
from agon.train.trainer import Trainer

OUTSIDE = str(Path(__file__).with_name("outside_game.py"))
GAMES = [*catalog.games(), OUTSIDE]
ROOT = Path(__file__).parents[2]


def pictures(shape=(1, 8, 8), classes=10, n=64):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, n) if classes else None
    return ArraySource("noise", DataSpec("image", shape, classes), rng.integers(0, 256, (n, *shape), dtype=np.uint8), labels)


def data_for(game, shape=(1, 8, 8), **more):
    """Pictures, and for a translator what it starts from."""
    cls, base = catalog.load(game), pictures(shape, **more)
    recipe = cls.any_input() if cls.needs_input else ""
    return open_pairs(base, input=recipe) if recipe else base


def draw(game, n, seed, source, **more):
    """Samples; a translator's from the data's first inputs, other ones for other seeds."""
    if game.needs_input:
        more["source"] = game.inputs(source.read(np.arange(n) + seed))
    return game.sample(n, seed=seed, **more)


def points(classes=0, n=256):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, n) if classes else None
    return ArraySource("cloud", DataSpec("points", (2,), classes), rng.normal(size=(n, 2)).astype(np.float32), labels)


def make(name, source, **fields):
    cls = catalog.load(name)
    config = build(cls.Config, cls.presets["tiny"].fields, {"precision": "fp32", **fields})
    torch.manual_seed(0)
    return cls(config, source.spec)


def train(name, source, steps, **fields):
    trainer = Trainer(make(name, source, **fields), source)
    for _ in range(steps):
        trainer.advance()
    return trainer


def uncoupled(game):
    """The game's fields that keep the samples of a batch apart."""
    known = {name: kind for name, kind, _, _ in all_fields(catalog.load(game).Config)}
    fields = {"norm": "none", "generator_norm": "none", "discriminator_norm": "none", "minibatch_std": 0, "path_length_decay": 1e-9, "network": "dcgan",
              "relativistic": "none"}  # fmt: skip
    return {name: value for name, value in fields.items() if name in known and (name != "network" or value in get_args(known[name]))}


def parameters(trainer):
    return {k: v.detach().clone() for k, v in trainer.game.named_parameters()}


@pytest.fixture(params=GAMES, ids=lambda name: Path(name).stem)
def game(request):
    return request.param


def test_head_names_paper_and_page_exists(game):
    cls = catalog.load(game)
    entry = catalog.describe(Path(game).stem, sys.modules[cls.__module__].__doc__)
    assert entry.paper and 1990 < entry.year < 2100 and entry.url.startswith("https://") and entry.summary
    if game != OUTSIDE:
        assert (ROOT / "docs" / "games" / f"{game}.md").is_file()


def test_presets_build_and_tiny_is_there(game):
    cls = catalog.load(game)
    assert "tiny" in cls.presets and len(cls.presets) >= 2
    for preset in cls.presets.values():
        config = build(cls.Config, preset.fields)
        assert build(cls.Config, to_dict(config)) == config


def test_file_states_the_game_only(game):
    """No game calls what the trainer owns, and none inherits from another concrete game."""
    cls = catalog.load(game)
    tree = ast.parse(inspect.getsource(sys.modules[cls.__module__]))
    called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not called & {"backward", "zero_grad", "autocast", "cuda", "device"}
    concrete = [base for base in cls.__mro__[1:] if getattr(base, "presets", None) and not inspect.isabstract(base)]
    assert not concrete


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 8), (2, 16, 24)], ids=str)
def test_trains_on_pictures_of_any_shape(game, shape):
    source = data_for(game, shape)
    trainer = train(game, source, 3)
    assert all(torch.isfinite(p).all() for p in trainer.game.parameters())
    with trainer.averaged() as averaged:
        samples = draw(averaged, 5, 1, source)
    assert samples.shape == (5, *shape) and samples.dtype == torch.float32 and torch.isfinite(samples).all()


def test_trains_on_points_or_refuses_them_by_name(game):
    if catalog.load(game).presets["tiny"].kind == "image":
        with pytest.raises(UserError, match="points"):
            train(game, points(), 1)
        with pytest.raises(UserError, match="points"):
            catalog.load(game).preset_for(points().spec)
        return
    trainer = train(game, points(classes=4), 3)
    with trainer.averaged() as averaged:
        assert averaged.sample(7, seed=0).shape == (7, 2)


def test_every_parameter_of_every_player_moves(game):
    source = data_for(game)
    trainer = Trainer(make(game, source, **{"optimizer.lr": 0.02}), source)  # a hinge gives the last bias no gradient before a margin is passed
    before = parameters(trainer)
    for _ in range(20):
        trainer.advance()
    owned = {id(p) for player in trainer.players.values() for p in player.parameters()}
    for name, parameter in trainer.game.named_parameters():
        if id(parameter) in owned:
            assert not torch.equal(parameter, before[name]), f"{name} never moved"


def test_same_seed_same_weights_other_seed_other_weights(game):
    source = data_for(game)
    first, second, third = (parameters(train(game, source, 3, seed=s)) for s in (1, 1, 2))
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert any(not torch.equal(first[k], third[k]) for k in first)


def test_sampling_is_a_function_of_the_seed_and_leaves_no_trace(game):
    source = data_for(game)
    trainer = train(game, source, 2)
    state = copy.deepcopy(trainer.game.state_dict())
    with trainer.averaged() as averaged:
        one, again, other = (draw(averaged, 6, s, source) for s in (3, 3, 4))
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert all(torch.equal(v, state[k]) for k, v in trainer.game.state_dict().items())


def test_a_split_batch_gives_the_same_weights(game):
    """One batch of 8 equals four micro-batches of 2. Games with batch-coupled layers are exempt by the names of those layers, and are tested
    with others. Adam divides by a gradient's size: with its usual eps it makes a full step of the rounding of a gradient that is next to 0.
    """
    source = data_for(game)
    fields = {"optimizer.eps": 1e-3}
    if make(game, source).batch_coupled():
        fields |= uncoupled(game)
    whole = Trainer(make(game, source, **fields), source)
    assert not whole.game.batch_coupled()
    start = parameters(whole)
    parts = Trainer(make(game, source, micro_batch_size=2, **fields), source)
    for _ in range(3):
        whole.advance()
        parts.advance()
    left, right = parameters(whole), parameters(parts)
    for name in left:
        assert (left[name] - right[name]).norm() <= 1e-3 * (left[name] - start[name]).norm() + 1e-7, name


def test_resumes_bit_for_bit(game, tmp_path):
    source = data_for(game)
    straight = train(game, source, 7)
    stopped = train(game, source, 3)
    path = stopped.save(tmp_path)
    resumed = Trainer(make(game, source, seed=0), source)
    with torch.no_grad():  # whatever a fresh one holds must not matter
        for parameter in resumed.game.parameters():
            parameter.add_(1.0)
    resumed.load(path)
    for _ in range(4):
        resumed.advance()
    left, right = straight.game.state_dict(), resumed.game.state_dict()
    assert all(torch.equal(left[k], right[k]) for k in left)
    left, right = straight.ema.modules.state_dict(), resumed.ema.modules.state_dict()
    assert all(torch.equal(left[k], right[k]) for k in left)


def test_conditional_games_take_classes_and_refuse_wrong_ones(game):
    source = data_for(game)
    built = make(game, source)
    if not built.takes_labels:
        with pytest.raises(UserError, match="no classes"):
            draw(built, 2, 0, source, label=torch.tensor([0, 1]))
        return
    alone = draw(built, 1, 0, source, label=torch.tensor([3]))
    assert alone.shape == (1, 1, 8, 8)
    with pytest.raises(UserError, match="no class 10"):
        draw(built, 1, 0, source, label=torch.tensor([10]))


def test_bf16_trains(game):
    trainer = train(game, data_for(game), 2, precision="bf16")
    assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in trainer.game.parameters())


def test_fp16_trains(game):
    trainer = train(game, data_for(game), 2, precision="fp16")
    assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in trainer.game.parameters())
