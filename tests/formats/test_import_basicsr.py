"""BasicSR's, Real-ESRGAN's and ESRGAN's files as runs: what was drawn into a file arrives under its name, and the run computes the official function.

Names and shapes are stated here from the projects' sources (basicsr/archs, realesrgan/archs, ESRGAN's two codes). The functions are written out in plain code
over the file's own tensors.
"""

import json

import pytest
import torch
import torch.nn.functional as F

from agon.errors import UserError
from agon.formats.imported import import_file
from agon.run import load
from agon.train import checkpoint

WIDTH, GROWTH = 6, 3


def layer(state, name, after, before, kernel=3, bias=True):
    state[f"{name}.weight"] = torch.randn(after, before, kernel, kernel) / (before * kernel**2) ** 0.5
    if bias:
        state[f"{name}.bias"] = torch.randn(after) / 4


def rrdb(blocks=2, fold=1):
    state = {}
    layer(state, "conv_first", WIDTH, 3 * fold**2)
    for b in range(blocks):
        for r in (1, 2, 3):
            for c in range(1, 6):
                layer(state, f"body.{b}.rdb{r}.conv{c}", GROWTH if c < 5 else WIDTH, WIDTH + (c - 1) * GROWTH)
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        layer(state, name, WIDTH, WIDTH)
    layer(state, "conv_last", 3, WIDTH)
    return state


def conv(state, name, x, **options):
    weight = state[f"{name}.weight"]
    return F.conv2d(x, weight, state.get(f"{name}.bias"), padding=1, **options)


def rrdb_function(state, x, fold=1):
    y = first = conv(state, "conv_first", F.pixel_unshuffle(x, fold))
    for b in range(2):
        start = y
        for r in (1, 2, 3):
            seen = [y]
            for c in range(1, 5):
                seen.append(F.leaky_relu(conv(state, f"body.{b}.rdb{r}.conv{c}", torch.cat(seen, 1)), 0.2))
            y = y + 0.2 * conv(state, f"body.{b}.rdb{r}.conv5", torch.cat(seen, 1))
        y = start + 0.2 * y
    y = first + conv(state, "conv_body", y)
    for name in ("conv_up1", "conv_up2"):
        y = F.leaky_relu(conv(state, name, F.interpolate(y, scale_factor=2.0)), 0.2)
    return conv(state, "conv_last", F.leaky_relu(conv(state, "conv_hr", y), 0.2))


def in_first_code(name):
    outside = {"conv_first": "model.0", "conv_body": "model.1.sub.2", "conv_up1": "model.3", "conv_up2": "model.6", "conv_hr": "model.8",
               "conv_last": "model.10"}
    head, _, leaf = name.rpartition(".")
    if head in outside:
        return f"{outside[head]}.{leaf}"
    _, b, r, c = head.split(".")
    return f"model.1.sub.{b}.{r.upper()}.{c}.0.{leaf}"


def in_second_code(name):
    outside = {"conv_body": "trunk_conv", "conv_up1": "upconv1", "conv_up2": "upconv2", "conv_hr": "HRconv"}
    head, _, leaf = name.rpartition(".")
    if head.startswith("body."):
        _, b, r, c = head.split(".")
        head = f"RRDB_trunk.{b}.{r.upper()}.{c}"
    return f"{outside.get(head, head)}.{leaf}"


def imported(tmp_path, content, **options):
    """(the run, its stored tensors, its fields, what came of the file)."""
    torch.save(content, tmp_path / "net.pth")
    made = import_file(tmp_path / "net.pth", tmp_path / "run", **options)
    found = checkpoint.load(tmp_path / "run" / "checkpoints" / "000000000000")[0]
    return load(tmp_path / "run", "cpu"), found, json.loads((tmp_path / "run" / "config.json").read_text())["fields"], made


def enlarged_as(run, function, channels=3, size=(8, 12)):
    """The averaged weights of the run do what ``function`` does of pictures in [0, 1]."""
    x = torch.rand(2, channels, *size)
    expected = function(x).clamp(0, 1)
    torch.testing.assert_close((run.game.translate(x * 2 - 1) + 1) / 2, expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 0.05


@pytest.mark.parametrize("names", [lambda name: name, in_first_code, in_second_code], ids=["BasicSR", "first code", "second code"])
def test_esrgan_in_the_names_of_three_codes(tmp_path, names):
    torch.manual_seed(0)
    state = rrdb()
    run, found, fields, made = imported(tmp_path, {names(name): tensor for name, tensor in state.items()})
    assert {name.removeprefix("generator."): True for name in found["ema"]} == dict.fromkeys(state, True)
    assert all(torch.equal(found["game"][f"generator.{name}"], tensor) for name, tensor in state.items())
    assert (made.game, made.shape) == ("esrgan", (3, 128, 128)) and run.game.spec.source_shape == (3, 32, 32)
    assert (fields["network"], fields["blocks"], fields["width"], fields["growth"]) == ("rrdb", 2, WIDTH, GROWTH)
    enlarged_as(run, lambda x: rrdb_function(state, x))


@pytest.mark.parametrize(("fold", "scale"), [(2, 2), (4, 1)])
def test_realesrgans_averaged_weights_and_what_enlarges_by_less(tmp_path, fold, scale):
    torch.manual_seed(0)
    plain, averaged = rrdb(fold=fold), rrdb(fold=fold)
    run, found, _, made = imported(tmp_path, {"params": plain, "params_ema": averaged})
    assert made.game == "realesrgan" and run.game.scale == scale
    assert torch.equal(found["game"]["generator.conv_last.weight"], plain["conv_last.weight"])
    assert torch.equal(found["ema"]["generator.conv_last.weight"], averaged["conv_last.weight"])
    enlarged_as(run, lambda x: rrdb_function(averaged, x, fold))


@pytest.mark.parametrize("scale", [4, 3, 2])
def test_msrresnet(tmp_path, scale):
    torch.manual_seed(0)
    state, steps = {}, (2, 2) if scale == 4 else (scale,)
    layer(state, "conv_first", WIDTH, 3)
    for b in range(2):
        layer(state, f"body.{b}.conv1", WIDTH, WIDTH), layer(state, f"body.{b}.conv2", WIDTH, WIDTH)
    for i, step in enumerate(steps):
        layer(state, f"upconv{i + 1}", WIDTH * step**2, WIDTH)
    layer(state, "conv_hr", WIDTH, WIDTH), layer(state, "conv_last", 3, WIDTH)

    def function(x):
        y = F.leaky_relu(conv(state, "conv_first", x), 0.1)
        for b in range(2):
            y = y + conv(state, f"body.{b}.conv2", conv(state, f"body.{b}.conv1", y).relu())
        for i, step in enumerate(steps):
            y = F.leaky_relu(F.pixel_shuffle(conv(state, f"upconv{i + 1}", y), step), 0.1)
        y = conv(state, "conv_last", F.leaky_relu(conv(state, "conv_hr", y), 0.1))
        return y + F.interpolate(x, scale_factor=float(scale), mode="bilinear", align_corners=False)

    run, _, fields, made = imported(tmp_path, {"params": state})
    assert made.game == "srgan" and fields["network"] == "msrresnet" and run.game.scale == scale and fields["blocks"] == 2
    enlarged_as(run, function)


def srvgg(scale=4):
    state = {}
    for i in range(3):
        layer(state, f"body.{2 * i}", WIDTH, WIDTH if i else 3)
        state[f"body.{2 * i + 1}.weight"] = torch.rand(WIDTH)
    layer(state, "body.6", 3 * scale**2, WIDTH)
    return state


def test_srvgg_and_the_u_net_beside_it(tmp_path):
    torch.manual_seed(0)
    state, judge = srvgg(), {}
    widths = [(4, 3), (8, 4), (16, 8), (32, 16), (16, 32), (8, 16), (4, 8), (4, 4), (4, 4), (1, 4)]
    for i, (after, before) in enumerate(widths):
        layer(judge, f"conv{i}", after, before, 4 if i in (1, 2, 3) else 3, bias=i in (0, 9))
        if 0 < i < 9:
            weight = judge.pop(f"conv{i}.weight")
            judge[f"conv{i}.weight_orig"] = weight
            u, _, v = torch.linalg.svd(weight.flatten(1), full_matrices=False)
            judge |= {f"conv{i}.weight_u": u[:, 0], f"conv{i}.weight_v": v[0]}
    folder = tmp_path / "both"
    folder.mkdir()
    torch.save({"params_ema": state}, folder / "net_g_5.pth"), torch.save({"params": judge}, folder / "net_d_5.pth")
    made = import_file(folder, tmp_path / "run")
    run = load(tmp_path / "run", "cpu")

    def function(x):
        y = x
        for i in range(3):
            y = F.prelu(conv(state, f"body.{2 * i}", y), state[f"body.{2 * i + 1}.weight"])
        return F.pixel_shuffle(conv(state, "body.6", y), 4) + F.interpolate(x, scale_factor=4.0)

    assert made.game == "realesrgan" and run.game.config.network == "srvgg" and run.game.config.blocks == 2
    enlarged_as(run, function)
    x = torch.rand(1, 3, 16, 16)
    y = [F.leaky_relu(conv(judge, "conv0", x), 0.2)]
    for i in range(1, 9):
        judge[f"conv{i}.weight"] = judge[f"conv{i}.weight_orig"] / torch.linalg.matrix_norm(judge[f"conv{i}.weight_orig"].flatten(1), 2)
    for i in (1, 2, 3):
        y.append(F.leaky_relu(conv(judge, f"conv{i}", y[-1], stride=2), 0.2))
    z = y.pop()
    for i in (4, 5, 6):
        z = F.leaky_relu(conv(judge, f"conv{i}", F.interpolate(z, scale_factor=2.0, mode="bilinear", align_corners=False)), 0.2) + y.pop()
    for i in (7, 8):
        z = F.leaky_relu(conv(judge, f"conv{i}", z), 0.2)
    with torch.no_grad():
        torch.testing.assert_close(run.game.discriminator(x), conv(judge, "conv9", z), rtol=1e-4, atol=1e-5)


def test_a_vgg_style_discriminator_says_how_large_its_pictures_are(tmp_path):
    torch.manual_seed(0)
    judge, before = {}, 3
    for i in range(5):
        after = 2 * 2 ** min(i, 3)
        layer(judge, f"conv{i}_0", after, before, bias=i == 0), layer(judge, f"conv{i}_1", after, after, 4, bias=False)
        for j in range(2):
            if i + j:
                judge |= {f"bn{i}_{j}.{part}": torch.rand(after) + 0.5 for part in ("weight", "bias", "running_mean", "running_var")}
                judge[f"bn{i}_{j}.num_batches_tracked"] = torch.tensor(7)
        before = after
    judge |= {"linear1.weight": torch.randn(100, before * 16), "linear1.bias": torch.randn(100), "linear2.weight": torch.randn(1, 100)}
    judge["linear2.bias"] = torch.randn(1)
    folder = tmp_path / "both"
    folder.mkdir()
    torch.save({"params": rrdb()}, folder / "net_g.pth"), torch.save({"params": judge}, folder / "net_d.pth")
    made = import_file(folder, tmp_path / "run")
    found = checkpoint.load(tmp_path / "run" / "checkpoints" / "000000000000")[0]["game"]
    assert (made.game, made.shape) == ("esrgan", (3, 128, 128))
    assert all(torch.equal(found[f"discriminator.{name}"], tensor) for name, tensor in judge.items())


def test_what_agon_cannot_hold_is_refused_by_name(tmp_path):
    eight = {in_first_code(name): tensor for name, tensor in rrdb().items()} | {"model.13.weight": torch.zeros(3, WIDTH, 3, 3)}
    relu = {name: tensor for name, tensor in srvgg().items() if tensor.dim() > 1 or "bias" in name} | {"body.1.weight": torch.zeros(1, 1)}
    alone = {"params": {"conv9.weight": torch.zeros(1, 4, 3, 3), "conv0.weight": torch.zeros(4, 3, 3, 3)}}
    for content, words in ((eight, "another factor than 4"), ({"params": relu}, "not PReLU"), (alone, "no layout that is known")):
        with pytest.raises(UserError, match=words):
            imported(tmp_path, content)
    assert not (tmp_path / "run").exists()
