"""Any torch Dataset. Oracles: the arrays inside it, equality over worker counts, batch sizes and reading orders."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from agon.data import open_dataset
from agon.errors import UserError

state = np.random.RandomState(5)
PIXELS = state.randint(0, 256, (30, 6, 7, 3), dtype=np.uint8)
EXPECTED = torch.from_numpy(PIXELS.transpose(0, 3, 1, 2) / 127.5 - 1).float()


class Items(Dataset):
    """A list of whatever."""

    def __init__(self, items: list):
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> object:
        return self.items[index]


class Noisy(Dataset):
    """A random transform that uses all three generators that people use."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        noise = torch.randn(1, 4, 4) * 0.05 + random.random() * 0.1 + float(np.random.rand()) * 0.1
        return (noise + index / 40 - 0.4).clamp(-1, 1), index % 3


FORMS = {
    "array HWC": lambda p: p, "array CHW": lambda p: p.transpose(2, 0, 1), "uint8 tensor": lambda p: torch.from_numpy(p.transpose(2, 0, 1).copy()),
    "float tensor": lambda p: torch.from_numpy(p.transpose(2, 0, 1) / 127.5 - 1), "zero to one": lambda p: torch.from_numpy(p.transpose(2, 0, 1) / 255),
    "PIL": Image.fromarray, "float array": lambda p: (p / 127.5 - 1).astype(np.float32),
    "half": lambda p: torch.from_numpy(p.transpose(2, 0, 1) / 127.5 - 1).half(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("wrap", ["alone", "tuple", "dictionary"])
def test_every_form_of_item_becomes_the_same_batch(form: str, wrap: str) -> None:
    pictures = [FORMS[form](pixels) for pixels in PIXELS]
    items = {"alone": pictures, "tuple": [(picture, n % 4) for n, picture in enumerate(pictures)],
             "dictionary": [{"image": picture, "label": torch.tensor(n % 4), "condition": [n, 1.0]} for n, picture in enumerate(pictures)]}[wrap]
    source = open_dataset(Items(items))
    batch = source.read(np.array([4, 29, 4]))
    assert torch.allclose(batch.real, EXPECTED[[4, 29, 4]], atol=1e-3 if form == "half" else 1e-6) and batch.real.dtype == torch.float32
    assert source.spec.shape == (3, 6, 7) and source.spec.num_classes == (0 if wrap == "alone" else 4)
    assert (batch.label is None) if wrap == "alone" else batch.label.tolist() == [0, 1, 0]
    if wrap == "dictionary":
        assert source.spec.condition_dim == 2 and batch.condition.tolist() == [[4, 1], [29, 1], [4, 1]]
    assert [event["event"] for event in source.events] == (["value_range"] if form == "zero to one" else [])


def test_grey_pictures_points_and_conditions() -> None:
    grey = open_dataset(Items([Image.fromarray(pixels[..., 0]) for pixels in PIXELS]))
    assert grey.spec.shape == (1, 6, 7) and torch.allclose(grey.read(np.arange(30)).real[:, 0], EXPECTED[:, 0], atol=1e-6)
    deep = np.arange(42, dtype=np.uint16).reshape(6, 7) * 1500
    sixteen = open_dataset(Items([Image.fromarray(deep)] * 2)).read(np.arange(2)).real[0, 0]
    assert np.abs((sixteen.numpy() + 1) * 127.5 - deep / 257).max() <= 0.51  # and not clipped to white
    points = torch.randn(50, 2) * 9
    source = open_dataset(TensorDataset(points, torch.arange(50) % 7))
    assert source.spec.kind == "points" and source.spec.num_classes == 7
    assert torch.equal(source.read(np.arange(50)).real, points)
    conditioned = open_dataset(TensorDataset(points, torch.randn(50, 3)))
    assert conditioned.spec.condition_dim == 3 and conditioned.read(np.arange(4)).label is None


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_random_transforms_depend_on_seed_epoch_and_index_alone(workers: int) -> None:
    reference = open_dataset(Noisy())
    whole = reference.read(np.arange(20), seed=7, epoch=2)
    source = open_dataset(Noisy(), num_workers=workers)
    for indices in (np.array([3, 19, 0]), np.arange(20)[::-1], np.array([5])):
        batch = source.read(indices.copy(), seed=7, epoch=2)
        assert torch.equal(batch.real, whole.real[indices.copy()]) and torch.equal(batch.label, whole.label[indices.copy()])
    assert not torch.equal(source.read(np.arange(20), seed=7, epoch=3).real, whole.real)
    assert not torch.equal(source.read(np.arange(20), seed=8, epoch=2).real, whole.real)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_callers_random_state_is_untouched(workers: int) -> None:
    def draws() -> tuple:
        return torch.rand(3).tolist(), np.random.rand(), random.random()

    def seed() -> None:
        torch.manual_seed(1), np.random.seed(1), random.seed(1)

    seed()
    expected = draws()
    seed()
    source = open_dataset(Noisy(), num_workers=workers)
    source.read(np.arange(5), seed=3)
    assert draws() == expected


def test_classes_come_from_where_sets_keep_them() -> None:
    named = Items([(PIXELS[0], 1)] * 3)
    named.classes = ["cat", "dog", "hen"]
    assert open_dataset(named).spec.class_names == ("cat", "dog", "hen")
    counted = Items([(PIXELS[0], 1)] * 3)
    counted.targets = torch.tensor([0, 8, 2])
    assert open_dataset(counted).spec.num_classes == 9
    assert open_dataset(Items([(PIXELS[0], 1)] * 3), num_classes=5).spec.num_classes == 5
    assert open_dataset(named, labelled=False).spec.num_classes == 0
    words = Items([(PIXELS[0], "cat"), (PIXELS[1], 0.5)])
    words.targets = ["cat", "dog"]
    assert open_dataset(words, labelled=False).read(np.arange(2)).label is None
    with pytest.raises(UserError, match="has label 'cat'"):
        open_dataset(words)
    assert open_dataset(Items([(PIXELS[0], label) for label in (2.0, np.int64(1), torch.tensor([0]).squeeze())])).read(np.arange(3)).label.tolist() == [2, 1, 0]


def test_fingerprints_follow_the_content() -> None:
    items = [pixels for pixels in PIXELS]
    changed = [pixels.copy() for pixels in PIXELS]
    changed[17][2, 2, 2] ^= 1
    prints = [open_dataset(Items(content)).fingerprint for content in (items, items, changed, items[:-1])]
    assert prints[0] == prints[1] and len(set(prints)) == 3


class Endless(IterableDataset):
    def __iter__(self):
        yield PIXELS[0]


class Unlabelled(Items):
    """Labels, and no word on how many: too long to count."""

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, index: int) -> object:
        return PIXELS[0], 3


@pytest.mark.parametrize(("dataset", "options", "words"), [
    (Endless(), {}, "IterableDataset"), (DataLoader(Items([PIXELS[0]])), {}, "loader.dataset"), (Items([]), {}, "is empty"),
    (Items([{"picture": 1}]), {}, "without 'image'"), (Items(["text"]), {}, "is str"), (Items([PIXELS[0]]), {"size": 8}, "on its own"),
    (Items([PIXELS[0]]), {"value_range": (0, 255)}, r"Expected \(-1, 1\)"), (Unlabelled([]), {}, "num_classes=10"),
    (Items([PIXELS[0]]), {"workers": 1}, "Did you mean 'num_workers'"), (Items([PIXELS[0]]), {"num_workers": "two"}, "Expected whole number"),
    (Items([(PIXELS[0], 1.5)]), {}, "has label 1.5"), (Items([(PIXELS[0], "cat")]), {}, "has label 'cat'"),
    (Items([Image.fromarray(np.full((4, 4), 3.0, np.float32))]), {}, "a picture that holds float values from 3"),
])
def test_wrong_sets_are_explained(dataset: object, options: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        open_dataset(dataset, **options)


@pytest.mark.parametrize(("items", "words"), [
    ([torch.zeros(1, 4, 4) - 0.5, torch.full((1, 4, 4), 3.0)], r"from 3 to 3, where -1 to 1"),
    ([torch.full((1, 4, 4), 255.0)] * 2, "where 0 to 1"),
    ([torch.full((1, 4, 4), float("nan"))] * 2, "nan"),
    ([torch.zeros(1, 4, 4), torch.zeros(1, 4, 5)], "has shape"),
    ([(torch.zeros(1, 4, 4), 0), (torch.zeros(1, 4, 4), -1)], "label -1"),
])
@pytest.mark.parametrize("workers", [0, 2])
def test_wrong_items_are_named(items: list, words: str, workers: int) -> None:
    source = open_dataset(Items(items), num_workers=workers)
    with pytest.raises(UserError, match=words):
        source.read(np.array([0, 1]))
