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
from agon.metrics.frechet import SPLITS, frechet
from agon.metrics.kid import kid
from agon.metrics.prdc import NAMES, K, prdc
from agon.metrics.samples import Samples, flatten


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=1000)
    arguments = parser.parse_args()
    source = open_dataset("digits")
    real = source.read(np.arange(len(source))).real
    extractor = Samples(source, real).require_extractor("frechet")
    features = extractor.features(real)
    distances, kernel, neighbours = [], [], []
    for index in range(arguments.splits):
        order = np.random.default_rng(index).permutation(len(features))
        one, two = features[order[: len(order) // 2]], features[order[len(order) // 2 :]]
        distances.append(frechet(one, two))
        if index < 20:
            kernel.append(kid(one, two))
            neighbours.append(list(prdc(one, two).values()))
    mean = float(np.mean(distances))
    print(
        json.dumps(
            {
                "data": source.name,
                "fingerprint": source.fingerprint,
                "extractor_sha256": extractor.sha256,
                "held_out_accuracy": extractor.protocol["accuracy_held_out"],
                "counts": [len(one), len(two)],
                "frechet": {
                    "mean": mean,
                    "standard_deviation": float(np.std(distances, ddof=1)),
                    "splits": arguments.splits,
                    "median": float(np.median(distances)),
                    "maximum": max(distances),
                },
                "bar": {"formula": "1.2 * mean + 0.6", "value": 1.2 * mean + 0.6},
                "covariance_trace": float(np.trace(np.cov(features.T))),
                "kid": {
                    "mean": float(np.mean(kernel)),
                    "standard_deviation": float(np.std(kernel, ddof=1)),
                    "splits": 20,
                },
                **{
                    name: {
                        "mean": float(np.mean(column)),
                        "standard_deviation": float(np.std(column, ddof=1)),
                        "k": K,
                        "splits": 20,
                    }
                    for name, column in zip(NAMES, np.array(neighbours).T, strict=True)
                },
                "near_copies": float(np.mean(held_out_rate(flatten(real)))),
                "splits_in_evaluate": SPLITS,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
