"""What a curve says of more pictures: no more than it knows."""

import pytest

from headstart.core.heads.curve.record import Curve, CurvePoint, Gain
from headstart.core.heads.report.more_pictures import lines, sentence, verdict


def rising(value: float, error: float) -> Curve:
    """A curve whose last doubling brought `value`."""
    points = (CurvePoint(160, (0.7, 0.72), 0.02), CurvePoint(320, (0.71 + value,), 0.015))
    return Curve(points, 400, Gain(value, error, 2 * error), 1.5)


def test_a_gain_beyond_its_error_says_that_more_would_help() -> None:
    found = rising(0.031, 0.006)
    assert verdict(found) == "probably"
    assert sentence(found) == (
        "More pictures would probably help: from 160 to 320 training images the accuracy changed by +3.1 points (standard "
        "error 0.6); if it goes on so, twice as many add 0.9 to 4.3 points."
    )


def test_a_small_and_certain_gain_says_that_more_would_hardly_help() -> None:
    found = rising(0.002, 0.002)
    assert verdict(found) == "hardly"
    assert sentence(found).endswith("(standard error 0.2); if it goes on so, twice as many add 0.6 points at most.")
    assert "would hardly help" in sentence(found)


def test_a_loss_that_is_certain_adds_nothing() -> None:
    assert sentence(rising(-0.05, 0.01)).endswith("twice as many add 0.0 points at most.")


@pytest.mark.parametrize(("value", "error"), [(0.03, 0.02), (0.0, 0.1), (-0.02, 0.02), (0.004, 0.004)])
def test_a_spread_that_hides_the_gain_says_that_nobody_can_tell(value: float, error: float) -> None:
    found = rising(value, error)
    assert verdict(found) == "unknown"
    assert sentence(found).startswith("Whether more pictures would help can't be told: from 160 to 320 training images")
    assert "add" not in sentence(found)


def test_a_single_point_says_that_nobody_can_tell() -> None:
    found = Curve((CurvePoint(150, (0.5,), 0.1),), 300, None, 1.0)
    assert verdict(found) == "unknown"
    assert sentence(found) == (
        "Whether more pictures would help can't be told: 150 training images are too few to leave half of them out."
    )


def test_lines_hold_the_points() -> None:
    first, last = lines(rising(0.03, 0.01))
    assert (first.images, first.accuracy, first.error) == ("160", "71.00%", "± 2.00")
    assert (first.lowest, first.highest, first.draws) == ("70.00%", "72.00%", "2")
    assert (last.images, last.draws) == ("320", "1")
