"""Your own pictures: `folder:PATH` with a sub-folder for each class, or with `train/` and `test/` above those.

A folder of pictures without sub-folders is an unlabelled set. Everything is sorted by name; hidden files are left out.
Links to pictures and to class folders are followed; a link that can't be is an error or an unreadable picture, since a
class or a picture that silently goes missing would shift all labels after it.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from cache.errors import DataInvalid, DataNotFound
from extract.images import SUFFIXES, FileImages, Images

ARGUMENT = "PATH"


def splits(argument: str, data_dir: Path) -> tuple[str, ...]:
    """`train` and `test` where such sub-folders are there, else `all`."""
    there = _subfolders(_root(argument))
    return tuple(name for name in ("train", "test") if name in there) or ("all",)


def open_split(argument: str, split: str, data_dir: Path) -> Images:
    """The pictures of one split. Raises DataNotFound where there is none, DataInvalid where the splits' classes differ."""
    top = _root(argument)
    root = top if split == "all" else top / split
    classes = _classes(top, split)
    there = _subfolders(root)
    found = [(path, index) for index, name in enumerate(classes) if name in there for path in _pictures(root, name)]
    if not classes:
        found = [(path, -1) for path in _pictures(root, "")]
    if not found:
        raise DataNotFound(f"{root}: no pictures ({', '.join(SUFFIXES)}); expected {root}/CLASS/PICTURE.jpg")
    return FileImages(
        name=f"folder-{top.resolve().name}",  # no folder may pass for a data set of ours
        split=split,
        classes=classes,
        root=root,
        paths=tuple(path for path, _ in found),
        targets=tuple(index for _, index in found),
    )


def _root(argument: str) -> Path:
    if not argument:
        raise DataNotFound("--dataset folder: no path; expected --dataset folder:PATH")
    root = Path(argument).expanduser()
    try:
        if not root.is_dir():
            raise DataNotFound(f"--dataset folder:{argument}: no such folder")
    except PermissionError as error:
        _refuse(error)
    return root


def _classes(top: Path, split: str) -> tuple[str, ...]:
    """The class names, from `train/` for both splits: a test folder lacking a class would shift the indices."""
    if split == "all":
        return _subfolders(top)
    names = {name: _subfolders(top / name) for name in _subfolders(top) if name in ("train", "test")}
    classes = names.get("train", names[split])
    if extra := sorted(set(names[split]) - set(classes)):
        raise DataInvalid(f"{top / split}: has the classes {', '.join(extra)}, which {top / 'train'} has not")
    return classes


def _subfolders(folder: Path) -> tuple[str, ...]:
    """The names of the sub-folders, sorted. Raises DataNotFound, DataInvalid for a link that can't be followed."""
    try:
        with os.scandir(folder) as entries:
            return tuple(sorted(entry.name for entry in entries if not entry.name.startswith(".") and _is_folder(entry)))
    except OSError as error:
        _refuse(error)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    if not entry.is_symlink():
        return entry.is_dir()
    path = Path(entry.path)
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
        if is_folder and path.parent.resolve().is_relative_to(path.resolve()):
            raise DataInvalid(f"{path}: a link to a folder that it lies in; remove it")
    except OSError as error:
        if entry.name.lower().endswith(SUFFIXES):
            return False  # a picture that can't be opened: said where it is read
        raise DataInvalid(f"{path}: a link that can't be followed ({error.strerror}); mend it or remove it") from error
    return is_folder


def _pictures(root: Path, below: str) -> Iterator[str]:
    """Paths relative to `root`, sorted, of the pictures in `below` and its own sub-folders; links to folders are left."""
    for folder, subfolders, files in os.walk(root / below, onerror=_refuse):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(files):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield os.path.relpath(os.path.join(folder, name), root)


def _refuse(error: OSError) -> NoReturn:
    raise DataNotFound(
        f"{error.filename}: can't be read ({error.strerror}); give yourself access or move it out of the data set"
    ) from error
