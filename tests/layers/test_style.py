"""Oracles: the published formulation of each part (weights expanded per sample), in float64, with first and second derivatives."""

import math

import pytest
import torch
import torch.nn.functional as F

from agon.layers.resample import fir
from agon.layers.running_mean import settle
from agon.layers.style import MappingNetwork, bias_act, modulated_conv2d, normalise_second_moment

CLOSE = {"atol": 1e-10, "rtol": 1e-10}


def expanded(x, weight, style, demodulate=True, up=False, gain=1.0, input_gain=1.0):
    """A convolution with one weight per sample, sample by sample."""
    rows = []
    for sample, scale in zip(x, style, strict=True):
        own = weight * scale[:, None, None]
        if demodulate:
            own = own / (own.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        sample, pad = sample[None] * input_gain, weight.shape[2] // 2
        if up:
            taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype)
            kernel = (torch.outer(taps, taps) / 16).repeat(weight.shape[0], 1, 1, 1)
            y = F.conv_transpose2d(sample, own.transpose(0, 1), stride=2)
            rows.append(F.conv2d(y, kernel, padding=1, groups=len(kernel)))
        else:
            rows.append(F.conv2d(sample, own, padding=pad))
    return gain * torch.cat(rows)


def derivatives(fn, *inputs):
    out = fn(*inputs)
    first = torch.autograd.grad(out.pow(3).sum(), inputs, create_graph=True)
    return out, *first, *torch.autograd.grad(sum(g.square().sum() for g in first), inputs)


@pytest.mark.parametrize(
    ("kernel", "up", "demodulate", "gain", "input_gain"), [(3, False, True, 1.4, 1.0), (3, True, True, 1.0, 0.7), (1, False, False, 0.5, 1.3)]
)
def test_modulated_convolution_equals_weights_expanded_per_sample(kernel, up, demodulate, gain, input_gain):
    torch.manual_seed(0)
    x, weight, style = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((3, 4, 4, 5), (2, 4, kernel, kernel), (3, 4)))
    taps = fir((1, 3, 3, 1)) if up else None
    found = derivatives(lambda a, b, c: modulated_conv2d(a, b, c, demodulate=demodulate, up_kernel=taps, gain=gain, input_gain=input_gain), x, weight, style)
    expected = derivatives(lambda a, b, c: expanded(a, b, c, demodulate, up, gain, input_gain), x, weight, style)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, **CLOSE)


def test_modulated_convolutions_padding():
    x, weight, style = torch.randn(1, 2, 4, 4), torch.randn(3, 2, 3, 3), torch.ones(1, 2)
    assert modulated_conv2d(x, weight, style, padding=2).shape == (1, 3, 6, 6)


def test_demodulation_is_float32_under_autocast():
    torch.manual_seed(1)
    x, weight, style = torch.randn(2, 8, 6, 6), 1e-4 * torch.randn(5, 8, 3, 3), 1e-3 * torch.randn(2, 8)
    with torch.autocast("cpu", torch.bfloat16):
        found = modulated_conv2d(x, weight, style)
    expected = expanded(x, weight, style)
    assert found.dtype == torch.bfloat16
    assert (found - expected).abs().max() < 0.02 * expected.abs().max()


def test_float16_does_not_overflow_where_styles_and_activations_are_large():
    torch.manual_seed(1)
    x, weight, style = 200 * torch.ones(2, 64, 5, 5), 3 * torch.ones(4, 64, 3, 3), (20 * torch.ones(2, 64)).requires_grad_()
    with torch.autocast("cpu", torch.float16):
        found = modulated_conv2d(x, weight, style)
    found.float().mean().backward()
    assert found.dtype == torch.float16 and style.grad.isfinite().all()
    torch.testing.assert_close(found.detach().float(), expanded(x, weight, style.detach()), rtol=0.01, atol=0)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(("gain", "clamp"), [(1.0, 0.0), (math.sqrt(0.5), 0.9)])
def test_bias_act(gain, clamp, scaled):
    torch.manual_seed(2)
    x, bias = torch.randn(3, 4, 2, 2, dtype=torch.float64, requires_grad=True), torch.randn(4, dtype=torch.float64, requires_grad=True)

    def plain(a, b):
        y = F.leaky_relu(a + b[:, None, None], 0.2) * math.sqrt(2) * gain
        return y.clamp(-clamp * gain, clamp * gain) if clamp else y

    def ours(a, b):
        return bias_act(a * (math.sqrt(2) * gain) if scaled else a, b, gain, clamp, scaled)

    for a, b in zip(derivatives(ours, x, bias), derivatives(plain, x, bias), strict=True):
        torch.testing.assert_close(a, b, **CLOSE)


def test_second_moment():
    x = normalise_second_moment(torch.randn(5, 7, 2))
    torch.testing.assert_close(x.square().mean(1), torch.ones(5, 2), atol=1e-5, rtol=0)


def plain_mapping(net, latent, condition):
    parts = [x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt() for x in (latent, None if condition is None else net.embed(condition)) if x is not None]
    x = torch.cat(parts, 1)
    for i in range(net.layers):
        layer = getattr(net, f"fc{i}")
        x = F.leaky_relu(F.linear(x, layer.weight * 0.01 / math.sqrt(x.shape[1]), layer.bias * 0.01), 0.2) * math.sqrt(2)
    return x


@pytest.mark.parametrize(("latent_dim", "classes"), [(5, 0), (5, 3), (0, 3)])
def test_mapping_network(latent_dim, classes):
    torch.manual_seed(3)
    net = MappingNetwork(latent_dim, classes, 6, 4 if latent_dim else 0, layers=3).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, 0, 20)
    latent = torch.randn(2, latent_dim, dtype=torch.float64) if latent_dim else None
    condition = torch.eye(3, dtype=torch.float64)[[2, 0]] if classes else None
    expected, found = plain_mapping(net, latent, condition), net(latent, condition)
    if not latent_dim:
        assert net.w_avg is None
        torch.testing.assert_close(found, expected, **CLOSE)
        return
    torch.testing.assert_close(found, expected[:, None].expand(2, 4, 6), **CLOSE)
    net.eval()
    net.w_avg.value.copy_(torch.randn(6))
    mean = net.w_avg.value.double()
    torch.testing.assert_close(net(latent, condition, 0.3)[:, 1], mean + 0.3 * (expected - mean), **CLOSE)
    some = net(latent, condition, 0.0, 3)
    torch.testing.assert_close(some[:, 2], mean.expand(2, 6), **CLOSE)
    torch.testing.assert_close(some[:, 3], expected, **CLOSE)


def test_mean_style_follows_training_alone():
    torch.manual_seed(4)
    net, latent = MappingNetwork(5, 0, 6, 2, layers=1, lr_multiplier=1.0), torch.randn(7, 5)
    net.eval()
    w = net(latent)[:, 0]
    net.train()
    net(latent, observe=False)
    settle(net, lambda x: x)
    assert not net.w_avg.value.any()
    net(latent[:3])
    net(latent[3:])
    settle(net, lambda x: x)
    torch.testing.assert_close(net.w_avg.value, 0.005 * w.mean(0).detach())
