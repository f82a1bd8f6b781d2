"""Oracles: the authors' numbers of parameters, formulas written out plainly, the shipped classifier itself, and that what is frozen stays."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from network_helpers import randomise
from torch import nn

from agon import catalog
from agon.config import build
from agon.data.source import ArraySource, Batch, DataSpec
from agon.errors import UserError
from agon.metrics.features.digits import shipped
from agon.networks import projected
from agon.train.trainer import Trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


class Pyramid(nn.Module):
    """Maps with as many channels and places as EfficientNet-lite0's four, and a weight that could learn."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x):
        x = x * self.scale[:, None, None]
        maps = []
        for step, channels in ((4, 24), (8, 40), (16, 112), (32, 320)):
            maps.append(F.avg_pool2d(x, step).mean(1, keepdim=True).expand(-1, channels, -1, -1))
        return maps


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "pyramid.pt"
    torch.jit.save(torch.jit.script(Pyramid()), str(path))
    return path


def pictures(*shape):
    return DataSpec("image", shape)


def config_of(**fields):
    cls = catalog.load("projectedgan")
    return build(cls.Config, cls.presets["tiny"].fields, fields)


@pytest.mark.parametrize(
    ("fields", "size", "count"),
    [({"width": 128}, 256, 105_684_175), ({"width": 128, "lite": True}, 256, 79_354_307), ({"width": 64}, 1024, 30_672_171)],
    ids=["256", "256 lite", "1024"],
)
def test_as_many_parameters_as_the_authors_networks(file, fields, size, count):
    cls = catalog.load("projectedgan")
    config = build(cls.Config, cls.presets["image"].fields, {"features": str(file), **fields})
    with torch.device("meta"):
        generator = projected.generator(config, pictures(3, size, size), 0)
        discriminator = projected.discriminator(config, pictures(3, 256, 256), 0)
    assert sum(p.numel() for p in generator.parameters()) == count
    assert sum(p.numel() for p in discriminator.parameters()) == 10_331_328
    mixers = [*discriminator.projector.across.buffers(), *discriminator.projector.scales.buffers()]
    assert sum(b.numel() for b in mixers) == 376_768  # with EfficientNet-lite0's 2,958,848 up to its last map: the published 3,335,616


class Given:
    """Draws of one seed that can be had again."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(3)

    def normal(self, n, *shape):
        return torch.randn(n, *shape, generator=self.generator)


def plain_gated(p, name, x, noise):
    x = F.conv2d(x, p[f"{name}.conv.weight"], padding=1)
    if f"{name}.noise.strength" in p and noise is not None:
        x = x + p[f"{name}.noise.strength"] * noise.normal(len(x), 1, *x.shape[2:])
    half = x.shape[1] // 2
    return x[:, :half] / (1 + torch.exp(-x[:, half:]))


@pytest.mark.parametrize("lite", [False, True])
@pytest.mark.parametrize("noisy", [False, True])
def test_generator_equals_its_formula(lite, noisy):
    """32x48 from 2x3: four doublings, of which the last is the 64 of the papers and is multiplied with what the base says."""
    generator = randomise(projected.generator(config_of(width=2, lite=lite), pictures(3, 32, 48), 0)).double()
    p, latent = generator.state_dict(), torch.randn(2, 8, dtype=torch.float64)
    noise = Given() if noisy else None
    z = latent / torch.sqrt((latent * latent).mean(1, keepdim=True) + 1e-8)
    x = torch.einsum("nz,zchw->nchw", z, p["base.weight"])
    low = x[:, : x.shape[1] // 2] / (1 + torch.exp(-x[:, x.shape[1] // 2 :]))
    x = low
    for r in (8, 16, 32, 64):
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        for i in range(1 if lite else 2):
            x = plain_gated(p, f"doublings.b{r}.layers.{i}", x, noise)
    factor = F.conv2d(F.adaptive_avg_pool2d(low, 4), p["excitations.b64.conv1.weight"])
    factor = F.conv2d(factor / (1 + torch.exp(-factor)), p["excitations.b64.conv2.weight"])
    expected = F.conv2d(x / (1 + torch.exp(-factor)), p["to_picture.weight"], p["to_picture.bias"], padding=1)
    torch.testing.assert_close(generator(latent, None, Given() if noisy else None), expected, atol=1e-9, rtol=1e-9)


def enlarging(before, after):
    """(after, before): linear interpolation whose ends stay ends."""
    matrix = torch.zeros(after, before)
    for i in range(after):
        place = i * (before - 1) / (after - 1) if after > 1 else 0.0
        left = min(int(place), before - 1)
        matrix[i, left] += 1 - (place - left)
        if place > left:
            matrix[i, left + 1] += place - left
    return matrix


def enlarged(x, size):
    return torch.einsum("ih,nchw,jw->ncij", enlarging(x.shape[2], size[0]), x, enlarging(x.shape[3], size[1]))


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 12, 8)], ids=str)
def test_mixing_equals_its_formula(shape):
    projector = projected.Projector(config_of(), pictures(*shape))
    x = torch.randn(2, *shape)
    pairs = zip(projector.across, projector.maps(x), strict=True)
    maps = [torch.einsum("oc,nchw->nohw", mix.weight[:, :, 0, 0], m) + mix.bias[:, None, None] for mix, m in pairs]
    found, coarser = projector(x), None
    for i in (3, 2, 1, 0):
        total = maps[i] if coarser is None else maps[i] + coarser
        size = maps[i - 1].shape[2:] if i else (2 * maps[0].shape[2], 2 * maps[0].shape[3])
        scale = projector.scales[i]
        coarser = torch.einsum("oc,nchw->nohw", scale.weight[:, :, 0, 0], enlarged(total, size)) + scale.bias[:, None, None]
        torch.testing.assert_close(found[i], coarser, atol=1e-5, rtol=1e-4)
        assert tuple(found[i].shape[1:]) == projector.shapes[i]


def test_each_map_has_its_own_discriminator():
    discriminator = randomise(projected.discriminator(config_of(), pictures(1, 32, 32), 0))
    x = torch.randn(2, 1, 32, 32)
    logits = []
    for judge, m in zip(discriminator.maps, discriminator.projector(x), strict=True):
        layers = [layer for layer in judge.layers if isinstance(layer, nn.Conv2d)]
        for layer in layers:
            m = F.leaky_relu(F.conv2d(m, layer.weight, layer.bias, stride=2, padding=1), 0.2)
        logits.append(F.conv2d(m, judge.head.weight).flatten(1))
    found = discriminator(x)
    torch.testing.assert_close(found, torch.cat(logits, 1), atol=1e-5, rtol=1e-4)
    assert [len([x for x in judge.layers if isinstance(x, nn.Conv2d)]) for judge in discriminator.maps] == [4, 3, 2, 1]


@pytest.mark.parametrize("features", ["random", "file"])
def test_what_is_frozen_stays_and_lets_gradients_through(features, file):
    source = ArraySource("noise", pictures(3, 32, 32), np.random.default_rng(0).integers(0, 256, (32, 3, 32, 32), dtype=np.uint8))
    fields = {"features": str(file) if features == "file" else "random", "optimizer.lr": 0.02, "precision": "fp32"}
    game = catalog.load("projectedgan")(config_of(**fields), source.spec)
    trainer = Trainer(game, source)
    projector = game.discriminator.projector
    assert not list(projector.parameters())
    before = {name: value.clone() for name, value in projector.state_dict().items()}
    generator = [p.clone() for p in game.generator.parameters()]
    for _ in range(2):
        trainer.advance()
    assert before and all(torch.equal(value, before[name]) for name, value in projector.state_dict().items())
    assert all(not torch.equal(p, q) for p, q in zip(game.generator.parameters(), generator, strict=True) if p.numel() > 1)
    if features == "file":
        assert not any(p.requires_grad for p in projector.features._held[0].parameters())  # nor is their gradient computed
        assert set(before) == {f"{m}.{i}.{kind}" for m in ("across", "scales") for i in range(4) for kind in ("weight", "bias")} | {"features.fingerprint"}


def test_mixers_depend_on_their_own_seed_alone():
    def drawn(seed, own):
        torch.manual_seed(seed)
        return projected.Projector(config_of(features_seed=own), pictures(1, 8, 8)).state_dict()

    first, again, other = drawn(0, 0), drawn(1, 0), drawn(0, 1)
    assert all(torch.equal(first[k], again[k]) and not torch.equal(first[k], other[k]) for k in first)


def test_batch_norm_is_on_by_default_and_real_and_fake_are_judged_apart():
    config = build(catalog.load("projectedgan").Config, {"width": 2, "discriminator_width": 4, "mixing_width": 4, "features_width": 4, "base_size": 2})
    game = catalog.load("projectedgan")(config, pictures(1, 16, 16))
    assert game.coupled == {"generator", "discriminator"}
    game.train()
    assert not game.discriminator.projector.training and game.discriminator.maps.training


def test_pictures_are_enlarged_to_what_the_features_want(file):
    seen = projected.Projector(config_of(features=str(file), feature_size=64), pictures(1, 32, 48))
    x = torch.randn(2, 1, 32, 48)
    expected = Pyramid()(F.interpolate(x, (64, 96), mode="bilinear", align_corners=False).repeat(1, 3, 1, 1))
    for found, wanted in zip(seen.maps(x), expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_digits_features_are_those_of_the_shipped_classifier():
    features, net = projected.DigitsFeatures(pictures(1, 8, 8)), shipped().net
    x = torch.rand(4, 1, 8, 8) * 2 - 1
    with torch.no_grad():
        expected, y = [], x
        for i, layer in enumerate(net.body):
            y = layer(y)
            if i % 3 == 2:
                expected.append(y)
        for found, wanted in zip(features(x), expected, strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    with pytest.raises(UserError, match="1x8x8"):
        projected.DigitsFeatures(pictures(3, 8, 8))


def test_another_file_of_features_is_refused(file, tmp_path):
    trained = projected.FileFeatures(str(file)).state_dict()
    other = tmp_path / "other.pt"
    with torch.no_grad():
        pyramid = Pyramid()
        pyramid.scale += 1
    torch.jit.save(torch.jit.script(pyramid), str(other))
    projected.FileFeatures(str(file)).load_state_dict(trained)
    with pytest.raises(UserError, match="not the file"):
        projected.FileFeatures(str(other)).load_state_dict(trained)
    (tmp_path / "text.pt").write_text("no network")
    with pytest.raises(UserError, match="not a TorchScript file"):
        projected.FileFeatures(str(tmp_path / "text.pt"))
    with pytest.raises(UserError, match="There is no"):
        projected.FileFeatures(str(tmp_path / "nothing.pt"))


def test_the_hinge_is_the_mean_over_all_places():
    game = catalog.load("projectedgan")(config_of(), pictures(1, 8, 8))
    real, fake = torch.tensor([[2.0, 0.0], [1.0, -1.0]]), torch.tensor([[-2.0, 0.0], [0.0, 1.0]])
    batch = Batch(torch.zeros(2, 1, 8, 8))
    assert game.discriminator_terms(real, fake, batch)["adversarial"].item() == (0 + 1 + 0 + 2) / 4 + (0 + 1 + 1 + 2) / 4
    assert game.generator_terms(fake, None, batch)["adversarial"].item() == 0.25
    assert game.logits(real).tolist() == [1.0, 0.0]
