"""Networks that fill holes. Oracles: published sizes, the formulas written out with loops, gradients for what an output depends on."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from agon.errors import UserError
from agon.networks.context_encoder import ContextEncoder, halvings
from agon.networks.gated import GatedConv, GatedInpainter, PatchCritic, contextual_attention, paste, reach, smooth_filling


def holes(n: int, channels: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    mask = torch.zeros(n, 1, height, width)
    mask[:, :, height // 4:height // 2, width // 3:width // 3 * 2] = 1
    return torch.cat([(torch.rand(n, channels, height, width, generator=generator) * 2 - 1) * (1 - mask), mask], 1)


def test_sizes_are_the_published_ones() -> None:
    """DeepFill v2's generator has 4,052,478 parameters; the rest is added up from the layers: (inputs, outputs, kernel)."""
    with torch.device("meta"):
        nets = GatedInpainter(), GatedInpainter(attention=False), PatchCritic(), ContextEncoder((128, 128))
    found = [sum(p.numel() for p in net.parameters()) for net in nets]
    branch = [(3, 48, 5), (24, 48, 3), (24, 96, 3), (48, 192, 3), (96, 192, 3), (96, 192, 3), (96, 192, 3), (96, 192, 3)]
    merged = 96 * 192 * 9  # what the first layer behind both branches sees of the second
    critic = [(4, 64, 5), (64, 128, 5), (128, 256, 5), (256, 256, 5), (256, 256, 5), (256, 256, 5)]
    assert found[0] == 4_052_478 and found[0] - found[1] == sum(a * b * k * k + b for a, b, k in branch) + merged
    assert found[2] == sum(a * b * k * k + b for a, b, k in critic)
    pairs = [(64, 64), (64, 128), (128, 256), (256, 512)]
    encoder = 4 * 64 * 16 + 64 + sum(a * b * 16 + 2 * b for a, b in pairs) + 512 * 4000 * 16 + 4000
    decoder = 4000 * 512 * 16 + 2 * 512 + sum(b * a * 16 + 2 * a for a, b in pairs) + 64 * 3 * 16 + 3
    assert found[3] == encoder + decoder


def test_a_gated_convolution_is_elu_times_sigmoid_of_two_halves() -> None:
    conv = GatedConv(3, 8, 3, dilation=2, up=True)
    x = torch.randn(2, 3, 5, 4)
    larger = torch.stack([torch.stack([x[:, :, i // 2, j // 2] for j in range(8)], -1) for i in range(10)], -2)
    both = F.conv2d(F.pad(larger, (2, 2, 2, 2)), conv.conv.weight, conv.conv.bias, dilation=2)
    a, b = both[:, :4], both[:, 4:]
    expected = torch.where(a > 0, a, a.exp() - 1) / (1 + (-b).exp())
    assert torch.allclose(conv(x), expected, atol=1e-6) and conv(x).shape == (2, 4, 10, 8)
    assert GatedConv(3, 8, 5, 2)(x[:, :, :4]).shape == (2, 4, 2, 2)


def test_contextual_attention_is_its_definition() -> None:
    """Patch by patch with loops, of a 12 x 8 map: reduced to 6 x 4, 24 patches."""
    torch.manual_seed(0)
    features, hole = torch.randn(2, 3, 12, 8), torch.zeros(2, 1, 12, 8)
    hole[0, 0, 2:6, 2:5], hole[1, 0, 8:, :3] = 1, 1
    made = contextual_attention(features, hole)
    for n in range(2):
        small, gone = F.pad(features[n, :, ::2, ::2], (1, 1, 1, 1)), F.pad(hole[n, 0, ::2, ::2], (1, 1, 1, 1))
        places = [(i, j) for i in range(6) for j in range(4)]
        patch = {(i, j): small[:, i:i + 3, j:j + 3] for i, j in places}
        score = {(p, q): float((patch[p] * patch[q]).sum() / patch[p].norm()) for p in places for q in places}

        def rows(p: tuple[int, int], step: int) -> tuple[int, int] | None:
            index = p[0] * 4 + p[1] + step
            return (index // 4, index % 4) if 0 <= index < 24 else None

        def columns(p: tuple[int, int], step: int) -> tuple[int, int] | None:
            index = p[1] * 6 + p[0] + step
            return (index % 6, index // 6) if 0 <= index < 24 else None

        for move in (rows, columns):
            score = {(p, q): sum(score.get((move(p, s), move(q, s)), 0.0) for s in (-1, 0, 1)) for p, q in score}
        known = {p: bool(gone[p[0]:p[0] + 3, p[1]:p[1] + 3].sum() == 0) for p in places}
        whole, canvas = F.pad(features[n], (1, 1, 1, 1)), torch.zeros(3, 14, 10)
        for q in places:
            power = {p: math.exp(10 * score[p, q] * known[p]) for p in places}
            weight = {p: power[p] * known[p] / sum(power.values()) for p in places}
            for p in places:
                canvas[:, 2 * q[0]:2 * q[0] + 4, 2 * q[1]:2 * q[1] + 4] += weight[p] * whole[:, 2 * p[0]:2 * p[0] + 4, 2 * p[1]:2 * p[1] + 4]
        assert torch.allclose(made[n], canvas[:, 1:-1, 1:-1] / 4, atol=1e-4), n


def test_attention_without_anything_known_is_zero_and_finite() -> None:
    made = contextual_attention(torch.randn(1, 2, 4, 4), torch.ones(1, 1, 4, 4))
    assert torch.equal(made, torch.zeros_like(made))


@pytest.mark.parametrize(("channels", "height", "width", "attention"), [(1, 8, 12, False), (3, 16, 24, True), (2, 64, 8, True)])
def test_fillings_have_the_pictures_form_and_do_not_depend_on_the_batch(channels: int, height: int, width: int, attention: bool) -> None:
    torch.manual_seed(0)
    net, source = GatedInpainter(channels, 8, attention), holes(3, channels, height, width)
    both = net(source)
    assert [tuple(part.shape) for part in both] == [(3, channels, height, width)] * 2 and all(part.abs().max() <= 1 for part in both)
    assert torch.allclose(net(source[1:2])[1], both[1][1:2], atol=1e-5)
    sum(part.square().sum() for part in both).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_the_refinement_sees_the_coarse_filling_in_the_hole_alone() -> None:
    source = holes(1, 3, 8, 8)
    made = torch.full((1, 3, 8, 8), 0.5)
    whole = paste(source, made)
    mask = source[:, 3:].bool().expand_as(whole)
    assert (whole[mask] == 0.5).all() and torch.equal(whole[~mask], source[:, :3][~mask])


def test_the_smooth_filling_keeps_what_is_known_and_continues_it() -> None:
    """One colour is continued exactly, a slope nearly; a missing pixel is the mean of those round it; nothing known gives 0."""
    flat = holes(1, 2, 13, 22)
    flat[:, :2] = torch.tensor([0.3, -0.7]).view(1, 2, 1, 1) * (1 - flat[:, 2:])
    assert torch.allclose(smooth_filling(flat), torch.tensor([0.3, -0.7]).view(1, 2, 1, 1).expand(1, 2, 13, 22), atol=1e-6)
    source = holes(2, 1, 16, 16)
    slope = torch.linspace(0, 2, 16).expand(2, 1, 16, 16)
    filled = smooth_filling(torch.cat([slope * (1 - source[:, 1:]), source[:, 1:]], 1))
    known = source[:, 1:] == 0
    assert torch.equal(filled[known], slope[known]) and (filled - slope).abs().max() < 0.35 < slope[~known].abs().max()

    far = (filled - slope)[~known].abs().mean(), (slope[known].mean() - slope)[~known].abs().mean()
    assert far[0] < 0.25 * far[1]
    hole = torch.zeros(1, 2, 9, 9)
    hole[:, 0], hole[:, 1, 4, 4] = torch.rand(9, 9, generator=torch.Generator().manual_seed(0)), 1
    hole[:, 0, 4, 4] = 0
    around = hole[0, 0, 3:6, 3:6].sum() / 8  # one missing pixel: towards the mean of its eight neighbours, by a ninth of the rest left at each step
    assert abs(smooth_filling(hole)[0, 0, 4, 4] - around) < 1e-3
    assert torch.equal(smooth_filling(torch.cat([torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)], 1)), torch.zeros(1, 1, 4, 4))


def test_smooth_stages_add_to_what_is_there() -> None:
    source, net = holes(2, 3, 16, 16), GatedInpainter(3, 8, attention=False, smooth=True)
    for head in (net.coarse_out[-1], net.fine_out[-1]):
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.constant_(head.bias, 0.25)
    coarse, fine = net(source)
    assert torch.allclose(coarse, smooth_filling(source) + 0.25, atol=1e-6) and torch.allclose(fine, paste(source, coarse) + 0.25, atol=1e-6)


def test_what_an_output_depends_on_ends_at_the_reach() -> None:
    torch.manual_seed(0)
    net, source = GatedInpainter(1, 4, attention=False).double(), holes(1, 1, 4, 800).double().requires_grad_()
    net(source)[1][0, 0, 2, 400].backward()
    seen = source.grad[0].abs().sum((0, 1)).nonzero().flatten()
    assert reach((2, 4, 8, 16)) == 300 and 100 <= seen.min() <= 300 and 500 <= seen.max() <= 700


def test_the_discriminator_judges_patches_and_halves_as_often_as_asked() -> None:
    assert PatchCritic(4, 4, 3)(torch.randn(2, 4, 20, 33)).shape == (2, 16, 3, 5)
    assert PatchCritic(2, 4, 6)(torch.randn(1, 2, 8, 8)).shape == (1, 16, 1, 1)


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("size", [(8, 8), (12, 8), (32, 48)], ids=str)
def test_context_encoders_of_every_size_and_norm(size: tuple[int, int], norm: str) -> None:
    torch.manual_seed(0)
    net = ContextEncoder(size, 3, 4, 6, norm)
    made = net(holes(2, 3, *size))
    assert made.shape == (2, 3, *size) and made.abs().max() <= 1
    made.square().sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_context_encoders_refuse_sides_that_cannot_be_halved() -> None:
    assert [halvings(size) for size in ((4, 4), (8, 12), (128, 128), (64, 96))] == [0, 1, 5, 4]
    with pytest.raises(UserError, match="36 x 18"):
        halvings((36, 18))
