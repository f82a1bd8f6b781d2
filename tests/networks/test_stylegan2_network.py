"""Oracles: the usual formulation (stylegan2_plain.py) with the same weights, the published parameter counts, and what a crossover means."""

from types import SimpleNamespace

import pytest
import stylegan2_plain as plain
import torch

from agon.data.source import DataSpec
from agon.game import RecordedDraws, SeededDraws
from agon.networks import stylegan2

USUAL = {
    "latent_dim": 512, "w_dim": 512, "mapping_layers": 8, "mapping_lr": 0.01, "channel_base": 32768, "channel_max": 512, "base_size": 4, "clamp": 256.0,
    "generator_architecture": "skip", "discriminator_architecture": "resnet", "minibatch_std": 4, "minibatch_std_channels": 1,
    "discriminator_mapping_layers": 8, "noise": True,
}  # fmt: skip
SMALL = {"latent_dim": 5, "w_dim": 6, "mapping_layers": 2, "channel_base": 48, "channel_max": 8, "discriminator_mapping_layers": 2, "mapping_lr": 0.01}


def config(**fields):
    return SimpleNamespace(**USUAL | fields)


def small(shape, classes=0, dtype=torch.float64, **fields):
    """Both networks with every weight and bias away from its starting value."""
    torch.manual_seed(0)
    chosen, spec = config(**SMALL | fields), DataSpec("image", shape)
    nets = [make(chosen, spec, classes).to(dtype) for make in (stylegan2.generator, stylegan2.discriminator)]
    for net in nets:
        for parameter in net.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
    return nets


def draws(seed=1):
    return SeededDraws(torch.Generator().manual_seed(seed))


def noises(g):
    return {name.removeprefix("synthesis.").removesuffix(".noise_const"): value for name, value in g.state_dict().items() if name.endswith("noise_const")}


@pytest.mark.parametrize(
    ("size", "classes", "fields", "expected"),
    [
        (256, 0, {"channel_base": 16384}, (24_767_458, 24_001_089)),
        (256, 0, {}, (30_034_338, 28_864_129)),
        (512, 0, {}, (30_276_583, 28_982_849)),
        (1024, 0, {}, (30_370_060, 29_012_513)),
        (256, 0, {"channel_base": 16384, "mapping_layers": 2}, (23_191_522, 24_001_089)),
        (256, 1000, {"channel_base": 16384}, (25_542_114, 26_876_992)),
        (32, 0, {"mapping_layers": 2, "discriminator_architecture": "orig"}, (19_947_539, 20_720_641)),
        (32, 10, {"mapping_layers": 2, "discriminator_architecture": "orig"}, (20_215_315, 23_089_664)),
    ],
)
def test_published_parameter_counts(size, classes, fields, expected):
    with torch.device("meta"):
        nets = [make(config(**fields), DataSpec("image", (3, size, size)), classes) for make in (stylegan2.generator, stylegan2.discriminator)]
    assert tuple(sum(p.numel() for p in net.parameters()) for net in nets) == expected
    assert nets[0].num_ws == 2 * size.bit_length() - 4


def compare(found, expected, inputs, tolerance):
    """Values, gradients, and gradients of the squared gradients in the first input (a gradient penalty)."""

    def all_of(out):
        first = torch.autograd.grad(out.square().sum(), inputs, create_graph=True)
        return [out, *first, *torch.autograd.grad(first[0].square().sum(), inputs[1:], allow_unused=True)]

    for a, b in zip(all_of(found), all_of(expected), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert (a - b).abs().max() <= tolerance * b.abs().max(), ((a - b).abs().max(), b.abs().max())


CASES = [
    ((3, 16, 16), 0, {}, torch.float64),
    ((1, 8, 8), 3, {"clamp": 0.0}, torch.float32),
    ((2, 12, 8), 3, {"generator_architecture": "resnet", "discriminator_architecture": "skip", "clamp": 0.5}, torch.float64),
    ((4, 8, 12), 0, {"generator_architecture": "orig", "discriminator_architecture": "orig", "minibatch_std": 2, "minibatch_std_channels": 2}, torch.float64),
]


@pytest.mark.parametrize(("shape", "classes", "fields", "dtype"), CASES)
def test_generator_equals_the_usual_formulation(shape, classes, fields, dtype):
    g, _ = small(shape, classes, dtype, **fields)
    z, c = torch.randn(3, 5, dtype=dtype), torch.eye(3, dtype=dtype)[[2, 0, 1]] if classes else None
    torch.testing.assert_close(g.mapping(z, c)[:, 1], plain.mapping(g.state_dict(), "mapping.", z, c, 2), atol=1e-6, rtol=1e-5)
    w = g.mapping(z, c).detach().requires_grad_()
    weights = [p for p in g.synthesis.parameters()]
    state = dict(g.named_parameters())
    kind, clamp = fields.get("generator_architecture", "skip"), fields.get("clamp", 256.0)
    expected = plain.synthesis(state, w, g.synthesis.blocks, noises(g), kind, clamp)
    compare(g.synthesis(w), expected, [w, *weights], 1e-9 if dtype == torch.float64 else 1e-4)


@pytest.mark.parametrize(("shape", "classes", "fields", "dtype"), CASES)
def test_discriminator_equals_the_usual_formulation(shape, classes, fields, dtype):
    _, d = small(shape, classes, dtype, **fields)
    x, c = torch.randn(4, *shape, dtype=dtype, requires_grad=True), torch.eye(3, dtype=dtype)[[2, 0, 1, 1]] if classes else None
    options = {"group": fields.get("minibatch_std", 4), "planes": fields.get("minibatch_std_channels", 1)}
    kind, clamp = fields.get("discriminator_architecture", "resnet"), fields.get("clamp", 256.0)
    expected = plain.discriminator(dict(d.named_parameters()), x, c, d.blocks, kind, clamp, mapping_layers=2, **options)
    compare(d(x, c), expected, [x, *d.parameters()], 1e-9 if dtype == torch.float64 else 1e-4)
    features = d.features(x, c)
    assert features.shape == (4, d.out_features)
    if not classes:
        torch.testing.assert_close(getattr(d, d.blocks[-1]).out(features)[:, 0], expected)


def test_clamp_is_felt():
    g, d = small((3, 8, 8), clamp=0.3)
    free, loose = small((3, 8, 8), clamp=0.0)
    z, x = torch.randn(2, 5).double(), torch.randn(2, 3, 8, 8).double()
    assert not torch.allclose(g(z), free(z)) and not torch.allclose(d(x), loose(x))


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
def test_names_are_the_published_ones(architecture):
    g, d = small((3, 16, 16), 2, generator_architecture=architecture, discriminator_architecture=architecture)
    layer = ("weight", "bias", "noise_strength", "noise_const", "affine.weight", "affine.bias")
    expected = {f"synthesis.{b}.{c}.{p}" for b in ("b4", "b8", "b16") for c in ("conv0", "conv1") for p in layer if (b, c) != ("b4", "conv0")}
    pictures = ("b4", "b8", "b16") if architecture == "skip" else ("b16",)
    expected |= {f"synthesis.{b}.torgb.{p}" for b in pictures for p in ("weight", "bias", "affine.weight", "affine.bias")} | {"synthesis.b4.const"}
    expected |= {f"mapping.{m}.{p}" for m in ("embed", "fc0", "fc1") for p in ("weight", "bias")} | {"mapping.w_avg.value"}
    expected |= {f"synthesis.{b}.skip.weight" for b in ("b8", "b16") if architecture == "resnet"}
    assert set(g.state_dict()) == expected
    expected = {f"{b}.{c}.{p}" for b in ("b16", "b8") for c in ("conv0", "conv1") for p in ("weight", "bias")}
    expected |= {f"{b}.fromrgb.{p}" for b in (("b16", "b8", "b4") if architecture == "skip" else ("b16",)) for p in ("weight", "bias")}
    expected |= {f"{b}.skip.weight" for b in ("b16", "b8") if architecture == "resnet"}
    expected |= {f"{m}.{p}" for m in ("b4.conv", "b4.fc", "b4.out", "mapping.embed", "mapping.fc0", "mapping.fc1") for p in ("weight", "bias")}
    assert set(d.state_dict()) == expected


def test_random_noise_is_drawn_per_sample_and_scaled_by_its_strength():
    g, _ = small((1, 8, 12))
    w = g.mapping(torch.randn(2, 5).double())
    recorded = RecordedDraws(draws())
    found = g.synthesis(w, recorded)
    assert [tuple(given.shape) for given in recorded.given] == [(2, 1, 4, 6), (2, 1, 8, 12), (2, 1, 8, 12)]
    given = dict(zip(("b4.conv1", "b8.conv0", "b8.conv1"), recorded.given, strict=True))
    torch.testing.assert_close(found, plain.synthesis(g.state_dict(), w, g.synthesis.blocks, given, clamp=256.0))
    torch.testing.assert_close(g.synthesis(w, draws(), "none"), plain.synthesis(g.state_dict(), w, g.synthesis.blocks, clamp=256.0))
    torch.testing.assert_close(g.synthesis(w), g.synthesis(w, draws(), "const"))
    assert not torch.allclose(g.synthesis(w), found)


def test_without_noise_there_is_nothing_of_it():
    g, _ = small((1, 8, 8), noise=False)
    assert not [name for name in g.state_dict() if "noise" in name]
    z = torch.randn(2, 5).double()
    torch.testing.assert_close(g(z, draws=draws()), g(z))


def test_each_sample_has_its_own_crossover():
    g, _ = small((1, 8, 8))
    n, z = 400, torch.randn(400, 5).double()
    recorded = RecordedDraws(draws())
    w = g.styles(z, None, recorded, mixing=0.75)
    other = recorded.given[0].double()
    first, second = g.mapping(z), g.mapping(other)
    own = torch.isclose(w, first, rtol=0, atol=1e-9).all(2)
    torch.testing.assert_close(w, torch.where(own[:, :, None], first, second))
    assert bool((own[:, :-1] >= own[:, 1:]).all())  # its own first, the other's after
    counts = own.sum(1)  # 1 ... num_ws - 1: mixed there; num_ws: not mixed
    assert g.num_ws == 4 and counts.min() == 1
    shares = [(counts == i).double().mean().item() for i in (1, 2, 3, 4)]
    assert shares == pytest.approx([0.25] * 4, abs=4 * (0.25 * 0.75 / n) ** 0.5)
    torch.testing.assert_close(g.styles(z, None, draws(), mixing=0.0), first)


def test_truncation_reaches_the_picture():
    g, _ = small((1, 8, 8))
    g.eval()
    g.mapping.w_avg.value.copy_(torch.randn(6))
    z = torch.randn(3, 5).double()
    mean = g.synthesis(g.mapping.w_avg.value.double().expand(3, g.num_ws, 6))
    torch.testing.assert_close(g(z, truncation=0.0), mean)
    assert not torch.allclose(g(z, truncation=0.0, truncation_layers=2), mean)


def test_bf16_stays_near_float32_and_channels_last_changes_nothing():
    g, d = small((3, 16, 16), dtype=torch.float32)
    z, x = torch.randn(2, 5), torch.randn(2, 3, 16, 16)
    image, logits = g(z), d(x)
    with torch.autocast("cpu", torch.bfloat16):
        half, half_logits = g(z), d(x)
    assert half.dtype == half_logits.dtype == torch.float32
    assert (half - image).std() < 0.03 * image.std() and (half_logits - logits).abs().max() < 0.1
    g, d = g.to(memory_format=torch.channels_last), d.to(memory_format=torch.channels_last)
    torch.testing.assert_close(g(z), image, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(d(x.contiguous(memory_format=torch.channels_last)), logits, atol=1e-4, rtol=1e-4)


def test_without_minibatch_deviation_samples_are_independent():
    _, d = small((1, 8, 8), minibatch_std=0)
    x = torch.randn(4, 1, 8, 8).double()
    torch.testing.assert_close(d(x)[:2], d(x[:2]))
    _, d = small((1, 8, 8))
    assert not torch.allclose(d(x)[:2], d(x[:2]))
