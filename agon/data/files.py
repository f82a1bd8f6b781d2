"""Which files of a folder or a ZIP are pictures, and how to read each: no torch, nothing is decoded and nothing is ever extracted to disk."""

from __future__ import annotations

import os
import stat
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from agon.data.pictures import EXTENSIONS, UNREADABLE, BadPicture
from agon.errors import UserError

MAX_FILE_BYTES = 512 << 20
# A picture is compressed already: a member that shrinks 200-fold and is large unpacked, or an archive that does so as a whole, is a bomb.
MAX_RATIO, RATIO_BYTES, TOTAL_RATIO, TOTAL_BYTES = 200, 16 << 20, 100, 1 << 30
SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev"}


@dataclass(frozen=True)
class Item:
    """One file that should be a picture. ``name``: path below the root with /. ``stamp``: what changes when the file is written to."""

    name: str
    stamp: tuple[int, ...]
    read: Callable[[], bytes]


@dataclass
class Listing:
    """``items`` sorted by name; ``refused``: (name, why) of pictures that will not even be read; ``ignored``: other files by extension."""

    root: Path
    items: list[Item] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    newest_ns: int = 0
    listed_ns: int = field(default_factory=lambda: time.time_ns())

    def settled(self) -> bool:
        """Was everything last written more than 2 s (the coarsest clock of a file system) before it was listed?

        If not, a file may have been written to since without a change of its stamp, which then proves nothing.
        """
        return self.listed_ns - self.newest_ns > 2_000_000_000


def folder_or_zip(data: str | Path) -> Path | None:
    """The folder or .zip that ``data`` names; None where there is nothing. Raises UserError for any other file and for what is locked."""
    path = Path(os.path.expanduser(data))  # Path.expanduser raises for a user that does not exist
    if not str(data).strip():
        raise UserError("No folder was named. Expected a folder of pictures, a .zip of one, or a name from 'agon list datasets'.")
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise locked(path, error) from error
    if stat.S_ISDIR(mode) or stat.S_ISREG(mode) and path.suffix.lower() == ".zip":
        return path
    raise UserError("{path} is a single file. Expected a folder of pictures or a .zip of one: put the pictures into a folder and "
                    "name that folder.", path=path)


def locked(path: Path, error: Exception) -> UserError:
    return UserError("{path} cannot be looked at ({why}). Expected a folder of pictures or a .zip of one: check the path and its permissions.",
                     path=path, why=getattr(error, "strerror", None) or error)


def refuse_empty(listing: Listing) -> None:
    """Raise UserError where there is no picture, not even a bad one."""
    if not listing.items and not listing.refused:
        others = ", ".join(f"{count} {extension}" for extension, count in listing.ignored.most_common(8))
        raise UserError("No picture could be found in {folder} (other files: {others}). Expected JPEG, PNG, WebP, TIFF, GIF or BMP files, "
                        "in it or in sub-folders; a .zip inside a folder is not opened: name it itself.", folder=listing.root,
                        others=others or 0)


@contextmanager
def listing_of(path: Path) -> Iterator[Listing]:
    """The listing of a folder or a .zip; the ZIP stays open inside the block."""
    if path.is_dir():
        yield _sorted(list_folder(path))
        return
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError("{path} cannot be opened as a ZIP ({why}). Expected a complete .zip of pictures: copy or pack it again.",
                        path=path, why=error) from error
    with archive:
        yield _sorted(list_zip(path, archive))


def _sorted(listing: Listing) -> Listing:
    listing.items.sort(key=lambda item: item.name)
    listing.refused.sort()
    return listing


def list_folder(root: Path) -> Listing:
    """All pictures below a folder. Links are followed; a folder that was visited already (a loop, a second link) is not visited again."""
    listing, visited = Listing(root), set()

    def failed(error: OSError) -> None:
        if Path(error.filename) == root:
            raise locked(root, error) from error
        listing.refused.append((shown(os.path.relpath(error.filename, root)), f"is a folder that cannot be read ({error.strerror})"))

    for folder, folders, names in os.walk(root, followlinks=True, onerror=failed):
        identity = os.stat(folder)
        if (identity.st_dev, identity.st_ino) in visited:
            folders.clear()
            continue
        visited.add((identity.st_dev, identity.st_ino))
        folders[:] = sorted(name for name in folders if not hidden(name))
        for name in names:
            if not hidden(name):
                path = Path(folder, name)
                _add(listing, shown(path.relative_to(root).as_posix()), lambda path=path: _stamp(path), lambda path=path: path.read_bytes())
    return listing


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        info = path.stat()
    except OSError as error:
        raise BadPicture(f"cannot be opened ({error.strerror}): a broken link?") from error
    if not stat.S_ISREG(info.st_mode):
        raise BadPicture("is not a regular file")
    # ctime cannot be set back by a copying program: a file changed in place with size and mtime kept is still noticed.
    return info.st_size, info.st_mtime_ns, info.st_ctime_ns


def list_zip(path: Path, archive: zipfile.ZipFile) -> Listing:
    """All pictures of an open ZIP. Members are decoded from memory, so a hostile name can reach no file; it is refused by name all the same."""
    listing, members = Listing(path), archive.infolist()
    total, packed = sum(member.file_size for member in members), max(1, path.stat().st_size)
    if total > TOTAL_BYTES and total > TOTAL_RATIO * packed:
        raise UserError("{path} would unpack from {packed:,} to {total:,} bytes, {ratio} times as much: that is a decompression bomb and no "
                        "ZIP of pictures. Pack the pictures again if they are yours.", path=path, packed=packed, total=total,
                        ratio=total // packed)
    stamp = _stamp(path)
    listing.newest_ns = max(stamp[1:])
    # A name that comes twice means its last member, as when unpacking: an updated archive keeps the old one in front.
    for name, member in {shown(member.filename.replace("\\", "/")): member for member in members}.items():
        if not member.is_dir() and not any(hidden(part) for part in name.split("/") if part not in ("..", ".", "")):
            _add(listing, name, lambda member=member: _zip_stamp(member, stamp), lambda member=member: archive.read(member))
    return listing


def _zip_stamp(member: zipfile.ZipInfo, stamp: tuple[int, ...]) -> tuple[int, ...]:
    name = member.filename.replace("\\", "/")
    if name.startswith("/") or ".." in name.split("/") or name[1:2] == ":":
        raise BadPicture("has a name that leads out of the ZIP: refused")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise BadPicture("is a link inside a ZIP: refused")
    if member.flag_bits & 1:
        raise BadPicture("is encrypted: pack it without a password")
    if member.file_size > RATIO_BYTES and member.file_size > MAX_RATIO * max(1, member.compress_size):
        raise BadPicture(f"would unpack from {member.compress_size:,} to {member.file_size:,} bytes: refused as a decompression bomb")
    return (member.file_size, member.CRC, *stamp)


def _add(listing: Listing, name: str, stamp: Callable[[], tuple[int, ...]], read: Callable[[], bytes]) -> None:
    """Sort one file in: a picture to read, a picture refused, or something else. Costs one ``stat``, and that for pictures only."""
    extension = PurePosixPath(name).suffix.lower().lstrip(".")
    if extension not in EXTENSIONS and extension not in UNREADABLE:
        listing.ignored[extension or "(none)"] += 1
        return
    try:
        if extension in UNREADABLE:
            raise BadPicture(f"is .{extension}, which cannot be read: convert it to JPEG or PNG")
        facts = stamp()
        if facts[0] > MAX_FILE_BYTES:
            raise BadPicture(f"has {facts[0]:,} bytes, more than {MAX_FILE_BYTES:,}")
    except BadPicture as error:
        listing.refused.append((name, str(error)))
    else:
        listing.newest_ns = max(listing.newest_ns, *facts[-2:])
        listing.items.append(Item(name, facts, read))


def hidden(name: str) -> bool:
    """Left out without a word: what systems leave behind beside one's own files."""
    return name.startswith(".") or name in ("__MACOSX", "@eaDir", "$RECYCLE.BIN")


def shown(name: str) -> str:
    """A file name that can be printed and written as UTF-8, whatever bytes it has on disk; two different names stay different."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def classes_of(names: Sequence[str]) -> tuple[tuple[str, ...], list[int] | None, str]:
    """Class names, the class of each file, and a remark ("" for none) from names such as "cats/a/1.png": class = first folder.

    One folder round everything is no class and is looked through. Classes are sorted as text, like torchvision's ImageFolder. Pictures
    beside the class folders leave the whole set unlabelled, and the remark says so.
    """
    parts = [PurePosixPath(name).parts for name in names]
    while parts and all(len(part) > 1 for part in parts) and len({part[0] for part in parts}) == 1:
        parts = [part[1:] for part in parts]
    loose = sum(len(part) == 1 for part in parts)
    if loose == len(parts):
        return (), None, ""
    if loose:
        return (), None, (f"{loose} of {len(parts)} pictures lie beside the sub-folders, so the sub-folders are not taken as classes: "
                          "move them into one if you want labels")
    found = tuple(sorted({part[0] for part in parts}))
    number = {name: index for index, name in enumerate(found)}
    return found, [number[part[0]] for part in parts], ""


def refuse_splits(path: Path, names: Sequence[str]) -> None:
    """Folders called train and test are no classes: training on them together is the mistake that spoils every later number."""
    classes = classes_of(names)[0]
    if len(classes) > 1 and all(name.lower() in SPLITS for name in classes):
        raise UserError("The sub-folders of {path} ({names}) look like splits and not like classes. Name one of them, for example "
                        "{example}; rename them if they are classes.", path=path, names=", ".join(classes), example=path / classes[-1])
