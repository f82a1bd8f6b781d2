"""agon.media: every picture is read back with Pillow or numpy and compared with arithmetic done here."""

import csv
import io
import os

import numpy as np
import pytest
import torch
from PIL import Image

from agon import media
from agon.errors import UserError


def opened(path):
    with Image.open(path) as picture:
        return picture.mode, np.asarray(picture)


def test_every_level_of_8_bits_survives_a_round_trip():
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(media.to_uint8(levels.float() / 127.5 - 1), levels)


def test_levels_are_rounded_clamped_and_finite():
    values = torch.tensor([-5.0, -1.0, -1 + 1.4 / 255, 1.0, 7.0, float("nan"), float("inf"), -float("inf")])
    assert media.to_uint8(values.reshape(1, 1, 2, 4)).flatten().tolist() == [0, 0, 1, 255, 255, 128, 255, 0]


def test_half_precision_is_converted_before_scaling():
    values = torch.linspace(-1, 1, 64).bfloat16().reshape(1, 1, 8, 8)
    expected = np.rint((values.float().numpy() + 1) * 127.5)
    assert np.abs(media.to_uint8(values).numpy() - expected).max() == 0


def test_a_grid_holds_every_picture_at_its_place():
    pictures = torch.arange(6, dtype=torch.uint8).reshape(6, 1, 1, 1).expand(6, 3, 4, 5) * 10
    sheet = media.grid(pictures, columns=3, padding=1, scale=2)
    assert sheet.shape == (3, 2 * 9 + 1, 3 * 11 + 1)
    for index in range(6):
        top, left = 1 + index // 3 * 9, 1 + index % 3 * 11
        assert (sheet[:, top : top + 8, left : left + 10] == 10 * index).all()
    gaps = torch.ones(sheet.shape[1:], dtype=torch.bool)
    for index in range(6):
        top, left = 1 + index // 3 * 9, 1 + index % 3 * 11
        gaps[top : top + 8, left : left + 10] = False
    assert (sheet[:, gaps] == media.BACKGROUND).all()


def test_enlarging_repeats_pixels_and_makes_small_grids_wide():
    picture = torch.arange(64, dtype=torch.uint8).reshape(1, 1, 8, 8)
    sheet = media.grid(picture, padding=0)
    scale = sheet.shape[2] // 8
    assert sheet.shape[2] == 8 * scale >= 480
    assert np.array_equal(sheet[0].numpy(), np.kron(picture[0, 0].numpy(), np.ones((scale, scale), dtype=np.uint8)))


@pytest.mark.parametrize(
    ("n", "side", "columns"), [(100, 8, 10), (64, 28, 8), (7, 32, None), (1, 64, None), (80, 8, 8)]
)
def test_grids_of_small_pictures_are_at_least_480_pixels_wide(n, side, columns):
    assert media.grid(torch.zeros(n, 1, side, side), columns=columns).shape[2] >= 480


def test_large_pictures_and_tall_grids_are_not_blown_up():
    assert media.grid(torch.zeros(4, 3, 256, 256)).shape == (3, 518, 518)
    assert media.grid(torch.zeros(100, 1, 8, 8), columns=1).shape[1] <= media.GRID_HEIGHT_LIMIT


def test_rows_decide_the_columns():
    assert media.grid(torch.zeros(6, 1, 4, 4), rows=2, padding=0, scale=1).shape == (1, 8, 12)


def test_an_empty_grid_is_the_users_error():
    with pytest.raises(UserError, match="at least one picture"):
        media.grid(torch.zeros(0, 1, 8, 8))


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_pictures_are_written_in_the_mode_of_their_channels(tmp_path, channels, mode):
    picture = torch.randint(0, 256, (channels, 6, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found, pixels = opened(media.save_image(picture, tmp_path / "deep" / "picture.png"))
    expected = picture[0].numpy() if channels == 1 else picture.permute(1, 2, 0).numpy()
    assert found == mode and np.array_equal(pixels, expected)
    assert os.listdir(tmp_path / "deep") == ["picture.png"]  # no temporary file is left


@pytest.mark.parametrize("channels", [2, 5])
def test_other_numbers_of_channels_show_three_and_say_so(tmp_path, channels):
    picture = torch.randint(0, 256, (channels, 3, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with pytest.warns(UserWarning, match=str(channels)):
        mode, pixels = opened(media.save_image(picture, tmp_path / "x.png"))
    padded = np.zeros((3, 3, 3), np.uint8)
    padded[..., : min(3, channels)] = picture[:3].permute(1, 2, 0).numpy()
    assert mode == "RGB" and np.array_equal(pixels, padded)


def test_gaps_between_transparent_pictures_are_transparent():
    sheet = media.grid(torch.ones(4, 4, 8, 8), columns=2, padding=2)
    assert (sheet[3, :2] == 0).all() and (sheet[3, 2:10, 2:10] == 255).all()


def test_nothing_is_replaced_unless_asked(tmp_path):
    path = tmp_path / "x.png"
    path.write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        media.save_image(torch.zeros(1, 4, 4), path)
    assert path.read_text() == "mine"
    media.save_image(torch.zeros(1, 4, 4), path, overwrite=True)
    assert opened(path)[0] == "L"


def test_a_failed_write_leaves_what_was_there_and_no_other_file(tmp_path):
    (tmp_path / "x").mkdir()  # a file cannot be renamed onto a folder: the write fails at its last step
    with pytest.raises(UserError, match="Is a directory"):
        media.write_atomically(tmp_path / "x", b"new")
    assert os.listdir(tmp_path) == ["x"] and (tmp_path / "x").is_dir()


def test_single_samples_get_five_digits(tmp_path):
    samples = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    written = media.save_samples(samples, tmp_path / "out")
    assert [path.name for path in written] == ["00000.png", "00001.png", "00002.png"]
    expected = np.rint((samples[1].permute(1, 2, 0).numpy() + 1) * 127.5)
    assert np.array_equal(opened(written[1])[1], expected)


def test_samples_do_not_mix_with_an_earlier_draw(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    media.save_samples(torch.zeros(1, 1, 4, 4), tmp_path)
    with pytest.raises(UserError, match="holds samples already"):
        media.save_samples(torch.zeros(2, 1, 4, 4), tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["00000.png", "notes.txt"]
    media.save_samples(torch.zeros(2, 1, 4, 4), tmp_path, overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine" and (tmp_path / "00001.png").exists()


def test_points_as_csv_and_npz_lose_nothing(tmp_path):
    points = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * 1e3
    (table,) = media.save_samples(points, tmp_path / "points.csv")
    rows = list(csv.reader(io.StringIO(table.read_text())))
    assert rows[0] == ["x0", "x1", "x2"]
    assert np.array_equal(np.array(rows[1:], dtype=np.float32), points.numpy())
    (archive,) = media.save_samples(points, tmp_path / "points.npz")
    assert np.array_equal(np.load(archive, allow_pickle=False)["points"], points.numpy())


def test_pictures_as_npz_are_channels_last_bytes(tmp_path):
    samples = torch.rand(5, 3, 4, 6) * 2 - 1
    (archive,) = media.save_samples(samples, tmp_path / "x.npz")
    stored = np.load(archive, allow_pickle=False)["images"]
    assert stored.dtype == np.uint8 and np.array_equal(stored, media.to_uint8(samples).permute(0, 2, 3, 1).numpy())


@pytest.mark.parametrize(
    ("target", "shape"), [("x.csv", (1, 1, 4, 4)), ("x.jpg", (1, 1, 4, 4)), ("x.gif", (4, 2)), ("x.png", (4,))]
)
def test_forms_that_do_not_fit_are_refused(tmp_path, target, shape):
    with pytest.raises(UserError):
        media.save_samples(torch.zeros(*shape), tmp_path / target)
    assert not os.listdir(tmp_path)


def colour_mask(picture, colour):
    """Where a picture is the given hue on white, at any opacity."""
    ink = 255.0 - picture.float()
    wanted = 255.0 - torch.tensor(colour, dtype=torch.float32)[:, None, None]
    ratio = (ink * wanted).sum(0) / (wanted**2).sum()
    return (ratio > 0.1) & ((ink - ratio * wanted).abs().amax(0) < 3)


def test_a_scatter_plot_puts_points_where_they_are():
    corners = torch.tensor([[-1.0, -1.0], [1.0, 1.0]])
    picture = media.scatter(torch.tensor([[1.0, -1.0]]), corners, size=240)
    fake, real = colour_mask(picture, media.FAKE_COLOUR), colour_mask(picture, media.REAL_COLOUR)
    # A margin of a fifth on each side: -1 and 1 are at 20 and 220 of 240; the y axis points upwards.
    assert fake[215:226, 215:226].any() and not fake[:200].any() and not fake[:, :200].any()
    assert real[215:226, 15:26].any() and real[15:26, 215:226].any() and not real[100:140, 100:140].any()


def test_denser_is_darker_and_lone_points_stay_visible():
    crowd = torch.cat([torch.zeros(500, 2), torch.tensor([[1.0, 1.0], [-1.0, -1.0]])])
    ink = (255 - media.scatter(crowd, size=200).float()).sum(0)
    assert ink[95:105, 95:105].max() > 1.5 * ink[:60, 140:].max() > 0
    assert ink[:60, 140:].max() > 40


def test_scatter_frames_follow_the_real_points_and_edges_keep_outliers():
    real = torch.tensor([[-1.0, -1.0], [1.0, 1.0]])
    near, far = (media.scatter(torch.tensor([[x, 0.0]]), real, size=100) for x in (0.0, 50.0))
    assert torch.equal(colour_mask(near, media.REAL_COLOUR), colour_mask(far, media.REAL_COLOUR))
    assert colour_mask(far, media.FAKE_COLOUR)[:, -3:].any()


def test_scatter_takes_one_or_many_dimensions_and_bad_numbers():
    assert media.scatter(torch.randn(20, 1)).shape == (3, 512, 512)
    deep = torch.randn(20, 5)
    assert torch.equal(media.scatter(deep), media.scatter(deep[:, :2]))
    broken = torch.tensor([[float("nan"), 0.0], [0.5, 0.5], [-0.5, -0.5]])
    assert torch.equal(media.scatter(broken), media.scatter(broken[1:]))
    assert (media.scatter(torch.full((3, 2), float("nan"))) == 255).all()


def test_samples_of_points_become_a_plot_when_the_target_is_a_picture(tmp_path):
    points = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    (path,) = media.save_samples(points, tmp_path / "plot.png", real=points + 1)
    assert np.array_equal(opened(path)[1], media.scatter(points, points + 1).permute(1, 2, 0).numpy())
