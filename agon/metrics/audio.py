"""Sound against sound: the Fréchet audio distance of two sets, and distances of takes that belong together.

All listen at 16 kHz to the mean of the channels. Paired takes of different length are cut to the shorter one, except by ``mcd``, which aligns them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from agon.errors import Unavailable
from agon.metrics.frechet import frechet, rank_warning
from agon.metrics.halves import compare
from agon.metrics.samples import Samples
from agon.metrics.waves import FLOOR, RATE, align, log_mel, mel_cepstrum, mono, spectrum

METRICS = {
    "frechet_audio": "Fréchet distance between real and fake sounds in VGGish's patches of 0.96 s, FAD (lower is better)",
    "mel_distance": "Mean absolute difference of log-mel spectra of takes that belong together, in nepers (lower is better)",
    "mcd": "Mel-cepstral distortion of aligned takes, in dB (lower is better)",
    "log_spectral_distance": "Root mean square difference of log power spectra of takes that belong together, in dB (lower is better)",
    "pesq": "Wide-band PESQ of speech against its reference, 1.0 to 4.6 (higher is better)",
    "stoi": "Short-time objective intelligibility of speech against its reference, up to 1 (higher is better)",
}
KINDS = ("audio",)
EXTRACTOR = {"frechet_audio": "vggish"}
LAYERS = ()
PAIRED = ("mel_distance", "mcd", "log_spectral_distance", "pesq", "stoi")
LABELLED = False
ORDER = 13


def mel_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """Mean |difference| of log-mel spectra (magnitudes, 80 bands, 64 ms frames every 16 ms) of two takes (T,): the reconstruction loss of HiFi-GAN (Kong et
    al., 2020, https://arxiv.org/abs/2010.05646, equation 5) as a distance. A gain of g changes it by |ln g|."""
    return float(np.abs(log_mel(real) - log_mel(fake)).mean())


def mcd(real: np.ndarray, fake: np.ndarray, order: int = ORDER) -> float:
    """Mel-cepstral distortion in dB of two takes (T,), (U,): mean over the aligned frames of 10 / ln 10 * sqrt(2 sum_k (c_k - c'_k)^2), k = 1 to ``order``.

    Kubichek, 1993, https://doi.org/10.1109/PACRIM.1993.407206. c_0, the loudness, is left out; frames are aligned by dynamic time warping. Cepstra are of 80
    mel bands: on SPTK's scale, but not its all-pass warping; do not compare the two.
    """
    first, second = mel_cepstrum(real, order), mel_cepstrum(fake, order)
    cost = np.sqrt(np.maximum(0, (first**2).sum(1)[:, None] + (second**2).sum(1) - 2 * first @ second.T))
    rows, columns = align(cost)
    return float(10 / np.log(10) * np.sqrt(2) * np.linalg.norm(first[rows] - second[columns], axis=1).mean())


def log_spectral_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """Mean over frames of the root mean square over frequencies of the difference of power spectra in dB, of two takes (T,); magnitudes are at least 1e-5.

    Gray and Markel, 1976, "Distance measures for speech processing", https://doi.org/10.1109/TASSP.1976.1162849, equation 11 with p = 2.
    """
    difference = 20 * (np.log10(np.maximum(spectrum(real), FLOOR)) - np.log10(np.maximum(spectrum(fake), FLOOR)))
    return float(np.sqrt((difference**2).mean(1)).mean())


def pesq(real: np.ndarray, fake: np.ndarray) -> float:
    """Wide-band PESQ (ITU-T P.862.2) at 16 kHz by the package ``pesq``; nan where it hears no speech. Raises Unavailable without the package."""
    try:
        import pesq as library
    except ImportError:
        raise Unavailable("The metric 'pesq' needs the package pesq (it compiles C code). Install it: pip install pesq") from None
    if not (np.any(real) and np.any(fake)):
        return float("nan")
    try:
        return float(library.pesq(RATE, real, fake, "wb"))
    except (library.NoUtterancesError, library.BufferTooShortError):
        return float("nan")


def stoi(real: np.ndarray, fake: np.ndarray) -> float:
    """STOI (Taal et al., 2011, https://doi.org/10.1109/TASL.2011.2114881) by the package ``pystoi``. Raises Unavailable without the package."""
    try:
        from pystoi import stoi as library
    except ImportError:
        raise Unavailable("The metric 'stoi' needs the package pystoi. Install it: pip install pystoi") from None
    return float(library(real, fake, RATE))


TAKES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "mel_distance": mel_distance, "mcd": mcd, "log_spectral_distance": log_spectral_distance, "pesq": pesq, "stoi": stoi,
}  # fmt: skip
ABOUT = {
    "mel_distance": {"bands": 80, "frame": 1024, "hop": 256, "range_hz": [0, 8000], "of": "magnitudes, natural logarithm", "floor": FLOOR},
    "mcd": {"bands": 80, "frame": 1024, "hop": 256, "order": ORDER, "first": 1, "alignment": "dynamic time warping", "floor": FLOOR},
    "log_spectral_distance": {"frame": 1024, "hop": 256, "floor": FLOOR},
    "pesq": {"mode": "wb"},
    "stoi": {"extended": False},
}


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """The asked ones; the paired ones are means over the pairs with their standard error."""
    results = []
    if "frechet_audio" in names:
        results += _frechet_audio(samples)
    asked = [name for name in names if name in TAKES]
    if not asked:
        return results
    values = {name: [] for name in asked}
    uneven = 0
    for real, fake in _pairs(samples):
        uneven += len(real) != len(fake)
        least = min(len(real), len(fake))
        for name in asked:
            values[name].append(TAKES[name](real, fake) if name == "mcd" else TAKES[name](real[:least], fake[:least]))
    return results + [_mean(samples, name, np.array(values[name]), uneven) for name in asked]


def _pairs(samples: Samples) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for _, reals, fakes in samples.pairs():
        for real, fake in zip(reals, fakes, strict=True):
            yield mono(np.asarray(real)), mono(np.asarray(fake))


def _mean(samples: Samples, name: str, values: np.ndarray, uneven: int) -> dict:
    heard = values[np.isfinite(values)]
    if not len(heard):
        raise Unavailable("{metric} heard no speech in any of the {count} pairs. Give takes with speech of a quarter of a second or more.", metric=name,
                          count=len(values))
    told = [f"{len(values) - len(heard)} pairs without speech are left out"] if len(heard) < len(values) else []
    if uneven and name != "mcd":
        told.append(f"{uneven} pairs differ in length and are cut to the shorter take")
    error = heard.std(ddof=1) / np.sqrt(len(heard)) if len(heard) > 1 else None
    return samples.result(
        name, heard.mean(), error, num_real=len(values), num_fake=len(values),
        protocol={**ABOUT[name], "rate": RATE, "value": "mean over pairs", "error": "standard deviation over pairs / sqrt(pairs)"},
        details={"smallest": float(heard.min()), "largest": float(heard.max()), "pairs": len(heard)}, warnings=tuple(told),
    )  # fmt: skip


def _frechet_audio(samples: Samples) -> list[dict]:
    """Kilgour et al., 2019, "Fréchet Audio Distance", https://arxiv.org/abs/1812.08466: Gaussians over the patches of all sounds. Halves are halves of the
    sounds."""
    embed = getattr(samples.extractor, "embed", None)
    if embed is None:
        real, fake = ([row[None] for row in part] for part in samples.features())
    else:
        real, fake = ([embed(wave).numpy() for _, waves in side.chunks() for wave in waves] for side in (samples.real, samples.fake))

    def score(rows: np.ndarray, others: np.ndarray, against_fake: bool) -> dict[str, float]:
        other = fake if against_fake else real
        return {"frechet_audio": frechet(np.concatenate([real[row] for row in rows]), np.concatenate([other[row] for row in others]))}

    counts = [sum(map(len, part)) for part in (real, fake)]
    made = compare(samples, ["frechet_audio"], len(real), len(fake), score, protocol={"covariance": "unbiased", "rows": "patches" if embed else "sounds"},
                   details={"frechet_audio": {"rows_real": counts[0], "rows_fake": counts[1]}})
    made[0]["warnings"] = [*made[0].get("warnings", []), *rank_warning(min(counts), real[0].shape[1])]
    return made
