"""Oracle: the paper's formulas, written plainly over the authors' names and shapes; Agon's networks load the same numbers by the rules of the import."""

import pytest
import torch
import torch.nn.functional as F
from torch.nn.utils import parametrize

from agon.errors import UserError
from agon.formats.spade import discriminator_state, encoder_state, generator_state
from agon.networks.spade import SPADEEncoder, SPADEGenerator, discriminator

MAPS, HIDDEN = 3, 5


def convolution(state, name, before, after, kernel, *, bias=True, spectral=False):
    state[f"{name}.weight_orig" if spectral else f"{name}.weight"] = 0.3 * torch.randn(after, before, kernel, kernel)
    if bias:
        state[f"{name}.bias"] = torch.randn(after)
    if spectral:
        state[f"{name}.weight_u"], state[f"{name}.weight_v"] = (F.normalize(torch.randn(size), dim=0) for size in (after, before * kernel * kernel))


def authors_generator(width, doublings, latent_dim=0, base=(2, 3), norm="batch"):
    state, top = {}, width * 2 ** (min(doublings, 5) - 1)

    def block(name, before, after):
        middle = min(before, after)
        convolution(state, f"{name}.conv_0", before, middle, 3, spectral=True)
        convolution(state, f"{name}.conv_1", middle, after, 3, spectral=True)
        norms = [("norm_0", before), ("norm_1", middle)]
        if before != after:
            convolution(state, f"{name}.conv_s", before, after, 1, spectral=True, bias=False)
            norms.append(("norm_s", before))
        for kind, channels in norms:
            convolution(state, f"{name}.{kind}.mlp_shared.0", MAPS, HIDDEN, 3)
            for part in ("gamma", "beta"):
                convolution(state, f"{name}.{kind}.mlp_{part}", HIDDEN, channels, 3)
            if norm == "batch":
                state[f"{name}.{kind}.param_free_norm.running_mean"] = torch.randn(channels)
                state[f"{name}.{kind}.param_free_norm.running_var"] = 0.5 + torch.rand(channels)

    if latent_dim:
        state["fc.weight"], state["fc.bias"] = torch.randn(top * base[0] * base[1], latent_dim), torch.randn(top * base[0] * base[1])
    else:
        convolution(state, "fc", MAPS, top, 3)
    for name in ("head_0", "G_middle_0", "G_middle_1"):
        block(name, top, top)
    ups = doublings - 1 - (doublings > 5)
    for i in range(ups):
        block(f"up_{i}", top >> i, top >> i + 1)
    convolution(state, "conv_img", top >> ups, 3, 3)
    return state


def weight(state, name):
    if f"{name}.weight" in state:
        return state[f"{name}.weight"]
    whole = state[f"{name}.weight_orig"]
    return whole / (state[f"{name}.weight_u"] @ whole.flatten(1) @ state[f"{name}.weight_v"])


def conv(state, name, x, stride=1, padding=1):
    return F.conv2d(x, weight(state, name), state.get(f"{name}.bias"), stride, padding)


def spade(state, name, x, semantic):
    if f"{name}.param_free_norm.running_mean" in state:
        mean, variance = (state[f"{name}.param_free_norm.running_{kind}"].view(1, -1, 1, 1) for kind in ("mean", "var"))
    else:
        mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, unbiased=False)
    rows, columns = ((torch.arange(b) * a // b) for a, b in zip(semantic.shape[2:], x.shape[2:], strict=True))
    hidden = conv(state, f"{name}.mlp_shared.0", semantic[:, :, rows][:, :, :, columns]).clamp_min(0)
    return (x - mean) / (variance + 1e-5).sqrt() * (1 + conv(state, f"{name}.mlp_gamma", hidden)) + conv(state, f"{name}.mlp_beta", hidden)


def leaky(x):
    return torch.where(x < 0, 0.2 * x, x)


def plain_block(state, name, x, semantic):
    shortcut = conv(state, f"{name}.conv_s", spade(state, f"{name}.norm_s", x, semantic), padding=0) if f"{name}.conv_s.weight_orig" in state else x
    x = conv(state, f"{name}.conv_0", leaky(spade(state, f"{name}.norm_0", x, semantic)))
    return shortcut + conv(state, f"{name}.conv_1", leaky(spade(state, f"{name}.norm_1", x, semantic)))


def plain_generator(state, semantic, latent, doublings, base):
    def double(x):
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    if latent is None:
        factor = 2**doublings
        x = conv(state, "fc", semantic[:, :, ::factor, ::factor])
    else:
        x = (latent @ state["fc.weight"].T + state["fc.bias"]).view(len(latent), -1, *base)
    x = plain_block(state, "head_0", x, semantic)
    x = plain_block(state, "G_middle_0", double(x), semantic)
    x = plain_block(state, "G_middle_1", double(x) if doublings > 5 else x, semantic)
    for i in range(doublings - 1 - (doublings > 5)):
        x = plain_block(state, f"up_{i}", double(x), semantic)
    return conv(state, "conv_img", leaky(x)).tanh()


@pytest.mark.parametrize(("doublings", "latent_dim", "norm"), [(5, 0, "batch"), (6, 0, "instance"), (7, 0, "batch"), (2, 4, "instance"), (1, 0, "batch")])
def test_generator_equals_the_papers_formulas(doublings, latent_dim, norm):
    torch.manual_seed(0)
    base = (1, 2) if doublings > 5 else (2, 3)
    size = tuple(side << doublings for side in base)
    state = {name: value.double() for name, value in authors_generator(2, doublings, latent_dim, base, norm).items()}
    network = SPADEGenerator(MAPS, size=size, width=2, doublings=doublings, norm=norm, hidden=HIDDEN, latent_dim=latent_dim).double().eval()
    network.load_state_dict(generator_state(state))
    semantic, latent = torch.randn(2, MAPS, *size).double(), torch.randn(2, latent_dim).double() if latent_dim else None
    with torch.no_grad():
        found, expected = network(semantic, latent), plain_generator(state, semantic, latent, doublings, base)
    assert found.shape == (2, 3, *size) and expected.std() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_a_file_without_the_second_vector_is_divided_by_what_it_says():
    """Files of torch 1.0 hold the divided weight instead: the network must multiply by just that."""
    torch.manual_seed(0)
    state = authors_generator(2, 2)
    before = generator_state(state)
    for name in [name for name in state if name.endswith("weight_v")]:
        layer = name.removesuffix(".weight_v")
        divided = weight(state, layer)
        del state[name]
        state[f"{layer}.weight"] = divided
    networks = [SPADEGenerator(MAPS, size=(8, 12), width=2, doublings=2, hidden=HIDDEN) for _ in range(2)]
    for network, given in zip(networks, (before, generator_state(state)), strict=True):
        network.load_state_dict(given)
    for (name, new), old in zip(networks[1].named_modules(), networks[0].modules(), strict=True):
        if parametrize.is_parametrized(new):
            torch.testing.assert_close(new.weight, old.weight, msg=name, rtol=1e-4, atol=1e-6)


def test_spectral_norm_divides_the_blocks_convolutions_and_nothing_else():
    network = SPADEGenerator(MAPS, size=(8, 8), width=2, doublings=2, hidden=HIDDEN)
    found = {name for name, module in network.named_modules() if parametrize.is_parametrized(module)}
    blocks = ("head", "middle.0", "middle.1", "ups.0")
    assert found == {f"{block}.conv{i}" for block in blocks for i in (1, 2)} | {"ups.0.shortcut"}
    judges = discriminator(5, width=2)
    found = {name for name, module in judges.named_modules() if parametrize.is_parametrized(module)}
    assert found == {f"judges.{i}.convs.{j}" for i in (0, 1) for j in (1, 2, 3)}
    assert all(judge.convs[i].bias is None for judge in judges.judges for i in (1, 2, 3))


def plain_normed(state, name, x, stride, padding):
    x = conv(state, name, x, stride, padding)
    return leaky((x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt())


def plain_halved(x):
    sums, ones = (F.conv2d(F.pad(y, (1, 1, 1, 1)), torch.ones(y.shape[1], 1, 3, 3), stride=2, groups=y.shape[1]) for y in (x, torch.ones_like(x)))
    return sums / ones


def test_discriminator_equals_the_papers_formulas():
    torch.manual_seed(0)
    state = {}
    for scale in range(2):
        name = f"discriminator_{scale}.model"
        convolution(state, f"{name}0.0", 5, 4, 4)
        for i in range(1, 4):
            convolution(state, f"{name}{i}.0.0", 2 << i, 4 << i, 4, spectral=True, bias=False)
        convolution(state, f"{name}4.0", 32, 1, 4)
    network = discriminator(5, width=4)
    network.load_state_dict(discriminator_state(state))
    x = torch.randn(2, 5, 17, 24)
    with torch.no_grad():
        found = network(x)
    for scale, maps in enumerate(found):
        name = f"discriminator_{scale}.model"
        y = leaky(conv(state, f"{name}0.0", x, 2, 2))
        expected = [y]
        for i in range(1, 4):
            expected.append(plain_normed(state, f"{name}{i}.0.0", expected[-1], 2 if i < 3 else 1, 2))
        expected.append(conv(state, f"{name}4.0", expected[-1], 1, 2))
        for a, b in zip(maps, expected, strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
        x = plain_halved(x)


def test_encoder_equals_the_papers_formulas():
    torch.manual_seed(0)
    state, widths = {}, [3, 2, 4, 8, 16]
    for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False), 1):
        convolution(state, f"layer{i}.0", a, b, 3, spectral=True, bias=False)
    for name in ("fc_mu", "fc_var"):
        state[f"{name}.weight"], state[f"{name}.bias"] = 0.1 * torch.randn(6, 256), torch.randn(6)
    network = SPADEEncoder(width=2, latent_dim=6, side=64)
    network.load_state_dict(encoder_state(state))
    picture = torch.randn(2, 3, 32, 48)
    x = F.interpolate(picture, (64, 64), mode="bilinear")
    for i in range(1, 5):
        x = plain_normed(state, f"layer{i}.0", x, 2, 1)
    with torch.no_grad():
        for found, name in zip(network(picture), ("fc_mu", "fc_var"), strict=True):
            torch.testing.assert_close(found, x.flatten(1) @ state[f"{name}.weight"].T + state[f"{name}.bias"], atol=1e-4, rtol=1e-4)


def test_weights_start_small_and_the_modulation_by_each_halfs_own_fan():
    torch.manual_seed(0)
    network = SPADEGenerator(40, size=(8, 8), width=32, doublings=2, hidden=64)
    norm = network.head.norm1
    for half in norm.modulation.weight.chunk(2):
        assert half.std().item() == pytest.approx(0.02 * (2 / (9 * 64 + 9 * 64)) ** 0.5, rel=0.05)
    assert norm.shared.weight.std().item() == pytest.approx(0.02 * (2 / (9 * 40 + 9 * 64)) ** 0.5, rel=0.05)
    assert not norm.modulation.bias.any() and not network.to_picture.bias.any()


@pytest.mark.parametrize("size", [(8, 8), (12, 8), (16, 24)])
def test_small_rectangles_half_precision_and_channels_last(size):
    network = SPADEGenerator(2, 1, size=size, width=2, doublings=2, hidden=3).to(memory_format=torch.channels_last)
    judges = discriminator(3, width=2)
    with torch.autocast("cpu", torch.bfloat16):
        made = network(torch.randn(2, 2, *size).to(memory_format=torch.channels_last))
        judged = judges(torch.cat([made, torch.randn(2, 2, *size)], 1))
    assert made.shape == (2, 1, *size) and torch.isfinite(made).all() and all(torch.isfinite(maps[-1]).all() for maps in judged)


def test_what_does_not_fit_is_refused():
    with pytest.raises(UserError, match="multiples of 32"):
        SPADEGenerator(2, size=(48, 64))
    with pytest.raises(UserError, match="no norm 'layer'"):
        SPADEGenerator(2, size=(64, 64), norm="layer")
    with pytest.raises(UserError, match="multiples of 4"):
        SPADEGenerator(2, size=(8, 8), width=2, doublings=2, hidden=2)(torch.zeros(1, 2, 10, 8))
    with pytest.raises(UserError, match="power of two"):
        SPADEEncoder(side=48)
