"""Oracles: the authors' parameter counts and names, the equations in float64 (stylegan3_plain.py), and what the
paper promises of rotations and translations."""

import math

import pytest
import stylegan3_plain as plain
import torch

from agon.config import build
from agon.data.source import DataSpec
from agon.errors import UserError
from agon.game import Context
from agon.games.stylegan3 import Config, StyleGAN3
from agon.layers import running_mean
from agon.networks.stylegan3 import blur, generator, motion

ROTATING = {"kernel": 1, "radial": True, "generator_channels": 2}
SMALL = {
    "latent_dim": 6, "w_dim": 5, "num_layers": 6, "channel_base": 32, "channel_max": 4, "margin": 3, "batch_size": 4, "clamp": 2.0,
}  # fmt: skip

PUBLISHED = {
    "t 256, half": ({"channel_base": 16384}, 256, 23_320_443),
    "t 256": ({}, 256, 28_472_133),
    "t 512": ({}, 512, 24_873_519),
    "t 1024": ({}, 1024, 22_313_167),
    "r 256, half": (ROTATING | {"channel_base": 16384}, 256, 15_779_565),
    "r 256": (ROTATING, 256, 18_816_387),
    "r 512": (ROTATING, 512, 16_665_594),
    "r 1024": (ROTATING, 1024, 15_093_151),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_published(name):
    fields, size, expected = PUBLISHED[name]
    with torch.device("meta"):
        built = generator(build(Config, fields), DataSpec("image", (3, size, size)), 0)
    assert sum(p.numel() for p in built.parameters()) == expected


def test_presets_are_those_networks_and_names_are_the_authors():
    """stylegan3-r at 1024, as its layers are listed in the released networks."""
    with torch.device("meta"):
        built = generator(build(Config, StyleGAN3.presets["r1024"].fields), DataSpec("image", (3, 1024, 1024)), 0)
    assert sum(p.numel() for p in built.parameters()) == PUBLISHED["r 1024"][2]
    assert built.synthesis.layer_names == [
        "L0_36_1024", "L1_36_1024", "L2_52_1024", "L3_52_1024", "L4_84_1024", "L5_148_1024", "L6_148_1024", "L7_276_645", "L8_276_406", "L9_532_256",
        "L10_1044_161", "L11_1044_102", "L12_1044_64", "L13_1024_64", "L14_1024_3",
    ]  # fmt: skip
    assert built.mapping.w_avg.decay == 0.998
    names = set(built.state_dict())
    assert {"mapping.fc0.weight", "mapping.fc1.bias", "mapping.w_avg.value"} <= names
    assert {f"synthesis.input.{n}" for n in ("transform", "freqs", "phases", "weight", "affine.weight", "affine.bias")} <= names
    assert {n.rpartition("L0_36_1024.")[2] for n in names if "L0_36_1024." in n} == {"affine.weight", "affine.bias", "weight", "bias", "magnitude_ema.value"}


def small(shape=(3, 16, 16), classes=0, **fields):
    """A generator in float64 in which nothing is at 0 or 1, its configuration and its state."""
    torch.manual_seed(0)
    config = build(Config, SMALL, fields)
    built = generator(config, DataSpec("image", shape, classes), classes).double()
    with torch.no_grad():
        for name, value in [*built.named_parameters(), *built.named_buffers()]:
            if name.endswith("magnitude_ema.value"):
                value.copy_(0.5 + torch.rand(()))
            elif name.endswith(("bias", "w_avg.value", "input.affine.weight")):
                value.add_(0.5 * torch.randn_like(value))
    return built.eval(), config, built.state_dict(keep_vars=True)


@pytest.mark.parametrize("fields, shape, classes", [
    ({}, (3, 16, 16), 0), (ROTATING, (1, 16, 16), 3), ({"margin": 1}, (2, 8, 12), 0), (ROTATING, (1, 24, 8), 0),
    ({"num_layers": 3, "num_critical": 1}, (1, 32, 32), 0),
], ids=["t", "r with classes", "wide t", "tall r", "three layers"])  # fmt: skip
def test_the_equations(fields, shape, classes):
    """Pictures and first gradients of all parameters. (The filters' own taps are float32.)"""
    built, config, state = small(shape, classes, **fields)
    built.synthesis.input.transform.copy_(motion(0.1, (0.2, -0.1)))
    z = torch.randn(2, 6, dtype=torch.float64)
    condition = torch.eye(classes, dtype=torch.float64)[:2] if classes else None
    ours = built(z, condition)
    w = plain.mapping(state, z, condition, 2)[:, None].expand(-1, config.num_layers + 2, -1)
    theirs = plain.synthesis(state, config, shape[1:], w)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
    assert theirs.std() > 0.01
    probe = torch.randn_like(theirs)
    parameters = dict(built.named_parameters())
    left, right = (torch.autograd.grad((pictures * probe).sum(), list(parameters.values())) for pictures in (ours, theirs))
    for name, a, b in zip(parameters, left, right, strict=True):
        assert (a - b).norm() <= 1e-5 * b.norm() + 1e-9, name
        assert b.norm() > 0, name


def test_truncation():
    built, config, state = small()
    z = torch.randn(2, 6, dtype=torch.float64)
    w = plain.mapping(state, z, None, 2)[:, None].expand(-1, config.num_layers + 2, -1).clone()
    w[:, :3] = state["mapping.w_avg.value"] + 0.7 * (w[:, :3] - state["mapping.w_avg.value"])
    torch.testing.assert_close(built(z, truncation=0.7, truncation_layers=3), plain.synthesis(state, config, (16, 16), w), rtol=1e-5, atol=1e-7)


@torch.no_grad()
def test_rotating_is_exact_at_quarter_turns_and_translating_by_coarse_pixels():
    """Table 3: R turns with its input, T does not; a shift by a pixel of the coarsest layer (2 pixels) only changes what comes in at the edges."""

    def relative(error, picture):
        return (error.norm() / (picture - picture.mean((2, 3), keepdim=True)).norm()).item()

    errors = {}
    for name, fields in (("r", ROTATING), ("t", {})):
        built, _, _ = small((3, 32, 32), clamp=0.0, margin=8, num_critical=2, **fields)
        z = torch.randn(2, 6, dtype=torch.float64)
        still = built(z)
        with built.synthesis.input.moved(motion(0.25)):
            errors[name] = relative(built(z) - torch.rot90(still, 1, (2, 3)), still)
        with built.synthesis.input.moved(motion(0.0, (4 / 32, -2 / 32))):
            inside = built(z)[:, :, 8:20, 12:24] - still[:, :, 10:22, 8:20]
        assert relative(inside, still[:, :, 10:22, 8:20]) < 0.02
        assert torch.equal(built(z), still), "the motion is gone afterwards"
    assert errors["r"] < 1e-5 and errors["t"] > 0.3


def test_motion_refuses_what_is_no_place():
    for wrong in ((0.0, (1.0,)), (0.0, 0.1), ("left", (0.0, 0.0)), (0.0, ("a", "b"))):
        with pytest.raises(UserError, match="cannot be turned"):
            motion(*wrong)
    torch.testing.assert_close(motion(0.3, (0.1, 0.2)).inverse() @ motion(0.3, (0.1, 0.2)), torch.eye(3))


@torch.no_grad()
def test_magnitudes_follow_the_batch_after_the_step_and_in_any_parts():
    """value <- beta value + (1 - beta) mean(x^2), beta = 0.5^(batch / 20,000); the first layer's input is the Fourier features."""
    whole, config, _ = small(magnitude_images=8.0)
    parts, _, _ = small(magnitude_images=8.0)
    z = torch.randn(4, 6, dtype=torch.float64)
    first = whole.synthesis.layer_names[0]
    before = getattr(whole.synthesis, first).magnitude_ema.value.clone()
    features = whole.synthesis.input(whole.mapping(z)[:, 0])
    still = whole(z)
    whole.train(), parts.train()
    torch.testing.assert_close(whole(z), still)  # nothing moves in a pass
    parts(z[:1]), parts(z[1:])
    for built in (whole, parts):
        running_mean.settle(built, lambda value: value)
    beta = 0.5 ** (4 / 8)
    torch.testing.assert_close(getattr(whole.synthesis, first).magnitude_ema.value, beta * before + (1 - beta) * features.square().mean(), rtol=1e-5, atol=0)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(value, parts.state_dict()[name], rtol=1e-5, atol=1e-7)
    assert not torch.allclose(whole.eval()(z), still, rtol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("fields", [{}, ROTATING], ids=["t", "r"])
def test_half_precision_is_near(fields):
    """Matrix products in place of convolutions, float32 for radial filters: bfloat16's 8 bits over 7 layers."""
    built, _, _ = small((3, 16, 24), **fields)
    built.float()
    z = torch.randn(2, 6)
    exact = built(z)
    with torch.autocast("cpu", torch.bfloat16):
        near = built(z)
    assert near.dtype == torch.float32
    assert (near - exact).norm() < 0.05 * exact.norm() and not torch.equal(near, exact)


def test_blur():
    """An impulse becomes 2^-(d / sigma)^2 along each axis, of sum 1, cut at floor(3 sigma); a third of a pixel does nothing."""
    picture = torch.zeros(1, 2, 9, 11)
    picture[:, :, 4, 5] = 1.0
    row = torch.tensor([2.0 ** -((d / 1.5) ** 2) for d in range(-4, 5)])
    row = row / row.sum()
    expected = torch.zeros(9, 11)
    expected[:, 1:10] = torch.outer(row, row)
    torch.testing.assert_close(blur(picture, 1.5), expected.expand(1, 2, -1, -1))
    assert blur(picture, 0.3) is picture and math.isclose(blur(picture, 1.0).sum().item(), 2.0, rel_tol=1e-6)


def tiny(shape=(1, 16, 16), **fields):
    torch.manual_seed(0)
    config = build(StyleGAN3.Config, StyleGAN3.presets["tiny"].fields, {"num_layers": 4, "margin": 4, **fields})
    return StyleGAN3(config, DataSpec("image", shape))


def test_samples_turn_and_move_when_asked():
    game = tiny(**ROTATING)
    assert all(value == 1 for name, value in game.generator.state_dict().items() if name.endswith("magnitude_ema.value")), "untrained, nothing is divided"
    still, turned = game.sample(3, seed=1), game.sample(3, seed=1, rotation=0.25)
    torch.testing.assert_close(turned, torch.rot90(still, 1, (2, 3)), rtol=1e-4, atol=1e-5)
    assert (turned - still).abs().max() > 1e-3
    assert not torch.allclose(game.sample(3, seed=1, translation=(0.25, 0.0)), still, atol=1e-3)
    assert torch.equal(game.sample(3, seed=1), still)
    assert not torch.equal(game.sample(3, seed=1, truncation=0.5), still)
    with pytest.raises(UserError, match="cannot be asked for noise"):
        game.sample(1, seed=0, noise="none")


def test_the_blur_fades_with_the_images_seen():
    """sigma (1 - images / fade) pixels."""
    game, x = tiny(blur_sigma=4.0, blur_fade_images=100.0), torch.randn(2, 1, 16, 16)
    for images, sigma in ((0, 4.0), (75, 1.0), (100, 0.0), (200, 0.0)):
        ctx = Context(step=0, num_images=images, progress=0.0, logging=False, mean_over_ranks=lambda value: value)
        torch.testing.assert_close(game.seen(x, ctx), blur(x, sigma) if sigma else x)
    assert not torch.allclose(blur(x, 4.0), blur(x, 1.0), atol=0.1)


def test_more_layers_than_critical_ones():
    with pytest.raises(UserError, match="more than num_critical"):
        build(Config, {"num_layers": 2, "num_critical": 2})
