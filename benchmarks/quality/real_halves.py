"""The floor of bar 1: the Fréchet distance between two random halves of the real digits, in the classifier's features.

    python benchmarks/quality/real_halves.py [--splits 1000]

Prints one JSON object: mean and standard deviation over the splits, the same for the other metrics, and the bar that
follows (1.2 x the mean + 0.6). Everything is deterministic. One CPU-second a hundred splits.
"""

import argparse
import json

import numpy as np

from agon.data import open_dataset
from agon.metrics.copying import held_out_rate
from agon.metrics.feature_store import FeatureStore
from agon.metrics.features import open_extractor
from agon.metrics.frechet import SPLITS, frechet
from agon.metrics.kid import kid
from agon.metrics.prdc import K, prdc
from agon.metrics.sides import SourceSide


def summary(values: list[float], **more: object) -> dict:
    return {"mean": float(np.mean(values)), "standard_deviation": float(np.std(values, ddof=1)), **more}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=1000)
    arguments = parser.parse_args()
    side, store = SourceSide(open_dataset("digits")), FeatureStore(cached=False)
    extractor = open_extractor("digits")
    features, pixels = (store.get(side, each, "features") for each in (extractor, open_extractor("thumbnail")))
    distances, kernel, neighbours = [], [], []
    for index in range(arguments.splits):
        order = np.random.default_rng(index).permutation(len(features))
        one, two = features[order[: len(order) // 2]], features[order[len(order) // 2 :]]
        distances.append(frechet(one, two))
        if index < 20:
            kernel.append(kid(one, two))
            neighbours.append(prdc(one, two))
    mean = float(np.mean(distances))
    content = {
        "data": side.name, "fingerprint": side.source.fingerprint, "extractor_sha256": extractor.sha256,
        "held_out_accuracy": extractor.trained["accuracy_held_out"], "counts": [len(one), len(two)],
        "frechet": summary(distances, splits=arguments.splits, median=float(np.median(distances)), maximum=max(distances)),
        "bar": {"formula": "1.2 * mean + 0.6", "value": 1.2 * mean + 0.6},
        "covariance_trace": float(np.trace(np.cov(features.astype(np.float64).T))),
        "kid": summary(kernel, splits=20),
        **{name: summary([each[name] for each in neighbours], k=K, splits=20) for name in ("precision", "recall", "density", "coverage")},
        "near_copies": float(np.mean(held_out_rate(pixels))), "splits_in_evaluate": SPLITS,
    }  # fmt: skip
    print(json.dumps(content, indent=2))


if __name__ == "__main__":
    main()
