"""pix2pix with the networks and losses of pix2pixHD. Oracle: the terms written out from the discriminator's own maps."""

import pytest
import torch

from agon import catalog
from agon.config import build
from agon.data.source import Batch, DataSpec
from agon.game import Context
from agon.networks.multiscale import MultiscaleDiscriminator
from agon.networks.pix2pixhd import LocalEnhancer

SPEC = DataSpec("image", (3, 16, 32), source_shape=(1, 16, 32), source_kind="map", source_classes=("a", "b", "c"), paired=True)
FIELDS = {"network": "global", "downs": 2, "blocks": 1, "scales": 2, "patch_layers": 1, "adversarial": "lsgan", "norm": "instance", "l1_weight": 0.0,
          "feature_weight": 10.0, "width": 4}  # fmt: skip


def made(**fields):
    cls = catalog.load("pix2pix")
    torch.manual_seed(0)
    return cls(build(cls.Config, cls.presets["tiny"].fields, FIELDS | fields), SPEC)


def terms_of(game, batch):
    ctx = Context(step=0, num_images=0, progress=0.0, logging=False, mean_over_ranks=lambda x: x)
    ctx.begin(torch.Generator().manual_seed(0), 0, len(batch), len(batch))
    return game.discriminator_loss(batch, ctx), game.generator_loss(batch, ctx)


def batch():
    draws = torch.Generator().manual_seed(1)
    source = torch.randint(0, 3, (2, 1, 16, 32), generator=draws, dtype=torch.uint8)
    return Batch(torch.rand(2, 3, 16, 32, generator=draws) * 2 - 1, source=source)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_terms_are_summed_over_scales_and_features_compared(norm):
    game, given = made(norm=norm), batch()
    for_d, for_g = terms_of(game, given)
    source = game.encode(given.source)
    fake = game.generator(source)
    assert isinstance(game.discriminator, MultiscaleDiscriminator) and len(game.discriminator.judges) == 2
    real_maps, fake_maps = (game.discriminator(torch.cat([source, picture], 1)) for picture in (given.real, fake))
    expected = sum(0.5 * ((r[-1] - 1).square().mean() + f[-1].square().mean()) for r, f in zip(real_maps, fake_maps, strict=True))
    torch.testing.assert_close(for_d["adversarial"], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(for_g["adversarial"], sum((maps[-1] - 1).square().mean() for maps in fake_maps), rtol=1e-4, atol=1e-5)
    apart = [(r - f).abs().mean() for one, other in zip(real_maps, fake_maps, strict=True) for r, f in zip(one[:-1], other[:-1], strict=True)]
    torch.testing.assert_close(for_g["feature_matching"], 10 * torch.stack(apart).sum() / 2, rtol=1e-4, atol=1e-5)
    assert set(for_g) == {"adversarial", "feature_matching"}


@pytest.mark.parametrize("network", ["global", "local"])
def test_its_networks_translate_and_come_in_the_game(network):
    game = made(network=network)
    assert isinstance(game.generator, LocalEnhancer) == (network == "local") and game.multiple == (8 if network == "local" else 4)
    assert game.translate(batch().source[:, :, :13]).shape == (2, 3, 13, 32)


def test_the_published_preset_has_the_published_sizes():
    cls = catalog.load("pix2pix")
    spec = DataSpec("image", (3, 512, 1024), source_shape=(2, 512, 1024), source_kind="map", source_classes=tuple(map(str, range(35))), paired=True)
    with torch.device("meta"):
        game = cls(build(cls.Config, cls.presets["pix2pixhd"].fields, {"perceptual": "none"}), spec)
    sizes = [sum(p.numel() for p in network.parameters()) for network in (game.generator, game.discriminator)]
    assert sizes == [182_546_755, 8_404_803]  # the authors' code: 35 classes and edges, three scales
