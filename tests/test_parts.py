"""What is loaded to train and to test: what a set without a test split gives, which rows stay together, what is refused."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from heads_samples import blobs, make_config, make_key, only_pair, write_pair, write_set

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.cache.store import FeatureStore
from headstart.core.heads import data
from headstart.core.heads.config import RECIPES
from headstart.core.heads.data import Labelled, Pair

CLASSES = ("cat", "dog", "frog")


def pair_of(root: Path, labels: Sequence[int], copies: Sequence[tuple[int, int]] = ()) -> Pair:
    """A set without splits of rows with these labels; each row of `copies` has the features of another."""
    features = np.random.default_rng(0).random((len(labels), 80), dtype=np.float32)
    for copy, original in copies:
        features[copy] = features[original]
    store = FeatureStore(root)
    write_set(store, Labelled(features, np.array(labels, dtype=np.int64)), "all", make_key(classes=CLASSES))
    return only_pair(store, make_key(classes=CLASSES))


def load(pair: Pair, **settings: Any) -> data.Parts:
    return data.load(pair, make_config(**settings))


def test_a_set_without_splits_is_given_whole_where_nothing_is_to_be_held_out(tmp_path: Path) -> None:
    parts = load(pair_of(tmp_path, [0, 1, 2] * 5))
    assert parts.testing is None
    assert parts.training.rows.tolist() == list(range(15))
    assert parts.training.ids is not None
    assert parts.training.ids[3] == b"row-3"
    assert parts.notes == ()


def test_classes_of_few_pictures_are_named_and_kept(tmp_path: Path) -> None:
    parts = load(pair_of(tmp_path, [0] + [1] * 2 + [2] * 9))
    assert np.bincount(parts.training.labels).tolist() == [1, 2, 9]
    assert parts.notes == ("2 of 3 classes have no more than 2 training rows: cat (1), dog (2)",)


RARE = "classes have 2 to 20 training rows, and heads seldom name rare ones: train with --class-weight balanced if they"


@pytest.mark.parametrize(
    ("labels", "settings", "said"),
    [
        ([0] * 2 + [1] * 20 + [2] * 20, {}, True),
        ([0] * 2 + [1] * 20 + [2] * 20, {"head": "auto"}, True),
        ([0] * 2 + [1] * 20 + [2] * 20, {"class_weight": "balanced"}, False),
        ([0] * 2 + [1] * 20 + [2] * 20, {"head": "knn"}, False),  # it takes no weights
        ([0] * 2 + [1] * 20 + [2] * 20, {"recipe": "study"}, False),  # which is as it was published
        ([0] * 2 + [1] * 19 + [2] * 19, {}, False),
        ([0] * 2 + [1] * 20, {}, True),  # a class without a row is said otherwise
    ],
)
def test_classes_that_are_rare_in_training_are_said_to_who_gives_no_weights(
    labels: list[int], settings: dict[str, Any], said: bool, tmp_path: Path
) -> None:
    notes = load(pair_of(tmp_path, labels), **settings).notes
    assert [note.startswith(RARE) for note in notes if "seldom" in note] == [True] * said


def test_no_more_neighbours_are_asked_than_there_are(tmp_path: Path) -> None:
    pair = pair_of(tmp_path, [0, 1, 2] * 5)
    assert len(load(pair, head="knn", neighbours=15).training.labels) == 15
    with pytest.raises(
        FeaturesInvalid, match="--neighbours 16, expected no more than the 15 training rows that there are; use"
    ):
        load(pair, head="knn", neighbours=16)


def test_a_part_that_leaves_each_class_something_to_learn_from_is_said_to_be_smaller(tmp_path: Path) -> None:
    pair = pair_of(tmp_path, [0, 1, 2] * 20)
    note = next(note for note in load(pair, test_fraction=0.99).notes if "no test split" in note)
    assert note.endswith(
        "57 of its 60 images, drawn from each class in its share, were held out, and not 59 as asked for: "
        "each class keeps some to learn from"
    )
    note = next(note for note in load(pair, test_fraction=0.5).notes if "no test split" in note)
    assert note.endswith("30 of its 60 images, drawn from each class in its share, were held out")


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_copies_are_never_on_both_sides(fraction: float, tmp_path: Path) -> None:
    pair = pair_of(tmp_path, [0, 1, 2] * 20, [(30 + i, i) for i in range(30)])
    parts = load(pair, test_fraction=fraction)
    assert parts.testing is not None
    sides = [{row % 30 for row in part.rows.tolist()} for part in (parts.training, parts.testing)]
    assert not sides[0] & sides[1]
    assert abs(len(parts.testing.labels) - 60 * fraction) <= 2
    assert parts.notes[0] == "60 images are the same 30 pictures; copies stay on one side of every division"


def test_a_part_may_be_held_out_by_groups_of_ids(tmp_path: Path) -> None:
    parts = load(pair_of(tmp_path, [0, 1, 2] * 20), test_fraction=0.2, group_by=r"row-(\d)")
    assert parts.testing is not None
    first = [{str(row)[0] for row in part.rows.tolist()} for part in (parts.training, parts.testing)]
    assert not first[0] & first[1]
    assert parts.notes[0] == r"10 groups by row-(\d), each on one side of every division"


def test_the_report_finds_the_rows_that_were_held_out_again(tmp_path: Path) -> None:
    pair = pair_of(tmp_path, [0, 1, 2] * 20, [(30 + i, i) for i in range(30)])
    config = make_config(test_fraction=0.3, group_by=r"(\d)$")
    held = data.load(pair, config).testing
    assert held is not None
    assert data.testing(pair.train, config).digest == held.digest


def test_pictures_in_both_splits_are_counted(tmp_path: Path) -> None:
    train, test = blobs(30), blobs(12, seed=1)
    test.features[[2, 5, 7]] = train.features[[1, 1, 20]]
    assert load(write_pair(tmp_path, train, test)).notes == ("3 test pictures are also training pictures",)


def test_labels_that_copies_do_not_share_are_told_by_id(tmp_path: Path) -> None:
    notes = load(pair_of(tmp_path, [0, 1, 2] * 5, [(7, 0), (14, 0)])).notes
    assert notes == (
        "3 images are the same picture; copies stay on one side of every division",
        "the same picture with different labels: row-7 and row-0, row-14 and row-0",
    )


REFUSED = {
    "a part of a set with a test split": (
        lambda root: write_pair(root),
        {"test_fraction": 0.3},
        r"pets-train-.*: --test-fraction 0\.3, but the data set has a test split of 30 rows; leave the option out$",
    ),
    "nothing": (lambda root: pair_of(root, [0, 1, 2] * 5), {"test_fraction": 0.0}, "--test-fraction 0: expected a number"),
    "all": (lambda root: pair_of(root, [0, 1, 2] * 5), {"test_fraction": 1.0}, "--test-fraction 1: expected a number"),
    "one group": (lambda root: pair_of(root, [0, 1, 2] * 5), {"group_by": "row"}, "puts 15 rows into 1 group"),
    "no group": (lambda root: pair_of(root, [0, 1, 2] * 5), {"group_by": "x"}, "matches none of 15 ids"),
    "no expression": (lambda root: pair_of(root, [0, 1, 2] * 5), {"group_by": "["}, "is no regular expression"),
    "groups that are too large": (
        lambda root: pair_of(root, [0] * 5 + [1] * 5 + [2] * 5, [(i, i - i % 5) for i in range(15)]),
        {"test_fraction": 0.2},
        "15 rows of 3 classes in 3 groups are too few to train on all of them and to test; a class needs two images",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_divisions_that_can_not_be_are_refused(case: str, tmp_path: Path) -> None:
    make, settings, message = REFUSED[case]
    with pytest.raises(FeaturesInvalid, match=message):
        load(make(tmp_path), **settings)


def test_a_recipes_own_part_is_for_sets_without_a_test_split(tmp_path: Path) -> None:
    config = dataclasses.replace(make_config(), test_fraction=RECIPES["study"].test_fraction, recipe="study")
    assert data.load(write_pair(tmp_path), config).testing is not None
