"""Inception 2015 against a second implementation with the same random weights: one function, unfolded, written from the paper's figures."""

import hashlib
import json
import math
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from agon.errors import UserError
from agon.metrics.features import inception as agon_inception
from agon.metrics.features.inception import NAMES, InceptionExtractor, open_extractor, script_names, shapes


@pytest.fixture(scope="module")
def state():
    """He-scaled, so that features are of order one."""
    generator = torch.Generator().manual_seed(0)
    made = {}
    for name, shape in shapes().items():
        numbers = torch.randn(shape, generator=generator)
        scale = math.sqrt(2 / math.prod(shape[1:])) if len(shape) == 4 else 0.02 if name == "fc.weight" else 0.1
        made[name] = numbers * scale + (1 if name.endswith("bn.weight") else 0)
        if name.endswith("running_var"):
            made[name] = numbers.abs() + 0.5
    return made


@pytest.fixture(scope="module")
def extractor(state):
    return InceptionExtractor("inception", state)


def pictures(height, width, count=2, channels=3):
    """Smooth colours with some noise: like pictures, unlike noise alone."""
    random = np.random.default_rng(height)
    coarse = torch.from_numpy(random.uniform(0, 255, (count, channels, 4, 4)))
    x = F.interpolate(coarse, size=(height, width), mode="bicubic") + torch.from_numpy(random.normal(0, 20, (count, channels, height, width)))
    return x.clamp(0, 255).to(torch.uint8)


def reference(state, x):
    """(N, 3, 299, 299) in [-1, 1] -> pool3 features, by convolution, batch norm (epsilon 1e-3) and ReLU, with TensorFlow's average pool."""

    def conv(prefix, x, *names, stride=1, pad=None):
        for name in names:
            name = prefix + name
            weight = state[f"{name}.conv.weight"]
            padding = pad if pad is not None else tuple((side - 1) // 2 for side in weight.shape[2:])
            norm = [state[f"{name}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
            x = F.relu(F.batch_norm(F.conv2d(x, weight, None, stride, padding), *norm, training=False, eps=1e-3))
        return x

    def mean(x):
        """The sum over the neighbours that are there, by their number."""
        ones = torch.ones_like(x[:1, :1])
        return F.avg_pool2d(x, 3, 1, 1, divisor_override=1) / F.avg_pool2d(ones, 3, 1, 1, divisor_override=1)

    c = partial(conv, "")
    x = c(c(c(x, "Conv2d_1a_3x3", stride=2, pad=0), "Conv2d_2a_3x3", pad=0), "Conv2d_2b_3x3")
    x = c(c(F.max_pool2d(x, 3, 2), "Conv2d_3b_1x1"), "Conv2d_4a_3x3", pad=0)
    x = F.max_pool2d(x, 3, 2)
    for prefix in ("Mixed_5b.", "Mixed_5c.", "Mixed_5d."):
        c = partial(conv, prefix)
        x = torch.cat([c(x, "branch1x1"), c(x, "branch5x5_1", "branch5x5_2"), c(x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
                       c(mean(x), "branch_pool")], 1)
    c = partial(conv, "Mixed_6a.")
    x = torch.cat([c(x, "branch3x3", stride=2, pad=0), c(c(x, "branch3x3dbl_1", "branch3x3dbl_2"), "branch3x3dbl_3", stride=2, pad=0),
                   F.max_pool2d(x, 3, 2)], 1)
    for prefix in ("Mixed_6b.", "Mixed_6c.", "Mixed_6d.", "Mixed_6e."):
        c = partial(conv, prefix)
        x = torch.cat([c(x, "branch1x1"), c(x, *(f"branch7x7_{n}" for n in (1, 2, 3))), c(x, *(f"branch7x7dbl_{n}" for n in (1, 2, 3, 4, 5))),
                       c(mean(x), "branch_pool")], 1)
    c = partial(conv, "Mixed_7a.")
    x = torch.cat([c(c(x, "branch3x3_1"), "branch3x3_2", stride=2, pad=0),
                   c(c(x, *(f"branch7x7x3_{n}" for n in (1, 2, 3))), "branch7x7x3_4", stride=2, pad=0), F.max_pool2d(x, 3, 2)], 1)
    for prefix, pool in (("Mixed_7b.", mean), ("Mixed_7c.", lambda x: F.max_pool2d(x, 3, 1, 1))):
        c = partial(conv, prefix)
        once, twice = c(x, "branch3x3_1"), c(x, "branch3x3dbl_1", "branch3x3dbl_2")
        x = torch.cat([c(x, "branch1x1"), c(once, "branch3x3_2a"), c(once, "branch3x3_2b"), c(twice, "branch3x3dbl_3a"),
                       c(twice, "branch3x3dbl_3b"), c(pool(x), "branch_pool")], 1)
    return x.flatten(2).mean(2)


def prepared(name, x):
    """What each of the three packages feeds its network, by another formulation than the extractor's."""
    if name == "inception-pytorch":
        return 2 * F.interpolate(x.double() / 255, size=(299, 299), mode="bilinear").float() - 1
    if name == "inception-clean":
        planes = [[np.asarray(Image.fromarray(plane.numpy().astype(np.float32)).resize((299, 299), Image.Resampling.BICUBIC)) for plane in one] for one in x]
        return (torch.from_numpy(np.array(planes)).clip(0, 255) - 128) / 128
    theta = torch.tensor([[[1, 0, 1 / x.shape[3] - 1 / 299], [0, 1, 1 / x.shape[2] - 1 / 299]]], dtype=torch.float64)
    grid = F.affine_grid(theta.expand(len(x), -1, -1), [len(x), 3, 299, 299], align_corners=False)
    return ((F.grid_sample(x.double(), grid, "bilinear", "border", align_corners=False) - 128) / 128).float()


def test_names_and_shapes_are_those_of_the_published_file():
    """SHA-256 of the sorted [name, shape] pairs of pytorch-fid 0.3.0's network, counters left out; 23,850,960 parameters as published."""
    listed = json.dumps(sorted((name, list(shape)) for name, shape in shapes().items()))
    assert hashlib.sha256(listed.encode()).hexdigest() == "579c09ebb0c6f0f4c9f0a51099479eb353aaee1969adaaf05fbc5cefaa1f987e"
    assert sum(math.prod(shape) for name, shape in shapes().items() if "running" not in name) == 23_850_960


@pytest.mark.parametrize("name", sorted(NAMES))
def test_features_and_logits_equal_the_reference(state, name):
    x = pictures(120, 90)
    expected = reference(state, prepared(name, x))
    found = InceptionExtractor(name, state).run(x, ("features", "logits"))
    assert found["features"].dtype == torch.float32 and found["features"].shape == (2, 2048)
    scale = expected.square().mean().sqrt()
    assert scale > 0.1 and (found["features"] - expected).abs().max() < 1e-4 * scale
    logits = expected @ state["fc.weight"].T  # the Inception Score leaves the bias out
    assert (found["logits"] - logits).abs().max() < 1e-4 * logits.abs().max()


def test_folding_costs_5e_6(state, extractor):
    x = pictures(299, 299)
    expected = reference(state, (x.float() - 128) / 128)
    assert (extractor.run(x)["features"] - expected).norm() < 5e-6 * expected.norm()


def test_a_row_depends_on_its_own_picture_alone(extractor):
    x = pictures(40, 40, 5)
    together = extractor.run(x)["features"]
    alone = torch.cat([extractor.run(one[None])["features"] for one in x.flip(0)]).flip(0)
    assert (together - alone).abs().max() < 1e-6 * together.abs().max()
    assert extractor.run(x[:0], ("features", "logits"))["logits"].shape == (0, 1008)


def test_grey_is_repeated_and_alpha_laid_over_white(extractor):
    grey = pictures(40, 40, 1, 1)
    expected = extractor.run(grey.repeat(1, 3, 1, 1))["features"]
    assert torch.equal(extractor.run(grey)["features"], expected)
    clear = torch.cat([grey.repeat(1, 3, 1, 1), torch.zeros_like(grey)], 1)
    assert torch.equal(extractor.run(clear)["features"], extractor.run(torch.full_like(grey, 255))["features"])


def test_bf16_is_near_and_says_so(state, extractor):
    x = pictures(64, 64, 1)
    exact, rough = extractor.run(x)["features"], InceptionExtractor("inception", state, precision="bf16")
    assert 1e-6 < (rough.run(x)["features"] - exact).norm() / exact.norm() < 0.01
    assert extractor.protocol["precision"] == "fp32" and rough.protocol["precision"] == "bf16"


def test_protocols_differ_by_resize(state):
    assert len({json.dumps(InceptionExtractor(name, state).protocol) for name in NAMES}) == 3


def test_other_weights_are_refused(state):
    with pytest.raises(UserError, match=r"fc\.weight should be there with shape \(1008, 2048\), found \(1000, 2048\)"):
        InceptionExtractor("inception", state | {"fc.weight": torch.zeros(1000, 2048)})
    with pytest.raises(UserError, match="found nothing"):
        InceptionExtractor("inception", {name: tensor for name, tensor in state.items() if not name.startswith("Mixed_7c.branch_pool")})
    with pytest.raises(UserError, match="no extractor 'inception-v4'"):
        InceptionExtractor("inception-v4", state)


def test_opens_files_of_every_kind_with_their_own_hash(tmp_path, state, extractor):
    counters = {name.replace("running_var", "num_batches_tracked"): torch.tensor(0) for name in state if name.endswith("running_var")}
    torch.save(state | counters, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "net.safetensors")
    x = pictures(32, 32, 1)
    for name in ("legacy.pth", "net.safetensors"):
        opened = open_extractor("inception", weights=tmp_path / name)
        assert opened.sha256 == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        assert torch.equal(opened.run(x)["features"], extractor.run(x)["features"])


# NVIDIA's names, by hand from its published layout, one for every kind of place.
SCRIPT = {"conv": "Conv2d_1a_3x3", "conv_2": "Conv2d_2b_3x3", "conv_4": "Conv2d_4a_3x3", "mixed.conv": "Mixed_5b.branch1x1",
          "mixed.tower.conv_1": "Mixed_5b.branch5x5_2", "mixed_1.tower_1.conv_2": "Mixed_5c.branch3x3dbl_3",
          "mixed_2.tower_2.conv": "Mixed_5d.branch_pool", "mixed_3.conv": "Mixed_6a.branch3x3", "mixed_3.tower.conv_2": "Mixed_6a.branch3x3dbl_3",
          "mixed_4.tower.conv_2": "Mixed_6b.branch7x7_3", "mixed_6.tower_1.conv_4": "Mixed_6d.branch7x7dbl_5",
          "mixed_7.tower_2.conv": "Mixed_6e.branch_pool", "mixed_8.tower.conv_1": "Mixed_7a.branch3x3_2",
          "mixed_8.tower_1.conv_3": "Mixed_7a.branch7x7x3_4", "mixed_9.tower_conv": "Mixed_7b.branch3x3_1",
          "mixed_9.tower_mixed_conv": "Mixed_7b.branch3x3_2a", "mixed_9.tower_1_conv_1": "Mixed_7b.branch3x3dbl_2",
          "mixed_10.tower_mixed_conv_1": "Mixed_7c.branch3x3_2b", "mixed_10.tower_1_mixed_conv": "Mixed_7c.branch3x3dbl_3a",
          "mixed_10.tower_1_mixed_conv_1": "Mixed_7c.branch3x3dbl_3b", "mixed_10.tower_2_conv": "Mixed_7c.branch_pool"}


@pytest.mark.filterwarnings("ignore")
def test_reads_nvidias_torchscript_without_running_it(tmp_path, state, extractor):
    names = script_names()
    assert len(names) == len(set(names.values())) == 94 and names.items() >= SCRIPT.items()
    root = nn.Module()
    for theirs, ours in names.items():
        place = root
        for part in f"layers.{theirs}".split("."):
            if not hasattr(place, part):
                place.add_module(part, nn.Module())
            place = getattr(place, part)
        scale = state[f"{ours}.bn.weight"]
        for part, tensor in (("weight", state[f"{ours}.conv.weight"] * scale[:, None, None, None]), ("beta", state[f"{ours}.bn.bias"]),
                             ("mean", state[f"{ours}.bn.running_mean"] * scale), ("var", (state[f"{ours}.bn.running_var"] + 1e-3) - 1e-3)):
            place.register_buffer(part, tensor)  # its batch norm has no scale: here it is in the weight and the mean
    root.output = nn.Linear(2048, 1008)
    root.output.weight.data = state["fc.weight"]
    torch.jit.save(torch.jit.script(root), str(tmp_path / "inception-2015-12-05.pt"))
    x = pictures(32, 32, 1)
    expected, found = extractor.run(x)["features"], open_extractor("inception", weights=tmp_path / "inception-2015-12-05.pt").run(x)["features"]
    assert (found - expected).norm() < 5e-6 * expected.norm()


def test_the_published_hash_begins_as_the_files_name_says():
    published = agon_inception.WEIGHTS
    assert published.sha256.startswith(published.file.removesuffix(".pth").rsplit("-", 1)[1]) and len(published.sha256) == 64
