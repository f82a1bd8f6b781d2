"""Oracle: the official layout, a plain list of layers with their arithmetic, whose state dict is what is imported."""

import pytest
import torch
from torch import nn

import agon
from agon.errors import UserError
from agon.formats.imported import import_file


def norm(width):
    return nn.InstanceNorm2d(width, affine=True, track_running_stats=True)


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.main = nn.Sequential(nn.Conv2d(c, c, 3, 1, 1, bias=False), norm(c), nn.ReLU(), nn.Conv2d(c, c, 3, 1, 1, bias=False), norm(c))

    def forward(self, x):
        return x + self.main(x)


class Generator(nn.Module):
    def __init__(self, domains, c=2, blocks=2):
        super().__init__()
        layers = [nn.Conv2d(3 + domains, c, 7, 1, 3, bias=False), norm(c), nn.ReLU()]
        for w in (c, 2 * c):
            layers += [nn.Conv2d(w, 2 * w, 4, 2, 1, bias=False), norm(2 * w), nn.ReLU()]
        layers += [Block(4 * c) for _ in range(blocks)]
        for w in (4 * c, 2 * c):
            layers += [nn.ConvTranspose2d(w, w // 2, 4, 2, 1, bias=False), norm(w // 2), nn.ReLU()]
        self.main = nn.Sequential(*layers, nn.Conv2d(c, 3, 7, 1, 3, bias=False), nn.Tanh())

    def forward(self, x, domain):
        planes = domain.view(*domain.shape, 1, 1).expand(-1, -1, *x.shape[2:])
        return self.main(torch.cat([x, planes], 1))


class Discriminator(nn.Module):
    def __init__(self, domains, size=32, c=3, stages=4):
        super().__init__()
        layers = [nn.Conv2d(3, c, 4, 2, 1), nn.LeakyReLU(0.01)]
        for i in range(stages - 1):
            layers += [nn.Conv2d(c << i, c << i + 1, 4, 2, 1), nn.LeakyReLU(0.01)]
        self.main = nn.Sequential(*layers)
        c <<= stages - 1
        self.conv1, self.conv2 = nn.Conv2d(c, 1, 3, 1, 1, bias=False), nn.Conv2d(c, domains, size >> stages, bias=False)

    def forward(self, x):
        h = self.main(x)
        return self.conv1(h)[:, 0], self.conv2(h).flatten(1)


def written(folder, domains, **more):
    torch.manual_seed(0)
    networks = {"G": Generator(domains), "D": Discriminator(more.get("named", domains))}
    folder.mkdir()
    for name, network in networks.items():
        for parameter in network.parameters():
            nn.init.normal_(parameter, 0.0, 0.3)
        for buffer in network.buffers():
            buffer.fill_(7)  # what no test pass of theirs reads
        torch.save(network.state_dict(), folder / f"200000-{name}.ckpt")
    return networks


@pytest.mark.parametrize("domains", [5, 8, 3])
def test_a_folder_of_both_gives_the_same_pictures_and_judgements(tmp_path, domains):
    networks = written(tmp_path / "models", domains)
    imported = import_file(tmp_path / "models", tmp_path / "run")
    assert imported.game == "stargan" and imported.shape == (3, 32, 32) and imported.num_classes == (8 if domains == 8 else 0)
    game = agon.load(tmp_path / "run").game
    assert game.spec.condition_names[:1] == {5: ("Black_Hair",), 8: (), 3: ("attribute 0",)}[domains]
    x, domain = torch.rand(2, 3, 32, 32) * 2 - 1, torch.eye(domains)[[0, 2]]
    with torch.no_grad():
        torch.testing.assert_close(game.translate(x, condition=domain), networks["G"].train()(x, domain), atol=1e-5, rtol=0)
        for ours, theirs in zip(game.discriminator(x), networks["D"](x), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_the_generator_alone_and_what_does_not_fit(tmp_path):
    written(tmp_path / "models", 5, named=4)
    assert import_file(tmp_path / "models" / "200000-G.ckpt", tmp_path / "run").shape == (3, 128, 128)
    with pytest.raises(UserError, match="two data sets at once"):
        import_file(tmp_path / "models", tmp_path / "other")
    with pytest.raises(UserError, match="one generator"):
        import_file(tmp_path / "models" / "200000-D.ckpt", tmp_path / "other")
