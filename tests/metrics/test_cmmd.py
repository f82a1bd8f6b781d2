"""CMMD against a double loop in plain Python floats, closed forms, and its error; CLIP score against its equation."""

import tracemalloc

import numpy as np
import pytest
import torch

from agon.errors import Unavailable, UserError
from agon.metrics import clip_score as score
from agon.metrics import cmmd
from agon.metrics.features.base import Extractor
from agon.metrics.samples import Samples


def vectors(count, dimension=6, *, seed=0, shift=0.0):
    return np.random.default_rng(seed).standard_normal((count, dimension)) + shift


def by_loops(real, fake, *, unbiased=False):
    """Gretton et al., equation 5 (or 3), a pair at a time."""
    real, fake = ([row / np.sqrt(sum(value**2 for value in row)) for row in part] for part in (real, fake))

    def mean(first, second, skip):
        values = [np.exp(-sum((a - b) ** 2) / 200) for i, a in enumerate(first) for j, b in enumerate(second) if not (skip and i == j)]
        return sum(values) / len(values)

    return 1000 * (mean(real, real, unbiased) + mean(fake, fake, unbiased) - 2 * mean(real, fake, False))


def test_published_number_is_the_double_loop(monkeypatch):
    real, fake = vectors(23), vectors(31, seed=1, shift=0.4)
    expected = by_loops(real, fake)
    assert cmmd.cmmd(real, fake) == pytest.approx(expected, rel=1e-9)
    assert cmmd.cmmd(real.astype(np.float32), 5 * fake) == pytest.approx(expected, rel=1e-5)  # lengths do not count
    monkeypatch.setattr(cmmd, "BLOCK_VALUES", 100)  # blocks of 3 and 4 rows, the last ones shorter
    assert cmmd.cmmd(real, fake) == pytest.approx(expected, rel=1e-9)


def test_closed_forms():
    """One sample each: 1000 (2 - 2 exp(-|x - y|^2 / 200)), which for opposite vectors is |x - y| = 2. The same set twice: 0."""
    one, other = np.eye(4)[:1], -np.eye(4)[:1]
    assert cmmd.cmmd(one, other) == pytest.approx(2000 * (1 - np.exp(-4 / 200)), rel=1e-12)
    assert cmmd.cmmd(one, np.eye(4)[1:2]) == pytest.approx(2000 * (1 - np.exp(-2 / 200)), rel=1e-12)
    some = vectors(40)
    assert abs(cmmd.cmmd(some, some[::-1])) < 1e-9
    turn = np.linalg.qr(vectors(6))[0]
    assert cmmd.cmmd(some @ turn, vectors(30, seed=2) @ turn) == pytest.approx(cmmd.cmmd(some, vectors(30, seed=2)), rel=1e-9)
    assert cmmd.cmmd(vectors(30, seed=2), some) == pytest.approx(cmmd.cmmd(some, vectors(30, seed=2)), rel=1e-9)


def test_halves_in_one_pass_are_each_half_alone(monkeypatch):
    """The sums of all splits come from one sweep over the kernel; each must be what its two subsets alone give, reals against reals too."""
    monkeypatch.setattr(cmmd, "BLOCK_VALUES", 300)
    real, fake = cmmd.unit(vectors(26)), cmmd.unit(vectors(34, seed=1, shift=0.3))
    found, floor = cmmd.halves(real, fake)
    for index, split in list(enumerate(cmmd.splits(26, 34)))[:4]:
        assert cmmd.SCALE * found.unbiased()[1 + index] == pytest.approx(by_loops(real[split.real], fake[split.fake], unbiased=True), rel=1e-7)
        assert cmmd.SCALE * found.biased()[1 + index] == pytest.approx(by_loops(real[split.real], fake[split.fake]), rel=1e-7)
        assert cmmd.SCALE * floor[index] == pytest.approx(by_loops(real[split.real], real[split.other], unbiased=True), rel=1e-7)
    assert cmmd.SCALE * found.biased()[0] == pytest.approx(by_loops(real, fake), rel=1e-9)


def test_memory_is_bounded():
    real, fake = vectors(6000, 8), vectors(6000, 8, seed=1)
    tracemalloc.start()
    cmmd.cmmd(real, fake)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 120e6 < 6000 * 6000 * 8  # a few blocks of 32 MB, never the kernel matrix of 288 MB


class Pixels(Extractor):
    """Pictures (N, 3, 1, 2) -> their six values; and texts -> the numbers written in them."""

    name, sha256, layers, protocol = "pixels", "", {"features": 6}, {}

    def run(self, samples, layers=("features",)):
        return {"features": samples.flatten(1).float()}

    def text(self, texts):
        assert all(text.startswith("A photo depicts ") for text in texts)
        return torch.tensor([[float(value) for value in text.removeprefix("A photo depicts ").split()] for text in texts])


def pictures(count, seed, top=256):
    return np.random.default_rng(seed).integers(0, top, (count, 3, 1, 2), dtype=np.uint8)


def test_measure_says_value_error_and_floor():
    real, fake = pictures(60, 0), pictures(50, 1, top=120)
    (entry,) = cmmd.measure(Samples.of_arrays(real, fake, extractor=Pixels()), ["cmmd"])
    flat = [part.reshape(len(part), -1).astype(float) for part in (real, fake)]
    assert entry["value"] == pytest.approx(by_loops(*flat), rel=1e-6) and (entry["num_real"], entry["num_fake"]) == (60, 50)
    assert entry["details"]["unbiased"] == pytest.approx(by_loops(*flat, unbiased=True), rel=1e-6)
    assert entry["details"]["unbiased"] + entry["details"]["bias"] == pytest.approx(entry["value"], rel=0.05)
    assert entry["protocol"]["kernel"] == "gaussian, sigma 10"
    with pytest.raises(Unavailable, match="at least 8"):
        cmmd.measure(Samples.of_arrays(real[:5], fake, extractor=Pixels()), ["cmmd"])


def test_error_and_floor_are_what_repetition_shows():
    """40 independent repetitions: the stated error is their spread, the perfect sampler's value is the mean of what real against real scores."""
    values, errors, floors, null = [], [], [], []
    for seed in range(40):
        real, fake, again = (pictures(80, 3 * seed + side) for side in range(3))
        fake[:, 0] //= 4  # lengths do not count, so the direction has to change
        (entry,) = cmmd.measure(Samples.of_arrays(real, fake, extractor=Pixels()), ["cmmd"])
        values.append(entry["value"])
        errors.append(entry["standard_error"])
        floors.append(entry["reference"]["perfect_sampler"]["value"])
        null.append(cmmd.cmmd(real.reshape(80, -1), again.reshape(80, -1)))
    assert 0.7 < np.mean(errors) / np.std(values, ddof=1) < 1.4
    assert abs(np.mean(floors) - np.mean(null)) < 4 * np.hypot(np.std(floors), np.std(null)) / np.sqrt(40)
    assert np.mean(null) > 0 and np.mean(floors) < 0.5 * np.mean(values)


def test_bias_is_the_closed_form():
    """For two samples of one distribution the mean of the biased estimator is (1 - mean kernel)(1/M + 1/N): over 300 pairs of small samples."""
    draws = [cmmd.cmmd(vectors(10, seed=2 * seed), vectors(15, seed=2 * seed + 1)) for seed in range(300)]
    many = cmmd.unit(vectors(2000, seed=9999))
    kernel = np.exp(-((many[:1000, None] - many[None, 1000:1100]) ** 2).sum(2) / 200).mean()
    assert np.mean(draws) == pytest.approx(1000 * (1 - kernel) * (1 / 10 + 1 / 15), abs=4 * np.std(draws) / np.sqrt(300))


def test_clip_score_is_its_equation():
    image, text = vectors(9), vectors(9, seed=1)
    expected = [2.5 * max(sum(a * b) / np.sqrt(sum(a * a) * sum(b * b)), 0) for a, b in zip(image, text, strict=True)]
    np.testing.assert_allclose(score.clip_score(image, text), expected, rtol=1e-12)
    assert min(expected) == 0 and score.clip_score(image, 3 * image) == pytest.approx(2.5) and score.clip_score(image, -image).max() == 0
    with pytest.raises(UserError, match=r"\(9, 6\) and \(8, 6\)"):
        score.clip_score(image, text[:8])


def captions_of(fake, wrong=0):
    rows = fake.reshape(len(fake), -1).astype(int)
    return [" ".join(map(str, row)) for row in np.roll(rows, wrong, axis=0)]


def test_measure_of_clip_score():
    fake = pictures(30, 0)
    samples = Samples.of_arrays(fake, fake, extractor=Pixels(), captions=captions_of(fake))
    (entry,) = score.measure(samples, ["clip_score"])
    assert entry["value"] == pytest.approx(2.5, rel=1e-6) and entry["standard_error"] < 1e-6 and entry["details"]["cosine"] == pytest.approx(1, rel=1e-6)
    samples.captions = captions_of(fake, wrong=1)
    (wrong,) = score.measure(samples, ["clip_score"])
    flat = fake.reshape(30, -1).astype(float)
    each = score.clip_score(flat, np.roll(flat, 1, axis=0))
    assert wrong["value"] == pytest.approx(each.mean(), rel=1e-6) and wrong["standard_error"] == pytest.approx(each.std(ddof=1) / np.sqrt(30), rel=1e-5)
    # all pairings of different pictures, by hand: what the mean over random shifts estimates
    every = np.array([[score.clip_score(a[None], b[None])[0] for b in flat] for a in flat])
    apart = every[~np.eye(30, dtype=bool)].mean()
    assert entry["reference"]["mismatched"]["value"] == pytest.approx(apart, rel=0.01) and entry["protocol"]["prompt"] == "A photo depicts "


def test_clip_score_says_what_is_missing(tmp_path):
    fake = pictures(5, 0)
    with pytest.raises(Unavailable, match="none were given"):
        score.measure(Samples.of_arrays(fake, fake, extractor=Pixels()), ["clip_score"])
    with pytest.raises(UserError, match="3 captions for 5 pictures"):
        score.measure(Samples.of_arrays(fake, fake, extractor=Pixels(), captions=["1"] * 3), ["clip_score"])
    (tmp_path / "captions.txt").write_text("\ufeffa dog\nзелёный кот\n\n", encoding="utf-8")
    assert score.read_captions(tmp_path / "captions.txt") == ["a dog", "зелёный кот"]
    (tmp_path / "captions.txt").write_text("a dog\n\na cat\n")
    with pytest.raises(UserError, match="Line 2 of"):
        score.read_captions(tmp_path / "captions.txt")
    with pytest.raises(UserError, match="cannot be read"):
        score.read_captions(tmp_path / "none.txt")
