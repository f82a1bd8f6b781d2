"""Real photographs that are on the disk already: those inside scikit-learn (2) and scikit-image (15), in random crops, split by photograph.

They come with free licences (NASA and museum pictures in the public domain, CC0, and CC BY 2.0 for scikit-learn's two; the packages' ``data`` folders name
the sources). No two photographs of a scene are used (of the motorcycle's stereo pair the left one only), and drawings, diagrams, scanned pages and tiny
pictures are left out. Training and testing never share a photograph; which belongs where is fixed below and stays so whatever is installed.

``retina`` and ``hubble_deep_field`` are soft and several times as large as the rest: both are halved, so that they are no third of all crops.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from agon.data.crops import CropSource, check_crop
from agon.data.pictures import decode
from agon.errors import UserError

SKLEARN, SKIMAGE = ("sklearn", "datasets/images"), ("skimage", "data")
# photograph -> (package, folder, file, is it grey)
TRAIN = {
    "astronaut": (*SKIMAGE, "astronaut.png", False), "flower": (*SKLEARN, "flower.jpg", False), "motorcycle": (*SKIMAGE, "motorcycle_left.png", False),
    "ihc": (*SKIMAGE, "ihc.png", False), "retina": (*SKIMAGE, "retina.jpg", False), "hubble_deep_field": (*SKIMAGE, "hubble_deep_field.jpg", False),
    "brick": (*SKIMAGE, "brick.png", True), "grass": (*SKIMAGE, "grass.png", True), "gravel": (*SKIMAGE, "gravel.png", True),
    "moon": (*SKIMAGE, "moon.png", True), "coins": (*SKIMAGE, "coins.png", True),
}
TEST = {
    "china": (*SKLEARN, "china.jpg", False), "chelsea": (*SKIMAGE, "chelsea.png", False), "coffee": (*SKIMAGE, "coffee.png", False),
    "rocket": (*SKIMAGE, "rocket.jpg", False), "camera": (*SKIMAGE, "camera.png", True),
}
SPLITS = {"train": TRAIN, "test": TEST, "all": {**TRAIN, **TEST}}
HALVED = ("retina", "hubble_deep_field")
INSTALL = {"sklearn": "pip install scikit-learn", "skimage": "pip install scikit-image"}


def open_source(name: str, *, size: tuple[int, int] | None = None, channels: int | None = None, cache_dir: Path | None = None, split: str = "train",
                crop: int = 96, mirror: bool = False, zoom: float = 1.0, grey: bool = True) -> CropSource:
    """Crops of the photographs; ``.pictures`` has them whole, ``.names`` their names.

    ``split``: "train" (11 photographs), "test" (5, four of them in colour) or "all". ``crop``: side of a crop; ``size`` gives a rectangle instead.
    ``channels``: 3 by default (grey photographs repeat their grey). ``grey=False`` leaves the grey photographs out, for colourisation. ``mirror`` and
    ``zoom`` as in :class:`agon.data.crops.CropSource`. Photographs that are not installed are left out, and an event says which command mends it.
    """
    if split not in SPLITS:
        raise UserError("The data set 'photos' has no split '{split}'. Expected train, test or all.", split=split)
    check_crop(size or (crop, crop), zoom)
    wanted = {key: entry[:3] for key, entry in SPLITS[split].items() if grey or not entry[3]}
    paths = {key: path for key, entry in wanted.items() if (path := located(*entry)) is not None}
    if not paths:
        raise UserError("None of the photographs of 'photos' (split {split}) is installed. Install what they come with: "
                        "pip install scikit-learn scikit-image.", split=split)
    pictures = [photograph(key, path, channels or 3) for key, path in paths.items()]
    return CropSource(name, pictures, size or (crop, crop), mirror=mirror, zoom=zoom, names=tuple(paths), events=missing(wanted, paths))


def missing(wanted: dict[str, tuple[str, str, str]], found: dict[str, Path]) -> list[dict]:
    """One event for each package that photographs are missing from."""
    events = []
    for package, command in INSTALL.items():
        absent = [key for key, entry in wanted.items() if entry[0] == package and key not in found]
        if absent:
            events.append({"event": "missing", "photographs": absent, "why": f"they come with another package or version of it: {command}"})
    return events


def located(package: str, folder: str, file: str) -> Path | None:
    """The file inside an installed package, which is not imported (scikit-image takes half a second)."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    for root in (spec.submodule_search_locations or []) if spec else []:
        path = Path(root, folder, file)
        if path.is_file():
            return path
    return None


def photograph(key: str, path: Path, channels: int) -> np.ndarray:
    """(H, W, channels) uint8."""
    pixels = decode(path.read_bytes(), channels)
    if key in HALVED:
        height, width = (side // 2 * 2 for side in pixels.shape[1:])
        blocks = pixels[:, :height, :width].reshape(channels, height // 2, 2, width // 2, 2)
        pixels = np.rint(blocks.mean((2, 4))).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))
