"""Your own pictures: `folder:PATH` with a sub-folder for each class, or with `train/` and `test/` above those.

A folder of pictures without sub-folders is an unlabelled set. Everything is sorted by name; hidden files are left out.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from cache.errors import DataInvalid, DataNotFound
from extract.images import SUFFIXES, FileImages, Images

ARGUMENT = "PATH"


def splits(argument: str, data_dir: Path) -> tuple[str, ...]:
    """`train` and `test` where such sub-folders are there, else `all`."""
    root = _root(argument)
    there = tuple(name for name in ("train", "test") if (root / name).is_dir())
    return there or ("all",)


def open_split(argument: str, split: str, data_dir: Path) -> Images:
    """The pictures of one split. Raises DataNotFound where there is none, DataInvalid where the splits' classes differ."""
    top = _root(argument)
    root = top if split == "all" else top / split
    classes = _classes(top, split)
    found = [
        (path, index) for index, name in enumerate(classes) if (root / name).is_dir() for path in _pictures(root, name)
    ]
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
    if not root.is_dir():
        raise DataNotFound(f"--dataset folder:{argument}: no such folder")
    return root


def _classes(top: Path, split: str) -> tuple[str, ...]:
    """The class names, from `train/` for both splits: a test folder lacking a class would shift the indices."""
    if split == "all":
        return _subfolders(top)
    names = {name: _subfolders(top / name) for name in ("train", "test") if (top / name).is_dir()}
    classes = names.get("train", names[split])
    if extra := sorted(set(names[split]) - set(classes)):
        raise DataInvalid(f"{top / split}: has the classes {', '.join(extra)}, which {top / 'train'} has not")
    return classes


def _subfolders(folder: Path) -> tuple[str, ...]:
    with os.scandir(folder) as entries:
        return tuple(sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")))


def _pictures(root: Path, below: str) -> Iterator[str]:
    """Paths relative to `root`, sorted, of the pictures in `below` and its own sub-folders; links to folders are left."""
    for folder, subfolders, files in os.walk(root / below, onerror=_refuse):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(files):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield os.path.relpath(os.path.join(folder, name), root)


def _refuse(error: OSError) -> None:
    raise DataNotFound(f"{error.filename}: {error.strerror}") from error
