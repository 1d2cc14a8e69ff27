"""Where features and pictures may lie: on this machine, mounted file systems included, or in an object store, by its URL.

`place` is the one way from a text to either. What it gives for a URL such as s3://bucket/prefix is an `ObjectPath`, typed
as `Path`, so that whoever only joins names, looks for files or reads them knows one kind of place. What is done otherwise
in a store (to write, to read at most so many bytes, to remove a tree) is in `cache/files.py`, and the locks are in
`cache/lease.py`.
"""

import contextlib
import os
import re
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import cast

from headstart.core.cache.errors import ArgumentInvalid
from headstart.core.cache.objects import STORES, ObjectPath

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)


def is_url(text: str) -> bool:
    """Whether a text is meant as a URL: no mounted folder is named so on purpose."""
    return _URL.match(text) is not None or text.lower().startswith(tuple(f"{scheme}:" for scheme in STORES))


def place(text: str) -> Path:
    """The place that a text names: a path of this machine as it stands, or one in an object store. Nothing is asked of the
    store yet, which raises ArgumentInvalid where its client is not installed. Raises ArgumentInvalid for a URL of no known
    store, or without a bucket."""
    if not is_url(text):
        return Path(text)
    found = _URL.match(text)
    known = " or ".join(f"{name}://BUCKET/PREFIX" for name in STORES)
    if found is None:
        raise ArgumentInvalid(f"{text}: expected two slashes after the colon, {known}")
    scheme, key = found[1].lower(), PurePosixPath(found[2].strip("/"))
    if scheme not in STORES:
        raise ArgumentInvalid(f"{text}: {scheme}:// is no store that is known here; expected {known}, or a mounted folder")
    if not key.parts:
        raise ArgumentInvalid(f"{text}: names no bucket; expected {known}")
    return cast(Path, ObjectPath(scheme, key))  # has what we use of a Path, and is none: os.open must not take it


def listed_place(text: str) -> Path:
    """The same for pictures: what is below it stays as it was when first asked for. Raises ArgumentInvalid."""
    found = place(text)
    return found if (there := stored(found)) is None else cast(Path, there.listed())


def stored(path: Path) -> "ObjectPath | None":
    """The path, where it is in an object store; None for one of this machine."""
    found: object = path
    return found if isinstance(found, ObjectPath) else None


def on_this_machine(text: str, what: str) -> Path:
    """A path that must be of this machine. Raises ArgumentInvalid for a URL: no folder called `s3:` is made instead."""
    if is_url(text):
        raise ArgumentInvalid(
            f"{what} {text}: expected a folder or file of this machine, or a mounted one; in an object store may be "
            f"--features-dir and the pictures of --dataset"
        )
    return Path(text)


def exists(text: str) -> bool:
    """Whether something is at the path or URL that a text names. What can't be asked counts as being there: that it has
    moved is not to be concluded from a network that is down."""
    try:
        return place(text).exists()
    except (ArgumentInvalid, OSError):
        return is_url(text)


def within(root: Path, name: str) -> str | None:
    """The part of a URL that follows a place in a store, where it is one part and no more."""
    rest = name.rstrip("/").removeprefix(f"{root}/")
    return rest if rest != name.rstrip("/") and "/" not in rest and rest not in ("", ".", "..") else None


def names(folder: Path) -> Collection[str]:
    """The names in a folder, from one listing; none where it is not there. Raises OSError."""
    there = stored(folder)
    if there is not None:
        return {entry.name for entry in there.entries()}
    with contextlib.suppress(FileNotFoundError):
        return {*os.listdir(folder)}
    return ()
