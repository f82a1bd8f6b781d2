"""Tiles against the whole: exact where a network's reach is covered, faded without a step where it is not."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from agon.translation import tiles

REACH = 6


def box(source):
    """Sums over 5x5 pixels, zeros outside, then over 3x3 of the doubled picture, 4x4 of the folded one: whole numbers, so that float32 is exact in any order.

    Reach: 2 pixels, and 1 of the picture folded by 4 (up to 4 pixels).
    """
    channels = source.shape[1]
    y = F.conv2d(source, torch.ones(channels, 1, 5, 5), padding=2, groups=channels)
    folded = F.pixel_unshuffle(y, 4)
    folded = F.conv2d(folded, torch.ones(len(folded[0]), 1, 3, 3), padding=1, groups=len(folded[0]))
    return F.interpolate(F.pixel_shuffle(folded, 4), scale_factor=2.0, mode="nearest")


def picture(height, width, seed=0):
    return torch.randint(-9, 10, (1, 2, height, width), generator=torch.Generator().manual_seed(seed)).float()


def together(translate, source, layout, multiple=1):
    return torch.cat(list(tiles.in_bands(translate, source, layout, multiple)), 2)


@pytest.mark.parametrize(("height", "width", "tile"), [(61, 83, 16), (40, 33, 8), (64, 17, 20), (9, 70, 12)])
def test_with_the_whole_reach_tiles_are_the_whole_to_the_last_bit(height, width, tile):
    source = picture(height, width)
    layout = tiles.lay_out(height, width, multiple=4, reach=REACH, most=0, tile=tile, overlap=None)
    assert layout.count > 1 and layout.fade == 0 and layout.overlap == 8
    whole = box(tiles.padded_to(source, 4))[:, :, : 2 * height, : 2 * width]
    assert torch.equal(together(box, source, layout, 4), whole)


def test_with_less_than_the_reach_tiles_differ_at_their_borders_alone():
    source = picture(64, 64)
    layout = tiles.lay_out(64, 64, multiple=4, reach=4, most=0, tile=32, overlap=4)
    wrong = (together(box, source, layout, 4) != box(source)).any(1)[0].nonzero()
    assert len(wrong) and (wrong - 64).abs().min(1).values.max() <= 2 * REACH


def test_a_picture_that_fits_is_not_cut_and_one_that_does_not_stays_within_its_share():
    assert tiles.lay_out(100, 50, multiple=4, reach=9, most=5200).count == 1
    layout = tiles.lay_out(1000, 700, multiple=4, reach=9, most=10_000)
    heights, widths = ([b - a for a, b in zip(axis[:-1], axis[1:], strict=True)] for axis in (layout.rows, layout.columns))
    assert (max(heights) + 2 * layout.overlap) * (max(widths) + 2 * layout.overlap) <= 10_000
    assert layout.overlap == 12 and layout.fade == 0
    assert layout.rows[-1] == 1000 and layout.columns[-1] == 700 and all(at % 4 == 0 for at in layout.rows + layout.columns)
    far = tiles.lay_out(1000, 700, multiple=1, reach=350, most=10_000)
    assert 0 < far.fade <= far.overlap < 350
    assert tiles.lay_out(1000, 700, multiple=1, reach=9, most=10_000, tile=0).count == 1


def test_fading_weights_add_up_to_one_and_leave_no_step():
    layout = tiles.Layout((0, 20, 37, 50), (0, 30, 50), overlap=8, fade=4)
    source = torch.randn(1, 1, 50, 50, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(together(lambda part: part, source, layout), source, rtol=0, atol=1e-6)
    numbers = iter(range(100))
    steps = together(lambda part: torch.full_like(part, float(next(numbers))), source, layout)[0, 0]
    assert steps[0, 0] == 0 and steps[0, -1] == 1 and steps[-1, 0] == 4 and steps[-1, -1] == 5
    assert steps.diff(dim=1).abs().max() <= 1 / 8 + 1e-6 and steps.diff(dim=0).abs().max() <= 2 / 8 + 1e-6  # 8 pixels from one tile to the next
    torch.testing.assert_close(steps[0, 26:34], (torch.arange(8) + 0.5) / 8)  # half and half at the border
    assert torch.equal(steps[:16], steps[:1].expand(16, -1)) and torch.equal(steps[:, :26], steps[:, :1].expand(-1, 26))


def test_a_deep_network_with_a_short_overlap_stays_below_one_level():
    torch.manual_seed(0)
    layers = [nn.Conv2d(8, 8, 3, 1, 1) for _ in range(24)]
    first, last = nn.Conv2d(3, 8, 3, 1, 1), nn.Conv2d(8, 3, 3, 1, 1)

    def network(x):
        y = first(x)
        for layer in layers:
            y = y + 0.2 * F.leaky_relu(layer(y), 0.2)
        return last(y).tanh()

    source = torch.rand(1, 3, 96, 96) * 2 - 1
    with torch.no_grad():
        layout = tiles.lay_out(96, 96, multiple=1, reach=26, most=0, tile=48, overlap=16)
        whole, cut = network(source), together(network, source, layout)
    assert layout.fade == 4 and (whole - cut).abs().max() < 2 / 255
    assert whole.std() > 0.05


def test_only_a_band_lives_at_a_time():
    layout = tiles.lay_out(90, 40, multiple=1, reach=3, most=0, tile=20)
    bands = [band.shape[2] for band in tiles.in_bands(lambda part: part, picture(90, 40), layout)]
    assert sum(bands) == 90 and max(bands) <= 20


def test_memory_is_what_the_widest_operation_touches():
    conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
    found = tiles.bytes_per_pixel(conv, torch.zeros(1, 3, 32, 32), fixed=conv.weight.numel() * 4)
    assert found == pytest.approx(tiles.COPIES * (3 + 8) * 4)
