"""Oracle: attention position by position (tests/networks/biggan_plain.py), and what must hold whatever the weights."""

import sys
from pathlib import Path

import pytest
import torch

from agon.layers.attention import SelfAttention

sys.path.insert(0, str(Path(__file__).parents[1] / "networks"))
import biggan_plain as plain  # noqa: E402


def made(channels=16):
    torch.manual_seed(0)
    layer = SelfAttention(channels).double()
    torch.nn.init.constant_(layer.gain, 0.7)
    return layer


@pytest.mark.parametrize("size", [(4, 4), (6, 4), (5, 7)], ids=str)
def test_values_and_gradients_are_those_of_plain_attention(size):
    layer, x = made(), torch.randn(2, 16, *size, dtype=torch.float64, requires_grad=True)
    mine, theirs = layer(x), plain.attention(plain.weights_of(layer, "a"), "a", x)
    torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)
    weight = torch.randn_like(mine)
    torch.testing.assert_close(*(torch.autograd.grad((y * weight).sum(), x)[0] for y in (mine, theirs)), rtol=1e-9, atol=1e-10)


def test_it_starts_as_the_identity_and_has_the_published_number_of_parameters():
    layer, x = SelfAttention(32), torch.randn(2, 32, 4, 4)
    assert torch.equal(layer(x), x)
    assert sum(p.numel() for p in layer.parameters()) == 32 * 4 * 2 + 32 * 16 * 2 + 1


def test_its_gradient_can_be_differentiated():
    layer = made(8)
    assert torch.autograd.gradgradcheck(layer, torch.randn(1, 8, 4, 4, dtype=torch.float64, requires_grad=True))


def test_large_scores_survive_half_precision():
    """Scores of a few hundred that differ by one, of which bf16 keeps steps of 1 or 2: the weights must be those of float32 from the same queries and keys."""
    layer, x = made().float(), torch.randn(2, 16, 4, 4)
    with torch.no_grad():
        layer.query.weight.mul_(0.02)[:, 0] += 4.0
        layer.key.weight.mul_(0.02)[:, 0] += 4.0
        x[:, 0] = 3 + 0.05 * x[:, 0]
    with torch.autocast("cpu", torch.bfloat16):
        query, key = layer.query(x).float().flatten(2), torch.nn.functional.max_pool2d(layer.key(x), 2).float().flatten(2)
        value = torch.nn.functional.max_pool2d(layer.value(x), 2)
        mixed = layer(x)
        weights = torch.softmax(torch.einsum("nci,ncj->nij", query.double(), key.double()), 2)
        wanted = x + 0.7 * layer.out(torch.einsum("ncj,nij->nci", value.double().flatten(2), weights).reshape(2, 8, 4, 4).float())
        wrong = torch.softmax((query.transpose(1, 2) @ key).bfloat16().double(), 2)
    assert (wrong - weights).abs().max() > 0.05
    torch.testing.assert_close(mixed.float(), wanted.float(), rtol=0.02, atol=0.01)
