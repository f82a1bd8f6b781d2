"""The textbook side of the speed comparison: four GAN training loops as they are usually published.

Plain PyTorch, float32, default memory layout, ``torch.optim.Adam`` as it comes, no import of agon. Nothing is made slow
on purpose and nothing is made fast on purpose: each loop follows the order of operations of a widely copied script.

* ``dcgan`` follows pytorch/examples ``dcgan/main.py``: D(real), D(fake.detach()), then D(fake) for the generator.
* ``sngan`` follows GongXinyuu/sngan.pytorch ``functions.py``: hinge, 5 discriminator turns, ``gen_net(z).detach()``.
* ``wgan_gp`` follows eriklindernoren/PyTorch-GAN ``wgan_gp.py``: 5 critic turns, fakes made with a graph, a penalty.
* ``gan`` follows eriklindernoren/PyTorch-GAN ``gan.py``: generator first, its fake detached for the discriminator.

A case is a function without arguments that returns ``(step, images_per_step, networks)``: ``step(i)`` trains one whole
round (all discriminator turns and one generator turn) on a fixed synthetic data set, ``images_per_step`` counts the
real images of a round, ``networks`` are the modules by name. All is seeded; call ``torch.set_num_threads(1)`` before.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

Case = tuple[Callable[[int], None], int, dict[str, nn.Module]]

DATA_LENGTH = 2048
LATENT = 100
SNGAN_LATENT = 128
SNGAN_CHANNELS = 64


def synthetic(shape: tuple[int, ...], batch: int) -> Iterator[Tensor]:
    """Endless batches ``(batch, *shape)`` in [-1, 1] of fixed random bytes: the content does not matter for speed."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (DATA_LENGTH, *shape), dtype=torch.uint8, generator=generator)
    images = pixels.float().div(127.5).sub(1.0)
    while True:
        for start in range(0, DATA_LENGTH - batch + 1, batch):
            yield images[start : start + batch]


# ------------------------------------------------------------------------------------------------------------- networks


class DCGANGenerator(nn.Sequential):
    """Radford et al. 2015 at 32x32: ``(N, 100, 1, 1)`` to ``(N, 3, 32, 32)`` in [-1, 1]; ngf 64."""

    def __init__(self, latent: int = LATENT, width: int = 64, channels: int = 3) -> None:
        super().__init__(
            nn.ConvTranspose2d(latent, width * 4, 4, 1, 0, bias=False),
            nn.BatchNorm2d(width * 4),
            nn.ReLU(True),
            nn.ConvTranspose2d(width * 4, width * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width * 2),
            nn.ReLU(True),
            nn.ConvTranspose2d(width * 2, width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(True),
            nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False),
            nn.Tanh(),
        )


class DCGANDiscriminator(nn.Sequential):
    """Radford et al. 2015 at 32x32: ``(N, 3, 32, 32)`` to logits ``(N, 1, 1, 1)``; ndf 64."""

    def __init__(self, width: int = 64, channels: int = 3) -> None:
        super().__init__(
            nn.Conv2d(channels, width, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, width * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width * 2),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width * 2, width * 4, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width * 4),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width * 4, 1, 4, 1, 0, bias=False),
        )


class MLPGenerator(nn.Sequential):
    """``(N, 100)`` to ``(N, 784)`` in [-1, 1] through 256, 512 and 1024 units, leaky ReLU 0.2, no batch norm."""

    def __init__(self, latent: int = LATENT, pixels: int = 784) -> None:
        super().__init__(
            nn.Linear(latent, 256),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(256, 512),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(512, 1024),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(1024, pixels),
            nn.Tanh(),
        )


class MLPDiscriminator(nn.Sequential):
    """``(N, 784)`` to logits ``(N, 1)`` through 512 and 256 units, leaky ReLU 0.2."""

    def __init__(self, pixels: int = 784) -> None:
        super().__init__(
            nn.Linear(pixels, 512),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(512, 256),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(256, 1),
        )


class UpBlock(nn.Module):
    """Miyato et al. 2018, figure 4: batch norm, ReLU, nearest upsampling, two 3x3 convolutions, 1x1 shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = functional.interpolate(functional.relu(self.norm1(x)), scale_factor=2)
        h = self.conv2(functional.relu(self.norm2(self.conv1(h))))
        return h + self.shortcut(functional.interpolate(x, scale_factor=2))


class SNGANGenerator(nn.Module):
    """The ResNet generator of Miyato et al. 2018 (table 4) for 32x32: ``(N, 128)`` to ``(N, 3, 32, 32)`` in [-1, 1]."""

    def __init__(self, latent: int = SNGAN_LATENT, width: int = SNGAN_CHANNELS, channels: int = 3) -> None:
        super().__init__()
        self.width = width
        self.project = nn.Linear(latent, 4 * 4 * width)
        self.blocks = nn.ModuleList(UpBlock(width, width) for _ in range(3))
        self.norm = nn.BatchNorm2d(width)
        self.to_image = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.project(z).view(-1, self.width, 4, 4)
        for block in self.blocks:
            h = block(h)
        return torch.tanh(self.to_image(functional.relu(self.norm(h))))


class FirstDownBlock(nn.Module):
    """The first block of the discriminator: no activation before its first convolution; the shortcut pools first."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = spectral_norm(nn.Conv2d(inputs, outputs, 3, padding=1))
        self.conv2 = spectral_norm(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.shortcut = spectral_norm(nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(functional.relu(self.conv1(x)))
        return functional.avg_pool2d(h, 2) + self.shortcut(functional.avg_pool2d(x, 2))


class DownBlock(nn.Module):
    """The other blocks: ReLU first; the 1x1 shortcut (only where the block pools) comes before the pooling."""

    def __init__(self, inputs: int, outputs: int, down: bool) -> None:
        super().__init__()
        self.down = down
        self.conv1 = spectral_norm(nn.Conv2d(inputs, outputs, 3, padding=1))
        self.conv2 = spectral_norm(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.shortcut = spectral_norm(nn.Conv2d(inputs, outputs, 1)) if down else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(functional.relu(self.conv1(functional.relu(x))))
        h = h + self.shortcut(x)
        return functional.avg_pool2d(h, 2) if self.down else h


class SNGANDiscriminator(nn.Module):
    """The ResNet discriminator of Miyato et al. 2018 (table 4) for 32x32: ``(N, 3, 32, 32)`` to logits ``(N, 1)``."""

    def __init__(self, width: int = SNGAN_CHANNELS, channels: int = 3) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            FirstDownBlock(channels, width),
            DownBlock(width, width, down=True),
            DownBlock(width, width, down=False),
            DownBlock(width, width, down=False),
        )
        self.score = spectral_norm(nn.Linear(width, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.score(functional.relu(self.blocks(x)).sum((2, 3)))


def radford_weights(module: nn.Module) -> None:
    """Normal(0, 0.02) convolutions, normal(1, 0.02) batch-norm scales (Radford et al. 2015, section 4)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


# ---------------------------------------------------------------------------------------------------------------- loops


def dcgan(batch: int = 64) -> Case:
    """DCGAN at 32x32 as in pytorch/examples: one fake, used detached by D and then, with its graph, by G."""
    torch.manual_seed(0)
    net_g, net_d = DCGANGenerator().apply(radford_weights), DCGANDiscriminator().apply(radford_weights)
    adam_g = torch.optim.Adam(net_g.parameters(), lr=2e-4, betas=(0.5, 0.999))
    adam_d = torch.optim.Adam(net_d.parameters(), lr=2e-4, betas=(0.5, 0.999))
    criterion = nn.BCEWithLogitsLoss()
    batches = synthetic((3, 32, 32), batch)

    def step(i: int) -> None:
        adam_d.zero_grad()
        output = net_d(next(batches)).view(-1)
        criterion(output, torch.ones_like(output)).backward()
        fake = net_g(torch.randn(batch, LATENT, 1, 1))
        output = net_d(fake.detach()).view(-1)
        criterion(output, torch.zeros_like(output)).backward()
        adam_d.step()

        adam_g.zero_grad()
        output = net_d(fake).view(-1)
        criterion(output, torch.ones_like(output)).backward()
        adam_g.step()

    return step, batch, {"generator": net_g, "discriminator": net_d}


def sngan(batch: int = 16, num_critic: int = 5) -> Case:
    """SNGAN at 32x32 (unconditional, hinge): 64 channels instead of 256 and 128, so that a round fits a CPU."""
    torch.manual_seed(0)
    net_g, net_d = SNGANGenerator(), SNGANDiscriminator()
    adam_g = torch.optim.Adam(net_g.parameters(), lr=2e-4, betas=(0.0, 0.9))
    adam_d = torch.optim.Adam(net_d.parameters(), lr=2e-4, betas=(0.0, 0.9))
    batches = synthetic((3, 32, 32), batch)

    def step(i: int) -> None:
        for _ in range(num_critic):
            adam_d.zero_grad()
            real_validity = net_d(next(batches))
            fake = net_g(torch.randn(batch, SNGAN_LATENT)).detach()
            fake_validity = net_d(fake)
            loss = functional.relu(1.0 - real_validity).mean() + functional.relu(1.0 + fake_validity).mean()
            loss.backward()
            adam_d.step()

        adam_g.zero_grad()
        loss = -net_d(net_g(torch.randn(batch, SNGAN_LATENT))).mean()
        loss.backward()
        adam_g.step()

    return step, batch * num_critic, {"generator": net_g, "discriminator": net_d}


def gradient_penalty(net_d: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Mean squared distance of the critic's gradient norm from 1 on interpolates (Gulrajani et al. 2017, eq. 3)."""
    alpha = torch.rand(len(real), 1)
    interpolates = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
    output = net_d(interpolates)
    (gradients,) = torch.autograd.grad(
        output, interpolates, grad_outputs=torch.ones_like(output), create_graph=True, retain_graph=True
    )
    return ((gradients.norm(2, dim=1) - 1) ** 2).mean()


def wgan_gp(batch: int = 64, num_critic: int = 5, detach: bool = False) -> Case:
    """WGAN-GP with MLPs at 28x28 as in PyTorch-GAN; ``detach``: a kinder variant that stops D's loss at the fake."""
    torch.manual_seed(0)
    net_g, net_d = MLPGenerator(), MLPDiscriminator()
    adam_g = torch.optim.Adam(net_g.parameters(), lr=2e-4, betas=(0.5, 0.999))
    adam_d = torch.optim.Adam(net_d.parameters(), lr=2e-4, betas=(0.5, 0.999))
    batches = synthetic((784,), batch)

    def step(i: int) -> None:
        for _ in range(num_critic):
            adam_d.zero_grad()
            real = next(batches)
            fake = net_g(torch.randn(batch, LATENT))
            if detach:
                fake = fake.detach()
            real_validity, fake_validity = net_d(real), net_d(fake)
            penalty = gradient_penalty(net_d, real.data, fake.data)
            loss = -real_validity.mean() + fake_validity.mean() + 10.0 * penalty
            loss.backward()
            adam_d.step()

        adam_g.zero_grad()
        loss = -net_d(net_g(torch.randn(batch, LATENT))).mean()
        loss.backward()
        adam_g.step()

    return step, batch * num_critic, {"generator": net_g, "discriminator": net_d}


def gan(batch: int = 64) -> Case:
    """The MLP GAN (non-saturating) at 28x28 as in PyTorch-GAN: generator first, its fake detached for D's turn."""
    torch.manual_seed(0)
    net_g, net_d = MLPGenerator(), MLPDiscriminator()
    adam_g = torch.optim.Adam(net_g.parameters(), lr=2e-4, betas=(0.5, 0.999))
    adam_d = torch.optim.Adam(net_d.parameters(), lr=2e-4, betas=(0.5, 0.999))
    criterion = nn.BCEWithLogitsLoss()
    valid, invalid = torch.ones(batch, 1), torch.zeros(batch, 1)
    batches = synthetic((784,), batch)

    def step(i: int) -> None:
        real = next(batches)
        adam_g.zero_grad()
        fake = net_g(torch.randn(batch, LATENT))
        criterion(net_d(fake), valid).backward()
        adam_g.step()

        adam_d.zero_grad()
        loss = (criterion(net_d(real), valid) + criterion(net_d(fake.detach()), invalid)) / 2
        loss.backward()
        adam_d.step()

    return step, batch, {"generator": net_g, "discriminator": net_d}


CASES: dict[str, Callable[[], Case]] = {"dcgan": dcgan, "sngan": sngan, "wgan_gp": wgan_gp, "gan": gan}
