"""What an exported file says of itself: the same when it is read again, and nothing that was altered is taken."""

from __future__ import annotations

import json

import pytest
from export_samples import ODD_NAMES, make_facts, untrained_key
from hypothesis import given
from hypothesis import strategies as st

from headstart.export.files.facts import MOST_BYTES, Facts, Picture


@given(st.lists(st.one_of(st.sampled_from(ODD_NAMES), st.text()), min_size=1, max_size=5), st.binary(max_size=50))
def test_facts_are_the_same_when_they_are_read_again(names: list[str], content: bytes) -> None:
    shares = tuple(0.1 for _ in names)
    facts = make_facts(tuple(names), pictures=(Picture("a", content, shares, shares),))
    texts = facts.to_texts()
    assert all(value.isascii() for value in texts.values())  # what ONNX keeps is UTF-8, which names need not be
    again = Facts.of_texts(texts)
    assert again.classes == facts.classes
    assert again.pictures == facts.pictures
    assert again.to_texts() == texts


def test_the_names_of_the_facts_are_what_the_documentation_says() -> None:
    texts = make_facts().to_texts()
    assert json.loads(texts["classes"]) == ["cat", "dog", "frog"]
    assert json.loads(texts["test_pictures"])[0]["expected"] == [1 / 3] * 3
    assert texts["weights_sha256"] == untrained_key().weights_sha256
    assert (texts["format"], texts["version"], texts["input"]) == ("headstart graph", "1", "pixels")


SHARES = (0.5, 0.25, 0.25)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("version", "2", "version '2', expected 'headstart graph' 1"),
        ("format", "else", "format 'else'"),
        ("classes", '"cat"', "classes is 'cat', expected list"),
        ("classes", "[1]", r"classes is '\[1\]', expected <class 'str'> in it"),
        ("absent", "[true]", r"absent is '\[True\]', expected <class 'int'> in it"),
        ("classes", '["a", "b"]', "3 probabilities are expected of 2 classes"),
        ("input", "picture", "input is 'picture', expected pixels or resized"),
        ("precision", "fp8", "precision is 'fp8', expected fp32 or fp16 or int8"),
        ("tolerance", "0.01", "tolerance is 0.01, expected above 0 and at most 0.0001"),
        ("tolerance", "NaN", "holds NaN"),
        ("tolerance", "1", "tolerance is '1', expected float"),
        ("temperature", "[", "Expecting value"),
        ("key", "{}", "are missing or unknown"),
        ("transform", '{"image_size": 32, "crop": "none"}', "crop is 'none'"),
        ("transform", '{"size": 32}', "unexpected keyword argument 'size'"),
        ("test_pictures", "[]", "there are no test pictures"),
        ("test_pictures", '[{"content": "?", "name": "", "expected": [], "predict": []}]', "base64|Only"),
        (
            "test_pictures",
            '[{"content": "", "name": "", "expected": [1e999, 0, 0], "predict": [0, 0, 0]}]',
            "no float can be",
        ),
        ("test_pictures", '[{"content": "", "name": "", "expected": [0, 0], "predict": [0, 0, 0]}]', "2 probabilities"),
    ],
)
def test_what_was_altered_is_refused(name: str, value: str, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        Facts.of_texts({**make_facts().to_texts(), name: value})


def test_a_fact_that_is_missing_is_named() -> None:
    texts = make_facts().to_texts()
    del texts["licence"]
    with pytest.raises(KeyError, match="licence"):
        Facts.of_texts(texts)


def test_a_test_picture_of_any_size_is_not_taken() -> None:
    large = make_facts(pictures=(Picture("a", bytes(MOST_BYTES + 1), SHARES, SHARES),))
    with pytest.raises(ValueError, match="a test picture has 4,194,305 bytes, expected at most 4,194,304"):
        Facts.of_texts(large.to_texts())
