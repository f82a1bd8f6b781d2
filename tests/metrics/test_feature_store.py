"""Features: one pass for everything, kept by content and never by name, the same with any pieces, batches and number of processes."""

import contextlib
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
from agon.metrics.features.own import own_extractor
from agon.metrics.samples import Samples
from agon.metrics.sides import ArraySide, PictureFolder, SourceSide


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


ONE_FAILS = """
import os
import numpy as np
import torch
from pathlib import Path
from agon.data import open_dataset
from agon.errors import UserError
from agon.metrics import sides
from agon.metrics.evaluate import between, evaluate, measure
from agon.metrics.catalog import asked
from agon.train.distributed import join
ranks = join()
sides.READ = 100
calls = []
def draw(n, *, seed, label=None):
    calls.append(seed)
    return torch.full((n, 1, 8, 8), torch.nan if ranks.rank == 1 and len(calls) == 2 else 0.5)
try:
    evaluate(draw, open_dataset("digits"), ["frechet"], num_samples=400, cached=False)
except UserError as error:
    print(f"REFUSED{ranks.rank} {error}")
digits = open_dataset("digits")
for part in (slice(0, 1500), slice(500, 1797)):
    halves = [sides.SourceSide(digits, np.arange(1797)[part]) for _ in range(2)]
    own = Path(os.environ["AGON_CACHE"], "both" if part.start else f"of rank {ranks.rank}")
    for time in range(2):
        samples = between(*halves, cache_dir=own)
        measure(samples, asked(["kid_random"]))
        print(f"PASSES{ranks.rank} {part.start} {time} {samples.store.passes}")
"""


def test_processes_go_the_same_way(tmp_path):
    """One fails in its part: all raise, and none waits for ever. One has no disk with the kept features: all compute them, and where all have, none."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    (tmp_path / "ranks.py").write_text(ONE_FAILS)
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", "AGON_CACHE": str(tmp_path)}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(tmp_path / "ranks.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    for rank in (0, 1):
        assert f"REFUSED{rank} The generator's samples contain values that are not finite" in said
        assert f"PASSES{rank} 0 1 2" in said and f"PASSES{rank} 500 1 0" in said, said


def test_damaged_files_leave_features_and_classes_together(tmp_path):
    """A file cut in two has no row, and its class goes with it, from the disk as from the pass."""
    samples = pictures(30)
    samples[:15], samples[15:] = samples[:15] // 4, 192 + samples[15:] // 4
    save(tmp_path / "real", samples, [f"{'dark' if index < 15 else 'light'}/{index}.png" for index in range(30)])
    for number in (3, 7):
        path = tmp_path / "real" / "dark" / f"{number}.png"
        path.write_bytes(path.read_bytes()[:120])
    for passes in (1, 0):
        store = FeatureStore(tmp_path / "cache")
        with contextlib.nullcontext() if passes == 0 else pytest.warns(UserWarning, match="is left out"):
            compared = Samples(PictureFolder(tmp_path / "real"), ArraySide(samples), extractor=Mean(), store=store)
            features = store.get(compared.real, compared.extractor, "features")
        label = compared.labels()[0]
        assert store.passes == passes and len(features) == len(label) == 28
        np.testing.assert_array_equal(label, (features.mean(1) > 128).astype(int))


def test_a_folder_of_which_nothing_can_be_read_is_an_error(tmp_path):
    folder = save(tmp_path, pictures(5))
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:120])
    with pytest.raises(UserError, match="No sample of .* can be read"), pytest.warns(UserWarning, match="is left out"):
        FeatureStore(cached=False).get(PictureFolder(folder), Mean(), "features")


def test_one_side_in_the_features_of_two_precisions():
    """The same samples measured again with another precision, other weights, another function of the same name: other features."""
    side, store, other = ArraySide(pictures(5)), FeatureStore(cached=False), Mean()
    store.get(side, Mean(), "features")
    for name, value in (("protocol", {"resize": "none", "precision": "bf16"}), ("sha256", "cd" * 32)):
        setattr(other, name, value)
        before = store.passes
        store.get(side, other, "features")
        assert store.passes == before + 1
    functions = [own_extractor(lambda pictures, scale=scale: scale * pictures.mean((2, 3)), "embed") for scale in (1, 2)]
    one, two = (store.get(side, function, "features") for function in functions)
    np.testing.assert_array_equal(2 * one, two)


def test_functions_are_not_kept_on_the_disk(tmp_path):
    """Nothing tells one function from another of its name."""
    folder = save(tmp_path / "a", pictures(5))
    functions = [own_extractor(lambda pictures, scale=scale: scale * pictures.mean((2, 3)), "embed") for scale in (1, 2)]
    one, two = (FeatureStore(tmp_path / "cache").get(PictureFolder(folder), function, "features") for function in functions)
    np.testing.assert_array_equal(2 * one, two)


def test_float32_means_float32():
    """An extractor sees no tensor cores, and the caller's setting is as it was."""

    class Asks(Mean):
        def run(self, samples, layers=("features",)):
            assert not torch.backends.cudnn.allow_tf32
            return super().run(samples, layers)

    before = torch.backends.cudnn.allow_tf32
    FeatureStore(cached=False).get(ArraySide(pictures(5)), Asks(), "features")
    assert torch.backends.cudnn.allow_tf32 == before


def test_the_training_sets_features_are_computed_once(digits):
    """Every metric that seeks copies reads the same ones."""
    samples = Samples(SourceSide(digits, np.arange(100)), ArraySide(pictures(5)), extractor=Mean(), store=FeatureStore(cached=False))
    for _ in range(2):
        assert len(samples.reading(samples.extractor).training_features()) == len(digits)
    assert samples.store.passes == 1
