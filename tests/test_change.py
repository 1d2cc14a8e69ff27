"""What a snapshot changed of the one before it: counts of pictures, told apart by content, class and file name."""

import dataclasses

import numpy as np
import pytest

from headstart.core.cache.change import Change, Difference, Pictures, compared
from headstart.core.cache.digests import from_hex
from headstart.core.cache.files import sha256

Row = tuple[str, str]
"""A picture's content, and its file: the class's folder, then the name."""


def pictures(*rows: Row, classes: tuple[str, ...] = ()) -> Pictures:
    names = tuple(sorted({file.partition("/")[0] for _, file in rows} | set(classes)))
    labels = [names.index(file.partition("/")[0]) for _, file in rows]
    digests = from_hex([sha256(content.encode()) for content, _ in rows])
    return Pictures(digests, np.array(labels), names, [file.encode() for _, file in rows])


BEFORE = (("x", "cat/1"), ("y", "cat/2"), ("z", "dog/1"))


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (BEFORE, Difference()),
        (BEFORE[:2], Difference(gone=1)),
        ((*BEFORE, ("new", "dog/2")), Difference()),
        ((*BEFORE, ("x", "cat/3")), Difference(copies=1)),
        ((*BEFORE, ("new", "cat/3"), ("new", "cat/4"), ("new", "dog/4")), Difference(copies=2)),
        ((("x", "cat/other"), *BEFORE[1:]), Difference(renamed=1)),
        ((("x", "cat/2"), ("y", "cat/1"), BEFORE[2]), Difference(renamed=2)),
        ((("x", "dog/7"), *BEFORE[1:]), Difference(relabelled=1)),
        ((("x", "puss/1"), ("y", "puss/2"), BEFORE[2]), Difference(classes=(("cat", "puss"),))),
        ((("x", "puss/1"), ("y", "puss/9"), BEFORE[2]), Difference(renamed=1, classes=(("cat", "puss"),))),
        ((("x", "puss/1"), ("y", "dog/2"), BEFORE[2]), Difference(relabelled=2)),  # a class divided, not renamed
        ((("x", "pet/1"), ("y", "pet/2"), ("z", "pet/3")), Difference(relabelled=3)),  # two classes made one
        ((("x", "dog/1"), ("y", "dog/2"), ("z", "cat/1")), Difference(relabelled=3)),  # names exchanged
    ],
)
def test_what_is_another_is_counted_by_its_kind(now: tuple[Row, ...], expected: Difference) -> None:
    assert compared(pictures(*BEFORE), pictures(*now)) == expected


def test_rows_that_are_no_files_are_never_renamed() -> None:
    before = dataclasses.replace(pictures(*BEFORE), files=())
    now = dataclasses.replace(pictures(BEFORE[2], *BEFORE[:2]), files=())
    assert compared(before, now) == Difference()


def test_differences_are_said_in_words() -> None:
    assert Difference(1, 1, 1, 1).words == ["1 no longer there", "1 label changed", "1 file renamed", "1 copy"]
    many = Difference(2000, 2, 2, 2, (("cat", "puss"),))
    assert many.words == [
        "2,000 no longer there", "2 labels changed", "2 files renamed", "2 copies", "class cat is now puss",
    ]  # fmt: skip
    assert Difference(gone_unreadable=1).words == ["1 unreadable picture no longer there"]
    assert Difference(gone_unreadable=2).words == ["2 unreadable pictures no longer there"]
    assert Difference().words == []


def test_what_says_nothing_is_not_written() -> None:
    """The first headstart with manifests of version 4 knows the first six fields."""
    change = Change("ab", 3, 2, 1, 0, 0)
    assert change.to_json() == {"before": "ab", "pictures": 3, "kept": 2, "computed": 1, "gone": 0, "relabelled": 0}
    assert Change.from_json(change.to_json()) == change
    full = Change("ab", 3, 1, 1, 0, 0, 1, 2, 1, (("cat", "puss"),), 4)
    assert Change.from_json(full.to_json()) == full
    assert full.difference == Difference(0, 0, 1, 2, (("cat", "puss"),), 4)


@pytest.mark.parametrize("field", [{"renamed": -1}, {"copies": "1"}, {"classes": [["a", 1]]}, {"before": 1}])
def test_a_change_of_other_types_is_refused(field: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected a digest, numbers of pictures and class names"):
        Change.from_json({**Change("ab", 3, 2, 1, 0, 0).to_json(), **field})
