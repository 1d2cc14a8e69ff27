"""What people said of the labels of pictures: a CSV file with a line for each decision, to which lines are only added.

    picture,action,label,given,id,when
    9f86d0…,label,cat,dog,dogs/7.jpg,2026-11-28T03:20:00Z

`picture` is the SHA-256 of the picture's content, as feature sets keep it, so that a decision stays with the picture when
it is renamed, moved to another split, or computed by another backbone. The last decision on a picture that was not undone
stands. `given` and `id` are what the label and the name were at that time, for people who read the file.

Backslashes, control characters and bytes that are no UTF-8 are spelled by escapes, so that every decision is one line.
"""

import contextlib
import csv
import dataclasses
import datetime
import functools
import io
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import filelock

from headstart.core.cache.errors import ArgumentInvalid, DataInvalid, DataNotFound
from headstart.core.cache.files import canonical_json, make_folder, read_regular, sha256, sync_folder
from headstart.core.cache.places import stored
from headstart.core.cache.text import safe

LABEL, KEEP, UNSURE, REMOVE, UNDO = "label", "keep", "unsure", "remove", "undo"
ACTIONS = (LABEL, KEEP, UNSURE, REMOVE, UNDO)
"""Another label; the given label is right; can't tell; leave the picture out; take back the last decision that stands."""
COLUMNS = ("picture", "action", "label", "given", "id", "when")
MAX_BYTES = 2**30

_DIGEST = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")
_ESCAPED = re.compile(r"\\(?:\\|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")


@dataclasses.dataclass(frozen=True)
class Correction:
    """One decision on one picture. `label` is the new label of action `label`, and empty for the others."""

    picture: str
    action: str
    label: str = ""
    given: str = ""
    id: str = ""
    when: str = ""

    def __post_init__(self) -> None:
        """Raises ArgumentInvalid for what could not be read again."""
        if not _DIGEST.fullmatch(self.picture):
            raise ArgumentInvalid(f"picture {self.picture[:80]!r}: expected a SHA-256 of 64 hexadecimal digits")
        if self.action not in ACTIONS:
            raise ArgumentInvalid(f"action {self.action[:80]!r}: expected one of {', '.join(ACTIONS)}")
        if (self.action == LABEL) != bool(self.label):
            expected = "the new label" if self.action == LABEL else "none"
            raise ArgumentInvalid(f"label {self.label[:80]!r} of action {self.action}: expected {expected}")


@dataclasses.dataclass(frozen=True)
class Corrections:
    """The decisions of a file: `lines` of them, and by picture the one that `stands`. `torn` says that there was more: a
    line whose writing was broken off, which nobody was told is kept."""

    lines: int
    stands: Mapping[str, Correction]
    torn: bool = False

    @functools.cached_property
    def digest(self) -> str:
        """The SHA-256 of what they change: the same for files whose standing labels and removals are the same."""
        changes = {one.picture: [one.action, one.label] for one in self.stands.values() if one.action in (LABEL, REMOVE)}
        return sha256(canonical_json(changes))

    def count(self, action: str) -> int:
        """How many pictures a decision of this kind stands for."""
        return sum(one.action == action for one in self.stands.values())


NONE = Corrections(0, {})


def now() -> str:
    """The time of a decision made now, in UTC to the second."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read(path: Path) -> Corrections:
    """The decisions in a file. Raises DataNotFound, DataInvalid with the line's number, OSError."""
    _check_local(path)
    try:
        content = read_regular(path, MAX_BYTES)
    except FileNotFoundError:
        raise DataNotFound(f"{path}: no such file of corrections; `headstart review` makes one") from None
    except ValueError as error:
        raise DataInvalid(f"{path}: {error}") from None
    return _parsed(path, content)


def append(path: Path, decisions: Sequence[Correction]) -> Corrections:
    """Add decisions behind those that are there, durably, and return what all come to. Any number of threads and processes
    may do so at once. What a killed process left of a line is taken away first.

    Raises DataInvalid where the file holds something else, OSError.
    """
    _check_local(path)
    make_folder(path.parent)
    with filelock.FileLock(path.parent / f".{path.name}.lock", fallback_to_soft=False), _opened(path) as descriptor:
        before = _all_of(descriptor)
        _parsed(path, before)
        kept = before[: _whole(before)]
        if len(kept) < len(before):
            os.ftruncate(descriptor, len(kept))
        more = b"" if not kept or kept.endswith(b"\n") else b"\n"
        more += b"" if kept else _line(COLUMNS)
        columns = _columns(path, kept or more)
        more += b"".join(_line([getattr(one, name) for name in columns]) for one in decisions)
        _write_all(path, descriptor, more)
        sync_folder(path.parent)
    return _parsed(path, kept + more)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise DataInvalid(f"{path}: is no regular file; give a file's name for corrections")
        yield descriptor
    finally:
        os.close(descriptor)


def _all_of(descriptor: int) -> bytes:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        return file.read()


def _write_all(path: Path, descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    except OSError as error:  # os.write knows no path
        raise OSError(error.errno, f"{error.strerror} while writing {len(content):,} bytes", str(path)) from error


def _check_local(path: Path) -> None:
    if stored(path) is not None:
        raise ArgumentInvalid(f"{path}: lines can't be added to a file in an object store; name a file on a disk")


def _whole(content: bytes) -> int:
    """How many of the bytes are whole lines. The time is written last: a last line that ends in one lacks its end alone,
    as after an editor."""
    end = content.rfind(b"\n") + 1
    return len(content) if _TIME.search(content, end) else end


def _columns(path: Path, content: bytes) -> tuple[str, ...]:
    first = content.removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0].rstrip(b"\r").decode("utf-8", "replace")
    found = tuple(first.split(","))
    if len(set(found)) != len(found) or set(found) - set(COLUMNS) or set(COLUMNS[:3]) - set(found):
        raise DataInvalid(
            f"{path}, line 1: found {safe(first[:80])!r}, expected the columns {', '.join(COLUMNS)}, of which the first "
            f"three must be there"
        )
    return found


@functools.lru_cache(maxsize=2)  # who adds a line reads those before it, which were mostly read a moment ago
def _parsed(path: Path, content: bytes) -> Corrections:
    whole = _whole(content)
    if not whole:
        if content and not _line(COLUMNS).startswith(content):
            _columns(path, content)
        return dataclasses.replace(NONE, torn=bool(content))
    columns = _columns(path, content)
    try:
        text = content[:whole].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataInvalid(f"{path}, line {content[: error.start].count(10) + 1}: is no UTF-8") from None
    stacks: dict[str, list[Correction]] = {}
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")[1:]]
    for number, line in enumerate(lines, 1):
        if not line.strip(",; "):
            raise DataInvalid(f"{path}, line {number + 1}: is empty; take it out")
        _decide(stacks, _correction(f"{path}, line {number + 1}", columns, line))
    return Corrections(len(lines), {picture: stack[-1] for picture, stack in stacks.items() if stack}, whole < len(content))


def _correction(place: str, columns: Sequence[str], line: str) -> Correction:
    try:
        (cells,) = csv.reader([line], strict=True)
        if len(cells) != len(columns):
            raise ValueError(f"has {len(cells)} cells, expected {len(columns)}")
        return Correction(**dict(zip(columns, map(_unescaped, cells), strict=True)))
    except (ValueError, csv.Error) as error:
        raise DataInvalid(f"{place}: {error}") from None


def _decide(stacks: dict[str, list[Correction]], decision: Correction) -> None:
    stack = stacks.setdefault(decision.picture, [])
    if decision.action != UNDO:
        stack.append(decision)
    elif stack:
        stack.pop()


def _line(cells: Iterable[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([_escaped(cell) for cell in cells])
    return text.getvalue().encode()


def _escaped(text: str) -> str:
    """Without what would end a line, whoever reads it, or is no UTF-8."""
    return "".join(_spelled(char) for char in text)


def _spelled(char: str) -> str:
    number = ord(char)
    if 0xDC80 <= number <= 0xDCFF:  # a byte of a file name that is no UTF-8
        return f"\\x{number - 0xDC00:02x}"
    if char == "\\":
        return "\\\\"
    return char if char.isprintable() else f"\\u{number:04x}" if number < 2**16 else f"\\U{number:08x}"


def _unescaped(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        found = match[0]
        if found == "\\\\":
            return "\\"
        number = int(found[2:], 16)
        if (found[1] == "x" and number < 0x80) or number > 0x10FFFF:
            raise ValueError(f"{found} is no escape")
        return chr(number + 0xDC00 if found[1] == "x" else number)

    return _ESCAPED.sub(one, text)
