"""A folder of awkward pictures opens, and every converted pixel equals an independent decoder's within 2/255.

Oracles, by kind of file (Pillow never judges itself):

* PNG: ``png_decode`` of independent_codecs (RFC 2083), or the known samples where this file encoded them;
* JPEG: ``jpeg_decode`` of independent_codecs (T.81 baseline, chroma whole or halved); a progressive file is judged by its baseline twin, whose
  coefficients are the same;
* TIFF: tifffile writes, the known array and the format's own arithmetic judge;
* GIF, lossless WebP, BMP, PNM, JPEG 2000: lossless, so the known array judges; lossy WebP: a picture of one colour.
"""

from __future__ import annotations

import io
import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from independent_codecs import JpegDecoder, jpeg_decode, lab_to_srgb, over_white, png_decode, png_encode
from PIL import Image

import agon
from agon.data import open_dataset
from agon.data.pictures import BadPicture, decode, fit, read_header
from agon.errors import UserError

H, W = 24, 32
random = np.random.RandomState(7)
Y, X = np.mgrid[0:H, 0:W]
SMOOTH = np.stack([X * 255 // (W - 1), Y * 255 // (H - 1), (X + Y) * 255 // (W + H - 2)], axis=-1).astype(np.uint8)
NOISE = random.randint(0, 256, (H, W, 3), dtype=np.uint8)
GREY = SMOOTH[..., 2]
GREY16 = (X * 2000 + Y * 150 + 7).astype(np.uint16)
ALPHA = (X * 255 // (W - 1)).astype(np.uint8)
PALETTE = random.randint(0, 256, (16, 3)).astype(np.uint8)
INDEX = ((X // 2 + Y // 3) % 16).astype(np.uint8)


def saved(picture: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def tiff(array: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(np.asarray(grey, float)[..., None], 3, axis=-1)


def jpeg(array: np.ndarray, mode: str | None = None, **options: object) -> bytes:
    return saved(Image.fromarray(array, mode) if mode else Image.fromarray(array), "JPEG", quality=90, subsampling=0, **options)


def orientation_exif(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


def turn(array: np.ndarray, orientation: int) -> np.ndarray:
    """What a viewer shows for an EXIF orientation (Exif 2.3, table of tag 274): where the stored row 0 and column 0 belong."""
    return {1: array, 2: array[:, ::-1], 3: array[::-1, ::-1], 4: array[::-1], 5: array.swapaxes(0, 1), 6: array[::-1].swapaxes(0, 1),
            7: array[::-1, ::-1].swapaxes(0, 1), 8: array[:, ::-1].swapaxes(0, 1)}[orientation]


def twelve_bit_tiff() -> tuple[bytes, np.ndarray]:
    """A TIFF by hand: one strip, 12 bits a sample, two samples in three bytes. tifffile cannot pack 12 bits without a plug-in."""
    values = (X * 130 + Y).astype(int)
    a, b = values[:, 0::2], values[:, 1::2]
    strip = np.stack([a >> 4, (a & 15) << 4 | b >> 8, b & 255], axis=-1).astype(np.uint8).tobytes()
    tags = [(256, 3, W), (257, 3, H), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (278, 3, H), (279, 4, len(strip))]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag[:2], 1, tag[2]) for tag in tags) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + directory, rgb(values / 4095 * 255)


def jpegs() -> dict[str, tuple[bytes, np.ndarray]]:
    base, cmyk = jpeg(SMOOTH), jpeg(np.dstack([SMOOTH, 255 - GREY // 2]), "CMYK")
    mark = cmyk.index(b"Adobe")
    blocks = Image.fromarray(PALETTE[INDEX])  # edges in colour: what tells one way of enlarging the chroma from another
    whole, half, quarter = (saved(blocks, "JPEG", quality=90, subsampling=kind) for kind in (0, 1, 2))
    ycck = cmyk[:mark + 11] + b"\2" + cmyk[mark + 12:]  # the same four planes, declared as YCCK
    return {
        "baseline.jpg": (base, jpeg_decode(base)),
        "progressive.jpg": (jpeg(SMOOTH, progressive=True), jpeg_decode(base)),
        "colour edges.jpg": (whole, jpeg_decode(whole)),
        "chroma 4 2 2.jpg": (half, jpeg_decode(half)),
        "chroma 4 2 0.jpg": (quarter, jpeg_decode(quarter)),
        "progressive 4 2 0.jpg": (saved(blocks, "JPEG", quality=90, subsampling=2, progressive=True), jpeg_decode(quarter)),
        "grey.jpg": (jpeg(GREY), jpeg_decode(jpeg(GREY))),
        "cmyk adobe.jpg": (cmyk, jpeg_decode(cmyk)),
        "ycck.jpg": (ycck, jpeg_decode(ycck)),
        "broken exif.jpg": (jpeg(SMOOTH, exif=b"Exif\0\0garbage"), jpeg_decode(base)),
        "UPPER.JPEG": (base, jpeg_decode(base)),
        "jpeg called.png": (base, jpeg_decode(base)),
    }


def pngs() -> dict[str, tuple[bytes, np.ndarray]]:
    def own(samples: np.ndarray, kind: int, depth: int, **options: object) -> tuple[bytes, np.ndarray]:
        samples = samples if samples.ndim == 3 else samples[..., None]
        data = png_encode(samples, kind, depth, **options)
        twin = png_encode(samples, kind, depth, **{key: value for key, value in options.items() if key != "interlaced"})
        return data, over_white(png_decode(twin))

    key16 = struct.pack(">H", int(GREY16[3, 5]))
    palette_rgba = saved(_palette_picture(), "PNG", transparency=bytes(range(0, 256, 16)))
    filtered = saved(Image.fromarray(NOISE // 64 + SMOOTH // 2), "PNG")
    colour16 = np.dstack([GREY16, GREY16[::-1], GREY16[:, ::-1]])
    return {
        "filtered.png": (filtered, over_white(png_decode(filtered))),
        "interlaced.png": own(SMOOTH, 2, 8, interlaced=True),
        "grey 1 bit.png": own((X + Y) % 2, 0, 1),
        "grey 2 bit.png": own((X + Y) % 4, 0, 2),
        "grey 4 bit.png": own((X + Y) % 16, 0, 4),
        "grey 16 bit.png": own(GREY16, 0, 16),
        "grey 16 bit interlaced.png": own(GREY16, 0, 16, interlaced=True),
        "grey key.png": own(GREY // 16 * 16, 0, 8, trns=struct.pack(">H", 128)),
        "grey 16 bit key.png": own(GREY16, 0, 16, trns=key16),
        "colour 16 bit.png": own(colour16, 2, 16),
        "colour key.png": own(SMOOTH, 2, 8, trns=struct.pack(">HHH", *SMOOTH[4, 4].tolist())),
        "colour 16 bit key.png": own(colour16, 2, 16, trns=struct.pack(">HHH", *colour16[4, 4].tolist())),
        "palette.png": own(INDEX, 3, 8, palette=PALETTE),
        "palette 4 bit.png": own(INDEX, 3, 4, palette=PALETTE),
        "palette alpha.png": (palette_rgba, over_white(png_decode(palette_rgba))),
        "grey alpha.png": own(np.dstack([GREY, ALPHA]), 4, 8),
        "grey alpha 16 bit.png": own(np.dstack([GREY16, ALPHA.astype(int) * 257]), 4, 16),
        "alpha.png": own(np.dstack([SMOOTH, ALPHA]), 6, 8),
        "alpha 16 bit.png": own(np.dstack([colour16, ALPHA.astype(int) * 257]), 6, 16),
    }


def _palette_picture() -> Image.Image:
    picture = Image.fromarray(INDEX)
    picture.putpalette(PALETTE.tobytes())
    return picture


def tiffs() -> dict[str, tuple[bytes, np.ndarray]]:
    lab = np.stack([X * 60 // W + 30, Y - H // 2, (X - W // 2) // 2], axis=-1)  # mild colours: inside sRGB
    stored = np.dstack([np.rint(lab[..., 0] * 2.55), lab[..., 1] & 255, lab[..., 2] & 255]).astype(np.uint8)
    cmyk = np.dstack([SMOOTH, GREY // 2]).astype(np.uint8)
    floats = (GREY / 255.0).astype(np.float32)
    table = np.zeros((3, 256), np.uint16)
    table[:, :16] = PALETTE.T.astype(np.uint16) * 257
    checks, see_through = (X + Y) % 3 == 0, np.dstack([SMOOTH, ALPHA])
    premultiplied = np.dstack([np.rint(SMOOTH * (ALPHA[..., None] / 255.0)), ALPHA]).astype(np.uint8)
    return {
        "colour.tiff": (tiff(SMOOTH, photometric="rgb"), SMOOTH),
        "colour 16 bit.tif": (tiff(np.dstack([GREY16] * 3), photometric="rgb"), rgb(GREY16 / 257)),
        "grey 16 bit.tif": (tiff(GREY16), rgb(GREY16 / 257)),
        "grey 16 bit big-endian.tif": (tiff(GREY16.astype(">u2"), byteorder=">"), rgb(GREY16 / 257)),
        "grey 16 bit white is zero.tif": (tiff(GREY16, photometric="miniswhite"), rgb(255 - GREY16 / 257)),
        "grey 8 bit white is zero.tif": (tiff(GREY, photometric="miniswhite"), rgb(255 - GREY.astype(float))),
        "grey 12 bit.tif": twelve_bit_tiff(),
        "grey 32 bit.tif": (tiff(GREY16.astype(np.int32)), rgb(GREY16 / 257)),
        "float.tif": (tiff(floats), rgb(floats * 255)),
        "lab.tif": (tiff(stored, photometric="cielab"), lab_to_srgb(np.dstack([stored[..., 0] / 2.55, lab[..., 1:]]))),
        "cmyk.tif": (tiff(cmyk, photometric="separated"), (255.0 - cmyk[..., :3]) * (255.0 - cmyk[..., 3:]) / 255),
        "turned.tif": (tiff(turn(SMOOTH, 8), photometric="rgb", extratags=[(274, "H", 1, 6)]), SMOOTH),
        "deflated.tif": (tiff(SMOOTH, photometric="rgb", compression="zlib"), SMOOTH),
        "lzw.tif": (saved(Image.fromarray(SMOOTH), "TIFF", compression="tiff_lzw"), SMOOTH),
        "tiles.tif": (tiff(SMOOTH, photometric="rgb", tile=(16, 16)), SMOOTH),
        "planes.tif": (tiff(np.ascontiguousarray(SMOOTH.transpose(2, 0, 1)), photometric="rgb", planarconfig="separate"), SMOOTH),
        "palette.tif": (tiff(INDEX, photometric="palette", colormap=table), PALETTE[INDEX]),
        "1 bit.tif": (tiff(checks, photometric="minisblack"), rgb(checks * 255)),
        "1 bit white is zero.tif": (tiff(checks, photometric="miniswhite"), rgb(~checks * 255)),
        "alpha.tif": (tiff(see_through, photometric="rgb", extrasamples=["unassalpha"]), over_white(see_through.astype(float))),
        "premultiplied.tif": (tiff(premultiplied, photometric="rgb", extrasamples=["assocalpha"]), over_white(see_through.astype(float))),
        "pages.tif": (tiff(np.stack([SMOOTH, NOISE]), photometric="rgb"), SMOOTH),
    }


def others() -> dict[str, tuple[bytes, np.ndarray]]:
    index_picture, noise = _palette_picture(), Image.fromarray(NOISE)
    see_through = np.dstack([SMOOTH, np.where(X > 9, 255, 0).astype(np.uint8)])
    flat = np.full((H, W, 3), (200, 120, 60), np.uint8)
    shown = PALETTE[INDEX].astype(float)
    rgb565 = SMOOTH.astype(int) >> (3, 2, 3)
    words = (rgb565 @ (1 << 11, 1 << 5, 1)).astype("<u2").tobytes()
    fields = struct.pack("<IiiHHIIiiIIIII", 40, W, -H, 1, 16, 3, len(words), 0, 0, 0, 0, 0xF800, 0x07E0, 0x001F)  # top-down, bit fields
    upside = saved(Image.fromarray(np.ascontiguousarray(turn(SMOOTH, 8))), "WEBP", lossless=True, exif=orientation_exif(6))
    pgm = (GREY16.astype(int) * 1000 // 65535).astype(">u2")
    return {
        "animated.gif": (saved(index_picture, "GIF", save_all=True, append_images=[Image.fromarray(255 - INDEX)]), shown),
        "key.gif": (saved(index_picture, "GIF", transparency=3), np.where((INDEX == 3)[..., None], 255.0, shown)),
        "alpha.webp": (saved(Image.fromarray(see_through), "WEBP", lossless=True), over_white(see_through.astype(float))),
        "animated.webp": (saved(Image.fromarray(SMOOTH), "WEBP", lossless=True, save_all=True, append_images=[noise]), SMOOTH),
        "lossy.webp": (saved(Image.fromarray(flat), "WEBP", quality=95), flat),
        "animated.apng": (saved(Image.fromarray(SMOOTH), "PNG", save_all=True, append_images=[noise], default_image=False), SMOOTH),
        "orientation 6.webp": (upside, SMOOTH),
        "1 bit.bmp": (saved(Image.fromarray((X + Y) % 3 == 0), "BMP"), rgb(((X + Y) % 3 == 0) * 255)),
        "16 bit top-down.bmp": (b"BM" + struct.pack("<IHHI", 66 + len(words), 0, 0, 66) + fields + words, rgb565 * 255 / (31, 63, 31)),
        "palette.bmp": (saved(index_picture, "BMP"), shown),
        "deep.pgm": (f"P5 {W} {H} 1000\n".encode() + pgm.tobytes(), rgb(pgm / 1000 * 255)),
        "words.ppm": (f"P3 {W} {H} 255\n{' '.join(map(str, SMOOTH.ravel()))}\n".encode(), SMOOTH),
        "lossless.jp2": (saved(Image.fromarray(SMOOTH), "JPEG2000", irreversible=False), SMOOTH),
        "Grüße aus 北京 (1).bmp": (saved(Image.fromarray(SMOOTH), "BMP"), SMOOTH),
    }


def turned() -> dict[str, tuple[bytes, np.ndarray]]:
    """The stored array is turned so that every upright picture has H x W; the JPEG's oracle turns its own decoder's pixels."""
    back = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
    cases = {}
    for value in range(2, 9):
        data = jpeg(np.ascontiguousarray(turn(SMOOTH, back[value])), exif=orientation_exif(value))
        cases[f"orientation {value}.jpg"] = data, turn(jpeg_decode(data), value)
    png = saved(Image.fromarray(np.ascontiguousarray(turn(SMOOTH, 8))), "PNG", exif=orientation_exif(6))
    cases["orientation 6.png"] = png, turn(over_white(png_decode(png)), 6)
    return cases


GOOD = {**jpegs(), **pngs(), **tiffs(), **others(), **turned()}


def bad() -> dict[str, tuple[bytes, str]]:
    """File -> (content, a word of the reason that the user must read)."""
    whole = saved(Image.fromarray(NOISE), "JPEG")
    png = saved(Image.fromarray(NOISE), "PNG")
    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + png[33:]
    return {
        "cut.jpg": (whole[:len(whole) // 2], "cut off"),
        "cut.png": (png[:len(png) // 2], "cut off"),
        "empty.png": (b"", "0 bytes"),
        "text.jpg": (b"<html>404 not found</html>", "not a picture"),
        "bomb.png": (bomb, "pixels"),
        "phone.HEIC": (b"....ftypheic", "HEIC".lower()),
        "heat.tif": (tiff(np.linspace(-40, 900, H * W, dtype=np.float32).reshape(H, W)), "float"),
        "deep planes.tif": (tiff(np.stack([GREY16] * 3), photometric="rgb", planarconfig="separate"), "own plane"),
        "double.tif": (tiff(GREY / 255.0), "TIFF of a kind"),
        "text.png": (b"These are words.\n", "not a picture"),
        "depth.tif": (tiff(GREY16.astype(np.int32) * 1000), "integers"),
    }


def write(folder: Path, contents: dict[str, tuple]) -> None:
    for name, (data, *_) in contents.items():
        folder.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        folder.joinpath(name).write_bytes(data)


def as_bytes(real: object) -> np.ndarray:
    """(N, C, H, W) in [-1, 1] -> (N, H, W, C) in 0..255."""
    return (real.numpy() + 1).transpose(0, 2, 3, 1) * 127.5


def test_there_are_thirty_kinds() -> None:
    assert len(GOOD) >= 30


@pytest.mark.parametrize("name", GOOD)
def test_pixels_equal_an_independent_decoder(name: str) -> None:
    data, expected = GOOD[name]
    assert np.ptp(expected) > 60 or name == "lossy.webp", "an oracle that is nearly flat would prove nothing"
    pixels = decode(data, 3).transpose(1, 2, 0).astype(float)
    assert pixels.shape == (H, W, 3)
    assert np.abs(pixels - expected).max() <= 2
    header = read_header(data)
    assert (header.height, header.width) == (H, W)


def test_the_folder_opens_with_the_same_pixels_and_names_every_bad_file(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    write(folder, GOOD)
    write(folder, bad())
    os.symlink("nowhere.png", folder / "broken link.png")
    os.mkfifo(folder / "pipe.png")
    write(folder, {"readme.txt": (b"no picture",), ".hidden.png": (b"x",), "__MACOSX/._a.png": (b"x",)})
    os.symlink(folder, folder / "loop")
    source = open_dataset(folder, cache_dir=tmp_path / "cache", max_bad=0.5)
    assert source.files == sorted(GOOD) and source.spec.shape == (3, H, W) and source.spec.num_classes == 0
    shown = as_bytes(source.read(np.arange(len(source))).real)
    for pixels, name in zip(shown, source.files, strict=True):
        assert np.abs(pixels - GOOD[name][1]).max() <= 2.001, name
    skipped = {event["file"]: event["why"] for event in source.events if event["event"] == "skipped"}
    assert set(skipped) == {*bad(), "broken link.png", "pipe.png"}
    for name, (_, word) in bad().items():
        assert word in skipped[name].lower() or word in skipped[name], (name, skipped[name])


def test_too_many_bad_files_stop_the_run_and_name_the_first(tmp_path: Path) -> None:
    write(tmp_path / "f", dict(list(GOOD.items())[:12]))
    write(tmp_path / "f", dict(list(bad().items())[:1]))
    assert len(open_dataset(tmp_path / "f", size=16, cache_dir=tmp_path / "c")) == 12  # one beside ten good ones is put up with
    write(tmp_path / "f", bad())
    with pytest.raises(UserError, match=r"11 of 23 pictures .*bomb\.png has (40000x40000 pixels|more than)"):
        open_dataset(tmp_path / "f", size=16, cache_dir=tmp_path / "c")
    write(tmp_path / "only bad", bad())
    with pytest.raises(UserError, match="No picture could be read"):
        open_dataset(tmp_path / "only bad", cache_dir=tmp_path / "c")


def test_a_game_trains_on_them_and_its_run_names_every_bad_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way, at a size of its own: what the run folder says of the bad files, and pictures that learning did not choke on."""
    write(tmp_path / "f", GOOD)
    write(tmp_path / "f", bad())
    monkeypatch.setenv("AGON_CACHE", str(tmp_path / "cache"))
    run = agon.train("gan", data=tmp_path / "f", data_options={"size": 12, "max_bad": 0.5, "mirror": True}, preset="tiny", steps=4,
                     batch_size=16, out=tmp_path / "run", device="cpu", seed=0)
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    skipped = {event["file"]: event["why"] for event in events if event["event"] == "skipped"}
    assert set(skipped) == set(bad()) and all(word.lower() in skipped[name].lower() for name, (_, word) in bad().items())
    samples = run.sample(3, seed=0)
    assert samples.shape == (3, 3, 12, 12) and bool(samples.isfinite().all())


ODD = [(1, 1), (1, 9), (9, 1), (2, 3), (3, 700), (700, 3)]


@pytest.mark.parametrize("shape", ODD)
@pytest.mark.parametrize("form", ["png", "interlaced", "jpeg", "webp", "bmp", "gif", "tiff"])
def test_odd_sizes_keep_their_pixels(shape: tuple[int, int], form: str) -> None:
    y, x = np.mgrid[0:shape[0], 0:shape[1]]
    array = np.stack([(x * 37 + y * 11) % 256, (y * 53) % 256, (x + 2 * y) % 256], axis=-1).astype(np.uint8)
    grey, picture = array[..., 0], Image.fromarray(array)
    data, expected = {
        "png": lambda: (png_encode(array, 2, 8), array), "interlaced": lambda: (png_encode(array, 2, 8, interlaced=True), array),
        "jpeg": lambda: (data := saved(picture, "JPEG", subsampling=0), jpeg_decode(data)), "webp": lambda: (saved(picture, "WEBP", lossless=True), array),
        "bmp": lambda: (saved(picture, "BMP"), array), "gif": lambda: (saved(Image.fromarray(grey), "GIF"), rgb(grey)),
        "tiff": lambda: (tiff(array, photometric="rgb"), array),
    }[form]()
    pixels = decode(data, 3).transpose(1, 2, 0)
    assert pixels.shape == (*shape, 3) and np.abs(pixels.astype(float) - expected).max() <= 2


def test_every_size_can_be_brought_to_every_other() -> None:
    """Rounding must not push the box that is cut out over the picture's edge; one colour stays that colour."""
    for have in [(side, other) for side in (1, 2, 3, 49, 93, 98, 103, 1001, 65535) for other in (1, 7, 100)]:
        for wanted in range(1, 120, 3):
            for size in ((wanted, wanted), (1, wanted), (wanted, 5)):
                for shape in (have, have[::-1]):
                    got = fit(Image.new("L", shape, 77), size)
                    assert got.size == size[::-1] and got.getextrema() == (77, 77), (have, size)


def test_four_channels_keep_alpha_and_one_channel_is_luma() -> None:
    rgba = np.dstack([SMOOTH, ALPHA])
    data = png_encode(rgba, 6, 8)
    assert np.array_equal(decode(data, 4).transpose(1, 2, 0), rgba)
    assert (decode(jpeg(SMOOTH), 4)[3] == 255).all()
    grey16 = decode(png_encode(GREY16[..., None], 0, 16), 1)
    assert grey16.shape == (1, H, W) and np.abs(grey16[0] - GREY16 / 257).max() <= 0.51
    luma = SMOOTH @ np.array([0.299, 0.587, 0.114])
    assert np.abs(decode(png_encode(SMOOTH, 2, 8), 1)[0] - luma).max() <= 1


def test_alpha_does_not_bleed_when_resized() -> None:
    """Invisible red beside opaque blue: without premultiplying, the edge of a smaller picture turns purple."""
    rgba = np.zeros((32, 32, 4), np.uint8)
    rgba[:, :15], rgba[:, 15:] = (255, 0, 0, 0), (0, 0, 255, 255)
    small = decode(png_encode(rgba, 6, 8), 4, (8, 8))
    visible = small[3] > 8
    assert visible.any() and small[0][visible].max() <= 3 and small[2][visible].min() >= 250


@pytest.mark.parametrize("size", [(24, 24), (12, 16), (16, 8), (48, 64)])
def test_resizing_covers_and_cuts_the_middle(size: tuple[int, int]) -> None:
    """A linear ramp stays linear under antialiased resampling: at output pixel centre i the value is that of the source at its place."""
    ramp = X * 6.0 + Y * 2.0
    data = png_encode(np.rint(ramp).astype(np.uint8)[..., None], 0, 8)
    height, width = size
    scale = min(W / width, H / height)
    at_x = (W - scale * width) / 2 + (np.arange(width) + 0.5) * scale - 0.5
    at_y = (H - scale * height) / 2 + (np.arange(height) + 0.5) * scale - 0.5
    expected = at_x[None] * 6.0 + at_y[:, None] * 2.0
    got = decode(data, 1, size)[0].astype(float)
    inside = (slice(height // 6, -height // 6), slice(width // 6, -width // 6))  # a window that hangs over the edge is one-sided
    assert got.shape == size and np.abs(got - expected)[inside].max() <= 1.5


def test_a_large_jpeg_is_reduced_alike_by_the_fast_path() -> None:
    """The decoder's own reduction by 2, 4, 8 against block means of the independently known smooth source."""
    y, x = np.mgrid[0:512, 0:512]
    big = np.stack([x // 2, y // 2, (x + y) // 4], axis=-1).astype(np.uint8)
    got = decode(jpeg(big), 3, (16, 16)).transpose(1, 2, 0).astype(float)
    means = big.reshape(16, 32, 16, 32, 3).mean(axis=(1, 3))
    assert np.abs(got - means)[1:-1, 1:-1].max() <= 2


def test_the_test_decoders_agree_with_their_sources() -> None:
    """The oracles themselves: lossless round trip for PNG, closeness to the source for JPEG at quality 90."""
    assert np.array_equal(png_decode(png_encode(np.dstack([SMOOTH, ALPHA]), 6, 8)), np.dstack([SMOOTH, ALPHA]))
    assert np.abs(jpeg_decode(jpeg(SMOOTH)) - SMOOTH).mean() < 2
    assert JpegDecoder(jpegs()["ycck.jpg"][0]).adobe == 2


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("damage", range(12))
def test_damaged_files_are_refused_or_decoded_but_never_crash(damage: int) -> None:
    state = np.random.RandomState(damage)
    for data, _ in GOOD.values():
        broken = bytearray(data)
        for position in state.randint(0, len(data), 5):
            broken[position] = state.randint(256)
        try:
            pixels = decode(bytes(broken), 3, (8, 8))
        except BadPicture as error:
            assert "\n" not in str(error)
        else:
            assert pixels.shape == (3, 8, 8) and pixels.dtype == np.uint8
