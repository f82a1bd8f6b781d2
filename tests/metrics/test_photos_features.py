"""The photographs' network: its distance orders degradations of photographs it never saw, its hash, and what it refuses."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from agon.data import open_dataset
from agon.errors import UserError
from agon.metrics.features import open_extractor
from agon.metrics.features.photos import SHA256, WEIGHTS, PhotosFeatures, distance, shipped


@pytest.fixture(scope="module")
def crops() -> torch.Tensor:
    """Ten crops from all over the test photographs."""
    source = open_dataset("photos", split="test", crop=80)
    return source.read(np.linspace(0, len(source) - 1, 10).astype(int)).real


def through(pictures: torch.Tensor, change) -> torch.Tensor:
    """Every picture as an 8-bit Pillow image through ``change``."""
    images = [Image.fromarray(((p + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()) for p in pictures]
    return torch.stack([torch.from_numpy(np.array(change(image))).permute(2, 0, 1).float() / 127.5 - 1 for image in images])


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def noisy(image: Image.Image, level: int) -> Image.Image:
    noise = np.random.RandomState(1).standard_normal((image.height, image.width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + level * noise, 0, 255).round().astype(np.uint8))


def reduced(image: Image.Image, factor: int) -> Image.Image:
    small = image.resize((image.width // factor, image.height // factor), Image.Resampling.BOX)
    return small.resize(image.size, Image.Resampling.BICUBIC)


LADDERS = {
    "blur": (lambda image, level: image.filter(ImageFilter.GaussianBlur(level)), (0.6, 1.2, 2.4)),
    "noise": (noisy, (6, 15, 35)),
    "jpeg": (jpeg, (75, 30, 8)),
    "reduced": (reduced, (2, 4, 8)),
}


@pytest.mark.parametrize("name", LADDERS)
def test_stronger_degradations_are_farther(name: str, crops: torch.Tensor) -> None:
    """Of nearly every held-out crop (a blur of flat sky is next to nothing), and on average by much."""
    change, levels = LADDERS[name]
    steps = torch.stack([distance(crops, through(crops, lambda image, level=level: change(image, level))) for level in levels])
    assert (steps[1:] > steps[:-1]).float().mean() >= 0.9
    assert (steps.mean(1)[1:] > 1.3 * steps.mean(1)[:-1]).all()


def test_it_is_a_distance_of_single_pairs(crops: torch.Tensor) -> None:
    other = crops.flip(0)
    apart = distance(crops, other)
    assert torch.equal(distance(crops, crops), torch.zeros(10)) and torch.allclose(apart, distance(other, crops), atol=1e-6) and (apart > 0).all()
    assert torch.allclose(distance(crops[3:4], other[3:4]), apart[3:4], atol=1e-6)
    a = crops[:2].clone().requires_grad_()
    distance(a, torch.zeros_like(a)).sum().backward()
    assert torch.isfinite(a.grad).all() and a.grad.abs().sum() > 0


def test_features_of_any_size_and_depth(crops: torch.Tensor) -> None:
    eight = ((crops + 1) * 127.5).round().byte()
    features = open_extractor("photos").run(eight)["features"]
    assert features.shape == (10, 64) and torch.allclose(features, shipped().run(crops)["features"], atol=1e-4)
    assert torch.allclose(shipped().run(eight[:4, :, :40, :56])["features"], shipped().run(eight[:, :, :40, :56])["features"][:4], atol=1e-5)
    assert shipped().run(eight[:, :1])["features"].shape == (10, 64)


def test_small_file_with_its_protocol_and_its_hash(tmp_path) -> None:
    assert WEIGHTS.stat().st_size < 400_000 and {"split", "seed", "script", "ordered", "data"} <= set(shipped().trained)
    assert shipped().trained["data"] == open_dataset("photos", split="train").fingerprint  # another decoder would be another training
    content = bytearray(WEIGHTS.read_bytes())
    content[-1000] ^= 1
    (tmp_path / "photos.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        PhotosFeatures(tmp_path / "photos.safetensors", SHA256)
    with pytest.raises(UserError, match="missing"):
        PhotosFeatures(tmp_path / "none.safetensors", SHA256)


def test_what_cannot_be_compared_is_refused() -> None:
    for a, b in (((1, 1, 32, 32), (1, 1, 32, 32)), ((1, 3, 32, 32), (1, 3, 32, 40)), ((1, 3, 8, 32), (1, 3, 8, 32))):
        with pytest.raises(UserError, match="one size"):
            distance(torch.zeros(a), torch.zeros(b))
    with pytest.raises(UserError, match="cannot read"):
        shipped().run(torch.zeros(1, 3, 8, 8))
