"""Rows that belong together and are never on both sides of a division: the same picture, or the same text in their ids."""

import dataclasses
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.data.copies import copies
from headstart.core.heads.data.labelled import Labelled

Places = npt.NDArray[np.int64]

TOLD = 3
"""Pictures that a note names."""


def grouped(training: Labelled, testing: Labelled | None, pattern: str | None) -> Labelled:
    """The training rows as `grouped_apart` gives them."""
    return grouped_apart(training, testing, pattern)[0]


def grouped_apart(
    training: Labelled, testing: Labelled | None, pattern: str | None
) -> tuple[Labelled, npt.NDArray[np.bool_]]:
    """The training rows with their `groups`, None where each stands alone, and with notes on what was found; and which test
    rows (T,) are the same picture as one of those.

    Rows of the same picture are together (`data.copies`, or by their `contents`), and those in whose ids the regular
    expression `pattern` finds the same text: its first group, or all that it matched where it has none; without one
    those of a group that the ids name. Test rows are in no group; how many of them belong to training rows, or to rows
    that are judging, is told, and how many of the latter to training rows. Raises FeaturesInvalid as `by_pattern`.
    """
    count, said = len(training.labels), f"--group-by {pattern!r}"
    learned = len(training.learning.labels)  # those that are judging stand behind them
    if pattern is None and (pattern := _own_groups(training)) is not None:
        said = "the list's column group (leave it out, and extract again, to train without)"
    parts = [training] if testing is None else [training, testing]
    same = _same_contents(parts) if training.contents is not None else copies([part.features for part in parts])
    found, notes = same[:count], [*_of_copies(same[:learned], training), *_in_both(same, learned, count, "picture")]
    if pattern is not None:
        named = by_pattern(np.concatenate([part.ids for part in parts if part.ids is not None]), pattern, said)
        groups = len(np.unique(named[:count]))
        notes.append(f"{groups:,} groups by {pattern}, each on one side of every division")
        notes += _in_both(named, learned, count, "group")
        found = joined(found, named[:count])
    alone = len(np.unique(found)) == count
    told = dataclasses.replace(training, groups=None if alone else found, notes=(*training.notes, *notes))
    return told, np.isin(same[count:], same[:count])


def _same_contents(parts: Sequence[Labelled]) -> Places:
    """What `copies` finds, by the contents of the pictures: those whose bytes differ are not the same."""
    _, first, inverse = np.unique(
        np.concatenate([part.contents for part in parts if part.contents is not None]),
        return_index=True,
        return_inverse=True,
    )
    places: Places = first[inverse].astype(np.int64)
    return places


def _own_groups(data: Labelled) -> str | None:
    """The expression that finds the groups which a data set has by itself, as the ids of a list with such a column end in
    them; None where there are none."""
    found = data.ids is not None and len(data.ids) > 0 and all(b"#group=" in name for name in data.ids.tolist())
    return "#group=(.+)" if found else None


def checked_pattern(pattern: str) -> re.Pattern[str]:
    """The regular expression, compiled. Raises FeaturesInvalid, in words for the command line, where it is none."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise FeaturesInvalid(f"--group-by {pattern!r} is no regular expression: {error}") from None


def by_pattern(ids: npt.NDArray[np.bytes_], pattern: str, said: str = "") -> Places:
    """The number of each id's group (N,): ids (N,) in which the expression finds the same text have the same; those in
    which it finds none stand alone. `said` is where it comes from, for people.

    Raises FeaturesInvalid for no regular expression, for one that finds nothing, and for one that leaves two groups or
    fewer, of which no cross-validation can be made.
    """
    expression, said = checked_pattern(pattern), said or f"--group-by {pattern!r}"
    names = [name.decode("utf-8", "surrogateescape") for name in ids.tolist()]
    found = [_text(expression.search(name)) for name in names]
    example = f"the first id is {_shown(ids[0])}"
    if not any(text is not None for text in found):
        raise FeaturesInvalid(f"{said} matches none of {len(names):,} ids; {example}")
    # a row that stands alone is told by its place: another split may have the same id
    keys = [place if text is None else text for place, text in enumerate(found)]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    if len(numbers) <= 2:
        texts = [key if isinstance(key, str) else names[key] for key in numbers]
        several = ", ".join(_shown(text.encode("utf-8", "surrogateescape")) for text in texts)
        raise FeaturesInvalid(
            f"{said} puts {len(names):,} rows into {len(numbers)} group{'s' * (len(numbers) > 1)} "
            f"({several}), expected three or more; {example}"
        )
    return np.array([numbers[key] for key in keys], dtype=np.int64)


def _text(match: re.Match[str] | None) -> str | None:
    """What tells a group: the first group of the match, or all of it."""
    if match is None:
        return None
    first: str | None = match.group(1 if match.re.groups else 0)
    return first


def joined(one: Places, other: Places) -> Places:
    """Numbers (N,) that are the same for rows which either has together, directly or by others: the connected parts of the
    graph whose nodes are both kinds of groups and whose edges are the rows."""
    _, first = np.unique(one, return_inverse=True)
    _, second = np.unique(other, return_inverse=True)
    count = int(first.max() + second.max() + 2)
    graph = coo_array((np.ones(len(one), dtype=np.bool_), (first, second + first.max() + 1)), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    found: Places = component[first].astype(np.int64)
    return found


def _of_copies(same: Places, data: Labelled) -> tuple[str, ...]:
    """What must be said of rows of the same picture."""
    times = np.bincount(same)
    several = times[times > 1]
    if not several.size:
        return ()
    pictures = "picture" if several.size == 1 else f"{several.size:,} pictures"
    notes = [f"{several.sum():,} images are the same {pictures}; copies stay on one side of every division"]
    conflicting = np.flatnonzero(data.labels[: len(same)] != data.labels[same])
    if conflicting.size:
        named = ", ".join(f"{_name(data, row)} and {_name(data, same[row])}" for row in conflicting[:TOLD])
        more = f" and {conflicting.size - TOLD:,} more" if conflicting.size > TOLD else ""
        notes.append(f"the same picture with different labels: {named}{more}")
    return tuple(notes)


def _name(data: Labelled, row: int) -> str:
    return f"row {row}" if data.ids is None else _shown(data.ids[row])


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def _in_both(found: Places, learned: int, count: int, what: str) -> list[str]:
    """What must be said where rows of one kind have the number of a row of another: those before `learned` are trained on,
    those from there to `count` are judging, the others are test rows."""
    parts = {"training": found[:learned], "validation": found[learned:count], "test": found[count:]}
    notes = []
    for kind, other in (("test", "training"), ("test", "validation"), ("validation", "training")):
        if not (leaked := int(np.isin(parts[kind], parts[other]).sum())):
            continue
        if what == "group":
            notes.append(f"{leaked:,} {kind} picture{'s' if leaked > 1 else ''} of groups that {other} pictures are of too")
        elif leaked > 1:
            notes.append(f"{leaked:,} {kind} pictures are also {other} pictures")
        else:
            notes.append(f"1 {kind} picture is also a {other} picture")
    return notes
