"""Sound as numbers: resampling, magnitude spectra, mel bands, mel cepstra, and the alignment of two takes. Waveforms are float (T,) in [-1, 1]."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

RATE = 16_000  # Hz; every sound metric listens at this rate: VGGish's, wide-band PESQ's
TAPS = 32  # zero crossings of the resampling filter on each side
KAISER = 9.0  # stop band about -90 dB
FRAME, HOP, BANDS = 1024, 256, 80  # 64 ms and 16 ms: the mel spectrogram of vocoders, at 16 kHz
FLOOR = 1e-5  # of magnitudes before a logarithm


def mono(wave: np.ndarray) -> np.ndarray:
    """(T,) or (C, T) -> float64 (T,), the mean of the channels."""
    wave = np.asarray(wave, np.float64)
    return wave if wave.ndim == 1 else wave.reshape(math.prod(wave.shape[:-1]), wave.shape[-1]).mean(0)


def resample(wave: np.ndarray, rate: int, wanted: int = RATE) -> np.ndarray:
    """(T,) at ``rate`` Hz -> (ceil(T * wanted / rate),) at ``wanted`` Hz.

    Band-limited interpolation with a Kaiser-windowed sinc (Smith and Gossett, 1984, https://doi.org/10.1109/ICASSP.1984.1172555); the cut-off is 95 % of the
    lower rate's Nyquist frequency.
    """
    if rate == wanted:
        return np.asarray(wave, np.float64)
    divisor = math.gcd(rate, wanted)
    up, down = wanted // divisor, rate // divisor
    cutoff = 0.95 * min(1.0, up / down)  # of the input's Nyquist frequency
    reach = math.ceil(TAPS / cutoff)
    padded = np.pad(np.asarray(wave, np.float64), (reach, reach + 1))
    count = -(-len(wave) * up // down)
    made = np.empty(count)
    offsets = np.arange(-reach, reach + 1)
    for phase in range(min(up, count)):  # outputs phase, phase + up, ... fall at the same place between two inputs
        start, rest = divmod(phase * down, up)
        distance = offsets - rest / up
        kernel = cutoff * np.sinc(cutoff * distance) * np.i0(KAISER * np.sqrt(np.clip(1 - (distance / (reach + 1)) ** 2, 0, None))) / np.i0(KAISER)
        places = start + down * np.arange(len(range(phase, count, up)))
        made[phase::up] = np.lib.stride_tricks.sliding_window_view(padded, len(offsets))[places] @ kernel
    return made


def spectrum(wave: np.ndarray, window: int = FRAME, hop: int = HOP, size: int | None = None) -> np.ndarray:
    """Magnitudes (frames, size // 2 + 1) of frames under a periodic Hann window; frames lie within the wave, a shorter one is filled up with zeros."""
    wave = np.pad(np.asarray(wave, np.float64), (0, max(0, window - len(wave))))
    frames = np.lib.stride_tricks.sliding_window_view(wave, window)[::hop]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    return np.abs(np.fft.rfft(frames * hann, size or window))


def hertz_to_mel(frequency: np.ndarray) -> np.ndarray:
    """1127 ln(1 + f / 700): the scale of HTK."""
    return 1127 * np.log1p(np.asarray(frequency) / 700)


@cache
def mel_bank(bins: int, bands: int, lowest: float, highest: float, rate: int = RATE) -> np.ndarray:
    """(bins, bands): triangles of height 1, equally wide and overlapping by half, with straight sides, on the mel scale; the constant component is in none."""
    bin_mel = hertz_to_mel(np.linspace(0, rate / 2, bins))[:, None]
    edges = np.linspace(hertz_to_mel(lowest), hertz_to_mel(highest), bands + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    bank = np.maximum(0, np.minimum((bin_mel - low) / (centre - low), (high - bin_mel) / (high - centre)))
    bank.flags.writeable = False
    return bank


def log_mel(wave: np.ndarray) -> np.ndarray:
    """(frames, 80): natural logarithm of magnitudes in mel bands of 0 to 8 kHz, at least 1e-5."""
    magnitudes = spectrum(wave)
    return np.log(np.maximum(magnitudes @ mel_bank(magnitudes.shape[1], BANDS, 0.0, RATE / 2), FLOOR))


def mel_cepstrum(wave: np.ndarray, order: int = 13) -> np.ndarray:
    """(frames, order): coefficients 1 to ``order`` of the log power in mel bands, ln P(m) = c_0 + 2 sum_k c_k cos(pi k (m + 1/2) / 80).

    So scaled, 10 / ln 10 * sqrt(2 sum (difference of c_k)^2) is the root mean square difference of the smoothed spectra in dB.
    """
    power = 2 * log_mel(wave)
    bands = power.shape[1]
    waves = np.cos(np.pi / bands * np.outer(np.arange(bands) + 0.5, np.arange(1, order + 1)))
    return power @ waves / bands


def align(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Dynamic time warping: the path (rows, columns) from corner to corner of (M, N) costs with the least sum; steps right, down, or both.

    Sakoe and Chiba, 1978, https://doi.org/10.1109/TASSP.1978.1163055, without weights or window.
    """
    m, n = cost.shape
    total = np.full((m + 1, n + 1), np.inf)
    total[0, 0] = 0
    for diagonal in range(m + n - 1):  # the cells of an antidiagonal depend on the two before it alone
        row = np.arange(max(0, diagonal - n + 1), min(m, diagonal + 1))
        column = diagonal - row
        before = np.minimum(np.minimum(total[row, column], total[row, column + 1]), total[row + 1, column])
        total[row + 1, column + 1] = cost[row, column] + before
    i, j, path = m, n, []
    while i or j:
        path.append((i - 1, j - 1))
        i, j = min(((i - 1, j - 1), (i - 1, j), (i, j - 1)), key=lambda cell: total[cell] if min(cell) >= 0 else np.inf)
    rows, columns = np.array(path[::-1]).T
    return rows, columns
