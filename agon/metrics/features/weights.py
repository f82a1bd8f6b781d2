"""Where an extractor's weights come from: a given file, $AGON_WEIGHTS, the cache, or the publisher, always with a known SHA-256.

A hash or a size that no public source names is left empty and never guessed: such weights are taken from an explicitly given path alone, and the protocol
then carries that file's own hash.
"""

from __future__ import annotations

import http.client
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from agon.data.cache import cache_folder, sha256_of
from agon.data.downloads import fetch
from agon.errors import Unavailable, UserError


@dataclass(frozen=True)
class Weights:
    """A published file. ``urls`` are tried in turn; ``size`` in bytes, 0 if unknown; ``sha256`` "" if unknown; ``origin``: who made it, whence its hash."""

    file: str
    urls: tuple[str, ...]
    size: int
    sha256: str
    licence: str
    origin: str


def find(weights: Weights, given: Path | None = None) -> Path:
    """``given`` (a file, or a folder that holds it), else $AGON_WEIGHTS/<file>, else <cache>/weights/<file>, else downloaded into the cache.

    A file that was not given has the published SHA-256, or is refused. A given one is taken as it is: its own hash (``sha256_of``) goes into the protocol.
    Raises UserError where ``given`` does not exist, and Unavailable where the weights are nowhere.
    """
    if given is not None:
        return _given(weights, Path(given).expanduser())
    if not weights.sha256:
        raise Unavailable("The weights {file} must be given by path, because no public source names their SHA-256. Expected: fetch them from {url} "
                          "and give the file's path as weights.", file=weights.file, url=_first(weights))
    kept = cache_folder() / "weights" / weights.file
    shared = os.environ.get("AGON_WEIGHTS")
    for path in ((Path(shared).expanduser() / weights.file,) if shared else ()) + (kept,):
        if path.is_file():
            _verify(weights, path)
            return path
    return _download(weights, kept)


def at_hand(weights: Weights) -> bool:
    """Whether ``find`` would have the file without the network."""
    shared = os.environ.get("AGON_WEIGHTS")
    folders = [*([Path(shared).expanduser()] if shared else []), cache_folder() / "weights"]
    return any((folder / weights.file).is_file() for folder in folders)


def read_state(path: Path) -> dict[str, Tensor]:
    """Names -> tensors of a safetensors file or of a torch file of any format (zip, legacy, tar, TorchScript); nothing in it is executed.

    Nested dicts are joined with dots, what is no tensor is left out, and an outer {"state_dict": ...} is unwrapped. Raises UserError for any other file.
    """
    with open(path, "rb") as file:
        head = file.read(9)
    if len(head) == 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise UserError("{path} is a damaged safetensors file ({why}). Get it anew.", path=path, why=error) from None
    from agon.formats.torch_state import read

    return read(path)


def _given(weights: Weights, given: Path) -> Path:
    path = given / weights.file if given.is_dir() else given
    if not path.is_file():
        raise UserError("There is no {path}. Expected the weights {file}: fetch them with curl -L -o {path} {url}", path=shlex.quote(str(path)),
                        file=weights.file, url=_first(weights))
    return path


def _verify(weights: Weights, path: Path) -> None:
    got = sha256_of(path)
    if got != weights.sha256:
        raise Unavailable("{path} is not the published file: SHA-256 {expected} is expected, it has {got}. Get it anew: curl -L -o {path} {url}",
                          path=shlex.quote(str(path)), expected=weights.sha256, got=got, url=_first(weights))


def _download(weights: Weights, target: Path) -> Path:
    problems = []
    for url in weights.urls:
        try:
            fetch(url, target, weights.sha256)
            return target
        except (OSError, EOFError, http.client.HTTPException) as error:  # URLError is an OSError
            problems.append(f"{url}: {getattr(error, 'reason', None) or error}")
    raise Unavailable("The weights {file} ({size} bytes, SHA-256 {sha256}) are not here and could not be downloaded ({why}). Fetch them elsewhere and put them "
                      "there: curl -L --create-dirs -o {target} {url}", file=weights.file, size=weights.size or "?", sha256=weights.sha256,
                      why="; ".join(problems) or "no address is known", target=shlex.quote(str(target)), url=_first(weights))


def _first(weights: Weights) -> str:
    """For a command line: some have a ? in them."""
    return shlex.quote(weights.urls[0]) if weights.urls else weights.origin
