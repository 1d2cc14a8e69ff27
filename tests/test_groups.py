"""Rows that belong together: by what their ids say, and by the picture that they are of."""

import dataclasses
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
from heads_samples import blobs
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.data import Labelled
from headstart.core.heads.data.copies import copies
from headstart.core.heads.data.groups import by_pattern, grouped


def ids_of(*names: str) -> np.ndarray:
    return np.array([name.encode() for name in names], dtype="S40")


def pictures(rows: int, dim: int = 128, seed: int = 0) -> np.ndarray:
    """Features as a backbone gives them: above 0, about a common mean."""
    return np.abs(np.random.default_rng(seed).standard_normal((rows, dim)) + 2).astype(np.float32)


def data_of(features: np.ndarray, labels: Sequence[int] | None = None) -> Labelled:
    """Rows with these features, two classes in turn, the ids a, b, c …"""
    own = np.arange(len(features)) % 2 if labels is None else np.array(labels)
    return Labelled(
        features, own.astype(np.int64), ids=ids_of(*(chr(97 + i % 26) + "?" * (i // 26) for i in range(len(own))))
    )


# ----------------------------------------------------------------------------------------------------------- by their ids


def test_the_first_group_of_a_match_names_the_group_of_a_row() -> None:
    found = by_pattern(ids_of("cat/rex-1.png", "dog/rex-2.png", "cat/tom-1.png", "cat/kit-1.png"), r"/(\w+)-")
    assert found.tolist() == [0, 0, 1, 2]


def test_without_a_group_all_that_matched_names_it_and_what_does_not_match_stands_alone() -> None:
    found = by_pattern(ids_of("rex-1", "rex-2", "none", "tom-3", "no"), r"^[a-z]+-")
    assert found.tolist() == [0, 0, 1, 2, 3]


def test_an_id_that_does_not_match_is_not_in_the_group_of_its_name() -> None:
    assert by_pattern(ids_of("a", "1a", "2a", "b"), r"\d(a)").tolist() == [0, 1, 1, 2]


def test_a_group_that_took_no_part_in_the_match_leaves_the_row_alone() -> None:
    assert by_pattern(ids_of("ax", "a", "ax", "a", "c"), r"a(x)?").tolist() == [0, 1, 0, 2, 3]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"(\d", r"^--group-by '\(\\\\d' is no regular expression: missing \), unterminated subpattern at position 0$"),
        (r"horse", r"^--group-by 'horse' matches none of 4 ids; the first id is cat/1$"),
        (
            r"^(.)",
            r"^--group-by '\^\(\.\)' puts 4 rows into 2 groups \(c, d\), expected three or more; the first id is cat/1$",
        ),
        (r"/", r"^--group-by '/' puts 4 rows into 1 group \(/\), expected three or more"),
    ],
)
def test_an_expression_that_tells_no_groups_is_refused(pattern: str, message: str) -> None:
    ids = ids_of("cat/1", "cat/2", "dog/1", "dog/2")
    with pytest.raises(FeaturesInvalid, match=message):
        by_pattern(ids, pattern)


# ------------------------------------------------------------------------------------------------------ by their features


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(0, 3), st.sampled_from([1, 2, 6, 128]))
def test_equal_rows_are_one_picture_and_others_are_not(drawn: list[int], seed: int, dim: int) -> None:
    which = np.array(drawn)
    found = copies([pictures(6, dim, seed)[which]])
    assert np.array_equal(found[:, None] == found, which[:, None] == which)
    assert all(which[place] == one for place, one in zip(found, which, strict=True))


def test_the_noise_of_floating_point_makes_no_other_picture() -> None:
    rng, features = np.random.default_rng(1), pictures(500)
    apart = np.linalg.norm(features - features.mean(axis=0), axis=1, keepdims=True)
    noise = rng.standard_normal(features.shape)
    noise *= 0.9e-3 * apart / np.linalg.norm(noise, axis=1, keepdims=True)
    found = copies([features, (features + noise).astype(np.float32)])
    assert found.tolist() == [*range(500), *range(500)]


def test_pictures_that_an_untrained_backbone_hardly_tells_apart_are_not_the_same() -> None:
    features = (100 + 1e-3 * pictures(200)).astype(np.float32)
    assert copies([features]).tolist() == list(range(200))


def test_few_features_that_are_close_by_chance_are_not_the_same() -> None:
    features = np.random.default_rng(0).standard_normal((3000, 2)).astype(np.float32)
    assert copies([features]).tolist() == list(range(3000))


@pytest.mark.parametrize("features", [np.zeros((4, 128)), np.full((4, 3), 7.0), pictures(1).repeat(4, axis=0)])
def test_rows_that_are_all_equal_are_one_picture(features: np.ndarray) -> None:
    assert copies([features.astype(np.float32)]).tolist() == [0, 0, 0, 0]


def test_no_matrix_of_all_pairs_is_made() -> None:
    """24,000 x 24,000 would be 576 MB even with a byte each."""
    features = np.random.default_rng(0).random((24_000, 2048), dtype=np.float32)
    features[[5, 23_999]] = features[[17, 3]]
    tracemalloc.start()
    found = copies([features])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 120e6
    assert np.flatnonzero(found != np.arange(24_000)).tolist() == [17, 23_999]


# ------------------------------------------------------------------------------------------------------------- both, told


def test_rows_that_stand_alone_are_in_no_groups_and_nothing_is_said() -> None:
    found = grouped(dataclasses.replace(blobs(30), ids=ids_of(*map(str, range(30)))), blobs(30, seed=1), None)
    assert (found.groups, found.notes) == (None, ())


def test_copies_stay_together_and_those_of_another_class_are_named() -> None:
    features = pictures(6)[[0, 1, 2, 0, 1, 3]]
    found = grouped(data_of(features), None, None)
    assert found.groups is not None
    assert found.groups.tolist() == [0, 1, 2, 0, 1, 5]
    assert found.notes == (
        "4 images are the same 2 pictures; copies stay on one side of every division",
        "the same picture with different labels: d and a, e and b",
    )


def test_many_copies_of_other_classes_are_counted() -> None:
    features = pictures(10)[[*range(5), *range(5)]]
    (_, told) = grouped(data_of(features, [0] * 5 + [1] * 5), None, None).notes
    assert told == "the same picture with different labels: f and a, g and b, h and c and 2 more"


def test_groups_of_both_kinds_grow_together() -> None:
    """Rows 0 and 1 are of one animal, 1 and 2 one picture, 2 and 3 another animal; 4 and 5 stand alone."""
    features = pictures(6)
    features[2] = features[1]
    names = ids_of("rex-1", "rex-2", "tom-1", "tom-2", "kit-1", "pip-1")
    found = grouped(Labelled(features, np.arange(6, dtype=np.int64) % 2, ids=names), None, r"^\w+")
    assert found.groups is not None
    assert len({*found.groups[:4]}) == 1
    assert len({*found.groups}) == 3
    assert found.notes[-1] == r"4 groups by ^\w+, each on one side of every division"


@pytest.mark.parametrize(
    ("leaked", "told"),
    [([3], "1 test picture is also a training picture"), ([3, 3, 5], "3 test pictures are also training pictures")],
)
def test_test_pictures_that_are_training_pictures_are_counted(leaked: list[int], told: str) -> None:
    training = data_of(pictures(8))
    testing = data_of(np.concatenate([pictures(4, seed=1), training.features[leaked]]))
    found = grouped(training, testing, None)
    assert found.notes == (told,)
    assert found.groups is None


def test_test_pictures_of_training_groups_are_counted() -> None:
    training = dataclasses.replace(data_of(pictures(5)), ids=ids_of("rex-1", "rex-2", "tom-1", "kit-1", "1"))
    testing = dataclasses.replace(data_of(pictures(4, seed=1)), ids=ids_of("rex-3", "pip-1", "kit-2", "1"))
    found = grouped(training, testing, r"^[a-z]+")
    assert found.notes[-1] == "2 test pictures of groups that training pictures are of too"
    assert found.groups is not None
    assert len({*found.groups.tolist()}) == 4
    assert found.groups[0] == found.groups[1]


# --------------------------------------------------------------------------------------------- by what their ids end in


def listed(*groups: str) -> Labelled:
    """Rows of a list with these groups."""
    data = data_of(pictures(len(groups)))
    return dataclasses.replace(data, ids=ids_of(*(f"{row}.png#group={group}" for row, group in enumerate(groups))))


def test_groups_that_a_list_names_need_no_option() -> None:
    found = grouped(listed("rex", "tim", "rex", "", "", "kit"), None, None)
    assert found.groups is not None
    assert found.groups[0] == found.groups[2]
    assert len(np.unique(found.groups)) == 5  # rows without a group stand alone
    assert found.notes == ("5 groups by #group=(.+), each on one side of every division",)


def test_an_expression_counts_before_them() -> None:
    found = grouped(listed("rex", "tim", "rex", "kit"), None, r"^(0|1)\.")
    assert found.groups is None


def test_ids_that_only_look_so_in_part_name_no_groups() -> None:
    data = listed("rex", "tim", "rex", "kit")
    assert data.ids is not None
    data.ids[1] = b"1.png"
    assert grouped(data, None, None).groups is None


def test_too_few_groups_of_a_list_are_refused_by_its_column() -> None:
    message = (
        r"^the list's column group \(leave it out, .*\) puts 4 rows into 2 groups \(rex, tim\), expected three or more"
    )
    with pytest.raises(FeaturesInvalid, match=message):
        grouped(listed("rex", "tim", "rex", "tim"), None, None)
