"""Oracle: the weights themselves, by name."""

import pytest
import torch

from agon import catalog
from agon.config import build
from agon.data.source import DataSpec
from agon.errors import UserError
from agon.run import load, train
from agon.transfer import adapt, transfer


def stylegan2(shape, seed, **fields):
    cls = catalog.load("stylegan2")
    torch.manual_seed(seed)
    return cls(build(cls.Config, cls.presets["tiny"].fields, {"channel_base": 32, **fields}), DataSpec("image", shape))


def test_a_larger_size_takes_every_block_it_shares_and_says_what_it_did_with_the_rest():
    small, large = stylegan2((3, 8, 8), 0), stylegan2((3, 16, 16), 1)
    fresh = {name: value.clone() for name, value in large.state_dict().items()}
    done = transfer(large, small.state_dict())
    state, given = large.state_dict(), small.state_dict()
    assert {*done.loaded, *done.adapted, *done.skipped} == set(state) and not {*done.loaded} & {*done.skipped}
    assert all(torch.equal(state[name], given[name]) for name in done.loaded)
    assert all(torch.equal(state[name], fresh[name]) for name in done.skipped)
    assert "generator.synthesis.b8.conv1.weight" in done.loaded and all(".b16." in name for name in done.skipped)
    assert done.unused == sorted(set(given) - set(state))


def test_other_numbers_of_channels_and_grey_are_adapted():
    wide, grey = stylegan2((1, 8, 8), 0, channel_max=8, channel_base=64), stylegan2((3, 8, 8), 1, channel_max=4, channel_base=64)
    done = transfer(grey, wide.state_dict())
    name = "generator.synthesis.b4.conv1.weight"
    assert name in done.adapted and torch.equal(grey.state_dict()[name], wide.state_dict()[name][:4, :4])
    colours = grey.state_dict()["generator.synthesis.b8.torgb.weight"]
    assert torch.equal(colours[0], colours[1]) and torch.equal(colours[1], colours[2])


def test_a_discriminator_of_grey_sees_grey_pictures_in_colour_as_before():
    grey, colour = torch.randn(5, 1, 1, 1), torch.zeros(5, 3, 1, 1)
    adapt(colour, grey)
    picture = torch.randn(2, 1, 4, 4)
    torch.testing.assert_close(torch.conv2d(picture.expand(-1, 3, -1, -1), colour), torch.conv2d(picture, grey))
    back = torch.zeros(5, 1, 1, 1)
    adapt(back, colour)
    torch.testing.assert_close(back, grey)


def test_weights_of_other_networks_are_refused():
    with pytest.raises(UserError, match="None of the weights fit"):
        transfer(stylegan2((3, 8, 8), 0), {"generator.project.weight": torch.ones(2, 2)})


def test_frozen_resolutions_belong_to_no_player_and_not_all_can_be():
    game = stylegan2((3, 16, 16), 0, base_size=4, freeze_discriminator=1)
    moving = {id(p) for p in game.players()["discriminator"].parameters()}
    for name, parameter in game.discriminator.named_parameters():
        assert (id(parameter) in moving) == (not name.startswith("b16.")), name
    with pytest.raises(UserError, match="freeze_discriminator"):
        stylegan2((3, 16, 16), 0, base_size=4, freeze_discriminator=3).players()


def test_a_run_starts_from_another_and_keeps_the_list(tmp_path):
    first = train("stylegan2", "digits", preset="tiny", out=tmp_path / "a", steps=2, conditional=False)
    still = {"optimizer.lr": 1e-12}
    second = train("stylegan2", "digits", preset="tiny", out=tmp_path / "b", steps=1, conditional=False, start=tmp_path / "a", seed=5, **still)
    assert (tmp_path / "b" / "transfer.json").is_file() and second.config["start"] == str(tmp_path / "a")
    torch.testing.assert_close(second.sample(3, seed=0), load(first.folder).sample(3, seed=0), atol=1e-4, rtol=1e-4)
    with pytest.raises(UserError, match="no whole checkpoint to start from"):
        train("stylegan2", "digits", preset="tiny", out=tmp_path / "c", steps=1, start=tmp_path / "nowhere")
