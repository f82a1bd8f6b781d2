"""Translation: scikit-learn's confusion matrix and Jaccard score as oracles, segmenters whose mistakes are known."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, jaccard_score

from agon.errors import Unavailable, UserError
from agon.metrics import segmentation
from agon.metrics.samples import Samples

RANDOM = np.random.default_rng(0)
NAMES = ["miou", "pixel_accuracy", "class_accuracy"]


def picture_of(labels):
    """Each class its own grey: (N, 1, H, W) -> (N, 3, H, W)."""
    return (labels * 40).expand(-1, 3, -1, -1).contiguous()


class Grey(torch.nn.Module):
    """The class whose grey is nearest."""

    def forward(self, pictures):
        return -(pictures[:, :1].float() - 40 * torch.arange(4.0)[None, :, None, None]).abs()


def labels_of(count=12, classes=4):
    return torch.from_numpy(RANDOM.integers(0, classes, (count, 1, 8, 8)).astype(np.uint8))


def test_scores_are_scikit_learns():
    label, found = RANDOM.integers(0, 5, 500), RANDOM.integers(0, 5, 500)
    counts = segmentation.confusion(label, found, 5)
    assert (counts == confusion_matrix(label, found)).all()
    assert segmentation.miou(counts) == pytest.approx(jaccard_score(label, found, average="macro"))
    assert segmentation.pixel_accuracy(counts) == pytest.approx(accuracy_score(label, found))
    assert segmentation.class_accuracy(counts) == pytest.approx(balanced_accuracy_score(label, found))


def test_absent_classes_and_unjudged_pixels_do_not_count():
    counts = segmentation.confusion(np.array([0, 0, 1, 255]), np.array([0, 1, 1, 3]), 4)
    assert counts.sum() == 3 and segmentation.miou(counts) == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert segmentation.class_accuracy(counts) == pytest.approx((1 / 2 + 1) / 2)
    with pytest.raises(UserError, match="classes 0 to 7"):
        segmentation.confusion(np.array([0, 7]), np.array([0, 1]), 4)


def test_a_segmenter_sees_what_the_fakes_show(tmp_path):
    labels = labels_of()
    shown = labels.clone()
    shown[:, :, :2] = (shown[:, :, :2] + 1) % 4  # a quarter of each picture shows another class
    path = tmp_path / "grey.pt"
    torch.jit.script(Grey()).save(str(path))
    for segmenter in (Grey(), str(path)):
        samples = Samples.of_arrays(labels, picture_of(shown), segmenter=segmenter)
        values = {entry["metric"]: entry for entry in segmentation.measure(samples, NAMES)}
        assert values["pixel_accuracy"]["value"] == 0.75
        assert values["miou"]["value"] == pytest.approx(jaccard_score(labels.ravel(), shown.ravel(), average="macro"))
    assert values["miou"]["protocol"]["segmenter"].startswith("grey.pt ") and len(values["miou"]["protocol"]["segmenter"]) == 8 + 64
    perfect = segmentation.measure(Samples.of_arrays(labels, picture_of(labels), segmenter=Grey()), NAMES)
    assert [entry["value"] for entry in perfect] == [1, 1, 1]


def test_the_error_is_that_of_the_mean_over_pictures():
    """Pictures of one size: pixel accuracy is the mean over pictures, and its jackknife error sd / sqrt(n)."""
    labels = labels_of(30)
    shown = labels.clone()
    for index in range(30):
        shown[index, 0, : index % 7] = (shown[index, 0, : index % 7] + 1) % 4
    each = (labels == shown).float().mean((1, 2, 3)).numpy()
    (entry,) = segmentation.measure(Samples.of_arrays(labels, picture_of(shown), segmenter=Grey()), ["pixel_accuracy"])
    assert entry["value"] == pytest.approx(each.mean()) and entry["standard_error"] == pytest.approx(each.std(ddof=1) / np.sqrt(30))


def test_what_is_missing_is_said():
    labels = labels_of(4)
    with pytest.raises(Unavailable, match="--segmenter"):
        segmentation.measure(Samples.of_arrays(labels, picture_of(labels)), NAMES)
    with pytest.raises(UserError, match="8-bit grey"):
        segmentation.measure(Samples.of_arrays(picture_of(labels), picture_of(labels), segmenter=Grey()), NAMES)
    with pytest.raises(UserError, match="of the map's size"):
        segmentation.measure(Samples.of_arrays(labels, picture_of(labels)[..., :4], segmenter=Grey()), NAMES)
    with pytest.raises(UserError, match="No pixel"):
        segmentation.measure(Samples.of_arrays(torch.full_like(labels, 255), picture_of(labels), segmenter=Grey()), NAMES)


class Fails(torch.nn.Module):
    def forward(self, pictures):
        return pictures.view(7, -1)


class Two(torch.nn.Module):
    def forward(self, pictures):
        return pictures, pictures


@pytest.mark.parametrize(("net", "why"), [(Fails(), "shape"), (Two(), "it returned tuple")])
def test_a_segmenter_that_fails_is_the_users_to_mend(net, why, tmp_path):
    path, labels = tmp_path / "net.pt", labels_of(2)
    torch.jit.script(net).save(str(path))
    for segmenter in (net, str(path)):
        with pytest.raises(UserError, match=rf"segmenter failed on a picture \(1, 3, 8, 8\) \(.*{why}.*\)") as caught:
            segmentation.measure(Samples.of_arrays(labels, picture_of(labels), segmenter=segmenter), ["miou"])
        assert "\n" not in str(caught.value)
