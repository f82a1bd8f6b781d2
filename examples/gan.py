"""Generative Adversarial Networks (Goodfellow et al., 2014), https://arxiv.org/abs/1406.2661, in plain PyTorch.

Two networks play a game (equation 1). D(x) is the probability that x is real; G turns noise z into a sample:

    min_G max_D  E log D(x) + E log(1 - D(G(z)))

D climbs that value. G does not descend it: while D is sure, log(1 - D(G(z))) is flat and teaches G nothing. G maximises
log D(G(z)) instead, which has the same fixed point and a slope from the start (section 3).

    python examples/gan.py        about a minute on a CPU: prints both losses, writes gan.png (10 x 10 new digits)

It is the game of `agon train gan --data digits` in float32 and differs from the paper as that one does: leaky
rectifiers instead of maxout and sigmoid layers, Adam instead of momentum. The players take turns as in algorithm 1 with
k = 1: D steps, then G against the D just improved. But z is drawn once for both turns: samples are made once.
"""

import argparse
import copy

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn


class Generator(nn.Module):
    """Latent (N, latent_dim), drawn from N(0, 1) -> pictures (N, 1, size, size) in [-1, 1]."""

    def __init__(self, latent_dim=100, hidden=(256, 512, 1024), size=8):
        super().__init__()
        layers, width = [], latent_dim
        for wider in hidden:
            layers += [nn.Linear(width, wider), nn.LeakyReLU(0.2)]
            width = wider
        # tanh because the pictures lie in [-1, 1]: G then cannot be told from real data by a pixel out of range
        self.layers = nn.Sequential(*layers, nn.Linear(width, size * size), nn.Tanh())
        self.size = size

    def forward(self, latent):
        return self.layers(latent).view(-1, 1, self.size, self.size)


class Discriminator(nn.Module):
    """Pictures (N, 1, size, size) -> logits (N,): D(x) = sigmoid(logit)."""

    def __init__(self, hidden=(512, 256), size=8):
        super().__init__()
        layers, width = [], size * size
        for narrower in hidden:
            # leaky, so that every unit hands some gradient down to the pictures: it is all that G ever learns from
            layers += [nn.Linear(width, narrower), nn.LeakyReLU(0.2)]
            width = narrower
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, pictures):
        return self.layers(pictures.flatten(1)).squeeze(1)


def cross_entropy(logits, target):
    """Mean of -log D for target 1, of -log(1 - D) for target 0. From logits, since log(sigmoid(-200)) would be -inf."""
    return nn.functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def train_step(generator, discriminator, g_optimizer, d_optimizer, real, latent):
    """One step of D, then one of G, on real (N, 1, size, size) and latent (N, latent_dim); returns both losses."""
    fake = generator(latent)
    # detached: D's turn must not reach into G
    d_loss = cross_entropy(discriminator(real), 1.0) + cross_entropy(discriminator(fake.detach()), 0.0)
    d_optimizer.zero_grad()  # also of what G's last turn left here
    d_loss.backward()
    d_optimizer.step()

    # the same samples, judged anew: D has moved, G has not, so the way back from fake into G still holds
    g_loss = cross_entropy(discriminator(fake), 1.0)  # to be taken for real: maximise log D(G(z))
    g_optimizer.zero_grad()
    g_loss.backward()  # leaves gradients in D too, for D is on the way from G to the loss: cleared before D's turn
    g_optimizer.step()
    return d_loss, g_loss


def adam(network, lr=2e-4, betas=(0.5, 0.999)):
    """beta1 0.5 instead of 0.9: the goal moves with the opponent, and a long memory overshoots. Fused: faster."""
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


def digits():
    """1,797 handwritten digits, (1797, 1, 8, 8) in [-1, 1]; their grey levels are 0 to 16."""
    return torch.tensor(load_digits().images / 8 - 1, dtype=torch.float32).unsqueeze(1)


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


def main(steps=6000, batch_size=64, latent_dim=100, seed=0, out="gan.png"):
    torch.manual_seed(seed)
    generator, discriminator = Generator(latent_dim), Discriminator()
    g_optimizer, d_optimizer = adam(generator), adam(discriminator)
    average = copy.deepcopy(generator)
    stream = batches(digits(), batch_size)
    for step in range(1, steps + 1):
        latent = torch.randn(batch_size, latent_dim)
        d_loss, g_loss = train_step(generator, discriminator, g_optimizer, d_optimizer, next(stream), latent)
        update_average(average, generator, step * batch_size, batch_size)
        if step % 500 == 0 or step == steps:
            # nobody can tell any more where D says 1/2 to everything: D's loss is then 2 log 2 = 1.39, G's 0.69
            print(f"step {step:5d}   discriminator {d_loss:.3f}   generator {g_loss:.3f}")
    with torch.no_grad():
        save_grid(average(torch.randn(100, latent_dim)), out)
    print(f"wrote {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a GAN on 8x8 handwritten digits.")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--out", default="gan.png", help="the picture to write")
    main(**vars(parser.parse_args()))
