"""The game of filling holes. Oracles: the losses written out by hand, pixels that must stay, and a task whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agon.config import build
from agon.data.pairs import open_pairs
from agon.data.source import ArraySource, DataSpec
from agon.errors import UserError
from agon.game import Context
from agon.games.inpainting import Config, Inpainting
from agon.train.trainer import Trainer

ALL = np.arange


def source_of(shape: tuple[int, int, int] = (3, 16, 16), n: int = 64, hole: str = "mixed", flat: bool = False):
    rng = np.random.default_rng(0)
    pixels = np.broadcast_to(rng.integers(0, 256, (n, shape[0], 1, 1)), (n, *shape)) if flat else rng.integers(0, 256, (n, *shape))
    return open_pairs(ArraySource("noise", DataSpec("image", shape), pixels.astype(np.uint8)), input=f"hole:{hole}")


def game_of(source, **fields) -> Inpainting:
    torch.manual_seed(0)
    return Inpainting(build(Config, Inpainting.presets["tiny"].fields, {"precision": "fp32", **fields}), source.spec)


def context() -> Context:
    ctx = Context(step=0, num_images=0, progress=0.0, logging=True, mean_over_ranks=lambda x: x)
    ctx.begin(torch.Generator().manual_seed(0), 0, 4, 4)
    return ctx


def test_losses_are_the_formulas() -> None:
    source = source_of()
    game = game_of(source, reconstruction_weight=2.0, known_weight=0.25, adversarial_weight=0.5)
    batch, ctx = source.read(ALL(4)), context()
    discriminator, generator = game.discriminator_loss(batch, ctx), game.generator_loss(batch, ctx)
    x, mask = batch.real, batch.source[:, 3:]
    coarse, fine = game.generator(batch.source)
    filled = torch.where(mask == 1, fine, x)
    real, fake = game.discriminator(torch.cat([x, mask], 1)).detach(), game.discriminator(torch.cat([filled, mask], 1)).detach()
    hinge = sum(max(0.0, 1 - float(v)) for v in real.flatten()) / real.numel() + sum(max(0.0, 1 + float(v)) for v in fake.flatten()) / fake.numel()
    discriminator, generator = ({k: v.detach() for k, v in terms.items()} for terms in (discriminator, generator))
    assert float(discriminator["adversarial"]) == pytest.approx(hinge, rel=1e-5)
    for name, made in (("coarse", coarse), ("fine", fine)):
        total = 0.0
        for n in range(4):
            hole = mask[n, 0] == 1
            missing, known = ((made[n] - x[n]).abs()[:, part].sum() / 3 for part in (hole, ~hole))
            total += float((missing + 0.25 * known) / (hole.sum() + 0.25 * (~hole).sum()))
        assert float(generator[name]) == pytest.approx(2 * total / 4, rel=1e-5), name
    assert float(generator["adversarial"]) == pytest.approx(-0.5 * float(fake.mean()), rel=1e-5) and len(generator) == 3
    assert {"discriminator/real_logit", "discriminator/fake_logit", "discriminator/accuracy"} <= ctx.stats.keys()


def test_the_context_encoder_minimises_the_square_in_the_hole_and_cross_entropy() -> None:
    source = source_of(hole="centre")
    game = game_of(source, network="context_encoder", adversarial="bce", reconstruction="l2", reconstruction_weight=0.999, adversarial_weight=0.001,
                   known_weight=0.0, spectral_norm=False)  # fmt: skip
    batch, ctx = source.read(ALL(4)), context()
    game.eval()  # running statistics: the second pass must see the same
    terms = {**game.discriminator_loss(batch, ctx)}
    generator = game.generator_loss(batch, ctx)
    made, x = game.generator(batch.source), batch.real
    middle = (slice(None), slice(None), slice(4, 12), slice(4, 12))
    assert float(generator["fine"]) == pytest.approx(0.999 * float((made[middle] - x[middle]).square().mean()), rel=1e-5) and "coarse" not in generator
    filled = x.clone()
    filled[middle] = made[middle]
    real, fake = (game.discriminator(torch.cat([p, batch.source[:, 3:]], 1)).double() for p in (x, filled))
    assert float(terms["adversarial"]) == pytest.approx(float((1 + (-real).exp()).log().mean() + (1 + fake.exp()).log().mean()), rel=1e-5)
    assert float(generator["adversarial"]) == pytest.approx(0.001 * float((1 + (-fake).exp()).log().mean()), rel=1e-4)


@pytest.mark.parametrize("size", [(16, 16), (13, 21), (40, 8)], ids=str)
def test_known_pixels_come_out_as_they_went_in(size: tuple[int, int]) -> None:
    game, source = game_of(source_of()), source_of((3, *size), n=3, hole="free").read(ALL(3)).source
    made = game.translate(source, seed=1)
    hole = source[:, 3:].bool().expand_as(made)
    assert made.shape == (3, 3, *size) and torch.equal(made[~hole], source[:, :3][~hole]) and (made[hole] != 0).float().mean() > 0.99


def test_both_networks_learn_to_continue_a_flat_colour() -> None:
    """Pictures of one colour: what is missing is what is round it. The filling must get nearer than black by a third in 40 steps."""
    source = source_of((3, 8, 8), n=256, hole="box", flat=True)
    for fields in ({"width": 16}, {"network": "context_encoder", "norm": "none", "bottleneck": 32, "width": 16, "reconstruction": "l2", "known_weight": 0.0}):
        game = game_of(source, adversarial_weight=0.0, batch_size=32, images=100_000, **{"optimizer.lr": 3e-3}, **fields)
        trainer = Trainer(game, source)
        for _ in range(40):
            trainer.advance()
        batch = source.read(ALL(64))
        with trainer.averaged() as averaged:
            error = (averaged.translate(batch.source) - batch.real).abs().sum()
        assert error < 0.7 * (batch.source[:, :3] - batch.real).abs().sum(), fields


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="multiples of 4"):
        game_of(source_of((3, 10, 8)))
    with pytest.raises(UserError, match="multiples of 8"):
        game_of(source_of((3, 12, 8)), attention=True)
    with pytest.raises(UserError, match="multiple of 4"):
        game_of(source_of(), width=6)
    fixed = game_of(source_of(), network="context_encoder")
    with pytest.raises(UserError, match="one size"):
        fixed.translate(source_of((3, 24, 24), n=2).read(ALL(2)).source)
    with pytest.raises(UserError, match="hole"):
        Inpainting(Config(), open_pairs(ArraySource("noise", DataSpec("image", (3, 8, 8)), np.zeros((4, 3, 8, 8), np.uint8)), input="grey").spec)
