"""The three resizes against loops, Pillow and NVIDIA's formulation."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from agon.metrics.features import resize

SIZES = [(7, 5), (32, 32), (100, 41), (299, 299), (300, 298), (640, 401)]


def pictures(height, width, count=2, channels=3):
    return torch.from_numpy(np.random.default_rng(height * width).integers(0, 256, (count, channels, height, width), dtype=np.uint8))


def looped(picture, size, half):
    """Bilinear of one plane, one output pixel after the other, in float64."""
    height, width = picture.shape
    made = np.empty((size, size))
    for row in range(size):
        for column in range(size):
            y, x = (row + half) * height / size - half, (column + half) * width / size - half
            y, x = max(y, 0), max(x, 0)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            upper = picture[top, left] * (1 - x + left) + picture[top, right] * (x - left)
            lower = picture[bottom, left] * (1 - x + left) + picture[bottom, right] * (x - left)
            made[row, column] = upper * (1 - y + top) + lower * (y - top)
    return made


@pytest.mark.parametrize(("height", "width"), [(7, 5), (32, 32), (100, 41)])
@pytest.mark.parametrize(("function", "half"), [(resize.tensorflow, 0.0), (resize.half_pixel, 0.5)])
def test_the_bilinear_ones_against_a_loop(height, width, function, half):
    plane = pictures(height, width, 1, 1)
    expected = looped(plane[0, 0].numpy().astype(np.float64), 61, half)
    np.testing.assert_allclose(function(plane, 61)[0, 0].numpy(), expected, atol=2e-3)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_tensorflow_against_the_formulation_by_a_sampling_grid(height, width):
    """An affine grid that is shifted by the difference of the half pixels, borders repeated. TensorFlow's places are float32, hence the tolerance."""
    x = pictures(height, width)
    theta = torch.tensor([[[1, 0, 1 / width - 1 / 299], [0, 1, 1 / height - 1 / 299]]], dtype=torch.float64)
    grid = F.affine_grid(theta.expand(2, -1, -1), [2, 3, 299, 299], align_corners=False)
    expected = F.grid_sample(x.double(), grid, "bilinear", "border", align_corners=False)
    assert (resize.tensorflow(x) - expected).abs().max() < 255 * max(height, width) * 2**-22


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_clean_is_pillow_in_float(height, width):
    x = pictures(height, width)
    expected = [[np.asarray(Image.fromarray(plane.numpy().astype(np.float32)).resize((299, 299), Image.Resampling.BICUBIC)).clip(0, 255) for plane in picture]
                for picture in x]
    assert np.abs(resize.clean(x).numpy() - np.array(expected)).max() < 2e-4


def test_clean_keeps_overshoot_between_the_passes():
    """On a chessboard the columns overshoot 255 and the rows bring them back: clipping in between, as uint8 does, is off by more than a grey level."""
    x = (torch.arange(40)[:, None] + torch.arange(40)).remainder(2).mul(255).to(torch.uint8).expand(1, 3, 40, 40).contiguous()
    rounded = F.interpolate(x, size=(299, 299), mode="bicubic", antialias=True).float()
    assert (rounded - resize.clean(x)).abs().max() > 1


@pytest.mark.parametrize("function", [resize.tensorflow, resize.half_pixel, resize.clean])
def test_invariants(function):
    x = pictures(50, 70, 3)
    whole = function(x)
    assert whole.shape == (3, 3, 299, 299) and whole.dtype == torch.float32 and whole.min() >= 0 and whole.max() <= 255
    torch.testing.assert_close(function(x[1:2]), whole[1:2], rtol=0, atol=0)
    strided = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(function(strided), whole, rtol=0, atol=1e-4)
    torch.testing.assert_close(function(torch.full_like(x, 77)), torch.full_like(whole, 77), rtol=0, atol=1e-4)
    torch.testing.assert_close(function(pictures(299, 299)), pictures(299, 299).float(), rtol=0, atol=1e-4)
