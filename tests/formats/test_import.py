"""Other projects' checkpoints as runs: what was drawn into a file arrives under its name, the configuration is the file's, and the run works.

The files are written in formats/foreign_files.py from the projects' own names and shapes. Where a number is changed on the way, the function must stay: held
to a formula written here.
"""

import json
import math
import pickle

import foreign_files as files
import numpy as np
import pytest
import torch

from agon import catalog, cli
from agon.config import build
from agon.data.source import DataSpec
from agon.errors import UserError
from agon.formats.imported import import_file
from agon.formats.persistent import Names
from agon.formats.torch_state import read_tree
from agon.run import load
from agon.train import checkpoint


def weights(run):
    return checkpoint.load(run / "checkpoints" / "000000000000")[0]


def arrived(found, prefix, expected):
    """Every tensor under its name, equal, and none is left over."""
    given = {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}
    assert given.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(given[name], value.detach(), rtol=1e-6, atol=0, msg=name)


def official(state):
    """The authors' names but for the running mean; filters are no part of Agon's state."""
    kept = {name: value for name, value in state.items() if not name.endswith("resample_filter")}
    return {name.replace("w_avg", "w_avg.value"): value for name, value in kept.items()}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_nvidias_pickle(tmp_path, protocol):
    states = files.nvidia(tmp_path / "network.pkl", clamp=256, protocol=protocol, source="raise SystemExit")
    made = import_file(tmp_path / "network.pkl", tmp_path / "run")
    found, fields = weights(tmp_path / "run"), json.loads((tmp_path / "run" / "config.json").read_text())["fields"]
    arrived(found["game"], "generator.", official(states["G"]))
    arrived(found["ema"], "generator.", official(states["G_ema"]))
    arrived(found["game"], "discriminator.", official(states["D"]))
    expected = {
        "latent_dim": 6, "w_dim": 5, "mapping_layers": 2, "mapping_lr": 0.01, "w_decay": 0.998, "channel_base": 96, "channel_max": 8, "clamp": 256.0,
        "generator_architecture": "skip", "discriminator_architecture": "resnet", "minibatch_std": 4, "minibatch_std_channels": 1, "noise": True,
    }  # fmt: skip
    assert {name: fields[name] for name in expected} == expected
    assert (made.game, made.shape, made.num_classes, made.notes) == ("stylegan2", (3, 16, 16), 0, [])


def test_classes_and_another_learning_rate_of_the_discriminators_mapping(tmp_path):
    """Its factor goes into weights and biases: lr w and lr b are what the layer uses."""
    states = files.nvidia(tmp_path / "network.pkl", classes=3, protocol=4)
    made = import_file(tmp_path / "network.pkl", tmp_path / "run", class_names=("cat", "dog", "fox"))
    found = weights(tmp_path / "run")["game"]
    twice = {name: value * (2 if name.startswith("mapping.fc") else 1) for name, value in official(states["D"]).items()}
    arrived(found, "discriminator.", twice)
    assert made.num_classes == 3
    run = load(tmp_path / "run", "cpu")
    assert torch.equal(run.sample(2, label="dog"), run.sample(2, label=1)) and not torch.equal(run.sample(2, label=0), run.sample(2, label=1))
    w = run.game.generator.mapping(torch.ones(1, 6), torch.eye(3)[:1])[0, 0]
    state = states["G_ema"]
    embedded = state["mapping.embed.weight"][:, 0] / math.sqrt(3) + state["mapping.embed.bias"]
    x = torch.cat([torch.ones(6), embedded / embedded.square().mean().sqrt()])
    for i in range(2):
        weight, bias = (state[f"mapping.fc{i}.{kind}"] * 0.01 for kind in ("weight", "bias"))
        x = weight @ x / math.sqrt(len(x)) + bias
        x = torch.where(x < 0, 0.2 * x, x) * math.sqrt(2)
    torch.testing.assert_close(w, x, rtol=1e-4, atol=1e-6)


def test_the_run_samples_and_says_that_it_has_no_data(tmp_path, capsys):
    files.nvidia(tmp_path / "network.pkl")
    assert cli.main(["import", str(tmp_path / "network.pkl"), "--out", str(tmp_path / "run"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["game"] == "stylegan2" and said["shape"] == [3, 16, 16] and "NVIDIA" in said["origin"]
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert len(config["imported"]["sha256"]) == 64
    assert config["data"]["name"] == "imported" and not config["data"]["path"] and config["data"]["fingerprint"] == ""
    assert cli.main(["sample", str(tmp_path / "run"), "-n", "2", "--device", "cpu", "--out", str(tmp_path / "s.npz")]) == 0
    assert cli.main(["import", str(tmp_path / "network.pkl"), "--out", str(tmp_path / "run")]) == 2
    assert "there already" in capsys.readouterr().err
    with pytest.raises(UserError, match="imported"):
        load(tmp_path / "run", "cpu").evaluate(["fid_digits"])


def test_tensorflows_stylegan2(tmp_path):
    """Kernels (k, k, in, out); turned round where it doubles; styles count from 1 here."""
    theirs = files.tensorflow(tmp_path / "stylegan2.pkl", source="raise SystemExit")
    import_file(tmp_path / "stylegan2.pkl", tmp_path / "run")
    found = weights(tmp_path / "run")["ema"]
    up, plain = theirs["8x8/Conv0_up/weight"], theirs["8x8/Conv1/weight"]
    assert np.array_equal(found["generator.synthesis.b8.conv0.weight"].numpy(), up[::-1, ::-1].transpose(3, 2, 0, 1))
    assert np.array_equal(found["generator.synthesis.b8.conv1.weight"].numpy(), plain.transpose(3, 2, 0, 1))
    assert np.array_equal(found["generator.synthesis.b8.conv1.affine.weight"].numpy(), theirs["8x8/Conv1/mod_weight"].T)
    assert np.allclose(found["generator.synthesis.b8.conv1.affine.bias"].numpy(), theirs["8x8/Conv1/mod_bias"] + 1)
    assert np.array_equal(found["generator.synthesis.b8.conv0.noise_const"].numpy(), theirs["noise1"][0, 0])
    assert load(tmp_path / "run", "cpu").sample(1).shape == (1, 3, 8, 8)


@pytest.mark.parametrize("classes", [0, 3])
def test_r3gan(tmp_path, classes):
    states = files.r3gan(tmp_path / "network.pkl", classes=classes)
    made = import_file(tmp_path / "network.pkl", tmp_path / "run")
    found = weights(tmp_path / "run")["game"]
    theirs = {name.removeprefix("Model."): value for name, value in states["G_ema"].items()}
    assert torch.equal(found["generator.basis"], theirs["MainLayers.0.Layers.0.Basis"])
    assert torch.equal(found["generator.layers.3.conv.weight"], theirs["MainLayers.2.Layers.0.LinearLayer.Layer.weight"])
    assert torch.equal(found["generator.layers.4.act2.bias"], theirs["MainLayers.2.Layers.1.NonLinearity2.Bias"])
    assert torch.equal(found["discriminator.backbone.layers.1.conv.weight"], states["D"]["Model.MainLayers.0.Layers.1.LinearLayer.Layer.weight"])
    assert made.shape == (3, 16, 16) and made.num_classes == classes and load(tmp_path / "run", "cpu").sample(2).shape == (2, 3, 16, 16)


@pytest.mark.parametrize("average", [True, False])
def test_rosinality(tmp_path, average):
    theirs = files.rosinality(tmp_path / "550000.pt", average=average)
    made = import_file(tmp_path / "550000.pt", tmp_path / "run")
    found = {name.removeprefix("generator."): value for name, value in weights(tmp_path / "run")["ema"].items()}
    for ours, name in (("b4.conv1", "conv1"), ("b8.conv0", "convs.0"), ("b8.conv1", "convs.1")):
        assert torch.equal(found[f"synthesis.{ours}.weight"], theirs[f"{name}.conv.weight"][0])
        assert torch.equal(found[f"synthesis.{ours}.bias"], theirs[f"{name}.activate.bias"])
        assert torch.equal(found[f"synthesis.{ours}.affine.bias"], theirs[f"{name}.conv.modulation.bias"])
    assert torch.equal(found["synthesis.b8.conv1.noise_const"], theirs["noises.noise_2"][0, 0])
    assert torch.equal(found["synthesis.b8.torgb.bias"], theirs["to_rgbs.0.bias"].flatten())
    assert torch.equal(found["mapping.fc2.weight"], theirs["style.3.weight"])
    assert any("begins anew" in note for note in made.notes)
    if not average:  # the mean of w over another sample is near
        mapping = load(tmp_path / "run", "cpu").game.generator.mapping
        w = mapping(torch.randn(20_000, 5, generator=torch.Generator().manual_seed(9)))[:, 0]
        assert (found["mapping.w_avg.value"] - w.mean(0)).abs().max() < 0.05 * w.std(0).max()


def test_a_state_dict_and_a_folder_of_them(tmp_path):
    """StudioGAN's files, one for each network."""
    widths, folder = {4: 8, 8: 8, 16: 6}, tmp_path / "checkpoints"
    folder.mkdir()
    state, averaged = (files.stylegan2_generator(16, 6, 5, 2, widths) for _ in range(2))
    judge = files.stylegan2_discriminator(16, widths)
    for name, each in (("model=G-best-weights-step=1", state), ("model=G_ema-best-weights-step=1", averaged), ("model=D-best-weights-step=1", judge)):
        torch.save({"state_dict": each, "step": 1, "seed": 0}, folder / f"{name}.pth")
    import_file(folder, tmp_path / "run")
    found = weights(tmp_path / "run")
    arrived(found["game"], "generator.", official(state))
    arrived(found["ema"], "generator.", official(averaged))
    arrived(found["game"], "discriminator.", official(judge))


def test_lucidrains_is_refused_with_the_reason(tmp_path):
    state = {"GE.initial_conv.weight": torch.ones(2), "GE.blocks.0.to_noise1.weight": torch.ones(2)}
    torch.save({"GAN": state, "version": "1.9.0"}, tmp_path / "model_1.pt")
    with pytest.raises(UserError, match="lucidrains.*cannot be imported exactly.*bilinear"):
        import_file(tmp_path / "model_1.pt", tmp_path / "run")


@pytest.mark.parametrize(("change", "said"), [
    (lambda states: states["G"].pop("synthesis.b8.conv0.bias"), r"synthesis\.b8\.conv0\.bias is missing"),
    (lambda states: states["G_ema"].update({"synthesis.b8.extra": torch.ones(2)}), r"synthesis\.b8\.extra is too many"),
    (lambda states: states["D"].update({"b4.fc.weight": torch.ones(8, 8)}), r"b4\.fc\.weight has \(8, 8\), not \(8, 128\)"),
    (lambda states: states["G"].update({"synthesis.b8.conv1.weight": torch.full((8, 8, 3, 3), math.nan)}), r"not finite.*synthesis\.b8\.conv1\.weight"),
    (lambda states: states["G_ema"].update({"synthesis.b8.resample_filter": torch.ones(4, 4) / 16}), r"resampling filter is not \[1, 3, 3, 1\]"),
])
def test_what_does_not_fit_is_named_and_nothing_is_written(tmp_path, change, said):
    files.nvidia(tmp_path / "network.pkl", change=change)
    with pytest.raises(UserError, match=said):
        import_file(tmp_path / "network.pkl", tmp_path / "run")
    assert [each.name for each in tmp_path.iterdir()] == ["network.pkl"]


DEEP = ()
for _ in range(60):
    DEEP = (DEEP, DEEP)  # to print or compare it would take for ever


@pytest.mark.parametrize(("module", "attribute", "value"), [
    ("mapping", "num_layers", 10**9), ("", "z_dim", 10**12), ("", "z_dim", -1), ("", "img_resolution", 1 << 30), ("", "img_resolution", 17),
    ("", "c_dim", 10**7),
    ("", "w_dim", 1 << 20), ("", "w_dim", "5"), ("", "img_channels", 10**6), ("synthesis.b16", "architecture", "a" * 10**6),
    ("synthesis.b16", "architecture", DEEP),
    ("mapping.fc0", "bias_gain", DEEP), ("mapping", "num_layers", 2.5), ("mapping.fc0", "activation", "relu"), ("mapping.fc0", "bias_gain", math.nan),
])
def test_a_claim_is_held_against_the_tensors(tmp_path, module, attribute, value):
    """Attributes that would build networks of any size, or of another kind."""
    files.nvidia(tmp_path / "network.pkl", lie=(module, {attribute: value}))
    with pytest.raises(UserError) as refusal:
        import_file(tmp_path / "network.pkl", tmp_path / "run")
    assert len(str(refusal.value)) < 2000 and [each.name for each in tmp_path.iterdir()] == ["network.pkl"]


def test_an_unknown_file_is_said_to_be_unknown(tmp_path):
    torch.save({"w": torch.ones(2)}, tmp_path / "x.pt")
    with pytest.raises(UserError, match=r"no layout that is known \(it holds w\).*NVIDIA"):
        import_file(tmp_path / "x.pt", tmp_path / "run")
    for missing in (tmp_path / "nothing.pkl", tmp_path):
        with pytest.raises(UserError):
            import_file(missing / "y", tmp_path / "run")


def test_the_tree_is_the_file(tmp_path):
    """Everything a checkpoint may hold, against Python's own reader."""
    shared = torch.arange(6.0)
    tree = {
        "tensor": shared.view(2, 3).T, "twice": [shared, shared[2:4]], "numbers": (1, 2.5, True, None, 1 << 70, -3), "text": "ü", "bytes": b"\0\1",
        "set": {1, 2},
        "array": np.arange(6, dtype=">i4").reshape(2, 3), "column": np.asfortranarray(np.eye(3, dtype=np.float32)), "scalar": np.float64(0.25),
        "flag": np.bool_(True),
        "dtype": torch.bfloat16, "parameter": torch.nn.Parameter(torch.ones(2)), "half": torch.ones(2, dtype=torch.float16), "empty": torch.empty(0, 3),
    }  # fmt: skip
    for protocol in (2, 3, 4, 5):
        (tmp_path / "x.pkl").write_bytes(pickle.dumps(tree, protocol))
        found = read_tree(tmp_path / "x.pkl", Names())
        for name in ("tensor", "parameter", "half", "empty"):
            assert torch.equal(found[name], tree[name].detach()) and found[name].dtype == tree[name].dtype
        assert torch.equal(found["twice"][0], shared) and torch.equal(found["twice"][1], shared[2:4])
        assert all(found[name] == tree[name] for name in ("numbers", "text", "bytes", "set", "scalar", "flag", "dtype"))
        assert np.array_equal(found["array"].tensor.numpy(), tree["array"]) and np.array_equal(found["column"].tensor.numpy(), tree["column"])


def test_a_progan_port_is_exact_or_refused(tmp_path):
    """pytorch_GAN_zoo: every scale is sqrt(2 / fan_in), of biases too; where Agon's is another, the weights take the difference."""
    shapes = {
        "formatLayer": (96, 5), "groupScale0.0": (6, 6, 3, 3), "toRGBLayers.0": (3, 6, 1, 1), "toRGBLayers.1": (3, 6, 1, 1), "scaleLayers.0.0": (6, 6, 3, 3),
        "scaleLayers.0.1": (6, 6, 3, 3),
    }  # fmt: skip
    theirs = {f"{name}.{kind}": files.drawn(*(shape if kind == "weight" else shape[:1])) for name, shape in shapes.items() for kind in ("weight", "bias")}
    torch.save({"netG": theirs, "avgG": theirs, "config": None}, tmp_path / "zoo.pth")
    if not hasattr(catalog.load("progan").Config(), "first_bias"):
        with pytest.raises(UserError, match="bias for each element"):
            import_file(tmp_path / "zoo.pth", tmp_path / "run")
        return
    import_file(tmp_path / "zoo.pth", tmp_path / "run")
    found = weights(tmp_path / "run")["game"]
    torch.testing.assert_close(found["generator.b4.dense.weight"] * math.sqrt(2 / 5) / 4, theirs["formatLayer.weight"] * math.sqrt(2 / 5))
    torch.testing.assert_close(found["generator.b4.bias"].flatten(), theirs["formatLayer.bias"] * math.sqrt(2 / 5))
    torch.testing.assert_close(found["generator.b8.torgb.weight"] / math.sqrt(6), theirs["toRGBLayers.1.weight"] * math.sqrt(2 / 6))
    torch.testing.assert_close(found["generator.b8.conv1.bias"], theirs["scaleLayers.0.1.bias"] * math.sqrt(2 / 54))


def test_safetensors_are_read_and_agons_own_export_is_named(tmp_path):
    from safetensors.torch import save_file

    cls = catalog.load("stylegan2")
    torch.manual_seed(0)
    fields = {"base_size": 4, "channel_base": 64, "channel_max": 8, "latent_dim": 8, "w_dim": 8, "mapping_layers": 2, "clamp": 0.0}
    game = cls(build(cls.Config, fields), DataSpec("image", (3, 16, 16)))
    state = {name: value.contiguous() for name, value in game.generator.state_dict().items()}
    save_file(state, tmp_path / "mine.safetensors")
    run = import_file(tmp_path / "mine.safetensors", tmp_path / "run").run
    assert all(torch.equal(value, state[name]) for name, value in load(run).game.generator.state_dict().items())
    save_file(state, tmp_path / "own.safetensors", {"agon": "{}"})
    with pytest.raises(UserError, match="load_exported"):
        import_file(tmp_path / "own.safetensors", tmp_path / "other")
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="no readable safetensors"):
        import_file(tmp_path / "bad.safetensors", tmp_path / "other")
    assert not (tmp_path / "other").exists()
