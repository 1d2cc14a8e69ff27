"""Labels as people write them: text and integers become classes in one order, and gaps are no class."""

import hypothesis
import pytest
from hypothesis import strategies as st

from headstart.core.cache.errors import DataInvalid
from headstart.core.extract.images.labels import class_names, indices, spelled, summary


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["b", " a ", ""], ["b", "a", ""]),
        (["10", "9.0", "-1", " "], ["10", "9", "", ""]),
        (["1.0", "a"], ["1.0", "a"]),
        (["1.5", "2.0"], ["1.5", "2.0"]),
        (["-1", "a"], ["-1", "a"]),
        (["-1.0", "-2", "+3"], ["", "-2", "+3"]),
        (["007", "7"], ["007", "7"]),
        (["nan", "None"], ["nan", "None"]),
        ([], []),
    ],
)
def test_labels_are_spelled_alike(given: list[str], expected: list[str]) -> None:
    assert spelled(given) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["b", "a", "B", ""], ("B", "a", "b")),
        (["10", "9", "-2"], ("-2", "9", "10")),
        (["10", "9", "a"], ("10", "9", "a")),
        ([""], ()),
    ],
)
def test_classes_are_sorted_and_integers_by_their_value(given: list[str], expected: tuple[str, ...]) -> None:
    assert class_names(given, "here") == expected


@hypothesis.given(values=st.lists(st.integers(0, 10**6), min_size=1))
def test_integers_are_found_again(values: list[int]) -> None:
    labels = spelled([f"{value}.0" for value in values])
    classes = class_names(labels, "here")
    assert [int(classes[index]) for index in indices(labels, classes, "here", "it")] == values
    assert [int(name) for name in classes] == sorted({*values})


def test_names_that_look_alike_are_refused() -> None:
    with pytest.raises(DataInvalid, match=r"^here: the labels 'cafe\\u0301' and 'caf\\xe9' differ only in Unicode form"):
        class_names(["caf\xe9", "cafe\u0301"], "here")


def test_labels_that_nobody_learns_are_refused() -> None:
    with pytest.raises(
        DataInvalid, match=r"^here: the test split has the classes c, which .* rows have not; they have a, b$"
    ):
        indices(["a", "c", ""], ("a", "b"), "here", "the test split")
    with pytest.raises(DataInvalid, match=r"they have no labels$"):
        indices(["a"], (), "here", "the test split")


def test_a_summary_tells_rows_classes_and_oddities() -> None:
    assert summary("all", [0], ("a",)) == ["1 picture of 1 class"]
    assert summary("test", [-1, -1], ("a",), "; more") == ["test: 2 pictures without labels; more"]
    assert summary("val", [0, 2], ("a", "b", "c"), "; more") == ["val: 2 pictures of 2 of 3 classes; more"]
    assert summary("train", [0, 1, -1], ("a", "A")) == [
        "train: 3 pictures of 2 classes",
        "train: 1 of 3 pictures has no label",
        "classes that differ in capital letters only: a, A",
    ]
