"""Labels for single rows of features: the most probable classes, best first, and the classes that a row may be of."""

import math

import numpy as np
import pytest
from heads_samples import CLASSES, DIM, axis_head, make_checkpoint, make_key, trained_head
from heads_samples import one_thread as one_thread
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from headstart.core.cache.errors import FeaturesInvalid, RunNotFound
from headstart.core.heads.checkpoint import Checkpoint
from headstart.core.heads.confidence import Confidence
from headstart.core.heads.predict import Photo, Possible, Wanted, answers, caveat, label, prediction_sets, shortage
from headstart.core.heads.training.train import predict, probabilities


def row(*scores: float) -> np.ndarray:
    """Features whose first numbers, which `axis_head` takes for scores, are these."""
    features = np.zeros(DIM, dtype=np.float32)
    features[: len(scores)] = scores
    return features


def sure(temperature: float = 1.0, of_label: list[float] | None = None) -> Confidence:
    """Calibration by 99 rows whose labels had probabilities from 0.01 to 0.99, or by these."""
    found = np.linspace(0.01, 0.99, 99) if of_label is None else np.sort(of_label)
    return Confidence(temperature, found.astype(np.float32), len(found))


def sets(head: Checkpoint, coverage: float, *rows: np.ndarray) -> list[tuple[str, ...]]:
    return prediction_sets(head, np.stack(rows), "cpu", coverage)


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
        assert [share for _, share in labels] == pytest.approx(sorted(shares.tolist(), reverse=True)[:topk], rel=1e-6)
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


def test_probabilities_are_those_at_the_heads_temperature() -> None:
    (found,) = label(make_checkpoint(confidence=sure(2.0)), [row(1, 3, 2)], "cpu", 2)
    total = sum(math.exp(score / 2) for score in (1, 3, 2))
    assert [share for _, share in found] == pytest.approx([math.exp(1.5) / total, math.exp(1) / total], rel=1e-6)


@given(arrays(np.float32, (4, DIM), elements=st.floats(-50, 50, width=32)), st.floats(1e-3, 1e4))
def test_no_temperature_changes_a_label(features: np.ndarray, temperature: float) -> None:
    plain, other = make_checkpoint(), make_checkpoint(confidence=sure(temperature))
    ours, theirs = (label(head, list(features), "cpu", 3) for head in (plain, other))
    assert [[name for name, _ in found] for found in ours] == [[name for name, _ in found] for found in theirs]
    best = predict(axis_head(), features, "cpu")
    assert [found[0][0] for found in theirs] == [CLASSES[i] for i in best]


def test_scores_whose_probabilities_are_rounded_to_one_number_keep_their_order() -> None:
    hot = make_checkpoint(confidence=sure(1e4))
    (found,) = label(hot, [row(0, 1e-5, 2e-5)], "cpu", 3)
    assert [name for name, _ in found] == ["frog", "dog", "cat"]
    assert len({share for _, share in found}) == 1


def test_a_set_has_the_classes_from_the_threshold_on_the_most_probable_first() -> None:
    head = make_checkpoint(confidence=sure())  # at 90 % the threshold is the tenth smallest, 0.10
    shares = np.log([[0.3, 0.65, 0.05], [0.02, 0.02, 0.96], [0.2, 0.3, 0.5]])
    assert sets(head, 0.9, *(row(*scores) for scores in shares)) == [("dog", "cat"), ("frog",), ("frog", "dog", "cat")]
    assert sets(head, 0.01, row(*shares[0])) == [()]


def test_a_set_is_of_calibrated_probabilities() -> None:
    scores = row(0, 3, 0)
    assert sets(make_checkpoint(confidence=sure(1.0)), 0.9, scores) == [("dog",)]
    assert sets(make_checkpoint(confidence=sure(5.0)), 0.9, scores) == [("dog", "cat", "frog")]


def test_too_few_rows_leave_every_class_in_that_had_a_training_row() -> None:
    head = axis_head()
    head.never([2])
    few = make_checkpoint(head, confidence=sure(1.0, [0.9] * 8))
    assert sets(few, 0.9, row(0, 50, 90)) == [("dog", "cat")]
    assert shortage(few, 0.9) == "a coverage of 0.9 needs 9 rows of calibration, the head has 8: no class is left out"
    assert shortage(make_checkpoint(head, confidence=sure(1.0, [0.9] * 9)), 0.9) is None


def test_two_classes_and_a_thousand() -> None:
    two = make_checkpoint(axis_head(2), classes=CLASSES[:2], confidence=sure())
    assert sets(two, 0.9, row(0, 0), row(0, 9)) == [("cat", "dog"), ("dog",)]
    names = tuple(f"class {i}" for i in range(1000))
    many = make_checkpoint(axis_head(1000, 1000), classes=names, confidence=sure(1.0, [5e-4] * 99))
    (found,) = sets(many, 0.9, np.zeros(1000, dtype=np.float32))
    assert found == names


def test_labels_come_with_sets_only_where_a_coverage_is_wanted() -> None:
    head = make_checkpoint(confidence=sure())
    assert answers(head, [row(0, 9, 0)], "cpu", Wanted(1, 0.9))[0][1] == Possible(("dog",), 3)
    assert answers(head, [row(0, 9, 0)], "cpu", Wanted(1))[0][1] is None
    assert prediction_sets(head, np.empty((0, DIM), dtype=np.float32), "cpu", 0.9) == []


def test_a_head_without_calibration_has_no_sets() -> None:
    with pytest.raises(
        RunNotFound, match=r"no calibration, which .* need; `headstart train-head -m resnet50` makes one that"
    ):
        sets(make_checkpoint(), 0.9, row(1, 2, 3))
    with pytest.raises(RunNotFound, match="the standard linear head on resnet50 features has no calibration"):
        shortage(make_checkpoint(), 0.9)


@pytest.mark.parametrize("coverage", [0.0, 1.0, 95.0, math.nan])
def test_a_coverage_that_is_none_is_refused(coverage: float) -> None:
    with pytest.raises(ValueError, match=r"coverage is .+, expected a number above 0 and below 1"):
        Wanted(1, coverage)


@pytest.mark.parametrize(
    ("count", "of", "unsure"),
    [
        *[(0, 2, True), (1, 2, False), (2, 2, True), (2, 3, False), (3, 3, True), (3, 4, False), (4, 6, True)],
        *[(4, 8, False), (5, 9, True), (5, 10, False), (6, 10, True), (5, 1000, False), (6, 1000, True), (1, 1, False)],
    ],
)
def test_a_set_that_tells_little_is_unsure(count: int, of: int, unsure: bool) -> None:
    assert Possible(tuple(f"class {i}" for i in range(count)), of).unsure == unsure


def test_a_calibrated_heads_probabilities_need_no_caveat() -> None:
    for kind, doubt in (("ridge", "far too even"), ("knn", "weighted votes")):
        head = trained_head(kind)  # type: ignore[arg-type]
        assert doubt in str(caveat(make_checkpoint(head)))
        assert caveat(make_checkpoint(head, confidence=sure())) is None
    assert "no probability can exceed" in str(caveat(make_checkpoint(trained_head("mlp", recipe="study"))))
    assert caveat(make_checkpoint()) is None


def test_a_picture_is_json_with_its_sets_where_there_are_any() -> None:
    photo = Photo("a.jpg", {"one": (("cat", 0.5),)}, None)
    plain = {"name": "a.jpg", "labels": {"one": [["cat", 0.5]]}, "error": None}
    assert photo.to_json() == plain
    both = Photo("a.jpg", photo.labels, None, {"one": Possible(("cat", "dog"), 3)})
    assert both.to_json() == {**plain, "sets": {"one": ["cat", "dog"]}}
