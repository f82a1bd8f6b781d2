"""Oracles: the authors' schedule as a table, means of squares written out, and the value behind the buffer."""

import copy

import pytest
import torch

from agon.layers.progressive import Growth, Progressive, doubled, faded, halved, set_lod


@pytest.mark.parametrize(
    "num_images, lod", [(0, 3.0), (599, 3.0), (600, 3.0), (750, 2.5), (899, 2 + 1 / 300), (900, 2.0), (1500, 2.0), (1650, 1.5), (2700, 0.0), (10**9, 0.0)]
)
def test_level_of_detail_is_a_stable_phase_and_a_fade_for_each_doubling(num_images, lod):
    assert Growth(3, 4, 4, 600, 300).lod(num_images) == pytest.approx(lod, abs=1e-9)


def test_phases_follow_the_level_of_detail():
    growth = Growth(3, 4, 8, 600, 300)
    assert growth.start == 2
    assert growth.phases() == [("8", 600), ("16 fade", 300), ("16", 600), ("32 fade", 300), ("32", None)]
    begin = 0
    for name, length in growth.phases()[:-1]:
        side = int(name.split()[0])
        for now in (begin + 1, begin + length - 1):
            lod = growth.lod(now)
            assert 32 >> int(lod) == side and (lod != int(lod)) == name.endswith("fade")
        begin += length


@pytest.mark.parametrize(
    "growth, phases",
    [
        (Growth(1, 4, 2, 10, 5), [("4", 10), ("8 fade", 5), ("8", None)]),
        (Growth(1, 6, 5, 10, 5), [("6", 10), ("12 fade", 5), ("12", None)]),
        (Growth(1, 4, 4, 10, 0), [("4", 10), ("8", None)]),
        (Growth(1, 4, 4, 0, 5), [("8 fade", 5), ("8", None)]),
        (Growth(2, 4, 99, 10, 5), [("16", None)]),
        (Growth(2, 4, 4, 0, 0), [("16", None)]),
    ],
)
def test_short_and_missing_phases(growth, phases):
    assert growth.phases() == phases
    assert growth.lod(10**6) == 0
    assert (growth.lod(0) == 0) == (len(phases) == 1)


def test_pictures_are_halved_by_means_and_mixed_with_the_next_coarser_one():
    pictures = torch.randn(2, 3, 8, 8, dtype=torch.float64)

    def mean(x):
        return (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4

    def repeat(x):
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    assert torch.equal(faded(pictures, 0.0), pictures)
    torch.testing.assert_close(halved(pictures, 2), mean(mean(pictures)))
    assert torch.equal(doubled(pictures, 2), repeat(repeat(pictures)))
    half = mean(pictures)
    expected = 0.75 * half + 0.25 * repeat(mean(half))
    torch.testing.assert_close(faded(pictures, 1.25), expected)
    torch.testing.assert_close(faded(pictures, 1.25, enlarge=True), repeat(expected))


def test_the_number_is_always_the_buffers():
    network = Progressive(3)
    outer = torch.nn.Sequential(torch.nn.Identity(), network)
    set_lod(outer, 1.3)
    assert network.level_of_detail() == float(network.lod) == torch.tensor(1.3).item()
    assert network.position() == (2, pytest.approx(0.3, abs=1e-6))
    for lod in (2.0, 0.5, 1.25, 0.75):
        network.set_lod(lod)
    for copies in range(1, 9):  # as a moving average copies buffers, and however often it has
        twin = copy.deepcopy(network)
        for step in range(copies):
            twin.lod.fill_(step / 8)
        assert twin.level_of_detail() == (copies - 1) / 8
    other = Progressive(3)
    other.load_state_dict(network.state_dict())
    assert other.level_of_detail() == 0.75
    network.set_lod(9)
    assert network.position() == (0, 0.0)
    network.lod = torch.tensor(2.0)
    assert network.level_of_detail() == 2
