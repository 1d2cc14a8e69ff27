"""A curve as it is kept: what it holds, what twice the rows may bring, and what is no curve."""

import dataclasses
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.heads.curve.record import Curve, CurvePoint, Gain


def curve(*rows: int, **changes: Any) -> Curve:
    """A curve through so many rows, at 80 % each."""
    points = tuple(CurvePoint(one, (0.75, 0.85), 0.02) for one in rows)
    gain = Gain(0.03, 0.005, 0.01) if len(rows) > 1 else None
    return dataclasses.replace(Curve(points, 100, gain, 1.5), **changes)


def test_a_point_has_a_mean() -> None:
    assert curve(10).points[0].mean == pytest.approx(0.8)


def test_a_curve_comes_back_from_json() -> None:
    for found in (curve(10), curve(10, 20, 40)):
        assert Curve.from_json(json.loads(json.dumps(dataclasses.asdict(found)))) == found


def test_twice_the_rows_bring_between_half_of_the_last_gain_and_all_of_it() -> None:
    assert curve(10, 20).doubled() == pytest.approx((0.01, 0.04))
    assert curve(10, 20, gain=Gain(-0.03, 0.005, 0.01)).doubled() == pytest.approx((-0.04, -0.01))
    assert curve(10).doubled() is None


def test_no_accuracy_is_above_one_or_below_none() -> None:
    # 80 % are right, give or take 1.96 errors of 2 points
    assert curve(10, 20, gain=Gain(0.5, 0.1, 0.2)).doubled() == pytest.approx((0.15, 0.2392))
    assert curve(10, 20, gain=Gain(0.5, 0.0, 0.0)).doubled() == pytest.approx((0.1608, 0.2392))
    assert curve(10, 20, gain=Gain(-0.9, 0.1, 0.2)).doubled()[0] == pytest.approx(-0.8)  # type: ignore[index]


@given(st.floats(0.01, 1), st.floats(0.05, 0.8), st.floats(1.4, 4), st.integers(20, 10_000), st.floats(0, 0.1))
def test_the_next_gain_of_every_power_law_is_within(c: float, b: float, ratio: float, rows: int, a: float) -> None:
    before, last = round(rows / ratio), rows

    def error(at: float) -> float:
        return float(a + b * at**-c)

    value = error(before) - error(last)
    points = tuple(CurvePoint(at, (1 - error(at),), 0.0) for at in (before, last))
    ends = Curve(points, 100, Gain(value, 0.0, 0.0), 1.0).doubled()
    assert ends is not None
    assert ends[0] - 1e-9 <= error(last) - error(2 * last) <= ends[1] + 1e-9


BAD: tuple[tuple[dict[str, Any], str], ...] = (
    ({"points": ()}, "points of the curve are at [] rows"),
    ({"points": tuple(CurvePoint(at, (0.5,), 0.1) for at in (20, 10))}, "points of the curve are at [20, 10] rows"),
    ({"gain": None}, "a curve of 2 points has the gain None"),
    ({"test_rows": 0}, "the curve was tested on 0 rows"),
    ({"test_rows": True}, "the curve was tested on True rows"),
    ({"elapsed_s": None}, "the curve took None seconds"),
)


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_what_is_no_curve_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        curve(10, 20, **changes)


@pytest.mark.parametrize(
    ("rows", "accuracies", "error", "message"),
    [
        (0, (0.5,), 0.1, "a point of the curve is at 0 rows"),
        (2.0, (0.5,), 0.1, "a point of the curve is at 2.0 rows"),
        (2, (), 0.1, "accuracies of the curve are ()"),
        (2, (1.5,), 0.1, "accuracies of the curve are (1.5,)"),
        (2, ("0.5",), 0.1, "accuracies of the curve are ('0.5',)"),
        (2, (float("nan"),), 0.1, "accuracies of the curve are (nan,)"),
        (2, (0.5,), -0.1, "an error of the curve is -0.1"),
        (2, (0.5,), float("inf"), "an error of the curve is inf"),
        (2, (0.5,), None, "an error of the curve is None"),
    ],
)
def test_what_is_no_point_is_refused(rows: Any, accuracies: Any, error: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        CurvePoint(rows, accuracies, error)


@pytest.mark.parametrize("given_", [(2.0, 0.1, 0.1), ("0.1", 0.1, 0.1), (0.1, -1, 0.1), (0.1, 0.1, None)])
def test_what_is_no_gain_is_refused(given_: Any) -> None:
    with pytest.raises(ValueError, match="of the curve is"):
        Gain(*given_)
