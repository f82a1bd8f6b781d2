"""Oracles: the plain float64 formulation in progressive_plain.py with the authors' names and layouts, and the published numbers of parameters."""

import progressive_plain as plain
import pytest
import torch
from test_progan_network import close, load, normal, spec

from agon.config import build
from agon.game import SeededDraws
from agon.games.stylegan import Config
from agon.networks import stylegan

CONFIG = build(Config, {"latent_dim": 6, "w_dim": 5, "mapping_layers": 3, "channel_base": 64, "channel_max": 7})
SIZES = {"levels": 2, "base": 64, "most": 7}


def network(classes=0, **fields):
    torch.manual_seed(0)
    return stylegan.generator(build(Config, vars(CONFIG) | fields) if fields else CONFIG, spec(), classes)


def alike(value):
    """Per-sample numbers in float64."""
    return SeededDraws(torch.Generator().manual_seed(value))


@pytest.mark.parametrize("side, generator, discriminator", [(1024, 26_219_627, 23_087_249), (256, 26_086_229, 23_052_353)])
def test_parameters_are_as_published(side, generator, discriminator):
    with torch.device("meta"):
        maker, judge = stylegan.generator(build(Config), spec(side), 0), stylegan.discriminator(build(Config), spec(side), 0)
    counts = [sum(p.numel() for p in part.parameters()) for part in (maker, maker.mapping, maker.synthesis, judge)]
    assert counts == [generator, 2_101_248, generator - 2_101_248, discriminator]


@pytest.mark.parametrize("fused", [None, True])
@pytest.mark.parametrize("labels", [0, 2])
def test_generator_equals_the_plain_one_at_every_stage_of_its_growth(labels, fused):
    variables, latent = plain.Variables(), normal(3, 6)
    label = torch.eye(3, 2, dtype=torch.float64) if labels else None
    fused_from = 8 if fused else 128

    def expected(lod):
        w = plain.mapping(variables, latent, label, layers=3, width=5)
        return plain.synthesis(variables, w[:, None].expand(-1, 6, -1), **SIZES, lod=lod, fused_from=fused_from)

    expected(0)
    ours = network(labels).double()
    load(ours, stylegan.official_generator_names(16, 3, bool(labels), fused), variables)
    for lod in (0, 0.25, 1, 1.5, 2):
        ours.synthesis.set_lod(lod)
        close(ours(latent, label), expected(lod))
        assert ours(latent, label, native=True).shape[2:] == (16 >> int(lod), 16 >> int(lod))


def test_up_convolutions_are_fused_from_128_pixels_in_the_authors_auto_mode():
    names, value = stylegan.official_generator_names(256), torch.arange(36.0).reshape(3, 3, 2, 2)
    turned = [side for side in (8, 64, 128, 256) if not torch.equal(names[f"synthesis.b{side}.conv0.weight"][1](value), value.permute(3, 2, 0, 1))]
    assert turned == [128, 256]


def test_discriminator_equals_the_plain_one_and_takes_the_output_of_the_label():
    variables, pictures = plain.Variables(), normal(8, 3, 16, 16).requires_grad_()
    label = torch.eye(8, 2, dtype=torch.float64)
    sizes = SIZES | {"outputs": 2, "blurred": True}
    plain.discriminator(variables, pictures, **sizes)
    judge = stylegan.discriminator(CONFIG, spec(), 2).double()
    load(judge, stylegan.official_discriminator_names(16), variables)
    for lod in (0, 1.5):
        judge.set_lod(lod)
        both = judge(pictures, label), (plain.discriminator(variables, pictures, **sizes, lod=lod) * label).sum(1)
        close(*both)
        first = [torch.autograd.grad(out.sin().sum(), pictures, create_graph=True)[0] for out in both]
        close(*first)
        close(*[torch.autograd.grad(gradient.square().sum(), pictures, retain_graph=True)[0] for gradient in first])


def test_random_noise_is_each_samples_own_plane_times_each_channels_strength():
    layer = stylegan.StyledLayer(2, 4, 5, (6, 6), "conv")
    torch.nn.init.normal_(layer.noise_strength)
    x, w = torch.randn(3, 2, 6, 6), torch.randn(3, 5)
    planes = alike(3).normal(3, 1, 6, 6)
    random = layer(x, w, alike(3), "random")
    for i in range(3):
        layer.noise_const.copy_(planes[i, 0])
        torch.testing.assert_close(layer(x[i : i + 1], w[i : i + 1], None, "const"), random[i : i + 1])
    assert not torch.allclose(layer(x, w, None, "none"), random)


def test_channels_leave_a_layer_with_the_mean_and_deviation_of_the_style():
    x, style = torch.randn(2, 3, 8, 8) * 5 + 2, torch.randn(2, 6)
    out = stylegan.adaptive_instance_norm(x, style)
    torch.testing.assert_close(out.mean((2, 3)), style[:, 3:], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(out.std((2, 3), correction=0), (style[:, :3] + 1).abs(), rtol=1e-4, atol=1e-5)


def test_mixing_swaps_a_tail_of_layers_in_the_given_fraction_of_samples():
    ours, n = network(), 2000
    latent = torch.randn(n, 6)
    w = ours.mapping(latent)
    mixed = ours.mixed(w, None, alike(0), 0.9)
    other = ours.mapping(alike(0).normal(n, 6))
    own = (mixed == w).all(2)
    assert torch.equal(mixed[~own], other[~own])
    kept = own.sum(1)
    assert torch.equal(own, torch.arange(6) < kept[:, None])  # a head of its own layers, then the other's
    counts = torch.bincount(kept, minlength=7) / n
    torch.testing.assert_close(counts, torch.tensor([0, 0.18, 0.18, 0.18, 0.18, 0.18, 0.1]), atol=0.04, rtol=0)
    ours.synthesis.set_lod(1.5)  # 8x8: four layers
    kept = (ours.mixed(w, None, alike(0), 1.0) == w).all(2).sum(1)
    assert kept.min() == 1 and kept.max() == 3


def test_mean_style_follows_the_first_latents_alone_and_truncation_moves_towards_it():
    ours = network()
    latent = torch.randn(16, 6)
    ours(latent, draws=alike(0), mixing=0.9)
    ours.mapping.w_avg.settle(lambda value: value)
    ours.eval()
    w = ours.mapping(latent)
    torch.testing.assert_close(ours.mapping.w_avg.value, 0.005 * w[:, 0].mean(0))
    average = ours.mapping.w_avg.value
    half = ours.mapping(latent, None, 0.5, 2)
    torch.testing.assert_close(half[:, :2], (w[:, :2] + average) / 2)
    assert torch.equal(half[:, 2:], w[:, 2:])
    assert torch.equal(ours(latent), ours.synthesis(w))


def test_the_constant_begins_at_one_and_its_planes_do_not_drown_in_rounding():
    ours = network()
    assert torch.equal(ours.synthesis.b4.const, torch.ones(1, 7, 4, 4))
    ours(torch.randn(4, 6), noise="none").square().sum().backward()
    # with no noise yet AdaIN cancels this bias, and the gradient of a constant plane is 0
    assert ours.synthesis.b4.conv0.bias.grad.abs().max() < 1e-6
