"""Oracles: closed forms for linear and quadratic critics; torch.func in float64 for real networks."""

import gc
import weakref

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from agon.config import build
from agon.data.source import DataSpec
from agon.layers.init import initialise
from agon.losses import penalties
from agon.networks import family
from agon.networks.discriminator import Discriminator
from agon.two_player import TwoPlayerConfig

N, D = 6, 5


def samples(seed=0, *shape):
    torch.manual_seed(seed)
    return torch.randn(2, N, *(shape or (D,))).unbind()


def every_penalty(critic, real, fake, mix=None, noise=None):
    """(name, value) of all of them on the same numbers."""
    torch.manual_seed(9)
    mix = torch.rand(N) if mix is None else mix
    noise = torch.rand(real.shape) if noise is None else noise
    return {
        "gradient_penalty": penalties.gradient_penalty(critic, real, fake, mix),
        "dragan": penalties.dragan_penalty(critic, real, noise),
        "r1": penalties.r1(critic, real),
        "r2": penalties.r2(critic, fake),
        "zero_centred": penalties.zero_centred(critic, torch.cat([real, fake]))[1],
    }


def test_linear_critic():
    """f(x) = w.x + b has the gradient w everywhere."""
    real, fake = samples()
    w = torch.linspace(-1, 2, D)
    length = w.norm().item()
    found = every_penalty(lambda x: x @ w + 3, real, fake)
    for name in ("r1", "r2", "zero_centred"):
        assert found[name].item() == pytest.approx(length**2 / 2)
    for name in ("gradient_penalty", "dragan"):
        assert found[name].item() == pytest.approx((length - 1) ** 2)
    assert penalties.gradient_penalty(lambda x: x @ w, real, fake, torch.rand(N), target=0.5).item() == pytest.approx((length - 0.5) ** 2)
    assert penalties.dragan_penalty(lambda x: x @ w, real, torch.rand(N, D), target=2.0).item() == pytest.approx((length - 2) ** 2)


def test_gradient_of_a_linear_critics_penalties():
    """d/dw |w|^2 / 2 = w; d/dw (|w| - 1)^2 = 2 (|w| - 1) w / |w|."""
    real, fake = samples()
    w = torch.linspace(-1, 2, D).requires_grad_()
    found = every_penalty(lambda x: x @ w, real, fake)
    length = w.detach().norm()
    for name, value in found.items():
        (slope,) = torch.autograd.grad(value, w)
        expected = w.detach() if name in ("r1", "r2", "zero_centred") else 2 * (length - 1) * w.detach() / length
        torch.testing.assert_close(slope, expected)


def test_quadratic_critic():
    """f(x) = x'Ax / 2 has the gradient Ax: the penalty shows at which points it was taken."""
    real, fake = samples()
    a = torch.randn(D, D)
    a = a + a.T

    def critic(x):
        return 0.5 * ((x @ a) * x).sum(1)

    mix, noise = torch.rand(N), torch.rand(N, D)
    found = every_penalty(critic, real, fake, mix, noise)
    between = (1 - mix)[:, None] * real + mix[:, None] * fake
    around = real + 0.5 * real.std() * noise

    def half_square(x):
        return 0.5 * (x @ a).square().sum(1).mean()

    def centred(x):
        return ((x @ a).norm(dim=1) - 1).square().mean()

    expected = {
        "gradient_penalty": centred(between), "dragan": centred(around), "r1": half_square(real), "r2": half_square(fake),
        "zero_centred": half_square(torch.cat([real, fake])),
    }  # fmt: skip
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name])


def test_a_flat_critic_has_a_finite_penalty_and_slope():
    """At a gradient of 0 the norm has no derivative; the penalty of a constant critic is target^2, and training goes on."""
    real, fake = samples()
    w = torch.zeros(D, requires_grad=True)
    for name, value in every_penalty(lambda x: x @ w, real, fake).items():
        assert value.item() == pytest.approx(1.0 if name in ("gradient_penalty", "dragan") else 0.0, abs=1e-5)
        assert torch.autograd.grad(value, w)[0].isfinite().all()


class Net(nn.Module):
    """A critic that is smooth, so that second derivatives are no step functions."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(D, 16), nn.Softplus(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, x):
        return self.layers(x).squeeze(1)


def test_values_and_gradients_equal_torch_func_in_float64():
    torch.manual_seed(3)
    net = Net()
    real, fake = samples()
    mix, noise = torch.rand(N), torch.rand(N, D)
    weights = {name: value.detach().double() for name, value in net.named_parameters()}
    points = {
        "gradient_penalty": real.double().lerp(fake.double(), mix.double()[:, None]),
        "dragan": real.double() + 0.5 * real.double().std() * noise.double(),
        "r1": real.double(), "r2": fake.double(), "zero_centred": torch.cat([real, fake]).double(),
    }  # fmt: skip

    def reference(weights, name):
        slopes = vmap(grad(lambda x: functional_call(net, weights, (x[None],))[0]))(points[name])
        if name in ("gradient_penalty", "dragan"):
            return (slopes.norm(dim=1) - 1).square().mean()
        return 0.5 * slopes.square().sum(1).mean()

    for name, value in every_penalty(net, real, fake, mix, noise).items():
        torch.testing.assert_close(value.double(), reference(weights, name), rtol=1e-5, atol=1e-7)
        expected = grad(reference)(weights, name)
        found = torch.autograd.grad(value, list(net.parameters()), allow_unused=True)
        for (parameter, want), have in zip(expected.items(), found, strict=True):
            have = torch.zeros_like(want) if have is None else have.double()  # the last bias shifts the critic: no slope
            torch.testing.assert_close(have, want, rtol=1e-3, atol=1e-6, msg=f"{name}, {parameter}")


def test_zero_centred_hands_back_the_outputs_and_penalises_the_chosen_part():
    real, _ = samples()
    w = torch.randn(D, 3)
    outputs, value = penalties.zero_centred(lambda x: x @ w, real, lambda outputs: outputs[:, 1])
    torch.testing.assert_close(outputs, real @ w)
    assert value.item() == pytest.approx(0.5 * w[:, 1].square().sum().item())


def test_the_samples_are_left_alone():
    real, fake = samples()
    fake.requires_grad_()
    net = Net()
    for value in every_penalty(net, real, fake).values():
        value.backward()
    assert fake.grad is None and not real.requires_grad and real.grad is None


@pytest.mark.parametrize("name", ["gradient_penalty", "dragan", "r1", "r2", "zero_centred"])
def test_sixteen_bit_samples_are_penalised_in_float32(name):
    real, fake = (x.bfloat16() for x in samples())
    net = Net()
    found, expected = every_penalty(net, real, fake)[name], every_penalty(net, real.float(), fake.float())[name]
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_path_lengths_of_a_linear_generator_are_its_jacobians():
    """A generator w -> A w: J^T y is A^T y; squares summed over w, averaged over layers."""
    torch.manual_seed(0)
    matrix = torch.randn(3 * 4 * 6, 2 * 5)
    w, noise = torch.randn(7, 2, 5, requires_grad=True), torch.randn(7, 3, 4, 6)
    found = penalties.path_lengths(lambda w: (w.flatten(1) @ matrix.T).view(-1, 3, 4, 6), w, noise)
    expected = ((noise.flatten(1) / 24**0.5) @ matrix).view(7, 2, 5).square().sum(2).mean(1).sqrt()
    torch.testing.assert_close(found, expected)


def test_path_lengths_can_be_learned_from():
    net, w = nn.Linear(5, 12), torch.randn(4, 1, 5)
    w.requires_grad_()
    lengths = penalties.path_lengths(lambda w: net(w[:, 0]).square().view(-1, 3, 2, 2), w, torch.randn(4, 3, 2, 2))
    lengths.sum().backward()
    assert net.weight.grad.abs().min() > 0 and w.grad.abs().max() > 0


# --- real discriminators --------------------------------------------------------------------------------------------------------------

SPEC = DataSpec("image", (3, 8, 8))


def discriminator(network):
    torch.manual_seed(4)
    config = build(
        TwoPlayerConfig,
        {"network": network, "width": 8, "blocks": 1, "base_size": 2, "discriminator_norm": "none", "discriminator_hidden": [16, 16]},
    )
    backbone = family(config, SPEC).backbone(config, SPEC, 0)
    module = Discriminator(backbone, "none", 0, bias=False)
    initialise(module, "orthogonal")  # r3gan's blocks start at zero, and their first layers then have no slope
    return module


def gradients_of_the_penalty_alone(module, name):
    real, fake = samples(1, *SPEC.shape)
    module.zero_grad(set_to_none=True)
    every_penalty(module, real, fake)[name].backward()
    return {key: parameter.grad for key, parameter in module.named_parameters()}


@pytest.mark.parametrize("name", ["gradient_penalty", "r1", "r2"])
@pytest.mark.parametrize("network", ["mlp", "dcgan", "resnet", "r3gan"])
def test_the_penalty_alone_gives_every_weight_a_gradient_compiled_or_not(network, name):
    plain = gradients_of_the_penalty_alone(discriminator(network), name)
    module = discriminator(network)
    module.compile(backend="eager")
    module(samples(1, *SPEC.shape)[0])  # so that it is compiled by now
    compiled = gradients_of_the_penalty_alone(module, name)
    assert plain.keys() == compiled.keys()
    for key, gradient in plain.items():
        if key.endswith("weight"):  # piecewise linear networks: biases only choose the piece
            assert gradient is not None and gradient.abs().max() > 0, key
        assert (gradient is None) == (compiled[key] is None) and (gradient is None or torch.equal(gradient, compiled[key]))


@pytest.mark.parametrize("name", ["gradient_penalty", "dragan", "r1", "r2", "zero_centred"])
@pytest.mark.parametrize("network", ["dcgan", "r3gan"])
def test_autocast_around_it_changes_not_a_bit(network, name):
    module = discriminator(network)
    real, fake = samples(1, *SPEC.shape)
    outside = every_penalty(module, real, fake)[name]
    expected = torch.autograd.grad(outside, [p for p in module.parameters() if p.dim() > 1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        module(real)  # the cache of 16-bit weights is filled
        inside = every_penalty(module, real, fake)[name]
    assert inside.dtype == torch.float32 and torch.equal(inside, outside)
    for found, want in zip(torch.autograd.grad(inside, [p for p in module.parameters() if p.dim() > 1]), expected, strict=True):
        assert torch.equal(found, want)


def test_a_penalty_never_runs_the_compiled_network():
    """Whatever a backend makes of double backward: this one gives a network without any."""
    module = discriminator("dcgan")
    expected = gradients_of_the_penalty_alone(module, "r1")
    module.compile(backend=lambda graph, inputs: lambda *values: tuple(v.detach() for v in graph(*values)))
    assert not module(samples(1, *SPEC.shape)[0]).requires_grad  # so this is what a compiled call does
    found = gradients_of_the_penalty_alone(module, "r1")
    assert all(g is None and found[key] is None or torch.equal(g, found[key]) for key, g in expected.items())


def test_two_alternations_after_compiling_move_every_layer_as_without():
    """The order that froze layers silently elsewhere: discriminator, generator, discriminator, generator, nothing toggled."""

    def play(compiled):
        torch.manual_seed(5)
        generator = nn.Sequential(nn.Linear(3, 12), nn.ReLU(), nn.Linear(12, 3 * 8 * 8), nn.Tanh(), nn.Unflatten(1, SPEC.shape))
        judge = discriminator("dcgan")
        start = [p.detach().clone() for p in (*judge.parameters(), *generator.parameters())]
        if compiled:
            generator.compile(backend="eager")
            judge.compile(backend="eager")
        players = [torch.optim.SGD(m.parameters(), lr=0.05) for m in (judge, generator)]
        real, _ = samples(1, *SPEC.shape)
        for _ in range(2):
            for turn, player in enumerate(players):
                player.zero_grad(set_to_none=True)
                latent = torch.randn(N, 3)
                if turn == 0:
                    with torch.no_grad():
                        fake = generator(latent)
                    loss = judge(fake).mean() - judge(real).mean() + penalties.r1(judge, real) + penalties.r2(judge, fake)
                else:
                    loss = -judge(generator(latent)).mean()
                loss.backward(inputs=[p for group in player.param_groups for p in group["params"]])
                player.step()
        return start, [p.detach() for p in (*judge.parameters(), *generator.parameters())]

    start, plain = play(False)
    _, compiled = play(True)
    assert all(not torch.equal(a, b) for a, b in zip(start, plain, strict=True))
    for found, want in zip(compiled, plain, strict=True):
        torch.testing.assert_close(found, want, rtol=0, atol=0)


def test_nothing_is_left_behind_for_the_garbage_collector():
    """``backward(create_graph=True)`` ties a knot of gradients and graph that only the collector undoes."""
    net, (real, fake) = Net(), samples()
    points = []

    def critic(x):
        points.append(weakref.ref(x))
        return net(x)

    gc.collect()
    gc.disable()
    try:
        for value in list(every_penalty(critic, real, fake).values()):
            value.backward()
        del value
        assert len(points) == 5 and all(point() is None for point in points)
    finally:
        gc.enable()
