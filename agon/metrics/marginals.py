"""The Wasserstein-1 distance of one-dimensional samples, of equal or different counts."""

import numpy as np


def wasserstein_1d(x: np.ndarray, y: np.ndarray) -> float:
    """The area between the two empirical distribution functions of (M,) and (N,) numbers, in their unit.

    Vallender, 1974, "Calculation of the Wasserstein distance between probability distributions on the line", https://doi.org/10.1137/1118101.
    """
    x, y = np.sort(np.asarray(x, np.float64)), np.sort(np.asarray(y, np.float64))
    if len(x) == len(y):
        return float(np.abs(x - y).mean())
    places = np.sort(np.concatenate([x, y]))
    shares = [np.searchsorted(part, places[:-1], side="right") / len(part) for part in (x, y)]
    return float(np.abs(shares[0] - shares[1]) @ np.diff(places))
