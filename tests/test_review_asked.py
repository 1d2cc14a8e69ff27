"""What a browser may ask for."""

import re
from typing import Any

import pytest

from headstart.review.asked import Asked, decision_of, number_of
from headstart.serve.web.problems import Problem

GOOD = {"picture": "1" * 64, "action": "label", "label": "dog", "version": "e.0"}


def test_a_decision_is_read() -> None:
    assert decision_of(GOOD) == Asked("1" * 64, "label", "dog", "e.0")
    assert decision_of({"picture": "x", "action": "undo", "version": "e.0"}).label == ""


def test_a_label_that_the_data_set_has_is_taken_as_it_is() -> None:
    for label in ("cat ", "x" * 100):
        assert decision_of({**GOOD, "label": label}, ("cat ", "x" * 100)).label == label


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "the body is no JSON object; expected picture, action, label and version"),
        ({**GOOD, "user": "me"}, "'user' is not known; expected picture, action, label, version"),
        ({**GOOD, "picture": 7}, "picture is '7', expected text"),
        ({"picture": "1" * 64, "action": "keep"}, "version is 'None', expected text"),
        ({**GOOD, "action": "delete"}, "action is 'delete', expected one of label, keep, unsure, remove, undo"),
        ({**GOOD, "label": ""}, "label is '', which does not go with action label"),
        ({**GOOD, "action": "keep"}, "label is 'dog', which does not go with action keep"),
        ({**GOOD, "label": "x" * 61}, "the label has 61 characters, expected 60 at most"),
        ({**GOOD, "label": " dog"}, "label is ' dog', expected printable text without blanks at its ends"),
        ({**GOOD, "label": "a\nb"}, "expected printable text without blanks at its ends"),
    ],
)
def test_what_is_no_decision_is_said(body: Any, words: str) -> None:
    with pytest.raises(Problem, match=re.escape(words)) as found:
        decision_of(body)
    assert found.value.status == 422


@pytest.mark.parametrize("text", ["-1", "", "1.5", "9" * 10, "٣"])
def test_what_is_no_number_is_said(text: str) -> None:
    with pytest.raises(Problem, match=r"since is .*, expected a whole number from 0 on"):
        number_of({"since": text}, "since", 0)
    assert number_of({}, "since", 7) == 7
