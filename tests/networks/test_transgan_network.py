"""Oracles: the authors' numbers of parameters, a plain implementation (transgan_plain.py), numerical second derivatives, closed forms."""

import pytest
import torch
import transgan_plain as plain
from network_helpers import randomise

from agon import catalog
from agon.config import build
from agon.data.source import Batch, DataSpec
from agon.errors import UserError
from agon.game import SeededDraws
from agon.networks import transgan

SMALL = {
    "latent_dim": 5, "width": 16, "discriminator_width": 8, "heads": 2, "discriminator_heads": 2, "discriminator_depth": 1, "base_size": 2, "depth": (1, 2),
}  # fmt: skip


def pictures(*shape):
    return DataSpec("image", shape)


def config_of(**fields):
    return build(catalog.load("transgan").Config, SMALL, fields)


def of(part, spec, **fields):
    torch.manual_seed(0)
    return randomise(getattr(transgan, part)(config_of(**fields), spec, 0)).double()


@pytest.mark.parametrize(("preset", "size", "generator", "discriminator"), [("cifar10", 32, 83_312_495, 10_210_400), ("stl10", 48, 168_466_623, 10_341_536)])
def test_presets_have_as_many_parameters_as_the_authors_networks(preset, size, generator, discriminator):
    cls = catalog.load("transgan")
    with torch.device("meta"):
        built = cls(build(cls.Config, cls.presets[preset].fields), pictures(3, size, size))
    assert sum(p.numel() for p in built.generator.parameters()) == generator
    assert sum(p.numel() for p in built.discriminator.parameters()) == discriminator


@pytest.mark.parametrize("norm", ["layer", "pixel"])
@pytest.mark.parametrize("whole", [12, 3])
def test_generator_equals_the_plain_one(norm, whole):
    """A rectangle of three resolutions; with small wholes, windows of 2x3 and the last doubling's tokens."""
    generator = of("generator", pictures(3, 8, 12), norm=norm, whole=whole, window=3, pixel_shuffles=1)
    windows = [(2, 3), (4, 6), (8, 12)] if whole == 12 else [(2, 3), (2, 3), (2, 3)]
    ways = (None, plain.bicubic, plain.shuffle)
    stages = [(grid, window, depth, way) for grid, window, depth, way in zip([(2, 3), (4, 6), (8, 12)], windows, (1, 2, 2), ways, strict=True)]
    latent = torch.randn(2, 5, dtype=torch.float64)
    expected = torch.stack([plain.generator(generator.state_dict(), each, stages, 2) for each in latent])
    torch.testing.assert_close(generator(latent), expected, atol=1e-9, rtol=1e-9)


class Given:
    """Draws that were drawn before, in their order."""

    def __init__(self, numbers):
        self.numbers = iter(numbers)

    def normal(self, n, *shape):
        drawn = next(self.numbers)
        assert drawn.shape == (n, *shape)
        return drawn


@pytest.mark.parametrize("norm", ["layer", "pixel"])
@pytest.mark.parametrize("noisy", [False, True])
def test_discriminator_equals_the_plain_one(norm, noisy):
    discriminator = of("discriminator", pictures(2, 8, 12), norm=norm)
    x = torch.randn(2, 2, 8, 12, dtype=torch.float64)
    noises = [torch.randn(2, tokens, 1, dtype=torch.float64) for tokens in (24, 6, 7)]
    discriminator.draws = Given(noises) if noisy else None
    state = discriminator.state_dict()
    expected = torch.stack([plain.discriminator(state, each, 2, 1, 2, [n[i] for n in noises] if noisy else None) for i, each in enumerate(x)])
    torch.testing.assert_close(discriminator(x), expected.float(), atol=1e-5, rtol=1e-5)


def test_noise_is_for_training_alone_and_starts_without_strength():
    discriminator = transgan.discriminator(config_of(), pictures(1, 8, 8), 0)
    x = torch.randn(3, 1, 8, 8)
    quiet = discriminator(x)
    discriminator.draws = SeededDraws(torch.Generator().manual_seed(0))
    assert torch.equal(discriminator(x), quiet)
    randomise(discriminator)
    loud = discriminator(x)
    discriminator.eval()
    assert not torch.equal(discriminator(x), loud) and torch.equal(discriminator(x), discriminator(x))


def test_second_derivatives_are_the_numerical_ones():
    discriminator = of("discriminator", pictures(1, 4, 4), patch=1)
    x = torch.randn(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    judge = lambda x: discriminator.features(x).sum(1)  # noqa: E731
    assert torch.autograd.gradgradcheck(judge, (x,))


@pytest.mark.parametrize(("shape", "patch"), [((1, 6, 10), 1), ((3, 12, 8), 2), ((2, 4, 12), 2)])
def test_patches_are_as_large_as_the_sides_allow(shape, patch):
    discriminator = transgan.discriminator(config_of(), pictures(*shape), 0)
    assert discriminator.from_fine.kernel_size == (patch, patch) and discriminator.from_coarse.kernel_size == (2 * patch, 2 * patch)
    assert discriminator(torch.randn(2, *shape)).shape == (2,)


def test_windows_tile_the_grid_and_keep_apart_what_they_part():
    """A change of one token reaches its own window alone."""
    attention = randomise(transgan.Attention(4, 1, (6, 4), transgan.window_of((6, 4), 4, 4), False))
    assert attention.window == (3, 4)
    x = torch.randn(1, 24, 4)
    changed = x.clone()
    changed[0, 5] += 1
    moved = (attention(x) != attention(changed)).any(2)[0].reshape(6, 4)
    assert moved[:3].all() and not moved[3:].any()


def test_widths_that_leave_no_whole_heads_are_refused():
    with pytest.raises(UserError, match="multiple of 32"):
        transgan.generator(config_of(width=16, heads=2), pictures(1, 8, 8), 0)


def test_drift_is_the_mean_square_on_real_samples():
    cls = catalog.load("transgan")
    game = cls(config_of(drift=0.5, pixel_shuffles=1), pictures(1, 8, 8))
    terms = game.discriminator_terms(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 6.0]), Batch(torch.zeros(2, 1, 8, 8)))
    assert terms["wasserstein"].item() == 2.0 and terms["drift"].item() == 2.5
