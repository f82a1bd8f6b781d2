"""Random crops of pictures that keep their own sizes: what super-resolution, colourisation and inpainting train on.

A picture of H x W gives ceil(H / crop) * ceil(W / crop) crops an epoch, one from each cell of a grid, somewhere in that cell: an epoch covers the
pictures, and a large one is seen more often than a small one. Where in the cell, how much reduced (``zoom``) and whether turned (``mirror``) is a
function of (seed, epoch, index).

A folder of pictures is decoded once into one flat file of the cache (agon/data/cache.py) and memory-mapped from there if it is large, so that memory
stays bounded by the system's file cache, whatever the number and size of the pictures.
"""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from agon.data.cache import PixelWriter, cache_folder, digest_of, load_pixels, read_record, write_record
from agon.data.files import Listing, listing_of, refuse_empty
from agon.data.folder import content_of, nothing_readable
from agon.data.pictures import RULES, decode, readable_formats
from agon.data.sampler import mix, splitmix
from agon.data.scan import Scan, decoding_of, plan_channels, scan, too_many_bad, working_in_threads
from agon.data.source import Batch, DataSpec, Source, to_float
from agon.errors import UserError

MEMORY_BYTES = 1 << 30  # decoded pictures may take this much where the cache cannot be written
AT_ONCE = 8  # pictures decoded together; each may have tens of megabytes


class CropSource(Source):
    """Crops of one size from pictures of any sizes.

    ``pictures``: (H, W, C) uint8 arrays, kept as they are (a memory map stays one); a picture smaller than the crop is enlarged to cover it, and an event
    says so. ``crop``: (height, width). ``zoom``: each crop is taken from its picture reduced by a factor uniform in [zoom, 1] (Lanczos); 1 takes pixels as
    they are. ``names``: one a picture. ``fingerprint``: of the pictures; None computes it.
    """

    def __init__(self, name: str, pictures: Sequence[np.ndarray], crop: tuple[int, int], *, mirror: bool = False, zoom: float = 1.0,
                 names: Sequence[str] = (), fingerprint: str | None = None, events: Sequence[dict] = ()):
        assert pictures and all(picture.dtype == np.uint8 and picture.ndim == 3 for picture in pictures)
        check_crop(crop, zoom)
        small = [index for index, picture in enumerate(pictures) if picture.shape[0] < crop[0] or picture.shape[1] < crop[1]]
        self.name, self.crop, self.mirror, self.zoom, self.events = name, crop, mirror, float(zoom), list(events)
        self.names = tuple(names) or tuple(str(index) for index in range(len(pictures)))
        self.fingerprint = fingerprint or fingerprint_of_pictures(pictures)
        self._pixels = [enlarged(picture, crop) if index in small else picture for index, picture in enumerate(pictures)]
        if small:
            self.events.append({"event": "enlarged", "pictures": len(small), "first": self.names[small[0]], "size": list(crop),
                                "why": "smaller than a crop: scaled up to cover it (Lanczos), aspect kept"})
        self._grids = np.array([[-(-picture.shape[0] // crop[0]), -(-picture.shape[1] // crop[1])] for picture in self._pixels], np.int64)
        self._ends = np.cumsum(self._grids.prod(1))
        self.spec = DataSpec("image", (self._pixels[0].shape[2], *crop))

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def pictures(self) -> list[torch.Tensor]:
        """The whole pictures, (C, H, W) uint8 each, as views: what full-size evaluation reads."""
        return [torch.from_numpy(pixels).permute(2, 0, 1) for pixels in self._pixels]

    def picture_of(self, indices: np.ndarray) -> np.ndarray:
        """The number of the picture that crops ``indices`` are taken from, (N,)."""
        return np.searchsorted(self._ends, np.asarray(indices), side="right")

    def read(self, indices: np.ndarray, *, seed: int = 0, epoch: int = 0) -> Batch:
        indices = np.array(indices, dtype=np.int64)
        bits = [mix(seed, epoch, indices)]
        for _ in range(3):
            bits.append(splitmix(bits[-1]))
        u, v, w = ((part >> np.uint64(11)).astype(np.float64) * 2.0**-53 for part in bits[1:])
        owners = self.picture_of(indices)
        cells = indices - np.concatenate([[0], self._ends])[owners]
        across = self._grids[owners, 1]
        places = np.stack([(cells // across + u) / self._grids[owners, 0], (cells % across + v) / across], 1)
        scales = self.zoom + (1 - self.zoom) * w
        crops = torch.from_numpy(np.stack([cut(self._pixels[owner], self.crop, place, scale)
                                           for owner, place, scale in zip(owners, places, scales, strict=True)]))
        real = to_float(crops.permute(0, 3, 1, 2).contiguous())
        if self.mirror:
            turn = torch.from_numpy((bits[0] >> np.uint64(63)).astype(bool))
            real = torch.where(turn.view(-1, 1, 1, 1), real.flip(-1), real)
        return Batch(real)


def cut(picture: np.ndarray, crop: tuple[int, int], place: np.ndarray, scale: float) -> np.ndarray:
    """The crop of (H, W, C) ``picture`` reduced by ``scale`` whose corner lies at ``place`` in [0, 1) of the places there are.

    The picture is not reduced as a whole: the part that the crop is made of, with the margin that the filter reaches into, is enough.
    """
    height, width = picture.shape[:2]
    scale = min(1.0, max(scale, crop[0] / height, crop[1] / width))
    if scale == 1.0:
        top, left = (int(where * (side - part + 1)) for where, side, part in zip(place, (height, width), crop, strict=True))
        return picture[top:top + crop[0], left:left + crop[1]]
    # 1e-6: a side that is exactly the crop's after the reduction may be one ulp less
    rooms = [int(side * scale + 1e-6) - part for side, part in zip((height, width), crop, strict=True)]
    corner = [int(where * (room + 1)) for where, room in zip(place, rooms, strict=True)]
    starts = [at / scale for at in corner]
    ends = [min((at + part) / scale, side) for at, part, side in zip(corner, crop, (height, width), strict=True)]
    margin = int(3 / scale) + 2
    low = [max(0, int(start) - margin) for start in starts]
    window = picture[low[0]:int(ends[0]) + margin, low[1]:int(ends[1]) + margin]
    return resized(window, crop, (starts[1] - low[1], starts[0] - low[0], ends[1] - low[1], ends[0] - low[0]))


def resized(picture: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float] | None = None) -> np.ndarray:
    """(H, W, C) uint8 -> (*size, C), antialiased Lanczos; ``box``: left, top, right, bottom of the part that is taken."""
    from PIL import Image

    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else np.ascontiguousarray(picture))
    return np.array(image.resize(size[::-1], Image.Resampling.LANCZOS, box=box)).reshape(*size, picture.shape[2])  # a copy: Pillow's is read-only


def enlarged(picture: np.ndarray, crop: tuple[int, int]) -> np.ndarray:
    """The picture scaled up, aspect kept, until it covers the crop."""
    scale = max(crop[0] / picture.shape[0], crop[1] / picture.shape[1])
    return resized(picture, tuple(max(part, round(side * scale)) for side, part in zip(picture.shape, crop, strict=False)))


def check_crop(crop: tuple[int, int], zoom: float) -> None:
    if min(crop) < 8 or max(crop) > 4096:
        raise UserError("Crops of {height} x {width} cannot be taken. Expected sides from 8 to 4096 pixels, for example --data.crop 96.",
                        height=crop[0], width=crop[1])
    if not 0.05 <= zoom <= 1:
        raise UserError("zoom is {zoom}. Expected the strongest reduction of a picture before a crop is taken, from 0.05 to 1 (1: none), for example 0.5.",
                        zoom=zoom)


def fingerprint_of_pictures(pictures: Sequence[np.ndarray]) -> str:
    """SHA-256 (hex) over shape and pixels of every picture."""
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(f"{picture.shape};".encode())
        digest.update(np.ascontiguousarray(picture).data)
    return digest.hexdigest()


def open_source(name: Path, *, size: tuple[int, int] | None = None, channels: int | None = None, cache_dir: Path | None = None, crop: int = 96,
                max_bad: float = 0.1, mirror: bool = False, zoom: float = 1.0) -> CropSource:
    """Crops from a folder or .zip of pictures at their own sizes. ``crop``: side in pixels, or ``size`` = (height, width) instead of it; ``zoom``: see
    :class:`CropSource`.

    Sub-folders are no classes here. Bad files are skipped and named as in agon/data/folder.py. Raises UserError where there is no picture, where too many
    are bad, and where the pictures would not fit into memory and the cache cannot take them either.
    """
    if not 0 <= max_bad <= 1:
        raise UserError("max_bad is {max_bad}. Expected the fraction of bad pictures to put up with, from 0 to 1.", max_bad=max_bad)
    shape = size or (crop, crop)
    check_crop(shape, zoom)
    with listing_of(Path(name)) as listing:
        refuse_empty(listing)
        flat, meta, events = load_or_decode(listing, cache_folder(cache_dir), channels)
    too_many_bad(Path(name), [tuple(pair) for pair in meta["bad"]], len(meta["files"]), max_bad)
    bounds = np.cumsum([0, *(height * width for height, width in meta["sizes"])])
    pictures = [flat[start:stop].reshape(*sides, flat.shape[1]) for start, stop, sides in zip(bounds, bounds[1:], meta["sizes"], strict=False)]
    events = [*({"event": "skipped", "file": file, "why": why} for file, why in meta["bad"]), *events,
              {"event": "opened", "pictures": len(pictures), "bad": len(meta["bad"]), "crop": list(shape), "channels": flat.shape[1]}]
    fingerprint = digest_of([meta["pixels_sha256"], meta["sizes"]])
    return CropSource(str(name), pictures, shape, mirror=mirror, zoom=zoom, names=meta["files"], fingerprint=fingerprint, events=events)


def load_or_decode(listing: Listing, cache: Path, channels: int | None) -> tuple[np.ndarray, dict, list[dict]]:
    """(all pixels one after the other (P, C), meta, events). ``meta``: files, sizes, bad, pixels_sha256."""
    stamp = digest_of(["crops", RULES, readable_formats(), str(listing.root.resolve()), [[item.name, *item.stamp] for item in listing.items],
                       listing.refused])
    stamp_path = cache / "stamps" / f"{stamp}.json"
    known, why = read_record(stamp_path), ""
    if known is not None:
        flat, meta, why = load_pixels(cache, digest_of(["crops", RULES, known["content"], channels]))
        if flat is not None:
            return flat, meta, []
    scanned = scan(listing)
    content = content_of(scanned)
    if listing.settled() and scanned.certain:
        with contextlib.suppress(OSError):  # a stamp that cannot be kept costs a second reading next time
            write_record(stamp_path, {"content": content})
    key = digest_of(["crops", RULES, content, channels])
    flat, meta, damage = load_pixels(cache, key)
    if flat is not None:
        return flat, meta, []
    why = why or damage
    events = [{"event": "cache", "why": f"the cached pixels were damaged ({why}) and are made again"}] if why else []
    flat, meta, failure = decode_all(listing, scanned, cache, key, channels)
    if failure:
        warnings.warn(f"Decoded pixels are kept in memory for this run: {failure}. Set AGON_CACHE to a folder that can be written.", stacklevel=4)
        events.append({"event": "cache", "why": f"pixels are kept in memory: {failure}"})
    return flat, meta, events


def decode_all(listing: Listing, scanned: Scan, cache: Path, key: str, channels: int | None) -> tuple[np.ndarray, dict, str]:
    """Decode every readable picture at its own size. Returns (pixels (P, C), meta, why the cache could not be used or "")."""
    if not scanned.headers:
        raise nothing_readable(listing.root, scanned.bad)
    depth = channels or plan_channels(scanned)
    total = sum(header.height * header.width for header in scanned.headers.values()) * depth
    good, bad = [item for item in listing.items if item.name in scanned.headers], list(scanned.bad)
    shapes: dict[str, list[int]] = {}

    pixels_of = decoding_of(listing, scanned, lambda data: np.ascontiguousarray(decode(data, depth).transpose(1, 2, 0)))

    with PixelWriter(cache, key, (depth,)) as writer:  # type: ignore[arg-type]
        for start in range(0, len(good), AT_ONCE):
            refuse_too_much(listing.root, total, writer.why)
            # a few at a time: whole photographs are large, and working_in_threads hands 256 out together
            for items, results in working_in_threads(pixels_of, good[start:start + AT_ONCE], "decoding"):
                made = [(item.name, result) for item, result in zip(items, results, strict=True) if isinstance(result, np.ndarray)]
                bad += [(item.name, result) for item, result in zip(items, results, strict=True) if isinstance(result, str)]
                for file, pixels in made:
                    shapes[file] = list(pixels.shape[:2])
                    writer.append(pixels.reshape(-1, depth))
        if not shapes:
            raise nothing_readable(listing.root, bad)
        meta = {"files": list(shapes), "sizes": list(shapes.values()), "bad": sorted(bad), "pixels_sha256": writer.content_sha256()}
        return writer.finish(meta), meta, writer.why


def refuse_too_much(root: Path, total: int, why: str) -> None:
    """Raise UserError where the cache cannot be written (``why``) and ``total`` bytes of pixels would have to stay in memory."""
    if why and total > MEMORY_BYTES:
        raise UserError("The pictures of {folder} take {gib:.1f} GiB at their own sizes, and {why}. Expected a cache with that much room: set "
                        "AGON_CACHE to a folder on a larger disk, or train with size instead of crop.", folder=root, gib=total / 2**30, why=why)
