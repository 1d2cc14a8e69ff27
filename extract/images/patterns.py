"""The files that `--dataset KIND:ARGUMENT` means: a file, a folder of them, or a pattern; and what the set is called."""

import dataclasses
import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from headstart.core.cache.errors import DataNotFound
from headstart.core.cache.places import exists, is_url
from headstart.core.cache.text import listed, safe
from headstart.core.extract.pictures.walk import refuse

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MOST = 100_000
"""Files that one pattern may stand for."""


@dataclasses.dataclass(frozen=True)
class Argument:
    """What follows the colon: a path or pattern from the root of the file system on, and the names of columns after `#`."""

    word: str
    path: Path
    columns: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """The whole of it, which finds the set again from any folder."""
        return f"{self.path}#{','.join(self.columns)}" if self.columns else str(self.path)

    @property
    def root(self) -> Path:
        """The folder that names of files are relative to: the deepest one that the pattern says without a wildcard."""
        if self.path.is_dir():
            return self.path
        whole = self.path
        while _is_pattern(str(whole)):
            whole = whole.parent
        return whole if whole != self.path else whole.parent

    @property
    def name(self) -> str:
        """What the data set is called: by the kind, so that it passes for none of ours, and by its file or folder."""
        file = not self.path.is_dir() and not _is_pattern(str(self.path))
        return f"{self.word}-{(self.path.stem if file else self.root.resolve().name) or 'root'}"


def argument(word: str, text: str, example: str) -> Argument:
    """The parts of an argument. A `#` in the name of a file that is there belongs to the name. Raises DataNotFound."""
    if not text:
        raise DataNotFound(f"--dataset {word}: no path; expected --dataset {word}:{example}")
    if is_url(text):
        raise DataNotFound(
            f"--dataset {word}:{safe(text)}: expected a file of this machine, or a mounted one; in an object store may be "
            f"the pictures of folder:, and those that a list names by their URLs"
        )
    path, mark, columns = text.rpartition("#")
    if not mark or Path(text).expanduser().exists():
        path, columns = text, ""
    whole = os.path.normpath(Path(path).expanduser().absolute())
    return Argument(word, Path(whole), tuple(name.strip() for name in columns.split(",") if name.strip()))


def one_file(given: Argument, suffixes: Sequence[str]) -> Path:
    """The file that is meant. Raises DataNotFound where none is there."""
    try:
        if given.path.is_file():
            return given.path
        what = "a folder, expected a file" if given.path.is_dir() else "no such file"
    except PermissionError as error:
        refuse(error)
    raise DataNotFound(f"--dataset {given.word}:{safe(given.path)}: {what}{_beside(given.path, suffixes)}")


def files(given: Argument, suffixes: Sequence[str]) -> tuple[Path, ...]:
    """The files that are meant, by name; of a folder those with the suffixes, sub-folders included. Raises DataNotFound
    where there are none, and where one that a range such as {000..012} names is not there."""
    text = str(given.path)
    try:
        if given.path.is_dir():
            found = [path for path in sorted(given.path.rglob("*")) if path.name.lower().endswith(tuple(suffixes))]
            found = [path for path in found if not _hidden(path.relative_to(given.path)) and path.is_file()]
        elif given.path.is_file():
            found = [given.path]
        else:
            found = [Path(name) for pattern in _ranges(given, text) for name in sorted(glob.glob(pattern, recursive=True))]
            found = [path for path in found if path.is_file()]
    except PermissionError as error:
        refuse(error)
    if not found:
        raise DataNotFound(f"--dataset {given.word}:{safe(text)}: no such file{_beside(given.path, suffixes)}")
    return tuple(dict.fromkeys(found))


def is_there(origin: str) -> bool:
    """Whether a folder, a file, or a file of a pattern is where a data set was made from; columns after `#` don't count."""
    path = origin.rpartition("#")[0] or origin
    if is_url(origin):
        return exists(origin)
    return any(Path(one).exists() or bool(glob.glob(_RANGE.sub("*", one), recursive=True)) for one in (origin, path))


def _is_pattern(text: str) -> bool:
    return glob.has_magic(text) or _RANGE.search(text) is not None


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _ranges(given: Argument, text: str) -> list[str]:
    """The patterns that a pattern with ranges stands for, each of which must be there."""
    found = [text]
    while (mark := _RANGE.search(found[0])) is not None:
        first, last = int(mark[1]), int(mark[2])
        if not first <= last or len(found) * (last - first + 1) > _MOST:
            raise DataNotFound(f"--dataset {given.word}:{safe(text)}: the range {mark[0]} is empty or too long")
        numbers = [str(number).zfill(len(mark[1])) for number in range(first, last + 1)]
        found = [_RANGE.sub(number, one, count=1) for one in found for number in numbers]
    if len(found) > 1 and (gone := [one for one in found if not glob.glob(one, recursive=True)]):
        raise DataNotFound(
            f"{safe(gone[0])}: no such file, of {len(gone):,} that --dataset {given.word}:{safe(text)} names"
        )
    return found


def _beside(path: Path, suffixes: Sequence[str]) -> str:
    """What there is instead, where the folder of the path is there."""
    folder = path if path.is_dir() else path.parent
    if not folder.is_dir():
        return f"; expected {' or '.join(suffixes)}"
    there = sorted(found.name for found in folder.iterdir() if found.name.lower().endswith(tuple(suffixes)))
    return f"; {safe(folder)} has {listed(there, 5) or 'no ' + ' or '.join(suffixes)}"
