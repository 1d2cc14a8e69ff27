"""What a folder of pictures is: one set of class folders, or splits with class folders in each.

A sub-folder is a split if it is called like one and holds sub-folders with pictures. Nothing that holds pictures may be
left over beside splits: such a folder is refused, since it could be meant in two ways.
"""

import dataclasses
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from headstart.core.cache.errors import DataInvalid
from headstart.core.cache.text import listed, safe
from headstart.core.extract.pictures.walk import entries, holds_pictures, is_around, is_picture

_WORDS = {
    "train": ("train", "training", "trainset", "trainingset", "traindata", "trainingdata"),
    "val": ("val", "valid", "validation", "dev", "eval", "evaluation", "valset", "validset", "validationset"),
    "test": ("test", "testing", "testset", "testdata", "testingset"),
}
_KINDS = {word: kind for kind, words in _WORDS.items() for word in words}

BY_HAND = "--no-splits takes each sub-folder for a class"


@dataclasses.dataclass(frozen=True)
class Layout:
    """Our splits of the folder `top`: for each the folder below it that holds the class folders ("" is `top` itself).

    `remarks` must be said once before the work.
    """

    top: Path
    splits: Mapping[str, str]
    remarks: tuple[str, ...] = ()

    def root(self, split: str) -> Path:
        """The folder that the paths of a split's pictures are relative to."""
        return self.top / self.splits[split]

    @property
    def training(self) -> tuple[str, ...]:
        """The folders whose class folders are the classes of all splits: validation pictures may have to be trained on."""
        own = tuple(self.splits[name] for name in ("train", "val") if name in self.splits)
        return own or (next(iter(self.splits.values())),)


def undivided(top: Path) -> Layout:
    """Every sub-folder is a class, whatever its name."""
    return Layout(top, {"all": ""})


def layout(top: Path) -> Layout:
    """What the names and contents of the sub-folders say. Raises DataInvalid where they can be meant in two ways."""
    named = [name for name in subfolders(top) if kind(name)]
    if not named:
        return _checked_depth(undivided(top))
    splits = [name for name in named if any(holds_pictures(top / name / inner) for inner in subfolders(top / name))]
    others = [name for name in subfolders(top) if name not in splits and holds_pictures(top / name)]
    if not splits:
        return _of_classes(top, [name for name in named if name in others], others)
    flat = [name for name in others if name in named]
    if flat and others == flat:
        raise DataInvalid(
            f"{top}: {listed(splits)} has class folders, but {listed(flat)} holds pictures without class folders; expected "
            f"{top / flat[0]}/CLASS/PICTURE.jpg; --dataset folder:{top / splits[0]} takes {safe(splits[0])}/ alone, and "
            f"`headstart predict {shlex.quote(str(top / flat[0]))}` labels pictures of unknown classes"
        )
    if others:
        raise DataInvalid(
            f"{top}: {listed(splits)} {'is named like a split' if len(splits) == 1 else 'are named like splits'} and would "
            f"leave out the pictures in {listed(others)}; move these away if they are not wanted, or {BY_HAND}"
        )
    empty = tuple(f"{safe(name)}/ holds no pictures" for name in named if name not in splits)
    found = _of_splits(top, splits)
    return _checked_depth(dataclasses.replace(found, remarks=(*found.remarks, *empty)))


def subfolders(folder: Path) -> tuple[str, ...]:
    """The names of the sub-folders, sorted. Raises DataNotFound, DataInvalid for a link that can't be followed: a class
    that silently goes missing would shift all labels after it."""
    found = []
    for name, is_folder, is_link in entries(folder):
        if is_folder and is_link and is_around(folder / name):
            raise DataInvalid(f"{folder / name}: a link to a folder that it lies in; remove it")
        if is_folder:
            found.append(name)
        elif is_link and not is_picture(name):
            _check_link(folder / name)
    return tuple(found)


def _check_link(link: Path) -> None:
    try:
        link.stat()
    except OSError as error:
        raise DataInvalid(f"{link}: a link that can't be followed ({error.strerror}); mend it or remove it") from error


def kind(name: str) -> str | None:
    """Which split a folder is called like: `train`, `val` or `test`, in any usual spelling; None for other names."""
    return _KINDS.get(re.sub(r"[\s_-]", "", name.lower()))


def _of_classes(top: Path, flat: Sequence[str], others: Sequence[str]) -> Layout:
    """Folders called like splits that hold no class folders: a class, where it is one among others."""
    if not flat:
        return _checked_depth(undivided(top))
    if len(flat) > 1 or others == flat:
        raise DataInvalid(
            f"{top}: {listed(flat)} {'holds' if len(flat) == 1 else 'hold'} pictures, but no class folders; expected "
            f"{top / flat[0]}/CLASS/PICTURE.jpg; --dataset folder:{top / flat[0]} takes its pictures without labels, "
            f"{BY_HAND}"
        )
    remark = f"{safe(flat[0])} is taken for a class: it holds pictures and no class folders"
    return dataclasses.replace(undivided(top), remarks=(remark,))


def _of_splits(top: Path, names: Sequence[str]) -> Layout:
    by_kind: dict[str, str] = {}
    for name in names:
        its = kind(name) or ""
        if its in by_kind:
            raise DataInvalid(
                f"{top}: both {safe(by_kind[its])} and {safe(name)} stand for the {_SPOKEN[its]} pictures; "
                f"put them into one folder, or {BY_HAND}"
            )
        by_kind[its] = name
    train, val, test = (by_kind.get(word, "") for word in ("train", "val", "test"))
    if train and val and test:
        return Layout(top, {"train": train, "val": val, "test": test})
    if train and val:
        remark = (
            f"the folder has no test pictures: heads are tested by cross-validation, and chosen on {safe(val)}/ if it has "
            f"100 pictures or more and both folders have all classes (else it may join {safe(train)}/); call {safe(val)}/ "
            f"test/ to test on it instead"
        )
        return Layout(top, {"train": train, "val": val}, remarks=(remark,))
    if train and test:
        return Layout(top, {"train": train, "test": test})
    if train:
        return Layout(top, {"all": train}, remarks=(f"only {safe(train)}/ is there: `train-head` holds out a part of it",))
    if val and test:
        raise DataInvalid(
            f"{top}: has {safe(val)}/ and {safe(test)}/, but no training pictures; expected train/ beside them, "
            f"or one of them alone: --dataset folder:{top / test}"
        )
    only = val or test
    remark = (
        f"only {safe(only)}/ is there: no head can be trained on a test split; put training pictures into train/ beside "
        f"it, or let `train-head` divide it: --dataset folder:{top / only}"
    )
    return Layout(top, {"test": only}, remarks=(remark,))


_SPOKEN = {"train": "training", "val": "validation", "test": "test"}


def _checked_depth(found: Layout) -> Layout:
    """Raises DataInvalid where all pictures are in one class folder with folders of its own, as archives unpack them."""
    for folder in found.splits.values():
        place = found.top / folder
        inner = _only_way(place)
        if inner != place:
            choice = f"--dataset folder:{inner}" if not folder else f"move the folders in {inner} up into {place}"
            raise DataInvalid(
                f"{place}: one class only, {safe(inner.relative_to(place).parts[0])}, and all its pictures are in "
                f"the folders {listed(_full(inner))} of {inner}; if these are the classes: {choice}; if not: {BY_HAND}"
            )
    return found


def _only_way(folder: Path) -> Path:
    """The folder that one comes to while there is one sub-folder with pictures and no picture beside it."""
    here = folder
    while not _has_pictures_itself(here) and len(full := _full(here)) == 1:
        here = here / full[0]
    return folder if _has_pictures_itself(here) or len(_full(here)) < 2 else here


def _full(folder: Path) -> list[str]:
    inner = [
        name for name, is_folder, is_link in entries(folder) if is_folder and not (is_link and is_around(folder / name))
    ]
    return [name for name in inner if holds_pictures(folder / name)]


def _has_pictures_itself(folder: Path) -> bool:
    return any(not is_folder and is_picture(name) for name, is_folder, _ in entries(folder))
