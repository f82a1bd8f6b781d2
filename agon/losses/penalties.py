"""Gradient penalties. Every ``autograd.grad`` of Agon stands in this file.

The whole penalty is computed in float32, forward pass included, whatever autocast surrounds it, and on the eager module: compiled code has
no double backward (and some versions of torch drop the second-order term silently). A penalty is a mean over the batch and
carries no weight: multiply it yourself.

``critic`` is a module or a function from samples (N, ...) to logits (N,); pass conditions by closing over them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

Critic = Callable[[Tensor], Tensor]


def gradient_penalty(critic: Critic, real: Tensor, fake: Tensor, mix: Tensor, target: float = 1.0) -> Tensor:
    """E (|grad f(x)| - target)^2 at points between real and fake (Gulrajani et al. 2017, algorithm 1). ``mix``: (N,) uniform in [0, 1)."""
    real, fake = real.detach().float(), fake.detach().float()
    points = real.lerp(fake, _per_sample(mix, real))
    return (_gradient_norm(critic, points) - target).square().mean()


def dragan_penalty(critic: Critic, real: Tensor, noise: Tensor, target: float = 1.0) -> Tensor:
    """E (|grad f(x + d)| - target)^2 around the real samples, d = 0.5 std(x) U (Kodali et al. 2017). ``noise``: uniform in [0, 1), real's shape."""
    real = real.detach().float()
    points = real + 0.5 * real.std() * noise
    return (_gradient_norm(critic, points) - target).square().mean()


def r1(critic: Critic, real: Tensor) -> Tensor:
    """1/2 E |grad D(x)|^2 at real samples (Mescheder et al. 2018, equation 9, gamma = 1)."""
    return zero_centred(critic, real)[1]


def r2(critic: Critic, fake: Tensor) -> Tensor:
    """1/2 E |grad D(x)|^2 at fake samples (Mescheder et al. 2018, equation 10, gamma = 1)."""
    return zero_centred(critic, fake)[1]


def zero_centred(critic: Critic, samples: Tensor, logits: Callable[[Tensor], Tensor] = lambda outputs: outputs) -> tuple[Tensor, Tensor]:
    """(outputs, 1/2 E |grad D(x)|^2) from one forward pass, so that the adversarial term can use the same outputs. float32.

    ``logits`` picks from the critic's outputs those whose gradient is penalised (a classifier beside them is not).
    """
    with _float32(samples.device):
        points = samples.detach().float().requires_grad_()
        outputs = _eager(critic)(points)
        return outputs, 0.5 * _input_gradient(logits(outputs), points).square().flatten(1).sum(1).mean()


def path_lengths(synthesis: Callable[[Tensor], Tensor], w: Tensor, noise: Tensor) -> Tensor:
    """(N,) lengths |J_w^T y| of a generator's Jacobian at styles w (N, layers, W), with y = noise / sqrt(height * width) standing for random pictures.

    Karras et al. 2020 (StyleGAN2), section 3.2 and appendix B: squares are summed over W and averaged over layers. float32; the graph goes on through w.
    """
    with _float32(w.device):
        w = w.float()
        (gradient,) = torch.autograd.grad((synthesis(w) * noise / math.sqrt(noise[0, 0].numel())).sum(), w, create_graph=True)
        return gradient.square().sum(2).mean(1).sqrt()


def latent_step(critic: Critic, latent: Tensor, step: float, damping: float) -> Tensor:
    """z + step g / (damping + |g|^2), g = grad D(G(z)) (N, Z): each latent moved by its natural gradient, whose Fisher matrix is g g^T + damping 1
    (Wu et al. 2019, LOGAN, section 3.2). ``critic``: from latents to logits. Detached, of the latent's type."""
    with _float32(latent.device), torch.enable_grad():
        points = latent.detach().float().requires_grad_()
        (gradient,) = torch.autograd.grad(_eager(critic)(points).sum(), points)
    length = gradient.square().flatten(1).sum(1)
    return (points.detach() + step * gradient / _per_sample(damping + length, gradient)).to(latent.dtype)


def gradient_at(loss: Callable[[Tensor], Tensor], samples: Tensor) -> Tensor:
    """(N, ...) the gradient of a loss, a mean over samples, at each sample: N times what the mean hands down, so that the batch's size does not matter.
    Detached, float32. Minus it is the way that a generator is pushed."""
    with _float32(samples.device), torch.enable_grad():
        points = samples.detach().float().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(points), points)
    return gradient * len(samples)


def _gradient_norm(critic: Critic, points: Tensor) -> Tensor:
    """(N,) Euclidean norms of the critic's gradients at ``points``; the small constant keeps the root differentiable at 0."""
    with _float32(points.device):
        points = points.requires_grad_()
        gradient = _input_gradient(_eager(critic)(points), points)
        return (gradient.square().flatten(1).sum(1) + 1e-12).sqrt()


def _input_gradient(outputs: Tensor, inputs: Tensor) -> Tensor:
    # the sum over the batch gives each sample its own gradient, as long as no layer couples samples
    (gradient,) = torch.autograd.grad(outputs.sum(), inputs, create_graph=True)
    return gradient


def _float32(device: torch.device):
    return torch.autocast(device.type, enabled=False)


def _eager(critic: Critic) -> Critic:
    # nn.Module.compile() replaces the call, not forward
    return critic.forward if isinstance(critic, nn.Module) else critic


def _per_sample(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (like.dim() - 1)).to(like)
