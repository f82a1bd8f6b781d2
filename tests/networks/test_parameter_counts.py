"""Oracle: the number of trainable parameters of the authors' own code, exactly (on the meta device: nothing is allocated)."""

import pytest
import torch

from agon import catalog
from agon.config import build
from agon.data.source import DataSpec
from agon.networks import pix2pixhd, spade
from agon.networks.patch import PatchDiscriminator
from agon.networks.resnet_translator import ResnetTranslator
from agon.networks.rrdb import RRDBNet
from agon.networks.srresnet import MSRResNet, SRResNet
from agon.networks.srvgg import SRVGGNetCompact
from agon.networks.stargan import StarGANDiscriminator, StarGANGenerator
from agon.networks.unet import UNet
from agon.networks.unet_discriminator import UNetDiscriminatorSN
from agon.networks.vgg_discriminator import VGGStyleDiscriminator

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


TRANSLATORS = {
    "pix2pix U-Net 256": (lambda: UNet(3, 3), 54_413_955),
    "pix2pix U-Net 128": (lambda: UNet(3, 3, depth=7), 41_828_995),
    "pix2pix discriminator": (lambda: PatchDiscriminator(6), 2_768_705),
    "CycleGAN ResNet-9": (lambda: ResnetTranslator(3, 3), 11_378_179),
    "CycleGAN ResNet-6": (lambda: ResnetTranslator(3, 3, blocks=6), 7_837_699),
    "SPADE COCO": (lambda: spade.SPADEGenerator(184, size=(256, 256)), 97_480_899),
    "SPADE ADE20K": (lambda: spade.SPADEGenerator(151, size=(256, 256)), 96_492_483),
    "SPADE Cityscapes": (lambda: spade.SPADEGenerator(36, size=(256, 512), doublings=6), 93_048_003),
    "SPADE most": (lambda: spade.SPADEGenerator(36, size=(256, 512), doublings=7), 93_570_659),  # counted in the authors' code, as pix2pixHD's
    "SPADE COCO with a latent": (lambda: spade.SPADEGenerator(184, size=(256, 256), latent_dim=256), 112_626_883),
    "SPADE encoder": (spade.SPADEEncoder, 10_463_424),
    "SPADE COCO discriminator": (lambda: spade.discriminator(187), 5_904_514),
    "SPADE ADE20K discriminator": (lambda: spade.discriminator(154), 5_836_930),
    "SPADE Cityscapes discriminator": (lambda: spade.discriminator(39), 5_601_410),
    "pix2pixHD global": (lambda: pix2pixhd.generator(36, 3), 182_546_755),
    "pix2pixHD local": (lambda: pix2pixhd.generator(36, 3, network="local", width=32), 182_857_059),
    "pix2pixHD discriminator": (lambda: pix2pixhd.discriminator(39), 8_404_803),
    "StarGAN, 5 domains": (lambda: StarGANGenerator(3, 5), 8_430_528),
    "StarGAN, 8 domains": (lambda: StarGANGenerator(3, 8), 8_439_936),
    "StarGAN discriminator 128, 5 domains": (lambda: StarGANDiscriminator(3, 5, (128, 128)), 44_762_048),
    "StarGAN discriminator 256, 5 domains": (lambda: StarGANDiscriminator(3, 5, (256, 256)), 44_884_928),
    "StarGAN discriminator 128, 8 domains": (lambda: StarGANDiscriminator(3, 8, (128, 128)), 44_786_624),
    "CycleGAN discriminator": (lambda: PatchDiscriminator(3, norm="instance"), 2_764_737),
    "ESRGAN RRDB-23 x4": (RRDBNet, 16_697_987),
    "ESRGAN RRDB-23 x2": (lambda: RRDBNet(scale=2), 16_703_171),
    "ESRGAN RRDB-6": (lambda: RRDBNet(blocks=6), 4_467_779),
    "MSRResNet x4": (MSRResNet, 1_517_571),
    # by hand: 9x9 in, 16 blocks and one convolution of 64 maps with norms and no biases, slopes, two steps of pixel-shuffle, 9x9 out
    "SRResNet x4": (SRResNet, (243 * 64 + 64 + 1) + 16 * (2 * (36_864 + 128) + 1) + 36_864 + 128 + 2 * (4 * 36_864 + 256 + 1) + (5_184 * 3 + 3)),
    "SRVGG 32": (lambda: SRVGGNetCompact(convs=32), 1_213_296),
    "SRVGG 16": (SRVGGNetCompact, 621_424),
    "ESRGAN discriminator 128": (lambda: VGGStyleDiscriminator((128, 128)), 14_499_401),
    "ESRGAN discriminator 256": (lambda: VGGStyleDiscriminator((256, 256)), 21_055_049),
    "Real-ESRGAN discriminator": (UNetDiscriminatorSN, 4_376_897),
}


@pytest.mark.parametrize("name", TRANSLATORS)
def test_translators_have_the_published_parameters(name):
    network, expected = TRANSLATORS[name]
    with torch.device("meta"):
        assert sum(p.numel() for p in network().parameters()) == expected
