"""Which split rows are in: by cells and by files' names, and what a data set's kinds of rows become."""

from pathlib import PurePath

import pytest

from headstart.core.cache.errors import DataInvalid
from headstart.core.extract.images.splits import Kind, kind_of_path, kind_of_word, splits_of


@pytest.mark.parametrize(
    ("kinds", "expected", "said"),
    [
        ([None], {"all": None}, ""),
        ([], {"all": None}, ""),
        (["train", "test"], {"train": "train", "test": "test"}, ""),
        (["test", "val", "train"], {"train": "train", "val": "val", "test": "test"}, ""),
        (["train", "val"], {"train": "train", "val": "val"}, "heads are tested by cross-validation, and chosen on its"),
        (["train", "train"], {"all": "train"}, "only training pictures are there"),
        (["test"], {"test": "test"}, "only test pictures are there: no head can be trained"),
        (["val"], {"test": "val"}, "only validation pictures are there"),
    ],
)
def test_kinds_of_rows_become_splits(kinds: list[Kind], expected: dict[str, Kind], said: str) -> None:
    found = splits_of(kinds, "here")
    assert found.splits == expected
    assert list(found.splits) == list(expected)
    assert said in " ".join(found.remarks)
    assert bool(said) == bool(found.remarks)


def test_the_classes_are_those_of_the_rows_that_may_be_trained_on() -> None:
    assert splits_of(["train", "val", "test"], "here").training == ("train", "val")
    assert splits_of(["test"], "here").training == ("test",)


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        (["train", None], "^here: some of it is in the splits train, the rest in none; name the split of all of it$"),
        (["val", "test"], "^here: has validation and test pictures, but no training pictures; take one of them alone$"),
    ],
)
def test_what_is_no_division_is_refused(kinds: list[Kind], message: str) -> None:
    with pytest.raises(DataInvalid, match=message):
        splits_of(kinds, "here")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("Train", "train"),
        (" TRAINING ", "train"),
        ("valid", "val"),
        ("dev", "val"),
        ("Test", "test"),
        ("", None),
        (" ", None),
    ],
)
def test_a_cell_says_its_split(word: str, expected: Kind) -> None:
    assert kind_of_word(word, "line 1") == expected


def test_a_word_that_is_no_splits_is_refused() -> None:
    with pytest.raises(DataInvalid, match=r"^line 1: the split is 'a\\nb', expected train, val or test$"):
        kind_of_word("a\nb", "line 1")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("train-00000-of-00002.parquet", "train"),
        ("mnist_test.parquet", "test"),
        ("data/validation-0.tar", "val"),
        ("default/train/0000.parquet", "train"),
        ("train/test-0.parquet", "test"),
        ("pets.tar", None),
        ("contest.tar", None),
        ("TrainSet.tar", "train"),
    ],
)
def test_a_files_name_says_its_split_else_its_folders(path: str, expected: Kind) -> None:
    assert kind_of_path(PurePath(path)) == expected


def test_a_name_that_says_two_things_is_refused() -> None:
    with pytest.raises(
        DataInvalid, match=r"^a/test_train\.tar: its name says test and train; name the file after one split$"
    ):
        kind_of_path(PurePath("a/test_train.tar"))
