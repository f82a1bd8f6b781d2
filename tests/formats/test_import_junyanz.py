"""Oracle: the authors' networks, rebuilt here by their layer lists (nested blocks, in-place activations), give what the imported run gives.

Names in the files come from these modules, which number their layers as the authors' do; their weights are drawn.
"""

import pytest
import torch
from torch import nn

from agon.errors import UserError
from agon.formats import junyanz
from agon.formats.imported import import_file
from agon.run import load

NORMS = {"batch": nn.BatchNorm2d, "instance": lambda width: nn.InstanceNorm2d(width, track_running_stats=True)}  # as old files have it


class Skip(nn.Module):
    def __init__(self, layers, outermost=False):
        super().__init__()
        self.model, self.outermost = nn.Sequential(*layers), outermost

    def forward(self, x):
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


class Wrapped(nn.Module):
    def __init__(self, model, name="model"):
        super().__init__()
        self.add_module(name, model)
        self.name = name

    def forward(self, x):
        return getattr(self, self.name)(x)


def unet(given, made, depth, width, norm):
    bias, make = norm == "instance", NORMS[norm]
    widths = [width * min(2**i, 8) for i in range(depth)]
    outer, inner = widths[-2:]
    block = Skip([nn.LeakyReLU(0.2, True), nn.Conv2d(outer, inner, 4, 2, 1, bias=bias), nn.ReLU(True),
                  nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=bias), make(outer)])  # fmt: skip
    for i in range(depth - 2, 0, -1):
        outer, inner = widths[i - 1], widths[i]
        drop = [nn.Dropout(0.5)] if i >= 4 else []
        block = Skip([nn.LeakyReLU(0.2, True), nn.Conv2d(outer, inner, 4, 2, 1, bias=bias), make(inner), block, nn.ReLU(True),
                      nn.ConvTranspose2d(2 * inner, outer, 4, 2, 1, bias=bias), make(outer), *drop])  # fmt: skip
    first = nn.Conv2d(given, width, 4, 2, 1, bias=bias)
    return Wrapped(Skip([first, block, nn.ReLU(True), nn.ConvTranspose2d(2 * width, made, 4, 2, 1), nn.Tanh()], outermost=True))


class Block(nn.Module):
    def __init__(self, width, norm, dropout):
        super().__init__()
        bias, make = norm == "instance", NORMS[norm]
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=bias), make(width), nn.ReLU(True), *([nn.Dropout(0.5)] if dropout else []),
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=bias), make(width),
        )  # fmt: skip

    def forward(self, x):
        return x + self.conv_block(x)


def resnet(given, made, blocks, width, norm, dropout=False):
    bias, make = norm == "instance", NORMS[norm]
    layers = [nn.ReflectionPad2d(3), nn.Conv2d(given, width, 7, bias=bias), make(width), nn.ReLU(True)]
    for w in (width, 2 * width):
        layers += [nn.Conv2d(w, 2 * w, 3, 2, 1, bias=bias), make(2 * w), nn.ReLU(True)]
    layers += [Block(4 * width, norm, dropout) for _ in range(blocks)]
    for w in (2 * width, width):
        layers += [nn.ConvTranspose2d(2 * w, w, 3, 2, 1, output_padding=1, bias=bias), make(w), nn.ReLU(True)]
    return Wrapped(nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, made, 7), nn.Tanh()))


def patches(given, layers, width, norm):
    bias, make = norm == "instance", NORMS[norm]
    if layers == 0:
        return Wrapped(nn.Sequential(
            nn.Conv2d(given, width, 1), nn.LeakyReLU(0.2, True), nn.Conv2d(width, 2 * width, 1, bias=bias), make(2 * width), nn.LeakyReLU(0.2, True),
            nn.Conv2d(2 * width, 1, 1, bias=bias)), "net")  # fmt: skip
    stack, before = [nn.Conv2d(given, width, 4, 2, 1), nn.LeakyReLU(0.2, True)], width
    for i in range(1, layers + 1):
        after = width * min(2**i, 8)
        stack += [nn.Conv2d(before, after, 4, 2 if i < layers else 1, 1, bias=bias), make(after), nn.LeakyReLU(0.2, True)]
        before = after
    return Wrapped(nn.Sequential(*stack, nn.Conv2d(before, 1, 4, 1, 1)))


def drawn(network):
    """Weights and running statistics that are not what a fresh network has; instance norms wrote theirs and, in training mode, do not use them."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.rand_like(value) + 0.5 if "running_var" in name else 0.3 * torch.randn_like(value))
    return network


def put(network, path, parallel=False):
    torch.save({("module." if parallel else "") + name: value for name, value in network.state_dict().items()}, path)
    return network


def as_trained(network):
    """Norms by what they see, no dropout."""
    network.train()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    return network


@pytest.mark.parametrize("norm, parallel", [("batch", False), ("instance", True)])
def test_pix2pix_u_net_and_discriminator(tmp_path, norm, parallel):
    source = tmp_path / "facades"
    source.mkdir()
    g = put(drawn(unet(1, 3, 6, 4, norm)), source / "latest_net_G.pth", parallel)
    d = put(drawn(patches(4, 3, 5, norm)), source / "latest_net_D.pth")
    put(drawn(unet(1, 3, 6, 4, norm)), source / "5_net_G.pth")
    made = import_file(source, tmp_path / "run")
    assert (made.game, made.shape, made.origin.split()[0]) == ("pix2pix", (3, 64, 64), "pix2pix")
    game = load(tmp_path / "run").game
    x = torch.rand(2, 1, 64, 128) * 2 - 1
    with torch.no_grad():
        expected = torch.cat([as_trained(g)(one.clone()) for one in x.split(1)])
        game.generator.dropout = 0.0
        torch.testing.assert_close(game.translate(x), expected, atol=1e-4, rtol=0)
        pair = torch.randn(2, 4, 48, 64)
        torch.testing.assert_close(game.discriminator.train()(pair), d.train()(pair), atol=1e-4, rtol=1e-4)
    assert game.config.dropout == 0.5 and game.config.norm == norm


@pytest.mark.parametrize("blocks, dropout", [(9, False), (6, True)])
def test_a_residual_generator_alone(tmp_path, blocks, dropout):
    g = put(drawn(resnet(3, 1, blocks, 3, "instance", dropout)), tmp_path / "latest_net_G.pth")
    made = import_file(tmp_path / "latest_net_G.pth", tmp_path / "run")
    game, x = load(tmp_path / "run").game, torch.rand(1, 3, 20, 24) * 2 - 1
    assert made.game == "pix2pix" and made.shape == (1, 256, 256) and game.config.blocks == blocks
    assert any("discriminator" in note for note in made.notes)
    torch.testing.assert_close(game.translate(x), as_trained(g)(x).detach(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("layers", [0, 2])
def test_cyclegan_with_both_directions(tmp_path, layers):
    source = tmp_path / "horse2zebra"
    source.mkdir()
    nets = {}
    for seed, name in enumerate(("G_A", "G_B", "D_A", "D_B")):
        network = resnet(3, 3, 6, 2, "instance") if name[0] == "G" else patches(3, layers, 3, "instance")
        drawn(network)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(1 + 0.1 * seed)
        nets[name] = put(network, source / f"latest_net_{name}.pth").train()
    made = import_file(source, tmp_path / "run")
    game, x = load(tmp_path / "run").game, torch.rand(1, 3, 24, 16) * 2 - 1
    assert made.game == "cyclegan" and game.config.patch_layers == layers
    with torch.no_grad():
        torch.testing.assert_close(game.translate(x), nets["G_A"](x), atol=1e-4, rtol=0)
        torch.testing.assert_close(game.translate(x, direction="backward"), nets["G_B"](x), atol=1e-4, rtol=0)
        torch.testing.assert_close(game.discriminator["target"](x), nets["D_A"](x), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(game.discriminator["source"](x), nets["D_B"](x), atol=1e-4, rtol=1e-4)


def test_a_discriminator_alone_and_cut_networks_are_no_generators_of_this_layout(tmp_path):
    put(drawn(patches(6, 3, 3, "batch")), tmp_path / "latest_net_D.pth")
    with pytest.raises(UserError):
        import_file(tmp_path / "latest_net_D.pth", tmp_path / "run")
    state = resnet(3, 3, 6, 2, "instance").state_dict() | {"model.7.filt": torch.ones(8, 1, 3, 3)}
    assert not junyanz.recognise(set(state), {}) and junyanz.recognise(set(state) - {"model.7.filt"}, {})
