"""Intra-class FID: the Fréchet distance between the real and the fake samples of one class, averaged over the classes.

Miyato and Koyama, 2018, "cGANs with Projection Discriminator", https://arxiv.org/abs/1802.05637. It sees what FID over all classes does not: a
class whose samples are all alike, and samples of the wrong class. Each class alone has fewer samples, so the bias c (1/m + 1/n) is larger than FID's; a class
needs more samples than there are features on both sides, else the metric is refused.
"""

import numpy as np

from agon.errors import Unavailable
from agon.metrics.bootstrap import NUM_GROUPS
from agon.metrics.fid import distance_and_error, perfect_sampler
from agon.metrics.samples import Samples

METRICS = {"intra_fid": "Fréchet distance within each class, the mean over classes (lower is better)"}
KINDS = ("image",)
EXTRACTOR = "data"
LAYERS = ("features",)
LABELLED = True


def intra_fid(real: np.ndarray, real_label: np.ndarray, fake: np.ndarray, fake_label: np.ndarray) -> dict[int, tuple[float, float]]:
    """(distance, standard error) of every class of the reals. Features (M, F), (N, F); labels (M,), (N,)."""
    return {int(label): distance_and_error(real[real_label == label], fake[fake_label == label]) for label in np.unique(real_label)}


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """Mean over the classes of the reals; each class's in ``details``."""
    real, fake = samples.features("features")
    labels = samples.labels()
    check_classes(*labels, real.shape[1])
    found = intra_fid(real, labels[0], fake, labels[1])
    values, errors = np.array(list(found.values())).T
    floors = [perfect_sampler(real[labels[0] == label], int((labels[1] == label).sum())).get("perfect_sampler") for label in found]
    how = "the mean over classes of two halves of the real samples, scaled to these counts (the bias falls like 1/n)"
    reference = {}
    if None not in floors:
        mean, spread = np.mean([floor["value"] for floor in floors]), np.sqrt(sum(floor["standard_deviation"] ** 2 for floor in floors)) / len(floors)
        reference = {"perfect_sampler": {"value": float(mean), "standard_deviation": float(spread), "how": how}}
    return [
        samples.result(
            "intra_fid",
            values.mean(),
            float(np.sqrt((errors**2).sum()) / len(errors)),
            num_real=len(real),
            num_fake=len(fake),
            protocol={
                "covariance": "unbiased",
                "dimension": real.shape[1],
                "classes": len(found),
                "smallest_real": int(np.unique(labels[0], return_counts=True)[1].min()),
                "smallest_fake": int(min((labels[1] == label).sum() for label in found)),
                "value": "mean over classes of the distance of all fakes to all reals of a class",
                "error": f"jackknife over {NUM_GROUPS} random groups in each class, classes independent",
            },
            reference=reference,
            details={"per_class": {str(label): {"value": value, "standard_error": error} for label, (value, error) in found.items()}},
        )
    ]


def check_classes(real_label: np.ndarray | None, fake_label: np.ndarray | None, dimension: int) -> None:
    """Raises Unavailable unless both sides have labels, and every class of the reals more samples than features on both sides."""
    if real_label is None or fake_label is None:
        raise Unavailable("The metric 'intra_fid' needs classes on both sides, and {side} has none. Use folders with a sub-folder a class, or fid.",
                          side="the real one" if real_label is None else "the generated one")  # fmt: skip
    for label in np.unique(real_label):
        count = min(int((real_label == label).sum()), int((fake_label == label).sum()))
        if count <= dimension:
            raise Unavailable(
                "Class {label} has {count} samples on one side, and {dimension} features need at least {least} for a covariance that is not singular. "
                "Take more samples, name an extractor with fewer features (intra_fid_net.py:embed), or use fid.",
                label=int(label), count=count, dimension=dimension, least=dimension + 1,
            )  # fmt: skip
