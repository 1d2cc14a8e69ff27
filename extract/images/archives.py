"""Tar archives as packs of pictures: which members are pictures, which hold their labels, and where each lies.

`tarfile` reads the heads of the members; their contents are read by offset and size. No name of a member is ever a path.
"""

import collections
import dataclasses
import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from headstart.core.cache.errors import DataInvalid, HeadstartError
from headstart.core.cache.text import listed, safe
from headstart.core.extract.images.files import facts_of
from headstart.core.extract.images.labels import UNKNOWN
from headstart.core.extract.images.packed import Found
from headstart.core.extract.pictures.files import MAX_BYTES
from headstart.core.extract.pictures.formats import suffixes
from headstart.core.extract.pictures.walk import is_junk

LABEL_KEYS = ("label", "class", "target", "category", "cls")
"""What the label may be called, in the order in which it is looked for."""
_LABELS = ("cls", "json", "txt")
_BLOCK, _TAIL = 512, 2**20
_MOST_LABEL = 2**20
_LONGEST = 200
"""Characters of a label: a caption is none."""


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A picture in an archive: its member's name, where its bytes are, and the label that stands beside it."""

    name: str
    offset: int
    size: int
    label: str


@dataclasses.dataclass(frozen=True)
class Index:
    """The pictures of an archive in its order, what the file system said of it, and how many other members of each kind it
    has."""

    rows: tuple[Row, ...]
    facts: tuple[int, int, int, int]
    left_out: collections.Counter[str]


@dataclasses.dataclass
class _Sample:
    """The members of one key, by extension: their names, offsets and sizes."""

    members: dict[str, tuple[str, int, int]] = dataclasses.field(default_factory=dict)


def index(path: Path, wanted: Sequence[str] = ()) -> Index:
    """The pictures of an archive, with their labels. `wanted` are the extensions of the members to take, where there are
    several pictures or labels of a key. Raises DataInvalid."""
    facts = facts_of(path)
    try:
        with path.open("rb") as file:
            samples, left_out = _samples(file, path)
            rows = tuple(row for key, sample in samples.items() if (row := _row(file, path, key, sample, wanted, left_out)))
    except HeadstartError:
        raise
    except OSError as error:
        raise DataInvalid(f"{path}: can't be read ({error.strerror or error}); give yourself access") from error
    except Exception as error:  # of a damaged head tarfile raises its own errors, ValueErrors and more
        raise DataInvalid(f"{path}: no whole tar archive ({_reason(error)}); make or fetch it anew") from error
    return Index(rows, facts, left_out)


def _samples(file: BinaryIO, path: Path) -> tuple[Mapping[str, _Sample], collections.Counter[str]]:
    """The members by key, which is the name up to the first dot of its last part."""
    found, left_out = dict[str, _Sample](), collections.Counter[str]()
    end = os.fstat(file.fileno()).st_size
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            tar.members = []  # type: ignore[attr-defined]  # a million of them would be kept
            if member.isdir() or is_junk(member.name):
                continue
            name = member.name.removeprefix("./")
            folder, _, last = name.rpartition("/")
            stem, _, extension = last.partition(".")
            if not member.isreg() or member.sparse is not None:
                left_out["links and devices" if not member.isreg() else "sparse files"] += 1
                continue
            if member.offset_data + member.size > end:
                raise DataInvalid(
                    f"{path}: ends within {safe(member.name)}, {end:,} bytes found, {member.offset_data + member.size:,} "
                    f"expected; make or fetch it anew"
                )
            key = f"{folder}/{stem}" if folder else stem
            members = found.setdefault(key, _Sample()).members
            members[extension.lower()] = (name, member.offset_data, member.size)  # of two the last one, as tar has it
        _check_end(file, tar, path, end)
    return found, left_out


def _check_end(file: BinaryIO, tar: tarfile.TarFile, path: Path, end: int) -> None:
    """Raise DataInvalid where tarfile ended at something else than the end: it takes a damaged head for that, and a cut
    between two members. Blocks of zeros end an archive, and nothing follows (POSIX 1003.1, pax, "ustar Interchange
    Format"); of joined archives the second would be passed over."""
    file.seek(tar.offset)
    found = file.read(_TAIL)
    if not found:
        raise DataInvalid(f"{path}: has no end mark at byte {end:,}: it was cut, or is still being written; make it anew")
    if any(found[:_BLOCK]):
        raise DataInvalid(f"{path}: damaged at byte {tar.offset:,} of {end:,}; make or fetch it anew")
    if any(found):
        raise DataInvalid(f"{path}: more follows after its end at byte {tar.offset:,}, as of joined archives; part them")


def _row(
    file: BinaryIO, path: Path, key: str, sample: _Sample, wanted: Sequence[str], left_out: collections.Counter[str]
) -> Row | None:
    """The picture of a key with its label; None where the key has no picture."""
    pictures = [one for one in sample.members if _is_picture(one) and (not _pictures(wanted) or one in _pictures(wanted))]
    labels = [one for one in _others(wanted) or _LABELS if one in sample.members]
    used = [*pictures, *labels[:1]] if pictures else []
    for extension in sample.members:
        if extension not in used:
            left_out[f".{extension}" if extension else "without suffix"] += 1
    if not pictures:
        return None
    if len(pictures) > 1:
        raise DataInvalid(
            f"{path}: {safe(key)} has several pictures ({listed(f'.{one}' for one in pictures)}); say which one counts: "
            f"--dataset 'tar:{path}#{pictures[0]}'"
        )
    label = UNKNOWN
    if labels:
        name, offset, size = sample.members[labels[0]]
        label = _label(file, f"{path}: {safe(name)}", labels[0], offset, size)
    return Row(*sample.members[pictures[0]], label)


def _is_picture(extension: str) -> bool:
    return f".{extension.rpartition('.')[2]}" in suffixes()


def _pictures(wanted: Sequence[str]) -> list[str]:
    return [name for name in (one.lower().lstrip(".") for one in wanted) if _is_picture(name)]


def _others(wanted: Sequence[str]) -> list[str]:
    return [name for name in (one.lower().lstrip(".") for one in wanted) if not _is_picture(name)]


def _label(file: BinaryIO, where: str, extension: str, offset: int, size: int) -> str:
    """A label that stands in a member of its own. Raises DataInvalid."""
    if size > _MOST_LABEL:
        raise DataInvalid(f"{where}: {size:,} bytes, expected a label")
    file.seek(offset)
    try:
        text = file.read(size).decode("utf-8-sig").strip()
        if extension.rpartition(".")[2] == "json":
            return _from_json(json.loads(text), where)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are the first
        raise DataInvalid(f"{where}: no label in UTF-8 can be read from it ({error})") from error
    if "\n" in text or len(text) > _LONGEST:
        raise DataInvalid(
            f"{where}: '{safe(text[:40])}'… is longer than a label, as captions are; say where the label is: "
            f"--dataset 'tar:GLOB#cls'"
        )
    return text


def _from_json(value: object, where: str) -> str:
    """The label of a JSON member: the value itself, or what one of `LABEL_KEYS` has."""
    if isinstance(value, dict):
        found = next((value[key] for key in LABEL_KEYS if key in value), _MISSING)
        if found is _MISSING:
            raise DataInvalid(f"{where}: has {listed(value)}, expected one of {', '.join(LABEL_KEYS)}")
        value = found
    if value is None:
        return UNKNOWN
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    raise DataInvalid(f"{where}: the label is {safe(json.dumps(value))[:60]}, expected text or an integer")


_MISSING = object()


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@dataclasses.dataclass(frozen=True)
class Archives:
    """The pictures of several archives: paths, facts from when they were indexed, and of each picture (N,) the number of
    its archive, its offset and its size."""

    paths: tuple[Path, ...]
    facts: tuple[tuple[int, int, int, int], ...]
    number: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    at_once: int = 1

    @classmethod
    def of(cls, indexed: Sequence[tuple[Path, Index]]) -> "Archives":
        """Those of some archives, in their order."""
        rows = [(number, row.offset, row.size) for number, (_, one) in enumerate(indexed) for row in one.rows]
        number, offset, size = np.array(rows, dtype=np.int64).reshape(-1, 3).T
        return cls(tuple(path for path, _ in indexed), tuple(one.facts for _, one in indexed), number, offset, size)

    def files(self) -> tuple[Sequence[Path], npt.NDArray[np.int64]]:
        return self.paths, self.number

    def sizes(self) -> npt.NDArray[np.int64] | None:
        return self.size

    def fetch(self, places: Sequence[int]) -> Iterator[tuple[int, Found]]:
        """Each by one read of its archive; none where the archive is no longer what was indexed."""
        by_file: dict[int, list[int]] = {}
        for place in places:
            by_file.setdefault(int(self.number[place]), []).append(place)
        for number, own in by_file.items():
            try:
                with self.paths[number].open("rb") as file:
                    same = facts_of(self.paths[number]) == self.facts[number]
                    for place in own:
                        yield place, self._read(file, place) if same else "the archive changed while it was read"
            except OSError as error:
                yield from ((place, f"can't be opened: {error.strerror}") for place in own)

    def _read(self, file: BinaryIO, place: int) -> Found:
        size = int(self.size[place])
        if size > MAX_BYTES:
            return f"{size} bytes, more than {MAX_BYTES}"
        try:
            file.seek(int(self.offset[place]))
            found = file.read(size)
        except OSError as error:
            return f"can't be read: {error.strerror}"
        return found if len(found) == size else "ends before its last byte"
