"""Improved Training of Wasserstein GANs (Gulrajani et al., 2017), https://arxiv.org/abs/1704.00028, in plain PyTorch.

The critic f scores instead of deciding. Among functions of slope 1 at most, the best one's E f(x) - E f(G(z)) is the
Wasserstein distance between data and samples: it falls smoothly as G gets nearer and never saturates (algorithm 1):

    f minimises  E f(G(z)) - E f(x) + 10 E (|grad f(x^)| - 1)^2        x^ = x + u (G(z) - x), u from U[0, 1)
    G minimises  -E f(G(z))

    python examples/wgan_gp.py    about a minute on a CPU: prints the distance, writes wgan_gp.png (10 x 10 new digits)

It is the game of `agon train wgan_gp --data digits` in float32, with DCGAN's networks at 8x8. Each round goes as in
algorithm 1: five steps of the critic, each on new pictures and new samples, then one of G on new samples again.
"""

import argparse
import copy

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn


class Generator(nn.Module):
    """Latent (N, latent_dim) from N(0, 1) -> pictures (N, 1, size, size) in [-1, 1]; widths: channels at 2x2, 4x4."""

    def __init__(self, latent_dim=100, widths=(128, 64), size=8):
        super().__init__()
        self.base = size // 2 ** len(widths)
        # the first layer makes a small picture from a vector: a matrix product, laid out as (height, width, channels)
        self.project = nn.Linear(latent_dim, self.base * self.base * widths[0], bias=False)
        layers = [nn.BatchNorm2d(widths[0]), nn.ReLU()]
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], 1, 4, 2, 1, bias=False), nn.Tanh())

    def forward(self, latent):
        x = self.project(latent).view(len(latent), self.base, self.base, -1)
        return self.layers(x.permute(0, 3, 1, 2))


class Critic(nn.Module):
    """Pictures (N, 1, size, size) -> scores (N,), any real number: higher is more real."""

    def __init__(self, widths=(64, 128), size=8):
        super().__init__()
        layers = []
        for before, after in zip((1, *widths), widths, strict=False):
            # no batch norm: the penalty asks for each picture's own slope, which a norm over the batch does not have
            layers += [nn.Conv2d(before, after, 4, 2, 1), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        # a bias would move all scores alike and cancel in the difference
        self.head = nn.Linear(widths[-1] * (size // 2 ** len(widths)) ** 2, 1, bias=False)

    def forward(self, pictures):
        return self.head(self.layers(pictures).permute(0, 2, 3, 1).flatten(1)).squeeze(1)


def gradient_penalty(critic, real, fake, mix):
    """E (|grad f| - 1)^2 at mix (N, 1, 1, 1) of the way from real to fake: there the best f has slope 1 (prop. 1)."""
    points = real.lerp(fake, mix).requires_grad_()
    # one gradient for the whole batch will do: picture i takes part in score i alone. create_graph: f learns through it
    (gradient,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
    slopes = (gradient.square().flatten(1).sum(1) + 1e-12).sqrt()  # never 0, where the root's own slope is infinite
    return (slopes - 1).square().mean()


def train_step(generator, critic, g_optimizer, c_optimizer, reals, latents, mixes, penalty_weight=10.0):
    """As many steps of the critic as there are batches, then one of G; returns the last distance and penalty.

    reals (N, 1, size, size), latents (N, latent_dim), mixes (N, 1, 1, 1) uniform in [0, 1): one of each for a critic
    step, and one latent more, the last, for G's.
    """
    for real, latent, mix in zip(reals, latents[:-1], mixes, strict=True):
        with torch.no_grad():  # the critic's turn must not reach into G
            fake = generator(latent)  # one batch at a time, for G's batch norm takes each batch's own statistics
        on_real, on_fake = critic(torch.cat([real, fake])).chunk(2)  # one pass over both: faster than two
        distance = on_real.mean() - on_fake.mean()
        penalty = gradient_penalty(critic, real, fake, mix)
        c_optimizer.zero_grad()
        (penalty_weight * penalty - distance).backward()
        c_optimizer.step()

    g_loss = -critic(generator(latents[-1])).mean()
    g_optimizer.zero_grad()
    g_loss.backward()  # leaves gradients in the critic too: cleared before its next turn
    g_optimizer.step()
    return distance, penalty


def adam(network, lr=5e-4, betas=(0.0, 0.9)):
    """The paper's beta1 is 0: the opponent has moved since, so an old gradient points the wrong way. Fused: faster."""
    return torch.optim.Adam(network.parameters(), lr, betas, fused=True)


@torch.no_grad()
def update_average(average, generator, seen, new, half_life=10_000, ramp_up=0.05):
    """Let the averaged generator follow the live one, which circles around its goal: the average sits in the middle.

    Time is counted in real images: seen so far, and new since the last call. The half-life is at most ramp_up of those
    seen, so that the noise of the beginning is soon forgotten (Karras et al., 2020).
    """
    weight = 1 - 0.5 ** (new / min(half_life, ramp_up * seen))
    for mean, now in zip(average.parameters(), generator.parameters(), strict=True):
        mean.lerp_(now, weight)


def batches(data, batch_size):
    """Batches without end, in a new order each epoch."""
    while True:
        order = torch.randperm(len(data))
        for start in range(0, len(data) - batch_size + 1, batch_size):  # the few left over come another time
            yield data[order[start : start + batch_size]]


def save_grid(pictures, path, columns=10, zoom=8):
    """Write pictures (N, 1, H, W) in [-1, 1] as one PNG, row by row with grey lines between, each pixel zoom x zoom."""
    pixels = ((pictures[:, 0].clamp(-1, 1) + 1) * 127.5).round().byte().numpy()
    pixels = np.pad(pixels, [(0, 0), (0, 1), (0, 1)], constant_values=90)
    rows = [np.hstack(pixels[i : i + columns]) for i in range(0, len(pixels), columns)]
    Image.fromarray(np.vstack(rows).repeat(zoom, 0).repeat(zoom, 1)).save(path)


def main(steps=900, batch_size=64, latent_dim=100, critic_steps=5, seed=0, out="wgan_gp.png"):
    torch.manual_seed(seed)
    data = torch.tensor(load_digits().images / 8 - 1, dtype=torch.float32).unsqueeze(1)  # (1797, 1, 8, 8) in [-1, 1]
    generator, critic = Generator(latent_dim), Critic()
    g_optimizer, c_optimizer = adam(generator), adam(critic)
    average, stream = copy.deepcopy(generator), batches(data, batch_size)
    new = critic_steps * batch_size
    for step in range(1, steps + 1):
        reals = [next(stream) for _ in range(critic_steps)]
        latents = torch.randn(critic_steps + 1, batch_size, latent_dim)
        mixes = torch.rand(critic_steps, batch_size, 1, 1, 1)
        distance, penalty = train_step(generator, critic, g_optimizer, c_optimizer, reals, latents, mixes)
        update_average(average, generator, step * new, new)
        if step % 100 == 0 or step == steps:
            print(f"step {step:5d}   distance {distance:.3f}   penalty {penalty:.4f}")
    with torch.no_grad():  # in training mode: the live weights' running statistics would not fit the averaged ones
        save_grid(average(torch.randn(100, latent_dim)), out)
    print(f"wrote {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a WGAN-GP on 8x8 handwritten digits.")
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--out", default="wgan_gp.png", help="the picture to write")
    main(**vars(parser.parse_args()))
