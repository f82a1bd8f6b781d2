"""Features: one pass for everything, kept by content and never by name, the same with any pieces, batches and number of processes."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from picture_files import pictures, save

from agon.errors import UserError
from agon.metrics import feature_store, sides
from agon.metrics.feature_store import FeatureStore
from agon.metrics.features.base import Extractor, as_rgb
from agon.metrics.sides import ArraySide, PictureFolder


class Mean(Extractor):
    """The mean of each channel, and how often it was asked."""

    name, sha256, layers, protocol = "mean", "ab" * 32, {"features": 3, "logits": 1}, {"resize": "none"}

    def __init__(self):
        self.calls = 0

    def run(self, samples, layers=("features",)):
        self.calls += 1
        means = samples.float().mean((2, 3))
        return {name: {"features": means, "logits": means[:, :1]}[name] for name in layers}


def test_the_second_time_takes_no_pass(tmp_path):
    """Another process, another name of the folder, the same content: read from the disk."""
    samples = pictures(50)
    first, second = FeatureStore(tmp_path / "cache"), FeatureStore(tmp_path / "cache")
    expected = samples.mean((2, 3))
    one = first.get(PictureFolder(save(tmp_path / "a", samples)), Mean(), "features")
    silent = Mean()
    two = second.get(PictureFolder(save(tmp_path / "b", samples)), silent, "features")
    assert (first.passes, second.passes, silent.calls) == (1, 0, 0)
    np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(np.sort(one, axis=0), np.sort(expected, axis=0), rtol=1e-6)


@pytest.mark.parametrize("change", ["content", "extractor", "weights", "resize", "layer", "damage"])
def test_whatever_changes_the_features_is_in_the_key(tmp_path, change):
    samples, extractor, layer = pictures(10), Mean(), "features"
    folder = save(tmp_path / "a", samples)
    FeatureStore(tmp_path / "cache").get(PictureFolder(folder), extractor, layer)
    again = Mean()
    if change == "content":
        samples[0] = 255 - samples[0]
        save(folder, samples)
    elif change == "damage":
        path = next((tmp_path / "cache" / "features").glob("*.npy"))
        content = bytearray(path.read_bytes())
        content[-3] ^= 16
        path.write_bytes(content)
    elif change == "layer":
        layer = "logits"
    else:
        name, value = {"extractor": ("name", "other"), "weights": ("sha256", "cd" * 32), "resize": ("protocol", {"resize": "clean"})}[change]
        setattr(again, name, value)
    store = FeatureStore(tmp_path / "cache")
    store.get(PictureFolder(folder), again, layer)
    assert store.passes == 1


def test_all_extractors_share_one_pass():
    first, second = Mean(), Mean()
    second.name = "second"
    side, store = ArraySide(pictures(30)), FeatureStore(cached=False)
    store.collect(side, [(first, "features"), (second, "logits"), (first, "logits")])
    assert store.passes == 1 and first.calls == second.calls == 1
    assert store.get(side, first, "logits").shape == (30, 1) and store.passes == 1


def test_pieces_and_batches_change_nothing(monkeypatch):
    samples = pictures(101)
    whole = FeatureStore(cached=False).get(ArraySide(samples), Mean(), "features")
    monkeypatch.setattr(sides, "READ", 13)
    monkeypatch.setattr(feature_store, "BATCH", 5)
    monkeypatch.setattr(feature_store, "IN_MEMORY_BYTES", 0)
    parts = FeatureStore(cached=False).get(ArraySide(samples), Mean(), "features")
    assert isinstance(parts, np.memmap)
    np.testing.assert_array_equal(whole, parts)


def test_values_that_are_not_finite_are_refused():
    class Bad(Mean):
        def run(self, samples, layers=("features",)):
            return {"features": torch.full((len(samples), 3), torch.nan)}

    with pytest.raises(UserError, match="gave values that are not finite"):
        FeatureStore(cached=False).get(ArraySide(pictures(5)), Bad(), "features")


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    store = FeatureStore(tmp_path / "cache")
    assert len(store.get(PictureFolder(save(tmp_path / "a", pictures(4))), Mean(), "features")) == 4


def test_colours_of_grey_and_alpha():
    grey = torch.tensor([[[[0, 200]]]], dtype=torch.uint8)
    assert as_rgb(grey)[0, :, 0, 1].tolist() == [200] * 3
    clear = torch.tensor([10, 20, 30, 0], dtype=torch.uint8).view(1, 4, 1, 1)
    half = torch.tensor([10, 20, 30, 51], dtype=torch.uint8).view(1, 4, 1, 1)
    assert as_rgb(clear).flatten().tolist() == [255] * 3
    assert as_rgb(half).flatten().tolist() == [206, 208, 210]  # 0.2 x colour + 0.8 x 255
    with pytest.raises(UserError, match="2 channels"):
        as_rgb(grey.expand(1, 2, 1, 2))


RANKS = """
import json, sys
import torch.distributed as dist
import numpy as np
from agon.data import open_dataset
from agon.metrics.evaluate import evaluate
from agon.train.distributed import join
join()
import torch
from agon.metrics import sides
sides.READ = 100
def draw(n, *, seed, label=None):
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1
results = evaluate(draw, open_dataset("digits"), ["frechet", "kid", "coverage", "pixel_sliced_wasserstein"], num_samples=330, cached=False)
if not dist.is_initialized() or dist.get_rank() == 0:
    print("RESULT" + json.dumps([result["value"] for result in results]))
"""


def test_two_processes_give_the_numbers_of_one():
    """Each works on every other piece; the sum of what they found is what one finds, bit for bit."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}

    def run(*command):
        done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("RESULT")).removeprefix("RESULT"))

    alone = run("-c", RANKS)
    script = os.path.join(os.environ["AGON_CACHE"], "ranks.py")
    with open(script, "w") as file:
        file.write(RANKS)
    assert run("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", script) == alone
