"""The bytes of a picture's file, and what names them. Nothing here waits for a pipe or reads a device."""

import errno
import os
import stat
from pathlib import Path

from headstart.core.cache.errors import DataNotFound
from headstart.core.cache.files import sha256
from headstart.core.cache.objects import ObjectPath
from headstart.core.cache.places import stored

MAX_BYTES = 2**30
"""The largest file that is read: a picture of as many pixels as are decoded, in three 16-bit channels, not compressed."""


def content(path: Path) -> bytes:
    """The bytes of a regular file or an object. Raises OSError, whose `strerror` says why there are none; DataNotFound
    where a store can't be asked, which says nothing of the picture."""
    if (place := stored(path)) is not None:
        return _fetched(place)
    _check(path, path.stat())  # first of all: to open a device can be to change it
    # between the two calls the file may have become a pipe, which would be waited for
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        _check(path, os.fstat(file.fileno()))
        return file.read()


def _fetched(place: ObjectPath) -> bytes:
    try:
        return place.read(MAX_BYTES)
    except ValueError as error:
        raise OSError(errno.EFBIG, str(error), str(place)) from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataNotFound(f"{place}: {error.strerror}") from error


def fingerprint(path: Path) -> str:
    """The SHA-256 of a file's bytes; where it can't be read, the reason. Raises DataNotFound as `content`."""
    try:
        return sha256(content(path))
    except OSError as error:
        return f"unreadable: {error.strerror}"


def printable(path: str) -> str:
    """A path as text that JSON can hold: bytes that are no UTF-8 are spelled out."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _check(path: Path, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if found.st_size > MAX_BYTES:
        raise OSError(errno.EFBIG, f"{found.st_size} bytes, more than {MAX_BYTES}", str(path))
