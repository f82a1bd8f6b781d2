"""Class accuracy: the fraction of conditional samples to which a classifier gives the class that was asked for.

The classifier is the one whose features the other metrics use; beside the number stands its accuracy on real samples, for the digits on those it never saw.
A generator can score higher than that: its samples may be easier than the real ones.
"""

import numpy as np

from agon.errors import Unavailable, UserError
from agon.metrics.bootstrap import share_error
from agon.metrics.samples import Samples

METRICS = {"accuracy": "Fraction of conditional samples that a classifier gives the class asked for (higher is better)"}
KINDS = ("image",)
EXTRACTOR = "data"
LAYERS = ("logits",)
LABELLED = True


def class_accuracy(logits: np.ndarray, labels: np.ndarray) -> tuple[float, list[float | None]]:
    """(N, K) logits, (N,) labels -> accuracy, and one a class (None for a class nobody asked for)."""
    right = logits.argmax(axis=1) == labels
    classes = [right[labels == label] for label in range(logits.shape[1])]
    return float(right.mean()), [float(part.mean()) if len(part) else None for part in classes]


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """Accuracy over all fakes, binomial standard error."""
    if samples.fake.label is None:
        raise UserError(
            "The metric 'accuracy' needs samples drawn by class, and this generator is not conditional. Leave the "
            "metric out, or train a game with labels, for instance r3gan."
        )
    real, fake = samples.features("logits")
    if samples.spec is not None and samples.spec.num_classes not in (0, fake.shape[1]):
        raise Unavailable(
            "The classifier '{extractor}' knows {known} classes and '{data}' has {classes}, so their numbers mean different things. "
            "Leave accuracy out, or give a classifier of these classes: accuracy_NET.pt.",
            extractor=samples.extractor.name, known=fake.shape[1], data=samples.name, classes=samples.spec.num_classes,
        )  # fmt: skip
    value, per_class = class_accuracy(fake, samples.labels("logits")[1])
    number, reference = perfect_sampler(samples, real)
    return [
        samples.result(
            "accuracy", value, share_error(value, len(fake)), num_real=number, num_fake=len(fake),
            protocol={"labels": "in the proportions of the real data", "error": "binomial, sqrt(p (1 - p) / n) with Jeffreys' p"},
            reference=reference, details={"per_class": per_class},
        )
    ]  # fmt: skip


def perfect_sampler(samples: Samples, logits: np.ndarray) -> tuple[int, dict]:
    """(how many reals, reference): the classifier's accuracy on reals held out from its training where that is known, else on these reals."""
    trained = getattr(samples.extractor, "trained", {})
    if "accuracy_held_out" in trained:
        number, value, how = trained["num_held_out"], trained["accuracy_held_out"], "the classifier's accuracy on real samples held out from its training"
    elif samples.real.label is not None:
        number, value = len(logits), class_accuracy(logits, samples.labels("logits")[0])[0]
        how = "the classifier's accuracy on these real samples, of which it may have been trained"
    else:
        return 0, {}
    return number, {"perfect_sampler": {"value": value, "standard_deviation": share_error(value, number), "how": how}}
