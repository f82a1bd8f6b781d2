"""Oracles: upfirdn in scipy, bilinear interpolation, and each part written out plainly."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from network_helpers import networks, randomise
from scipy.signal import convolve2d

from agon import catalog
from agon.config import build
from agon.data.source import DataSpec
from agon.errors import UserError
from agon.formats.r3gan_names import from_official, official_fields, official_names
from agon.game import Context
from agon.networks import build_generator
from agon.networks.r3gan import Block, Resample


def pictures(channels, height, width, classes=0):
    return DataSpec("image", (channels, height, width), classes)


FILTER = np.convolve([1, 2, 1], [1, 1]) / 8


def upfirdn(x, up):
    """Zeros between the pixels and a filter, or a filter and every second pixel; one picture plane (H, W)."""
    kernel = np.outer(FILTER, FILTER)
    if up:
        stuffed = np.zeros((2 * x.shape[0], 2 * x.shape[1]))
        stuffed[::2, ::2] = x
        return 4 * convolve2d(np.pad(stuffed, ((2, 1), (2, 1))), kernel, mode="valid")
    return convolve2d(np.pad(x, 1), kernel, mode="valid")[::2, ::2]


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("size", [(4, 6), (2, 8)])
def test_resample_equals_upfirdn(up, size):
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size)
    found = Resample(3, 3, up=up)(x)
    expected = np.stack([[upfirdn(plane, up) for plane in picture] for picture in x.double().numpy()])
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("up", [True, False])
def test_resample_is_bilinear_interpolation_away_from_the_border(up):
    x = torch.randn(1, 2, 12, 12)
    found = Resample(2, 2, up=up)(x)
    expected = F.interpolate(x, scale_factor=2 if up else 0.5, mode="bilinear", antialias=not up)
    torch.testing.assert_close(found[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], atol=1e-6, rtol=0)


def test_halving_is_the_adjoint_of_doubling():
    """<up x, y> = 4 <x, down y>: the gradients of one are the other."""
    x, y = torch.randn(1, 2, 4, 5), torch.randn(1, 2, 8, 10)
    torch.testing.assert_close((Resample(2, 2, up=True)(x) * y).sum(), 4 * (x * Resample(2, 2, up=False)(y)).sum())


@pytest.mark.parametrize("up", [True, False])
def test_where_the_width_changes_a_1x1_convolution_stands_on_the_small_side(up):
    torch.manual_seed(0)
    layer, plain, x = Resample(3, 5, up=up), Resample(3, 3, up=up), torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(layer(x), F.conv2d(plain(x), layer.conv.weight), atol=1e-5, rtol=1e-5)  # they commute


def test_resample_has_no_weights_and_nothing_in_a_checkpoint():
    layer = Resample(3, 3, up=True)
    assert not list(layer.parameters()) and not layer.state_dict()


def plain_block(block, x, groups):
    """Each group's convolution on its own, as loops."""
    wide = F.leaky_relu(F.conv2d(x, block.conv1.weight) + block.act1.bias.view(1, -1, 1, 1), 0.2)
    share = wide.shape[1] // groups
    parts = [F.conv2d(wide[:, g * share : (g + 1) * share], block.conv2.weight[g * share : (g + 1) * share], padding=1) for g in range(groups)]
    wide = F.leaky_relu(torch.cat(parts, 1) + block.act2.bias.view(1, -1, 1, 1), 0.2)
    return x + F.conv2d(wide, block.conv3.weight)


def test_block_equals_its_formula():
    block = randomise(Block(6, cardinality=4, expansion=2, num_blocks=3))
    x = torch.randn(2, 6, 5, 4)
    torch.testing.assert_close(block(x), plain_block(block, x, 4), atol=1e-5, rtol=1e-5)


def test_block_starts_as_the_identity():
    block, x = Block(8, cardinality=2, expansion=2, num_blocks=3), torch.randn(2, 8, 4, 4)
    assert torch.equal(block(x), x)


def test_weights_start_with_the_fix_up_scale():
    """Leaky gain x num_blocks^(-1/4) / sqrt(fan in) for the two before the last; the last at 0; biases at 0."""
    torch.manual_seed(0)
    block = Block(256, cardinality=8, expansion=2, num_blocks=16)
    gain = math.sqrt(2 / 1.04) * 16 ** (-1 / 4)
    assert block.conv1.weight.std().item() == pytest.approx(gain / math.sqrt(256), rel=0.02)
    assert block.conv2.weight.std().item() == pytest.approx(gain / math.sqrt(64 * 9), rel=0.02)
    assert not block.conv3.weight.any() and not block.act1.bias.any() and not block.act2.bias.any()


@pytest.mark.parametrize("condition_dim", [0, 3])
def test_generator_equals_its_formula(condition_dim):
    generator = randomise(networks(pictures(2, 8, 12), condition_dim, network="r3gan", base_size=4)[0])
    latent, condition = torch.randn(3, 5), torch.eye(3) if condition_dim else None
    whole = latent if condition is None else torch.cat([latent, condition @ generator.embedding.weight.T], 1)
    first, up, last = generator.layers
    x = generator.basis[None] * (whole @ generator.project.weight.T)[:, :, None, None]
    x = plain_block(first, x, 2)
    x = torch.from_numpy(np.stack([[upfirdn(plane, True) for plane in picture] for picture in x.detach().double().numpy()])).float()
    expected = F.conv2d(plain_block(last, x, 2), generator.to_picture.weight)
    assert x.shape[2:] == (8, 12) and generator.basis.shape == (4, 4, 6)
    torch.testing.assert_close(generator(latent, condition), expected, atol=1e-4, rtol=1e-4)


def test_backbone_equals_its_formula():
    backbone = randomise(networks(pictures(2, 8, 12), network="r3gan", base_size=4)[1])
    first, down, last = backbone.layers
    picture = torch.randn(3, 2, 8, 12)
    x = plain_block(first, F.conv2d(picture, backbone.from_picture.weight), 2)
    x = torch.from_numpy(np.stack([[upfirdn(plane, False) for plane in one] for one in x.detach().double().numpy()])).float()
    x = plain_block(last, x, 2)
    expected = (x * backbone.basis.weight[:, 0]).sum((2, 3))
    torch.testing.assert_close(backbone(picture), expected, atol=1e-4, rtol=1e-4)


PUBLISHED = {
    "cifar10": (32, 0, 20_732_160, 20_683_776),
    "cifar10_conditional": (32, 10, 20_781_952, 21_280_512),
    "ffhq64": (64, 0, 22_429_824, 22_381_440),
    "ffhq256": (256, 0, 23_057_952, 23_009_568),
    "imagenet32": (32, 1000, 82_914_304, 86_548_992),
    "imagenet64": (64, 1000, 103_570_432, 107_205_120),
}


@pytest.mark.parametrize("preset", PUBLISHED)
def test_presets_have_as_many_parameters_as_the_authors_networks(preset):
    size, classes, generator, discriminator = PUBLISHED[preset]
    cls = catalog.load("r3gan")
    with torch.device("meta"):
        built = cls(build(cls.Config, cls.presets[preset].fields), pictures(3, size, size, classes))
    assert sum(p.numel() for p in built.generator.parameters()) == generator
    assert sum(p.numel() for p in built.discriminator.parameters()) == discriminator


def staged(**fields):
    cls = catalog.load("r3gan")
    return build(cls.Config, {"widths": (8, 8, 4), "stage_blocks": (1, 2, 1), "cardinalities": (4, 2, 1), "latent_dim": 5, "embedding_dim": 3}, fields)


def plain_stages(state, x, plan, order):
    """Blocks and changes of resolution with the authors' names; ``order``: whether a stage's change stands first (generator) or last."""
    for stage, (blocks, groups) in enumerate(plan):
        changes = stage > 0 if order == "first" else stage + 1 < len(plan)
        steps = range(1, blocks + 1) if order == "first" else range(blocks)
        if order == "first" and changes:
            x = plain_change(state, f"MainLayers.{stage}.Layers.0", x, up=True)
        for i in steps:
            name = f"MainLayers.{stage}.Layers.{i}."
            y = F.leaky_relu(F.conv2d(x, state[name + "LinearLayer1.Layer.weight"]) + state[name + "NonLinearity1.Bias"].view(1, -1, 1, 1), 0.2)
            y = F.conv2d(y, state[name + "LinearLayer2.Layer.weight"], padding=1, groups=groups)
            y = F.leaky_relu(y + state[name + "NonLinearity2.Bias"].view(1, -1, 1, 1), 0.2)
            x = x + F.conv2d(y, state[name + "LinearLayer3.Layer.weight"])
        if order == "last" and changes:
            x = plain_change(state, f"MainLayers.{stage}.Layers.{blocks}", x, up=False)
    return x


def plain_change(state, name, x, *, up):
    def resample(x):
        return torch.from_numpy(np.stack([[upfirdn(plane, up) for plane in picture] for picture in x.double().numpy()])).float()

    weight = state.get(name + ".LinearLayer.Layer.weight")
    if weight is None:
        return resample(x)
    return resample(F.conv2d(x, weight)) if up else F.conv2d(resample(x), weight)


@pytest.mark.parametrize("classes", [0, 3])
def test_official_names_lead_to_the_authors_formulas(classes):
    """Their state with random numbers, computed plainly under their names, and loaded into ours."""
    config, spec = staged(), pictures(3, 16, 24, classes)
    torch.manual_seed(0)
    game = catalog.load("r3gan")(config, spec)
    networks = {"generator": game.generator, "discriminator": game.discriminator}
    names = official_names(config.widths, config.stage_blocks, bool(classes))
    theirs = {}
    for kind, network in networks.items():
        own = network.state_dict()
        assert set(names[kind]) == set(own)
        theirs[kind] = {"Model." + names[kind][name]: 0.3 * torch.randn_like(value) for name, value in own.items()}
        theirs[kind]["Model.MainLayers.1.Layers.0.Resampler.Kernel"] = torch.ones(4, 4)
        network.load_state_dict(from_official(kind, theirs[kind], names[kind]))
    g, d = ({name.removeprefix("Model."): value for name, value in theirs[kind].items()} for kind in ("generator", "discriminator"))
    latent, condition = torch.randn(2, 5), torch.eye(3)[:2] if classes else None
    whole = torch.cat([latent, condition @ g["EmbeddingLayer.weight"].T], 1) if classes else latent
    x = g["MainLayers.0.Layers.0.Basis"][None] * (whole @ g["MainLayers.0.Layers.0.LinearLayer.weight"].T)[:, :, None, None]
    plan = [(1, 4), (2, 2), (1, 1)]
    expected = F.conv2d(plain_stages(g, x, plan, "first"), g["AggregationLayer.Layer.weight"])
    with torch.no_grad():
        torch.testing.assert_close(networks["generator"](latent, condition), expected, atol=1e-4, rtol=1e-4)
        found = networks["discriminator"](expected, condition)
    x = plain_stages(d, F.conv2d(expected, d["ExtractionLayer.Layer.weight"]), plan[::-1], "last")
    last = (x * d["MainLayers.2.Layers.1.Basis.weight"][:, 0]).sum((2, 3)) @ d["MainLayers.2.Layers.1.LinearLayer.weight"].T
    expected = (last * (condition @ d["EmbeddingLayer.weight"].T)).sum(1) if classes else last[:, 0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_the_configuration_is_read_from_a_state():
    config = staged()
    state = build_generator(config, pictures(3, 16, 16, 3), 3).state_dict()
    names = official_names(config.widths, config.stage_blocks, True)["generator"]
    fields = official_fields({"Model." + theirs: state[ours] for ours, theirs in names.items()})
    assert fields.pop("conditional") is True
    assert fields == {name: getattr(config, name) for name in fields} and {"widths", "cardinalities", "latent_dim", "embedding_dim"} < set(fields)


def test_left_over_and_missing_tensors_are_errors():
    with pytest.raises(KeyError):
        from_official("generator", {}, {"basis": "MainLayers.0.Layers.0.Basis"})
    with pytest.raises(KeyError, match="unknown"):
        from_official("generator", {"Surprise": torch.zeros(1)}, {})


def test_one_number_for_each_resolution_or_an_error():
    with pytest.raises(UserError, match="3 numbers .* 4 resolutions"):
        build_generator(staged(), pictures(3, 32, 32), 0)


def test_gamma_and_augmentation_follow_a_cosine_where_that_is_asked_for():
    cls = catalog.load("r3gan")
    fields = {"penalty_weight": 2.0, "penalty_weight_final": 0.2, "penalty_schedule": "cosine", "ada": "blit", "ada_target": 0.0, "ada_p": 0.4}
    game = cls(staged(**fields, ada_schedule="cosine"), pictures(1, 16, 16))
    for progress, gamma, p in ((0.0, 2.0, 0.0), (1 / 3, 0.2 + 1.8 * 0.75, 0.1), (0.5, 1.1, 0.2), (1.0, 0.2, 0.4)):
        ctx = Context(step=0, num_images=0, progress=progress, logging=False, mean_over_ranks=lambda x: x)
        game.prepare(ctx)
        assert game.penalty_weight(ctx) == pytest.approx(gamma) and game.options["ada"].augment.p.item() == pytest.approx(p, abs=1e-7)
    with pytest.raises(UserError, match="ada_schedule"):
        staged(**fields | {"ada_target": 0.6}, ada_schedule="cosine")
