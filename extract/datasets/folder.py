"""Your own pictures: `folder:PATH` with a sub-folder for each class, or splits such as `train/` and `test/` above those.

`layout` says which folders are splits, `extract.pictures.walk` which files are pictures. A folder of pictures without
sub-folders is an unlabelled set. Classes are sorted by name, rows are in a stratified order (`order`); rows of unlabelled
pictures follow the SHA-256 of their paths.
"""

import collections
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path

from headstart.core.cache.errors import DataInvalid, DataNotFound
from headstart.core.cache.places import listed_place
from headstart.core.cache.text import listed
from headstart.core.extract.datasets import kind_hint
from headstart.core.extract.images import Images
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.images.labels import pictures_of
from headstart.core.extract.pictures.formats import suffixes
from headstart.core.extract.pictures.layout import Layout, layout, subfolders
from headstart.core.extract.pictures.walk import Found, counted, refuse, walk

ARGUMENT = "PATH"


def splits(argument: str, data_dir: Path) -> tuple[str, ...]:
    """`train`, `val` and `test` as far as they are there, or `all`. Raises DataNotFound, DataInvalid."""
    return tuple(layout(top_folder(argument)).splits)


def lacking(argument: str, data_dir: Path) -> None:
    """Nothing is downloaded."""


def open_split(argument: str, split: str, data_dir: Path) -> Images:
    """The pictures of one split. Raises DataNotFound where there is none, DataInvalid where the splits' classes differ."""
    return images(layout(top_folder(argument)), split)


def top_folder(argument: str) -> Path:
    """The folder that `folder:ARGUMENT` names, from the root of the file system on. Raises DataNotFound."""
    if not argument:
        raise DataNotFound("--dataset folder: no path; expected --dataset folder:PATH")
    top = listed_place(argument).expanduser().absolute()
    try:
        there = top.is_dir()
    except PermissionError as error:
        refuse(error)
    except OSError as error:  # of a store: no bucket, no server
        raise DataNotFound(f"--dataset folder:{argument}: {error.strerror or error}") from error
    if not there:
        raise DataNotFound(f"--dataset folder:{argument}: no such folder{kind_hint(argument)}")
    return top


def images(found: Layout, split: str) -> Images:
    """One split of a layout, as `open_split`."""
    classes, root = _classes(found, split), found.root(split)
    paths, targets, left_out = _pictures(found, split, classes)
    if not paths:
        raise DataNotFound(_nothing_there(root, left_out))
    return FileImages(
        name=f"folder-{found.top.resolve().name or 'root'}",  # no folder may pass for a data set of ours
        split=split,
        classes=classes,
        root=root,
        paths=tuple(paths),
        targets=tuple(targets),
        top=found.top,
        remarks=(
            pictures_of(split, targets, classes) + (f"; {counted(left_out)}" if left_out else ""),
            *found.remarks,
            *_of_classes(classes, set(targets), split),
        ),
    ).stratified()


def _classes(found: Layout, split: str) -> tuple[str, ...]:
    """The class names, of the training folders for all splits: a test folder lacking a class would shift the indices."""
    classes = _named(found.top, found.training)
    own = _named(found.top, [found.splits[split]])
    if extra := sorted(set(own) - set(classes)):
        train = found.top / found.training[0]
        names = listed(map(_escaped, extra))
        raise DataInvalid(f"{found.root(split)}: has the classes {names}, which {train} has not{_alike(extra, classes)}")
    return classes


def _named(top: Path, folders: Sequence[str]) -> tuple[str, ...]:
    """The class folders below some folders. Raises DataInvalid for two names that look alike."""
    names = sorted({name for folder in folders for name in subfolders(top / folder)})
    forms: dict[str, str] = {}
    for name in names:
        other = forms.setdefault(unicodedata.normalize("NFC", name), name)
        if other != name:
            raise DataInvalid(
                f"{top}: the class folders {other!a} and {name!a} differ only in Unicode form (NFC and NFD); "
                f"put their pictures into one of them"
            )
    return tuple(names)


def _alike(extra: Sequence[str], classes: Sequence[str]) -> str:
    """A hint for names that differ in their letters' case or their Unicode form."""
    known = {unicodedata.normalize("NFC", name).casefold(): name for name in classes}
    for name in extra:
        if other := known.get(unicodedata.normalize("NFC", name).casefold()):
            return f"; {name!a} is not {other!a}: rename one of the two"
    return ""


def _escaped(name: str) -> str:
    return name if name.isascii() else ascii(name)[1:-1]


def _pictures(found: Layout, split: str, classes: Sequence[str]) -> tuple[list[str], list[int], collections.Counter[str]]:
    """Paths relative to the split's root and their class indices, by class in the walk's order; and what else is there."""
    root, paths, targets = found.root(split), list[str](), list[int]()
    left_out = collections.Counter[str]()
    there = set(subfolders(root))
    beside = walk(root, deep=False)
    if not classes:
        paths += beside.pictures
        targets += [-1] * len(beside.pictures)
    elif beside.pictures:
        left_out["pictures beside the class folders"] += len(beside.pictures)
    left_out += beside.left_out
    for index, name in enumerate(classes):
        inside = walk(root, name) if name in there else Found()
        paths += inside.pictures
        targets += [index] * len(inside.pictures)
        left_out += inside.left_out
    return paths, targets, left_out


def _of_classes(classes: Sequence[str], filled: Collection[int], split: str) -> list[str]:
    """What is odd about the classes."""
    found = []
    empty = [name for index, name in enumerate(classes) if index not in filled]
    if empty and split not in ("val", "test"):
        found.append(f"{len(empty):,} class {'folder is' if len(empty) == 1 else 'folders are'} empty: {listed(empty)}")
    by_case = collections.Counter(name.casefold() for name in classes)
    if alike := [name for name in classes if by_case[name.casefold()] > 1]:
        found.append(f"class folders that differ in capital letters only: {listed(alike)}")
    return found


def _nothing_there(root: Path, left_out: collections.Counter[str]) -> str:
    seen = f"; {counted(left_out)}" if left_out else ", and no other files"
    return f"{root}: no pictures ({', '.join(sorted(suffixes()))}){seen}; expected {root}/CLASS/PICTURE.jpg"
