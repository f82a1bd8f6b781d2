"""Oracle: the layouts' own arithmetic (one power step from the stored u in every pass; stored pairs) and the plain networks of tests/networks/biggan_plain.py.

The checkpoints are written here name by name, as the two projects' modules name their tensors.
"""

import re
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from agon import catalog
from agon.config import build
from agon.data.source import DataSpec
from agon.formats import biggan
from agon.formats.imported import Unfit

sys.path.insert(0, str(Path(__file__).parents[1] / "networks"))
import biggan_plain as plain  # noqa: E402

CLASSES, SHARED, PART = 3, 5, 2


def put(state, name, *shape, bias=True, normed=True):
    state[f"{name}.weight"] = torch.randn(*shape)
    if bias:
        state[f"{name}.bias"] = torch.randn(shape[0])
    if normed:
        state[f"{name}.u0"], state[f"{name}.sv0"] = torch.randn(1, shape[0]), torch.ones(1)


def attention(state, name, width):
    for part, (after, before) in {"theta": (width // 8, width), "phi": (width // 8, width), "g": (width // 2, width), "o": (width, width // 2)}.items():
        put(state, f"{name}.{part}", after, before, 1, 1, bias=False)
    state[f"{name}.gamma"] = torch.tensor(0.6)


def statistics(state, name, width):
    state[f"{name}.stored_mean"], state[f"{name}.stored_var"] = 0.3 * torch.randn(width), torch.rand(width) + 0.5


def official(table=False):
    """32-pixel BigGAN of ch 2, attention at 8 pixels in the generator and behind the discriminator's first two blocks."""
    torch.manual_seed(0)
    g, d = {}, {}
    if not table:
        g["shared.weight"] = torch.randn(CLASSES, SHARED)
    put(g, "linear", 8 * 16, PART if not table else 4)
    for i in range(3):
        put(g, f"blocks.{i}.0.conv1", 8, 8, 3, 3)
        put(g, f"blocks.{i}.0.conv2", 8, 8, 3, 3)
        put(g, f"blocks.{i}.0.conv_sc", 8, 8, 1, 1)
        for norm in ("bn1", "bn2"):
            statistics(g, f"blocks.{i}.0.{norm}", 8)
            for part in ("gain", "bias"):
                shape = (CLASSES, 8) if table else (8, SHARED + PART)
                put(g, f"blocks.{i}.0.{norm}.{part}", *shape, bias=False, normed=not table)
    attention(g, "blocks.0.1", 8)
    g["output_layer.0.gain"], g["output_layer.0.bias"] = torch.randn(8), torch.randn(8)
    statistics(g, "output_layer.0", 8)
    put(g, "output_layer.2", 3, 8, 3, 3)
    for i in range(4):
        put(d, f"blocks.{i}.0.conv1", 8, 8 if i else 3, 3, 3)
        put(d, f"blocks.{i}.0.conv2", 8, 8, 3, 3)
        if i < 2:
            put(d, f"blocks.{i}.0.conv_sc", 8, 8 if i else 3, 1, 1)
            attention(d, f"blocks.{i}.1", 8)
    put(d, "linear", 1, 8)
    put(d, "embed", CLASSES, 8, bias=False)
    return g, d


def studio(state):
    """The same tensors in StudioGAN's names, with stored pairs of vectors in place of u0."""
    renamed = {}
    names = {"conv_sc": "conv2d0", "conv1": "conv2d1", "conv2": "conv2d2"}
    names |= {"theta": "conv1x1_theta", "phi": "conv1x1_phi", "g": "conv1x1_g", "o": "conv1x1_attn"}
    outside = {"output_layer.0": "bn4", "output_layer.2": "conv2d5", "embed": "embedding", "linear": "linear0" if "shared.weight" in state else "linear1"}
    for name, tensor in state.items():
        head, _, leaf = name.rpartition(".")
        parts = head.split(".")
        parts[-1] = names.get(parts[-1], parts[-1])
        head = ".".join(parts)
        head = outside.get(head, head)
        if found := re.match(r"blocks\.(\d)\.(\d)(.*)", head):  # a list for each block and each attention
            extra = sum(f"blocks.{i}.1.gamma" in state for i in range(int(found[1])))
            head = f"blocks.{int(found[1]) + extra + int(found[2])}.0{found[3]}"
        if leaf == "u0":
            matrix = state[f"{name[:-2]}weight"].flatten(1)
            renamed[f"{head}.weight_u"], renamed[f"{head}.weight_v"] = (F.normalize(torch.randn(n), dim=0) for n in matrix.shape)
        elif leaf.startswith("stored_"):
            inner = head if head == "bn4" else f"{head}.bn"
            renamed[f"{inner}.running_{leaf[7:]}"] = tensor
        elif leaf == "gamma":
            renamed[f"{head}.sigma"] = tensor.reshape(1)
        elif leaf == "gain" and head == "bn4":
            renamed["bn4.weight"] = tensor
        elif leaf != "sv0":
            renamed[f"{head}.weight_orig" if f"{name[: -len(leaf)]}u0" in state and leaf == "weight" else f"{head}.{leaf}"] = tensor
    return renamed


def used(state, pairs):
    """{name: tensor} under Agon's names, with every weight divided as that project's pass in evaluation does."""
    found = {}
    words = {"conv_sc": "shortcut", "bn1": "norm1", "bn2": "norm2", "theta": "query", "phi": "key", "g": "value", "o": "out"}
    for name, tensor in state.items():
        head, _, leaf = name.rpartition(".")
        if leaf in ("u0", "sv0"):
            continue
        if f"{head}.u0" in state and leaf == "weight":
            matrix = tensor.flatten(1)
            if pairs:
                other = next(k for k, v in pairs.items() if v is tensor)[: -len("weight_orig")]
                sigma = pairs[f"{other}weight_u"] @ matrix @ pairs[f"{other}weight_v"]
            else:
                v = F.normalize(state[f"{head}.u0"] @ matrix)
                u = F.normalize(v @ matrix.T)
                sigma = (v @ matrix.T @ u.T).squeeze()
            tensor = tensor / sigma
        kind = "generator" if "output_layer.2.weight" in state else "discriminator"
        parts = head.split(".")
        if parts[0] == "blocks":
            side = (8 << int(parts[1])) if kind == "generator" else ("32", "16", "8", "8_1")[int(parts[1])]
            block = f"blocks.b{side}" + ("_attention" if parts[2] == "1" else "")
            rest = [words.get(part, part) for part in parts[3:]]
            if rest and rest[-1] in ("gain", "bias"):
                rest[-1] = "shift" if rest[-1] == "bias" else "gain"
                tensor = tensor if f"{head}.u0" in state else tensor.T
            if leaf.startswith("stored_"):
                rest.append("norm")
            head = ".".join([*([] if kind == "generator" else ["backbone"]), block, *rest])
        elif head == "output_layer.0":
            head, leaf = "to_picture.norm.norm", {"gain": "weight"}.get(leaf, leaf)
        head = {"linear": "project" if kind == "generator" else "head", "output_layer.2": "to_picture.conv", "embed": "embedding"}.get(head, head)
        leaf = {"stored_mean": "running_mean", "stored_var": "running_var", "gamma": "gain"}.get(leaf, leaf)
        found[f"{head}.{leaf}"] = tensor.T if head in ("shared", "embedding") else tensor
    return found


def loaded(found):
    cls = catalog.load(found["game"])
    built = cls(build(cls.Config, found["fields"]), DataSpec("image", found["spec"]["shape"], found["spec"]["num_classes"]))
    built.generator.load_state_dict(found["ema"] or found["generator"])
    if found["discriminator"]:
        built.discriminator.load_state_dict(found["discriminator"])
    return built.eval()


@pytest.mark.parametrize("project", ["BigGAN-PyTorch", "StudioGAN"])
def test_an_imported_network_computes_what_its_file_says(project, monkeypatch):
    g, d = official()
    theirs, pairs = (g, d), (None, None)
    if project == "StudioGAN":
        monkeypatch.setattr(plain, "EPS", 1e-4)
        theirs = pairs = (studio(g), studio(d))
        pairs = tuple({k: v for k, v in each.items()} for each in theirs)
    tree = {"G_ema": {"state_dict": theirs[0]}, "D": {f"module.{name}": tensor for name, tensor in theirs[1].items()}}
    names = {f"G_ema.state_dict.{name}" for name in theirs[0]}
    assert biggan.recognise(names, {}) and not biggan.recognise({f"D.{name}" for name in theirs[1]}, {})
    found = biggan.convert(tree, {"file": "run"})
    fields = found["fields"]
    assert found["game"] == "biggan" and found["generator"] is None and found["spec"] == {"shape": (3, 32, 32), "num_classes": CLASSES}
    assert (fields["width"], fields["discriminator_width"], fields["latent_dim"], fields["attention"]) == (2, 2, 4 * PART, (8,))
    assert fields["discriminator_attention"] == (1, 2) and fields["multiples"] == ()
    assert fields["norm_eps"] == (1e-4 if project == "StudioGAN" else 1e-5)

    built, label, z = loaded(found), torch.tensor([2, 0]), torch.randn(2, 4 * PART)
    onehot, first = F.one_hot(label, CLASSES).float(), z[:, :PART]
    conditions = [torch.cat([g["shared.weight"][label], part], 1) for part in z.split(PART, 1)[1:]]
    wanted = plain.generator(used(g, pairs[0]), ["b8", "b8_attention", "b16", "b32"], first, conditions, (4, 4))
    torch.testing.assert_close(built.generator(z, onehot), wanted, rtol=1e-3, atol=1e-3)
    x = 2 * torch.rand(2, 3, 32, 32) - 1
    wanted = plain.discriminator(used(d, pairs[1]), ["b32", "b32_attention", "b16", "b16_attention", "b8", "b8_1"], ["b32", "b16"], x, label)
    torch.testing.assert_close(built.discriminator(x, onehot), wanted, rtol=1e-3, atol=1e-3)


def test_a_table_in_every_norm_is_sagans():
    g, _ = official(table=True)
    found = biggan.convert(g, {"file": "G.pth"})
    assert found["game"] == "sagan" and found["discriminator"] is None and found["ema"] is None and found["fields"]["latent_dim"] == 4
    built, label, z = loaded(found), torch.tensor([1, 0]), torch.randn(2, 4)
    onehot = F.one_hot(label, CLASSES).float()
    wanted = plain.generator(used(g, None), ["b8", "b8_attention", "b16", "b32"], z, [onehot] * 3, (4, 4))
    torch.testing.assert_close(built.generator(z, onehot), wanted, rtol=1e-3, atol=1e-3)


def test_standing_sums_are_divided_and_a_config_beside_gives_eps():
    g, _ = official()
    for name in [name for name in g if "stored_" in name]:
        head, _, leaf = name.rpartition(".")
        g[f"{head}.bn.{leaf}"] = 4 * g.pop(name)
        g[f"{head}.bn.accumulation_counter"] = torch.tensor([4.0])
    found = biggan.convert({"G": g, "state_dict": {"config": {"BN_eps": 1e-3}}}, {"file": "run"})
    plain_g, _ = official()
    torch.testing.assert_close(found["generator"]["blocks.b16.norm2.norm.running_var"], plain_g["blocks.1.0.bn2.stored_var"])
    assert found["fields"]["norm_eps"] == 1e-3


def test_what_the_games_cannot_hold_is_refused():
    g, d = official()
    with pytest.raises(Unfit, match="no generator"):
        biggan.convert(d, {"file": "D.pth"})
    g["linear.weight"] = torch.randn(8 * 15, PART)
    with pytest.raises(Unfit, match="square"):
        biggan.convert(g, {"file": "G.pth"})
