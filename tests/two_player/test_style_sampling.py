"""Oracles: identities of truncation, mixing and noise, and the styles themselves."""

import pytest
import torch

from agon import catalog
from agon.cli import main
from agon.config import build
from agon.data.source import DataSpec
from agon.errors import UserError
from agon.run import CHUNK, draw, load, train
from agon.two_player.style import layer_numbers


@pytest.fixture(scope="module")
def game():
    cls = catalog.load("stylegan2")
    torch.manual_seed(0)
    built = cls(build(cls.Config, cls.presets["tiny"].fields), DataSpec("image", (3, 8, 8), 4)).eval()
    with torch.no_grad():
        built.generator.mapping.w_avg.value.normal_()
        for name, parameter in built.generator.named_parameters():
            if name.endswith("noise_strength"):
                parameter.fill_(0.5)
    return built


LABEL = torch.tensor([1, 2, 0])


def test_truncation_is_a_line_from_the_mean_style(game):
    whole, half, none = (game.styles(3, seed=1, label=LABEL, truncation=t) for t in (1.0, 0.5, 0.0))
    mean = game.generator.mapping.w_avg.value
    torch.testing.assert_close(none, mean.expand_as(none))
    torch.testing.assert_close(half, (whole + mean) / 2)
    some = game.styles(3, seed=1, label=LABEL, truncation=0.0, truncation_layers=2)
    assert torch.equal(some[:, 2:], whole[:, 2:]) and torch.equal(some[:, :2], none[:, :2])


def test_styles_draw_what_the_seed_draws(game):
    for given in ({}, {"truncation": 0.3}):
        styles = game.styles(3, seed=1, label=LABEL, **given)
        assert torch.equal(game.sample(3, seed=9, label=LABEL, w=styles), game.sample(3, seed=1, label=LABEL, **given))
    latent = game.draw_latent(3, torch.Generator().manual_seed(1))
    torch.testing.assert_close(game.from_w(game.mapping(latent, LABEL), LABEL).clamp(-1, 1), game.sample(3, seed=1, label=LABEL))


def test_noise_modes(game):
    def drawn(noise, seed):
        return game.sample(3, seed=seed, label=LABEL, noise=noise, w=game.styles(3, seed=1, label=LABEL))

    assert torch.equal(drawn("const", 0), drawn("const", 5)) and torch.equal(drawn("none", 0), drawn("none", 5))
    assert not torch.equal(drawn("random", 0), drawn("random", 5)) and torch.equal(drawn("random", 5), drawn("random", 5))
    assert not torch.equal(drawn("const", 0), drawn("none", 0))


def test_mixing_takes_the_named_layers_from_the_other_seed(game):
    one, other = (game.styles(3, seed=s, label=LABEL) for s in (1, 7))
    mixed = game.sample(3, seed=1, label=LABEL, mix_seed=7, mix_layers="1,2")
    expected = one.clone()
    expected[:, 1:3] = other[:, 1:3]
    torch.testing.assert_close(mixed, game.sample(3, seed=0, label=LABEL, w=expected))


def test_layer_numbers():
    assert layer_numbers("0-1,3", 5).tolist() == [True, True, False, True, False]
    assert layer_numbers("3-", 5).tolist() == [False] * 3 + [True] * 2
    for text in ("", "x", "5", "-2", "1-a"):
        with pytest.raises(UserError, match="names no layers"):
            layer_numbers(text, 5)


def test_what_a_game_cannot_do_is_refused_by_name(game):
    with pytest.raises(UserError, match="noise mode 'loud'"):
        game.sample(1, seed=0, noise="loud")
    for given in ({"truncation_layers": 2}, {"mix_layers": "1-"}, {"w": torch.zeros(1, 8), "truncation": 0.5}):
        with pytest.raises(UserError):
            game.sample(1, seed=0, **given)
    with pytest.raises(UserError, match="w has shape"):
        game.sample(1, seed=0, w=torch.zeros(1, 3))
    cls = catalog.load("dcgan")
    plain = cls(build(cls.Config, cls.presets["tiny"].fields), DataSpec("image", (1, 8, 8)))
    with pytest.raises(UserError, match="cannot be asked for truncation"):
        plain.sample(1, seed=0, truncation=0.5)


def test_every_part_of_many_samples_is_mixed_with_that_part_of_the_other_seed(game):
    n, label = CHUNK + 2, torch.arange(CHUNK + 2) % 4
    mixed = draw(game, n, seed=1, label=label, mix_seed=7, mix_layers="0-")
    assert torch.equal(mixed, draw(game, n, seed=7, label=label))


def test_styles_come_from_one_normal_latent():
    for name in ("stylegan", "stylegan2", "stylegan3"):
        cls = catalog.load(name)
        with pytest.raises(UserError, match="latent_components"):
            cls(build(cls.Config, cls.presets["tiny"].fields, {"latent_components": 3}), DataSpec("image", (1, 8, 8)))


def test_the_command_line_saves_and_draws_styles(tmp_path, capsys):
    run = train("stylegan2", "digits", preset="tiny", out=tmp_path / "run", steps=1)
    w, out = tmp_path / "w.npy", tmp_path / "a.npz"
    assert main(["sample", str(run.folder), "-n", "3", "--save-w", str(w), "--out", str(out), "--truncation", "0.5"]) == 0
    assert main(["sample", str(run.folder), "--w", str(w), "--out", str(tmp_path / "b.npz"), "--seed", "4"]) == 0
    import numpy as np

    first, second = (np.load(tmp_path / name) for name in ("a.npz", "b.npz"))
    assert all(np.allclose(first[key], second[key], atol=1e-6) for key in first.files)
    assert load(run.folder).styles(3, truncation=0.5).shape == np.load(w).shape
    assert main(["sample", str(run.folder), "--save-w", str(w)]) == 2 and "--overwrite" in capsys.readouterr().err
    assert main(["sample", str(run.folder), "--rotation", "0.1"]) == 2 and "cannot be asked for rotation" in capsys.readouterr().err
    w.write_bytes(b"nothing")
    assert main(["sample", str(run.folder), "--w", str(w)]) == 2 and "holds no styles" in capsys.readouterr().err
