"""Which of our splits the rows of a data set are in, told by the words that people have for splits."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath

from headstart.core.cache.errors import DataInvalid
from headstart.core.cache.text import listed, safe
from headstart.core.extract.pictures.layout import kind

Kind = str | None
"""`train`, `val` or `test`; None where nothing is said."""


class Splits:
    """Our splits, each with the kind of rows that it has, and what must be said of that."""

    def __init__(self, splits: Mapping[str, Kind], remarks: Sequence[str] = ()) -> None:
        self.splits, self.remarks = splits, tuple(remarks)

    @property
    def training(self) -> tuple[Kind, ...]:
        """The kinds of rows whose labels are the classes of all splits: validation rows may have to be trained on."""
        own = tuple(self.splits[name] for name in ("train", "val") if name in self.splits)
        return own or tuple(self.splits.values())


def splits_of(kinds: Iterable[Kind], where: object) -> Splits:
    """The splits of a data set that has rows of these kinds, as `folder:` has them: validation rows alone are test rows.
    Raises DataInvalid where some are in a split and some in none, and for validation and test rows alone."""
    there = {*kinds}
    if None in there and len(there) > 1:
        named = listed(sorted(name for name in there if name))
        raise DataInvalid(f"{where}: some of it is in the splits {named}, the rest in none; name the split of all of it")
    if there <= {None}:
        return Splits({"all": None})
    if there == {"train", "val", "test"}:
        return Splits({"train": "train", "val": "val", "test": "test"})
    if there == {"train", "val"}:
        remark = (
            "the data set has no test pictures: heads are tested by cross-validation, and chosen on its validation "
            "pictures if these are 100 or more and both splits have all classes (else they may be training pictures too); "
            "call the validation pictures test to test on them instead"
        )
        return Splits({"train": "train", "val": "val"}, (remark,))
    if there == {"train", "test"}:
        return Splits({"train": "train", "test": "test"})
    if there == {"train"}:
        return Splits({"all": "train"}, remarks=("only training pictures are there: `train-head` divides them",))
    if there == {"val", "test"}:
        raise DataInvalid(f"{where}: has validation and test pictures, but no training pictures; take one of them alone")
    (only,) = there
    spoken = "validation" if only == "val" else "test"
    return Splits({"test": only}, remarks=(f"only {spoken} pictures are there: no head can be trained on a test split",))


def kind_of_word(word: str, where: object) -> Kind:
    """What a cell of a split column says; nothing where it is empty. Raises DataInvalid for a word that is no split's."""
    text = word.strip()
    if text and kind(text) is None:
        raise DataInvalid(f"{where}: the split is '{safe(text)}', expected train, val or test")
    return kind(text) if text else None


def kind_of_path(path: PurePath) -> Kind:
    """What a file's name says (`train-00000-of-00002.parquet`), else the folders above it, the nearest first. Raises
    DataInvalid for a name that says two things."""
    for name in (path.stem, *reversed(path.parts[:-1])):
        found = {its for word in re.split(r"[^A-Za-z]+", name) if (its := kind(word))}
        if len(found) > 1:
            raise DataInvalid(f"{path}: its name says {' and '.join(sorted(found))}; name the file after one split")
        if found:
            return found.pop()
    return None


def by_kind(paths: Iterable[Path], root: Path) -> dict[Kind, list[Path]]:
    """Files by what their names, relative to `root`, say. Raises DataInvalid for a name that says two things."""
    found = dict[Kind, list[Path]]()
    for path in paths:
        found.setdefault(kind_of_path(path.relative_to(root)), []).append(path)
    return found
