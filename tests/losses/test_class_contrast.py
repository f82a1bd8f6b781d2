"""Oracle: the papers' sums, written out sample by sample."""

import math

import torch

from agon.losses.class_contrast import conditional_contrastive, data_to_data_cross_entropy

torch.manual_seed(0)
F, V, Y = torch.randn(7, 5), torch.randn(3, 5), torch.tensor([0, 1, 2, 1, 0, 0, 2])


def cosine(a, b):
    return float(a @ b / a.norm() / b.norm())


def test_contrastive_is_equation_8():
    t, expected = 0.7, 0.0
    for i in range(7):
        proxy = math.exp(cosine(F[i], V[Y[i]]) / t)
        among = {k: math.exp(cosine(F[i], F[k]) / t) for k in range(7) if k != i}
        expected -= math.log((proxy + sum(v for k, v in among.items() if Y[k] == Y[i])) / (proxy + sum(among.values()))) / 7
    assert math.isclose(float(conditional_contrastive(F, V, Y, t)), expected, rel_tol=1e-5)


def test_data_to_data_cross_entropy_is_equation_6():
    t, m_p, m_n, expected = 0.5, 0.3, 0.1, 0.0
    for i in range(7):
        own = math.exp(min(cosine(F[i], V[Y[i]]) - m_p, 0) / t)
        others = sum(math.exp(max(cosine(F[i], F[k]) - m_n, 0) / t) for k in range(7) if Y[k] != Y[i])
        expected -= math.log(own / (own + others)) / 7
    assert math.isclose(float(data_to_data_cross_entropy(F, V, Y, t, m_p, m_n)), expected, rel_tol=1e-5)


def test_easy_pairs_give_no_gradient():
    """On its proxy and orthogonal to the others: beyond both margins."""
    f = torch.eye(3, 5).requires_grad_()
    (grad,) = torch.autograd.grad(data_to_data_cross_entropy(f, torch.eye(3, 5), torch.arange(3)), f)
    assert grad.abs().max() < 1e-6
    g = torch.eye(3, 5).requires_grad_()
    (grad,) = torch.autograd.grad(conditional_contrastive(g, torch.eye(3, 5), torch.arange(3)), g)
    assert grad.abs().max() > 0.01
