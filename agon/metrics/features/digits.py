"""The digits classifier: features (64) and class scores (10) of 8x8 grey pictures, for metrics on scikit-learn's
digits.

A plain convolutional net trained by scripts/train_digits_classifier.py on two thirds of the digits; the weights are
shipped beside this file (safetensors, under 500 kB) and checked against a SHA-256 before use. The features are the last
hidden layer after its ReLU, unscaled: what the final linear layer sees, as Inception's pool3 is for FID.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from agon.errors import UserError
from agon.metrics.features.base import Extractor

NAMES = {"digits": "a small classifier of scikit-learn's 8x8 digits, shipped with Agon (64 features)"}

WEIGHTS = Path(__file__).with_name("digits.safetensors")
SHA256 = "3b0b70dfb3d6b3528940e2f2743559c26525e03d51593f176a388a276bc6240e"
SHAPE = (1, 8, 8)


class DigitsNet(nn.Module):
    """Three 3x3 convolutions (32, 48, 64 channels; the third halves 8x8 to 4x4), a hidden layer of 64, ten logits.

    Batch norm before every ReLU fixes the scale of the features by convention (each about unit variance before its
    ReLU); without it the scale would grow with the number of epochs, and with it every distance measured in the
    features.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(*_block(1, 32), *_block(32, 48), *_block(48, 64, stride=2))
        self.hidden = nn.Sequential(nn.Linear(64 * 4 * 4, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU())
        self.dropout = nn.Dropout(0.3)
        self.classes = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """``images`` (N, 1, 8, 8) in [-1, 1] -> features (N, 64) >= 0, logits (N, 10)."""
        features = self.hidden(self.body(images).flatten(1))
        return features, self.classes(self.dropout(features))


def _block(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


class DigitsFeatures(Extractor):
    """The shipped classifier, ready to use: layers "features" (64, >= 0) and "logits" (10).

    ``trained``: how the net was trained, its split and held-out accuracy. Raises UserError where the weights are missing or are not the bytes that
    were shipped.
    """

    name = "digits"
    layers = {"features": 64, "logits": 10}
    protocol = {"resize": "none", "precision": "fp32"}
    cached = False  # a pass takes less time than reading it from the disk
    batch = 512

    def __init__(self, weights: Path = WEIGHTS, sha256: str = SHA256) -> None:
        from safetensors.torch import load

        content = read_checked(weights, sha256)
        self.sha256 = sha256
        self.trained = read_protocol(content)
        self.net = DigitsNet().eval()
        self.net.load_state_dict(load(content))

    @torch.no_grad()
    def run(self, samples: Tensor, layers: Sequence[str] = ("features",)) -> dict[str, Tensor]:
        """``samples`` (N, 1, 8, 8): uint8 in 0..255, or float32 in [-1, 1]."""
        if samples.ndim != 4 or tuple(samples.shape[1:]) != SHAPE:
            raise UserError(
                "The digits classifier cannot read samples of shape {shape}. Expected (N, 1, 8, 8): use it with the data set 'digits' at its own size.",
                shape=tuple(samples.shape),
            )
        images = samples.float() / 127.5 - 1 if samples.dtype == torch.uint8 else samples.float()
        features, logits = self.net(images.cpu())
        return {name: {"features": features, "logits": logits}[name] for name in layers}


def open_extractor(name: str, *, weights: Path | None = None, device: str = "cpu", precision: str = "fp32") -> DigitsFeatures:
    """The shipped classifier; it is too small for a device or a precision to matter."""
    return shipped()


@cache
def shipped() -> DigitsFeatures:
    """The classifier, read once per process."""
    return DigitsFeatures()


def read_checked(path: Path, sha256: str) -> bytes:
    """The file's bytes, after their hash was found right (hashed and used are the same bytes, not two readings)."""
    if not path.is_file():
        raise UserError(
            "The digits classifier's weights are missing: {path}. Expected the file that comes with Agon. Install it "
            "again: pip install --force-reinstall agon-gan.",
            path=path,
        )
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise UserError(
            "The digits classifier's weights {path} are damaged: SHA-256 {found}, expected {expected}. Install Agon "
            "again: pip install --force-reinstall agon-gan.",
            path=path,
            found=found,
            expected=sha256,
        )
    return content


def read_protocol(content: bytes) -> dict:
    """What scripts/train_digits_classifier.py wrote into the file's header (safetensors: length, then JSON)."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return json.loads(header["__metadata__"]["protocol"])
