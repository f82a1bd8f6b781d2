"""The shipped classifier: its accuracy on pictures it never saw, its hash, and what it refuses."""

import numpy as np
import pytest
import torch

from agon.data import open_dataset
from agon.errors import UserError
from agon.metrics.features import fitting, open_extractor
from agon.metrics.features.digits import SHA256, WEIGHTS, DigitsFeatures, shipped


@pytest.mark.parametrize("noise", [0, 1 / 16, 1 / 8], ids=["clean", "half a grey level", "a grey level"])
def test_accuracy_on_held_out_pictures(noise):
    """Recomputed here: the file's own claim, and the same under noise of up to a grey level (quantisation does not
    matter).
    """
    held_out = open_dataset("digits", split="test")
    batch = held_out.read(np.arange(len(held_out)))
    noisy = batch.real + noise * torch.randn(batch.real.shape, generator=torch.Generator().manual_seed(1))
    logits = shipped().run(noisy, ["logits"])["logits"]
    accuracy = float((logits.argmax(1) == batch.label).float().mean())
    assert accuracy >= 0.985
    if not noise:
        assert accuracy == pytest.approx(shipped().trained["accuracy_held_out"], abs=1e-5)
        assert len(batch) == shipped().trained["num_held_out"]


def test_eight_bits_are_enough(everything):
    """uint8 pictures, as every metric hands them out, give the features of the exact ones within their rounding."""
    exact = shipped().run(everything.real)["features"]
    rounded = shipped().run((everything.real + 1).mul(127.5).round().to(torch.uint8))["features"]
    assert float((exact - rounded).norm() / exact.norm()) < 3e-3


def test_features_do_not_depend_on_the_batch(everything):
    """Any cut of the same pictures gives the same vectors (float32 rounding)."""
    whole = shipped().run(everything.real[:700])["features"]
    pieces = torch.cat([shipped().run(part)["features"] for part in everything.real[:700].split(97)])
    assert whole.shape == (700, 64) and whole.dtype == torch.float32
    np.testing.assert_allclose(whole, pieces, atol=1e-5)
    assert bool((whole >= 0).all()) and np.linalg.matrix_rank(np.cov(whole.numpy().T)) == 64


def test_small_file_with_its_protocol():
    assert WEIGHTS.stat().st_size < 500_000
    assert {"split", "seed", "data_sha256", "accuracy_held_out", "script"} <= set(shipped().trained)


def test_flipped_bit_is_found(tmp_path):
    content = bytearray(WEIGHTS.read_bytes())
    content[-1000] ^= 1
    damaged = tmp_path / "digits.safetensors"
    damaged.write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        DigitsFeatures(damaged, SHA256)
    with pytest.raises(UserError, match="missing"):
        DigitsFeatures(tmp_path / "none.safetensors", SHA256)


def test_other_shapes_are_refused_and_it_fits_its_own_data_only(digits):
    with pytest.raises(UserError, match="8, 8"):
        shipped().run(torch.zeros(2, 1, 16, 16, dtype=torch.uint8))
    assert fitting(digits.name, "image", digits.spec) == "digits" and open_extractor("digits") is shipped()
    big = open_dataset("digits", size=16)
    assert fitting(big.name, "image", big.spec) == "inception"
