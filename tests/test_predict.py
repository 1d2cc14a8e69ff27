"""Labels for single rows of features: the most probable classes, best first."""

import math

import numpy as np
import pytest
from heads_samples import CLASSES, DIM, axis_head, make_checkpoint, make_key, trained_head
from heads_samples import one_thread as one_thread
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.predict import label
from headstart.core.heads.training.train import probabilities


def row(*scores: float) -> np.ndarray:
    """Features whose first numbers, which `axis_head` takes for scores, are these."""
    features = np.zeros(DIM, dtype=np.float32)
    features[: len(scores)] = scores
    return features


def test_the_most_probable_classes_come_first_with_their_probabilities() -> None:
    (found,) = label(make_checkpoint(), [row(1, 3, 2)], "cpu", 2)
    total = sum(math.exp(score) for score in (1, 3, 2))
    assert [name for name, _ in found] == ["dog", "frog"]
    assert [share for _, share in found] == pytest.approx([math.exp(3) / total, math.exp(2) / total], rel=1e-6)


@given(arrays(np.float32, (4, DIM), elements=st.floats(-50, 50, width=32)), st.integers(1, 5))
def test_any_rows_are_labelled_in_order_and_by_falling_probability(features: np.ndarray, topk: int) -> None:
    found = label(make_checkpoint(), list(features), "cpu", topk)
    expected = probabilities(axis_head(), features, "cpu")
    assert len(found) == 4
    for labels, shares in zip(found, expected, strict=True):
        assert [share for _, share in labels] == sorted(shares.tolist(), reverse=True)[:topk]
        assert dict(labels).items() <= dict(zip(CLASSES, shares.tolist(), strict=True)).items()


def test_a_class_without_a_training_row_is_not_among_the_labels() -> None:
    head = axis_head()
    head.never([0])
    (found,) = label(make_checkpoint(head), [row(9, 3, -500)], "cpu", 3)
    assert found == (("dog", 1.0), ("frog", 0.0))


def test_more_classes_asked_for_than_there_are_give_all() -> None:
    (found,) = label(make_checkpoint(), [row(1, 3, 2)], "cpu", 10)
    assert [name for name, _ in found] == ["dog", "frog", "cat"]
    assert sum(share for _, share in found) == pytest.approx(1)


def test_classes_of_equal_probability_come_in_their_own_order() -> None:
    (found,) = label(make_checkpoint(), [row(2, 2, 2)], "cpu", 3)
    assert [name for name, _ in found] == list(CLASSES)


def test_no_rows_have_no_labels() -> None:
    assert label(make_checkpoint(), [], "cpu", 3) == []


@pytest.mark.parametrize("dim", [1, DIM - 1, DIM + 1, 2048])
def test_features_of_another_backbone_are_refused(dim: int) -> None:
    with pytest.raises(FeaturesInvalid, match=rf"features have {dim} numbers, the head expects {DIM}"):
        label(make_checkpoint(), [np.zeros(dim, dtype=np.float32)], "cpu", 3)


def test_labels_are_the_names_of_the_heads_own_classes() -> None:
    names = ("Kätzchen", "犬", "a frog")
    found = make_checkpoint(trained_head("knn"), classes=names, key=make_key(classes=names))
    ((best, _),) = label(found, [6 * np.eye(DIM, dtype=np.float32)[1]], "cpu", 1)[0]
    assert best == "犬"


def test_probabilities_are_plain_numbers_that_json_can_hold() -> None:
    ((_, share), *_) = label(make_checkpoint(), [row(1, 3, 2)], "cpu", 3)[0]
    assert type(share) is float
