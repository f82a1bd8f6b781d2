"""Oracle: the number of trainable parameters of the authors' own code, exactly (on the meta device: nothing is allocated)."""

import pytest
import torch

from agon import catalog
from agon.config import build
from agon.data.source import DataSpec

R3GAN = {"width": 768, "latent_dim": 64, "blocks": 2}
PUBLISHED = {
    "r3gan cifar10": ("r3gan", 32, 0, R3GAN, 20_732_160, 20_683_776),
    "r3gan cifar10, 10 classes": ("r3gan", 32, 10, R3GAN, 20_781_952, 21_280_512),
    "sngan 32": ("sngan", 32, 0, {}, 4_276_739, 1_053_825),
    "sngan 32, 10 classes": ("sngan", 32, 10, {}, 4_304_387, 1_055_105),
    "sngan 64": ("sngan", 64, 0, {"width": 1024, "discriminator_width": 1024}, 12_220_675, 10_141_441),
    "dcgan 64": ("dcgan", 64, 0, {}, 3_576_704, 2_765_568),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_published(name):
    game, size, classes, fields, generator, discriminator = PUBLISHED[name]
    cls = catalog.load(game)
    with torch.device("meta"):
        built = cls(build(cls.Config, fields), DataSpec("image", (3, size, size), classes))
    assert sum(p.numel() for p in built.generator.parameters()) == generator
    assert sum(p.numel() for p in built.discriminator.parameters()) == discriminator


def test_dcgan_64_is_the_usual_list_of_shapes():
    cls = catalog.load("dcgan")
    with torch.device("meta"):
        built = cls(build(cls.Config), DataSpec("image", (3, 64, 64)))

    def norm(width):
        return [(width,), (width,)]

    widths = [512, 256, 128, 64]
    generator = [(512 * 4 * 4, 100), *norm(512)]  # the usual first transposed convolution, as a matrix
    for a, b in zip(widths, widths[1:], strict=False):
        generator += [(a, b, 4, 4), *norm(b)]
    assert [tuple(p.shape) for p in built.generator.parameters()] == [*generator, (64, 3, 4, 4)]
    discriminator = [(64, 3, 4, 4)]
    for a, b in zip(widths[::-1], widths[::-1][1:], strict=False):
        discriminator += [(b, a, 4, 4), *norm(b)]
    # the usual last convolution, 512 x 4 x 4 to one number, is the linear head here
    assert [tuple(p.shape) for p in built.discriminator.parameters()] == [*discriminator, (1, 512 * 4 * 4)]
