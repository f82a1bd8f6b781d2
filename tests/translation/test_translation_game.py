"""What all translators share: inputs as networks take them, sizes, checks, and the sheets one looks at. Oracles: closed forms on a game of one convolution."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

import agon
from agon.config import Preset
from agon.data import open_dataset, with_defaults
from agon.data.pairs import open_pairs
from agon.data.source import ArraySource, Batch, DataSpec
from agon.errors import UserError
from agon.game import Stage, Update
from agon.run import translated
from agon.translation import OBJECTIVES, TINY, TranslationConfig, TranslationGame
from agon.translation.game import padded_to
from agon.translation.view import MISSING, contact_sheet, visible

MAP = DataSpec("image", (3, 8, 8), source_shape=(2, 8, 8), source_kind="map", source_classes=("sky", "sea", "land"),
               source_colours=("#ff0000", "#00ff00", "#0000ff"), paired=True)  # fmt: skip
PICTURE = DataSpec("image", (3, 8, 8), source_shape=(1, 8, 8), source_kind="picture", paired=True)


@dataclass(frozen=True, kw_only=True)
class Config(TranslationConfig):
    pass


class OneConvolution(TranslationGame):
    """A 2x2 mean of four pixels in place of everything: its output is known."""

    Config, multiple, takes = Config, 4, ("picture", "map", "hole")
    directions, controls = ("forward", "backward"), ("noise",)
    data_options = {"input": "grey", "crop": 9}
    presets = {"image": Preset(fields=TINY)}

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.generator = nn.Conv2d(self.source_channels, spec.shape[0], 1, bias=False)
        self.discriminator = nn.Conv2d(spec.shape[0], 1, 1)
        nn.init.constant_(self.generator.weight, 0.25)

    def stages(self):
        return [Stage("train", (Update("generator", self.loss),))]

    def loss(self, batch, ctx):
        return {"l1": (self.generator(self.encode(batch.source)) - batch.real).abs().mean()}

    def render(self, source, draws, direction="forward", noise=0.0):
        return -source if direction == "backward" else self.generator(source) + noise * draws.normal(len(source), 1, 1, 1)


def game(spec=PICTURE, **fields):
    return OneConvolution(Config(**fields), spec)


def test_a_map_is_one_channel_for_each_class_and_the_edges():
    source = torch.tensor([[[[0, 2], [1, 1]], [[0, 1], [0, 0]]]], dtype=torch.uint8)
    built = game(MAP)
    assert built.source_channels == 4
    expected = torch.tensor([[[[1, 0], [0, 0]], [[0, 0], [1, 1]], [[0, 1], [0, 0]], [[0, 1], [0, 0]]]], dtype=torch.float32)
    assert torch.equal(built.encode(source), expected)
    with pytest.raises(UserError, match="class 3, and 3 classes"):
        built.translate(torch.full((1, 2, 4, 4), 3, dtype=torch.uint8))


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (1, 3), (9, 4)], ids=str)
def test_any_size_comes_back_as_it_was(size):
    source = torch.rand(2, 1, *size) * 2 - 1
    made = game().translate(source)
    assert made.shape == (2, 3, *size) and torch.allclose(made, 0.25 * source.expand(2, 3, *size))
    padded = padded_to(source, 4)
    assert padded.shape[2] % 4 == 0 and padded.shape[3] % 4 == 0 and torch.equal(padded[:, :, : size[0], : size[1]], source)


def test_results_are_pictures_and_leave_no_trace():
    built = game().train()
    nn.init.constant_(built.generator.weight, 5.0)
    made = built.translate(torch.ones(1, 1, 4, 4))
    assert made.max() == 1 and built.training and not made.requires_grad


def test_what_is_random_is_a_function_of_the_seed():
    one, again, other = (game().translate(torch.zeros(2, 1, 4, 4), seed=seed, noise=0.1)[:, 0, 0, 0] for seed in (7, 7, 8))
    assert torch.equal(one, 0.1 * torch.randn(2, generator=torch.Generator().manual_seed(7))) and torch.equal(one, again)
    assert not torch.equal(one, other)


def test_backward_starts_from_the_other_side():
    built = game()
    source = torch.rand(2, 3, 8, 8)
    assert torch.equal(built.translate(source, direction="backward"), -source)
    with pytest.raises(UserError, match="does not translate sideways"):
        built.translate(source, direction="sideways")
    with pytest.raises(UserError, match="do not fit"):
        built.translate(source)  # three channels, one is expected forwards


@pytest.mark.parametrize("spec, word", [
    (DataSpec("points", (2,)), "not on points"), (DataSpec("image", (3, 8, 8)), "--data.input"),
    (DataSpec("image", (3, 8, 8), source_shape=(3, 8, 8), source_kind="picture"), "do not belong together"),
])  # fmt: skip
def test_data_that_do_not_fit_are_refused(spec, word):
    with pytest.raises(UserError, match=word):
        game(spec)


def test_a_game_of_one_kind_of_input_refuses_others():
    class MapsOnly(OneConvolution):
        takes = ("map",)

    with pytest.raises(UserError, match="cannot start from a picture. Expected: map"):
        MapsOnly(Config(), PICTURE)
    assert MapsOnly.any_input() == "grey"  # what it says itself goes first
    MapsOnly.data_options = {"input": "auto"}
    assert MapsOnly.any_input() == "levels:4"


def test_samples_need_inputs_and_refuse_unknown_wishes():
    built = game()
    with pytest.raises(UserError, match="0 inputs were given for 2"):
        built.sample(2, seed=0)
    with pytest.raises(UserError, match="cannot be asked for truncation"):
        built.sample(2, seed=0, source=torch.zeros(2, 1, 8, 8), truncation=0.5)
    with pytest.raises(UserError, match="no classes"):
        built.sample(2, seed=0, source=torch.zeros(2, 1, 8, 8), label=torch.zeros(2))


def test_objectives_of_a_perfect_and_a_blind_discriminator():
    right, blind = torch.full((2, 1, 3, 3), 30.0), torch.zeros(2, 1, 3, 3)
    assert OBJECTIVES["bce"].discriminator(right, -right) < 1e-9 and OBJECTIVES["hinge"].discriminator(right, -right) == 0
    assert OBJECTIVES["lsgan"].discriminator(torch.ones(3), torch.zeros(3)) == 0
    for objective in OBJECTIVES.values():  # moving the fakes' logits up is what the generator wants
        assert objective.generator(blind + 0.1) < objective.generator(blind)


def test_a_games_wishes_go_to_data_that_know_them():
    wishes = OneConvolution.data_options
    assert with_defaults("digits", wishes, {}) == {"input": "grey"}  # no crops of digits
    assert with_defaults("shapes", wishes, {"input": "edges", "length": 9}) == {"input": "edges", "length": 9}
    source = ArraySource("noise", DataSpec("image", (3, 4, 4)), np.zeros((2, 3, 4, 4), np.uint8))
    assert with_defaults(source, wishes, {}) == {}
    assert open_dataset("digits", **with_defaults("digits", wishes, {})).spec.source_shape == (1, 8, 8)
    unpaired = {"input": "auto", "paired": False}  # what a recipe or a half makes is a pair, even for a game that needs none
    assert with_defaults("shapes", unpaired, {"input": "grey"}) == {"input": "grey"}
    assert with_defaults("shapes", unpaired, {"input": "shapes"}) == {"input": "shapes", "paired": False}


def test_inputs_are_shown_in_colours_one_can_read():
    source = torch.tensor([[[[0, 2], [1, 1]], [[0, 0], [0, 1]]]], dtype=torch.uint8)
    shown = visible(source, MAP)[0]
    assert shown[:, 0, 0].tolist() == [1, -1, -1] and shown[:, 0, 1].tolist() == [-1, -1, 1] and shown[:, 1, 0].tolist() == [-1, 1, -1]
    assert shown[:, 1, 1].tolist() == [-1, -1, -1]  # an edge
    hole = torch.cat([torch.full((1, 3, 2, 2), 0.5), torch.tensor([[[[1.0, 0], [0, 0]]]])], 1)
    shown = visible(hole, DataSpec("image", (3, 2, 2), source_shape=(4, 2, 2), source_kind="hole"))[0]
    assert shown[:, 0, 0].tolist() == pytest.approx(MISSING) and shown[:, 1, 1].tolist() == [0.5] * 3


def test_a_sheet_holds_every_column_at_one_size():
    small, grey, colour = torch.full((2, 3, 2, 2), 1.0), torch.full((2, 1, 4, 4), -1.0), torch.full((2, 3, 4, 4), 1.0)
    sheet = contact_sheet([small, grey, colour])
    assert sheet.shape[0] == 3 and sheet.dtype == torch.uint8
    width = (sheet.shape[2] - 2) // 3
    middle = sheet[:, 2 + width // 2, :]
    assert [int(middle[0, 2 + width // 2 + k * width]) for k in range(3)] == [255, 0, 255]


def test_a_run_translates_and_shows_what_it_does(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 3, 8, 8), dtype=np.uint8)
    source = open_pairs(ArraySource("noise", DataSpec("image", (3, 8, 8)), pixels), input="grey")
    run = agon.train(OneConvolution, source, images=80, out=tmp_path / "run", precision="fp32", sample_every_images=80, ema_half_life_images=0)
    batch = source.read(np.arange(4))
    expected = torch.einsum("oi,nihw->nohw", run.game.generator.weight[:, :, 0, 0].detach(), batch.source).clamp(-1, 1)
    run.given = OneConvolution
    assert torch.allclose(run.translate(batch.source), expected, atol=1e-6)
    drawn = run.sample(5, seed=1)
    assert drawn.shape == (5, 3, 8, 8) and not torch.equal(drawn, run.sample(5, seed=2)) and torch.equal(drawn, run.sample(5, seed=1))
    sheet = translated(run.game, source)
    assert sheet.shape[0] == 3 and len(list((tmp_path / "run" / "samples").iterdir())) == 2


def test_parts_of_a_batch_travel_together():
    batch = Batch(torch.rand(4, 3, 2, 2), torch.arange(4), None, torch.rand(4, 1, 2, 2), torch.rand(4, 5))
    part = batch.slice(1, 3)
    assert torch.equal(part.source, batch.source[1:3]) and torch.equal(part.wanted, batch.wanted[1:3]) and part.condition is None
    both = Batch.join([batch.slice(0, 1), batch.slice(1, 4)])
    assert all(torch.equal(getattr(both, n), getattr(batch, n)) for n in ("real", "label", "source", "wanted"))
    assert batch.to("cpu", torch.channels_last).source.is_contiguous(memory_format=torch.channels_last)
