"""Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks (Zhu et al., 2017), https://arxiv.org/abs/1703.10593, in plain PyTorch.

Two sets of pictures, A and B, without pairs. G translates A to B, F translates B to A; D_B and D_A judge, patch by patch,
what looks like their set. Many translations would please them; what is translated there and back must be what it was,
and that one keeps what the sets have in common (equations 1 to 3; identity: section 5.2):

    G, F minimise  E (D_B(G(a)) - 1)^2 + E (D_A(F(b)) - 1)^2 + 10 E |F(G(a)) - a| + 10 E |G(F(b)) - b|
                   + 5 E |G(b) - b| + 5 E |F(a) - a|
    D_B minimises  (E (D_B(b) - 1)^2 + E D_B(fake)^2) / 2        half of the fakes are of the past: see Pool

    python examples/cyclegan.py    about two minutes on a CPU: prints the losses, writes cyclegan.png

It is the game of `agon train cyclegan` in float32 with small networks. A are digits of light ink, B digits of dark ink.
"""

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width), nn.ReLU(),
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width),
        )  # fmt: skip

    def forward(self, x):
        return x + self.layers(x)


def translator(channels=1, width=16, blocks=2):
    """Pictures (N, channels, H, W) -> the same shape, in [-1, 1]; H and W multiples of 4."""
    layers = [nn.ReflectionPad2d(3), nn.Conv2d(channels, width, 7), nn.InstanceNorm2d(width), nn.ReLU()]
    for w in (width, 2 * width):
        layers += [nn.Conv2d(w, 2 * w, 3, 2, 1), nn.InstanceNorm2d(2 * w), nn.ReLU()]
    layers += [Residual(4 * width) for _ in range(blocks)]
    for w in (2 * width, width):
        layers += [nn.ConvTranspose2d(2 * w, w, 3, 2, 1, output_padding=1), nn.InstanceNorm2d(w), nn.ReLU()]
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, channels, 7), nn.Tanh())


def patch_discriminator(channels=1, width=16, halvings=1):
    """Pictures (N, channels, H, W) -> logits (N, 1, h, w): each judges the patch it sees."""
    layers, before = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)], width
    for i in range(1, halvings + 1):
        after = width * min(2**i, 8)
        layers += [nn.Conv2d(before, after, 4, 2 if i < halvings else 1, 1), nn.InstanceNorm2d(after), nn.LeakyReLU(0.2)]
        before = after
    return nn.Sequential(*layers, nn.Conv2d(before, 1, 4, 1, 1))


def init_weights(module):
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
        nn.init.zeros_(module.bias)


class Pool:
    """Up to ``size`` fakes of the past, so that a discriminator does not forget what it has seen through."""

    def __init__(self, size=50):
        self.size, self.pictures = size, []

    def query(self, fakes, chances, places):
        """Per fake: itself, while the pool fills and with probability 1/2; else an old one, whose place it takes."""
        shown = []
        for fake, chance, place in zip(fakes.detach(), chances, places, strict=True):
            if len(self.pictures) < self.size:
                self.pictures.append(fake)
            elif chance > 0.5:
                where = int(place * self.size)
                fake, self.pictures[where] = self.pictures[where], fake
            shown.append(fake)
        return torch.stack(shown)


def real(logits):
    return (logits - 1).square().mean()


def train_step(nets, g_optimizer, d_optimizer, pools, a, b, draws, cycle=10.0, identity=0.5):
    """One step of both translators, then one of both discriminators, on a and b (N, C, H, W) in [-1, 1].

    nets: G, F, D_B, D_A; pools: of fakes of B and of A; draws: two of (N, 2) uniform in [0, 1), for the pools.
    Returns a dictionary of the terms.
    """
    to_b, to_a, judge_b, judge_a = nets
    judge_b.requires_grad_(False), judge_a.requires_grad_(False)  # not their turn
    fake_b, fake_a = to_b(a), to_a(b)
    terms = {"adversarial_b": real(judge_b(fake_b)), "adversarial_a": real(judge_a(fake_a))}
    terms |= {"cycle_a": cycle * F.l1_loss(to_a(fake_b), a), "cycle_b": cycle * F.l1_loss(to_b(fake_a), b)}
    terms |= {"identity_b": cycle * identity * F.l1_loss(to_b(b), b), "identity_a": cycle * identity * F.l1_loss(to_a(a), a)}
    g_optimizer.zero_grad()
    sum(terms.values()).backward()
    g_optimizer.step()

    judge_b.requires_grad_(True), judge_a.requires_grad_(True)
    for name, judge, genuine, fake, pool, (chances, places) in (
        ("b", judge_b, b, fake_b, pools[0], draws[0].T), ("a", judge_a, a, fake_a, pools[1], draws[1].T),
    ):  # fmt: skip
        terms[f"judge_{name}"] = (real(judge(genuine)) + judge(pool.query(fake, chances, places)).square().mean()) / 2
    d_optimizer.zero_grad()
    (terms["judge_a"] + terms["judge_b"]).backward()
    d_optimizer.step()
    return terms


def adam(networks, lr=2e-4, betas=(0.5, 0.999)):
    return torch.optim.Adam([weight for network in networks for weight in network.parameters()], lr, betas)


def main(steps=500, batch_size=2, seed=0, out="cyclegan.png"):
    torch.manual_seed(seed)
    digits = torch.tensor(load_digits().images / 8 - 1, dtype=torch.float32)[:, None]
    digits = F.interpolate(digits, size=(16, 16), mode="bilinear")
    light, dark = digits[:900], -digits[900:]  # different digits: there are no pairs
    nets = [network.apply(init_weights) for network in (translator(), translator(), patch_discriminator(), patch_discriminator())]
    g_optimizer, d_optimizer, pools = adam(nets[:2], 1e-3), adam(nets[2:], 1e-3), (Pool(), Pool())
    for step in range(1, steps + 1):
        a, b = (side[torch.randint(12, len(side), (batch_size,))] for side in (light, dark))
        terms = train_step(nets, g_optimizer, d_optimizer, pools, a, b, torch.rand(2, batch_size, 2))
        if step % 50 == 0 or step == steps:
            print(f"step {step:5d}   " + "   ".join(f"{name} {value:.3f}" for name, value in terms.items()))
    with torch.no_grad():
        made = nets[0](light[:12]), nets[1](dark[:12])
    rows = [np.hstack(((part[:12, 0] + 1) * 127.5).round().byte().numpy()) for part in (light, made[0], dark, made[1])]
    Image.fromarray(np.vstack(rows)).save(out)
    print(f"wrote {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a CycleGAN between digits of light and of dark ink.")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--out", default="cyclegan.png", help="the picture to write")
    main(**vars(parser.parse_args()))
