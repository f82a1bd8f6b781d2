"""Label maps from files: each pixel a class.

==============================  =====================================================================================
indexed PNG (or GIF)            the index is the class; the file's palette gives the colours to show it in
grey, 1 to 16 bits              the value is the class (2- and 4-bit PNG too, which readers stretch); only 0 and 255: two classes
colour, and any with a palette  matched to the colours of a palette file, alpha ignored; exact, but in a JPEG the nearest
other sizes                     scaled to cover, middle cut out, as pictures are (agon/data/pictures.py), each pixel the nearest: no class is made up
EXIF orientation                applied
==============================  =====================================================================================

A palette is a JSON file {"sky": "#4682b4", "road": [128, 64, 128], ...}, in the order of the classes, or {"sky": 23, "road": 7} where files hold other numbers;
``palette.json`` in the folder is found by itself. What is no class (255, which many sets give to what nobody labelled, a number beyond ``classes``, a colour
that the palette lacks) is named and counted: ``unknown`` says whether it is refused, a class of its own, or a reason to skip the file.
"""

from __future__ import annotations

import colorsys
import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from agon.data.cache import PixelWriter, cache_folder, digest_of, load_pixels, read_record, write_record
from agon.data.files import Listing, listing_of, refuse_empty
from agon.data.folder import content_of, nothing_readable
from agon.data.pictures import RULES, BadPicture, _opened, _upright, plain, readable_formats
from agon.data.scan import Scan, decoding_of, plan_size, scan, working_in_threads
from agon.errors import UserError

MAP_RULES = 1  # part of every cache key: raise it when any pixel of a map changes
UNKNOWN = 255
MOST_CLASSES = 254
POLICIES = ("refuse", "class", "skip")
SHOWN = 5


@dataclass(frozen=True)
class Maps:
    """``pixels``: (N, 1, H, W) uint8 class numbers, or (N, 2, H, W) with edges between instances (0 or 1). ``files``: the name of each. ``classes``,
    ``colours``: the name and "#rrggbb" of each class. ``fingerprint``: SHA-256 of what the pixels are made of."""

    files: list[str]
    pixels: np.ndarray
    classes: tuple[str, ...]
    colours: tuple[str, ...]
    events: list[dict]
    fingerprint: str


@dataclass(frozen=True)
class Palette:
    """``names`` of the classes in order, and for each the colour (r << 16 | g << 8 | b) or the number (``numbers``) that stands for it in files."""

    names: tuple[str, ...]
    keys: tuple[int, ...]
    numbers: bool

    def colours(self) -> tuple[str, ...]:
        return spread(len(self.names)) if self.numbers else tuple(f"#{key:06x}" for key in self.keys)


@dataclass
class Loaded:
    """Maps as decoded, before anything is decided about what is no class. ``unknown``: key as shown -> {file: pixels}. ``palette``: of the indexed files."""

    files: list[str]
    pixels: np.ndarray
    bad: list[tuple[str, str]]
    fingerprint: str
    unknown: dict[str, dict[str, int]] = field(default_factory=dict)
    colours: tuple[str, ...] = ()


def open_maps(path: Path, *, size: tuple[int, int] | None = None, palette: str | Path | Mapping | None = None, classes: int = 0, unknown: str = "refuse",
              instances: str | Path | None = None, cache_dir: Path | None = None) -> Maps:
    """The label maps of a folder or .zip. ``classes``: how many there are, for numbers without names (0: up to the highest that occurs). ``instances``: a
    folder of maps with a number (or colour) for each object, matched by name: the edges between them become a second channel.

    Raises UserError where nothing can be read, for what is no class (unless ``unknown`` is "class" or "skip"), for colours without a palette and for a map
    without instances.
    """
    if unknown not in POLICIES or not 0 <= classes <= MOST_CLASSES:
        raise UserError("Label maps cannot be read with unknown={unknown} and classes={classes}. Expected unknown to be refuse, class or skip, and classes "
                        "from 0 (find out) to {most}.", unknown=unknown, classes=classes, most=MOST_CLASSES)
    path, cache = Path(path), cache_folder(cache_dir)
    named = find_palette(path, palette)
    loaded = load(path, cache, size, lambda data, target: decode_and_count(data, named, target), digest_of(["map", named and [named.names, named.keys]]))
    count = settle(loaded, named, classes, path)
    names = named.names if named else tuple(str(number) for number in range(count))
    colours = (named.colours() if named else loaded.colours + spread(count)[len(loaded.colours):])[:count]
    events = [{"event": "skipped", "file": file, "why": why} for file, why in loaded.bad]
    if unknown == "class":
        loaded.pixels[loaded.pixels == UNKNOWN] = count
        names, colours = (*names, "unknown"), (*colours, "#ff00ff")
        events += [{"event": "unknown class", "class": key, "pixels": sum(where.values()), "files": len(where)} for key, where in loaded.unknown.items()]
    elif loaded.unknown:
        events += without_unknown(loaded, unknown, path)
    fingerprint, pixels = digest_of([loaded.fingerprint, unknown, count]), loaded.pixels
    if instances is not None:
        edges = edges_of(Path(instances), cache, pixels.shape[2:], loaded.files)
        pixels, fingerprint = np.concatenate([pixels, edges.pixels], axis=1), digest_of([fingerprint, edges.fingerprint])
    return Maps(loaded.files, pixels, names, colours, events, fingerprint)


def decode_map(data: bytes, palette: str | Path | Mapping | None = None, size: tuple[int, int] | None = None) -> np.ndarray:
    """A label map's file -> (1, H, W) uint8 class numbers, 255 where there is no class. Raises BadPicture, and UserError for colours without a palette."""
    return decode_and_count(data, palette_of(palette), size)[0]


def decode_and_count(data: bytes, palette: Palette | None, size: tuple[int, int] | None) -> tuple[np.ndarray, dict]:
    """``decode_map``, and {"unknown": {key: pixels}, "colours": the file's palette}."""
    values, kind, colours = raw_values(data, palette is not None and not palette.numbers)
    values = cut(values, size)
    if palette is not None:
        result = nearest_class(values, palette) if kind == "lossy" else class_by_key(values, palette)
    elif kind == "colour":
        keys, counts = np.unique(values, return_counts=True)
        most = ", ".join(f"#{keys[place]:06x} ({counts[place]} pixels)" for place in np.argsort(-counts)[:SHOWN])
        raise UserError("A label map is in colours, and nothing says which class each is; the first has {colours}. Expected a palette: a JSON file such as "
                        '{{"sky": "#4682b4", "road": [128, 64, 128]}}, given with --data.palette FILE.', colours=most)
    else:
        result = np.where((values >= 0) & (values < UNKNOWN), values, UNKNOWN).astype(np.uint8)
    lost, counts = np.unique(values[result == UNKNOWN], return_counts=True)
    unknown = {(f"#{key:06x}" if kind in ("colour", "lossy") else str(key)): int(number) for key, number in zip(lost.tolist(), counts, strict=True)}
    return result[None], {"unknown": unknown, "colours": colours}


def raw_values(data: bytes, as_colours: bool) -> tuple[np.ndarray, str, tuple[str, ...]]:
    """(H, W) int64 numbers or colours (r << 16 | g << 8 | b), which of these ("number", "colour", or "lossy" for the colours of a JPEG), and an indexed
    file's palette. Raises BadPicture."""
    with _opened(data) as image:
        try:
            upright = _upright(image)
            if not as_colours and upright.mode in ("P", "PA", "L", "LA", "1", "I") or upright.mode.startswith("I;16"):
                if image.format in ("JPEG", "MPO"):
                    raise BadPicture("is a JPEG, which blurs the numbers of a label map: save it as PNG")
                colours = file_palette(upright) if upright.mode in ("P", "PA") else ()
                values = np.asarray(upright.getchannel(0) if upright.mode in ("LA", "PA") else upright)
                return values.astype(np.int64) // stretched(data, image.format), "number", colours
            red, green, blue = (np.asarray(plain(upright, image).convert("RGB"))[..., band].astype(np.int64) for band in range(3))
        except BadPicture:
            raise
        except Exception as error:  # Pillow's decoders raise many kinds on damaged data
            raise BadPicture(f"cannot be decoded ({' '.join(str(error).split()) or type(error).__name__})") from error
        return red << 16 | green << 8 | blue, "lossy" if image.format in ("JPEG", "MPO") else "colour", ()


def stretched(data: bytes, kind: str | None) -> int:
    """By how much Pillow multiplies the values of a grey PNG of few bits: 85 for 2, 17 for 4."""
    grey = kind == "PNG" and len(data) > 25 and data[25] == 0
    return {2: 85, 4: 17}.get(data[24], 1) if grey else 1


def file_palette(image: object) -> tuple[str, ...]:
    """"#rrggbb" of each index."""
    flat = image.getpalette("RGB") or []  # type: ignore[attr-defined]
    return tuple("#{:02x}{:02x}{:02x}".format(*flat[start:start + 3]) for start in range(0, len(flat), 3))


def cut(values: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """Scale (H, W, ...) to cover ``size`` and cut out the middle, as ``agon.data.pictures.fit`` does, each pixel the nearest one."""
    if size is None or values.shape[:2] == size:
        return values
    scale = min(have / want for have, want in zip(values.shape, size, strict=False))
    rows, columns = (np.minimum((np.arange(want) + 0.5) * scale + max(0.0, (have - scale * want) / 2), have - 1).astype(np.int64)
                     for have, want in zip(values.shape, size, strict=False))
    return values[rows[:, None], columns]


def class_by_key(values: np.ndarray, palette: Palette) -> np.ndarray:
    """The class whose key a value is, else 255: uint8."""
    order = np.argsort(palette.keys)
    keys = np.array(palette.keys)[order]
    place = np.minimum(np.searchsorted(keys, values), len(keys) - 1)
    return np.where(keys[place] == values, order[place], UNKNOWN).astype(np.uint8)


def nearest_class(values: np.ndarray, palette: Palette) -> np.ndarray:
    """The class whose colour is nearest (squared distance in RGB): uint8."""
    def split(keys: np.ndarray) -> np.ndarray:
        return np.stack([keys >> 16, keys >> 8 & 255, keys & 255], axis=-1)

    found, inverse = np.unique(values, return_inverse=True)
    distance = ((split(found)[:, None] - split(np.array(palette.keys))) ** 2).sum(-1)
    return distance.argmin(1)[inverse].reshape(values.shape).astype(np.uint8)


def edges_between(instances: np.ndarray) -> np.ndarray:
    """(N, 1, H, W) numbers -> (N, 1, H, W) uint8: 1 where a pixel's number differs from that of the pixel above, below, left or right of it.

    The boundary map of pix2pixHD (Wang et al., 2018, https://arxiv.org/abs/1711.11585, section 3.3).
    """
    edges = np.zeros(instances.shape, bool)
    across, down = instances[..., 1:] != instances[..., :-1], instances[..., 1:, :] != instances[..., :-1, :]
    edges[..., 1:] |= across
    edges[..., :-1] |= across
    edges[..., 1:, :] |= down
    edges[..., :-1, :] |= down
    return edges.astype(np.uint8)


def spread(count: int) -> tuple[str, ...]:
    """So many colours that can be told apart: black, then hues a golden section apart."""
    found = [(0.0, 0.0, 0.0)] + [colorsys.hsv_to_rgb(index * 0.618034 % 1, 0.65 if index % 2 else 0.95, 1.0 if index % 3 else 0.7) for index in range(1, count)]
    return tuple("#{:02x}{:02x}{:02x}".format(*(round(255 * part) for part in colour)) for colour in found[:count])


def find_palette(path: Path, palette: str | Path | Mapping | None) -> Palette | None:
    """The palette that is given, else ``palette.json`` of the folder, else None."""
    own = path / "palette.json"
    return palette_of(own if palette is None and own.is_file() else palette)


def palette_of(palette: str | Path | Mapping | None) -> Palette | None:
    """A palette from a JSON file or a dictionary. Raises UserError for one that cannot be used."""
    if palette is None:
        return None
    table = palette
    if not isinstance(palette, Mapping):
        try:
            table = json.loads(Path(palette).expanduser().read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError('The palette {palette} cannot be read ({why}). Expected a JSON file such as {{"sky": "#4682b4", "road": [128, 64, 128]}}.',
                            palette=palette, why=getattr(error, "strerror", None) or error) from None
    keys = {name: palette_key(value) for name, value in table.items()} if isinstance(table, Mapping) else {}
    wrong = [name for name, (kind, _) in keys.items() if not kind]
    if wrong or not keys or len({kind for kind, _ in keys.values()}) > 1 or len(keys) > MOST_CLASSES:
        raise UserError('The palette {palette} cannot be used (at: {entry}). Expected 1 to {most} classes, each with a colour, as in {{"sky": "#4682b4", '
                        '"road": [128, 64, 128]}}, or each with its number in the files.', palette=palette, entry=wrong[0] if wrong else "-", most=MOST_CLASSES)
    numbers = tuple(key for _, key in keys.values())
    if len(set(numbers)) < len(numbers):
        twice = [name for name, (_, key) in keys.items() if numbers.count(key) > 1]
        raise UserError("The palette {palette} gives {names} one colour, so that they cannot be told apart. Expected a colour of its own for each class.",
                        palette=palette, names=", ".join(twice))
    return Palette(tuple(keys), numbers, next(iter(keys.values()))[0] == "number")


def palette_key(value: object) -> tuple[str, int]:
    """("number", n), ("colour", r << 16 | g << 8 | b), or ("", 0) for what is neither."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 65536:
        return "number", value
    if isinstance(value, str) and len(value) == 7 and value.startswith("#"):
        with contextlib.suppress(ValueError):
            return "colour", int(value[1:], 16)
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 3 and all(isinstance(part, int) and 0 <= part < 256 for part in value):
        return "colour", value[0] << 16 | value[1] << 8 | value[2]
    return "", 0


def settle(loaded: Loaded, palette: Palette | None, classes: int, path: Path) -> int:
    """How many classes there are; numbers beyond them become unknown, 0 and 255 alone become two classes."""
    if palette is not None:
        if classes and classes != len(palette.names):
            raise UserError("The palette of {path} names {found} classes, and classes is {classes}. Expected one of the two alone, or the same number.",
                            path=path, found=len(palette.names), classes=classes)
        return len(palette.names)
    occurs = np.zeros(256, bool)
    for start in range(0, len(loaded.pixels), 256):
        occurs |= np.bincount(loaded.pixels[start:start + 256].reshape(-1), minlength=256) > 0
    if occurs[0] and not occurs[1:UNKNOWN].any() and set(loaded.unknown) == {"255"} and classes in (0, 2):
        loaded.pixels[loaded.pixels == UNKNOWN] = 1
        loaded.unknown.clear()
        return 2
    count = classes or int(occurs[:UNKNOWN].nonzero()[0].max(initial=0)) + 1
    for number in np.flatnonzero(occurs[:UNKNOWN]).tolist():
        if number >= count:
            pixels = (loaded.pixels == number).sum((1, 2, 3))
            loaded.unknown[str(number)] = {loaded.files[row]: int(pixels[row]) for row in pixels.nonzero()[0]}
            loaded.pixels[loaded.pixels == number] = UNKNOWN
    return count


def without_unknown(loaded: Loaded, unknown: str, path: Path) -> list[dict]:
    """Leave out the files with pixels of no class, and say so; raise UserError where that is not wished, or nothing is left."""
    affected = {file for where in loaded.unknown.values() for file in where}
    if unknown == "skip" and len(affected) < len(loaded.files):
        keep = np.array([name not in affected for name in loaded.files])
        loaded.pixels, loaded.files = loaded.pixels[keep], [name for name in loaded.files if name not in affected]
        return [{"event": "skipped", "file": file, "why": "has pixels of no known class: " + ", ".join(
            f"{key} ({where[file]} pixels)" for key, where in loaded.unknown.items() if file in where)} for file in sorted(affected)]
    most = sorted(loaded.unknown.items(), key=lambda entry: -sum(entry[1].values()))
    listed = "; ".join(f"{key}: {sum(where.values())} pixels in {len(where)} files, first {min(where)}" for key, where in most[:SHOWN])
    raise UserError("The label maps of {path} have pixels of no known class in {affected} of {total} files ({kinds} kinds: {listed}). Expected known classes: "
                    "mend the maps or the palette, or add --data.unknown class (a class of their own) or --data.unknown skip (leave these files out).",
                    path=path, affected=len(affected), total=len(loaded.files), kinds=len(most), listed=listed)


def edges_of(path: Path, cache: Path, size: tuple[int, ...], files: list[str]) -> Loaded:
    """The edges between the instances of a folder's maps, in the order of ``files``."""
    def decode(data: bytes, target: tuple[int, int] | None) -> tuple[np.ndarray, dict]:
        return edges_between(cut(raw_values(data, False)[0], target)[None, None])[0], {"unknown": {}, "colours": ()}

    found = load(path, cache, size, decode, "instances")
    place = {stem(name): index for index, name in enumerate(found.files)}
    missing = [name for name in files if stem(name) not in place]
    if missing:
        raise UserError("{missing} of {total} label maps have no instance map in {path}: {first}. Expected a file of the same name for each.",
                        missing=len(missing), total=len(files), path=path, first=", ".join(missing[:3]))
    found.pixels = found.pixels[[place[stem(name)] for name in files]]
    return found


def stem(name: str) -> str:
    """Path and name without the ending."""
    return str(PurePosixPath(name).with_suffix(""))


Decode = Callable[[bytes, tuple[int, int] | None], tuple[np.ndarray, dict]]


def load(path: Path, cache: Path, size: tuple[int, int] | None, decode: Decode, how: str) -> Loaded:
    """All maps of a folder or .zip through ``decode``, from the cache where it has them. ``how``: what else decides the pixels."""
    with listing_of(path) as listing:
        refuse_empty(listing)
        stamp = digest_of([RULES, readable_formats(), str(listing.root.resolve()), [[item.name, *item.stamp] for item in listing.items], listing.refused])
        stamp_path, scanned = cache / "stamps" / f"{stamp}.json", None
        known = read_record(stamp_path)
        if known is None:
            scanned = scan(listing)
            known = {"content": content_of(scanned)}
            if listing.settled() and scanned.certain:
                with contextlib.suppress(OSError):
                    write_record(stamp_path, known)
        key = digest_of(["maps", MAP_RULES, RULES, known["content"], size, how])
        pixels, meta, _ = load_pixels(cache, key)
        if pixels is None:
            pixels, meta = decode_all(listing, scanned or scan(listing), PixelKey(cache, key, size), decode)
    unknown: dict[str, dict[str, int]] = {}
    for file, counts in meta["unknown"].items():
        for number, count in counts.items():
            unknown.setdefault(number, {})[file] = count
    return Loaded(meta["files"], pixels, [tuple(pair) for pair in meta["bad"]], key, unknown, tuple(meta["colours"]))


@dataclass(frozen=True)
class PixelKey:
    """Where the cache keeps maps of one size."""

    folder: Path
    key: str
    size: tuple[int, int] | None


def decode_all(listing: Listing, scanned: Scan, where: PixelKey, decode: Decode) -> tuple[np.ndarray, dict]:
    """Decode every readable map into the cache: (N, 1, H, W) uint8, and what the cache keeps beside them."""
    if not scanned.headers:
        raise nothing_readable(listing.root, scanned.bad)
    target = plan_size(scanned, where.size)

    pixels_of = decoding_of(listing, scanned, lambda data: decode(data, target))

    meta: dict = {"files": [], "bad": list(scanned.bad), "unknown": {}, "colours": ()}
    good = [item for item in listing.items if item.name in scanned.headers]
    with PixelWriter(where.folder, where.key, (1, *target)) as writer:
        for items, results in working_in_threads(pixels_of, good, "decoding"):
            for item, result in zip(items, results, strict=True):
                if isinstance(result, str):
                    meta["bad"].append((item.name, result))
                    continue
                meta["files"].append(item.name)
                meta["unknown"] |= {item.name: result[1]["unknown"]} if result[1]["unknown"] else {}
                meta["colours"] = meta["colours"] or result[1]["colours"]
                writer.append(result[0][None])
        if not meta["files"]:
            raise nothing_readable(listing.root, meta["bad"])
        return writer.finish(meta), meta
