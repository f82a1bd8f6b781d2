"""Pictures together with what a translator starts from: two folders matched by name, side-by-side pictures, a recipe, or two unpaired sets.

The rules (docs/data.md says the same):

* ``input`` names a folder or .zip (looked for where one stands, then inside the data folder), ``left`` or ``right`` of side-by-side pictures, a recipe
  (agon/data/inputs), ``auto`` for the folders A and B or trainA and trainB, or, unpaired, any data set.
* Folders are matched by path and name without the ending. A picture without a partner, or whose partner has another shape, is left out and named in an
  event; more than ``max_bad`` of them are an error.
* ``mirror`` turns both sides together; ``jitter`` opens both so many pixels larger and cuts the same random part out of both. Unpaired sides are turned and
  cut each for itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agon.data.cache import digest_of
from agon.data.files import folder_or_zip, listing_of
from agon.data.inputs import is_recipe, open_recipe
from agon.data.pictures import BadPicture, read_header
from agon.data.sampler import coins, mix
from agon.data.scan import allowed_bad
from agon.data.source import Batch, DataSpec, Source
from agon.errors import UserError

HALVES = ("left", "right")
LAYOUTS = (("trainA", "trainB"), ("A", "B"))
ASPECT = 0.03
"""Partners whose ratios of height to width differ by more than this fraction do not show the same scene."""
INPUT_SALT, CUT_SALT, TURN_SALT = 0x1A9, 0xC07, 0x7A2  # so that one random number does not decide two things

Make = Callable[[Tensor, np.ndarray, int, int], Tensor]


class PairSource(Source):
    """Samples of ``target`` with inputs from ``make(real, indices, seed, epoch)``. ``spec`` is that after ``jitter`` pixels have been cut away; ``chosen``:
    which samples of ``target`` there are, in order; ``length``: how many samples there are where an input set is longer; ``given``: an input set that does
    not belong to ``target``."""

    given: Source | None = None

    def __init__(self, target: Source, make: Make, spec: DataSpec, *, fingerprint: str, chosen: np.ndarray | None = None, length: int = 0,
                 mirror: bool = False, jitter: int = 0, events: list[dict] | None = None):
        self.name, self.spec, self.events, self.target = target.name, spec, [*target.events, *(events or [])], target
        self.chosen = np.arange(len(target)) if chosen is None else chosen
        self.length, self.mirror, self.jitter, self._make = length or len(self.chosen), mirror, jitter, make
        self.fingerprint = digest_of([target.fingerprint, fingerprint, self.chosen.tolist(), self.length, mirror, jitter])
        names = getattr(target, "files", None)
        self.files = None if names is None else [names[self.chosen[index % len(self.chosen)]] for index in range(self.length)]

    def __len__(self) -> int:
        return self.length

    def read(self, indices: np.ndarray, *, seed: int = 0, epoch: int = 0) -> Batch:
        indices = np.array(indices, dtype=np.int64)
        batch = self.target.read(self.chosen[indices % len(self.chosen)], seed=seed, epoch=epoch)
        batch.source = self._make(batch.real, indices, seed, epoch)
        salt = 0 if self.spec.paired else INPUT_SALT
        batch.real = self._varied(batch.real, self.spec.shape, 0, seed, epoch, indices)
        batch.source = self._varied(batch.source, self.spec.source_shape, salt, seed, epoch, indices)
        return batch

    def _varied(self, samples: Tensor, shape: tuple[int, ...], salt: int, seed: int, epoch: int, indices: np.ndarray) -> Tensor:
        """Cut and turned. With one ``salt`` both sides get the same part, in whole pixels of the smaller side."""
        if self.jitter:
            coarse = max(1, self.spec.shape[1] // self.spec.source_shape[1])  # parts begin on whole pixels of both sides
            step = coarse if shape[1] == self.spec.shape[1] else 1
            bits = mix(seed ^ CUT_SALT ^ salt, epoch, indices)
            tops, lefts = (((bits >> np.uint64(shift)) % np.uint64(self.jitter // coarse + 1)).astype(np.int64) * step for shift in (8, 36))
            samples = torch.stack([each[:, t : t + shape[1], s : s + shape[2]] for each, t, s in zip(samples, tops, lefts, strict=True)])
        if self.mirror:
            turn = torch.from_numpy(coins(seed ^ TURN_SALT ^ salt, epoch, indices))
            samples = torch.where(turn.view(-1, 1, 1, 1), samples.flip(-1), samples)
        return samples


@dataclass(frozen=True)
class Wishes:
    """The options of a pairing, checked."""

    paired: bool = True
    mirror: bool = False
    jitter: int = 0
    scale: int = 1
    max_bad: float = 0.1
    maps: bool = False
    palette: str | None = None
    classes: int = 0
    unknown: str = "refuse"
    instances: str | None = None


def open_pairs(data: Any, *, input: str, size: tuple[int, int] | None = None, channels: int | None = None, cache_dir: Path | None = None,
               paired: bool = True, mirror: bool = False, jitter: int = 0, scale: int = 1, max_bad: float = 0.1, maps: bool = False,
               palette: str | None = None, classes: int = 0, unknown: str = "refuse", instances: str | None = None, **options: Any) -> Source:
    """``data`` is what is to be made, ``input`` what of: see the head of this file. ``scale``: input pictures in a folder are so many times smaller.
    ``maps``: the input folder holds label maps, with ``palette`` (a JSON file of names and colours), ``classes`` (how many, for numbers without names),
    ``unknown`` (refuse, class or skip) and ``instances`` (a folder of instance maps). Options beginning with ``input_`` go to an unpaired input data set."""
    if jitter < 0 or scale < 1:
        raise UserError("jitter is {jitter} and scale is {scale}. Expected jitter 0 or more pixels and scale 1 or more.", jitter=jitter, scale=scale)
    wishes = Wishes(paired, mirror, jitter, scale, max_bad, maps or palette is not None, palette, classes, unknown, instances)
    request = {"size": size, "channels": channels, "cache_dir": cache_dir}
    theirs = {key.removeprefix("input_"): value for key, value in options.items() if key.startswith("input_")}
    options = {key: value for key, value in options.items() if not key.startswith("input_")}
    data, input = laid_out(data, input)
    if input in HALVES:
        return from_halves(data, input, request, options, wishes)
    folder = input_folder(data, input)
    if folder is not None and paired:
        return from_folders(data, folder, request, options, wishes)
    if not paired:
        return unpaired(data, folder or input, request, options, theirs, wishes)
    return from_recipe(data, input, request, options, wishes)


def pairs_by_itself(input: Any) -> bool:
    """Whether such an input is made of, or lies in, the very pictures."""
    return input is not None and (input in HALVES or is_recipe(str(input)))


def laid_out(data: Any, input: str) -> tuple[Any, str]:
    """``auto`` resolved: the folders A and B (or trainA and trainB) of a data folder; a recipe or a name stays."""
    if input != "auto":
        return data, input
    if isinstance(data, str | Path) and Path(data).expanduser().is_dir():
        root = Path(data).expanduser()
        for first, second in LAYOUTS:
            if (root / first).is_dir() and (root / second).is_dir():
                return root / second, str(root / first)
    raise UserError("What the pictures of '{data}' are to be made of is not clear. Expected folders A and B (or trainA and trainB) in it, or --data.input "
                    "with a folder of inputs, left or right, or a recipe such as edges or grey.", data=data)


def input_folder(data: Any, input: str) -> Path | None:
    """The folder or .zip of inputs, as it stands or inside the data folder."""
    if is_recipe(input):
        return None
    found = folder_or_zip(input)
    if found is None and isinstance(data, str | Path) and not Path(input).is_absolute():
        found = folder_or_zip(Path(data).expanduser() / input)
    return found


def enlarged(size: tuple[int, int] | None, by: int) -> tuple[int, int] | None:
    return None if size is None else (size[0] + by, size[1] + by)


def opened(data: Any, request: dict, options: dict, jitter: int, widen: int = 1) -> Source:
    """The target data set, ``jitter`` pixels larger than was asked for (or than it would be by itself)."""
    from agon.data import open_dataset

    size = request["size"]
    if size is None and jitter:
        size = open_dataset(data, **request, **options).spec.shape[1:]
    size = enlarged(size, jitter)
    source = open_dataset(data, **{**request, "size": size and (size[0], widen * size[1])}, **options)
    if source.spec.kind != "image":
        raise UserError("'{data}' holds {kind}, and translation is between pictures. Expected a data set of pictures.", data=data, kind=source.spec.kind)
    return source


def cut_shape(shape: tuple[int, ...], jitter: int) -> tuple[int, int, int]:
    return shape[0], shape[1] - jitter, shape[2] - jitter


def from_recipe(data: Any, input: str, request: dict, options: dict, wishes: Wishes) -> PairSource:
    from agon.data import known_options

    if "max_bad" in known_options(data, options):
        options = options | {"max_bad": wishes.max_bad}
    base = opened(data, request, options, wishes.jitter)
    recipe = open_recipe(input, base)

    def make(real: Tensor, indices: np.ndarray, seed: int, epoch: int) -> Tensor:
        bits = mix(seed ^ INPUT_SALT, epoch, indices)
        return recipe.make(real, indices, lambda i: torch.Generator().manual_seed(int(bits[i] >> np.uint64(1))))

    factor = base.spec.shape[1] // recipe.shape[1] if recipe.shape[1] else 1
    if wishes.jitter % max(1, factor):
        raise UserError("jitter {jitter} does not fit inputs {factor} times smaller. Expected a multiple of {factor}.", jitter=wishes.jitter, factor=factor)
    spec = replace(base.spec, shape=cut_shape(base.spec.shape, wishes.jitter), source_shape=cut_shape(recipe.shape, wishes.jitter // max(1, factor)),
                   source_kind=recipe.kind, source_classes=recipe.classes, source_colours=recipe.colours, paired=True)
    return PairSource(base, make, spec, fingerprint=input, mirror=wishes.mirror, jitter=wishes.jitter)


def from_halves(data: Any, side: str, request: dict, options: dict, wishes: Wishes) -> PairSource:
    """Pictures twice as wide as high: ``side`` is the input, the other half the target."""
    size = request["size"]
    if size is None:
        alone = opened(data, request, options, 0).spec.shape[1:]
        size = (alone[0], alone[0])
    whole = opened(data, {**request, "size": size}, options | {"labelled": False}, wishes.jitter, widen=2)
    target = Half(whole, "right" if side == "left" else "left")
    given = Half(whole, side)
    shape = cut_shape(target.spec.shape, wishes.jitter)
    spec = replace(target.spec, shape=shape, source_shape=shape, source_kind="picture", paired=True)
    return PairSource(target, lambda real, indices, seed, epoch: given.read(indices).real, spec, fingerprint=side, mirror=wishes.mirror,
                      jitter=wishes.jitter)


class Half(Source):
    """The left or the right half of every picture."""

    def __init__(self, whole: Source, side: str):
        channels, height, width = whole.spec.shape
        self.whole, self.side, self.name, self.events = whole, side, whole.name, whole.events if side == "right" else []
        self.spec = replace(whole.spec, shape=(channels, height, width // 2), num_classes=0, class_names=())
        self.fingerprint, self.files = digest_of([whole.fingerprint, side]), getattr(whole, "files", None)

    def __len__(self) -> int:
        return len(self.whole)

    def read(self, indices: np.ndarray, *, seed: int = 0, epoch: int = 0) -> Batch:
        left, right = self.whole.read(indices, seed=seed, epoch=epoch).real.chunk(2, 3)
        return Batch(left if self.side == "left" else right)


def from_folders(data: Any, folder: Path, request: dict, options: dict, wishes: Wishes) -> PairSource:
    """Two folders of pictures (or a folder of pictures and one of label maps), matched by name."""
    root = folder_or_zip(data) if isinstance(data, str | Path) else None
    if root is None:
        raise UserError("'{data}' is no folder, and the input {folder} is one. Expected two folders whose files have the same names, or --data.paired false.",
                        data=data, folder=folder)
    target = opened(data, request, {**options, "labelled": False, "max_bad": wishes.max_bad}, wishes.jitter)
    size = tuple(side // wishes.scale for side in target.spec.shape[1:])
    given = input_pictures(folder, size, request, wishes)
    mine, theirs = (by_stem(side.files) for side in (target, given))
    mine = {stem: index for stem, index in mine.items() if not (folder.is_relative_to(root) and target.files[index].startswith(folder.name + "/"))}
    unlike = other_shapes(root, folder, [(target.files[mine[s]], given.files[theirs[s]]) for s in mine.keys() & theirs.keys()])
    both = sorted(stem for stem in mine.keys() & theirs.keys() if target.files[mine[stem]] not in unlike)
    alone = [(target.files[mine[s]], f"has no partner in {folder}") for s in sorted(mine.keys() - theirs.keys())]
    alone += [(given.files[theirs[s]], f"has no partner in {root}") for s in sorted(theirs.keys() - mine.keys())]
    bad = alone + sorted(unlike.items())
    if not both:
        raise UserError("No picture of {data} has a partner in {folder}: {first}. Expected the same names in both, whatever the ending; for sets that do not "
                        "belong together add --data.paired false.", data=root, folder=folder, first=", ".join(name for name, _ in bad[:3]))
    too_many_left_out(root, folder, bad, len(both), wishes.max_bad)
    events = [*given.events, *[{"event": "skipped", "file": file, "why": why} for file, why in bad]]
    partner = np.array([theirs[stem] for stem in both])
    spec = replace(target.spec, shape=cut_shape(target.spec.shape, wishes.jitter), paired=True, source_kind=given.spec.source_kind or "picture",
                   source_shape=cut_shape(given.spec.shape, wishes.jitter // wishes.scale), source_classes=given.spec.source_classes,
                   source_colours=given.spec.source_colours)
    return PairSource(target, lambda real, indices, seed, epoch: given.read(partner[indices]).real, spec, chosen=np.array([mine[s] for s in both]),
                      fingerprint=digest_of([given.fingerprint, partner.tolist()]), mirror=wishes.mirror, jitter=wishes.jitter, events=events)


def too_many_left_out(root: Path, folder: Path, bad: list[tuple[str, str]], good: int, max_bad: float) -> None:
    """Raise UserError where more pictures would be left out than bad ones are put up with elsewhere."""
    if len(bad) > allowed_bad(good, len(bad), max_bad):
        raise UserError("{bad} pictures of {data} and {folder} make no pair, beside {good} that do: {first}. Expected the same names in both, whatever the "
                        "ending, and at most {percent:g} % without a partner. Add or remove files, or allow more with max_bad.", bad=len(bad), data=root,
                        folder=folder, good=good, first="; ".join(f"{name} {why}" for name, why in bad[:3]), percent=100 * max_bad)


def input_pictures(folder: Path, size: tuple[int, ...], request: dict, wishes: Wishes) -> Source:
    """The input folder at ``size``, as pictures or as label maps."""
    if not wishes.maps:
        from agon.data.folder import open_source

        return open_source(folder, size=size, cache_dir=request["cache_dir"], labelled=False, max_bad=wishes.max_bad)
    from agon.data.maps import open_maps

    return MapSource(folder, open_maps(folder, size=size, palette=wishes.palette, classes=wishes.classes, unknown=wishes.unknown,
                                       instances=wishes.instances, cache_dir=request["cache_dir"]))


class MapSource(Source):
    """Label maps: ``real`` is (N, 1 or 2, H, W) uint8 here."""

    def __init__(self, folder: Path, maps: Any):
        self.name, self.events, self.files, self.maps = str(folder), maps.events, maps.files, torch.from_numpy(maps.pixels)
        self.spec = DataSpec("image", tuple(maps.pixels.shape[1:]), source_kind="map", source_classes=maps.classes, source_colours=maps.colours)
        self.fingerprint = digest_of([maps.fingerprint, maps.classes])

    def __len__(self) -> int:
        return len(self.maps)

    def read(self, indices: np.ndarray, *, seed: int = 0, epoch: int = 0) -> Batch:
        return Batch(self.maps[torch.from_numpy(np.array(indices, dtype=np.int64))])


def by_stem(files: list[str]) -> dict[str, int]:
    """Path and name without the ending -> position. Raises UserError where two files differ in the ending alone."""
    found: dict[str, int] = {}
    for index, name in enumerate(files):
        stem = str(PurePosixPath(name).with_suffix(""))
        if stem in found:
            raise UserError("{first} and {second} have one name, so that it is not clear which is the partner. Expected one picture of each name.",
                            first=files[found[stem]], second=name)
        found[stem] = index
    return found


def other_shapes(root: Path, folder: Path, pairs: list[tuple[str, str]]) -> dict[str, str]:
    """File -> why, of targets whose partner has another ratio of height to width."""
    sizes = []
    for path, wanted in ((root, {a for a, _ in pairs}), (folder, {b for _, b in pairs})):
        with listing_of(path) as listing:
            sizes.append({item.name: _size(item) for item in listing.items if item.name in wanted})
    unlike = {}
    for mine, theirs in pairs:
        (h, w), (other_h, other_w) = sizes[0].get(mine, (1, 1)), sizes[1].get(theirs, (1, 1))
        if abs(h * other_w / (w * other_h) - 1) > ASPECT:
            unlike[mine] = f"is {w}x{h} pixels, its partner {other_w}x{other_h}: another shape"
    return unlike


def _size(item: Any) -> tuple[int, int]:
    try:
        header = read_header(item.read())
        return header.height, header.width
    except BadPicture:
        return 1, 1


def unpaired(data: Any, input: Path | str, request: dict, options: dict, theirs: dict, wishes: Wishes) -> PairSource:
    """Two data sets that do not belong together: sample i of the target with a random one of the inputs."""
    from agon.data import open_dataset

    if isinstance(input, str) and is_recipe(input):
        raise UserError("The recipe '{input}' makes pairs. Leave out --data.paired false, or name a folder or data set of inputs.", input=input)
    target = opened(data, request, options, wishes.jitter)
    shape = target.spec.shape
    given = open_dataset(input, size=shape[1:], channels=shape[0], cache_dir=request["cache_dir"], **theirs)
    small = cut_shape(shape, wishes.jitter)
    spec = replace(target.spec, shape=small, source_shape=small, source_kind="picture", paired=False)
    source = PairSource(target, partial(_any_of, given), spec, fingerprint=given.fingerprint, length=max(len(target), len(given)), mirror=wishes.mirror,
                        jitter=wishes.jitter, events=given.events)
    source.given = given
    return source


def _any_of(given: Source, real: Tensor, indices: np.ndarray, seed: int, epoch: int) -> Tensor:
    chosen = (mix(seed ^ INPUT_SALT, epoch, indices) % np.uint64(len(given))).astype(np.int64)
    return given.read(chosen, seed=seed, epoch=epoch).real
