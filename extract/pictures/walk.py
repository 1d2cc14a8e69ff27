"""The pictures in a folder and its sub-folders: one walk for data sets and for `predict`.

Hidden files and folders are passed over, and those that systems and archives put everywhere. Links to pictures and to
folders are followed; one to a folder that it lies in, or to one that a link led to before, is not. Within a folder the
files come first, then the sub-folders, each by name. What is no picture is counted by its suffix.
"""

import collections
import contextlib
import dataclasses
import errno
import os
import stat
from collections.abc import Generator
from pathlib import Path
from typing import NoReturn

from headstart.core.cache.errors import DataNotFound
from headstart.core.cache.places import stored
from headstart.core.extract.pictures.formats import UNREAD, suffixes

SYSTEM = frozenset(
    ("__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information", "#recycle", "@Recycle")
)
"""Folders of macOS' archives, of network drives and of file systems: nobody's classes."""
SYSTEM_FILES = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"))
"""Files that Windows and macOS put beside pictures, in lower case; others that they leave begin with a dot."""
LINKS = "links that lead nowhere or round"
NO_SUFFIX = "without suffix"
_GONE = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR)


@dataclasses.dataclass
class Found:
    """Paths of pictures, and how many other files there were of each kind."""

    pictures: list[str] = dataclasses.field(default_factory=list)
    left_out: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)


def walk(root: Path, below: str = "", *, deep: bool = True) -> Found:
    """The pictures in `root/below`, as paths relative to `root`; not `deep`, without its sub-folders.

    A link to a picture that is not there counts as a picture: it is said where it is read. Raises DataNotFound for a folder
    that can't be listed.
    """
    found, seen = Found(), set[str]()
    stack = [below]
    while stack:
        inner = stack.pop()
        folders = []
        for name, is_folder, is_link in entries(root / inner):
            path = os.path.join(inner, name)
            if is_folder and is_link and not _leads_on(root / path, seen):
                found.left_out[LINKS] += 1
            elif is_folder:
                folders.append(path)
            elif is_picture(name):
                found.pictures.append(path)
            else:
                found.left_out[LINKS if is_link and not (root / path).exists() else _suffix(name)] += 1
        stack += reversed(folders if deep else [])
    return found


def entries(folder: Path) -> list[tuple[str, bool, bool]]:
    """What is not hidden in a folder, by name: its name, whether it is a folder, and whether it is a link.

    A link that leads nowhere is no folder. Raises DataNotFound for a folder, or a link's target, that can't be reached.
    """
    with contextlib.closing(_entries(folder)) as found:
        return sorted(found)


def _entries(folder: Path) -> Generator[tuple[str, bool, bool], None, None]:
    """As `entries`, in the file system's order; nothing is held of what was seen. Raises OSError where a store can't be
    asked."""
    if (place := stored(folder)) is not None:
        for found in place.entries():
            if not (found.name.startswith(".") or found.name.lower() in SYSTEM_FILES or found.name in SYSTEM):
                yield found.name, found.is_folder, False
        return
    try:
        with os.scandir(folder) as scan:
            for entry in scan:
                is_link, name = entry.is_symlink(), entry.name
                if name.startswith(".") or name.lower() in SYSTEM_FILES:
                    continue
                is_folder = is_link_to_folder(folder / name) if is_link else entry.is_dir(follow_symlinks=False)
                if not (is_folder and name in SYSTEM):
                    yield name, is_folder, is_link
    except OSError as error:
        refuse(error)


def is_junk(path: str) -> bool:
    """Whether a file, by its path in an archive, is one that systems leave: hidden, or in a folder that is."""
    *folders, name = path.split("/")
    hidden = any(part.startswith(".") and part not in (".", "..") for part in (*folders, name))
    return hidden or name.lower() in SYSTEM_FILES or not SYSTEM.isdisjoint(folders)


def is_link_to_folder(link: Path) -> bool:
    """Whether a link leads to a folder. Raises DataNotFound where that can't be found out."""
    try:
        return stat.S_ISDIR(link.stat().st_mode)
    except OSError as error:
        if error.errno in _GONE:
            return False
        refuse(error)


def is_around(link: Path) -> bool:
    """Whether a link leads to a folder that it lies in."""
    return link.parent.resolve().is_relative_to(link.resolve())


def is_picture(name: str) -> bool:
    """Whether a file name is a picture's."""
    return _suffix(name) in suffixes()


def holds_pictures(folder: Path) -> bool:
    """Whether a picture lies in a folder or below it. Ends at the first one."""
    stack, seen = [folder], set[str]()
    while stack:
        here = stack.pop()
        with contextlib.closing(_entries(here)) as found:
            for name, is_folder, is_link in found:
                if is_folder and (not is_link or _leads_on(here / name, seen)):
                    stack.append(here / name)
                elif not is_folder and is_picture(name):
                    return True
    return False


def counted(left_out: collections.Counter[str]) -> str:
    """Files left out, in words: their number, and the kinds with the most files, unread pictures first."""
    kinds = sorted(left_out.items(), key=lambda item: (item[0] not in UNREAD, -item[1], item[0]))
    shown = [f"{kind} {count:,}" for kind, count in kinds[:6]]
    more = [f"{len(kinds) - 6} more kinds"] if len(kinds) > 6 else []
    total = left_out.total()
    text = f"left out: {total:,} {'file' if total == 1 else 'files'} ({', '.join([*shown, *more])})"
    unread = [kind for kind, _ in kinds[:6] if kind in UNREAD]
    if not unread:
        return text
    way_out = "convert such pictures to JPEG or PNG"
    if {*unread} & {".heic", ".heif", ".hif"}:
        way_out += ", or pip install 'headstart[heic]'"
    return f"{text}; {', '.join(unread)} can't be read here: {way_out}"


def refuse(error: OSError) -> NoReturn:
    """Raise DataNotFound for a folder that the system does not let us read."""
    raise DataNotFound(
        f"{error.filename}: can't be read ({error.strerror}); give yourself access or move it out of the data set"
    ) from error


def _suffix(name: str) -> str:
    stem, dot, end = name.rpartition(".")
    return f".{end.lower()}" if dot and stem and end else NO_SUFFIX


def _leads_on(link: Path, seen: set[str]) -> bool:
    """Whether a link to a folder may be followed; each folder is come to by one link."""
    target = os.path.realpath(link)
    if target in seen or is_around(link):
        return False
    seen.add(target)
    return True
