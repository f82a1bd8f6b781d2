"""Oracles: the networks written plainly (biggan_plain.py), the parameter counts of the authors' own code, and equations in closed form."""

import math
from types import SimpleNamespace

import biggan_plain as plain
import pytest
import torch
from torch import nn

from agon import catalog
from agon.config import build
from agon.data.source import DataSpec
from agon.errors import UserError
from agon.layers.orthogonal import orthogonality
from agon.layers.spectral import iterate
from agon.networks.biggan import discriminator_stages, generator_widths, truncated

CIFAR = catalog.load("biggan").presets["cifar10"].fields
PUBLISHED = {
    "BigGAN 128": ("biggan", 128, 1000, {}, 70_433_988, 87_982_370),
    "BigGAN 128, width 64": ("biggan", 128, 1000, {"width": 64}, 31_978_628, 39_448_258),
    "BigGAN 256": ("biggan", 256, 1000, catalog.load("biggan").presets["imagenet256"].fields, 82_235_844, 99_225_890),
    "BigGAN CIFAR-10": ("biggan", 32, 10, CIFAR, 4_304_387, 4_207_361),
    "BigGAN-deep 128": ("biggan_deep", 128, 1000, {}, 50_244_484, 34_590_210),
    "SAGAN 128": ("sagan", 128, 1000, {}, 42_017_412, 39_448_258),
}
SMALL = {"width": 2, "discriminator_width": 2, "latent_dim": 11, "embedding_dim": 6}


def make(game, shape=(3, 32, 32), classes=5, **fields):
    """A game in float64 whose parameters and statistics are all away from 0 and 1."""
    torch.manual_seed(0)
    cls = catalog.load(game)
    built = cls(build(cls.Config, SMALL, fields), DataSpec("image", shape, classes)).double().eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        for name, buffer in built.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.copy_(torch.rand_like(buffer) * 0.4 + (0.3 if name.endswith("var") else -0.2))
    for _ in range(5):
        iterate(built)
    return built


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_published(name):
    game, size, classes, fields, generator, discriminator = PUBLISHED[name]
    cls = catalog.load(game)
    with torch.device("meta"):
        built = cls(build(cls.Config, fields, {"init": "default"}), DataSpec("image", (3, size, size), classes))
    assert sum(p.numel() for p in built.generator.parameters()) == generator
    assert sum(p.numel() for p in built.discriminator.parameters()) == discriminator


@pytest.mark.parametrize(
    ("game", "shape", "fields"),
    [
        ("biggan", (3, 32, 32), {"attention": (8,)}),
        ("biggan", (3, 64, 32), {"attention": (4,), "width": 1, "base_size": 2}),
        ("biggan", (1, 24, 16), {"hierarchical": False, "attention": (8,), "discriminator_attention": (2,)}),
        ("biggan_deep", (3, 32, 32), {"attention": (8,), "width": 4}),
        ("biggan_deep", (2, 64, 64), {"attention": (4,), "width": 1, "blocks": 3}),
        ("sagan", (3, 16, 16), {"attention": (8,)}),
    ],
    ids=str,
)
def test_networks_compute_what_is_written_down(game, shape, fields):
    built = make(game, shape, **fields)
    net, latent, label = built.generator, torch.randn(3, 11, dtype=torch.float64, requires_grad=True), torch.tensor([0, 4, 2])
    onehot = nn.functional.one_hot(label, 5).double()
    w = plain.weights_of(net)
    seen = w["shared.weight"].T[label] if net.shared is not None else onehot
    names = list(net.blocks)
    blocks = [name for name in names if not name.endswith("attention")]
    assert any(name.endswith("attention") for name in names) == (set(built.config.attention) != {4} or built.config.base_size == 2)
    if game == "biggan_deep":
        first = torch.cat([seen, latent], 1)
        conditions = [first] * len(blocks)
    elif built.config.hierarchical:
        k = 11 // (len(blocks) + 1)
        first, conditions = latent[:, :k], [torch.cat([seen, latent[:, k * (i + 1) : k * (i + 2)]], 1) for i in range(len(blocks))]
    else:
        first, conditions = latent, [seen] * len(blocks)
    mine, theirs = net(latent, onehot), plain.generator(w, names, first, conditions, net.base)
    torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-7)
    weight = torch.randn_like(mine)
    torch.testing.assert_close(*(torch.autograd.grad((y * weight).sum(), latent)[0] for y in (mine, theirs)), rtol=1e-5, atol=1e-6)

    x = (2 * torch.rand(3, *shape, dtype=torch.float64) - 1).requires_grad_()
    children = dict(built.discriminator.backbone.blocks.named_children())
    downs = [name for name, child in children.items() if getattr(child, "down", False)]
    mine = built.discriminator(x, onehot)
    theirs = plain.discriminator(plain.weights_of(built.discriminator), list(children), downs, x, label)
    torch.testing.assert_close(mine.double(), theirs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(*(torch.autograd.grad(y.sum(), x)[0].double() for y in (mine, theirs)), rtol=1e-5, atol=1e-6)


def test_the_published_lists_of_widths():
    """The first author's lists, as channels of the generator and behind the discriminator's blocks, for ch = 1."""
    generator = {32: [4] * 4, 64: [16, 16, 8, 4, 2], 128: [16, 16, 8, 4, 2, 1], 256: [16, 16, 8, 8, 4, 2, 1], 512: [16, 16, 8, 8, 4, 2, 1, 1]}
    judge = {32: [4] * 4, 64: [1, 2, 4, 8, 16], 128: [1, 2, 4, 8, 16, 16], 256: [1, 2, 4, 8, 8, 16, 16], 512: [1, 1, 2, 4, 8, 8, 16, 16]}
    config = SimpleNamespace(width=1, discriminator_width=0, base_size=4, multiples=(), attention=(4, 64), discriminator_attention=())
    for side, widths in generator.items():
        assert generator_widths(config, int(math.log2(side)) - 2) == widths
        found, downs, attended = discriminator_stages(config, DataSpec("image", (3, side, side)))
        assert found == judge[side] and sum(downs) == (2 if side == 32 else len(downs) - 1)
        behind = [side >> sum(downs[: i + 1]) for i in range(len(downs))]
        assert attended == [s in (4, 64) for s in behind]
    assert generator_widths(config, 8) == [16, 16, 8, 8, 4, 2, 1, 1, 1] and generator_widths(config, 1) == [4, 4]


def test_spectral_norm_takes_everything_but_embeddings_and_norms():
    for game, free in (("biggan", ["shared"]), ("sagan", ["blocks.b8.norm1.gain", "blocks.b8.norm2.shift"])):
        net = make(game, attention=(8,)).generator
        for name in free:
            assert not hasattr(net.get_submodule(name), "parametrizations")
        normed = [name for name, m in net.named_modules() if hasattr(m, "parametrizations")]
        assert {"project", "blocks.b8.conv1", "blocks.b32.shortcut", "blocks.b8_attention.value", "to_picture.conv"} <= set(normed)
        assert ("blocks.b8.norm1.gain" in normed) == (game == "biggan")
        layers = [name for name, m in net.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
        assert all(name in normed or name == "shared" or name.endswith(("gain", "shift")) for name in layers)
    judge = make("biggan").discriminator
    assert all(hasattr(m, "parametrizations") for m in judge.modules() if isinstance(m, nn.Linear | nn.Conv2d))


def test_orthogonal_regularisation_has_the_gradient_of_the_authors_code():
    """Added to the gradients there: beta * 2 (W W^T o (1 - I)) W; wide, tall and four-dimensional weights; classes' embeddings are left out."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 9), nn.Conv2d(3, 4, 3), nn.Conv2d(2, 20, 3), nn.Linear(7, 3), nn.BatchNorm2d(4)).double()
    net[3].free_scale = True
    orthogonality(net).backward()
    for layer in net[:3]:
        matrix = layer.weight.detach().flatten(1)
        gram = matrix @ matrix.T
        wanted = (2 * (gram * (1 - torch.eye(len(gram)))) @ matrix).view_as(layer.weight)
        torch.testing.assert_close(layer.weight.grad, wanted, rtol=1e-4, atol=1e-5)
    assert net[3].weight.grad is None and net[0].bias.grad is None
    with torch.no_grad():
        nn.init.orthogonal_(net[1].weight).mul_(3)
    assert orthogonality(nn.Sequential(net[1])).item() == pytest.approx(0, abs=1e-6)


def test_truncated_latents_have_the_law_of_normals_drawn_until_they_fit():
    torch.manual_seed(0)
    z = torch.randn(200_000)
    for threshold in (0.3, 1.0, 2.5):
        kept = z[z.abs() <= threshold]
        x = truncated(z, threshold)
        assert x.abs().max() <= threshold and torch.equal(x.sign(), z.sign())
        quantiles = torch.linspace(0.01, 0.99, 21)
        torch.testing.assert_close(x[:50_000].quantile(quantiles), kept[:50_000].quantile(quantiles), atol=0.03, rtol=0.02)
        assert (x[z.argsort()].diff() > -1e-5).all()
    torch.testing.assert_close(truncated(z, 8.0), z, atol=5e-3, rtol=1e-3)
    assert truncated(z, None) is z
    rows = z[:100].view(10, 10)
    part = truncated(rows, 0.5, 8)
    assert torch.equal(part[:, 8:], rows[:, 8:]) and torch.equal(part[:, :8], truncated(rows, 0.5)[:, :8])
    with pytest.raises(UserError, match="threshold"):
        truncated(z, 0.0)


def test_truncation_acts_on_samples_and_sagan_has_none():
    built = make("biggan", classes=0).float()
    full, same, narrow = built.sample(6, seed=1), built.sample(6, seed=1, truncation=None), built.sample(6, seed=1, truncation=0.01)
    assert torch.equal(full, same) and torch.pdist(narrow.flatten(1)).max() < 0.1 * torch.pdist(full.flatten(1)).min()
    with pytest.raises(UserError, match="truncation"):
        make("sagan").float().sample(2, seed=0, truncation=1.0)


def test_the_rest_of_an_uneven_latent_is_not_used_and_the_others_are():
    latent = torch.randn(4, 11, dtype=torch.float64, requires_grad=True)
    make("biggan").generator(latent, torch.eye(5, dtype=torch.float64)[:4]).square().sum().backward()  # 32 pixels: four parts of 11 // 4 = 2 numbers
    assert (latent.grad[:, :8] != 0).any(0).all() and (latent.grad[:, 8:] == 0).all()


def test_what_cannot_be_built_says_so():
    with pytest.raises(UserError, match="latent"):
        make("biggan", latent_dim=3)
    with pytest.raises(UserError, match="multiples"):
        make("biggan", multiples=(4, 4))
