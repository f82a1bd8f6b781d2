"""Spectra: how far the mean radial log-power spectrum of the fakes is from that of the reals, in dB.

Generators leave traces at high frequencies that the eye and Inception pass over: too much power from checkerboards, too little from blur (Durall et al.,
2020, "Watch your up-convolution", https://arxiv.org/abs/2003.01826; Dzanic et al., 2020, https://arxiv.org/abs/1911.06465). The number is the root of the
mean squared difference of the two mean spectra over all rings from one cycle a picture to the spectrum's corner: 3 dB is twice the power, at the average
ring. The signed curve in ``details`` says where and which way. Mean spectra know nothing of what the pictures show.
"""

import numpy as np

from agon.errors import UserError
from agon.metrics.bootstrap import perfect, splits
from agon.metrics.features.spectrum import rings
from agon.metrics.samples import Samples

METRICS = {"spectra": "Root mean square difference of the mean radial log-power spectra, in dB (lower is better)"}
KINDS = ("image",)
EXTRACTOR = "spectrum"
LAYERS = ("features",)
RESAMPLES = 200
HIGH = 0.25  # cycles a pixel: the upper octave below the corner is reported alone
BLOCK = 4096


def spectral_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """Root mean square over rings of the difference of mean log-power spectra: (M, K) and (N, K) in dB -> dB."""
    return rms(mean(real) - mean(fake))


def mean(spectra: np.ndarray) -> np.ndarray:
    """(N, K) -> (K,), summed in float64 and in blocks."""
    return sum(spectra[start : start + BLOCK].sum(0, dtype=np.float64) for start in range(0, len(spectra), BLOCK)) / len(spectra)


def rms(difference: np.ndarray) -> np.ndarray:
    """Root mean square over the last axis."""
    return np.sqrt(np.square(difference).mean(-1))


def resampled_means(spectra: np.ndarray, seed: int) -> np.ndarray:
    """(RESAMPLES, K) means of bootstrap resamples: the same as gathering rows, as a product with how often each row was drawn."""
    weights = np.random.default_rng([1, seed]).multinomial(len(spectra), np.full(len(spectra), 1 / len(spectra)), size=RESAMPLES)
    blocks = range(0, len(spectra), BLOCK)
    return sum(weights[:, start : start + BLOCK] @ spectra[start : start + BLOCK].astype(np.float64) for start in blocks) / len(spectra)


def floor(real: np.ndarray, num_fake: int) -> np.ndarray:
    """What as many real samples as there are fakes score against the reals: halves of the reals, scaled from their counts to the asked ones.

    The difference of two means has a variance proportional to 1/m + 1/n, and the number is linear in the difference.
    """
    half = len(real) // 2
    scale = np.sqrt((1 / len(real) + 1 / num_fake) / (2 / half))
    return np.array([scale * spectral_distance(real[split.real], real[split.other]) for split in splits(len(real), len(real))])


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """Distance of all fakes to all reals; bootstrap over both."""
    if samples.extractor is None or samples.extractor.name != "spectrum":
        raise UserError("The metric 'spectra' reads spectra alone. Ask for it without another extractor.")
    shapes = [side.spec and tuple(side.spec.shape[1:]) for side in (samples.real, samples.fake)]
    if None in shapes or shapes[0] != shapes[1]:
        raise UserError("Spectra need pictures of one size, and these have {real} and {fake} pixels. Resize one side.", real=shapes[0], fake=shapes[1])
    real, fake = samples.features()
    frequencies = rings(*shapes[0])[1].numpy()
    means = mean(real), mean(fake)
    difference = means[1] - means[0]
    errors = rms(resampled_means(real, 0) - resampled_means(fake, 1)).std(ddof=1)
    return [
        samples.result(
            "spectra", rms(difference), errors, num_real=len(real), num_fake=len(fake),
            protocol={
                "rings": len(frequencies), "value": "root mean square over the rings of the difference of mean spectra in dB",
                "error": f"bootstrap over reals and fakes, {RESAMPLES} resamples",
            },
            reference={"perfect_sampler": perfect(floor(real, len(fake)), "two disjoint halves of the real samples, scaled to these counts")},
            details={
                "cycles_per_pixel": frequencies.tolist(), "real_db": means[0].tolist(), "fake_db": means[1].tolist(), "difference_db": difference.tolist(),
                "mean_difference_above_quarter_cycle_db": float(difference[frequencies >= HIGH].mean()),
            },
        )
    ]  # fmt: skip
