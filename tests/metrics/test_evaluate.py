"""The whole way: perfect samplers, memorisers and mode droppers must be told apart; same seed, same numbers; errors
that help.
"""

import importlib
import json
import re

import numpy as np
import pytest
import torch

from agon.data import open_dataset
from agon.data.toy import mixture_samples, swissroll
from agon.errors import UserError
from agon.metrics import catalog
from agon.metrics.copying import near_copies
from agon.metrics.evaluate import evaluate
from agon.metrics.sides import as_stored

KEYS = {"metric", "value", "standard_error", "num_real", "num_fake", "protocol", "reference"}


def by_name(results):
    for result in results:
        assert set(result) >= KEYS and np.isfinite(result["value"]) and result["standard_error"] >= 0
        assert {"data", "fingerprint", "seed", "conditional", "agon"} <= set(result["protocol"])
    assert json.loads(json.dumps(results, allow_nan=False)) == results
    return {result["metric"]: result for result in results}


@pytest.fixture(scope="module")
def memorised(memoriser, digits):
    return by_name(evaluate(memoriser, digits, conditional=True))


def test_memoriser_on_digits(memorised):
    """Copies of the training set, of the right class: everything is good, and near_copies says why."""
    assert list(memorised) == [
        "frechet",
        "kid",
        "precision",
        "recall",
        "density",
        "coverage",
        "accuracy",
        "near_copies",
    ]
    floor = {name: result["reference"]["perfect_sampler"]["value"] for name, result in memorised.items()}
    assert memorised["frechet"]["value"] < floor["frechet"]
    assert not memorised["kid"]["details"]["distinguishable_from_zero"]
    assert memorised["coverage"]["value"] > 0.96 and abs(floor["coverage"] - 0.969) < 0.01
    assert memorised["accuracy"]["value"] > 0.99 and floor["accuracy"] > 0.985
    assert memorised["near_copies"]["value"] == 1 and floor["near_copies"] < 0.025
    assert memorised["near_copies"]["reference"]["memoriser"]["value"] > 0.99


def test_dropped_classes_on_digits(digits, everything, memorised):
    """Seven classes of ten: precise, but far away, with the recall and coverage of what is left."""
    some = everything.real[everything.label < 7]

    def draw(n, *, seed, label=None):
        return some[torch.randint(0, len(some), (n,), generator=torch.Generator().manual_seed(seed))]

    got = by_name(evaluate(draw, digits, ["frechet", "kid", "precision", "coverage"], num_samples=900))
    assert got["frechet"]["value"] > 5 * memorised["frechet"]["reference"]["perfect_sampler"]["value"]
    assert got["kid"]["details"]["distinguishable_from_zero"]
    assert got["precision"]["value"] > 0.9
    assert got["coverage"]["value"] == pytest.approx(0.7, abs=0.05)
    assert got["frechet"]["num_fake"] == 900 and got["frechet"]["protocol"]["compared_fake"] == 450


def test_near_copies_of_noisy_copies(digits, everything, memoriser):
    """Copies under so much noise that half of them get away: the same share as by the plain function."""

    def draw(n, *, seed, label=None):
        noise = torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed + 1))
        return (memoriser(n, seed=seed) + 0.175 * noise).clamp(-1, 1)

    fake = []
    value = evaluate(lambda n, **how: fake.append(draw(n, **how)) or fake[-1], digits, ["near_copies"])[0]["value"]
    train, drawn = (as_stored(part, "image").flatten(1).numpy() / np.float32(127.5) - 1 for part in (everything.real, torch.cat(fake)))
    assert value == pytest.approx(near_copies(train, drawn))
    assert 0.2 < value < 0.8


def test_labels_are_asked_in_the_real_proportions(digits, everything):
    asked = []

    def draw(n, *, seed, label=None):
        asked.append(label)
        return everything.real[:n]

    result = by_name(evaluate(draw, digits, ["accuracy"], conditional=True))["accuracy"]
    labels = torch.cat(asked)
    assert torch.equal(torch.bincount(labels), torch.bincount(everything.label))
    assert result["value"] < 0.2, "pictures in the file's order are not of the classes asked for in another order"


@pytest.mark.parametrize("name", ["toy:ring8", "toy:grid25"])
def test_perfect_and_dropping_samplers_of_mixtures(name):
    source = open_dataset(name)

    def perfect(n, *, seed, label=None):
        return torch.from_numpy(mixture_samples(source.centers, source.sigma, n, seed)[0])

    def dropping(n, *, seed, label=None):
        return torch.from_numpy(mixture_samples(source.centers[:3], source.sigma, n, seed)[0])

    good, bad = by_name(evaluate(perfect, source, seed=1)), by_name(evaluate(dropping, source, seed=1))
    number = len(source.centers)
    assert list(good) == ["modes", "high_quality", "reverse_kl"]
    assert good["modes"]["value"] == number and bad["modes"]["value"] == 3
    assert bad["reverse_kl"]["value"] == pytest.approx(np.log(number / 3), abs=0.01)
    for metric in good.values():
        reference = metric["reference"]["perfect_sampler"]
        assert abs(metric["value"] - reference["value"]) <= 4 * reference["standard_deviation"]
    assert good["high_quality"]["num_fake"] == 2500


def test_swissroll_and_noise_floor():
    """No modes: a sliced distance; the perfect sampler's is the floor's, a wrong one's is far above."""
    source = open_dataset("toy:swissroll")

    def perfect(n, *, seed, label=None):
        return torch.from_numpy(swissroll(n, seed))

    right = evaluate(perfect, source)[0]
    wrong = evaluate(lambda n, *, seed, label=None: 0.9 * perfect(n, seed=seed), source)[0]
    floor = right["reference"]["perfect_sampler"]
    assert right["metric"] == "sliced_wasserstein"
    assert (
        right["value"]
        < floor["value"] + 3 * floor["standard_deviation"]
        < wrong["value"] + 2 * floor["standard_deviation"]
    )
    assert wrong["value"] > 1.5 * right["value"]


def test_pictures_without_an_extractor():
    """Shapes: a plain distance in pixels with its floor, and copies found."""
    source, other = open_dataset("shapes", size=24, length=300), open_dataset("shapes", size=24, length=900)
    fresh, known = other.read(np.arange(400, 900)).real, source.read(np.arange(300)).real
    names = ["pixel_sliced_wasserstein", "near_copies"]
    new = by_name(evaluate(lambda n, *, seed, label=None: fresh[:n], source))
    copied = by_name(evaluate(lambda n, *, seed, label=None: known[:n].flip(0), source, names))
    black = by_name(evaluate(lambda n, *, seed, label=None: 0 * fresh[:n] - 1, source, names))
    assert set(names) < set(new) and {name.partition("_")[2] for name in set(new) - set(names)} == {"random", ""}, "a network that needs no weights judges"
    assert new["near_copies"]["value"] < 0.06 and copied["near_copies"]["value"] == 1
    floor = new["pixel_sliced_wasserstein"]["reference"]["perfect_sampler"]["value"]
    assert (
        new["pixel_sliced_wasserstein"]["value"] < 2 * floor < 10 * floor < black["pixel_sliced_wasserstein"]["value"]
    )


def test_same_seed_same_numbers_and_the_floor_stays(digits, memoriser):
    names = ["frechet", "near_copies", "kid"]
    first, again, other = (evaluate(memoriser, digits, names, num_samples=300, seed=seed) for seed in (5, 5, 6))
    assert first == again
    assert [result["metric"] for result in first] == names
    for one, two in zip(first, other, strict=True):
        assert one["metric"] == "near_copies" or one["value"] != two["value"]
        assert one["reference"] == two["reference"], "the perfect sampler does not depend on the evaluation's seed"


def test_rank_warning(digits, memoriser):
    result = evaluate(memoriser, digits, ["frechet"], num_samples=60)[0]
    assert "rank 29" in result["warnings"][0] and np.isfinite(result["value"])


def test_errors_say_what_to_do(digits, memoriser):
    ring = open_dataset("toy:ring8", length=100)
    with pytest.raises(UserError, match="Did you mean 'frechet'"):
        evaluate(memoriser, digits, ["frechett"])
    with pytest.raises(UserError, match="Did you mean 'kid_clip'"):
        evaluate(memoriser, digits, ["kid_clp"])
    with pytest.raises(UserError, match="takes no extractor"):
        evaluate(memoriser, digits, ["ssim_clip"])
    with pytest.raises(UserError, match="gives no logits"):
        evaluate(memoriser, digits, ["inception_score_random"], num_samples=30)
    with pytest.raises(UserError, match="No metric was named"):
        evaluate(memoriser, digits, [])
    with pytest.raises(UserError, match="not conditional"):
        evaluate(memoriser, digits, ["accuracy"], num_samples=30)
    with pytest.raises(UserError, match="'modes' is for points"):
        evaluate(memoriser, digits, ["modes"], num_samples=30)
    with pytest.raises(UserError, match="too few"):
        evaluate(memoriser, digits, num_samples=5)
    with pytest.raises(UserError, match="'accuracy' is for image"):
        evaluate(lambda n, *, seed, label=None: torch.zeros(n, 2), ring, ["accuracy"])
    with pytest.raises(UserError, match="extractor of 'kid_random' is for image, and 'toy:ring8' holds points"):
        evaluate(lambda n, *, seed, label=None: torch.zeros(n, 2), ring, ["kid_random"])
    with pytest.raises(UserError, match="no labels"):
        evaluate(lambda n, *, seed, label=None: torch.zeros(n, 2), ring, conditional=True)
    with pytest.raises(UserError, match=r"shape \(30, 3\), expected \(30, 2\)"):
        evaluate(lambda n, *, seed, label=None: torch.zeros(n, 3), ring, num_samples=30)
    with pytest.raises(UserError, match="not finite: 30 of 30"):
        evaluate(lambda n, *, seed, label=None: torch.full((n, 2), torch.nan), ring, num_samples=30)


def test_what_the_files_say_of_themselves_is_true():
    """Every metric's module can be imported and measures; which way is better is said; extractors exist; no file of a metric is left out of the list."""
    for name, metric in catalog.metrics().items():
        module = importlib.import_module(metric.module)
        assert module.__doc__ and callable(module.measure) and module.METRICS[name] == metric.summary
        assert metric.better or re.search("perfect|collapsed|ideal|reals'", metric.summary), f"{name}: is lower or higher better?"
        assert metric.extractor in ("", "data", *catalog.extractors()), name
        assert set(metric.kinds) <= {"image", "points", "video", "audio", "cloud", "voxels", "series", "text", "*"}
    for name, (module, summary) in catalog.extractors().items():
        assert callable(importlib.import_module(module).open_extractor) and summary, name


def test_names_with_an_extractor():
    for text, base, extractor in [
        ("fid", "fid", "inception"), ("fid_inception-clean", "fid", "inception-clean"), ("fid_digits", "fid", "digits"),
        ("near_copies", "near_copies", "thumbnail"),
        ("kid_subsets_clip", "kid_subsets", "clip"), ("kid_a_b/my_net.py:embed", "kid", "a_b/my_net.py:embed"), ("kid_net.pt", "kid", "net.pt"),
    ]:  # fmt: skip
        found = catalog.parse(text)
        assert (found.name, found.metric.name, found.extractor) == (text, base, extractor)
