"""Class accuracy: the fraction of conditional samples to which a classifier gives the class that was asked for.

The classifier is the one whose features the other metrics use; beside the number stands its accuracy on real samples it
never saw. A generator can score higher than that: its samples may be easier than the real ones.
"""

import numpy as np

from agon.errors import UserError
from agon.metrics.bootstrap import share_error
from agon.metrics.samples import Samples

NAME = "accuracy"


def class_accuracy(logits: np.ndarray, labels: np.ndarray) -> tuple[float, list[float | None]]:
    """(N, K) logits, (N,) labels -> accuracy, and one a class (None for a class nobody asked for)."""
    right = logits.argmax(axis=1) == labels
    classes = [right[labels == label] for label in range(logits.shape[1])]
    return float(right.mean()), [float(part.mean()) if len(part) else None for part in classes]


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """Accuracy over all fakes, binomial standard error."""
    extractor = samples.require_extractor(NAME)
    if samples.fake_label is None:
        raise UserError(
            "The metric 'accuracy' needs samples drawn by class, and this generator is not conditional. Leave the "
            "metric out, or train a game with labels, for instance r3gan."
        )
    value, per_class = class_accuracy(extractor.logits(samples.fake), samples.fake_label.numpy())
    count, trained = len(samples.fake), extractor.protocol
    held_out = trained["accuracy_held_out"]
    return [
        samples.result(
            NAME,
            value,
            share_error(value, count),
            num_real=trained["num_held_out"],
            num_fake=count,
            protocol={
                "labels": "in the proportions of the real data",
                "error": "binomial, sqrt(p (1 - p) / n) with Jeffreys' p",
            },
            reference={
                "perfect_sampler": {
                    "value": held_out,
                    "standard_deviation": share_error(held_out, trained["num_held_out"]),
                    "how": "the classifier's accuracy on real samples held out from its training",
                }
            },
            details={"per_class": per_class},
        )
    ]
