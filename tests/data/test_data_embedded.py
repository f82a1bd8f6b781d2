"""digits, toy and shapes. Oracles: scikit-learn's own arrays, the mixtures' closed forms, geometry of the shapes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from agon.data import DATASETS, open_dataset
from agon.data.shapes import BACKGROUNDS, COLOURS, LEVELS, SHAPES, draw
from agon.errors import UserError

ALL = np.arange


def test_digits_are_scikit_learns_pixels_and_labels() -> None:
    source, bunch = open_dataset("digits"), load_digits()
    batch = source.read(ALL(1797))
    assert np.array_equal((batch.real.numpy()[:, 0] + 1) * 8, bunch.images) and batch.label.tolist() == bunch.target.tolist()
    assert source.spec.shape == (1, 8, 8) and source.spec.num_classes == 10 and source.spec.class_names[3] == "3"


def test_digits_splits_are_disjoint_and_complete() -> None:
    train, test = (open_dataset("digits", split=split) for split in ("train", "test"))
    assert (len(train), len(test)) == (1198, 599)
    whole = open_dataset("digits").read(ALL(1797)).real
    assert torch.equal(test.read(ALL(599)).real, whole[2::3])
    keep = torch.arange(1797) % 3 != 2
    assert torch.equal(train.read(ALL(1198)).real, whole[keep])
    assert len({source.fingerprint for source in (train, test, open_dataset("digits"))}) == 3


def test_digits_enlarged_keep_their_ink() -> None:
    small, large = open_dataset("digits"), open_dataset("digits", size=(16, 32), channels=3)
    assert large.spec.shape == (3, 16, 32)
    a, b = small.read(ALL(50)).real, large.read(ALL(50)).real
    assert torch.allclose(a.mean(dim=(1, 2, 3)), b.mean(dim=(1, 2, 3)), atol=0.05) and b.abs().max() <= 1
    assert torch.equal(b[:, 0], b[:, 2])


def test_the_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(UserError, match=r'pip install "agon-gan\[demo\]"'):
        open_dataset("digits")


@pytest.mark.parametrize(("name", "modes", "sigma"), [("toy:ring8", 8, 0.01), ("toy:grid25", 25, 0.05)])
def test_mixtures_are_pacgans(name: str, modes: int, sigma: float) -> None:
    source = open_dataset(name)
    points = source.read(ALL(100_000)).real.numpy()
    assert source.centers.shape == (modes, 2) and source.sigma == sigma and source.spec.num_classes == 0
    if modes == 8:
        assert np.allclose(np.hypot(*source.centers.T), 1) and np.allclose(source.centers[0], [1, 0])
    else:
        assert {tuple(c) for c in source.centers} == {(x, y) for x in range(-4, 5, 2) for y in range(-4, 5, 2)}
    nearest = ((points[:, None] - source.centers) ** 2).sum(-1).argmin(1)
    assert (nearest == source.labels).mean() == 1.0
    assert np.abs(np.bincount(source.labels) / 1e5 - 1 / modes).max() < 5 * np.sqrt(1 / modes / 1e5)
    residual = points - source.centers[source.labels]
    assert np.allclose(residual.std(axis=0), sigma, rtol=0.02) and np.abs(residual.mean(axis=0)).max() < 5 * sigma / np.sqrt(1e5)
    within = (np.hypot(*residual.T) < 3 * sigma).mean()
    assert abs(within - (1 - np.exp(-4.5))) < 0.002  # Rayleigh: 98.9 %
    assert open_dataset(name).fingerprint == source.fingerprint


def test_mixture_labels_only_on_request() -> None:
    source = open_dataset("toy:ring8", labelled=True, length=100)
    assert source.spec.num_classes == 8 and source.read(ALL(100)).label.tolist() == source.labels.tolist()
    assert open_dataset("toy:ring8").read(ALL(3)).label is None


def test_swissroll_lies_on_its_spiral() -> None:
    points = open_dataset("toy:swissroll").read(ALL(100_000)).real.numpy().astype(float) * 7.5
    angle = np.linspace(1.5 * np.pi, 4.5 * np.pi, 4000)
    spiral = np.stack([angle * np.cos(angle), angle * np.sin(angle)], 1)
    from scipy.spatial import cKDTree

    distance = cKDTree(spiral).query(points)[0]
    # The distance across the curve is |N(0, 0.25)|: its median is 0.6745 sigma (the roll's turns lie 2 pi = 25 sigma apart).
    assert abs(np.median(distance) - 0.6745 * 0.25) < 0.003


@pytest.mark.parametrize(("name", "fingerprint"), [("digits", "379c720a2f84851b"), ("toy:ring8", "48757a1c43880a87"),
                                                   ("toy:grid25", "b843a97e3dd2dcb3"), ("toy:swissroll", "3578f498099a93c5")])
def test_content_is_frozen(name: str, fingerprint: str) -> None:
    """Published numbers name these fingerprints: the content must not change with a version of anything."""
    assert open_dataset(name).fingerprint[:16] == fingerprint


def test_scenes_of_shapes_are_frozen() -> None:
    """Factors and not pixels, because a mathematics library may round the last bit of a sine another way."""
    factors = open_dataset("shapes", length=64, size=24).factors(ALL(64))
    table = np.stack([np.round(1000 * factors[key]) for key in sorted(factors)]).astype("<i8")
    assert hashlib.sha256(table.tobytes()).hexdigest()[:16] == "936fd62ae63e11f0"


def test_shapes_are_deterministic_and_independent_of_the_batch() -> None:
    one, two = (open_dataset("shapes", size=(20, 28), length=300) for _ in range(2))
    whole = one.read(ALL(300)).real
    assert torch.equal(two.read(np.array([7, 250, 7])).real, whole[[7, 250, 7]]) and torch.equal(one.read(ALL(300)).real, whole)
    assert not torch.equal(open_dataset("shapes", size=(20, 28), length=300, seed=1).read(ALL(300)).real, whole)
    assert whole.shape == (300, 3, 20, 28)


def test_shapes_show_their_factors() -> None:
    """Colour of the corner = background; the shape's centre of mass and area are those of geometry; its colour is where it covers."""
    size = 96
    source = open_dataset("shapes", size=size, length=400)
    pixels = (source.read(ALL(400)).real.numpy() + 1) * 127.5
    factors = source.factors(ALL(400))
    fronts, backs = (np.array(list(table.values()), float) for table in (COLOURS, BACKGROUNDS))
    assert np.allclose(pixels[:, :, 0, 0], backs[factors["background"]], atol=0.01)
    difference = fronts[factors["colour"]] - backs[factors["background"]]
    strength = np.einsum("nchw,nc->nhw", pixels - backs[factors["background"]][..., None, None], difference)
    coverage = strength / (difference ** 2).sum(1)[:, None, None]
    assert coverage.min() > -0.02 and coverage.max() < 1.02 and (coverage.max(axis=(1, 2)) > 0.98).all()
    star = 5 * 1.15 * 0.48 * np.sin(np.pi / 5)  # ten triangles from the centre: 10 * (1/2) R r sin(36 degrees)
    areas = np.array([np.pi * 0.9**2, (2 * 0.78)**2, 0.75 * np.sqrt(3) * 1.1**2, star, 2 * 2 * 0.64 - 0.64**2,
                      np.pi * (0.97**2 - 0.53**2)])
    radius = factors["scale"] * size
    assert np.allclose(coverage.sum(axis=(1, 2)) / radius**2, areas[factors["shape"]], rtol=0.03)
    places = np.arange(size) + 0.5
    mass = coverage.sum(axis=(1, 2))
    assert np.abs((coverage.sum(axis=1) @ places) / mass / size - factors["x"]).max() < 0.01
    assert np.abs((coverage.sum(axis=2) @ places) / mass / size - factors["y"]).max() < 0.01


def test_shapes_rotate_and_stay_inside() -> None:
    """A quarter turn of the factors is a quarter turn of the picture, and nothing touches the border."""
    factors = {key: np.repeat(np.array([value]), len(SHAPES)) for key, value in
               {"colour": 0, "background": 0, "x": 0.5, "y": 0.5, "scale": 0.28}.items()}
    factors["shape"] = np.arange(len(SHAPES))
    upright = draw({**factors, "rotation": np.full(len(SHAPES), 0.3)}, (64, 64))
    turned = draw({**factors, "rotation": np.full(len(SHAPES), 0.3 + np.pi / 2)}, (64, 64))
    assert np.abs(np.rot90(upright, -1, axes=(2, 3)).astype(int) - turned).max() <= 2
    source = open_dataset("shapes", size=(24, 40), length=500)
    border = source.read(ALL(500)).real
    corner = border[:, :, :1, :1]
    assert torch.equal(border[:, :, 0], corner[:, :, 0].expand(-1, -1, 40)) and torch.equal(border[..., -1], corner[..., 0].expand(-1, -1, 24))


def test_shapes_labels_are_factors_and_products() -> None:
    source = open_dataset("shapes", label="shape+colour", length=500)
    factors, label = source.factors(ALL(500)), source.read(ALL(500)).label.numpy()
    assert source.spec.num_classes == len(SHAPES) * len(COLOURS) and np.array_equal(label, factors["shape"] * len(COLOURS) + factors["colour"])
    assert source.spec.class_names[int(label[0])] == f"{list(SHAPES)[factors['shape'][0]]} {list(COLOURS)[factors['colour'][0]]}"
    for name in LEVELS:
        counts = np.bincount(open_dataset("shapes", label=name, length=6000).labels, minlength=len(LEVELS[name]))
        assert np.abs(counts / 6000 * len(LEVELS[name]) - 1).max() < 0.25, name  # every level, evenly
    assert open_dataset("shapes", label=None).read(ALL(2)).label is None


def test_shapes_factors_are_independent() -> None:
    factors = open_dataset("shapes", length=20_000).factors(ALL(20_000))
    table = np.stack([factors[key].astype(float) for key in ("shape", "colour", "background", "x", "y", "scale", "rotation")])
    assert np.abs(np.corrcoef(table) - np.eye(7)).max() < 5 / np.sqrt(20_000)


def test_shapes_conditions_name_the_factors() -> None:
    source = open_dataset("shapes", condition=True, length=50)
    condition, factors = source.read(ALL(50)).condition.numpy(), source.factors(ALL(50))
    assert condition.shape == (50, source.spec.condition_dim)
    assert np.array_equal(condition[:, :6].argmax(1), factors["shape"])
    assert np.allclose(condition[:, 12] / 2 + 0.5, factors["x"], atol=1e-6)
    assert np.allclose(np.arctan2(condition[:, 16], condition[:, 15]) % (2 * np.pi), factors["rotation"], atol=1e-5)
    with pytest.raises(IndexError):
        source.factors(50)


def test_channels_of_shapes() -> None:
    colour = (open_dataset("shapes", length=20).read(ALL(20)).real.numpy() + 1) * 127.5
    grey = (open_dataset("shapes", length=20, channels=1).read(ALL(20)).real.numpy() + 1) * 127.5
    assert np.abs(grey[:, 0] - np.tensordot(colour, [0.299, 0.587, 0.114], axes=(1, 0))).max() < 0.51
    assert (open_dataset("shapes", length=20, channels=4).read(ALL(20)).real[:, 3] == 1).all()


@pytest.mark.parametrize(("data", "options", "words"), [
    ("digit", {}, "Did you mean 'digits'"), ("toy:ring", {}, "Did you mean 'toy:ring8'"), ("no/such/folder", {}, "no folder"),
    ("digits", {"spilt": "test"}, "Did you mean 'split'"), ("digits", {"split": "val"}, "Expected all, train or test"),
    ("digits", {"size": 0}, "1 to 16384"), ("digits", {"channels": 2}, "Expected 1"), ("toy:ring8", {"size": 8}, "neither size"),
    ("toy:swissroll", {"labelled": True}, "no modes"), ("shapes", {"label": "shap"}, "cannot be labelled"), ("shapes", {"length": 0}, "length"),
    ("cifar10", {"label": "coarse"}, "cifar100"), (42, {}, "int is no data set"),
    ("digits", {"sise": 16}, "Did you mean 'size'"), ("digits", {"chanels": 1}, "Did you mean 'channels'"), ("digits", {"qqq": 1}, "It knows: .*mirror"),
    ("digits", {"mirror": "maybe"}, "'mirror' of 'digits' cannot be 'maybe'. Expected true/false"), ("toy:ring8", {"length": "1e5"}, "Expected whole number"),
    ("toy:ring8", {"length": True}, "Expected whole number"), ("shapes", {"label": 3}, r"Expected text or none"), ("digits", {"size": 8.5}, "1 to 16384"),
    ("digits", {"size": (8, 8, 8)}, "1 to 16384"), ("", {}, "No folder was named"), ("~no-such-user-here", {}, "no folder"),
    ("x" * 300, {}, "cannot be looked at"),
])
def test_wrong_use_is_explained(data: object, options: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        open_dataset(data, **options)


def test_an_open_source_is_handed_back_and_takes_no_new_options() -> None:
    source = open_dataset("digits")
    assert open_dataset(source) is source
    with pytest.raises(UserError, match="open already"):
        open_dataset(source, size=16)


def test_every_name_has_its_module() -> None:
    import importlib

    for module, line in DATASETS.values():
        assert line and importlib.import_module(f"agon.data.{module}").open_source
