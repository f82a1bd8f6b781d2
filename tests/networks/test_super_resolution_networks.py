"""Oracles: plain functions over a dictionary of weights, written from the official layouts; published parameter counts; closed forms."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from agon.errors import UserError
from agon.layers.spectral import iterate
from agon.networks.rrdb import RRDBNet, enlarge
from agon.networks.srresnet import MSRResNet, SRGANDiscriminator, SRResNet
from agon.networks.srvgg import SRVGGNetCompact
from agon.networks.unet_discriminator import UNetDiscriminatorSN
from agon.networks.vgg import BLOCKS, RandomPyramid, Vgg19, Vgg19File, frozen_features, is_random, layer_names
from agon.networks.vgg_discriminator import VGGStyleDiscriminator


def drawn(network):
    """Every weight large enough to matter; running statistics too."""
    torch.manual_seed(0)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and "parametrizations" not in name:
            tensor.copy_(torch.rand_like(tensor) + 0.5 if tensor.dim() < 2 else torch.randn_like(tensor) / tensor[0].numel() ** 0.5)
    return network.eval()


def conv(w, name, x, **options):
    weight = w[f"{name}.weight"]
    return F.conv2d(x, weight, w.get(f"{name}.bias"), padding=weight.shape[-1] // 2, **options)


def lrelu(x, slope=0.2):
    return torch.where(x > 0, x, slope * x)


def norm(w, name, x):
    mean, var, gain, shift = (w[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias"))
    return (x - mean) / (var + 1e-5).sqrt() * gain + shift


def nearest(x, times):
    return x.repeat_interleave(times, 2).repeat_interleave(times, 3)


def shuffled(x, r):
    n, c, h, w = x.shape
    return x.view(n, c // r**2, r, r, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, c // r**2, h * r, w * r)


def folded(x, r):
    n, c, h, w = x.shape
    return x.view(n, c, h // r, r, w // r, r).permute(0, 1, 3, 5, 2, 4).reshape(n, c * r**2, h // r, w // r)


def plain_rrdb(w, x, scale, blocks):
    y = conv(w, "conv_first", folded(x, {4: 1, 3: 1, 2: 2, 1: 4}[scale]))
    first = y
    for b in range(blocks):
        start = y
        for r in (1, 2, 3):
            seen = [y]
            for c in (1, 2, 3, 4):
                seen.append(lrelu(conv(w, f"body.{b}.rdb{r}.conv{c}", torch.cat(seen, 1))))
            y = y + 0.2 * conv(w, f"body.{b}.rdb{r}.conv5", torch.cat(seen, 1))
        y = start + 0.2 * y
    y = first + conv(w, "conv_body", y)
    for i, times in enumerate((3,) if scale == 3 else (2, 2)):
        y = lrelu(conv(w, f"conv_up{i + 1}", nearest(y, times)))
    return conv(w, "conv_last", lrelu(conv(w, "conv_hr", y)))


@pytest.mark.parametrize("scale", [4, 3, 2, 1])
def test_rrdb(scale):
    network = drawn(RRDBNet(3, 2, scale, width=6, blocks=2, growth=3))
    x = torch.rand(2, 3, 8, 12)
    with torch.no_grad():
        got = network(x)
        torch.testing.assert_close(got, plain_rrdb(network.state_dict(), x, scale, 2), rtol=1e-4, atol=1e-5)
    assert got.shape == (2, 2, 8 * scale, 12 * scale)


@pytest.mark.parametrize("scale", [4, 3, 2])
def test_msrresnet(scale):
    network = drawn(MSRResNet(3, 3, scale, width=5, blocks=2))
    w, x = network.state_dict(), torch.rand(2, 3, 5, 7)
    y = lrelu(conv(w, "conv_first", x), 0.1)
    for b in range(2):
        y = y + conv(w, f"body.{b}.conv2", conv(w, f"body.{b}.conv1", y).relu())
    for i, r in enumerate((2, 2) if scale == 4 else (scale,)):
        y = lrelu(shuffled(conv(w, f"upconv{i + 1}", y), r), 0.1)
    y = conv(w, "conv_last", lrelu(conv(w, "conv_hr", y), 0.1)) + F.interpolate(x, scale_factor=float(scale), mode="bilinear", align_corners=False)
    with torch.no_grad():
        torch.testing.assert_close(network(x), y, rtol=1e-4, atol=1e-5)


def test_srresnet_of_the_paper():
    network = drawn(SRResNet(3, 3, 2, width=4, blocks=2))
    w, x = network.state_dict(), torch.rand(2, 3, 5, 7)
    slopes = [float(v) for k, v in w.items() if v.numel() == 1 and k.endswith("activation.weight")]
    y = first = lrelu(conv(w, "conv_first", x), float(w["activation.weight"]))
    for b in range(2):
        z = lrelu(norm(w, f"body.{b}.norm1", conv(w, f"body.{b}.conv1", y)), float(w[f"body.{b}.activation.weight"]))
        y = y + norm(w, f"body.{b}.norm2", conv(w, f"body.{b}.conv2", z))
    y = first + norm(w, "norm_body", conv(w, "conv_body", y))
    y = lrelu(shuffled(conv(w, "ups.0", y), 2), float(w["ups.2.weight"]))
    with torch.no_grad():
        torch.testing.assert_close(network(x), conv(w, "conv_last", y), rtol=1e-4, atol=1e-5)
    assert len(slopes) == 3


def test_srvgg():
    network = drawn(SRVGGNetCompact(3, 3, 3, width=5, convs=2))
    w, x = network.state_dict(), torch.rand(2, 3, 5, 7)
    y = x
    for i in range(3):
        y = conv(w, f"body.{2 * i}", y)
        y = torch.where(y > 0, y, w[f"body.{2 * i + 1}.weight"][:, None, None] * y)
    with torch.no_grad():
        torch.testing.assert_close(network(x), shuffled(conv(w, "body.6", y), 3) + nearest(x, 3), rtol=1e-4, atol=1e-5)


def test_discriminators():
    vgg = drawn(VGGStyleDiscriminator((16, 24), 3, width=3))
    w, x = vgg.state_dict(), torch.rand(2, 3, 16, 24)
    y = lrelu(conv(w, "conv0_0", x))
    for i in range(2):
        y = lrelu(norm(w, f"bn{i}_0", conv(w, f"conv{i}_0", y))) if i else y
        y = lrelu(norm(w, f"bn{i}_1", F.conv2d(y, w[f"conv{i}_1.weight"], stride=2, padding=1)))
    y = lrelu(y.flatten(1) @ w["linear1.weight"].T + w["linear1.bias"]) @ w["linear2.weight"].T + w["linear2.bias"]
    with torch.no_grad():
        torch.testing.assert_close(vgg(x), y[:, 0], rtol=1e-4, atol=1e-5)
    srgan = drawn(SRGANDiscriminator((16, 20), 3, width=2, hidden=5))
    w, y = srgan.state_dict(), torch.rand(2, 3, 16, 20)
    x = y
    for i in range(8):
        y = conv(w, f"convs.{i}", y, stride=1 + i % 2)
        y = lrelu(norm(w, f"norms.{i}", y) if i else y)
    y = lrelu(y.flatten(1) @ w["linear1.weight"].T + w["linear1.bias"]) @ w["linear2.weight"].T + w["linear2.bias"]
    with torch.no_grad():
        torch.testing.assert_close(srgan(x), y[:, 0], rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="at least 8"):
        VGGStyleDiscriminator((16, 7))


def plain_unet(network, x):
    """With the true singular values, which enough power iterations find."""
    weights = {}
    for i in range(10):
        layer = network.get_submodule(f"conv{i}")
        original = layer.parametrizations.weight.original if i in range(1, 9) else layer.weight
        sigma = torch.linalg.matrix_norm(original.flatten(1), 2) if i in range(1, 9) else 1.0
        weights |= {f"c{i}.weight": original / sigma} | ({f"c{i}.bias": layer.bias} if layer.bias is not None else {})
    down = [lrelu(conv(weights, "c0", x))]
    for i in (1, 2, 3):
        down.append(lrelu(F.conv2d(down[-1], weights[f"c{i}.weight"], stride=2, padding=1)))
    y = down[3]
    for i in (4, 5, 6):
        y = F.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=False)
        y = lrelu(conv(weights, f"c{i}", y)) + down[6 - i]
    return conv(weights, "c9", lrelu(conv(weights, "c8", lrelu(conv(weights, "c7", y)))))


def test_unet_discriminator():
    torch.manual_seed(0)
    network = UNetDiscriminatorSN(3, width=3)
    for _ in range(200):
        iterate(network)
    x = torch.randn(2, 3, 16, 24) * 3
    with torch.no_grad():
        torch.testing.assert_close(network(x), plain_unet(network, x), rtol=1e-4, atol=1e-5)
        assert network(torch.rand(1, 3, 12, 9)).shape == (1, 1, 12, 9)
    with pytest.raises(UserError, match="at least 8"):
        network(torch.rand(1, 3, 7, 16))


def test_what_the_output_is_added_to():
    """A network whose last layer is 0 enlarges and does nothing else; bicubic is Pillow's kernel."""
    from PIL import Image

    x = torch.rand(1, 1, 10, 6)
    for kind in (RRDBNet, MSRResNet, SRResNet, SRVGGNetCompact):
        network = kind(1, 1, 2, 4, 1, base="bicubic")
        last = network.body[-1] if kind is SRVGGNetCompact else network.conv_last
        torch.nn.init.zeros_(last.weight), torch.nn.init.zeros_(last.bias)
        with torch.no_grad():
            got = network(x)
        expected = Image.fromarray(x[0, 0].numpy()).resize((12, 20), Image.Resampling.BICUBIC)
        torch.testing.assert_close(got[0, 0], torch.from_numpy(np.array(expected)), rtol=1e-4, atol=1e-5)
    assert torch.equal(enlarge(x, 3, "nearest"), nearest(x, 3))
    for wrong in (lambda: RRDBNet(scale=5), lambda: MSRResNet(scale=5), lambda: SRResNet(scale=0), lambda: SRVGGNetCompact(activation="gelu")):
        with pytest.raises(UserError, match="enlarge|built"):
            wrong()
    with pytest.raises(UserError, match="none, bicubic"):
        RRDBNet(base="lanczos")


def plain_vgg(w, x, stop):
    x = ((x + 1) / 2 - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    for index, name in enumerate(stop):
        x = conv(w, f"features.{index}", x) if name == "c" else x.relu() if name == "r" else F.max_pool2d(x, 2)
    return x


def test_vgg19_by_names(tmp_path):
    """conv2_1 before its ReLU and relu1_2, in the network's order whatever the order asked for; weights from a file of torchvision's names."""
    import hashlib

    torch.manual_seed(0)
    state = {"features.0.weight": torch.randn(64, 3, 3, 3), "features.0.bias": torch.randn(64), "features.2.weight": torch.randn(64, 64, 3, 3) / 24,
             "features.2.bias": torch.randn(64), "features.5.weight": torch.randn(128, 64, 3, 3) / 24, "features.5.bias": torch.randn(128),
             "classifier.0.weight": torch.randn(2, 2)}  # fmt: skip
    path = tmp_path / "vgg19-dcbb9e9d.pth"
    torch.save(state, path)
    network = Vgg19File(path, ("conv2_1", "relu1_2"), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    x = torch.rand(1, 3, 10, 8) * 2 - 1
    first, second = network(x.requires_grad_())
    torch.testing.assert_close(first, plain_vgg(state, x, "crcr"), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(second, plain_vgg(state, x, "crcrpc"), rtol=1e-4, atol=1e-4)
    assert network.order == ["relu1_2", "conv2_1"] and not network.state_dict() and not list(network.parameters())
    second.sum().backward()
    assert x.grad.abs().sum() > 0
    with pytest.raises(UserError, match="SHA-256"):
        Vgg19File(path, ("conv1_1",)).check()
    with pytest.raises(UserError, match="no layer 'conv3_5'"):
        Vgg19File(path, ("conv3_5",))
    with pytest.raises(UserError, match="There is no"):
        frozen_features(str(tmp_path / "none.pth"), 3).check()
    with pytest.raises(UserError, match="2 channels"):
        frozen_features(str(path), 2)
    with torch.device("meta"):
        whole = Vgg19(("conv5_4",))
    assert sum(p.numel() for p in whole.parameters()) == 20_024_384  # torchvision's features
    assert sum(count for _, count in BLOCKS) == 16 and layer_names().index("conv5_4") == 34 and layer_names()[-1] == "pool5"


def test_the_declared_substitute_is_its_seed_and_keeps_the_mean_square():
    eyes, again, other = (frozen_features(name, 3) for name in ("random", "random:0", "random:7"))
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    maps = eyes(x)
    assert [tuple(m.shape[1:]) for m in maps] == [(32, 32, 32), (64, 16, 16), (128, 8, 8)]
    assert all(torch.equal(a, b) for a, b in zip(maps, again(x), strict=True)) and not torch.equal(maps[0], other(x)[0])
    assert not eyes.state_dict() and not list(eyes.parameters())
    assert 0.7 < float(maps[0].square().mean()) < 1.3
    flat = eyes(torch.ones(1, 3, 32, 32))
    assert all(0.1 < float(m[..., 3:-3, 3:-3].square().mean()) < 10 for m in flat)  # where nothing is lost by halving
    kernel = eyes.kernel1_0.flatten(1)  # 64 rows of 288: orthogonal
    gram = kernel @ kernel.T
    torch.testing.assert_close(gram, torch.eye(64) * gram[0, 0], atol=1e-4, rtol=0)
    assert is_random("random:12") and not is_random("random.pth") and isinstance(eyes, RandomPyramid)
    assert [tuple(m.shape[2:]) for m in eyes(torch.rand(1, 3, 2, 3))] == [(2, 3), (1, 1)]
