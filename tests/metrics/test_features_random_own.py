"""The fixed random net against scipy, its bits, and what it orders; users' own extractors from files and from Python."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage, signal
from torch import nn

from agon.errors import Unavailable, UserError
from agon.metrics.features import own, random

SHA256 = "02f4c151f943e14da8f37c5884064709eb5d21075506255c95bcfbb3f5e3fb61"


def noise(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def by_hand(picture):
    """The random net in float64 by scipy's correlation, from its description."""
    x, found = picture.astype(np.float64) / 127.5 - 1, []
    for stage, filters in enumerate(random.weights()):
        if stage:
            if min(x.shape[1:]) >= 4:
                x = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
                x = (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4
            x = x - x.mean((1, 2), keepdims=True)
            x = x / np.sqrt((x**2).mean() + 0.01)
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1)), mode="edge")
        x = np.maximum([signal.correlate(padded, each.astype(float), mode="valid", method="direct")[0] for each in filters], 0)
        found += [x.mean((1, 2)), x.std((1, 2))]
    return np.concatenate(found)


def test_random_net_is_its_description():
    extractor = random.open_extractor("random")
    for shape in ((3, 8, 8), (3, 17, 30)):
        picture = noise(1, *shape)
        expected = by_hand(picture[0].numpy())
        found = extractor.run(picture)["features"][0].numpy()
        assert found.shape == (448,) == (extractor.layers["features"],)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_weights_are_the_same_bits_everywhere():
    """PCG64 by its definition (O'Neill, 2014: a 128-bit congruential generator, xor of its halves, rotated by the top six bits), in Python's integers."""
    state = np.random.PCG64(random.SEED).state["state"]
    value, mask, bits = state["state"], (1 << 128) - 1, []
    for _ in range(32 * 27):
        value = (value * 0x2360ED051FC65DA44385DF649FCCF645 + state["inc"]) & mask
        word, turn = (value >> 64) ^ (value & (1 << 64) - 1), value >> 122
        bits.append(((word >> turn) | (word << (64 - turn))) & (1 << 64) - 1)
    raw = np.array([(word >> 11) / 2**52 - 1 for word in bits]).reshape(32, 3, 3, 3)
    raw[16:] -= raw[16:].mean((1, 2, 3), keepdims=True)
    expected = raw / np.linalg.norm(raw.reshape(32, -1), axis=1).reshape(32, 1, 1, 1) * np.sqrt(2)
    parts = random.weights()
    np.testing.assert_allclose(parts[0], expected, rtol=1e-6)
    assert random.open_extractor("random").sha256 == SHA256 == hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()
    for part in parts[1:]:
        assert np.abs(part.mean((1, 2, 3))).max() < 1e-7 and np.allclose((part**2).sum((1, 2, 3)), 2)


def test_random_rows_do_not_see_each_other():
    extractor = random.open_extractor("random")
    pictures = noise(9, 3, 32, 32)
    whole = extractor.run(pictures)["features"]
    alone = torch.cat([extractor.run(pictures[index : index + 1])["features"] for index in range(9)])
    assert torch.equal(whole, alone) and torch.equal(extractor.run(pictures.flip(0))["features"].flip(0), whole)
    empty = extractor.run(torch.full((1, 3, 16, 16), 200, dtype=torch.uint8))["features"]
    assert empty.isfinite().all() and empty[0, 64:].abs().max() < 1e-3  # nothing to see after the first stage


def test_random_refuses_what_it_cannot_read():
    extractor = random.open_extractor("random")
    assert extractor.run(noise(2, 1, 8, 9))["features"].shape == extractor.run(noise(2, 4, 8, 9))["features"].shape == (2, 448)
    with pytest.raises(UserError, match="7x20 are too small"):
        extractor.run(noise(1, 3, 7, 20))
    with pytest.raises(UserError, match="takes no weights"):
        random.open_extractor("random", weights="some.pt")


def distance(first, second):
    """The Fréchet distance by its definition, in float64."""
    first, second = first.double().numpy(), second.double().numpy()
    one, two = np.cov(first.T), np.cov(second.T)
    values, columns = np.linalg.eigh(one)
    root = columns * np.sqrt(np.maximum(values, 0)) @ columns.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ two @ root), 0)).sum()
    return ((first.mean(0) - second.mean(0)) ** 2).sum() + np.trace(one) + np.trace(two) - 2 * cross


@pytest.mark.parametrize("data", ["digits", "shapes"])
def test_distance_in_random_features_orders_damage(data):
    """Reals against the untouched other half, then against it ever more blurred, noisier and with ever more classes missing."""
    if data == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        pictures, label = (digits.images[:1000] / 16 * 255).round().astype(np.uint8)[:, None], digits.target[:1000]
    else:
        from agon.data.shapes import open_source

        source = open_source("shapes", size=(24, 24), length=800, label="colour")
        pictures, label = ((source.read(np.arange(800)).real + 1) * 127.5).round().to(torch.uint8).numpy(), np.asarray(source.labels)
    generator = np.random.default_rng(0)
    order = generator.permutation(len(pictures))
    pictures, label, half = pictures[order], label[order], len(pictures) // 2
    extractor = random.open_extractor("random")

    def features(some):
        return torch.cat([extractor.run(torch.from_numpy(part))["features"] for part in np.array_split(some, 20)])

    real, fake = features(pictures[:half]), pictures[half:]
    blurred = [ndimage.gaussian_filter(fake.astype(float), (0, 0, width, width)) for width in (0.7, 1.0, 1.5)]
    noisy = [fake + generator.normal(0, level, fake.shape) for level in (20, 40, 80)]
    dropped = [fake[label[half:] >= missing] for missing in (1, 3, 6)]
    dropped = [part[generator.integers(0, len(part), len(fake))] for part in dropped]
    same = distance(real, features(fake[generator.integers(0, len(fake), len(fake))]))  # with repeats, as the damaged ones have
    clean = distance(real, features(fake))
    for damaged in (blurred, noisy, dropped):
        values = [distance(real, features(part.round().clip(0, 255).astype(np.uint8))) for part in damaged]
        assert clean < values[0] < values[1] < values[2]
    assert same < values[0]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Conv2d(3, 5, 3, 2)

    def forward(self, x):
        return self.inner(x)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().eval()


def test_torchscript_file(net, tmp_path):
    path = tmp_path / "net.pt"
    torch.jit.trace(net, torch.zeros(1, 3, 20, 20)).save(str(path))
    extractor = own.open_extractor(str(path))
    pictures = noise(4, 3, 20, 20)
    with torch.no_grad():
        expected = net(pictures.float() / 255).mean((2, 3))
    assert extractor.layers == {"features": 0} and extractor.name == str(path)
    torch.testing.assert_close(extractor.run(pictures)["features"], expected, rtol=0, atol=1e-6)
    assert extractor.layers == {"features": 5}
    assert extractor.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_function_in_a_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "def embed(x):\n    return x.float().mean((2, 3)), 'ignored'\nembed.input = 'uint8'\n\n"
        "class Other:\n    def __call__(self, x):\n        return x.flatten(1)[:, :7]\n"
    )
    pictures = noise(3, 1, 9, 9)
    extractor = own.open_extractor(f"{path}:embed")
    assert extractor.protocol["input"] == "uint8"
    torch.testing.assert_close(extractor.run(pictures)["features"], pictures.float().mean((2, 3)).expand(-1, 3))
    other = own.open_extractor(f"{path}:Other")
    torch.testing.assert_close(other.run(pictures)["features"], pictures.flatten(1)[:, :7] / 255)
    assert other.sha256 == extractor.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_module_and_ranges(net):
    pictures = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3).expand(2, 3, 4, 3)
    ends = {}
    for name in own.INPUTS:
        def first(x):
            return x[:, 0, 0, :]

        ends[name] = own.own_extractor(first, input=name).run(pictures)["features"][0].tolist()
    assert ends["uint8"] == [0, 51, 255] and np.allclose(ends["zero_to_one"], [0, 0.2, 1]) and np.allclose(ends["minus_one_to_one"], [-1, -0.6, 1])
    module = own.own_extractor(net.train(), "mine")
    assert module.name == "mine" and not module.function.training and len(module.sha256) == 64
    before = module.sha256
    with torch.no_grad():
        net.inner.bias += 1
    assert own.own_extractor(net).sha256 != before and own.own_extractor(lambda x: x).sha256 == ""


@pytest.mark.parametrize(("function", "words"), [
    (lambda x: "text", "returned a str"), (lambda x: x.mean(), "the shape"), (lambda x: x[:1].flatten(1), "one row a picture"),
    (lambda x: x.flatten(1).where(x.flatten(1) < x.max(), torch.nan), "not finite"), (lambda x: {"features": x}, "returned a dict"),
])  # fmt: skip
def test_answers_that_are_no_features_are_refused(function, words):
    with pytest.raises(UserError, match=words):
        own.own_extractor(function).run(noise(2, 3, 8, 8))


def test_failure_of_the_users_code_is_told():
    with pytest.raises(Unavailable, match=r"failed on pictures \(2, 3, 8, 8\) \(RuntimeError: .*[^.]\)\. Expected"):
        own.own_extractor(nn.Linear(5, 2), "mine").run(noise(2, 3, 8, 8))


def test_width_may_not_change():
    extractor = own.own_extractor(lambda x: x.flatten(1))
    extractor.run(noise(2, 3, 8, 8))
    with pytest.raises(UserError, match="gave 243 numbers a picture, and 192 before"):
        extractor.run(noise(2, 3, 9, 9))


def test_files_that_cannot_be_used(tmp_path):
    (tmp_path / "bad.pt").write_bytes(b"nothing")
    (tmp_path / "bad.py").write_text("raise RuntimeError('oh no')")
    (tmp_path / "number.py").write_text("embed = 3")
    cases = {"none.pt": "There is no", "bad.pt": "not a TorchScript file", "bad.py": "oh no", "number.py": "is a int", "number.py:other": "has no 'other'"}
    for name, words in cases.items():
        with pytest.raises(UserError, match=words):
            own.open_extractor(str(tmp_path / name))
    with pytest.raises(UserError, match="range of pictures 'float'"):
        own.own_extractor(lambda x: x, input="float")


def test_nothing_is_run_unasked(tmp_path):
    """Importing the modules and listing what there is runs no user's file and loads no optional library."""
    (tmp_path / "mine.py").write_text("raise SystemExit(3)")
    code = """if True:
        import sys, agon.metrics.features.own, agon.metrics.features.clip, agon.metrics.features.dinov2, agon.metrics.catalog as catalog
        assert {"clip", "clip-l14-336-cmmd", "dinov2", "random"} <= catalog.extractors().keys()
        assert catalog.parse("cmmd_mine.py:embed").extractor == "mine.py:embed" and catalog.parse("cmmd").extractor == "clip-l14-336-cmmd"
        assert not {"transformers", "tokenizers"} & set(sys.modules)"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment).returncode == 0
