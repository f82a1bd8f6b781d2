"""Class losses as an option of conditional games, and InfoGAN's codes. Oracles: invariants of gradients and identities of latents."""

import numpy as np
import pytest
import torch

from agon import catalog
from agon.config import build
from agon.data.source import ArraySource, DataSpec
from agon.errors import UserError
from agon.losses.class_contrast import data_to_data_cross_entropy
from agon.train.trainer import Trainer

SPEC = DataSpec("image", (1, 8, 8), 3)


def make(name, spec=SPEC, **fields):
    cls = catalog.load(name)
    torch.manual_seed(0)
    return cls(build(cls.Config, cls.presets["tiny"].fields, {"precision": "fp32", "num_critic": 1, **fields}), spec)


def source():
    random = np.random.default_rng(0)
    return ArraySource("noise", SPEC, random.integers(0, 256, (64, 1, 8, 8), dtype=np.uint8), random.integers(0, 3, 64))


@pytest.mark.parametrize("loss", ["contrastive", "d2d_ce"])
@pytest.mark.parametrize("game", ["sngan", "r3gan"])
def test_a_class_loss_replaces_the_projection_and_is_learned(game, loss):
    built = make(game, class_loss=loss, class_embedding_dim=6)
    assert built.discriminator.mode == "none" and built.condition_dim == 3  # the generator keeps its classes
    trainer = Trainer(built, source())
    before = {name: p.detach().clone() for name, p in built.named_parameters()}
    record = None
    for _ in range(10):
        record = trainer.advance() or record
    assert {"discriminator/class", "generator/class"} <= record["terms"].keys()
    moved = {name for name, p in built.named_parameters() if not torch.equal(p, before[name])}
    assert {"options.class_loss.embed.weight", "options.class_loss.proxies.weight"} <= moved


def test_the_term_is_the_loss_of_the_discriminators_features():
    built = make("sngan", class_loss="d2d_ce", class_embedding_dim=6, class_weight=0.5)
    option, real, label = built.options["class_loss"], torch.randn(8, 1, 8, 8), torch.arange(8) % 3
    expected = data_to_data_cross_entropy(option.embed(built.discriminator.features(real)), option.proxies.weight, label)
    turn = type("Turn", (), {"game": built, "real_seen": real, "condition": None, "batch": type("B", (), {"label": label})})
    torch.testing.assert_close(option.discriminator_terms(turn)["class"], 0.5 * expected)


@pytest.mark.parametrize("game", ["stylegan2", "stylegan", "progan", "transgan"])
def test_a_class_loss_needs_the_common_head(game):
    with pytest.raises(UserError, match="common head"):
        make(game, class_loss="contrastive")


def test_a_class_loss_needs_classes():
    with pytest.raises(UserError, match="compares classes"):
        make("sngan", DataSpec("image", (1, 8, 8)), class_loss="contrastive")


def test_codes_lie_at_the_latents_end_and_can_be_set():
    built = make("infogan")
    latent = built.draw_latent(500, torch.Generator().manual_seed(0))
    category, numbers = latent[:, 4:7], latent[:, 7:]
    assert torch.equal(category.sum(1), torch.ones(500)) and 130 < category[:, 0].sum() < 205 and -1 <= numbers.min() < -0.9 < 0.9 < numbers.max() <= 1
    built.eval()
    drawn = built.draw_latent(5, torch.Generator().manual_seed(0))
    drawn[:, 4:7], drawn[:, 7:] = torch.tensor([0.0, 0.0, 1.0]), 0.5
    torch.testing.assert_close(built.sample(5, seed=0, category=2, numbers=(0.5,)), built.from_latent(drawn).clamp(-1, 1))
    assert torch.equal(built.sample(5, seed=0, numbers=0.5), built.sample(5, seed=0, numbers=(0.5,)))
    for wrong in ({"category": 3}, {"category": "two"}, {"numbers": (0.1, 0.2)}, {"numbers": "much"}):
        with pytest.raises(UserError):
            built.sample(1, seed=0, **wrong)


def test_a_code_that_the_sample_shows_is_learned():
    """Points: three categories are read with certainty after a few hundred steps, far better than one in three."""
    random = np.random.default_rng(0)
    spec = DataSpec("points", (2,))
    data = ArraySource("cloud", spec, random.normal(size=(256, 2)).astype(np.float32))
    built = make("infogan", data.spec, batch_size=64, **{"optimizer.lr": 2e-3, "category_weight": 3.0, "log_every": 50})
    trainer = Trainer(built, data)
    found = [record["stats"]["category_accuracy"] for _ in range(300) if (record := trainer.advance())]
    assert found[0] < 0.8 < 0.9 < found[-1]
