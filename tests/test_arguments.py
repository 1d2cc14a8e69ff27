"""What a caller gives by name, and the one error where it can't be used."""

from pathlib import Path

import numpy as np
import pytest

from headstart.core.cache.arguments import choice, flag, nbytes, text, whole
from headstart.core.cache.errors import ArgumentInvalid


@pytest.mark.parametrize("value", ["64", 2.5, 0, -1, True, None, [3], np.float32(3)])
def test_what_is_no_whole_number_is_named(value: object) -> None:
    with pytest.raises(ArgumentInvalid, match=r"^limit is .*, expected a whole number from 1 on$"):
        whole("limit", value, 1)


def test_numpys_integers_become_pythons() -> None:
    found = whole("limit", np.int64(7), 1)
    assert (found, type(found)) == (7, int)


@pytest.mark.parametrize("value", ["skipp", 3, None, ["skip"]])
def test_an_unknown_word_is_named_with_the_known_ones(value: object) -> None:
    with pytest.raises(ArgumentInvalid, match=r"^on_error is .*, expected one of fail, skip$"):
        choice("on_error", value, ("fail", "skip"))


def test_a_path_becomes_text() -> None:
    assert text("weights", Path("a.pth")) == "a.pth"
    with pytest.raises(ArgumentInvalid, match=r"^weights is 3, expected a text$"):
        text("weights", 3)


def test_a_flag_is_true_or_false() -> None:
    assert flag("force", True)
    with pytest.raises(ArgumentInvalid, match=r"^force is 'no', expected True or False$"):
        flag("force", "no")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("200MB", 200 * 10**6),
        ("1.5GiB", 3 * 2**29),
        ("64 kb", 64_000),
        ("7", 7),
        (7, 7),
        (np.int64(9), 9),
        (" 2TB ", 2 * 10**12),
    ],
)
def test_a_size_is_bytes(value: object, found: int) -> None:
    assert nbytes("memory", value) == found


@pytest.mark.parametrize("value", ["", "MB", "-1MB", "200XB", "1e9", "0", "0.1B", 0, 1.5, True, None, "2 0MB", "٣MB"])
def test_what_is_no_size_is_named(value: object) -> None:
    with pytest.raises(
        ArgumentInvalid, match=r"^memory is .*, expected a whole number of bytes, or a size such as 200MB or 1\.5GiB$"
    ):
        nbytes("memory", value)
