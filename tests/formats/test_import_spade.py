"""SPADE's files as runs: names and shapes are stated here from the authors' layout, numbers are drawn; that the functions agree is held in
networks/test_spade_network.py, here that a file is recognised, read as what it is, and fits.
"""

import pytest
import torch

from agon import catalog
from agon.config import build
from agon.data.source import DataSpec
from agon.formats import spade
from agon.formats.imported import Unfit, contents, converters, import_file, recognised
from agon.run import load


def layer(state, name, before, after, kernel, *, bias=True, spectral=False):
    state[f"{name}.weight_orig" if spectral else f"{name}.weight"] = torch.randn(after, before, kernel, kernel)
    if bias:
        state[f"{name}.bias"] = torch.randn(after)
    if spectral:
        state[f"{name}.weight_u"], state[f"{name}.weight_v"] = torch.randn(after), torch.randn(before * kernel**2)


def generator(maps, width=2, hidden=3, latent=None, most=False, running=True):
    state, top = {}, 16 * width

    def block(name, before, after):
        middle, norms = min(before, after), [("0", before), ("1", min(before, after))]
        layer(state, f"{name}.conv_0", before, middle, 3, spectral=True)
        layer(state, f"{name}.conv_1", middle, after, 3, spectral=True)
        if before != after:
            layer(state, f"{name}.conv_s", before, after, 1, bias=False, spectral=True)
            norms.append(("s", before))
        for kind, channels in norms:
            norm = f"{name}.norm_{kind}."
            if running:
                state[norm + "param_free_norm.running_mean"], state[norm + "param_free_norm.running_var"] = torch.randn(channels), torch.rand(channels)
                state[norm + "param_free_norm._running_iter"] = torch.ones(1)
            for part, a, b in (("mlp_shared.0", maps, hidden), ("mlp_gamma", hidden, channels), ("mlp_beta", hidden, channels)):
                layer(state, norm + part, a, b, 3)

    if latent:
        state["fc.weight"], state["fc.bias"] = torch.randn(top * latent[1], latent[0]), torch.randn(top * latent[1])
    else:
        layer(state, "fc", maps, top, 3)
    for name in ("head_0", "G_middle_0", "G_middle_1"):
        block(name, top, top)
    for i in range(4 + most):
        block(f"up_{i}", top >> i, top >> i + 1)
    layer(state, "conv_img", top >> 4 + most, 3, 3)
    return state


def discriminator(channels, width=3, layers=3, scales=2):
    state = {}
    for scale in range(scales):
        name = f"discriminator_{scale}.model"
        layer(state, f"{name}0.0", channels, width, 4)
        for i in range(1, layers + 1):
            layer(state, f"{name}{i}.0.0", width << i - 1, width << i, 4, bias=False, spectral=True)
        layer(state, f"{name}{layers + 1}.0", width << layers, 1, 4)
    return state


def encoder(width=2):
    state, widths = {}, [3, *(width * min(2**i, 8) for i in range(6))]
    for i in range(6):
        layer(state, f"layer{i + 1}.0", widths[i], widths[i + 1], 3, bias=False, spectral=True)
    for name in ("fc_mu", "fc_var"):
        state[f"{name}.weight"], state[f"{name}.bias"] = torch.randn(5, 16 * widths[-1]), torch.randn(5)
    return state


def fitted(found):
    """The game of what was found, after strict loading of all of it."""
    cls, spec = catalog.load(found["game"]), DataSpec("image", **found["spec"])
    game = cls(build(cls.Config, found["fields"]), spec)
    parts = {name: found[name] for name in ("generator", "discriminator")} | found.get("networks", {})
    for name, state in parts.items():
        if state is not None:
            getattr(game, name).load_state_dict({key: value.clone() for key, value in state.items()}, strict=True)
    return game


def test_a_folder_of_the_three_files(tmp_path):
    tree = {"latest_net_G": generator(36, latent=(5, 32)), "latest_net_D": discriminator(39), "latest_net_E": encoder()}
    names, classes = contents(tree, tmp_path)
    assert recognised(names, {"tree": tree, "file": "x", "classes": classes}, tmp_path) is spade and spade in converters()
    game = fitted(spade.convert(tree))
    config = game.config
    assert (config.width, config.doublings, config.hidden, config.latent_dim, config.norm, config.encoder) == (2, 6, 3, 5, "batch", True)
    assert (config.discriminator_width, config.scales, config.patch_layers) == (3, 2, 3)
    assert game.spec.shape == (3, 256, 512) and game.spec.source_shape == (2, 256, 512) and len(game.spec.source_classes) == 35
    norm, theirs = game.generator.ups[1].norm_shortcut, tree["latest_net_G"]
    assert torch.equal(norm.norm.running_mean, theirs["up_1.norm_s.param_free_norm.running_mean"])
    assert torch.equal(norm.modulation.bias, torch.cat([theirs["up_1.norm_s.mlp_gamma.bias"], theirs["up_1.norm_s.mlp_beta.bias"]]))
    assert torch.equal(game.discriminator.judges[1].convs[2].parametrizations.weight[0].left, tree["latest_net_D"]["discriminator_1.model2.0.0.weight_u"])
    assert torch.equal(game.encoder.log_variance.weight, tree["latest_net_E"]["fc_var.weight"])


@pytest.mark.parametrize(("maps", "edges", "most", "running", "size"), [
    (151, 0, False, True, (256, 256)), (184, 1, False, True, (256, 256)), (9, 0, False, False, (256, 256)), (36, 1, True, True, (256, 512)),
])  # fmt: skip
def test_the_generators_file_alone_and_what_it_does_not_say(maps, edges, most, running, size):
    found = spade.convert({f"module.{name}": value for name, value in generator(maps, most=most, running=running).items()})
    game = fitted(found)
    assert game.spec.shape[1:] == size and game.spec.source_shape[0] == 1 + edges and game.source_channels == maps
    assert game.config.doublings == (7 if most else 5) and game.config.norm == ("batch" if running else "instance") and not game.config.encoder
    assert bool(found["notes"]) == (maps == 9)


def test_what_cannot_be_held_is_said():
    state = generator(9)
    with pytest.raises(Unfit, match="no spectral norms"):
        spade.convert({name.replace("weight_orig", "weight"): value for name, value in state.items() if not name.endswith(("_u", "_v"))})
    with pytest.raises(Unfit, match="no generator"):
        spade.convert(discriminator(5))
    plain = {name.replace("weight_orig", "weight"): value for name, value in discriminator(12).items() if not name.endswith(("_u", "_v"))}
    found = spade.convert({"G": state, "D": plain})
    assert found["discriminator"] is None and any("left out" in note for note in found["notes"])


def test_the_run_translates(tmp_path):
    state = generator(9, width=1, hidden=2)
    torch.save(state, tmp_path / "latest_net_G.pth")
    made = import_file(tmp_path / "latest_net_G.pth", tmp_path / "run")
    assert (made.game, made.origin, made.shape) == ("spade", "SPADE (NVlabs)", (3, 256, 256))
    run, source = load(tmp_path / "run", "cpu"), torch.randint(0, 9, (1, 1, 60, 90)).to(torch.uint8)
    game = fitted(spade.convert(state))
    assert torch.equal(run.translate(source), game.translate(source)) and run.translate(source).shape == (1, 3, 60, 90)
