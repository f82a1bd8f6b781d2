"""MNIST and CIFAR files. Oracles: arrays written here in the published formats; a real HTTP server on this machine for downloads."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import struct
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import agon.data.downloads as downloads
from agon.data import open_dataset
from agon.errors import UserError

state = np.random.RandomState(11)
DIGITS, LABELS = state.randint(0, 256, (12, 28, 28), dtype=np.uint8), state.randint(0, 10, 12).astype(np.uint8)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def pixels_of(source: object) -> np.ndarray:
    return np.rint((source.read(np.arange(len(source))).real.numpy() + 1) * 127.5).astype(np.uint8)


MNIST = {"train-images-idx3-ubyte": idx(DIGITS), "train-labels-idx1-ubyte": idx(LABELS),
         "t10k-images-idx3-ubyte": idx(DIGITS[:5]), "t10k-labels-idx1-ubyte": idx(LABELS[:5])}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize("inner", ["", "raw"])
def test_unpacked_idx_files_are_read(tmp_path: Path, name: str, inner: str) -> None:
    write(tmp_path / inner, MNIST)
    source, test = (open_dataset(name, path=tmp_path, split=split) for split in ("train", "test"))
    assert np.array_equal(pixels_of(source)[:, 0], DIGITS) and source.read(np.arange(12)).label.tolist() == LABELS.tolist()
    assert len(test) == 5 and source.spec.num_classes == 10 and len(source.spec.class_names) == 10
    assert open_dataset(name, path=tmp_path, channels=3).spec.shape == (3, 28, 28)


def cifar(tmp_path: Path, label_bytes: int, names: list[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    made = {}
    for name in names:
        labels, pixels = state.randint(0, 10, (4, label_bytes), dtype=np.uint8), state.randint(0, 256, (4, 3, 32, 32), dtype=np.uint8)
        records = b"".join(bytes(label) + picture.tobytes() for label, picture in zip(labels, pixels, strict=True))
        write(tmp_path, {name: records})
        made[name] = labels, pixels
    return made


def test_unpacked_cifar10_is_read_in_order(tmp_path: Path) -> None:
    names = [f"data_batch_{n}.bin" for n in range(1, 6)]
    made = cifar(tmp_path / "cifar-10-batches-bin", 1, [*names, "test_batch.bin"])
    train, test = (open_dataset("cifar10", path=tmp_path, split=split) for split in ("train", "test"))
    assert np.array_equal(pixels_of(train), np.concatenate([made[name][1] for name in names]))
    assert train.read(np.arange(20)).label.tolist() == np.concatenate([made[name][0][:, 0] for name in names]).tolist()
    assert np.array_equal(pixels_of(test), made["test_batch.bin"][1]) and train.spec.class_names[5] == "dog"


def test_cifar100_has_fine_and_coarse_labels(tmp_path: Path) -> None:
    made = cifar(tmp_path, 2, ["train.bin"])["train.bin"]
    write(tmp_path, {"fine_label_names.txt": "\n".join(f"fine{n}" for n in range(100)).encode() + b"\n\n",
                     "coarse_label_names.txt": "\n".join(f"coarse{n}" for n in range(20)).encode() + b"\n"})
    fine, coarse = (open_dataset("cifar100", path=tmp_path, label=label) for label in ("fine", "coarse"))
    assert fine.read(np.arange(4)).label.tolist() == made[0][:, 1].tolist() and fine.spec.class_names[99] == "fine99"
    assert coarse.read(np.arange(4)).label.tolist() == made[0][:, 0].tolist() and coarse.spec.num_classes == 20
    assert np.array_equal(pixels_of(fine), made[1])


@pytest.mark.parametrize(("name", "data", "words"), [
    ("train-images-idx3-ubyte", idx(DIGITS)[:-1], "no complete IDX"), ("train-images-idx3-ubyte", b"", "no complete IDX"),
    ("train-images-idx3-ubyte", idx(DIGITS).replace(b"\0\0\x08", b"\0\0\x0d", 1), "no complete IDX"),
    ("train-labels-idx1-ubyte", idx(LABELS[:3]), "do not fit together"), ("train-labels-idx1-ubyte", idx(LABELS + 10), "do not fit together"),
])
def test_damaged_idx_files_are_refused(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    write(tmp_path, {**MNIST, name: data})
    with pytest.raises(UserError, match=words):
        open_dataset("mnist", path=tmp_path)


def test_other_sizes_and_channels_are_made(tmp_path: Path) -> None:
    """Twice the side: block means give the picture back (Lanczos keeps them nearly), grey is repeated; luma is arithmetic."""
    write(tmp_path / "m", MNIST)
    smooth = (np.add.outer(np.arange(28), np.arange(28)) * 4).astype(np.uint8)
    write(tmp_path / "m", {"train-images-idx3-ubyte": idx(np.stack([smooth] * 12))})
    source = open_dataset("mnist", path=tmp_path / "m", size=56, channels=3)
    assert source.spec.shape == (3, 56, 56)
    pixels = pixels_of(source).astype(float)
    assert np.abs(pixels[:, 1].reshape(12, 28, 2, 28, 2).mean(axis=(2, 4)) - smooth).max() <= 1.5 and np.array_equal(pixels[:, 0], pixels[:, 2])
    assert [(event["event"], event["pictures"], event["enlarged"]) for event in source.events] == [("resized", 12, 12)]
    assert open_dataset("mnist", path=tmp_path / "m", size=28).events == []
    made = cifar(tmp_path / "c", 1, ["test_batch.bin"])["test_batch.bin"][1]
    grey = pixels_of(open_dataset("cifar10", path=tmp_path / "c", split="test", channels=1))
    assert np.abs(grey[:, 0] - np.tensordot(made, (0.299, 0.587, 0.114), axes=(1, 0))).max() < 0.51
    alpha = pixels_of(open_dataset("cifar10", path=tmp_path / "c", split="test", channels=4, size=(16, 32)))
    assert alpha.shape == (4, 4, 16, 32) and (alpha[:, 3] == 255).all() and np.array_equal(alpha[:, :3], made[:, :, 8:24])


def test_the_pickled_cifar_is_named_and_never_opened(tmp_path: Path) -> None:
    """The file would raise, and say so, if anything unpickled it."""
    archive = write(tmp_path, {"cifar-10-python.tar.gz": b"not even an archive"}) / "cifar-10-python.tar.gz"
    for path in (tmp_path, archive):
        with pytest.raises(UserError, match=r"is a pickle.*cifar-10-binary\.tar\.gz"):
            open_dataset("cifar10", path=path)


def test_one_file_is_not_a_whole_mnist(tmp_path: Path) -> None:
    write(tmp_path, MNIST)
    with pytest.raises(UserError, match="is a single file"):
        open_dataset("mnist", path=tmp_path / "train-images-idx3-ubyte")


def test_damaged_cifar_files_are_refused(tmp_path: Path) -> None:
    cifar(tmp_path, 1, ["test_batch.bin"])
    (tmp_path / "test_batch.bin").write_bytes((tmp_path / "test_batch.bin").read_bytes()[:-5])
    with pytest.raises(UserError, match="3073-byte records"):
        open_dataset("cifar10", path=tmp_path, split="test")


def test_a_packed_file_with_another_hash_is_refused_with_both(tmp_path: Path) -> None:
    data = gzip.compress(idx(DIGITS))
    write(tmp_path, {"train-images-idx3-ubyte.gz": data})
    with pytest.raises(UserError, match=f"440fcabf73cc.* is expected, it has {hashlib.sha256(data).hexdigest()}"):
        open_dataset("mnist", path=tmp_path)


def test_missing_paths_and_files_say_what_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no"):
        open_dataset("mnist", path=tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"holds no train-images-idx3-ubyte.gz.*https://ossci"):
        open_dataset("mnist", path=tmp_path)


def test_known_hashes_are_whole_and_unlike() -> None:
    hashes = [value for remote in downloads.REMOTES.values() for value in remote.files.values()]
    assert all(len(value) == 64 and int(value, 16) for value in hashes) and len(set(hashes)) == len(hashes) == 10


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, bytes]]]:
    """A web server of this machine; "cut" answers announce more than they send."""
    files: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = files.get(self.path.lstrip("/"))
            self.send_response(404 if data is None else 200)
            self.send_header("Content-Length", str(len(data or b"") + (100 if self.path.startswith("/cut") else 0)))
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, *_: object) -> None:
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}/", files
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def serve(monkeypatch: pytest.MonkeyPatch, name: str, url: str, files: dict[str, bytes]) -> None:
    """The data set ``name`` as published by the local server, with its real hashes."""
    remote = replace(downloads.REMOTES[name], urls=(url + "gone/", url),
                     files={file: hashlib.sha256(data).hexdigest() for file, data in files.items()})
    monkeypatch.setitem(downloads.REMOTES, name, remote)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_downloads_are_verified_kept_and_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: tuple) -> None:
    url, files = server
    packed = {f"{name}.gz": gzip.compress(data) for name, data in MNIST.items()}
    files.update(packed)
    serve(monkeypatch, "mnist", url, packed)
    source = open_dataset("mnist", cache_dir=tmp_path)
    assert np.array_equal(pixels_of(source)[:, 0], DIGITS)
    files.clear()
    assert open_dataset("mnist", cache_dir=tmp_path).fingerprint == source.fingerprint
    monkeypatch.setenv("AGON_DATA", str(tmp_path / "downloads"))
    assert open_dataset("mnist", cache_dir=tmp_path / "other").fingerprint == source.fingerprint
    assert sorted(path.name for path in (tmp_path / "downloads" / "mnist").iterdir()) == sorted(packed)[2:]


def test_a_second_address_helps_where_the_first_sends_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: tuple) -> None:
    """A captive portal answers every request with its own page."""
    url, files = server
    packed = {f"{name}.gz": gzip.compress(data) for name, data in MNIST.items()}
    files.update({**packed, **{f"gone/{name}": b"<html>Please log in</html>" for name in packed}})
    serve(monkeypatch, "mnist", url, packed)
    assert np.array_equal(pixels_of(open_dataset("mnist", cache_dir=tmp_path))[:, 0], DIGITS)


def test_an_archive_of_cifar_is_read_without_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: tuple) -> None:
    made = cifar(tmp_path / "made", 1, ["test_batch.bin"])["test_batch.bin"]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(tmp_path / "made" / "test_batch.bin", "cifar-10-batches-bin/test_batch.bin")
    url, files = server
    files["cifar-10-binary.tar.gz"] = buffer.getvalue()
    serve(monkeypatch, "cifar10", url, dict(files))
    source = open_dataset("cifar10", split="test", cache_dir=tmp_path / "c")
    assert np.array_equal(pixels_of(source), made[1]) and source.read(np.arange(4)).label.tolist() == made[0][:, 0].tolist()
    assert [path.name for path in (tmp_path / "c" / "downloads" / "cifar10").iterdir()] == ["cifar-10-binary.tar.gz"]
    with pytest.raises(UserError, match=r"holds no data_batch_1\.bin"):
        open_dataset("cifar10", cache_dir=tmp_path / "c")


@pytest.mark.parametrize(("prefix", "tamper", "words"), [
    ("", lambda data: data + b"x", "another file than the published one"),
    ("cut/", lambda data: data, r"could not be downloaded.*the connection ended after [\d,]+ of [\d,]+ bytes"),
    ("none/", lambda data: None, "could not be downloaded"),
])
def test_a_bad_download_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: tuple, prefix: str,
                                       tamper: object, words: str) -> None:
    url, files = server
    packed = {f"{name}.gz": gzip.compress(data) for name, data in MNIST.items()}
    files.update({prefix + name: tampered for name, data in packed.items() if (tampered := tamper(data)) is not None})
    serve(monkeypatch, "mnist", url + prefix, packed)
    with pytest.raises(UserError, match=words):
        open_dataset("mnist", cache_dir=tmp_path)
    assert list((tmp_path / "downloads" / "mnist").iterdir()) == []
