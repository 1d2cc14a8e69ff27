"""Words that every room uses: nothing in a file may move the terminal's cursor."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.cache.places import place
from headstart.core.cache.text import did_you_mean, listed, safe, set_words


@given(st.text(st.characters(exclude_categories=())))
def test_what_reaches_a_terminal_is_printable(text: str) -> None:
    assert safe(text).isprintable()


def test_many_names_are_cut_short() -> None:
    assert listed([]) == ""
    assert listed(["a", "two\nlines"]) == r"a, two\nlines"
    assert listed(range(3), 3) == "0, 1, 2"
    assert listed(range(1200), 3) == "0, 1, 2 and 1,197 more"


def test_the_closest_words_are_suggested_whatever_their_capitals() -> None:
    assert did_you_mean("ResNet18", ["resnet18", "vgg16"]) == " (did you mean resnet18?)"
    assert did_you_mean("mnist", ["MNIST", "KMNIST"]) == " (did you mean MNIST or KMNIST?)"
    assert did_you_mean("", ["a"]) == did_you_mean("zebra", ["vgg16"]) == ""


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("features/pets", "pets"),
        ("/mnt/a b/pets", "pets --features-dir '/mnt/a b'"),
        ("s3://bucket/prefix/pets", "pets --features-dir s3://bucket/prefix"),
    ],
)
def test_a_set_is_named_with_the_place_where_it_lies(folder: str, words: str) -> None:
    assert set_words(place(folder)) == words
