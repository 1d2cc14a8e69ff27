"""What a folder is: the usual layouts are understood, and what can be meant in two ways is refused with the way out."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest
from extract_samples import tree

from headstart.core.cache.errors import DataInvalid
from headstart.core.extract.pictures.layout import kind, layout, undivided


def classes(*folders: str) -> list[str]:
    """A picture of each of two classes in some folders."""
    return [f"{folder}/{name}/1.png" for folder in folders for name in ("cat", "dog")]


@dataclasses.dataclass(frozen=True)
class Case:
    """A folder's files, and the splits that are expected."""

    name: str
    paths: list[str]
    splits: Mapping[str, str]
    said: str = ""

    def __str__(self) -> str:
        return self.name


UNDERSTOOD = [
    Case("classes alone", classes("."), {"all": ""}),
    Case("train and test", classes("train", "test"), {"train": "train", "test": "test"}),
    Case("Train and Test", classes("Train", "Test"), {"train": "Train", "test": "Test"}),
    Case("TRAIN and TESTING", classes("TRAIN", "TESTING"), {"train": "TRAIN", "test": "TESTING"}),
    Case("training_set", classes("training_set", "test_set"), {"train": "training_set", "test": "test_set"}),
    *(
        Case(
            f"train and {val}",
            classes("train", val),
            {"train": "train", "val": val},
            f"heads are tested by cross-validation, and chosen on {val}/ if it has 100 pictures or more and both folders "
            f"have all classes (else it may join train/); call {val}/ test/ to test on it instead",
        )
        for val in ("val", "valid", "validation", "Val", "dev", "eval")
    ),
    Case(
        "train, valid and test",
        classes("train", "valid", "test"),
        {"train": "train", "val": "valid", "test": "test"},
    ),
    Case("train alone", classes("train"), {"all": "train"}, "`train-head` holds out a part of it"),
    Case(
        "train, and a test folder without pictures",
        [*classes("train"), "test/readme.txt"],
        {"all": "train"},
        "test/ holds no",
    ),
    Case("test alone", classes("test"), {"test": "test"}, "no head can be trained on a test split"),
    Case("val alone", classes("val"), {"test": "val"}, "only val/ is there: no head can be trained"),
    Case(
        "beside other files",
        [*classes("train", "test"), "readme.md", "labels/a.txt"],
        {"train": "train", "test": "test"},
    ),
    Case("a class called test", ["engine/1.png", "test/1.png", "wagon/1.png"], {"all": ""}, "test is taken for a class"),
    Case("classes with sub-folders", ["cat/young/1.png", "dog/old/1.png"], {"all": ""}),
    Case("an archive's leavings", [*classes("train", "test"), *classes("__MACOSX")], {"train": "train", "test": "test"}),
    Case("pictures alone", ["1.png", "2.png"], {"all": ""}),
    Case("one class", ["cat/1.png"], {"all": ""}),
    Case("nothing", [], {"all": ""}),
]


@pytest.mark.parametrize("case", UNDERSTOOD, ids=str)
def test_a_usual_layout_is_understood(tmp_path: Path, case: Case) -> None:
    found = layout(tree(tmp_path, *case.paths))
    assert found.splits == case.splits
    assert case.said in " ".join(found.remarks)
    assert bool(case.said) == bool(found.remarks)


@dataclasses.dataclass(frozen=True)
class Refused:
    """A folder's files, and what is said of them."""

    name: str
    paths: list[str]
    message: str

    def __str__(self) -> str:
        return self.name


REFUSED = [
    Refused(
        "a split with pictures beside it",
        ["engine/a/1.png", "test/a/1.png", "wagon/1.png"],
        r": test is named like a split and would leave out the pictures in engine, wagon; .* --no-splits takes each",
    ),
    Refused(
        "splits with pictures beside them",
        [*classes("train", "test"), "more/1.png"],
        r": test, train are named like splits and would leave out the pictures in more;",
    ),
    Refused(
        "a test folder without class folders",
        [*classes("train"), "test/1.png"],
        r": train has class folders, but test holds pictures without class folders; expected .*/test/CLASS/PICTURE\.jpg; "
        r"--dataset folder:.*/train takes train/ alone, and `headstart predict .*/test` labels",
    ),
    Refused("test pictures alone", ["test/1.png"], r": test holds pictures, but no class folders; expected .*/test/CLASS/"),
    Refused(
        "splits without class folders", ["train/1.png", "test/1.png"], ": test, train hold pictures, but no class folders"
    ),
    Refused(
        "two of them among classes", ["a/1.png", "train/1.png", "test/1.png"], ": test, train hold pictures, but no class"
    ),
    Refused(
        "two training folders", classes("train", "Training"), "both Training and train stand for the training pictures"
    ),
    Refused(
        "two validation folders", classes("train", "val", "valid"), "both val and valid stand for the validation pictures"
    ),
    Refused(
        "no training pictures", classes("val", "test"), r"has val/ and test/, but no training pictures; expected train/"
    ),
    Refused(
        "one folder too deep",
        classes("pets"),
        r": one class only, pets, .* cat, dog of .*: --dataset folder:.*/pets; if not",
    ),
    Refused("two folders too deep", classes("zip/pets"), r": one class only, zip, .* --dataset folder:.*/zip/pets;"),
    Refused(
        "splits one folder too deep", classes("pets/train", "pets/test"), r"test, train of .*: --dataset folder:.*/pets;"
    ),
    Refused(
        "classes too deep in a split",
        classes("train/pets", "test/pets"),
        r"/train: one class only, pets, .* move the folders",
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_can_be_meant_in_two_ways_is_refused(tmp_path: Path, case: Refused) -> None:
    with pytest.raises(DataInvalid, match=rf"^{tmp_path}.*{case.message}"):
        layout(tree(tmp_path, *case.paths))
    assert undivided(tmp_path).splits == {"all": ""}


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_the_data_set_that_a_message_names_is_understood(tmp_path: Path, case: Refused) -> None:
    """No advice in a circle."""
    with pytest.raises(DataInvalid, match=str(tmp_path)) as caught:
        layout(tree(tmp_path, *case.paths))
    if words := str(caught.value).partition("--dataset folder:")[2]:
        assert layout(Path(words.split()[0].rstrip(",;"))).splits


def test_many_names_are_not_spelled_out(tmp_path: Path) -> None:
    tree(tmp_path, *classes("test"), *(f"class {number:04d}/1.png" for number in range(1200)))
    with pytest.raises(DataInvalid, match=r"class 0009 and 1,190 more") as caught:
        layout(tmp_path)
    assert len(str(caught.value)) < 600


def test_links_in_a_circle_do_not_hang_it(tmp_path: Path) -> None:
    tree(tmp_path, "a/b/1.png")
    (tmp_path / "a/loop").symlink_to("..")
    (tmp_path / "a/b/loop").symlink_to("..")
    assert layout(tmp_path).splits == {"all": ""}


@pytest.mark.parametrize(
    "name", ["contest", "latest", "testers", "trainer", "value", "device", "evaluate", "train 1", "dog"]
)
def test_other_names_are_no_splits(name: str) -> None:
    assert kind(name) is None
