"""A run as a function from picture files to pictures: what stands between files of any kind and size and ``Run.translate``.

A file becomes what the run's data were: a picture with its channels, a label map in its classes, a picture with a hole. Transparency does not go through the
network: colours do, as they are (white where nothing can be seen), and the alpha is given to the result, enlarged where that is larger.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from agon.data.inputs import is_recipe, open_recipe
from agon.data.maps import UNKNOWN, class_by_key, cut, edges_between, find_palette, nearest_class, palette_of, raw_values
from agon.data.pictures import BadPicture, decode, read_header
from agon.data.sampler import mix
from agon.data.source import to_float
from agon.errors import UserError
from agon.media import to_uint8
from agon.translation import tiles

if TYPE_CHECKING:
    from agon.run import Run

SMALL = 192 * 192
"""Pixels up to which no network is suspected of taking too much memory: they are translated whole, without a look."""
PROBE = 32
BATCH = 16
CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Wishes:
    """What is asked for. ``tile``: side between borders, 0 never to cut, None as memory needs; ``overlap``: None likewise; ``max_side``: larger pictures are
    reduced to it; ``derive``: make the input of a photograph by the run's own recipe; ``label``: a class's or attributes' names; ``controls``: the game's."""

    seed: int = 0
    direction: str | None = None
    label: str | None = None
    derive: bool = False
    tile: int | None = None
    overlap: int | None = None
    max_side: int | None = None
    controls: dict[str, Any] | None = None


@dataclass(frozen=True)
class Input:
    """``source``: (1, C', H, W), ready for the network. ``alpha``: (H, W) uint8 to be given to the result, None for an opaque picture."""

    source: Tensor
    alpha: np.ndarray | None = None


class Translator:
    """``open`` a file, call it on the input, ``finish`` the result. Raises UserError where the run, a class, a direction or a control is not to be had."""

    def __init__(self, run: Run, wishes: Wishes | None = None):
        self.run, self.wishes = run, wishes or Wishes()
        game, spec = run.game, run.spec
        if not game.needs_input:
            run.translate(torch.empty(0))  # says so
        self.forward = self.wishes.direction in (None, game.directions[0])
        self.spec, self.game = spec, game
        self.kind = spec.source_kind or "picture" if self.forward else "picture"
        self.shape = tuple(spec.source_shape or spec.shape) if self.forward else tuple(spec.shape)
        self.size = self.shape[1:] if game.fixed_size else None
        self.channels = self.shape[0] - (1 if self.kind == "hole" else 0)
        options = run.config["data"]["options"]
        self.recipe = str(options.get("input", "")) if self.forward else ""
        self.map_options = options if self.kind == "map" else {}
        self._check()
        self.asked = self._conditions()
        self._per_pixel: float | None = None
        self._together: bool | None = None
        self._reads_maps: Callable[[bytes], np.ndarray] | None = None
        if self.kind == "map" and not self.wishes.derive:
            self._reads_maps = map_reader(self.spec, self.map_options)

    def _check(self) -> None:
        wishes, game = self.wishes, self.game
        if wishes.direction is not None and wishes.direction not in game.directions:
            raise UserError("{game} does not translate {direction}. Expected one of: {known}.", game=type(game).__name__, direction=wishes.direction,
                            known=", ".join(game.directions))
        if wishes.derive and not is_recipe(self.recipe):
            raise UserError("{run} has no recipe for its inputs: they came from {input}. Leave out --derive and give such inputs.", run=self.run.folder,
                            input=self.recipe or "the data")
        if self.kind in ("picture", "hole") and self.channels not in CHANNELS:
            raise UserError("{run} starts from pictures of {channels} channels, which no picture file has. Expected 1, 3 or 4: translate tensors in Python.",
                            run=self.run.folder, channels=self.channels)
        for name, value, least in (("tile", wishes.tile, 0), ("overlap", wishes.overlap, 0), ("max-side", wishes.max_side, 1)):
            if value is not None and value < least:
                raise UserError("--{name} {value} makes no sense. Expected {least} or more.", name=name, value=value, least=least)
        if wishes.tile and game.reach is None:
            raise UserError("{game} sees the whole picture at every place, so that tiles would not fit together. Leave out --tile; --max-side reduces what "
                            "is too large.", game=type(game).__name__)

    def _conditions(self) -> dict[str, Any]:
        """What ``Run.translate`` is asked for with every picture; tried on no picture, so that nonsense is found before the first file is opened."""
        asked = {**(self.wishes.controls or {}), "seed": self.wishes.seed}
        if self.wishes.direction is not None:
            asked["direction"] = self.wishes.direction
        if self.wishes.label is not None and self.spec.condition_names and not self.spec.num_classes:
            changes = "attributes" in self.game.controls  # then it sees what a picture has, and changes what is named alone
            asked |= {"attributes": self.wishes.label} if changes else {"condition": attributes(self.wishes.label, self.spec.condition_names)}
        elif self.wishes.label is not None:
            from agon.run import class_number

            if not self.game.takes_labels:
                raise UserError("{game} has no classes to choose from. Leave the class out.", game=type(self.game).__name__)
            asked["label"] = class_number(self.wishes.label, self.spec)
        for name in self.wishes.controls or {}:
            if name not in self.game.controls:
                raise UserError("{game} cannot be asked for {name}. Expected some of: {known}.", game=type(self.game).__name__, name=name,
                                known=", ".join(("direction", "class", *self.game.controls)))
        return asked

    # --- in ---------------------------------------------------------------------------------------------------------------------------

    def open(self, data: bytes, *, mask: bytes | None = None, number: int = 0) -> Input:
        """A picture file as the network takes it. ``mask``: a picture, white where something is missing (or, for maps, the numbers of the instances);
        ``number``: which file it is, for recipes that draw at random. Raises BadPicture, and UserError for what cannot be used."""
        header = read_header(data)
        size = self.size_for(header.height, header.width)
        if self._reads_maps is not None:
            return Input(self._map(self._reads_maps(data), size, mask))
        return self._prepared(decode(data, 4, size), None if mask is None else fitted_mask(mask, data, size), number)

    def from_rgba(self, rgba: np.ndarray, *, mask: bytes | None = None, number: int = 0) -> Input:
        """The same from (4, H, W) uint8 pixels, such as a film's."""
        size = self.size_for(*rgba.shape[1:])
        if self._reads_maps is not None or mask is not None or size not in (None, rgba.shape[1:]):
            return self.open(as_png(rgba[:3] if self._reads_maps is not None else rgba), mask=mask, number=number)
        return self._prepared(rgba, None, number)

    def size_for(self, height: int, width: int) -> tuple[int, int] | None:
        """What a picture is brought to: the only size that the network takes, or what --max-side says; None: it stays as it is."""
        if self.size is not None:
            return tuple(self.spec.shape[1:]) if self.wishes.derive else self.size
        longest, most = max(height, width), self.wishes.max_side
        return (max(1, round(height * most / longest)), max(1, round(width * most / longest))) if most and longest > most else None

    def _prepared(self, rgba: np.ndarray, mask: np.ndarray | None, number: int) -> Input:
        alpha = rgba[3] if rgba[3].min() < 255 else None
        colours = self.spec.shape[0] if self.wishes.derive else self.channels
        picture = to_float(torch.from_numpy(in_channels(rgba, colours)))[None]
        if self.wishes.derive:
            by = max(1, self.spec.shape[1] // self.shape[1])
            height, width = (side // by * by for side in picture.shape[2:])
            if not height * width:
                raise BadPicture(f"is smaller than {by} pixels")
            kept = None if alpha is None or self.kind == "hole" or colours == 4 else alpha[:height, :width]
            return Input(self._derived(picture[:, :, :height, :width], number), kept)
        if self.kind == "hole":
            missing = mask if mask is not None else rgba[3] == 0
            if not missing.any():
                raise BadPicture("has no hole: give --mask (white where something is missing), a picture that is transparent there, or --derive")
            hole = torch.from_numpy(missing)[None, None].to(picture)
            return Input(torch.cat([picture * (1 - hole), hole], 1))
        return Input(picture, None if self.channels == 4 else alpha)

    def _derived(self, picture: Tensor, number: int) -> Tensor:
        """The run's recipe, made of this picture."""
        base = SimpleNamespace(spec=replace(self.spec, shape=tuple(picture.shape[1:])), name=str(self.run.folder))
        bits = mix(self.wishes.seed, 0, np.array([number]))
        return open_recipe(self.recipe, base).make(picture, np.array([number]), lambda i: torch.Generator().manual_seed(int(bits[i] >> np.uint64(1))))

    def _map(self, values: np.ndarray, size: tuple[int, int] | None, instances: bytes | None) -> Tensor:
        """(1, 1 or 2, H, W) uint8. Raises BadPicture for pixels of no class."""
        values = cut(values, size)
        if self.shape[0] == 1:
            return torch.from_numpy(values)[None, None]
        things = values if instances is None else cut(raw_values(instances, False)[0], values.shape)
        return torch.from_numpy(np.stack([values, edges_between(things[None, None].astype(np.int64))[0, 0]]))[None]

    # --- through ----------------------------------------------------------------------------------------------------------------------

    def __call__(self, source: Tensor) -> Tensor:
        """(N, C', H, W) inputs of one size -> (N, C, h, w) uint8. Raises BadPicture for what would not fit into memory."""
        try:
            layout = self.layout(*source.shape[2:])
            return torch.cat([to_uint8(band) for band in tiles.in_bands(self._made, source, layout, self.game.multiple)], 2)
        except RuntimeError as error:  # too small for a network's padding, or too large after all
            raise BadPicture(f"does not go through the network ({' '.join(str(error).split())[:120]})") from error

    def _made(self, source: Tensor) -> Tensor:
        asked = dict(self.asked)
        if "condition" in asked:
            asked["condition"] = asked["condition"].expand(len(source), -1)
        return self.run.translate(source, **asked)

    def layout(self, height: int, width: int) -> tiles.Layout:
        """The tiles for a picture of this size: one, unless memory or --tile says otherwise."""
        wishes, reach, multiple = self.wishes, self.game.reach, self.game.multiple
        small = height * width <= SMALL
        if reach is None or wishes.tile == 0:
            if not small and not wishes.max_side and wishes.tile is None:
                self._check_memory(height, width)
            return tiles.lay_out(height, width, multiple=multiple, reach=0, most=0, tile=0)
        most = float(height * width + multiple * (height + width + multiple)) if small else tiles.TILE_BYTES / self.per_pixel
        return tiles.lay_out(height, width, multiple=multiple, reach=reach, most=most, tile=wishes.tile, overlap=wishes.overlap)

    def _check_memory(self, height: int, width: int) -> None:
        most = tiles.WHOLE_BYTES / self.per_pixel
        if height * width > most:
            raise BadPicture(f"has {width}x{height} pixels: this network sees a picture as a whole and would take about "
                             f"{height * width * self.per_pixel / 2**30:.0f} GB; add --max-side {int((most / (height * width)) ** 0.5 * max(height, width))}")

    @property
    def per_pixel(self) -> float:
        """Bytes that the network takes for a pixel of its input, tried out once."""
        if self._per_pixel is None:
            multiple = self.game.multiple
            side = PROBE + -PROBE % multiple
            dtype = torch.uint8 if self.kind == "map" else torch.float32
            heaviest = max((each.numel() * each.element_size() for each in self.game.parameters()), default=0)
            self._per_pixel = tiles.bytes_per_pixel(self._made, torch.zeros(1, self.shape[0], side, side, dtype=dtype), heaviest)
        return self._per_pixel

    def fits_together(self, first: Tensor, second: Tensor) -> bool:
        """Whether pictures may go through the network together: only where none of them comes out otherwise than alone (batch statistics, random numbers by
        place). Found out on the first two of one size."""
        if self._together is None:
            try:
                pair = self._made(torch.cat([first, second]))
                self._together = bool((pair[1:] - self._made(second)).abs().max() < 1e-3)
            except (RuntimeError, UserError):  # each will be named when it is translated alone
                return False
        return self._together

    def batch_of(self, source: Tensor) -> int:
        """How many inputs of this size may go through the network at once."""
        return max(1, min(BATCH, SMALL // max(1, source.shape[2] * source.shape[3])))

    # --- out --------------------------------------------------------------------------------------------------------------------------

    def finish(self, made: Tensor, given: Input) -> np.ndarray:
        """(C, h, w) uint8 of one result with the alpha of its input, as (h, w) or (h, w, 2, 3 or 4) uint8."""
        pixels = np.ascontiguousarray(made.numpy().transpose(1, 2, 0))
        if pixels.shape[2] not in CHANNELS:
            pixels = np.pad(pixels[:, :, :3], ((0, 0), (0, 0), (0, max(0, 3 - pixels.shape[2]))))
        if given.alpha is not None and pixels.shape[2] != 4:
            pixels = np.concatenate([pixels, resized(given.alpha, pixels.shape[:2])[:, :, None]], 2)
        return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels


def in_channels(rgba: np.ndarray, channels: int) -> np.ndarray:
    """(4, H, W) uint8 -> (channels, H, W): RGBA as it is, else its colours, white where nothing can be seen; grey as Pillow makes it."""
    if channels == 4:
        return rgba
    colours = np.where(rgba[3:] == 0, np.uint8(255), rgba[:3])
    if channels == 3:
        return colours
    red, green, blue = colours.astype(np.uint32)
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)[None]


def fitted_mask(mask: bytes, picture: bytes, size: tuple[int, int] | None) -> np.ndarray:
    """(H, W) bool, True where something is missing. Raises BadPicture for a mask of another size than its picture."""
    header, other = read_header(picture), read_header(mask)
    if (header.height, header.width) != (other.height, other.width):
        raise BadPicture(f"has {header.width}x{header.height} pixels and its mask {other.width}x{other.height}: make them the same")
    return decode(mask, 1, size)[0] > 127


def resized(alpha: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8 at another size."""
    from PIL import Image

    return alpha if alpha.shape == size else np.asarray(Image.fromarray(alpha).resize(size[::-1], Image.Resampling.BICUBIC))


def as_png(pixels: np.ndarray) -> bytes:
    """(C, H, W) uint8 as a PNG file that is quickly made."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(buffer, format="PNG", compress_level=0)
    return buffer.getvalue()


def attributes(text: str, names: tuple[str, ...]) -> Tensor:
    """(1, K): 1 for each attribute that ``text`` names, with commas between. Raises UserError for one that is not there."""
    wanted = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise UserError("There is no attribute '{name}'. Expected some of: {known}, with commas between.", name=unknown[0], known=", ".join(names) or "none")
    return torch.tensor([[float(name in wanted) for name in names]])


def map_reader(spec, options: dict[str, Any]) -> Callable[[bytes], np.ndarray]:
    """A function from a map's file to (H, W) uint8 classes, by the palette that the run was trained with; colours by what config.json keeps of it."""
    folder = Path(str(options.get("input") or "."))
    try:
        named = find_palette(folder, options.get("palette")) if options.get("palette") or options.get("input") else None
    except UserError:  # the file is no longer there: config.json has its colours
        named = None
    named = None if named is not None and named.names != spec.source_classes[: len(named.names)] else named
    own = palette_of(dict(zip(spec.source_classes, spec.source_colours, strict=True))) if len(set(spec.source_colours)) == len(spec.source_classes) else None
    spare = len(spec.source_classes) - 1 if options.get("unknown") == "class" else None

    def read(data: bytes) -> np.ndarray:
        values, kind, _ = raw_values(data, named is not None and not named.numbers)
        palette = named if named is not None else own if kind != "number" else None
        if palette is not None:
            found = nearest_class(values, palette) if kind == "lossy" else class_by_key(values, palette)
        elif kind != "number":
            raise BadPicture("is in colours, and the run's classes have none: give it as indexed or grey PNG")
        else:
            black_and_white = len(spec.source_classes) == 2 and not np.isin(values, (0, 255), invert=True).any()
            values = values // 255 if black_and_white and values.max() == 255 else values
            found = np.where((values >= 0) & (values < len(spec.source_classes)), values, UNKNOWN).astype(np.uint8)
        lost = found >= len(spec.source_classes)
        if lost.any() and spare is None:
            keys, counts = np.unique(values[lost], return_counts=True)
            names = ", ".join(f"{f'{key}' if kind == 'number' else f'#{key:06x}'} ({count} pixels)" for key, count in list(zip(keys, counts, strict=True))[:5])
            raise BadPicture(f"has pixels of no class the run knows: {names}")
        return np.where(lost, spare or 0, found).astype(np.uint8)

    return read
