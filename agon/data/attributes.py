"""A folder of pictures and a table that says of each picture which attributes it has.

Two forms of table are read, told apart by their first line:

* CSV (or with ; or tabs): a header; the first column is the file's name; an attribute is 0 or -1 or false, or 1 or true;
* CelebA's list_attr_celeba.txt: the number of rows, a line of attribute names, then rows of a file's name and -1 or 1, parted by blanks.

A row belongs to the picture of that path below the folder; failing that, to the one picture of that file name. Pictures without a row are left out, and rows
without a picture count for nothing: both are named and counted in an event. More pictures without a row than ``max_bad`` is an error.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from agon.data.cache import digest_of
from agon.data.folder import open_source as open_folder
from agon.data.sampler import mix
from agon.data.scan import allowed_bad
from agon.data.source import ArraySource, Batch, Source
from agon.errors import UserError

YES, NO = {"1", "1.0", "true", "yes"}, {"0", "-1", "0.0", "-1.0", "false", "no"}
NAMED = 5
"""File names that an event or an error lists."""
SALT = 0x61747472  # the draw of another sample is not the coin that mirrors this one


@dataclass(frozen=True)
class Table:
    """``rows``: file name -> (line number, cells)."""

    path: Path
    names: tuple[str, ...]
    rows: dict[str, tuple[int, list[str]]]


class AttributeSource(Source):
    """Pictures with ``condition``, their attributes as 0 and 1, and ``wanted``, those of another picture, drawn anew in every epoch."""

    def __init__(self, base: ArraySource, kept: np.ndarray, names: tuple[str, ...], vectors: np.ndarray, events: Sequence[dict]):
        self.name, self.events = base.name, [*base.events, *events]
        self.spec = replace(base.spec, condition_dim=len(names), condition_names=names)
        self.files = [base.files[i] for i in kept]  # type: ignore[attr-defined]
        self.fingerprint = digest_of([base.fingerprint, kept.tolist(), list(names), vectors.tolist()])
        self._base, self._kept, self._vectors = base, kept, torch.from_numpy(vectors.astype(np.float32))

    def __len__(self) -> int:
        return len(self._kept)

    def read(self, indices: np.ndarray, *, seed: int = 0, epoch: int = 0) -> Batch:
        batch = self._base.read(self._kept[indices], seed=seed, epoch=epoch)
        others = another(np.asarray(indices), len(self), seed, epoch)
        return replace(batch, condition=self._vectors[torch.from_numpy(np.array(indices))], wanted=self._vectors[torch.from_numpy(others)])


def another(indices: np.ndarray, length: int, seed: int, epoch: int) -> np.ndarray:
    """For each index a uniformly drawn other one below ``length``: a function of (seed, epoch, index). Alone, an index is its own."""
    steps = 1 + (mix(seed ^ SALT, epoch, indices) % np.uint64(max(1, length - 1))).astype(np.int64)
    return (indices + steps) % length


def open_source(name: Path, *, attributes: str | Path, use: str | tuple | None = None, size: tuple[int, int] | None = None, channels: int | None = None,
                cache_dir: Path | None = None, max_bad: float = 0.1, mirror: bool = False) -> AttributeSource:
    """``name``: a folder of pictures, or a .zip; its sub-folders are no classes here. ``attributes``: the table. ``use``: which of its columns,
    "Black_Hair,Male" or a list; None: all.

    Raises UserError for a table that cannot be read, a column that is not there, a value that is neither yes nor no, and where too few pictures have a row.
    """
    read = read_table(Path(attributes).expanduser())
    columns = chosen(read, use)
    base = open_folder(Path(name), size=size, channels=channels, cache_dir=cache_dir, max_bad=max_bad, labelled=False, mirror=mirror)
    row_of, unused = matched(base.files, read)  # type: ignore[attr-defined]
    kept = np.array([i for i, row in enumerate(row_of) if row is not None], dtype=np.int64)
    without = [name for name, row in zip(base.files, row_of, strict=True) if row is None]  # type: ignore[attr-defined]
    refuse_strangers(read, name, without, len(base), max_bad)
    vectors = np.array([values_of(read, row_of[i], columns) for i in kept], dtype=np.uint8)
    events = [{"event": "attributes", "table": str(read.path), "pictures": len(kept), "positive": dict(zip(columns, vectors.sum(0).tolist(), strict=True))}]
    if without:
        events.append({"event": "skipped", "pictures": len(without), "file": ", ".join(without[:NAMED]), "why": "no row of the table names it"})
    if unused:
        events.append({"event": "rows", "rows": len(unused), "file": ", ".join(unused[:NAMED]), "why": "the folder has no such picture"})
    return AttributeSource(base, kept, columns, vectors, events)


def read_table(path: Path) -> Table:
    """Either form of table, cells unread."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError("The table {path} cannot be read ({why}). Expected a CSV file or CelebA's list_attr_celeba.txt, in UTF-8.", path=path,
                        why=getattr(error, "strerror", None) or error) from None
    lines = text.splitlines()
    names, rows = _celeba(lines) if lines and lines[0].strip().isdigit() else _csv(lines)
    if not names or len(set(names)) < len(names):
        raise UserError("The table {path} has no usable header ({names}). Expected a first line with one name for each column, all different.", path=path,
                        names=", ".join(names[:NAMED]))
    found: dict[str, tuple[int, list[str]]] = {}
    for line, cells in rows:
        file = str(PurePosixPath(cells[0].strip().replace("\\", "/")))
        if len(cells) != len(names) + 1:
            raise UserError("Line {line} of {path} has {count} columns. Expected {expected}, as its header has.", line=line, path=path, count=len(cells),
                            expected=len(names) + 1)
        if file in found:
            raise UserError("{path} names {file} twice, in lines {first} and {second}. Expected one row for each picture: remove one.", path=path, file=file,
                            first=found[file][0], second=line)
        found[file] = (line, [cell.strip() for cell in cells[1:]])
    return Table(path, tuple(names), found)


Rows = Iterator[tuple[int, list[str]]]


def _celeba(lines: list[str]) -> tuple[list[str], Rows]:
    names = lines[1].split() if len(lines) > 1 else []
    return names, ((i, line.split()) for i, line in enumerate(lines[2:], 3) if line.strip())


def _csv(lines: list[str]) -> tuple[list[str], Rows]:
    head = next((line for line in lines if line.strip()), "")
    mark = max(",;\t", key=head.count)
    reader = csv.reader(lines, delimiter=mark)
    header = next((cells for cells in reader if any(cell.strip() for cell in cells)), [])
    return [name.strip() for name in header[1:]], ((reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells))


def chosen(table: Table, use: str | Sequence[str] | None) -> tuple[str, ...]:
    """The names of the columns asked for."""
    wanted = tuple(part.strip() for part in use.split(",")) if isinstance(use, str) else tuple(use or table.names)
    for name in wanted:
        if name not in table.names:
            near = difflib.get_close_matches(name, table.names, n=1, cutoff=0.0)[0]
            raise UserError("{path} has no column '{name}'. Did you mean '{near}'? It has {known}.", path=table.path, name=name, near=near,
                            known=", ".join(table.names))
    if len(set(wanted)) < len(wanted):
        raise UserError("--data.use names a column twice ({names}). Expected each once.", names=", ".join(wanted))
    return wanted


def matched(files: Sequence[str], table: Table) -> tuple[list[str | None], list[str]]:
    """(for each file the row that is its own, rows that are nobody's): by path, else by the file's name where that is clear."""
    left = {row: row for row in table.rows}
    found: list[str | None] = [left.pop(file, None) for file in files]
    by_name: dict[str, list[int]] = {}
    for i, file in enumerate(files):
        if found[i] is None:
            by_name.setdefault(PurePosixPath(file).name, []).append(i)
    rows: dict[str, list[str]] = {}
    for row in left:
        rows.setdefault(PurePosixPath(row).name, []).append(row)
    for name, places in by_name.items():
        if len(places) == 1 and len(rows.get(name, ())) == 1:
            found[places[0]] = left.pop(rows[name][0])
    return found, list(left)


def values_of(table: Table, row: str | None, columns: Sequence[str]) -> list[int]:
    assert row is not None
    line, cells = table.rows[row]
    values = []
    for name in columns:
        cell = cells[table.names.index(name)]
        if cell.lower() not in YES | NO:
            raise UserError("Line {line} of {path} says {value} for {name}. Expected 1, 0, -1, true or false; choose the columns that hold such values with "
                            "--data.use.", line=line, path=table.path, value=repr(cell), name=name)
        values.append(int(cell.lower() in YES))
    return values


def refuse_strangers(table: Table, folder: object, without: Sequence[str], pictures: int, max_bad: float) -> None:
    """Raise UserError where more pictures have no row than bad files would be put up with."""
    if len(without) > allowed_bad(pictures - len(without), len(without), max_bad):
        raise UserError("{count} of {total} pictures in {folder} have no row in {table}, such as {names}. Expected at most {percent:g} %: the first column is "
                        "the file's name, or its path below the folder; or allow more with max_bad.", count=len(without), total=pictures, folder=folder,
                        table=table.path, names=", ".join(without[:3]), percent=100 * max_bad)
