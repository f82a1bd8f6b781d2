"""A folder or a ZIP of pictures: first sub-folder = class, a flat one is unlabelled. Decoded once, then read from the cache.

The rules (docs say the same):

* ``size=None``: pictures that all have one size of at most 64 x 64 keep it. Otherwise a square whose side is the largest power of two
  that is at most 64 and at most the median shorter side (and at least 8). What was chosen is an event.
* Other sizes: scaled until the size is covered, aspect kept, middle cut out (agon/data/pictures.py).
* ``channels=None``: 1 if every picture is grey, else 3. Alpha is laid over white unless ``channels=4`` is asked for.
* A bad file is skipped and named in an event. More than ``max_bad`` (a fraction of all pictures) is an error; one bad file beside at
  least 10 good ones is always tolerated.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agon.data.cache import PixelWriter, cache_folder, digest_of, load_pixels, read_record, write_record
from agon.data.files import Listing, classes_of, listing_of, refuse_empty, refuse_splits
from agon.data.pictures import RULES, decode, readable_formats
from agon.data.scan import Scan, decoding_of, plan_channels, plan_size, resizing, scan, too_many_bad, working_in_threads
from agon.data.source import ArraySource, DataSpec
from agon.errors import UserError


def open_source(name: Path, *, size: tuple[int, int] | None = None, channels: int | None = None, cache_dir: Path | None = None,
                max_bad: float = 0.1, labelled: bool = True, mirror: bool = False) -> ArraySource:
    """Open a folder or .zip. ``labelled=False`` ignores sub-folders, ``mirror=True`` turns pictures left-right at random.

    Returns a source of (C, H, W) pictures with ``files``, the name of each sample's file. Raises UserError where there is no picture,
    where too many are bad, or where the sub-folders are called train and test.
    """
    if not 0 <= max_bad <= 1:
        raise UserError("max_bad is {max_bad}. Expected the fraction of bad pictures to put up with, from 0 to 1.", max_bad=max_bad)
    cache = cache_folder(cache_dir)
    with listing_of(name) as listing:
        refuse_empty(listing)
        if labelled:
            refuse_splits(name, [item.name for item in listing.items])
        pixels, meta, events = load_or_decode(listing, cache, size, channels)
    events = [*[{"event": "skipped", "file": file, "why": why} for file, why in meta["bad"]], *meta["events"], *events]
    too_many_bad(name, [tuple(pair) for pair in meta["bad"]], len(pixels), max_bad)
    classes, labels, remark = classes_of(meta["files"]) if labelled else ((), None, "")
    if remark:
        events.append({"event": "unlabelled", "why": remark})
    spec = DataSpec("image", pixels.shape[1:], len(classes), classes)
    label_array = None if labels is None else np.array(labels, np.int64)
    fingerprint = digest_of([meta["pixels_sha256"], labels])
    source = ArraySource(str(name), spec, pixels, label_array, fingerprint=fingerprint, events=events, mirror=mirror)
    source.files = meta["files"]  # type: ignore[attr-defined]
    return source


def load_or_decode(listing: Listing, cache: Path, size: tuple[int, int] | None,
                   channels: int | None) -> tuple[np.ndarray, dict, list[dict]]:
    """(pixels, meta, events of this opening). ``meta`` is what the cache keeps beside the pixels: files, bad, events, pixels_sha256."""
    # What is a bad file depends on the decoding rules and on what this Pillow can read: both belong to the stamp.
    stamp = digest_of([RULES, readable_formats(), str(listing.root.resolve()), [[item.name, *item.stamp] for item in listing.items],
                       listing.refused])
    stamp_path = cache / "stamps" / f"{stamp}.json"
    known, scanned = read_record(stamp_path), None
    if known is None:
        scanned = scan(listing)
        known = {"content": content_of(scanned)}
        if listing.settled() and scanned.certain:
            _try_to_write(stamp_path, known)
    key = digest_of([RULES, known["content"], size, channels])
    pixels, meta, why = load_pixels(cache, key)
    if pixels is not None:
        return pixels, meta, []
    events = [{"event": "cache", "why": f"the cached pixels were damaged ({why}) and are made again"}] if why else []
    scanned = scanned or scan(listing)
    key = digest_of([RULES, content_of(scanned), size, channels])  # of what is about to be decoded, whatever a stamp said
    pixels, meta, failure = decode_all(listing, scanned, cache, key, size, channels)
    if failure:
        warnings.warn(f"Decoded pixels are kept in memory for this run: {failure}. Set AGON_CACHE to a folder that can be written.",
                      stacklevel=4)
        events.append({"event": "cache", "why": f"pixels are kept in memory: {failure}"})
    return pixels, meta, events


def content_of(scanned: Scan) -> str:
    """SHA-256 (hex) of what decides the pixels: names and hashes of the pictures, and which files are bad."""
    return digest_of([list(scanned.hashes.items()), sorted(scanned.bad)])


def decode_all(listing: Listing, scanned: Scan, cache: Path, key: str, size: tuple[int, int] | None,
               channels: int | None) -> tuple[np.ndarray, dict, str]:
    """Decode every readable picture into the cache. Returns (pixels, meta, why the cache could not be used or "")."""
    if not scanned.headers:
        raise nothing_readable(listing.root, scanned.bad)
    target, depth = plan_size(scanned, size), channels or plan_channels(scanned)
    good, bad = [item for item in listing.items if item.name in scanned.headers], list(scanned.bad)
    files: list[str] = []

    pixels_of = decoding_of(listing, scanned, lambda data: decode(data, depth, target))

    with PixelWriter(cache, key, (depth, *target)) as writer:
        for items, results in working_in_threads(pixels_of, good, "decoding"):
            made = [(item.name, result) for item, result in zip(items, results, strict=True) if isinstance(result, np.ndarray)]
            bad += [(item.name, result) for item, result in zip(items, results, strict=True) if isinstance(result, str)]
            if made:
                files += [name for name, _ in made]
                writer.append(np.stack([pixels for _, pixels in made]))
        if not files:
            raise nothing_readable(listing.root, bad)
        resized = resizing([scanned.headers[name] for name in files], target, size)
        events = [*resized, {"event": "opened", "pictures": len(files), "bad": len(bad), "size": list(target), "channels": depth,
                                 "other_files": sum(listing.ignored.values())}]
        meta = {"files": files, "bad": sorted(bad), "events": events, "pixels_sha256": writer.content_sha256()}
        return writer.finish(meta), meta, writer.why


def nothing_readable(root: Path, bad: Sequence[tuple[str, str]]) -> UserError:
    return UserError("No picture could be read in {folder}: {first}. Expected JPEG, PNG, WebP, TIFF, GIF or BMP. Run 'agon data check "
                     "{folder}' to see why.", folder=root, first="; ".join(f"{name} {why}" for name, why in list(bad)[:3]))


def _try_to_write(path: Path, value: dict) -> None:
    """A stamp that cannot be kept costs a second reading next time; the pixels' own writing says so."""
    with contextlib.suppress(OSError):
        write_record(path, value)
