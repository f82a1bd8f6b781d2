"""The shipped judge of shapes: what it reads from pictures that no training step saw, against the factors they were drawn from."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from agon.data import open_dataset
from agon.data.shape_scenes import COLOURS
from agon.data.shapes import LEVELS
from agon.errors import UserError
from agon.metrics.features import shapes as judge
from agon.metrics.segmentation import confusion, miou

FACTORS = {"shape": "shape", "colour": "colour", "background": "background", "position": "position", "scale": "scale_level"}


def held_out(count=120, **options):
    """(pictures, maps, factors) of a seed that was used for nothing else."""
    source = open_dataset("shapes", label=None, seed=77, length=count, **options)
    rows = np.arange(count)
    return source.read(rows).real, source.segmentation(rows)[:, 0], source.factors(rows)


def overlap(found, maps):
    return miou(confusion(maps.ravel(), found.numpy().ravel(), judge.CLASSES))


def agreement(found, factors):
    return {key: float((found[key].numpy() == factors[name]).mean()) for key, name in FACTORS.items()}


def spoilt(pictures, sigma=0.7, noise=0.06):
    """As a generator's: soft edges, noisy, a little paler."""
    soft = torch.from_numpy(gaussian_filter(pictures.numpy(), (0, 0, sigma, sigma), mode="nearest")) * 0.92 + 0.04
    return (soft + noise * torch.randn(soft.shape, generator=torch.Generator().manual_seed(1))).clamp(-1, 1)


@pytest.mark.parametrize("size", [32, 64])
def test_pixels_and_factors_of_pictures_it_never_saw(size):
    pictures, maps, factors = held_out(size=size, count=160)
    scores = judge.scores(pictures)
    assert scores.shape == (160, 7, size, size) and torch.equal(scores.argmax(1), judge.segment(pictures))
    assert overlap(scores.argmax(1), maps) >= 0.97
    found = judge.factors(pictures)
    assert {key: value.dtype for key, value in found.items()} == dict.fromkeys(FACTORS, torch.int64)
    assert all(int(value.min()) >= 0 and int(value.max()) < len(LEVELS[key]) for key, value in found.items())
    assert min(agreement(found, factors).values()) >= 0.98, agreement(found, factors)


def test_spoilt_pictures_are_read_too():
    pictures, maps, factors = held_out(size=64)
    assert overlap(judge.segment(spoilt(pictures)), maps) >= 0.95
    assert min(agreement(judge.factors(spoilt(pictures)), factors).values()) >= 0.95, agreement(judge.factors(spoilt(pictures)), factors)


@pytest.mark.parametrize("size", [(128, 128), (48, 80), (70, 50), (16, 16)])
def test_other_sizes_are_brought_to_its_own(size):
    pictures, maps, factors = held_out(size=size, count=40)
    found, tiny = judge.segment(pictures), min(size) == 16
    assert found.shape == (40, *size) and overlap(found, maps) >= (0.9 if tiny else 0.95)
    assert min(agreement(judge.factors(pictures), factors).values()) >= (0.9 if tiny else 0.95)


def test_only_what_was_changed_reads_differently():
    """The shape painted over in another colour, pixel by pixel: the colour changes, nothing else does."""
    pictures, _, factors = held_out(size=48, count=60)
    red, blue = (open_dataset("shapes", label=None, seed=77, length=60, size=48, only=f"colour={name}").read(np.arange(60)).real for name in ("red", "blue"))
    before, after = judge.factors(red), judge.factors(blue)
    names = list(COLOURS)
    assert (before["colour"] == names.index("red")).float().mean() > 0.98 and (after["colour"] == names.index("blue")).float().mean() > 0.98
    assert all((before[key] == after[key]).float().mean() > 0.97 for key in FACTORS if key != "colour")
    wrong = agreement(judge.factors(pictures.flip(-1)), factors)
    assert wrong["position"] < 0.6 and min(wrong[key] for key in FACTORS if key != "position") > 0.97


def test_bytes_and_floats_and_batches_agree():
    pictures, _, _ = held_out(size=32, count=70)
    whole = judge.scores(pictures)
    assert torch.allclose(whole, torch.cat([judge.scores(part) for part in pictures.split(9)]), atol=1e-4)
    levels = ((pictures + 1) * 127.5).round().to(torch.uint8)
    assert torch.allclose(judge.scores(levels), whole, atol=1e-4)
    for alpha in (0, 100, 255):
        laid = torch.cat([levels, torch.full_like(levels[:, :1], alpha)], 1)[:9]
        white = (levels[:9].float() * alpha + 255 * (255 - alpha)) / 255
        assert torch.allclose(judge.scores(laid), judge.scores(white.round() / 127.5 - 1), atol=1e-3)
        assert torch.allclose(judge.scores(laid.float() / 127.5 - 1), judge.scores(white / 127.5 - 1), atol=1e-3)


def test_every_picture_gets_an_answer():
    blank = torch.zeros(2, 3, 32, 32)
    assert all(value.shape == (2,) for value in judge.factors(blank).values()) and judge.segment(torch.zeros(1, 1, 20, 20)).shape == (1, 20, 20)
    assert judge.segment(blank[:0]).shape == (0, 32, 32) and judge.factors(blank[:0])["shape"].shape == (0,)
    with pytest.raises(UserError, match="at least 16 pixels"):
        judge.segment(torch.zeros(1, 3, 8, 8))


def test_areas_are_those_that_are_drawn():
    """The closed forms against the coverage of large shapes."""
    from agon.data.shape_scenes import coverage

    drawn = {key: np.full(6, value) for key, value in {"x": 0.5, "y": 0.5, "scale": 0.4, "rotation": 0.3}.items()} | {"shape": np.arange(6)}
    assert np.allclose(coverage(drawn, (400, 400)).sum((1, 2)) / 160**2, list(judge.AREAS.values()), rtol=1e-3)


def test_small_file_with_its_protocol(tmp_path):
    said = judge.trained()
    assert judge.WEIGHTS.stat().st_size < 110_000 and sum(p.numel() for p in judge.shipped().parameters()) * 2 < 100_000
    assert {"split", "seed", "steps", "script", "miou_64", "miou_32"} <= set(said) and min(said["miou_64"], said["miou_32"]) >= 0.97
    content = bytearray(judge.WEIGHTS.read_bytes())
    content[-1000] ^= 1
    (tmp_path / "shapes.safetensors").write_bytes(content)
    for path in (tmp_path / "shapes.safetensors", tmp_path / "none.safetensors"):
        with pytest.raises(UserError, match="missing or damaged"):
            judge.load(path)
