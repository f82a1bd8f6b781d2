"""Oracle: brute force over what halving means, and the shapes that must come out, at any size that can be halved."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from network_helpers import config_of, networks, pictures

from agon.data.source import DataSpec
from agon.errors import UserError
from agon.networks import build_generator
from agon.networks.sizes import doublings

BASES, CONVOLUTIONAL = st.integers(2, 5), ["dcgan", "resnet", "r3gan"]


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.integers(2, 9))
def test_doublings_are_as_many_as_leave_the_smallest_side(height, width, smallest):
    def possible(floor):
        return [t for t in range(1, 9) if height % 2**t == width % 2**t == 0 and min(height, width) // 2**t >= floor]

    expected = possible(smallest) or possible(2)
    if not expected:
        with pytest.raises(UserError, match=f"{height}x{width}"):
            doublings(pictures(3, height, width), smallest)
        return
    times, base = doublings(pictures(3, height, width), smallest)
    assert times == max(expected)
    assert (base[0] * 2**times, base[1] * 2**times) == (height, width)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 99), st.integers(1, 99))
def test_the_size_that_an_error_proposes_works(height, width):
    try:
        doublings(pictures(1, height, width))
    except UserError as error:
        near = re.search(r"--data\.size (\d+)x(\d+)", str(error))
        doublings(pictures(1, int(near[1]), int(near[2])))


def test_points_need_another_network():
    with pytest.raises(UserError, match="points.*such as gan"):
        doublings(DataSpec("points", (2,)))


@pytest.mark.parametrize("network", CONVOLUTIONAL)
@settings(max_examples=12, deadline=None)
@given(height=BASES, width=BASES, times=st.integers(1, 3), channels=st.integers(1, 5), condition=st.sampled_from([0, 3]))
def test_convolutional_networks_at_any_size_that_can_be_halved(network, height, width, times, channels, condition):
    spec = pictures(channels, height * 2**times, width * 2**times)
    generator, backbone = networks(spec, condition, network=network, base_size=2)
    given_condition = torch.eye(3)[[0, 2]] if condition else None
    with torch.no_grad():
        made = generator(torch.randn(2, 5), given_condition)
        features = backbone(made, given_condition)
    assert made.shape == (2, *spec.shape) and made.isfinite().all()
    assert features.shape == (2, backbone.out_features)
    assert network == "r3gan" or made.abs().max() <= 1


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 5))
def test_an_mlp_draws_pictures_of_any_size(height, width, channels):
    spec = pictures(channels, height, width)
    generator, backbone = networks(spec, network="mlp", generator_hidden=(8,), discriminator_hidden=(8,))
    made = generator(torch.randn(2, 5))
    assert made.shape == (2, *spec.shape) and made.abs().max() <= 1
    assert backbone(made).shape == (2, 8)


@pytest.mark.parametrize("network", CONVOLUTIONAL)
@pytest.mark.parametrize("size", [(31, 32), (32, 31), (2, 2), (1, 64)])
def test_a_size_that_cannot_be_halved_is_an_error_that_helps(network, size):
    with pytest.raises(UserError, match=f"{size[0]}x{size[1]}.*--data.size.*such as gan"):
        build_generator(config_of(network=network), pictures(3, *size), 0)


@pytest.mark.parametrize("size", [64, 128])
def test_narrow_residual_networks_at_large_sizes(size):
    """Widths halve with every doubling above three: they stop at one channel."""
    generator, backbone = networks(pictures(3, size, size), network="resnet", width=4, discriminator_width=4, base_size=2)
    made = generator(torch.randn(2, 5))
    assert made.shape == (2, 3, size, size) and backbone(made).shape == (2, 4)


@pytest.mark.parametrize("network", ["mlp", *CONVOLUTIONAL])
def test_points_get_an_mlp_whatever_network_is_named(network):
    generator, backbone = networks(DataSpec("points", (3,)), network=network, generator_hidden=(8,), discriminator_hidden=(8,))
    torch.nn.init.constant_(generator.layers[-1].bias, 5.0)
    made = generator(torch.randn(2, 5))
    assert made.shape == (2, 3) and made.min() > 1  # not squeezed into [-1, 1]
    assert backbone(made).shape == (2, 8)
    assert not any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in generator.modules())
