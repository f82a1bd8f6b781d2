"""Image-to-Image Translation with Conditional Adversarial Networks (Isola et al., 2017), https://arxiv.org/abs/1611.07004, in plain PyTorch.

From pairs (x, y) a generator G learns what x is to become. Being near y (L1) settles what must be where, but a mean of
all that would fit is blurred; so a discriminator D looks at x and a picture together and says, patch by patch, whether
the picture is a real one (equations 1 to 4):

    D minimises  (-E log D(x, y) - E log(1 - D(x, G(x)))) / 2
    G minimises  -E log D(x, G(x)) + 100 E |y - G(x)|

    python examples/pix2pix.py    about a minute on a CPU: prints the losses, writes pix2pix.png (outline, made, real)

It is the game of `agon train pix2pix` in float32: a U-Net whose only noise is dropout, a PatchGAN with batch norm.
"""

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn


class Level(nn.Module):
    """One level of the U-Net: halve, do what is below, double, and hand on the input beside the result."""

    def __init__(self, outer, inner, below=None, given=None, drops=False):
        super().__init__()
        self.below, self.outermost, self.drops = below, given is not None, drops
        # a norm's own shift makes a bias before it pointless
        self.down = nn.Conv2d(given or outer, inner, 4, 2, 1, bias=False)
        self.down_norm = nn.BatchNorm2d(inner) if below and not self.outermost else nn.Identity()
        self.up = nn.ConvTranspose2d(2 * inner if below else inner, outer, 4, 2, 1, bias=self.outermost)
        self.up_norm = nn.Identity() if self.outermost else nn.BatchNorm2d(outer)

    def forward(self, x, drop):
        y = self.down_norm(self.down(x if self.outermost else F.leaky_relu(x, 0.2)))
        y = self.up_norm(self.up(F.relu(self.below(y, drop) if self.below else y)))
        if self.outermost:
            return y.tanh()
        return torch.cat([x, drop(y) if self.drops else y], 1)


def half(x):
    """Dropout: each number to 0 with probability 1/2, the others doubled."""
    return F.dropout(x, 0.5)


def unet(given=1, made=1, width=16, depth=5):
    """Pictures (N, given, H, W) -> (N, made, H, W) in [-1, 1]; H and W multiples of 2**depth."""
    widths = [width * min(2**i, 8) for i in range(depth)]
    level = Level(widths[-2], widths[-1])
    for i in range(depth - 2, 0, -1):
        level = Level(widths[i - 1], widths[i], level, drops=i >= 4)
    return Level(made, widths[0], level, given)


def patch_discriminator(given, width=16, halvings=2):
    """Pictures (N, given, H, W) -> logits (N, 1, h, w): each judges the patch it sees."""
    layers, before = [nn.Conv2d(given, width, 4, 2, 1), nn.LeakyReLU(0.2)], width
    for i in range(1, halvings + 1):
        after = width * min(2**i, 8)
        layers += [nn.Conv2d(before, after, 4, 2 if i < halvings else 1, 1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
        before = after
    return nn.Sequential(*layers, nn.Conv2d(before, 1, 4, 1, 1))


def init_weights(module):
    """N(0, 0.02) for convolutions, N(1, 0.02) for the gains of norms, 0 for biases and shifts."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)):
        nn.init.normal_(module.weight, 1.0 if isinstance(module, nn.BatchNorm2d) else 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def decide(logits, real):
    """-log D where the answer should be real, -log(1 - D) where not; the mean over patches."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def train_step(generator, discriminator, g_optimizer, d_optimizer, source, target, drop=half, l1_weight=100.0):
    """One step of D and one of G on pairs (N, C, H, W) in [-1, 1]; returns D's loss, what D costs G, and the L1 distance."""
    fake = generator(source, drop)

    d_real = discriminator(torch.cat([source, target], 1))
    d_fake = discriminator(torch.cat([source, fake.detach()], 1))  # D's turn must not reach into G
    d_loss = (decide(d_real, True) + decide(d_fake, False)) / 2
    d_optimizer.zero_grad()
    d_loss.backward()
    d_optimizer.step()

    discriminator.requires_grad_(False)  # G learns through D, and D not from G's turn
    adversarial = decide(discriminator(torch.cat([source, fake], 1)), True)  # once more: D has moved
    distance = F.l1_loss(fake, target)
    g_optimizer.zero_grad()
    (adversarial + l1_weight * distance).backward()
    g_optimizer.step()
    discriminator.requires_grad_(True)
    return d_loss, adversarial, distance


def adam(network, lr=2e-4, betas=(0.5, 0.999)):
    return torch.optim.Adam(network.parameters(), lr, betas)


def outlined_digits():
    """(outlines, digits), each (1797, 1, 32, 32) in [-1, 1]."""
    digits = F.interpolate(torch.tensor(load_digits().images / 16, dtype=torch.float32)[:, None], size=(32, 32), mode="bicubic").clamp(0, 1)
    inside = (digits > 0.4).float()
    return F.max_pool2d(inside, 3, 1, 1) * 2 - inside * 2 - 1, digits * 2 - 1


def main(steps=400, batch_size=4, seed=0, out="pix2pix.png"):
    torch.manual_seed(seed)
    sources, targets = outlined_digits()
    generator, discriminator = unet().apply(init_weights), patch_discriminator(2).apply(init_weights)
    g_optimizer, d_optimizer = adam(generator), adam(discriminator)
    for step in range(1, steps + 1):
        chosen = torch.randint(100, len(sources), (batch_size,))  # the first hundred are for the picture
        d_loss, adversarial, distance = train_step(generator, discriminator, g_optimizer, d_optimizer, sources[chosen], targets[chosen])
        if step % 50 == 0 or step == steps:
            print(f"step {step:5d}   D {d_loss:.3f}   G {adversarial:.3f}   L1 {distance:.4f}")
    with torch.no_grad():  # in training mode, one picture at a time: as the paper tests
        made = torch.cat([generator(one, half) for one in sources[:12].split(1)])
    rows = [np.hstack(((part[:12, 0] + 1) * 127.5).round().byte().numpy()) for part in (sources, made, targets)]
    Image.fromarray(np.vstack(rows)).save(out)
    print(f"wrote {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train pix2pix from outlines to handwritten digits.")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--out", default="pix2pix.png", help="the picture to write")
    main(**vars(parser.parse_args()))
