"""agon translate as a user meets it, with games whose output is known in closed form: the negative of what came in."""

import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import agon
from agon import cli
from agon.data.pictures import BadPicture
from agon.errors import Unavailable
from agon.translation import files, films
from agon.translation.translator import Translator, Wishes

COLOURS = np.array([(0, 0, 255), (128, 128, 128), (0, 128, 0)], np.uint8)
GAME = '''"""Negative (Test, 2026), https://example.org.

The negative of its input, enlarged."""
from dataclasses import dataclass

import torch
from torch import nn

from agon.config import Preset
from agon.game import Player, Stage, Update
from agon.translation import TINY, TranslationConfig, TranslationGame


@dataclass(frozen=True, kw_only=True)
class Config(TranslationConfig):
    pass


class Negative(TranslationGame):
    Config = Config
    takes = ("picture", "map", "hole")
    presets = {"tiny": Preset(fields=TINY)}
    data_options = {"input": "grey"}
    directions = ("forward", "backward")
    controls = ("shift",)
    multiple, reach, fixed_size = 4, 0, False

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.generator = nn.Conv2d(spec.shape[0], spec.shape[0], 1)

    def players(self):
        return {"generator": Player((self.generator,), self.config.optimizer)}

    def stages(self):
        return [Stage("train", (Update("generator", lambda batch, ctx: {"l1": self.generator(batch.real).abs().mean()}),))]

    def render(self, source, draws, direction="forward", shift=0):
        if direction == "backward":
            return -source[:, :1]
        if self.spec.source_kind == "map":
            classes = len(self.spec.source_classes)
            source = source[:, :classes].argmax(1, keepdim=True).float() / (classes - 1) * 2 - 1
        if self.spec.source_kind == "hole":
            return torch.where(source[:, -1:] > 0, torch.ones_like(source[:, :-1]), -source[:, :-1])
        made = -source.expand(-1, self.spec.shape[0], -1, -1) + shift * 2 / 255
        return made.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)
'''


@pytest.fixture(autouse=True)
def plain(monkeypatch, tmp_path):
    """English, no tracebacks, and a folder of one's own to stand in."""
    monkeypatch.setenv("AGON_LANG", "en")
    monkeypatch.delenv("AGON_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Run folders by name, each one step old, and the game's file."""
    root = tmp_path_factory.mktemp("translate")
    game = root / "negative.py"
    game.write_text(GAME)
    (root / "whole.py").write_text(GAME.replace("multiple, reach, fixed_size = 4, 0, False", "multiple, reach, fixed_size = 1, None, False"))
    (root / "fixed.py").write_text(GAME.replace("multiple, reach, fixed_size = 4, 0, False", "multiple, reach, fixed_size = 1, None, True"))
    (root / "data").mkdir()
    (root / "maps").mkdir()
    (root / "maps" / "palette.json").write_text('{"sky": "#0000ff", "road": "#808080", "tree": "#008000"}')
    for index in range(2):
        Image.fromarray(noise(16, 16, 3, seed=index)).save(root / "data" / f"{index}.png")
        Image.fromarray(COLOURS[noise(16, 16, 1, seed=index)[..., 0] % 3]).save(root / "maps" / f"{index}.png")

    def train(name, input="grey", game=game, **options):
        agon.train(str(game), data=str(root / "data"), preset="tiny", out=root / name, steps=1, batch_size=2, data_options={"input": input, **options})

    train("grey")
    train("small", "downscale:2")
    train("map", str(root / "maps"), maps=True)
    train("hole", "hole:centre")
    train("whole", game=root / "whole.py")
    train("fixed", game=root / "fixed.py")
    return root


def noise(height, width, channels, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def asked(runs, name, *argv, game="negative.py", code=0):
    found = cli.main(["translate", str(runs / name), *map(str, argv), "--game", str(runs / game)])
    assert found == code
    return found


def refused(capsys, runs, name, *argv, game="negative.py", code=2):
    """The one line on stderr of a command that is refused."""
    capsys.readouterr()
    asked(runs, name, *argv, game=game, code=code)
    out, err = capsys.readouterr()
    assert not out and err.startswith("agon: ") and "Traceback" not in err, (out, err)
    return err


def grey(pixels):
    return np.asarray(Image.fromarray(pixels).convert("L"))


def pixels_of(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


# --- pictures -------------------------------------------------------------------------------------------------------------------------


def test_a_folder_keeps_names_sub_folders_alpha_and_stands_upright(runs, tmp_path, capsys):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    plain, clear, other = noise(11, 18, 3), noise(9, 7, 4, seed=1), noise(11, 18, 3, seed=2)
    clear[:2, :, 3] = 0
    Image.fromarray(plain).save(tmp_path / "in" / "a.png")
    Image.fromarray(other).save(tmp_path / "in" / "b.bmp")
    Image.fromarray(clear).save(tmp_path / "in" / "deep" / "c.png")
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned right
    Image.fromarray(plain).save(tmp_path / "in" / "d.png", exif=turned)
    Image.fromarray(plain).save(tmp_path / "in" / "e.gif")
    Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).save(tmp_path / "in" / "f.jpg", quality=100)
    (tmp_path / "in" / "broken.png").write_bytes(b"\x89PNG nonsense")
    asked(runs, "grey", "in", "--out", "out", "--json")
    out, err = capsys.readouterr()
    assert sorted(str(path.relative_to("out")) for path in Path("out").rglob("*") if path.is_file()) == [
        "a.png", "b.bmp", "d.png", "deep/c.png", "e.gif.png", "f.jpg"]  # fmt: skip
    assert (pixels_of("out/a.png") == 255 - grey(plain)[..., None]).all() and (pixels_of("out/b.bmp") == 255 - grey(other)[..., None]).all()
    assert (pixels_of("out/d.png") == np.rot90(255 - grey(plain), -1)[..., None]).all()
    made = pixels_of("out/deep/c.png")
    assert (made[..., 3] == clear[..., 3]).all() and (made[2:, :, 0] == 255 - grey(np.ascontiguousarray(clear[2:, :, :3]))).all()
    assert abs(pixels_of("out/f.jpg").astype(int) - 55).max() <= 1
    lines = {line["file"]: line for line in map(json.loads, out.splitlines())}
    assert len(lines) == 7 and "error" in lines["broken.png"] and lines["a.png"]["output_size"] == [11, 18]
    assert "broken.png" in err and "6 translated, 1 left out" in err


def test_enlarging_enlarges_the_alpha_too_and_a_zip_is_read(runs, tmp_path):
    clear = noise(6, 5, 4)
    clear[..., 3] = np.where(np.arange(5) < 2, 0, 255)
    with zipfile.ZipFile("in.zip", "w") as archive:
        archive.writestr("x/a.webp", files.as_file(clear, ".png"))
    asked(runs, "small", "in.zip", "--out", "out")
    made = pixels_of("out/x/a.webp")
    assert made.shape == (12, 10, 4)
    assert (made[:, :3, 3] < 128).all() and (made[:, 5:, 3] > 128).all()


def test_derive_makes_the_input_of_a_photograph(runs, tmp_path):
    Image.fromarray(photo := noise(13, 10, 3)).save("a.png")
    asked(runs, "small", "a.png", "--out", "b.png", "--derive")
    small = np.asarray(Image.fromarray(photo[:12]).resize((5, 6), Image.Resampling.BICUBIC))
    assert (pixels_of("b.png") == (255 - small).repeat(2, 0).repeat(2, 1)).all()
    asked(runs, "small", "a.png", "--out", "c.png")
    assert pixels_of("c.png").shape == (26, 20, 3)


def test_tiles_of_any_size_are_the_whole(runs, tmp_path, capsys):
    Image.fromarray(noise(50, 37, 3)).save("a.png")
    asked(runs, "small", "a.png", "--out", "whole.png", "--tile", "0")
    asked(runs, "small", "a.png", "--out", "tiled.png", "--tile", "12", "--overlap", "5", "--json")
    assert (pixels_of("whole.png") == pixels_of("tiled.png")).all()
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["tiles"] == 5 * 4


def test_backward_controls_and_a_seed_reach_the_game(runs, tmp_path):
    Image.fromarray(photo := noise(8, 8, 3)).save("a.png")
    asked(runs, "grey", "a.png", "--out", "b.png", "--direction", "backward")
    assert (pixels_of("b.png") == 255 - photo[..., 0]).all()
    asked(runs, "grey", "a.png", "--out", "c.png", "--shift", "-3", "--seed", "4")
    assert (pixels_of("c.png")[..., 0] == np.maximum(0, 252 - grey(photo).astype(int))).all()


def test_one_size_fits_and_says_so(runs, tmp_path, capsys):
    Image.fromarray(np.full((30, 50, 3), 90, np.uint8)).save("a.png")
    asked(runs, "fixed", "a.png", "--out", "b.png", game="fixed.py")
    assert pixels_of("b.png").shape == (16, 16, 3) and (pixels_of("b.png") == 165).all()
    assert capsys.readouterr().err.count("16x16") == 1


def test_a_picture_seen_whole_is_refused_before_it_takes_all_memory(runs, tmp_path, capsys, monkeypatch):
    Image.fromarray(np.zeros((400, 600, 3), np.uint8)).save("a.png")
    monkeypatch.setattr("agon.translation.tiles.WHOLE_BYTES", 1 << 20)
    err = refused(capsys, runs, "whole", "a.png", "--out", "b.png", game="whole.py", code=1)
    side = int(err.partition("--max-side ")[2].split(";")[0])
    asked(runs, "whole", "a.png", "--out", "b.png", "--max-side", side, game="whole.py")
    assert pixels_of("b.png").shape == (round(400 * side / 600), side, 3)
    assert "whole picture" in refused(capsys, runs, "whole", "a.png", "--out", "c.png", "--tile", "64", game="whole.py")


# --- maps and holes -------------------------------------------------------------------------------------------------------------------


def test_maps_come_in_the_palettes_colours_or_without_its_file_as_numbers_too(runs, tmp_path, capsys):
    numbers = noise(10, 12, 1)[..., 0] % 3
    expected = np.array([255, 128, 0])[numbers][..., None]
    (tmp_path / "in").mkdir()
    Image.fromarray(numbers).save("in/grey.png")
    Image.fromarray(COLOURS[numbers]).save("in/colour.png")
    Image.fromarray(np.full((4, 4, 3), 7, np.uint8)).save("in/other.png")
    asked(runs, "map", "in", "--out", "out")
    assert "#070707 (16 pixels)" in capsys.readouterr().err and (pixels_of("out/colour.png") == expected).all()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["colour.png"]
    palette = runs / "maps" / "palette.json"
    palette.rename(runs / "elsewhere.json")
    asked(runs, "map", "in", "--out", "again")
    (runs / "elsewhere.json").rename(palette)
    assert all((pixels_of(f"again/{name}.png") == expected).all() for name in ("colour", "grey"))


def test_a_hole_comes_from_a_mask_from_transparency_or_from_the_recipe(runs, tmp_path, capsys):
    photo, mask = noise(16, 20, 3), np.zeros((16, 20), np.uint8)
    mask[3:7, 4:9] = 255
    Image.fromarray(photo).save("a.png")
    Image.fromarray(mask).save("mask.png")
    Image.fromarray(np.dstack([photo, 255 - mask])).save("clear.png")
    expected = np.where(mask[..., None] > 0, 255, 255 - photo)
    asked(runs, "hole", "a.png", "--out", "b.png", "--mask", "mask.png")
    asked(runs, "hole", "clear.png", "--out", "c.png")
    assert (pixels_of("b.png") == expected).all() and (pixels_of("c.png") == expected).all()
    asked(runs, "hole", "a.png", "--out", "d.png", "--derive")
    middle = np.zeros((16, 20, 1), bool)
    middle[4:12, 5:15] = True
    assert (pixels_of("d.png") == np.where(middle, 255, 255 - photo)).all()
    assert "has no hole" in refused(capsys, runs, "hole", "a.png", "--out", "e.png", code=1)
    Image.fromarray(mask[:8]).save("mask.png")
    assert "20x16 pixels and its mask 20x8" in refused(capsys, runs, "hole", "a.png", "--out", "e.png", "--mask", "mask.png", code=1)


# --- films and streams ----------------------------------------------------------------------------------------------------------------


def test_an_animation_keeps_frames_size_and_times(runs, tmp_path):
    frames = [np.full((9, 14, 3), level, np.uint8) for level in (0, 60, 120, 250)]
    Image.fromarray(frames[0]).save("a.gif", save_all=True, append_images=[Image.fromarray(each) for each in frames[1:]], duration=[50, 90, 70, 200], loop=3)
    asked(runs, "grey", "a.gif", "--out", "b.gif")
    with Image.open("b.gif") as made:
        assert made.n_frames == 4 and made.size == (14, 9) and made.info["loop"] == 3
        for number, (duration, frame) in enumerate(zip([50, 90, 70, 200], frames, strict=True)):
            made.seek(number)
            assert made.info["duration"] == duration and (np.asarray(made.convert("RGB")) == 255 - frame).all()


def test_a_film_keeps_frames_size_and_rate_and_an_odd_size(runs, tmp_path):
    av = pytest.importorskip("av")
    with av.open("a.mkv", "w") as out:
        stream = out.add_stream("ffv1", rate=12)
        stream.width, stream.height, stream.pix_fmt = 34, 21, "yuv444p"
        for level in (20, 90, 160, 230, 60):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((21, 34, 3), level, np.uint8), format="rgb24")))
        out.mux(stream.encode())
    asked(runs, "grey", "a.mkv", "--out", "b.mp4")
    with av.open("b.mp4") as made:
        seen = [(frame.to_ndarray(format="rgb24"), frame.time) for frame in made.decode(video=0)]
        assert float(made.streams.video[0].average_rate) == pytest.approx(12, rel=0.01)
    assert [frame.shape for frame, _ in seen] == [(21, 34, 3)] * 5
    assert all(abs(frame.mean() - 255 + level) < 4 for (frame, _), level in zip(seen, (20, 90, 160, 230, 60), strict=True))
    np.testing.assert_allclose([at for _, at in seen], np.arange(5) / 12, atol=0.002)


def test_a_film_without_frames_is_refused_by_name(runs, tmp_path, capsys, monkeypatch):
    av = pytest.importorskip("av")
    with av.open("d.avi", "w") as out:
        stream = out.add_stream("mpeg4", rate=12)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        out.start_encoding()
    assert "d.avi cannot be read as a film: it has no frames" in refused(capsys, runs, "grey", "d.avi", "--out", "b.mp4")
    (tmp_path / "a.mp4").write_bytes(b"")
    assert "a.mp4 cannot be read as a film" in refused(capsys, runs, "grey", "a.mp4", "--out", "b.mp4")
    (tmp_path / "c.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(300))
    assert "c.mp4 cannot be read as a film" in refused(capsys, runs, "grey", "c.mp4", "--out", "b.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "c.mp4", "d.avi"]
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(Unavailable, match="pip install av"), films.opened(tmp_path / "a.mp4"):
        pass


def test_an_interruption_leaves_no_half_file(tmp_path):
    def frames():
        for number in range(3):
            yield np.full((16, 16, 3), number, np.uint8), number / 10
        assert name != "a.avi" or list(tmp_path.iterdir())  # half a film lies there now
        raise KeyboardInterrupt

    for name in ("a.gif", "a.avi"):
        with pytest.raises(KeyboardInterrupt):
            films.write(tmp_path / name, frames(), films.Film(iter(()), films.Fraction(10), 0))
        assert not list(tmp_path.iterdir())


def piped(monkeypatch, runs, data, *argv, code=0):
    """What the command writes to stdout for these bytes on stdin."""
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    monkeypatch.setattr(sys, "stdout", out)
    asked(runs, "grey", "-", *argv, code=code)
    return out.buffer.getvalue()


@pytest.mark.parametrize(("form", "near"), [("PNG", 0), ("JPEG", 3)])
def test_a_stream_of_pictures_goes_through_frame_by_frame(runs, monkeypatch, form, near):
    levels, data = (0, 100, 255), io.BytesIO()
    for level in levels:
        Image.fromarray(np.full((10, 12, 3), level, np.uint8)).save(data, format=form)
    made = piped(monkeypatch, runs, data.getvalue())
    found = [np.asarray(Image.open(io.BytesIO(each))) for each in films.picture_files(io.BytesIO(made))]
    assert len(found) == 3 and all(each.shape == (10, 12, 3) and abs(each - (255.0 - level)).max() <= near for each, level in zip(found, levels, strict=True))


def test_a_stream_of_bare_pixels_and_one_that_is_cut_off(runs, monkeypatch, capsys):
    frames = noise(12, 8, 3).reshape(2, 6, 8, 3)
    made = piped(monkeypatch, runs, frames.tobytes() + b"half", "--size", "8x6")
    assert made == b"".join((255 - grey(frame)[..., None].repeat(3, 2)).astype(np.uint8).tobytes() for frame in frames)
    assert "ends within a frame" in capsys.readouterr().err
    assert piped(monkeypatch, runs, b"", code=1) == b"" and piped(monkeypatch, runs, b"GIF89a", code=1) == b""
    with pytest.raises(BadPicture, match="ends within"):
        list(films.picture_files(io.BytesIO(files.as_file(frames[0], ".jpg")[:-9])))


# --- what is refused, sheets ----------------------------------------------------------------------------------------------------------


def test_bad_requests_are_refused_before_anything_is_written(runs, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    Image.fromarray(noise(8, 8, 3)).save("in/a.png")
    for words, said in (
        (["nowhere.png", "--out", "x.png"], "no file or folder nowhere.png"),
        (["in/a.png"], "Expected --out"),
        (["in", "--out", "in/out"], "lies in in"),
        (["in", "--out", "in"], "lies in in"),
        (["in/a.png", "--out", "in/a.png"], "at once"),
        (["in/a.png", "--out", "x.xyz"], "cannot be written as"),
        (["in/a.png", "--out", "x.png", "--class", "3"], "no class"),
        (["in/a.png", "--out", "x.png", "--direction", "up"], "does not translate up"),
        (["in/a.png", "--out", "x.png", "--tilt", "3"], "cannot be asked for tilt"),
        (["in/a.png", "--out", "x.png", "--target", "in"], "--sheet"),
        (["in/a.png", "--out", "x.png", "--mask", "none.png"], "none.png"),
        (["-", "--size", "8"], "WIDTHxHEIGHT"),
    ):
        assert said in refused(capsys, runs, "grey", *words), words
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
    asked(runs, "grey", "in", "--out", "out")
    before = (tmp_path / "out" / "a.png").stat().st_mtime_ns
    assert "not replaced" in refused(capsys, runs, "grey", "in", "--out", "out")
    assert (tmp_path / "out" / "a.png").stat().st_mtime_ns == before
    asked(runs, "grey", "in", "--out", "out", "--overwrite")
    assert not [path for path in (tmp_path / "out").iterdir() if path.name != "a.png"]


def test_a_sheet_shows_input_output_and_target(runs, tmp_path, capsys):
    for folder in ("in", "target"):
        (tmp_path / folder).mkdir()
    for index, level in enumerate((10, 200)):
        Image.fromarray(np.full((8, 8, 3), level, np.uint8)).save(f"in/{index}.png")
    Image.fromarray(np.full((8, 8, 3), 77, np.uint8)).save("target/0.jpg", quality=100)
    asked(runs, "grey", "in", "--out", "out", "--sheet", "sheet.png", "--target", "target")
    sheet = pixels_of("sheet.png")
    assert sheet.shape[2] == 3 and {10, 245, 77, 200, 55} <= set(np.unique(sheet[..., 0]).tolist())
    assert "1.png has no target" in capsys.readouterr().err


def test_pictures_that_would_change_each_other_go_alone(runs):
    run = agon.load(runs / "grey", game=str(runs / "negative.py"))
    translator = Translator(run, Wishes())
    first, second = (translator.open(files.as_file(noise(8, 8, 3, seed=seed), ".png")).source for seed in (0, 1))
    assert translator.fits_together(first, second) and translator.batch_of(first) > 1
    coupled = Translator(run, Wishes())
    coupled.run = type("Coupled", (), {"translate": lambda self, source, **how: source - source.mean((0, 2, 3), keepdim=True)})()
    assert not coupled.fits_together(first, second)
