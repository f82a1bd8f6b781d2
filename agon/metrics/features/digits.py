"""The digits classifier: features (64) and class scores (10) of 8x8 grey pictures, for metrics on scikit-learn's digits.

A plain convolutional net trained by scripts/train_digits_classifier.py on two thirds of the digits; the weights are shipped beside
this file (safetensors, under 500 kB) and checked against a SHA-256 before use. The features are the last hidden layer after its
ReLU, unscaled: what the final linear layer sees, as Inception's pool3 is for FID.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

WEIGHTS = Path(__file__).with_name("digits.safetensors")
SHA256 = ""


class DigitsNet(nn.Module):
    """Three 3x3 convolutions (32, 48, 64 channels; the third halves 8x8 to 4x4), a hidden layer of 64, ten logits.

    Batch norm before every ReLU fixes the scale of the features by convention (each about unit variance before its ReLU);
    without it the scale would grow with the number of epochs, and with it every distance measured in the features.
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
