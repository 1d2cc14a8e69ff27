"""Labels as people write them, text or integers, as class names in their order and as class indices."""

import collections
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from headstart.core.cache.errors import DataInvalid
from headstart.core.cache.text import listed

UNKNOWN = ""
"""The label of a picture that has none."""
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_WITH_POINT = re.compile(r"([+-]?[0-9]{1,18})\.0+")


def spelled(texts: Sequence[str]) -> list[str]:
    """The labels (N,) as class names: without spaces around them. Where all are integers, 3.0 is 3, as tables with a gap in
    the column write it, and -1 stands for no label, as data sets with unlabelled rows have it."""
    found = [text.strip() for text in texts]
    whole = {text: _WITH_POINT.sub(r"\1", text) for text in {*found} - {UNKNOWN}}
    if not all(_WHOLE.fullmatch(text) for text in whole.values()):
        return found
    return [UNKNOWN if (name := whole.get(text, UNKNOWN)) == "-1" else name for text in found]


def class_names(labels: Iterable[str], where: object) -> tuple[str, ...]:
    """The classes of some labels: sorted, and by their value where all are integers. Raises DataInvalid for two names that
    look alike."""
    names = sorted({*labels} - {UNKNOWN})
    forms: dict[str, str] = {}
    for name in names:
        other = forms.setdefault(unicodedata.normalize("NFC", name), name)
        if other != name:
            raise DataInvalid(
                f"{where}: the labels {other!a} and {name!a} differ only in Unicode form (NFC and NFD); spell them alike"
            )
    whole = all(_WHOLE.fullmatch(name) for name in names)
    return tuple(sorted(names, key=lambda name: (int(name), name))) if whole else tuple(names)


def indices(labels: Sequence[str], classes: Sequence[str], where: object, which: str) -> list[int]:
    """The class index of each label (N,), -1 for none. Raises DataInvalid for labels, `which` they are of, that the
    training rows have not."""
    numbers = {name: place for place, name in enumerate(classes)} | {UNKNOWN: -1}
    if extra := sorted({*labels} - numbers.keys()):
        names, training = listed(map(ascii_only, extra)), listed(map(ascii_only, classes)) or "no labels"
        raise DataInvalid(
            f"{where}: {which} has the classes {names}, which the training rows have not; they have {training}"
        )
    return [numbers[label] for label in labels]


def ascii_only(name: str) -> str:
    """A name in which letters that look alike can be told apart."""
    return name if name.isascii() else ascii(name)[1:-1]


def pictures_of(split: str, targets: Iterable[int], classes: Sequence[str]) -> str:
    """How many pictures of how many classes a split has: of those that it lacks none is counted."""
    return _pictures(split, collections.Counter(targets), classes)


def _pictures(split: str, counts: Mapping[int, int], classes: Sequence[str]) -> str:
    rows, which = sum(counts.values()), "" if split == "all" else f"{split}: "
    filled, known = len({*counts} - {-1}), len(classes)
    of = f"{filled:,} of {known:,}" if filled < known else f"{known:,}"
    kinds = f"of {of} {'class' if known == 1 else 'classes'}" if filled else "without labels"
    return f"{which}{rows:,} {'picture' if rows == 1 else 'pictures'} {kinds}"


def summary(split: str, targets: Iterable[int], classes: Sequence[str], more: str = "") -> list[str]:
    """How many pictures of how many classes a split has, with what is left out, and what is odd about its labels."""
    return counted(split, collections.Counter(targets), classes, more)


def counted(split: str, counts: Mapping[int, int], classes: Sequence[str], more: str = "") -> list[str]:
    """The same from the number of rows of each class index, -1 for those without a label."""
    rows, which = sum(counts.values()), "" if split == "all" else f"{split}: "
    found = [f"{_pictures(split, counts, classes)}{more}"]
    unknown = counts.get(-1, 0)
    if 0 < unknown < rows:
        found.append(f"{which}{unknown:,} of {rows:,} pictures {'has' if unknown == 1 else 'have'} no label")
    by_case = collections.Counter(name.casefold() for name in classes)
    if alike := [name for name in classes if by_case[name.casefold()] > 1]:
        found.append(f"classes that differ in capital letters only: {listed(alike)}")
    return found
