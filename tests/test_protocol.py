"""On which rows a head was tested: what can't be is refused, and what can comes back from JSON whole."""

import json
import statistics
from typing import Any

import pytest

from headstart.core.heads.protocol import HELD_OUT, TEST_SPLIT, Protocol


@pytest.mark.parametrize(
    "protocol",
    [
        TEST_SPLIT,
        HELD_OUT,
        Protocol("held out", 1, 3, (0.5, 0.75, 1)),
        Protocol("cross-validation", 5),
        Protocol("cross-validation", 5, 2, (0.0, 1.0)),
    ],
    ids=str,
)
def test_a_protocol_comes_back_whole(protocol: Protocol) -> None:
    assert Protocol.from_json(json.loads(json.dumps(protocol.to_json()))) == protocol


def test_only_cross_validation_tests_on_rows_of_the_kept_head() -> None:
    found = [it.cross_validated for it in (TEST_SPLIT, HELD_OUT, Protocol("cross-validation", 2))]
    assert found == [False, False, True]


def test_the_spread_is_over_repeats() -> None:
    assert Protocol("cross-validation", 5, 3, (0.5, 0.625, 0.75)).deviation == statistics.stdev([0.5, 0.625, 0.75])
    assert Protocol("cross-validation", 5, 1, (0.5,)).deviation is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "by eye"}, "evaluated by 'by eye', expected test split, held out, cross-validation"),
        ({"kind": "cross-validation"}, "cross-validation with 1 folds, expected 2 or more for cross-validation, 1 else"),
        ({"kind": "held out", "folds": 5}, "held out with 5 folds, expected"),
        ({"kind": "test split", "folds": True}, "test split with True folds, expected"),
        ({"kind": "cross-validation", "folds": "5"}, "cross-validation with '5' folds, expected"),
        ({"kind": "held out", "repeats": 0}, "0 repeats, expected 1 or more"),
        ({"kind": "held out", "repeats": 2}, "0 accuracies of 2 repeats"),
        ({"kind": "held out", "accuracies": (0.5, 0.5)}, "2 accuracies of 1 repeats"),
        (
            {"kind": "held out", "accuracies": (1.5,)},
            r"accuracies of the repeats are \(1.5,\), expected numbers from 0 to 1",
        ),
        ({"kind": "held out", "accuracies": ("a",)}, "expected numbers from 0 to 1"),
    ],
)
def test_what_can_not_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Protocol(**fields)
