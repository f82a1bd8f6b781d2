"""One picture file -> pixels, with its colours kept: no torch here, ``agon data check`` uses this too.

What a reader that only calls ``convert("RGB")`` gets wrong, and what happens here instead:

==============================  =====================================================================================
EXIF (or TIFF) orientation      applied: pictures stand upright
palette, also with transparency colours, not indices
alpha (RGBA, LA, tRNS)          laid over white; kept where 4 channels are asked for
16-bit grey (I;16, I)           divided by 257, not clipped to white; 12-bit TIFF by 4095 / 255; white-is-zero inverted
32-bit integer                  taken as 16-bit when all values fit into 0..65535, refused otherwise
float TIFF                      accepted when all values lie in [0, 1], refused otherwise
CMYK and YCCK JPEG              Adobe polarity (as all common readers assume), then R = (255 - C)(255 - K) / 255
CIE L*a*b* TIFF                 converted to sRGB (D50)
16-bit TIFF in colour planes    refused: Pillow would mix the planes up
animated GIF, WebP, APNG        first frame; multi-page TIFF: first page
truncated files                 refused, never half grey
more than 89,478,485 pixels     refused before decoding (the size at which Pillow suspects a decompression bomb)
==============================  =====================================================================================

Colour profiles and gamma are not applied: values are taken as sRGB. 16-bit colour is reduced to its high byte by Pillow (an error of
less than 1/255).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

RULES = 2  # part of every cache key: raise it when any pixel changes
MAX_PIXELS = 89_478_485
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "DIB", "PPM", "AVIF", "JPEG2000", "TGA", "QOI")
EXTENSIONS = frozenset((
    "jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "tif", "tiff", "gif", "bmp", "dib", "pbm", "pgm", "ppm", "pnm",
    "avif", "jp2", "j2k", "tga", "qoi"))
# Pictures that we cannot read: they count as bad files, because silently leaving them out would change the data set.
UNREADABLE = frozenset((
    "heic", "heif", "jxl", "psd", "svg", "dng", "cr2", "cr3", "nef", "arw", "orf", "raf", "rw2", "exr", "hdr"))
GREY_MODES = ("1", "L", "LA", "La", "I", "F")
WHITE = (255, 255, 255, 255)


class BadPicture(ValueError):
    """A file that cannot be made into pixels; the message says why in words for the user."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself before its pixels are decoded. ``height`` and ``width`` are those of the upright picture."""

    height: int
    width: int
    grey: bool
    mode: str
    format: str


def read_header(data: bytes) -> Header:
    """The header of a picture file. Raises BadPicture."""
    with _opened(data) as image:
        width, height = image.size
        if _turned(image):
            width, height = height, width
        return Header(height, width, _is_grey(image, data), image.mode, image.format or "")


def decode(data: bytes, channels: int, size: tuple[int, int] | None = None) -> np.ndarray:
    """A picture file -> (channels, H, W) uint8; ``channels`` is 1, 3 or 4.

    ``size`` = (height, width): the picture is scaled, aspect kept, until it covers the size, and the middle is cut out; Lanczos with
    the support of the smaller picture (antialiased). A picture of that size already keeps its exact pixels. Raises BadPicture.
    """
    with _opened(data) as image:
        if size is not None and image.format in ("JPEG", "MPO"):  # MPO: what phones write, a JPEG with more pictures behind it
            _draft(image, size)
        try:
            upright = _upright(image)
            pixels = np.asarray(fit(_in_channels(plain(upright, image), channels), size))
        except BadPicture:
            raise
        except MemoryError as error:
            raise BadPicture(f"does not fit into memory ({image.size[0]}x{image.size[1]} pixels)") from error
        except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ... on damaged data
            raise BadPicture(_reason(error)) from error
    return np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))


def fit(image: Image.Image, size: tuple[int, int] | None) -> Image.Image:
    """Scale to cover ``size`` = (height, width) and cut out the middle, in one resampling. Alpha is premultiplied meanwhile (Pillow)."""
    from PIL import Image

    if size is None or image.size == size[::-1]:
        return image
    (height, width), (have_width, have_height) = size, image.size
    scale = min(have_width / width, have_height / height)
    # max: rounding may leave -1e-12 here, which Pillow refuses
    left, top = max(0.0, (have_width - scale * width) / 2), max(0.0, (have_height - scale * height) / 2)
    box = (left, top, min(left + scale * width, have_width), min(top + scale * height, have_height))
    # reducing_gap: above a 6-fold reduction, average whole blocks first (up to 3 times the target), which is several times faster.
    return image.resize((width, height), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)


def _opened(data: bytes) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise BadPicture("is empty (0 bytes)")
    try:
        image = Image.open(io.BytesIO(data), formats=readable_formats())
    except UnidentifiedImageError as error:
        if data[:4] in (b"II*\0", b"MM\0*"):
            raise BadPicture("is a TIFF of a kind that cannot be read: save it with 8 or 16 bits a sample") from error
        raise BadPicture(f"is not a picture in a format that can be read (it begins with {data[:8]!r})") from error
    except Image.DecompressionBombError as error:
        raise BadPicture(f"has more than {MAX_PIXELS:,} pixels: make it smaller") from error
    except Exception as error:
        raise BadPicture(_reason(error)) from error
    if _planar16(image):
        raise BadPicture("is a TIFF with 16 bits a sample and each colour on its own plane: save it with the colours interleaved")
    if image.size[0] * image.size[1] > MAX_PIXELS:
        raise BadPicture(f"has {image.size[0]}x{image.size[1]} pixels, more than {MAX_PIXELS:,}: make it smaller")
    return image


def _planar16(image: Image.Image) -> bool:
    """Pillow takes the 16-bit planes of such a TIFF for 8-bit ones: wrong colours without a word."""
    tags = getattr(image, "tag_v2", {})
    return tags.get(284) == 2 and len(tags.get(258, ())) > 1 and max(tags[258]) > 8  # PlanarConfiguration, BitsPerSample


@cache
def readable_formats() -> tuple[str, ...]:
    """Those of FORMATS that this Pillow has (AVIF came with 11.3), its plugins loaded. EPS and the like, which run programs, never."""
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "truncated" in text.lower() or "broken data stream" in text.lower():
        return f"is cut off or damaged ({text})"
    return f"cannot be decoded ({text or type(error).__name__})"


def _turned(image: Image.Image) -> bool:
    """Does standing upright swap width and height? Pillow swaps those of a TIFF by itself."""
    try:
        return image.format != "TIFF" and image.getexif().get(0x0112) in (5, 6, 7, 8)
    except Exception:
        return False


def _upright(image: Image.Image) -> Image.Image:
    from PIL import ImageOps

    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # EXIF that cannot be parsed says nothing about the pixels, which are fine
        return image


def _is_grey(image: Image.Image, data: bytes) -> bool:
    if image.format == "PNG" and len(data) > 25 and data[25] in (0, 4):  # the colour type in IHDR: Pillow opens 16-bit LA as RGBA
        return True
    if image.mode == "P" and image.palette is not None:
        palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in GREY_MODES or image.mode.startswith("I;16")


def _draft(image: Image.Image, size: tuple[int, int]) -> None:
    """Let the JPEG decoder reduce by 2, 4 or 8 itself where at least twice the wanted size remains: several times faster on photographs."""
    height, width = size[::-1] if _turned(image) else size
    scale = max(width / image.size[0], height / image.size[1])
    if scale <= 0.25:
        image.draft(None, (int(image.size[0] * scale * 2) + 1, int(image.size[1] * scale * 2) + 1))  # type: ignore[arg-type]


def plain(image: Image.Image, opened: Image.Image) -> Image.Image:
    """Any mode -> L, RGB or RGBA (with alpha where the file has some). ``opened`` still has the file's tags. Raises BadPicture."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _from_numbers(image, opened)
    if image.mode == "LAB":
        return _from_lab(image)
    if "transparency" in opened.info and image.mode in ("1", "L", "P", "RGB"):
        return _from_keyed(image, opened)
    if image.mode in ("LA", "La", "PA", "RGBa", "RGBA"):
        return image if image.mode == "RGBA" else image.convert("LA" if image.mode == "La" else image.mode).convert("RGBA")
    if image.mode in ("1", "L"):
        return image.convert("L")
    return image.convert("RGB")  # P, RGB, RGBX, CMYK, YCbCr, HSV


def _from_keyed(image: Image.Image, opened: Image.Image) -> Image.Image:
    """A colour key or a palette with alphas. 16-bit colour keys are given in 16 bits and must be brought to the 8 that Pillow decoded."""
    key = opened.info["transparency"]
    if image.mode == "RGB" and isinstance(key, tuple) and max(key) > 255:
        image = image.copy()
        image.info["transparency"] = tuple(part >> 8 for part in key)
    else:
        image.info.setdefault("transparency", key)
    return image.convert("RGBA")


def _from_numbers(image: Image.Image, opened: Image.Image) -> Image.Image:
    """16-bit, 32-bit and float grey -> L (or RGBA where a grey value is declared transparent)."""
    from PIL import Image

    values = np.asarray(image)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    tags = getattr(opened, "tag_v2", {})
    if image.mode == "F":
        if not (low >= 0.0 and high <= 1.0):
            raise BadPicture(f"holds float values from {low:g} to {high:g}; only 0 to 1 has one meaning as a picture: convert it to 8 or 16 bits")
        grey = values.astype(np.float64) * 255.0
    else:
        if low < 0 or high > 65535:
            raise BadPicture(f"holds integers from {low:.0f} to {high:.0f}; 0 to 65535 is expected: convert it to 8 or 16 bits")
        full = 4095.0 if tags.get(258) in (12, (12,)) else 65535.0  # BitsPerSample; Pillow hands 12 bits out unscaled
        grey = values.astype(np.float64) * (255.0 / full)
    if tags.get(262) == 0:  # PhotometricInterpretation: white is zero; Pillow inverts 8 bits and not these
        grey = 255.0 - grey
    picture = Image.fromarray(np.rint(grey).astype(np.uint8))
    key = opened.info.get("transparency")
    if isinstance(key, int):
        picture = picture.convert("RGBA")
        picture.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    return picture


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    return ImageCms.profileToProfile(image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB",
                                     flags=0x0100)  # cmsFLAGS_NOOPTIMIZE: the optimised path is off by 2 levels


def _in_channels(image: Image.Image, channels: int) -> Image.Image:
    """L, RGB or RGBA -> L (luma of ITU-R 601-2), RGB, or RGBA."""
    from PIL import Image

    if image.mode == "RGBA" and channels != 4:
        image = Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image).convert("RGB")
    wanted = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    return image if image.mode == wanted else image.convert(wanted)
