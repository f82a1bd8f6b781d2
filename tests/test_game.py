"""The Game's vocabulary: players, the context's random numbers, which layers couple a batch."""

import pytest
import torch
from torch import nn

from agon.config import OptimizerConfig
from agon.game import Context, Game, Player
from agon.layers.minibatch import MinibatchDiscrimination


def context(logging=True):
    return Context(step=3, num_images=24, progress=0.5, logging=logging, mean_over_ranks=lambda value: value)


def begin(ctx, offset, count, total, seed=5):
    ctx.begin(torch.Generator().manual_seed(seed), offset, count, total)
    return ctx


@pytest.mark.parametrize("draw", ["normal", "uniform"])
@pytest.mark.parametrize("parts", [[8], [4, 4], [2, 2, 2, 2], [3, 3, 2], [1] * 8])
@pytest.mark.parametrize("multiple", [1, 3])
def test_random_numbers_do_not_depend_on_how_the_batch_is_split(draw, parts, multiple):
    whole = getattr(begin(context(), 0, 8, 8), draw)(8 * multiple, 2, 3)
    found, start = [], 0
    for count in parts:
        found.append(getattr(begin(context(), start, count, 8), draw)(count * multiple, 2, 3))
        start += count
    assert torch.equal(torch.cat(found), whole)


def test_draws_in_a_row_are_new_and_the_second_does_not_depend_on_the_split_either():
    whole = begin(context(), 0, 8, 8)
    first, second = whole.normal(8, 2), whole.normal(8, 2)
    part = begin(context(), 4, 4, 8)
    assert torch.equal(part.normal(4, 2), first[4:]) and torch.equal(part.normal(4, 2), second[4:])
    assert not torch.equal(first, second)


def test_the_numbers_are_what_they_are_called():
    ctx = begin(context(), 0, 20_000, 20_000)
    normal, uniform = ctx.normal(20_000), ctx.uniform(20_000)
    assert abs(normal.mean()) < 0.04 and abs(normal.std() - 1) < 0.03
    assert uniform.min() >= 0 and uniform.max() < 1 and abs(uniform.mean() - 0.5) < 0.011 and abs(uniform.std() - 12**-0.5) < 0.01


def test_a_number_that_does_not_fit_the_batch_is_refused():
    with pytest.raises(ValueError, match="multiple"):
        begin(context(), 0, 4, 8).normal(6)


def test_values_are_noted_only_when_they_will_be_read():
    value = torch.ones((), requires_grad=True) * 2
    quiet, loud = context(logging=False), context()
    quiet.log("a", value)
    loud.log("a", value)
    assert not quiet.stats and loud.stats["a"] == 2 and not loud.stats["a"].requires_grad


def test_what_is_kept_is_handed_on_once_to_the_same_part_of_the_batch():
    ctx, value = context(), torch.ones(2, requires_grad=True) * 3
    begin(ctx, 0, 2, 4).keep("fake", value)
    begin(ctx, 2, 2, 4).keep("fake", 2 * value)
    assert begin(ctx, 2, 2, 4).take("other") is None
    assert begin(ctx, 2, 2, 4).take("fake").tolist() == [6, 6]
    first = begin(ctx, 0, 2, 4).take("fake")
    assert first is value, "what is kept comes back as it is, graph and all"
    assert ctx.take("fake") is None
    ctx.keep("fake", value)
    ctx.keep("fake", 4 * value)
    assert [ctx.take("fake")[0].item(), ctx.take("fake")[0].item()] == [3, 12], "in the order of keeping"


def test_a_shared_module_counts_once_and_a_frozen_one_not_at_all():
    shared, own, frozen = nn.Linear(2, 2), nn.Linear(3, 3), nn.Linear(4, 4).requires_grad_(False)
    player = Player((shared, own, shared, frozen, nn.Sequential(shared)), OptimizerConfig())
    assert [p.shape[0] for p in player.parameters()] == [2, 2, 3, 3]
    assert player.parameters()[0] is shared.weight


class Duel(Game):
    """As little as a game can be."""

    def __init__(self, **modules):
        super().__init__(None, None)
        for name, module in modules.items():
            setattr(self, name, module)

    def players(self):
        return {}

    def stages(self):
        return []

    def sample(self, n, *, seed, **conditions):
        return torch.zeros(n)


def test_layers_that_couple_a_batch_are_found_by_name():
    game = Duel(
        generator=nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.InstanceNorm1d(2)),
        discriminator=nn.Sequential(nn.Conv2d(1, 1, 1), MinibatchDiscrimination(2, 3), nn.GroupNorm(1, 2)),
    )
    assert game.batch_coupled() == ["generator.1", "discriminator.1"]
    assert Duel(generator=nn.Linear(2, 2)).batch_coupled() == []


def test_a_game_without_its_parts_cannot_be_made():
    class Half(Game):
        def players(self):
            return {}

    with pytest.raises(TypeError, match="abstract"):
        Half(None, None)
