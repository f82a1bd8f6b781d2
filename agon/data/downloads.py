"""MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100: downloaded where there is a network, or read from a local path. Nothing is unpickled.

Files, their SHA-256 and where these hashes come from: every one was found, identical, in at least three independent public
repositories; TensorFlow Datasets (url_checksums/) records the same for MNIST, Fashion-MNIST and CIFAR-10. Of CIFAR it is the *binary*
version, because the "python" one is a pickle. A file that has been unpacked locally (train-images-idx3-ubyte, data_batch_1.bin) is
checked for its form alone, since its publisher gives no hash for it.

Papers: LeCun et al. 1998 (MNIST); Xiao et al. 2017, https://arxiv.org/abs/1708.07747; Krizhevsky 2009 (CIFAR).
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import os
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agon.data.cache import cache_folder, sha256_of, sweep
from agon.data.source import ArraySource, DataSpec
from agon.errors import UserError

TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Remote:
    """One set's files. ``files``: name -> SHA-256. ``urls``: folders to try in turn. ``inner``: the folder inside the archive (CIFAR)."""

    urls: tuple[str, ...]
    files: dict[str, str]
    classes: tuple[str, ...]
    inner: str = ""


REMOTES = {
    "mnist": Remote(
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        {"train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
         "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
         "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
         "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"},
        tuple("0123456789")),
    "fashion-mnist": Remote(
        ("https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
         "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"),
        {"train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
         "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
         "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
         "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"},
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")),
    "cifar10": Remote(
        ("https://www.cs.toronto.edu/~kriz/",),
        {"cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"), "cifar-10-batches-bin"),
    "cifar100": Remote(
        ("https://www.cs.toronto.edu/~kriz/",),
        {"cifar-100-binary.tar.gz": "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"},
        (), "cifar-100-binary"),
}


def open_source(name: str, *, size: tuple[int, int] | None = None, channels: int | None = None, cache_dir: Path | None = None,
                path: str | Path | None = None, split: str = "train", label: str = "fine", labelled: bool = True,
                mirror: bool = False) -> ArraySource:
    """``path``: a folder with the files, packed or unpacked; else $AGON_DATA/<name>, else the cache, where they are downloaded to.

    ``split``: "train" or "test". ``label`` (cifar100 only): "fine", 100 classes, or "coarse", 20. Raises UserError where a file cannot
    be had or has another SHA-256 than the known one.
    """
    if split not in ("train", "test"):
        raise UserError("The data set '{name}' has no split '{split}'. Expected train or test.", name=name, split=split)
    if label not in ("fine", "coarse") or label == "coarse" and name != "cifar100":
        raise UserError("'{name}' cannot be labelled by '{label}'. Expected fine (or coarse, for cifar100 alone).", name=name, label=label)
    folder = Files(name, path, cache_dir)
    pixels, labels, classes = read_cifar(folder, split, label) if name.startswith("cifar") else read_mnist(folder, split)
    classes = classes if labelled else ()
    pixels, events = in_size(pixels, size)
    pixels = in_channels(pixels, channels)
    spec = DataSpec("image", pixels.shape[1:], len(classes), classes)
    return ArraySource(name, spec, pixels, labels, events=events, mirror=mirror)


def in_size(pixels: np.ndarray, size: tuple[int, int] | None) -> tuple[np.ndarray, list[dict]]:
    """(N, C, H, W) uint8 at another (height, width), by the rule for folders (``pictures.fit``), and the event that says so."""
    if size in (None, pixels.shape[2:]):
        return pixels, []
    from PIL import Image

    from agon.data.pictures import fit

    made = np.empty((*pixels.shape[:2], *size), np.uint8)
    for index, picture in enumerate(pixels.transpose(0, 2, 3, 1)):
        image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else np.ascontiguousarray(picture))
        made[index] = np.asarray(fit(image, size)).reshape(*size, -1).transpose(2, 0, 1)
    enlarged = len(made) if size[0] > pixels.shape[2] or size[1] > pixels.shape[3] else 0
    return made, [{"event": "resized", "pictures": len(made), "enlarged": enlarged, "size": list(size), "chosen": "asked for",
                   "how": "scaled to cover, aspect kept, middle cut out (Lanczos)"}]


def in_channels(pixels: np.ndarray, channels: int | None) -> np.ndarray:
    """(N, 1 or 3, H, W) uint8 -> 1 (luma of ITU-R 601-2), 3 or 4 channels (alpha is opaque)."""
    have = pixels.shape[1]
    if channels in (None, have):
        return pixels
    if channels == 1:
        return np.stack([np.rint(picture.T @ (0.299, 0.587, 0.114)).T.astype(np.uint8)[None] for picture in pixels])
    colour = np.repeat(pixels, 3, axis=1) if have == 1 else pixels
    return colour if channels == 3 else np.concatenate([colour, np.full_like(colour[:, :1], 255)], axis=1)


class Files:
    """Where one set's files are found: ``path``, else $AGON_DATA/<name>, else $AGON_CACHE/downloads/<name>, into which they are fetched."""

    def __init__(self, name: str, path: str | Path | None, cache_dir: Path | None):
        self.name, self.remote = name, REMOTES[name]
        self.given = Path(path).expanduser() if path is not None else None
        root = os.environ.get("AGON_DATA")
        self.kept = Path(root).expanduser() / name if root else cache_folder(cache_dir) / "downloads" / name
        if self.given is not None and not self.given.exists():
            raise UserError("There is no {path}. Expected a folder with {files}: download them from {url}, or leave path out.",
                            path=self.given, files=", ".join(self.remote.files), url=self.remote.urls[0])
        if self.given is not None and self.given.is_file() and len(self.remote.files) > 1:
            raise UserError("{path} is a single file. Expected the folder that holds {files}.", path=self.given,
                            files=", ".join(self.remote.files))

    def unpacked(self, member: str) -> Path | None:
        """A file of the set that lies unpacked, with or without the archive's own folder (or torchvision's "raw") round it."""
        for folder in self._folders():
            for path in (folder / member, folder / self.remote.inner / member, folder / "raw" / member):
                if path.is_file():
                    return path
        return None

    def packed(self, name: str) -> Path:
        """A packed file of the set, its SHA-256 verified; downloaded if it is nowhere and no ``path`` was given."""
        found = self.given if self.given is not None and self.given.is_file() else None
        for folder in self._folders():
            found = found or next((path for path in (folder / name, folder / "raw" / name) if path.is_file()), None)
        if self.given is not None and self._pickled(found):
            raise UserError("{path} is the version of CIFAR that is a pickle, which could run any program: it is never opened. Expected the "
                            "binary version, {file}: download it from {url}.", path=self.given, file=name, url=self.remote.urls[0] + name)
        if found is None and self.given is not None:
            raise UserError("{path} holds no {file}. Expected it there, packed or unpacked: download it from {url}, or leave path out.",
                            path=self.given, file=name, url=self.remote.urls[0] + name)
        found = found or download(self.remote, name, self.kept)
        check_sha256(found, self.remote.files[name], self.remote.urls[0] + name)
        return found

    def _pickled(self, found: Path | None) -> bool:
        """Was the "python" version of CIFAR given, and not the binary one?"""
        if found is not None:
            return "-python" in found.name
        return any((self.given / name).exists() for part in ("10", "100")
                   for name in (f"cifar-{part}-python.tar.gz", f"cifar-{part}-batches-py", f"cifar-{part}-python"))

    def _folders(self) -> list[Path]:
        return [path for path in ((self.given,) if self.given is not None else (self.kept,)) if path.is_dir()]


def check_sha256(path: Path, expected: str, url: str) -> None:
    """Raise UserError where a file is not the published one."""
    got = sha256_of(path)
    if got != expected:
        raise UserError("{path} is not the published file: SHA-256 {expected} is expected, it has {got}. Get it anew from {url}; if "
                        "it lies in the cache, delete it and run again.", path=path, expected=expected, got=got, url=url)


def download(remote: Remote, name: str, folder: Path) -> Path:
    """Fetch a file into ``folder`` under its name, only once its SHA-256 has been verified. Tries every address."""
    target, problems = folder / name, []
    for base in remote.urls:
        try:
            fetch(base + name, target, remote.files[name])
            return target
        except (OSError, EOFError, http.client.HTTPException) as error:  # URLError is an OSError
            problems.append(f"{base}: {getattr(error, 'reason', None) or error}")
    raise UserError("{file} could not be downloaded ({why}). Check the network, or fetch it elsewhere from {url} and put it into {folder} "
                    "(or say path=FOLDER).", file=name, why="; ".join(problems), url=remote.urls[0] + name, folder=folder)


def fetch(url: str, target: Path, expected: str) -> None:
    """One download: into a temporary file beside the target, hashed on the way, renamed at the end. Raises OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target.parent, ".downloading-")
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".downloading-")
    try:
        digest = hashlib.sha256()
        with os.fdopen(handle, "wb") as file:
            for block in blocks_of(url, target.name):
                digest.update(block)
                file.write(block)
        if digest.hexdigest() != expected:
            raise OSError(f"sent another file than the published one: SHA-256 {expected} is expected, {digest.hexdigest()} came")
        os.replace(temporary, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def blocks_of(url: str, title: str) -> Iterator[bytes]:
    """The bytes behind an address, 1 MiB at a time, with a bar on a terminal's stderr. A connection that ends early is an error."""
    from tqdm import tqdm

    request = urllib.request.Request(url, headers={"User-Agent": "agon-gan"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
        length, received = int(answer.headers.get("Content-Length") or 0), 0
        bar = tqdm(total=length or None, desc=title, unit="B", unit_scale=True, file=sys.stderr, disable=not sys.stderr.isatty())
        with bar:
            while block := answer.read(1 << 20):
                bar.update(len(block))
                received += len(block)
                yield block
        if received < length:  # http.client says nothing of it when it reads in blocks
            raise OSError(f"the connection ended after {received:,} of {length:,} bytes")


def read_mnist(files: Files, split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """-> (N, 1, 28, 28) uint8, (N,) labels, class names."""
    prefix = "train" if split == "train" else "t10k"
    images, labels = (read_idx_file(files, f"{prefix}-{part}-ubyte") for part in ("images-idx3", "labels-idx1"))
    if images.ndim != 3 or labels.shape != images.shape[:1] or labels.size and labels.max() > 9:
        raise UserError("The files of '{name}' do not fit together: pictures {images}, labels {labels}. Download both again.",
                        name=files.name, images=images.shape, labels=labels.shape)
    return images[:, None], labels, files.remote.classes


def read_idx_file(files: Files, name: str) -> np.ndarray:
    path = files.unpacked(name)
    if path is not None:
        return parse_idx(path.read_bytes(), path)
    path = files.packed(f"{name}.gz")
    try:
        return parse_idx(gzip.decompress(path.read_bytes()), path)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError("{path} cannot be unpacked ({why}). Delete it and run again.", path=path, why=error) from error


def parse_idx(data: bytes, path: Path) -> np.ndarray:
    """IDX (LeCun): two zero bytes, the type (8: uint8), the number of dimensions, each as 4 bytes big-endian, then the values."""
    dimensions = data[3] if len(data) >= 4 and data[:3] == b"\x00\x00\x08" else 0
    shape = tuple(np.frombuffer(data, ">u4", dimensions, 4).tolist()) if 0 < dimensions <= 3 and len(data) >= 4 + 4 * dimensions else ()
    if not shape or len(data) != 4 + 4 * dimensions + int(np.prod(shape)):
        raise UserError("{path} is no complete IDX file of bytes. Download it again.", path=path)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape).copy()


def read_cifar(files: Files, split: str, label: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """-> (N, 3, 32, 32) uint8, (N,) labels, class names. A record is 1 label byte (CIFAR-100: coarse, fine) and 3 planes of 32 x 32."""
    hundred = files.name == "cifar100"
    batches = [f"{split}.bin"] if hundred else [f"data_batch_{n}.bin" for n in range(1, 6)] if split == "train" else ["test_batch.bin"]
    names_file = f"{label}_label_names.txt"
    contents = cifar_members(files, [*batches, *([names_file] if hundred else [])])
    label_bytes = 2 if hundred else 1
    records = [parse_cifar(contents[name], label_bytes, name) for name in batches]
    joined = np.concatenate(records)
    column = 0 if label == "coarse" or not hundred else 1
    classes = tuple(contents[names_file].decode("ascii").split()) if hundred else files.remote.classes
    labels = joined[:, column].astype(np.int64)
    if labels.size and labels.max() >= len(classes):
        raise UserError("'{name}' holds label {label}, but there are {count} classes. Download it again.", name=files.name,
                        label=int(labels.max()), count=len(classes))
    return np.ascontiguousarray(joined[:, label_bytes:]).reshape(-1, 3, 32, 32), labels, classes


def parse_cifar(data: bytes, label_bytes: int, name: str) -> np.ndarray:
    """(N, label_bytes + 3072) uint8."""
    record = label_bytes + 3072
    if not data or len(data) % record:
        raise UserError("{file} has {size} bytes, which is no whole number of {record}-byte records. Download it again (the binary "
                        "version).", file=name, size=len(data), record=record)
    return np.frombuffer(data, np.uint8).reshape(-1, record)


def cifar_members(files: Files, names: list[str]) -> dict[str, bytes]:
    """The named members, from unpacked files or out of the archive in memory: nothing is extracted to disk."""
    loose = {name: files.unpacked(name) for name in names}
    if all(loose.values()):
        return {name: path.read_bytes() for name, path in loose.items() if path is not None}
    path, found = files.packed(next(iter(files.remote.files))), {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = Path(member.name).name
                if name in names and member.isfile():
                    found[name] = archive.extractfile(member).read()  # type: ignore[union-attr]
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise UserError("{path} cannot be unpacked ({why}). Delete it and run again.", path=path, why=error) from error
    missing = [name for name in names if name not in found]
    if missing:
        raise UserError("{path} holds no {missing}. Expected the binary version of CIFAR.", path=path, missing=", ".join(missing))
    return found
