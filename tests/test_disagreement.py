"""Rows on which heads disagree, and confident mistakes: listed by hand, in their order, and what holds for all."""

import dataclasses
import json
import math
from collections import Counter

import numpy as np
import pytest
from heads_samples import FAIR, NAMES, scored
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from headstart.core.heads.statistics.calibration import softmax
from headstart.core.heads.statistics.disagreement import Disagreement, Mistake, agreement, confident_mistakes


def sure_of(*labels: int, share: float = 0.7, classes: int = 4) -> np.ndarray:
    """Probabilities of rows that give these labels this share."""
    found = np.full((len(labels), classes), (1 - share) / (classes - 1))
    found[np.arange(len(labels)), labels] = share
    return found


def test_rows_are_listed_by_how_many_heads_dissent_and_how_sure_they_are() -> None:
    a, b = sure_of(0, 1, 2, 3, 0), sure_of(0, 1, 2, 3, 1)
    c, d = sure_of(0, 2, 3, 3, 2, share=0.8), sure_of(0, 1, 3, 0, 3)
    d[3] = sure_of(0, share=0.99)
    found = agreement({"a": a, "b": b, "c": c, "d": d})
    # all four differ; two against two; one against three, of which row 3 is the surer
    assert [(row.row, row.dissenting) for row in found] == [(4, 3), (2, 2), (3, 1), (1, 1)]
    assert found[2] == Disagreement(
        3, 1, pytest.approx((0.7 + 0.7 + 0.8 + 0.99) / 4),
        {"a": 3, "b": 3, "c": 3, "d": 0}, {"a": 0.7, "b": 0.7, "c": 0.8, "d": 0.99},
    )  # fmt: skip


@given(st.data())
@settings(max_examples=60)
def test_every_row_without_one_label_is_listed(data: st.DataObject) -> None:
    heads, rows = data.draw(st.integers(2, 4)), data.draw(st.integers(1, 15))
    scores = arrays(np.float64, (rows, 3), elements=st.integers(-3, 3).map(float))
    found = {name: softmax(data.draw(scores)) for name in NAMES[:heads]}
    listed = agreement(found)
    given_labels = [[int(values[row].argmax()) for values in found.values()] for row in range(rows)]
    assert sorted(row.row for row in listed) == [row for row in range(rows) if len(set(given_labels[row])) > 1]
    for row in listed:
        assert list(row.predicted.values()) == given_labels[row.row]
        assert row.dissenting == heads - max(Counter(given_labels[row.row]).values())
        assert row.probabilities == {name: values[row.row].max() for name, values in found.items()}
    keys = [(-row.dissenting, -row.confidence, row.row) for row in listed]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ({"a": FAIR}, r"1 heads \(a\), expected two or more to compare"),
        ({"a": FAIR, "b": FAIR[:1]}, r"probabilities of b have the shape \(1, 4\), those of a \(2, 4\)"),
        ({"a": FAIR, "b": FAIR * math.nan}, "probabilities of b is not finite in row 0"),
        ({"a": FAIR, "b": FAIR * 2}, "probabilities of b has the sum 2 in row 0, expected 1"),
    ],
)
def test_heads_that_cannot_be_set_side_by_side_are_refused(heads: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        agreement(heads)


def test_mistakes_come_surest_first_and_equals_by_row() -> None:
    probabilities = np.concatenate([sure_of(0, share=0.6), sure_of(1, 2), sure_of(3, share=0.9), sure_of(3)])
    labels = np.array([1, 1, 0, 0, 2])
    expected = [Mistake(3, 0, 3, 0.9), Mistake(2, 0, 2, 0.7), Mistake(4, 2, 3, 0.7), Mistake(0, 1, 0, 0.6)]
    assert confident_mistakes(probabilities, labels, 10) == expected
    assert confident_mistakes(probabilities, labels, 2) == expected[:2]
    assert confident_mistakes(probabilities, labels, 0) == []


@given(scored(), st.integers(0, 50))
def test_mistakes_are_the_rows_with_a_wrong_label(case, count: int) -> None:
    scores, labels = case
    probabilities = softmax(scores)
    found = confident_mistakes(probabilities, labels, count)
    rows = [(-row.max(), i) for i, row in enumerate(probabilities) if row.argmax() != labels[i]]
    assert [(-mistake.probability, mistake.row) for mistake in found] == sorted(rows)[:count]
    for mistake in found:
        assert (mistake.label, mistake.predicted) == (labels[mistake.row], probabilities[mistake.row].argmax())


def test_a_negative_number_of_mistakes_is_refused() -> None:
    with pytest.raises(ValueError, match="count -1, expected 0 or more"):
        confident_mistakes(FAIR, np.array([0, 1]), -1)


def test_what_is_listed_is_plain_numbers_that_json_can_hold() -> None:
    results = [
        *agreement({"a": sure_of(0, 1), "b": sure_of(1, 1)}),
        *confident_mistakes(sure_of(0, 1), np.array([1, 0]), 2),
    ]
    json.dumps([dataclasses.asdict(result) for result in results], allow_nan=False)
