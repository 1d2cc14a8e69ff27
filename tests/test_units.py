"""Numbers are written as people say them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.heads.report.units import percent, seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00 s"),
        (0.42, "0.42 s"),
        (9.99, "9.99 s"),
        (12.3, "12.3 s"),
        (59.0, "59.0 s"),
        (100, "1m 40s"),
        (119.7, "2m 00s"),
        (767, "12m 47s"),
        (1201, "20m 01s"),
        (3600, "60m 00s"),
    ],
)
def test_seconds_are_said_as_people_say_them(value: float, text: str) -> None:
    assert seconds(value) == text


@given(st.floats(100, 1e6))
def test_minutes_and_seconds_are_right_to_half_a_second(value: float) -> None:
    minutes, rest = (int(number) for number in re.findall(r"\d+", seconds(value)))
    assert 0 <= rest < 60
    assert abs(60 * minutes + rest - value) <= 0.5


@pytest.mark.parametrize(("share", "text"), [(0.8187, "81.87 %"), (1, "100.00 %"), (0, "0.00 %"), (0.00005, "0.01 %")])
def test_shares_are_said_as_percentages_with_two_decimals(share: float, text: str) -> None:
    assert percent(share) == text
