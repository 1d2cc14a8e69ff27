"""Labels with the decisions on them: by content alone, and no other label changes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.cache.corrected import corrected
from headstart.core.cache.corrections import KEEP, LABEL, NONE, REMOVE, UNSURE, Correction, Corrections
from headstart.core.cache.digests import from_hex

CLASSES = ("owl", "cat")


def mark(number: int) -> str:
    return f"{number:064x}"


def decided(*decisions: Correction) -> Corrections:
    return Corrections(len(decisions), {one.picture: one for one in decisions})


def test_labels_change_and_pictures_go_by_their_content() -> None:
    digests = from_hex([mark(number) for number in (5, 6, 5, 7, 8, 9)])
    labels = np.array([0, 1, 1, 0, -1, 1])
    found = decided(
        Correction(mark(5), LABEL, "cat"),
        Correction(mark(6), KEEP),
        Correction(mark(7), REMOVE),
        Correction(mark(8), LABEL, "ape"),
        Correction(mark(9), UNSURE),
        Correction(mark(1), LABEL, "emu"),
    )
    made = corrected(found, digests, labels, CLASSES)
    assert made.classes == ("owl", "cat", "ape")  # nothing is an emu here
    assert made.labels.tolist() == [1, 1, 1, 0, 2, 1]
    assert made.changed.tolist() == [True, False, False, False, True, False]
    assert made.kept.tolist() == [True, True, True, False, True, True]
    assert made.unsure.tolist() == [False] * 5 + [True]
    assert made.elsewhere == 1
    assert labels.tolist() == [0, 1, 1, 0, -1, 1]


def test_new_classes_come_in_the_order_of_their_names() -> None:
    found = decided(Correction(mark(1), LABEL, "emu"), Correction(mark(2), LABEL, "ape"))
    made = corrected(found, from_hex([mark(1), mark(2)]), np.array([-1, -1]), ())
    assert (made.classes, made.labels.tolist()) == (("ape", "emu"), [1, 0])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 1)), max_size=8))
def test_without_decisions_all_stays(rows: list[tuple[int, int]]) -> None:
    labels = np.array([label for _, label in rows], dtype=np.int64)
    made = corrected(NONE, from_hex([mark(number) for number, _ in rows]), labels, CLASSES)
    assert made.labels.tolist() == labels.tolist()
    assert made.kept.all()
    assert not made.changed.any()
    assert (made.classes, made.elsewhere) == (CLASSES, 0)
