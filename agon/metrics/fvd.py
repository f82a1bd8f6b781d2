"""Fréchet video distance: the Fréchet distance between Gaussians fitted to I3D's logits of real and fake clips.

Unterthiner et al., 2018, "Towards Accurate Generative Models of Video", https://arxiv.org/abs/1812.01717. Distance, error and floor are those of FID (fid.py);
agon/metrics/features/i3d.py says how clips are resized and why two published weights give two FVDs.

The covariance has 400 x 400 entries: with 400 clips or fewer it has no full rank, and the number is refused (``kid`` of the same features is defined there).
"""

import numpy as np

from agon.metrics.fid import all_against_all, distance_and_error, require_rank
from agon.metrics.samples import Samples

METRICS = {"fvd": "Fréchet distance between real and fake clips in the logits of a video classifier (I3D) (lower is better)"}
KINDS = ("video",)
EXTRACTOR = "i3d-torchscript"
LAYERS = ("features",)
PAIRED = False
LABELLED = False

USUAL = 2_048  # clips on each side in the protocol of StyleGAN-V


def fvd(real: np.ndarray, fake: np.ndarray) -> tuple[float, float]:
    """(distance, standard error) of (M, F) and (N, F) features of clips. Raises Unavailable where one side has no more clips than features."""
    require_rank("FVD", real, fake, "i3d")
    return distance_and_error(real, fake)


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """All clips against all, as published."""
    value, error = fvd(*samples.features("features"))
    return all_against_all(samples, names, value, error, noun="clips", usual=USUAL, compared="all fake clips against all real clips")
