"""Numbers made in different ways are not compared, and the difference is named."""

import copy

import pytest

from agon.metrics.protocol import differences, versus

ENTRY = {
    "metric": "fid", "value": 12.0, "standard_error": 0.3, "num_real": 10_000, "num_fake": 5_000,
    "protocol": {"data": "cifar10", "fingerprint": "a" * 64, "data_options": {"split": "train"}, "extractor": "inception", "extractor_sha256": "b" * 64,
                 "resize": "TF 1", "seed": 0, "agon": "0.1.0", "conditional": False, "fake": {"data": "x"}},
}  # fmt: skip


def changed(path, value):
    entry = copy.deepcopy(ENTRY)
    target = entry
    for name in path[:-1]:
        target = target[name]
    target[path[-1]] = value
    return entry


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("num_fake",), 4_999, "num_fake 5000 / 4999"),
        (("num_real",), 1, "num_real 10000 / 1"),
        (("protocol", "data_options"), {"split": "test"}, "data_options {'split': 'train'} / {'split': 'test'}"),
        (("protocol", "resize"), "Pillow bicubic", "resize TF 1 / Pillow bicubic"),
        (("protocol", "extractor_sha256"), "c" * 64, "extractor_sha256 bbbbbbbbbbbb… / cccccccccccc…"),
        (("protocol", "fingerprint"), "d" * 64, "fingerprint aaaaaaaaaaaa… / dddddddddddd…"),
        (("protocol", "precision"), "bf16", "precision nothing / bf16"),
    ],
)
def test_a_difference_is_named(path, value, said):
    assert differences(ENTRY, changed(path, value)) == [said]


@pytest.mark.parametrize("name", ["seed", "agon", "fake", "conditional"])
def test_what_may_differ(name):
    assert differences(ENTRY, changed(("protocol", name), "other")) == []


def test_a_difference_beyond_chance():
    """Errors add in squares: 0.3 and 0.4 give 0.5, so 0.9 apart is within two of them and 1.1 is not."""
    near, far = (changed(("value",), value) | {"standard_error": 0.4} for value in (12.9, 13.1))
    assert versus(ENTRY, near)["standard_error"] == pytest.approx(0.5)
    assert not versus(ENTRY, near)["beyond_chance"] and versus(ENTRY, far)["beyond_chance"]
    assert versus(ENTRY, near)["difference"] == pytest.approx(0.9)
    assert versus(ENTRY, ENTRY | {"standard_error": None})["beyond_chance"] is None


def test_the_same_content_by_another_path_may_be_compared():
    """A folder by its full path and by its short one, a run and a folder of its data; not two sets of other content, nor none known."""
    other = changed(("protocol", "data"), "/data/cifar10")
    assert differences(ENTRY, other) == []
    del other["protocol"]["data_options"]
    assert differences(ENTRY, other) == []
    for entry in (one := copy.deepcopy(ENTRY), other):
        entry["protocol"]["fingerprint"] = ""
    assert len(differences(one, other)) == 2
