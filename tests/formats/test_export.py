"""agon export: what leaves a run draws exactly what the run draws, says where it comes from, and refuses what it cannot hold."""

import dataclasses
import io
import json
import re
import sys

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch.nn.utils import parametrize

import agon
from agon import catalog, cli
from agon.config import build, to_dict
from agon.data.source import DataSpec
from agon.errors import UserError
from agon.formats.export import export, load_exported, portable
from agon.formats.export.graph import compared, onnx_graph, torch_program
from agon.formats.export.sampler import Sampler, checked, difference
from agon.formats.export.weights import packed
from agon.game import Game
from agon.layers import spectral
from agon.media import grid
from agon.two_player.style import StyleGame

SHAPES = ["--data", "shapes", "--data.size", "8", "--data.length", "32", "--preset", "tiny", "--steps", "2"]
ABOUT = {"game": "any", "exported_by": "0", "versions": {}}
FAST = ("acgan",)
GAMES = [name for name in catalog.games() if not catalog.load(name).needs_input]
"""Games whose graphs are made in every run of the tests; those of the others are slow."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """name -> the run of a game on shapes, or on points where the name ends so; each trained for two steps once."""
    made, folder = {}, tmp_path_factory.mktemp("runs")

    def get(name):
        if name not in made:
            game, _, points = name.partition("-")
            words = ["--data", "toy:ring8", "--data.length", "64", *SHAPES[6:]] if points else SHAPES
            assert cli.main(["train", game, *words, "--out", str(folder / name)]) == 0
            made[name] = agon.load(folder / name, "cpu")
        return made[name]

    return get


def make(name, spec=None, **fields):
    """An untrained game in evaluation mode, every number of its state moved off where it begins (gains of 0, means of 0 ...)."""
    cls = catalog.load(name)
    game = cls(build(cls.Config, cls.presets["tiny"].fields, fields), spec or DataSpec("image", (3, 8, 8), 6)).eval()
    draws = torch.Generator().manual_seed(1)
    for key, value in game.state_dict().items():
        if value.is_floating_point() and not key.endswith("input.transform"):  # StyleGAN3's game sets it for each picture
            value.add_(0.1 * torch.rand(value.shape, generator=draws))
    return game


def wanted(game, n, seed, **controls):
    """(what the game draws, what to give an exported sampler for it)."""
    given = {"label": torch.arange(n) % 6} if game.takes_labels else {}
    return game.sample(n, seed=seed, **given, **controls), {"latent": game.draw_latent(n, torch.Generator().manual_seed(seed)), **given}


@pytest.mark.parametrize("name", GAMES)
def test_the_weights_of_every_game_draw_the_same_bits(tmp_path, name):
    game = make(name)
    sampler = checked(game)
    expected, given = wanted(game, 5, 3)
    if sampler.noisy:  # the game's own samples without the noise
        expected = game.render(given["latent"], None, None).clamp(-1, 1)
    about = ABOUT | {"game": name, "fields": to_dict(game.config), "spec": dataclasses.asdict(game.spec)}
    (tmp_path / "weights").write_bytes(packed(sampler, about))
    loaded = load_exported(tmp_path / "weights")
    with torch.no_grad():
        assert torch.equal(loaded(**given), expected)
    assert not [key for key in loaded.state_dict() if "parametrizations" in key]


@pytest.mark.parametrize("name", ["dcgan", "gan-points"])
def test_a_runs_file_draws_the_runs_samples(trained, tmp_path, name):
    run = trained(name)
    done = export(run, "safetensors", tmp_path / "weights")
    with torch.no_grad():
        loaded = load_exported(done.path)
        assert torch.equal(loaded(loaded.draw_latent(6, seed=3)), run.sample(6, seed=3))


@pytest.mark.parametrize("name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in [*GAMES, "gan-points"]])
def test_graphs_draw_what_the_run_draws(trained, tmp_path, name):
    """By batches of 5, a size at which nothing was traced or checked."""
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    run = trained(name)
    truncated = {"truncation": 0.3} if "truncation" in Sampler(run.game).inputs else {}
    expected, given = wanted(run.game, 5, 4, **truncated)
    if checked(run.game).noisy:
        expected = run.game.render(given["latent"], None, None).clamp(-1, 1).detach()
    given |= {key: torch.tensor(value) for key, value in truncated.items()}

    done = export(run, "onnx", tmp_path / "g.onnx")
    assert done.difference <= 1e-4 and done.inputs == tuple(given)
    session = onnxruntime.InferenceSession(tmp_path / "g.onnx")
    (samples,) = session.run(None, {key: value.numpy() for key, value in given.items()})
    assert difference(torch.from_numpy(samples), expected) < 1e-4
    model = onnx.load(tmp_path / "g.onnx")
    assert [i.name for i in model.graph.input] == list(given) and [o.name for o in model.graph.output] == ["samples"]
    assert {i.type.tensor_type.shape.dim[0].dim_param for i in (*model.graph.input, *model.graph.output) if i.name != "truncation"} == {"batch"}
    props = {prop.key: prop.value for prop in model.metadata_props}
    assert props["game"] == run.config["game"] and props["agon"] == agon.__version__
    if "label" in given:
        with pytest.raises(Exception, match="out of|bounds"):
            session.run(None, {"latent": given["latent"].numpy(), **{k: v.numpy() for k, v in given.items() if k == "truncation"}, "label": np.full(5, 6)})

    assert export(run, "torch", tmp_path / "g.pt2").difference <= 1e-6
    program = torch.export.load(tmp_path / "g.pt2").module()
    assert difference(program(given.pop("latent"), **given), expected) < 5e-6


@pytest.mark.parametrize("name", [name for name in GAMES if issubclass(catalog.load(name), StyleGame)])
def test_truncation_is_that_of_the_game(name):
    game = make(name)
    expected, given = wanted(game, 4, 1, truncation=0.4)
    with torch.no_grad():
        assert difference(Sampler(game)(**given, truncation=0.4), expected) < 1e-5
        assert difference(Sampler(game)(**given), expected) > 1e-3  # the test sees it


def test_spectral_norm_is_divided_out_of_the_copy_alone():
    game = make("sngan", spectral_norm="both", generator_norm="none")
    for _ in range(50):
        spectral.iterate(game.generator)
    before = [name for name, module in game.generator.named_modules() if parametrize.is_parametrized(module)]
    sampler = Sampler(game)
    assert before and not [m for m in sampler.modules() if parametrize.is_parametrized(m)]
    weight = dict(game.generator.named_modules())[before[0]].weight
    left = dict(sampler.generator.named_modules())[before[0]].weight
    assert torch.equal(left, weight) and parametrize.is_parametrized(dict(game.generator.named_modules())[before[0]])
    original = dict(game.generator.named_modules())[before[0]].parametrizations.weight
    sigma = torch.linalg.matrix_norm(original.original.movedim(original[0].dim, 0).flatten(1), 2)  # by a decomposition, where the game iterates
    assert torch.allclose(left, original.original / sigma, rtol=0.01)


def test_condition_vectors_are_an_input():
    game = make("sngan", DataSpec("image", (1, 8, 8), condition_dim=3))
    sampler, condition = checked(game), torch.randn(4, 3)
    assert sampler.inputs == ("latent", "condition")
    with torch.no_grad():
        assert torch.equal(sampler(sampler.draw_latent(4, 9), condition=condition), game.sample(4, seed=9, condition=condition))
    for wrong in ({}, {"label": torch.zeros(4).long()}, {"condition": condition, "label": torch.zeros(4).long()}):
        with pytest.raises(UserError, match="latent, condition"):
            sampler(sampler.draw_latent(4), **wrong)


def test_a_graph_that_differs_is_not_written(trained):
    sampler = Sampler(trained("acgan").game)

    def off(by):
        return lambda given: sampler(**given) * (1 + by)

    assert 4e-5 < compared(sampler, off(5e-5), "onnx") < 6e-5
    with pytest.raises(UserError, match="differs from the run by 0.0002 .*Nothing was written"):
        compared(sampler, off(2e-4), "onnx")
    with pytest.raises(UserError, match="differs from the run by inf"):
        compared(sampler, off(float("nan")), "onnx")
    with pytest.raises(UserError, match="batch 3"):  # a constant batch
        compared(sampler, lambda given: sampler(**given)[:1], "onnx")


def test_half_precision_is_half_the_file_and_refuses_what_overflows(trained, tmp_path):
    run = trained("dcgan")
    whole, half = (export(run, "safetensors", tmp_path / kind, precision=kind).path for kind in ("fp32", "fp16"))
    expected, given = wanted(run.game, 4, 0)
    with torch.no_grad():
        made = load_exported(half)(**given)
    assert 0 < difference(made, expected) < 0.02 and made.dtype == torch.float32
    weights = [sum(t.numel() * t.element_size() for t in load(path).values() if t.is_floating_point()) for path in (whole, half)]
    assert weights[0] == 2 * weights[1]
    sampler = Sampler(run.game)
    next(sampler.parameters()).data.fill_(1e6)
    with pytest.raises(UserError, match="fp16 cannot"):
        packed(sampler, ABOUT, "fp16")


def load(path):
    from safetensors.torch import load_file

    return load_file(path)


def test_every_damaged_byte_is_found(trained, tmp_path):
    path = export(trained("gan-points"), "safetensors", tmp_path / "weights").path
    content = path.read_bytes()
    for place in [*np.random.default_rng(0).integers(0, len(content), 40), content.index(b'"pt"') + 1]:
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(UserError, match="damaged|cannot be read|not written by Agon"):
            load_exported(path)
    path.write_bytes(content[:-7])
    with pytest.raises(UserError, match="cannot be read"):
        load_exported(path)


def test_a_file_that_only_training_needs_is_not_asked_for(tmp_path):
    """A projected discriminator's frozen network stays behind, wherever it lies."""
    network = tmp_path / "features.pt"
    network.write_bytes(b"")
    fields = {"features": str(network), "width": 3, "optimizer": {"name": "adam", "other": "../features.pt"}, "kinds": ["a"]}
    assert portable(fields) == {"width": 3, "optimizer": {"name": "adam"}, "kinds": ["a"]}


# --- the folder for the Hub -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hub(trained, tmp_path_factory):
    run = trained("acgan")
    assert cli.main(["evaluate", str(run.folder), "--metrics", "pixel_sliced_wasserstein", "-n", "40"]) == 0
    folder = tmp_path_factory.mktemp("hub") / "model"
    export(run, "hub", folder)
    return folder, run


def test_the_card_has_the_facts_of_the_run(hub):
    folder, run = hub
    assert {path.name for path in folder.iterdir()} == {"README.md", "config.json", "metrics.json", "model.safetensors", "samples.png"}
    _, head, text = (folder / "README.md").read_text().split("---\n", 2)
    head = yaml.safe_load(head)
    assert head["license"] == "other" and head["pipeline_tag"] == "unconditional-image-generation" and {"acgan", "class-conditional"} <= set(head["tags"])
    (result,) = json.loads((run.folder / "metrics.json").read_text())["results"]
    facts = [
        "Auxiliary Classifier GANs (Odena et al., 2017)", "https://arxiv.org/abs/1610.09585", "shapes, 32 samples", "16 images seen, in batches of 8",
        "2 triangle", "agon train acgan --data shapes --data.size 8", f"| pixel_sliced_wasserstein | {result['value']:.4g} ± ",
        "| 32 / 40 | 16 |", "area average to at most 16 pixels", "licence of these weights follows that of the data",
    ]  # fmt: skip
    for fact in facts:
        assert fact in text, fact
    assert json.loads((folder / "config.json").read_text())["fields"]["latent_dim"] == 8


def test_nothing_tells_of_the_machine(hub):
    folder, run = hub
    assert str(run.folder) in " ".join(run.config["command"].split())  # there is something to hide
    for path in folder.iterdir():
        assert str(run.folder.parent).encode() not in path.read_bytes(), path.name


def test_the_grid_is_drawn_from_seed_0_with_a_row_for_each_class(hub):
    folder, run = hub
    expected = grid(run.sample(60, seed=0, label=torch.arange(6).repeat_interleave(10)), columns=10)
    found = np.asarray(Image.open(folder / "samples.png")).transpose(2, 0, 1).astype(int)
    assert np.abs(found - expected.numpy()).max() <= 1  # parts of another size round otherwise


def test_the_cards_code_runs(hub, tmp_path, monkeypatch):
    folder, run = hub
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    code = code.replace("from huggingface_hub import snapshot_download\n", "").replace('snapshot_download("USER/NAME")', repr(str(folder)))
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    assert torch.equal(names["samples"], run.sample(16, seed=1, label=1)) and (tmp_path / "drawn.png").exists()


def test_points_have_a_card_and_code_of_their_own(trained, tmp_path, monkeypatch):
    folder = export(trained("gan-points"), "hub", tmp_path / "model").path
    text = (folder / "README.md").read_text()
    assert "pipeline_tag" not in text and "None: `agon evaluate` was not run" in text and (folder / "samples.png").exists()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    monkeypatch.chdir(tmp_path)
    exec(code.replace("from huggingface_hub import snapshot_download\n", "").replace('snapshot_download("USER/NAME")', repr(str(folder))), {})
    assert len((tmp_path / "drawn.csv").read_text().splitlines()) == 17


# --- the command ----------------------------------------------------------------------------------------------------------------------


def refused(capsys, *argv):
    capsys.readouterr()
    assert cli.main(["export", *map(str, argv)]) == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith("agon: ") and err.count("\n") == 1, (out, err)
    return err


def test_the_command_writes_where_it_is_told_and_says_so(trained, tmp_path, capsys):
    folder = trained("gan-points").folder
    capsys.readouterr()
    assert cli.main(["export", str(folder), "--to", "torch", "--out", str(tmp_path / "deep" / "g.pt2")]) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'deep' / 'g.pt2'}\n" and "relative difference 0.0e+00" in err and "Inputs: latent." in err
    assert cli.main(["export", str(folder), "--to", "hub", "--out", str(tmp_path / "hub")]) == 0
    assert f"hf upload USER/NAME {tmp_path / 'hub'}" in capsys.readouterr().err


def test_wrong_usage_is_refused_before_anything_is_written(trained, tmp_path, capsys, monkeypatch):
    folder = trained("gan-points").folder
    taken, full = tmp_path / "taken", tmp_path / "full"
    taken.write_text("mine")
    full.mkdir()
    (full / "README.md").write_text("mine")
    assert "Did you mean 'safetensors'?" in refused(capsys, folder, "--to", "safetensor", "--out", tmp_path / "x")
    assert "--overwrite" in refused(capsys, folder, "--to", "torch", "--out", taken)
    assert "--overwrite" in refused(capsys, folder, "--to", "hub", "--out", full)
    assert "is a file" in refused(capsys, folder, "--to", "hub", "--out", taken)
    assert "is a folder" in refused(capsys, folder, "--to", "torch", "--out", full)
    assert "Leave --precision out" in refused(capsys, folder, "--to", "torch", "--out", tmp_path / "x", "--precision", "fp16")
    assert "Expected one of: fp32" in refused(capsys, folder, "--to", "hub", "--out", tmp_path / "x", "--precision", "fp8")
    assert "no run folder" in refused(capsys, tmp_path, "--to", "hub", "--out", tmp_path / "x")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as if it were not installed
    assert "onnx" in refused(capsys, folder, "--to", "onnx", "--out", tmp_path / "x") and not (tmp_path / "x").exists()
    assert taken.read_text() == (full / "README.md").read_text() == "mine"

    assert cli.main(["export", str(folder), "--to", "safetensors", "--out", str(taken), "--overwrite"]) == 0
    (full / "other").write_text("mine too")
    assert cli.main(["export", str(folder), "--to", "hub", "--out", str(full), "--overwrite"]) == 0
    assert load_exported(taken) and load_exported(full) and (full / "other").read_text() == "mine too"


def test_a_run_without_a_checkpoint_is_refused(trained, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_bytes((trained("gan-points").folder / "config.json").read_bytes())
    assert "no whole checkpoint" in refused(capsys, tmp_path / "run", "--to", "hub", "--out", tmp_path / "x")


def test_games_that_are_more_than_their_generator_are_refused():
    with pytest.raises(UserError, match="depends on the others"):
        checked(make("dcgan", sampling_statistics="batch"))
    game = make("gan")
    for render in (
        lambda latent, condition, draws: game.generator(latent + draws.normal(*latent.shape), condition),  # cannot do without draws
        lambda latent, condition, draws: game.generator(latent + 0.1, condition),
        lambda latent, condition, draws: game.generator(latent, condition) + (0.1 if draws is None else draws.normal(1, 3, 1, 1)),
    ):
        game.render = render
        with pytest.raises(UserError, match="makes other samples"):
            checked(game)
    game = make("gan")
    next(game.generator.parameters()).data.fill_(float("nan"))
    with pytest.raises(UserError, match="not finite"):
        checked(game)
    with pytest.raises(UserError, match="no single generator"):
        checked(Game.__new__(type("Pair", (Game,), {"players": None, "stages": None, "sample": None})))


def test_a_mixture_of_latents_and_a_data_dependent_network():
    game = make("gan", latent_components=5)
    sampler = checked(game)
    content, found = torch_program(sampler, ABOUT)
    assert found < 1e-6 and torch.export.load(io.BytesIO(content))
    game = make("gan")
    inner = game.generator.forward
    game.generator.forward = lambda latent, condition=None: inner(latent, condition) if latent.sum() > 0 else inner(-latent, condition)
    with pytest.raises(UserError, match="cannot be traced for onnx"):
        onnx_graph(Sampler(game), ABOUT)
