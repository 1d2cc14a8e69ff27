"""Bytes on disk or in an object store: durable writes, reads of at most so many bytes, SHA-256, and JSON read strictly.

A store (`cache/places.py`) needs less than a disk: to put an object is one step that nobody sees half of, and what the
store has confirmed is kept. So there are no temporary files, no folders to make and nothing to sync.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headstart.core.cache.places import stored

TEMPORARY, SHARED = ".tmp", ".shared"
"""The endings of files that are being written: by who holds the folder's lock, and by tasks that share the folder."""
MAX_JSON_BYTES = 64 * 2**20  # a manifest of a million shards' worth of rows stays far below this


def sha256(*parts: bytes | bytearray | memoryview) -> str:
    """The SHA-256 of the parts one after the other, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _temporary_beside(path: Path, ending: str) -> Iterator[tuple[int, Path]]:
    """A new file in `path`'s own folder, removed again unless it was renamed: os.replace can't cross file systems."""
    temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}{ending}"
    try:  # the name comes first: a signal's exception right after the file is there must find it
        # 0o666 less the umask, or what the folder's default access list says: who may read is the user's to decide
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            yield descriptor, temporary
        finally:
            os.close(descriptor)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def write_durably(path: Path, content: bytes | memoryview, ending: str = TEMPORARY) -> None:
    """Put `content` at `path` so that after a crash either the old file or the whole new one is there.

    Temporary file in the same folder, with this `ending`, write, fsync, rename, fsync of the folder: without the last one
    the rename itself can be lost (https://man7.org/linux/man-pages/man2/fsync.2.html). Raises OSError, with the path and
    the bytes; the old file is then still whole, or, where only the last step failed, the new one is.
    """
    if (place := stored(path)) is not None:
        place.write(bytes(content))
        return
    make_folder(path.parent)
    try:
        with _temporary_beside(path, ending) as (descriptor, temporary):
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
            os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:  # os.write and os.fsync know no path, and "no space left" alone helps nobody
        what = f"{error.strerror} while writing {len(content):,} bytes"
        raise OSError(error.errno, what, str(path)) from error


def link_durably(source: Path, path: Path) -> bool:
    """Give a file on this machine a second name `path`, as `write_durably` would put its content there; False where the
    file system can't, and nothing was changed. Files are replaced and never written into, so that neither name's content
    changes with the other's. Raises OSError where the folder can't be made or synced."""
    if stored(source) is not None or stored(path) is not None or source.is_symlink():
        return False
    make_folder(path.parent)
    temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}{TEMPORARY}"
    try:
        os.link(source, temporary)
        os.replace(temporary, path)
    except OSError:  # another file system, none with links, too many of one file, or one of another user
        return False
    finally:
        with contextlib.suppress(FileNotFoundError):  # a rename onto the same file leaves the old name
            os.unlink(temporary)
    sync_folder(path.parent)
    return True


def make_folder(folder: Path) -> None:
    """Make `folder` and the parents it lacks, so that their names survive a power cut too. Raises OSError, which says what
    is there where it is no folder."""
    if stored(folder) is not None or folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir()
    except FileExistsError:  # which is also what another process has just made
        if not folder.is_dir():
            broken = folder.is_symlink() and not folder.exists()
            what = f"is a link to {folder.readlink()}, which is not there" if broken else "is a file, expected a folder"
            raise OSError(errno.ENOTDIR, what, str(folder)) from None
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and removals in `folder` survive a power cut. Raises OSError."""
    if stored(folder) is not None:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_regular(path: Path, most: int) -> bytes:
    """The bytes of a file that anybody may have put there, `most` of them at most. Raises OSError, ValueError."""
    if (place := stored(path)) is not None:
        return place.read(most)
    with os.fdopen(open_regular(path, most), "rb") as file:
        return file.read()


def open_regular(path: Path, most: int | None = None) -> int:
    """The descriptor of a file that anybody may have put there, opened for reading; of `most` bytes at most where that is
    given. Raises OSError, and ValueError for what is no file or larger."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe without a writer would block us
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):  # /dev/zero would never end
            raise ValueError("is no regular file")
        if most is not None and status.st_size > most:
            raise ValueError(f"has {status.st_size:,} bytes, expected at most {most:,}")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def folder_bytes(folder: Path, *, own: bool = False) -> int:
    """The size of the files in a folder, in bytes; those that another process takes away meanwhile count nothing, and of
    its `own` those that have a second name. Raises OSError."""
    if (place := stored(folder)) is not None:
        return sum(entry.nbytes for entry in place.entries())
    total = 0
    with contextlib.suppress(FileNotFoundError):
        for path in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                total += status.st_size if stat.S_ISREG(status.st_mode) and not (own and status.st_nlink > 1) else 0
    return total


def remove_folder(folder: Path) -> None:
    """Remove a folder and all that is in it. Raises OSError."""
    place = stored(folder)
    if place is None:
        shutil.rmtree(folder)
        return
    for entry in place.entries():
        if entry.is_folder:
            remove_folder(folder / entry.name)
        else:
            (place / entry.name).unlink()


def canonical_json(value: Any) -> bytes:
    """One spelling for equal values: sorted keys, no spaces, UTF-8; NaN and infinity are a ValueError."""
    return _utf8(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False))


def pretty_json(value: Any) -> bytes:
    """JSON for people, in the order given; NaN and infinity are a ValueError."""
    return _utf8(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _utf8(text: str) -> bytes:
    """Text as UTF-8; a lone surrogate, from a file name that is no UTF-8, becomes the escape that JSON spells it with."""
    return text.encode("utf-8", "backslashreplace")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"holds {name}, which is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"holds {text}, which no float can be")
    return value


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object names the same key twice")
    return found


def read_json(path: Path) -> Any:
    """The one JSON document in `path`. Raises OSError, and ValueError for anything that isn't strict JSON.

    Python's own parser lets a duplicate key win silently and takes NaN; a file from elsewhere must do neither.
    """
    return parse_json(read_regular(path, MAX_JSON_BYTES))


def parse_json(content: bytes) -> Any:
    """As `read_json`, from bytes."""
    try:
        return json.loads(
            content, parse_float=_finite, parse_constant=_refuse_constant, object_pairs_hook=_refuse_duplicates
        )
    except RecursionError:
        raise ValueError("is nested too deeply") from None
