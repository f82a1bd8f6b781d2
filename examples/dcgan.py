"""Deep Convolutional GANs (Radford et al., 2016), https://arxiv.org/abs/1511.06434, in one file of plain PyTorch.

The game is Goodfellow's (2014, equation 1), with the loss for G that does not saturate:

    D minimises  -E log D(x) - E log(1 - D(G(z)))        G minimises  -E log D(G(z))

What is new is how to build the networks so that convolutions train at all (sections 3, 4): strides instead of pooling,
batch norm but at the pictures' end, ReLU in G and leaky ReLU in D, weights from N(0, 0.02), Adam with beta1 0.5.

    python examples/dcgan.py      about a minute on a CPU: prints both losses, writes dcgan.png (10 x 10 new digits)

It is the game of `agon train dcgan --data digits` in float32: 8x8 pictures instead of 64x64. D steps first, then G
against the D just improved; both turns share one batch of samples, which saves making them twice.
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
            # kernel 4, stride 2, padding 1 doubles the size, and 2 divides 4: no chequerboard from uneven overlap.
            # No bias: batch norm would subtract it again, and Adam make full steps of its gradient's rounding noise
            layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        # no norm here: it would force the same mean and contrast on every batch of pictures
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], 1, 4, 2, 1, bias=False), nn.Tanh())

    def forward(self, latent):
        x = self.project(latent).view(len(latent), self.base, self.base, -1)
        return self.layers(x.permute(0, 3, 1, 2))


class Discriminator(nn.Module):
    """Pictures (N, 1, size, size) -> logits (N,): D(x) = sigmoid(logit)."""

    def __init__(self, widths=(64, 128), size=8):
        super().__init__()
        layers = [nn.Conv2d(1, widths[0], 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1] * (size // 2 ** len(widths)) ** 2, 1, bias=False)

    def forward(self, pictures):
        return self.head(self.layers(pictures).permute(0, 2, 3, 1).flatten(1)).squeeze(1)


def init_weights(module):
    """Every weight from N(0, 0.02) (section 4); the gains of batch norm from N(1, 0.02), as in the authors' code."""
    if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def cross_entropy(logits, target):
    """Mean of -log D for target 1, of -log(1 - D) for target 0. From logits, since log(sigmoid(-200)) would be -inf."""
    return nn.functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def train_step(generator, discriminator, g_optimizer, d_optimizer, real, latent):
    """One step of D, then one of G, on real (N, 1, size, size) and latent (N, latent_dim); returns both losses."""
    fake = generator(latent)
    # two passes: batch norm must not see both mixed, or it tells on them. Detached: D's turn must not reach into G
    d_loss = cross_entropy(discriminator(real), 1.0) + cross_entropy(discriminator(fake.detach()), 0.0)
    d_optimizer.zero_grad()  # also of what G's last turn left here
    d_loss.backward()
    d_optimizer.step()

    g_loss = cross_entropy(discriminator(fake), 1.0)  # judged anew: D has moved, G has not, so fake's graph holds
    g_optimizer.zero_grad()
    g_loss.backward()  # leaves gradients in D too, for D is on the way from G to the loss: cleared before D's turn
    g_optimizer.step()
    return d_loss, g_loss


def adam(network, lr=2e-4, betas=(0.5, 0.999)):
    """Section 4: learning rate 2e-4, and beta1 0.5, for 0.9 made training oscillate. Fused: faster."""
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


def main(steps=3000, batch_size=64, latent_dim=100, seed=0, out="dcgan.png"):
    torch.manual_seed(seed)
    generator, discriminator = Generator(latent_dim), Discriminator()
    nn.ModuleList([generator, discriminator]).apply(init_weights)
    g_optimizer, d_optimizer = adam(generator), adam(discriminator)
    average, stream = copy.deepcopy(generator), batches(digits(), batch_size)
    for step in range(1, steps + 1):
        latent = torch.randn(batch_size, latent_dim)
        d_loss, g_loss = train_step(generator, discriminator, g_optimizer, d_optimizer, next(stream), latent)
        update_average(average, generator, step * batch_size, batch_size)
        if step % 250 == 0 or step == steps:
            print(f"step {step:5d}   discriminator {d_loss:.3f}   generator {g_loss:.3f}")
    with torch.no_grad():  # in training mode: the live weights' running statistics would not fit the averaged ones
        save_grid(average(torch.randn(100, latent_dim)), out)
    print(f"wrote {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a DCGAN on 8x8 handwritten digits.")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--out", default="dcgan.png", help="the picture to write")
    main(**vars(parser.parse_args()))
